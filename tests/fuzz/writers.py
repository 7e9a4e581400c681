"""Random small images of all types, axes and odd shapes, through compression and back."""

from __future__ import annotations

import traceback

import numpy as np

from fuzz.corpus import GROUPS, METHODS, NETWORKS, SEAM
from helpers.files import settings
from microfield.errors import MicrofieldError
from microfield.image import SUPPORTED_DTYPES, Image
from microfield.reading.file import open_file
from microfield.writing.budget import LOSSLESS, Budget
from microfield.writing.compress import compress_to_bytes

AXES = ("YX", "XY", "ZYX", "CYX", "YXS", "TYX", "CZYX", "TCYX", "TCZYX", "ZCYX")

WRITERS = tuple(name for name in METHODS if name not in (*NETWORKS, GROUPS, *SEAM))
"""Methods that are tried: a fit of networks takes seconds."""


def case(seed: int, number: int) -> tuple[str, str | None]:
    """The method of a case, and what went wrong; None where nothing did, a refusal in one sentence included."""
    rng = np.random.default_rng((seed, number, 1))
    method = str(rng.choice(WRITERS))
    array, axes = _image(rng)
    budget = Budget(LOSSLESS, 1) if method == LOSSLESS else Budget("ratio", float(rng.choice([2, 4, 10, 50])))
    try:
        data, report = compress_to_bytes(Image(array, axes), budget, settings(method, not_labels=True))
        whole = open_file(data, trusted=True).asarray()
        limit = budget.byte_limit(Image(array, axes).layout)
        assert whole.shape == array.shape
        assert whole.dtype == array.dtype
        assert limit is None or len(data) <= limit
        assert report.file_bytes == len(data)
        if method == LOSSLESS:
            np.testing.assert_array_equal(whole, array)
        else:
            assert array.min() <= whole.min()
            assert whole.max() <= array.max()
    except MicrofieldError as refusal:
        return method, f"{refusal!r} has several lines" if "\n" in str(refusal) else None
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} at {last.filename}:{last.lineno}: {error}"
        return method, f"{what} [{method} {axes} {array.shape} {array.dtype}]"
    return method, None


def _image(rng: np.random.Generator) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.generic]], str]:
    """An image and its axes: ramps, noise, constants or spikes over some of the range of a type."""
    axes, dtype = str(rng.choice(AXES)), np.dtype(str(rng.choice(SUPPORTED_DTYPES)))
    shape = tuple(3 if a == "S" else int(rng.integers(1, 40 if a in "YX" else 5)) for a in axes)
    kind = rng.integers(4)
    values = rng.random(shape) if kind == 0 else np.full(shape, rng.random()) if kind == 1 else np.indices(shape).sum(0) / 100 % 1
    if kind == 3:
        values = np.where(rng.random(shape) < 0.05, 1.0, 0.2)
    if dtype.kind == "f":
        return (values * 10.0 ** rng.integers(-6, 7) - rng.integers(0, 3)).astype(dtype), axes
    info = np.iinfo(dtype)
    span = float(rng.choice([1, 50, info.max]))
    return np.clip(values * span, info.min, info.max).astype(dtype), axes

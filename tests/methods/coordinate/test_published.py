"""Networks that the authors of INIF published: imported from their arrays, they decode to what their formula says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from benchmarks.import_published import import_file

from microfield.errors import FormatError
from microfield.format.assembler import write
from microfield.format.header import Header
from microfield.methods.coordinate.published import import_published
from microfield.reading.file import open_file

Arrays = dict[str, Any]


def saved_arrays(shape: tuple[int, ...], axes: str, dtype: str, width: int = 12, seed: int = 0) -> Arrays:
    """Random arrays in the authors' layout: seven linear layers, sines between them, one shared frequency."""
    rng = np.random.default_rng(seed)
    frequency, adjust = 90.0, 3.25
    fans = [len(shape), *[width] * 6, 1]
    arrays: Arrays = {}
    for k in range(7):
        bound = np.sqrt(6 / width) / frequency if k else 1 / len(shape) / 8
        arrays[f"weight_{k}"] = rng.uniform(-bound, bound, (fans[k], fans[k + 1])).astype(np.float32)
        arrays[f"bias_{k}"] = rng.uniform(-0.01, 0.01, fans[k + 1]).astype(np.float32)
    arrays["weight_6"] = (arrays["weight_6"] * frequency * 15).astype(np.float32)
    arrays["bias_6"] = np.array([50], np.float32)
    return arrays | {"frequency": np.float32(frequency), "freq_adjust": np.array([adjust], np.float32), "shape": np.array(shape),
                     "axes": axes, "minimum": 100.0, "maximum": 240.0 if dtype == "uint8" else 4100.0, "dtype": dtype}


def formula(arrays: Arrays) -> npt.NDArray[np.float64]:
    """The published formula, evaluated as it is written: unscaled by the minimum, as the authors do."""
    grids = np.meshgrid(*(np.arange(s) / (s - 1) * 2 - 1 for s in arrays["shape"]), indexing="ij")
    x = np.stack([g.ravel() for g in grids], 1)
    for k in range(6):
        x = np.sin((x @ arrays[f"weight_{k}"] + arrays[f"bias_{k}"]) * (arrays["frequency"] + arrays["freq_adjust"]))
    values = (x @ arrays["weight_6"] + arrays["bias_6"]) * (arrays["maximum"] - arrays["minimum"]) / 100
    return np.asarray(values.reshape(tuple(arrays["shape"])), np.float64)


@pytest.mark.parametrize(("shape", "axes", "dtype"), [
    ((20, 24), "YX", "uint8"), ((4, 12, 10), "ZYX", "uint16"), ((2, 3, 8, 9), "CZYX", "uint16"), ((20, 24), "YX", "float32"),
])
def test_published_networks_decode_to_the_published_formula(shape: tuple[int, ...], axes: str, dtype: str) -> None:
    arrays = saved_arrays(shape, axes, dtype)
    layout, part = import_published(arrays)
    assert (layout.shape, layout.axes, layout.dtype) == (shape, axes, np.dtype(dtype))
    data = write(Header(method="inif", bitstream_version=1, layout=layout), [(part,)])
    f = open_file(data)
    expected = formula(arrays)
    spread = np.ptp(expected)
    assert spread > 30  # the formula is not near a constant, so that agreement means something
    # The polynomial sine differs from the true one by 2.5e-4 in each of six layers, which the layers pass on.
    allowed = max(1.0, 1e-2 * float(spread))
    assert np.abs(f.asarray().astype(float) - expected).max() <= allowed
    assert np.abs(f.asarray().astype(float) - expected).mean() <= max(0.5, 1e-3 * float(spread))
    np.testing.assert_array_equal(f[..., ::3], f.asarray()[..., ::3])
    assert len(data) < 4 * sum(arrays[f"{n}_{k}"].size for n in ("weight", "bias") for k in range(7)) + 80


def test_a_file_of_arrays_becomes_a_microfield_file(tmp_path: Path) -> None:
    arrays = saved_arrays((10, 12), "YX", "uint16")
    np.savez(tmp_path / "saved.npz", **arrays)
    import_file(str(tmp_path / "saved.npz"), str(tmp_path / "saved.mfield"))
    f = open_file(tmp_path / "saved.mfield")
    assert f.shape == (10, 12)
    assert np.abs(f.asarray() - formula(arrays)).mean() < 10


def test_values_outside_the_dtype_are_clipped() -> None:
    arrays = saved_arrays((20, 24), "YX", "uint8") | {"minimum": 0.0, "maximum": 600.0}
    layout, part = import_published(arrays)
    values = open_file(write(Header(method="inif", bitstream_version=1, layout=layout), [(part,)])).asarray()
    expected = np.clip(formula(arrays), 0, 255)
    assert (expected == 255).any()
    assert np.abs(values - expected).max() < 10


def test_weights_that_are_missing_or_not_finite_are_refused() -> None:
    layout, part = import_published(saved_arrays((6, 5), "YX", "uint16"))
    header = Header(method="inif", bitstream_version=1, layout=layout)
    for bad in (part[:-4], part + b"\0\0\0\0", part[:20] + b"\xff\xff\xff\xff" + part[24:]):
        with pytest.raises(FormatError):
            open_file(write(header, [(bad,)]))[...]

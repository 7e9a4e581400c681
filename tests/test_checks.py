"""Arguments of the wrong type: one sentence that names the argument, before anything is read or written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microfield as mf
from helpers.files import random_file
from helpers.images import image
from microfield import checks
from microfield.image import Layout

LAYOUT = Layout((12, 10), "YX", np.dtype(np.uint16))
ARRAY = np.arange(120, dtype=np.uint16).reshape(12, 10)
FILE = random_file(LAYOUT)


def in_a_call(name: str) -> Callable[[Any], Any]:
    """`mf.compress` with one argument."""
    return lambda value: mf.compress(ARRAY, "a.mfield", **({} if name in BUDGETS else {"ratio": 4}) | {name: value})


BUDGETS = ("ratio", "bits_per_voxel", "max_bytes", "psnr", "least_psnr", "noise_factor", "lossless")
NUMBERS: tuple[Any, ...] = ([4], (4,), True, {}, b"4", 1j, np.array([4.0]))
CALLS: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...]]] = {
    **{name: (in_a_call(name), NUMBERS) for name in BUDGETS[:-1]},
    "lossless": (in_a_call("lossless"), (1, "yes")),
    "axes": (in_a_call("axes"), (5, ("Y", "X"), b"YX")),
    "options": (in_a_call("options"), (5, "a=1", [("a", 1)])),
    "progress": (in_a_call("progress"), (5, "yes")),
    "overwrite": (lambda value: mf.compress(ARRAY, "a.mfield", ratio=4, overwrite=value), ("no", 1)),
    "method": (in_a_call("method"), (5, None)),
    "keep_metadata": (in_a_call("keep_metadata"), ("no",)),
    "guide_arrays": (in_a_call("guide_arrays"), (5,)),
    "destination": (lambda value: mf.compress(ARRAY, value, ratio=4), (5, b"a.mfield", ["a.mfield"], ARRAY)),
    "max_read_bytes": (lambda value: mf.open(FILE, max_read_bytes=value), ("1GB", [1], True, -1)),
    "cache_parts": (lambda value: mf.open(FILE, cache_parts=value), ("x", None, 1.5, -1)),
    "host": (lambda value: mf.open(FILE, host=value), ("YX", (3, 3))),
    "n": (lambda value: mf.open(FILE).preview(value), ("x", None, 2.0, [2], 0)),
    "fill": (lambda value: mf.open(FILE).asarray(mask=np.ones(LAYOUT.shape, bool), fill=value), ("x", None, [1])),
    "path": (lambda value: mf.open(FILE).save(value), (5, b"a.tif", ["a.tif"])),
    "scene": (lambda value: mf.open_image("a.npy", scene=value), (5.5, ["a"], True)),
    "channel": (lambda value: mf.open_image("a.npy", channel=value), (5.5, b"a")),
    "nan_fill": (lambda value: mf.compare(ARRAY, FILE, nan_fill=value), ("x", True)),
    "file_bytes": (lambda value: mf.compare(ARRAY, FILE, file_bytes=value), ("x", 0)),
    "data": (lambda value: mf.Image(value, "YX"), (5, [[1, 2], [3, 4]])),
    "voxel_size": (lambda value: mf.Image(ARRAY, "YX", voxel_size=value), (5,)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_type_is_one_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, wrongs = CALLS[name]
    for wrong in wrongs:
        with pytest.raises(mf.InputError, match=rf"^{name}=.* must be .*\.$"):
            call(wrong)
    assert list(tmp_path.iterdir()) == []


def test_what_numpy_and_people_write_is_taken(tmp_path: Path) -> None:
    given: dict[str, Any] = {"ratio": np.array(9), "overwrite": np.True_, "axes": "yx"}
    assert mf.compress(image("uint8").read(), tmp_path / "a.mfield", effort=0, **given).axes == "YX"
    limit, step = np.float64(1e6), np.int64(2)
    f: Any = mf.open(tmp_path / "a.mfield", max_read_bytes=limit)  # type: ignore[arg-type]
    assert f.preview(step).shape == (24, 20)
    assert checks.number("n", np.float32(2)) == 2


def test_lists_that_are_no_arrays_are_refused() -> None:
    with pytest.raises(mf.InputError, match="rows that differ in length"):
        mf.compress([[1, 2], [3]], "a.mfield", ratio=4)

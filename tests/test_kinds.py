"""Booleans, half floats and 64-bit integers are kept as types that hold the same values, and the report says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import microfield as mf
from helpers.images import blobs, image
from microfield.image import as_image
from microfield.kinds import Converted, _ends

CELLS = image("uint8").read()


@pytest.mark.parametrize(("values", "dtype", "words"), [
    (CELLS > 90, "uint8", "are booleans, which are kept as 0 and 1 (uint8)"),
    (blobs((24, 20)).astype(np.float16), "float32", "are float16 and kept as float32: sizes and ratios count 4 bytes"),
    (CELLS.astype(np.int64) - 9, "int32", "are int64 and kept, each exactly, as int32: sizes and ratios count 4 bytes"),
    (CELLS.astype(np.uint64) << 24, "uint32", "are uint64 and kept, each exactly, as uint32"),
    (CELLS.astype(">i8") << 40, "float64", "are int64 and kept, each exactly, as float64."),
])
def test_values_come_back_and_the_report_says_how_they_are_kept(values: Any, dtype: str, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values)
    sources = [values, tmp_path / "a.npy"]
    if (dask := pytest.importorskip("dask.array")) is not None:
        sources.append(dask.from_array(values))
    for n, source in enumerate(sources):
        report = mf.compress(source, tmp_path / f"{n}.mfield", lossless=True)
        assert [words in note for note in report.notes] == [True]
        with mf.open(tmp_path / f"{n}.mfield") as f:
            assert f.dtype == dtype
            np.testing.assert_array_equal(f[...], values)
            assert mf.compare(source, f, ssim=False).same_original


def test_lossy_copies_of_large_integers_are_as_good_as_those_of_small_ones(tmp_path: Path) -> None:
    found = [mf.compress(values, tmp_path / f"{values.dtype}.mfield", max_bytes=200, effort=0)
             for values in (CELLS.astype(np.int32), CELLS.astype(np.int64))]
    assert found[0].psnr == found[1].psnr
    assert (found[0].ratio, len(found[0].notes)) == (found[1].ratio, 0)


def test_what_no_type_holds_is_refused_with_its_values(tmp_path: Path) -> None:
    values = CELLS.astype(np.uint64) + (1 << 60)
    tifffile.imwrite(tmp_path / "a.tif", values)
    for source in (values, tmp_path / "a.tif"):
        with pytest.raises(mf.InputError, match=f"uint64 values from {values.min()} to {values.max()}, which no type"):
            mf.compress(source, tmp_path / "a.mfield", lossless=True)
    with pytest.raises(mf.InputError, match="complex128 values"):
        mf.compress(CELLS * 1j, tmp_path / "a.mfield", lossless=True)


def test_images_of_integers_are_read_piece_by_piece() -> None:
    values = np.arange(3 * 5 * 7).reshape(3, 5, 7).astype(np.int64) - 50
    made = as_image(values, "ZYX")
    assert isinstance(made.data, Converted)
    assert made.read((slice(1, 2), slice(0, 5), slice(2, 4))).dtype == np.int32
    assert _ends(values) == (-50, 54)
    assert _ends(values[:0]) == (0, 0)

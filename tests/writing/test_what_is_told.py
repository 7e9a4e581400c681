"""What a report tells beside its figures: that the source is a lossy copy itself, what hot pixels hide, that nothing is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import microfield as mf
from helpers.images import blobs, image
from microfield.writing.report import Report

SENTENCE = "is itself a lossy copy (method field): quality and errors are measured against it"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copies") / "a.mfield"
    mf.compress(image("uint8"), path, ratio=9, effort=0)
    return path


def test_a_copy_of_a_lossy_copy_says_so(copy: Path, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    with mf.open(copy) as f:
        array = f.to_xarray()
        for n, source in enumerate((f, array, array[:40], xarray.DataArray(array.values, dims=array.dims, attrs=array.attrs))):
            report = mf.compress(source, tmp_path / f"{n}.mfield", max_bytes=130, effort=0)
            assert [SENTENCE in note for note in report.notes] == [True]
            assert str(report).count("note: a.mfield is itself") == (0 if n == 3 else 1)


def test_a_copy_of_an_exact_copy_does_not(tmp_path: Path) -> None:
    mf.compress(image("uint8"), tmp_path / "a.mfield", lossless=True)
    with mf.open(tmp_path / "a.mfield") as f:
        assert f.exact
        for n, source in enumerate((f, f.to_xarray())):
            assert mf.compress(source, tmp_path / f"{n}.mfield", ratio=15, effort=0).notes == ()
        assert mf.compare(f, f).notes == ()


def test_a_comparison_with_a_lossy_copy_says_so(copy: Path) -> None:
    with mf.open(copy) as f:
        values = f.asarray()
    for original in (copy, copy.read_bytes()):
        assert any(SENTENCE in note for note in mf.compare(original, values, ssim=False).notes)
    assert mf.compare(image("uint8"), copy, ssim=False).notes == ()


def test_a_microfield_file_given_as_a_path_is_sent_to_its_original(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(mf.InputError, match="compress the image that it was made from, or turn it into an image"):
        mf.compress(copy, tmp_path / "b.mfield", ratio=15)


def test_hot_pixels_do_not_hide_what_was_lost(tmp_path: Path) -> None:
    values = (200 + 500 * blobs((64, 64))).astype(np.uint16)
    plain = mf.compress(values, tmp_path / "plain.mfield", ratio=30, effort=0)
    assert not plain.stretched
    assert "extreme" not in str(plain)
    values[5, 7], values[40, 40] = 65535, 40000
    hot = mf.compress(values, tmp_path / "hot.mfield", ratio=30, effort=0)
    found = mf.compare(values, tmp_path / "hot.mfield", ssim=False)
    assert hot.psnr_robust == pytest.approx(found.psnr_robust, abs=0.01)
    assert hot.as_dict()["psnr_robust"] == hot.psnr_robust
    assert hot.psnr - (hot.psnr_robust or 0) > 20
    assert f"PSNR {hot.psnr:.2f} dB, but {hot.psnr_robust:.2f} dB on the range of all but the extreme 0.1 %" in str(hot)


def _noise_with_a_spike(shape: tuple[int, ...]) -> npt.NDArray[np.uint16]:
    values = np.random.default_rng(1).normal(100, 4, shape).astype(np.uint16)
    values[..., 3, 3] = 300
    return values


def test_channels_of_which_nothing_is_left_are_named(tmp_path: Path) -> None:
    cells = (200 + 50000 * blobs((64, 64))).clip(0, 65535).astype(np.uint16)
    given = mf.Image(np.stack([cells, _noise_with_a_spike((64, 64))]), "CYX", channel_names=("DAPI", "GFP"))
    report = mf.compress(given, tmp_path / "a.mfield", least_psnr=25, effort=0)
    with mf.open(tmp_path / "a.mfield") as f:
        assert np.ptp(f[1]) <= 1 < np.ptp(f[0])
    assert [note for note in report.notes if "hardly more than one grey level is left of channel GFP:" in note]
    whole = mf.compress(given.data[1], tmp_path / "b.mfield", psnr=30, effort=0)
    assert "grey level is left of the image: its error" in str(whole)
    assert "is left" not in str(mf.compress(given, tmp_path / "c.mfield", lossless=True))


@pytest.mark.parametrize(("bytes_of_source", "words"), [(600, "2.0x smaller than"), (100, "3.0x larger than")])
def test_larger_than_the_source_is_called_larger(bytes_of_source: int, words: str) -> None:
    report = Report("field", 900, 300, 3.0, bytes_of_source, 30.0, (30.0,), None, None, 1, 0.0)
    assert f"({words} the source file)" in str(report)

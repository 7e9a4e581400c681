from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield import metrics
from microfield.errors import InputError
from microfield.image import Image
from microfield.metrics import accumulate, channel_names, compare, psnr, square_errors, ssim, volume_similarity
from microfield.metrics.decibel import decibel
from microfield.statistics import channel_statistics

SHAPES = {"YX": (40, 50), "ZYX": (3, 40, 50), "YXS": (40, 50, 3), "TCZYX": (2, 2, 2, 20, 30), "ZCYX": (2, 3, 20, 30)}


def pair(axes: str, dtype: str = "uint16") -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    random = np.random.default_rng(0)
    shape = SHAPES[axes]
    original = random.integers(0, 200, shape).astype(dtype)
    error = random.integers(-9, 10, shape)
    return original, np.clip(original.astype(float) + error, 0, 250).astype(dtype)


def channels_of(values: npt.NDArray[Any], axes: str) -> list[npt.NDArray[Any]]:
    """One stack of planes per channel, found the slow way."""
    where = [i for i, axis in enumerate(axes) if axis in "CS"]
    first = np.moveaxis(values, where, range(len(where)))
    return list(first.reshape(-1, *first.shape[len(where) :]))


@pytest.mark.parametrize("axes", sorted(SHAPES))
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_psnr_and_ssim_equal_scikit_images(axes: str, dtype: str) -> None:
    reference = pytest.importorskip("skimage.metrics")
    original, reconstruction = pair(axes, dtype)
    found = compare(Image(original, axes), reconstruction)
    a, b = channels_of(original, axes), channels_of(reconstruction, axes)
    assert len(found.channels) == len(a)
    for channel, x, y in zip(found.channels, a, b, strict=True):
        data_range = float(x.max()) - float(x.min())
        assert channel.psnr == pytest.approx(reference.peak_signal_noise_ratio(x, y, data_range=data_range))
        planes = zip(x.reshape(-1, *x.shape[-2:]), y.reshape(-1, *y.shape[-2:]), strict=True)
        similarity = [
            reference.structural_similarity(
                p.astype(float) - x.min(), q.astype(float) - x.min(),
                gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=data_range,
            )
            for p, q in planes
        ]  # fmt: skip
        assert channel.ssim == pytest.approx(np.mean(similarity), abs=1e-9)
        error = x.astype(float) - y
        assert channel.nrmse == pytest.approx(np.sqrt(np.mean(error**2)) / data_range)
        assert channel.max_error == np.abs(error).max()
    normalised = np.mean([c.nrmse**2 for c in found.channels])
    assert found.psnr == pytest.approx(-10 * math.log10(normalised))
    assert found.nrmse == pytest.approx(math.sqrt(normalised))
    assert found.ssim == pytest.approx(np.mean([c.ssim for c in found.channels if c.ssim is not None]))
    assert found.max_error == max(c.max_error for c in found.channels)


@pytest.mark.parametrize("axes", ["ZYX", "YXS", "ZCYX", "ZTYX"])
def test_blocks_do_not_change_the_result(axes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = {"Z": 6, "Y": 200, "X": 60, "S": 3, "C": 2, "T": 2}
    random = np.random.default_rng(1)
    original = random.random([shape[a] for a in axes])
    reconstruction = original + random.normal(0, 0.1, original.shape)
    image = Image(original, axes)
    known = channel_statistics(image)
    whole = compare(image, reconstruction, statistics=known, full=True)
    assert whole.ssim == pytest.approx(ssim(original, reconstruction, axes, known.range).mean())
    assert whole.ms_ssim == pytest.approx(metrics.ms_ssim(original, reconstruction, axes, known.range).mean())
    if "Z" in axes:
        assert whole.ssim_3d == pytest.approx(metrics.ssim_3d(original, reconstruction, axes, known.range).mean())
    plane = 200 * 60 * (3 if "S" in axes else 1)
    for block, cut in ((plane, ["name"]), (plane // 3, ["name", "ms_ssim", "frc_cutoff"])):  # planes; bands of 66 rows
        monkeypatch.setattr(accumulate, "BLOCK", block)
        pieces = compare(image, reconstruction, statistics=known, full=True)
        for a, b in zip(whole.channels, pieces.channels, strict=True):
            for name in set(vars(a)) - set(cut):
                assert getattr(a, name) == pytest.approx(getattr(b, name)), name
            assert a.ms_ssim == pytest.approx(b.ms_ssim, abs=0.05)
            assert a.frc_cutoff == pytest.approx(b.frc_cutoff, abs=0.05)


def test_the_metrics_of_compare_are_those_of_arrays() -> None:
    random = np.random.default_rng(5)
    original = random.integers(100, 900, (120, 150)).astype(np.uint16)
    reconstruction = np.clip(original + random.normal(0, 80, original.shape), 0, 2000).astype(np.uint16)
    found = compare(Image(original, "YX"), reconstruction, full=True)
    assert found.pearson == pytest.approx(metrics.pearson(original, reconstruction))
    assert found.histogram_distance == pytest.approx(metrics.histogram_distance(original, reconstruction))
    assert found.blocking == pytest.approx(metrics.blocking(original, reconstruction))
    assert found.frc_cutoff == pytest.approx(2 * metrics.ring_correlation(original, reconstruction).cutoff())
    assert found.ssim_3d is None
    assert compare(original, reconstruction).psnr == found.psnr  # type: ignore[arg-type]


def test_an_offset_changes_nothing() -> None:
    random = np.random.default_rng(6)
    original = random.integers(0, 2000, (6, 40, 50)).astype(np.uint16)
    reconstruction = np.clip(original + random.normal(50, 200, original.shape), 0, 4000).astype(np.uint16)
    plain = compare(Image(original, "ZYX"), reconstruction, full=True)
    shifted = compare(Image(original + np.uint16(32768), "ZYX"), reconstruction + np.uint16(32768), full=True)
    assert plain.ssim is not None
    assert plain.ssim < 0.95
    for name in vars(plain.channels[0]):
        if name != "lpips":  # Not asked for.
            assert getattr(plain.channels[0], name) == pytest.approx(getattr(shifted.channels[0], name)), name


def test_a_full_comparison_has_everything_and_a_plain_one_what_is_cheap() -> None:
    original, reconstruction = (np.pad(a, ((0, 3), (0, 0), (0, 0)), mode="wrap") for a in pair("ZYX"))
    image = Image(original, "ZYX")
    full, plain = compare(image, reconstruction, full=True), compare(image, reconstruction)
    extra = {"ssim_3d", "ms_ssim", "histogram_distance", "blocking", "frc_cutoff"}
    for name in set(vars(plain.channels[0])) - {"lpips"}:
        assert (plain.channels[0].__dict__[name] is None) == (name in extra)
        assert full.channels[0].__dict__[name] is not None
    without = compare(image, reconstruction, full=True, ssim=False)
    assert without.ssim is without.ssim_3d is without.ms_ssim is None
    assert without.frc_cutoff == full.frc_cutoff


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 9), (7, 7)])
def test_tiny_images(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(7)
    original = random.integers(-3000, 3000, shape).astype(np.int16)
    found = compare(Image(original, "YX"), original + np.int16(7), full=True)
    assert found.max_error == 7
    assert found.frc_cutoff is None
    assert (found.pearson is None) == (original.size == 1)
    json.dumps(found.as_dict(), allow_nan=False)
    assert "nan" not in found.table()


def test_a_constant_image_has_no_correlation() -> None:
    flat = np.full((6, 64, 64), 40000, np.uint16)
    same = compare(Image(flat, "ZYX"), flat, full=True)
    assert same.psnr == math.inf
    assert (same.ssim, same.ssim_3d, same.ms_ssim) == pytest.approx((1, 1, 1))
    assert (same.histogram_distance, same.blocking) == (0, 0)
    assert same.pearson is same.frc_cutoff is same.noise_factor is None
    random = np.random.default_rng(8)
    varied = random.integers(0, 60000, flat.shape).astype(np.uint16)
    lost = compare(Image(varied, "ZYX"), flat, full=True)
    assert lost.pearson is None
    assert lost.frc_cutoff == 0


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e37), ("float32", 1e-37), ("float64", 1e120), ("float64", 1e-120)])
def test_the_size_of_floats_does_not_matter(dtype: str, size: float) -> None:
    random = np.random.default_rng(9)
    original = random.normal(0, 1, (6, 30, 40)).astype(np.float32)
    reconstruction = original + random.normal(0, 0.1, original.shape).astype(np.float32)
    plain = compare(Image(original, "ZYX"), reconstruction, full=True)
    factor = np.dtype(dtype).type(size)
    scaled = compare(Image(original * factor, "ZYX"), reconstruction * factor, full=True)
    assert scaled.max_error == pytest.approx(plain.max_error * size)
    for name in ("psnr", "psnr_robust", "ssim", "ssim_3d", "ms_ssim", "nrmse", "pearson", "noise_factor",
                 "histogram_distance", "blocking", "frc_cutoff"):  # fmt: skip
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name), rel=1e-4), name


@pytest.mark.parametrize(("axes", "shape"), [("ZYX", (160, 128, 128)), ("ZTYX", (20, 8, 128, 128))])
def test_memory_follows_the_blocks_and_not_the_image(
    axes: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accumulate, "BLOCK", 1 << 15)
    monkeypatch.setattr(volume_similarity, "POSITIONS", 1 << 12)
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8)[:, None], shape)
    image = Image(ramp, axes)
    known = channel_statistics(image)
    compare(image, ramp, statistics=known, full=True)  # what is kept between calls
    tracemalloc.start()
    compare(image, ramp, statistics=known, full=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20  # one plane of doubles is 128 kB, the image in doubles 21 MB


def test_the_rest_of_a_cut_plane_is_too_low_for_an_area(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(10)
    original = random.random((140, 80))
    reconstruction = original + random.normal(0, 0.1, original.shape)
    reconstruction[128:] = random.random((12, 80))
    image = Image(original, "YX")
    whole = compare(image, reconstruction, full=True, ssim=False)
    monkeypatch.setattr(accumulate, "BLOCK", 64 * 80)
    bands = compare(image, reconstruction, full=True)
    without = ms_ssim_of_bands(original, reconstruction, [(0, 64), (54, 128)], channel_statistics(image).range[0])
    assert bands.ms_ssim == pytest.approx(without, rel=1e-3)  # the minimum subtracted is that of the image
    assert bands.blocking == pytest.approx(whole.blocking)
    assert compare(image, reconstruction, full=True, ssim=False).blocking == pytest.approx(whole.blocking)


def ms_ssim_of_bands(a: npt.NDArray[Any], b: npt.NDArray[Any], rows: list[tuple[int, int]], value_range: float) -> float:
    values = [metrics.ms_ssim(a[i:j], b[i:j], "YX", value_range)[0] for i, j in rows]
    return float(np.average(values, weights=[j - i for i, j in rows]))


def test_a_bright_channel_does_not_hide_a_weak_one() -> None:
    random = np.random.default_rng(2)
    original = np.stack([random.random((30, 30)), 1000 * random.random((30, 30))])
    reconstruction = original + np.array([0.1, 10.0])[:, None, None]
    image = Image(original, "CYX")
    found = compare(image, reconstruction, ssim=False)
    first, second = found.channels
    assert first.psnr == pytest.approx(20, abs=0.2)
    assert second.psnr == pytest.approx(40, abs=0.2)
    assert found.psnr == pytest.approx(10 * math.log10(2) + first.psnr, abs=0.1)
    assert found.ssim is first.ssim is None
    mse = square_errors(image, lambda box: reconstruction[box])
    assert mse == pytest.approx([0.01, 100.0])
    assert found.psnr == psnr(mse, channel_statistics(image).range)


def test_decibels_of_a_normalised_error() -> None:
    assert [decibel(error) for error in (1.0, 0.1, 1e-4, 0.0)] == [0, 10, 40, math.inf]
    for bad in (-1e-9, math.nan):
        with pytest.raises(ValueError, match="0 or more"):
            decibel(bad)
    assert psnr([0.0, 0.0], [1e-200, 1.0]) == math.inf


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e6))
def test_psnr_of_one_channel(mse: float, value_range: float) -> None:
    assert psnr(mse, value_range) == pytest.approx(10 * math.log10(value_range**2 / mse))
    assert psnr([mse, mse], [value_range, value_range]) == pytest.approx(psnr(mse, value_range))


def test_without_error() -> None:
    original, _ = pair("ZCYX")
    found = compare(Image(original, "ZCYX"), original)
    assert found.psnr == psnr(0, 1) == math.inf
    assert found.ssim == pytest.approx(1)
    assert (found.nrmse, found.max_error, found.noise_factor) == (0, 0, 0)
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["psnr"] is plain["channels"][0]["psnr"] is None
    assert "inf" in found.table()


def test_a_hot_pixel_moves_the_psnr_but_not_the_robust_one() -> None:
    random = np.random.default_rng(3)
    original = random.integers(0, 100, (100, 100)).astype(np.uint16)
    reconstruction = np.clip(original + random.integers(-3, 4, original.shape), 0, 200).astype(np.uint16)
    calm = compare(Image(original, "YX"), reconstruction)
    original[50, 50] = reconstruction[50, 50] = 60000
    hot = compare(Image(original, "YX"), reconstruction)
    assert hot.psnr > calm.psnr + 40
    assert hot.psnr_robust == pytest.approx(calm.psnr_robust, abs=0.1)


def test_error_in_units_of_noise() -> None:
    random = np.random.default_rng(4)
    original = random.normal(100, 5, (3, 128, 128))
    found = compare(Image(original, "CYX"), original + random.normal(0, 10, original.shape), ssim=False)
    assert found.noise_factor == pytest.approx(2, rel=0.1)
    flat = compare(Image(np.zeros((9, 9), np.uint8), "YX"), np.ones((9, 9), np.uint8))
    assert flat.noise_factor is None
    assert flat.psnr == 0  # the range of a constant channel counts as 1


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(0, 1000))
def test_ssim_of_planes_smaller_than_the_window(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.random((2, height, width))
    assert ssim(a, a, "YX", 1.0)[0] == pytest.approx(1)
    assert -1 <= ssim(a, b, "YX", 1.0)[0] < 1
    found = compare(Image(a, "YX"), b)
    assert found.ssim is not None
    assert math.isfinite(found.ssim)


def test_shapes_that_differ_are_refused() -> None:
    image = Image(np.zeros((4, 5)), "YX")
    with pytest.raises(InputError, match=r"\(4, 5\).*\(5, 4\)"):
        compare(image, np.zeros((5, 4)))
    with pytest.raises(InputError, match=r"\(4, 5\).*\(1, 5\)"):
        square_errors(image, lambda box: np.zeros((1, 5)))
    with pytest.raises(InputError, match="one shape"):
        ssim(np.zeros((4, 5)), np.zeros((5, 4)), "YX", 1.0)


@pytest.mark.parametrize("which", [0, 1])
def test_nan_is_refused_with_its_count(which: int) -> None:
    arrays = [np.zeros((8, 8)), np.zeros((8, 8))]
    arrays[which][0, :3] = np.nan
    arrays[which][7, 7] = -np.inf
    name = ("embryo", "the reconstruction")[which]
    with pytest.raises(InputError, match=f"{name} holds 3 NaN and 1 infinite"):
        compare(Image(arrays[0], "YX", name="embryo"), arrays[1])


def test_reading_the_reconstruction_lazily_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    original, reconstruction = pair("ZYX")
    read = np.zeros(original.shape, int)

    class Lazy:
        shape, dtype = reconstruction.shape, reconstruction.dtype

        def __getitem__(self, key: Any) -> npt.NDArray[Any]:
            read[key] += 1
            return np.asarray(reconstruction[key])

    monkeypatch.setattr(accumulate, "BLOCK", 40 * 50)
    compare(Image(original, "ZYX"), Lazy())
    assert (read == 1).all()


def test_a_comparison_is_a_small_mapping() -> None:
    original, reconstruction = pair("ZCYX")
    image = Image(original, "ZCYX", channel_names=("DNA", "actin", "tubulin"), source_bytes=3000)
    found = compare(image, reconstruction, file_bytes=100)
    assert found["psnr"] == found.psnr
    assert found["ratio"] == found.ratio == original.nbytes / 100
    assert found["source_ratio"] == 30
    assert set(found) == set(found.as_dict())
    assert len(found) == len(list(found))
    with pytest.raises(KeyError):
        found["table"]
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert [c["name"] for c in plain["channels"]] == ["DNA", "actin", "tubulin"]
    assert plain["ratio"] == found.ratio
    assert compare(image, reconstruction, ssim=False).ratio is None


def test_the_table_is_aligned() -> None:
    original, reconstruction = pair("ZCYX")
    image = Image(original, "ZCYX", channel_names=("DNA", "actin", "tubulin"), source_bytes=3000)
    head, *rows, sizes = compare(image, reconstruction, file_bytes=100).table().splitlines()
    assert [row.split()[0] for row in rows] == ["DNA", "actin", "tubulin", "all"]
    assert len({len(line) for line in (head, *rows)}) == 1
    assert "72.00x" in sizes
    assert "30.00x" in sizes
    short = compare(Image(original[0, 0], "YX"), reconstruction[0, 0], ssim=False).table()
    assert len(short.splitlines()) == 2
    assert "SSIM" not in short
    names = ("a name longer than what fits into a column", "b", "c")
    full = compare(Image(original, "ZCYX", channel_names=names), reconstruction, full=True).table()
    assert max(map(len, full.splitlines())) <= 132
    assert "a name long..." in full


def test_names_of_channels() -> None:
    assert channel_names(Image(np.zeros((4, 4)), "YX")) == ["C0"]
    assert channel_names(Image(np.zeros((4, 4)), "YX", channel_names=("DNA",))) == ["DNA"]
    assert channel_names(Image(np.zeros((4, 4, 3)), "YXS")) == ["R", "G", "B"]
    assert channel_names(Image(np.zeros((2, 4, 4, 2)), "CYXS")) == ["C0 S0", "C0 S1", "C1 S0", "C1 S1"]

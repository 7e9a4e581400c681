"""Importance: weights of voxels steer the quantiser of `field`; the bitstream knows nothing of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from helpers.images import scaled
from microfield import open_image
from microfield.errors import UsageError
from microfield.image import Image, Layout
from microfield.methods.field.channels import Channels, measured
from microfield.methods.field.groups import Groups
from microfield.methods.field.importance import END, LEAST, Importance, of_coefficients, spread
from microfield.methods.field.lifting import Schedule, inverse
from microfield.methods.field.quantise import quantise
from microfield.methods.field.rotation import rotation_of
from microfield.methods.field.symbols import Buckets
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes
from microfield.writing.report import Report

Mask = npt.NDArray[np.bool_]
POLLEN = Path(__file__).parents[3] / "examples" / "pollen.ome.tif"
RATIO = Budget("ratio", 64)


def pollen() -> Image:
    whole = open_image(POLLEN)
    return Image(np.ascontiguousarray(whole.read()[8:16, 64:192, 64:192]), whole.axes)


def synthetic(axes: str = "YX") -> Image:
    """Clouds: the finer, the fainter."""
    sizes = {"T": 3, "Z": 3, "C": 2, "Y": 96, "X": 80, "S": 3}
    shape = tuple(sizes[a] for a in axes)
    grid = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    power = sum(g**2 for g in grid) + 1e-3
    values = np.fft.ifftn(np.fft.fftn(np.random.default_rng(3).normal(size=shape)) / power**1.2).real
    return Image(scaled((values - values.min()) / np.ptp(values), 100, 4000, np.uint16), axes)


def disc(image: Image, share: float = 0.1) -> Mask:
    height, width = (image.shape[image.axes.index(a)] for a in "YX")
    y, x = np.ogrid[:height, :width]
    plane = (y - height / 2) ** 2 + (x - width / 2) ** 2 < share * height * width / np.pi
    shape = [n if a in "YX" else 1 for a, n in zip(image.axes, image.shape, strict=True)]
    return np.broadcast_to(plane.reshape(shape), image.shape)


def psnr(image: Image, data: bytes, where: Mask) -> float:
    """Relative to the range of the whole image."""
    original = image.read().astype(np.float64)
    square = (np.asarray(open_file(data)[...]) - original) ** 2
    return float(10 * np.log10(np.ptp(original) ** 2 / square[where].mean()))


def coded(image: Image, budget: Budget = RATIO, **settings: Any) -> tuple[bytes, Report]:
    return compress_to_bytes(image, budget, Settings(effort=settings.pop("effort", 1), **settings))


# -- what it does to an image -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("image", "ratio", "effort"), [(pollen(), 64, 5), (pollen(), 64, 1), (synthetic(), 12, 5),
                                                        (synthetic("TZYX"), 32, 1), (synthetic("CYX"), 10, 1)],
                         ids=lambda value: getattr(value, "axes", str(value)))
def test_what_matters_is_better_by_a_decibel_in_as_many_bytes(image: Image, ratio: float, effort: int) -> None:
    mask, budget = disc(image), Budget("ratio", ratio)
    plain, _ = coded(image, budget, effort=effort)
    found = {}
    for weight in (2.0, 4.0):
        data, report = coded(image, budget, effort=effort, saliency=mask, saliency_weight=weight)
        assert len(data) <= image.nbytes / ratio
        assert len(data) == pytest.approx(len(plain), rel=0.03)
        found[weight] = psnr(image, data, mask) - psnr(image, plain, mask), psnr(image, data, ~mask) - psnr(image, plain, ~mask)
        assert report.psnr_inside is not None
        assert report.psnr_outside is not None
        if "C" not in image.axes:
            assert report.psnr_inside == pytest.approx(psnr(image, data, mask), abs=0.01)
            assert report.psnr_outside == pytest.approx(psnr(image, data, ~mask), abs=0.01)
    assert found[2.0][0] >= 1
    assert found[4.0][0] > found[2.0][0] + 0.5
    assert 0 > found[2.0][1] > found[4.0][1]


def test_what_does_not_matter_is_nearly_free() -> None:
    image = pollen()
    mask = disc(image, 0.05)
    only, _ = coded(image, saliency=mask.astype(np.float32))
    plain, _ = coded(image)
    assert psnr(image, only, mask) > psnr(image, plain, mask) + 6
    # As good inside as the plain file, in a fifth of its bytes.
    smaller, _ = coded(image, Budget("ratio", 320), saliency=mask.astype(np.float32))
    assert psnr(image, smaller, mask) > psnr(image, plain, mask)


def test_weight_below_one_is_for_what_matters_least() -> None:
    image = pollen()
    mask = disc(image)
    data, _ = coded(image, saliency=mask, saliency_weight=0.25)
    plain, _ = coded(image)
    assert psnr(image, data, mask) < psnr(image, plain, mask) - 1


@pytest.mark.parametrize(("weight", "tile"), [(1.0, None), (1.0, {"Y": 48, "X": 48}), (3.0, None), (0.3, None)])
def test_equal_weights_change_nothing(weight: float, tile: dict[str, int] | None) -> None:
    image = synthetic()
    plain, _ = coded(image, tile=tile)
    same, _ = coded(image, tile=tile, saliency=np.full(image.shape, weight, np.float32))
    assert same == plain


def test_tiles_that_matter_are_finer() -> None:
    image = synthetic()
    mask = np.zeros(image.shape, np.bool_)
    mask[:48, :40] = True
    tiles = {"Y": 48, "X": 40}
    plain, _ = coded(image, tile=tiles)
    for weights in (np.where(mask, 2, 1), np.where(mask, 0.2, 0.1), mask):
        data, _ = coded(image, tile=tiles, saliency=weights.astype(np.float32))
        assert psnr(image, data, mask) >= psnr(image, plain, mask) + 1
        assert psnr(image, data, ~mask) < psnr(image, plain, ~mask)


@pytest.mark.parametrize("saliency", ["mask", "zero outside"])
def test_a_quality_is_that_of_all_voxels_alike(saliency: str) -> None:
    image = synthetic()
    mask = disc(image)
    weights = mask if saliency == "mask" else mask.astype(np.float32)
    data, report = coded(image, Budget("psnr", 34), saliency=weights)
    everywhere = np.ones(image.shape, np.bool_)
    assert psnr(image, data, everywhere) >= 34
    assert report.psnr == pytest.approx(psnr(image, data, everywhere), abs=0.01)
    assert psnr(image, data, mask) > psnr(image, data, ~mask) + 3


@pytest.mark.parametrize("axes", ["YXS", "TCZYX"])
def test_all_axes(axes: str) -> None:
    image = synthetic(axes)
    mask = disc(image)
    plain, _ = coded(image)
    data, _ = coded(image, saliency=mask, saliency_weight=4.0)
    assert psnr(image, data, mask) > psnr(image, plain, mask) + 1


def test_emphasis_is_the_power_of_the_weights() -> None:
    image = synthetic()
    mask = disc(image)
    squared, _ = coded(image, saliency=np.where(mask, 2, 1))
    stated, _ = coded(image, saliency=np.where(mask, 4, 1), options={"emphasis": 1.0})
    assert squared == stated
    with pytest.raises(UsageError, match="emphasis"):
        coded(image, options={"emphasis": 0.0})


def test_the_first_guess_is_near() -> None:
    """A search that begins far off takes several more attempts."""
    from microfield.methods.base import Context
    from microfield.methods.field.method import FieldMethod
    from microfield.objective import Objective

    image = pollen()
    weights = np.where(disc(image), np.float32(4), np.float32(1))
    span = np.array([float(np.ptp(image.read()))])
    context = Context(span, np.ones(1), objective=Objective(weights), measure=False, effort=1)
    method, nbytes = FieldMethod(), image.nbytes // 64
    quality = method.guess(image.read(), image.layout, nbytes, context)
    encoded = method.encode(image.read(), image.layout, quality, context)
    assert 0.5 < encoded.payload / nbytes < 2


# -- the pieces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 40, 37), (2, 5, 16, 3), (1, 2, 1, 16)])
def test_equal_weights_stay_equal(shape: tuple[int, int, int, int]) -> None:
    groups = Groups(1, shape, "STD", 1 if shape[0] > 1 else 0)
    for weights in of_coefficients(np.full((1, shape[0] * shape[1], *shape[2:]), 0.3, np.float32), groups):
        np.testing.assert_allclose(weights, 0.3, rtol=1e-5)


def test_a_coefficient_counts_as_much_as_the_voxels_that_it_changes() -> None:
    schedule = Schedule(((0, 1), (0,), (0, 1)), (64, 24))
    weights = np.random.default_rng(1).random((8, 3)).astype(np.float32).repeat(8, 0).repeat(8, 1)
    exact = np.empty(schedule.shape)
    for place in np.ndindex(*schedule.shape):
        one = np.zeros(schedule.shape, np.float32)
        one[place] = 1
        power = inverse(one, schedule) ** 2
        exact[place] = (power * weights).sum() / power.sum()
    found = spread(weights, schedule)
    finest = np.ones(schedule.shape, np.bool_)
    finest[:32, :12] = False
    assert np.sqrt(np.mean((found - exact)[finest] ** 2)) < 0.03
    assert exact[finest].std() > 0.2
    # Coarser ones count more rather than less.
    assert (found - exact)[~finest].mean() > 0.01
    assert np.sqrt(np.mean((found - exact)[~finest] ** 2)) < 0.15


def test_rotated_channels_share_their_weights() -> None:
    layout = Layout((2, 4, 4), "CYX", np.dtype("uint8"))
    block = np.arange(32).reshape(2, 1, 4, 4)
    weights = np.stack([np.full((4, 4), 1.0), np.full((4, 4), 3.0)]).astype(np.float32)
    known = measured(block, np.ones(2), np.ones(2), False)
    half = rotation_of(np.array([[1.0, 1.0], [1.0, 1.0]]))
    apart = Importance(weights, 1.0).of_channels(layout, known)
    mixed = Importance(weights, 1.0).of_channels(layout, Channels(known.low, known.high, known.gains, known.darks, half))
    assert apart is not None
    assert mixed is not None
    np.testing.assert_allclose(apart[:, 0, 0, 0], [1 / 3, 1])
    np.testing.assert_allclose(mixed, 2 / 3, rtol=0.01)


def test_constant_channels_have_no_weights() -> None:
    layout = Layout((2, 4, 4), "CYX", np.dtype("uint8"))
    block = np.stack([np.zeros((1, 4, 4)), np.arange(16).reshape(1, 4, 4)])
    weights = np.random.default_rng(0).random((2, 4, 4)).astype(np.float32)
    found = Importance(weights, 1.0).of_channels(layout, measured(block, np.ones(2), np.ones(2), False))
    assert found is not None
    assert found.shape == (1, 1, 4, 4)


@pytest.mark.parametrize("weight", [0.0, 1e-30, 0.25, 1.0, 4.0, 1e30])
def test_the_moved_quality_grows_and_keeps_its_ends(weight: float) -> None:
    important = Importance(np.full((2, 2), weight, np.float32), 2.0)
    qualities = np.linspace(0, END, 2001)
    moved = [important.moved(q) for q in qualities]
    assert moved[0] == 0
    assert moved[-1] == END
    assert (np.diff(moved) > 0).all()
    if weight in (0.25, 1.0, 4.0):
        # Errors that count 16 times as much: two octaves.
        assert moved[1000] - 500 == pytest.approx(np.log2(weight) * END / 17)
        assert important.back(moved[1000]) == pytest.approx(500)
    assert 0 <= important.back(300) <= END


def test_no_weights_change_nothing() -> None:
    none = Importance(None, 2.0)
    assert [none.moved(q) for q in (0.0, 12.34, 999.9, END)] == [0.0, 12.34, 999.9, END]
    assert none.of_channels(Layout((4, 4), "YX", np.dtype("uint8")), Channels(np.zeros(1), np.ones(1))) is None


def test_what_counts_nothing_still_has_a_weight() -> None:
    weights = np.array([[0, 1e-30], [1, 1e30]], np.float32)
    layout = Layout((2, 2), "YX", np.dtype("uint8"))
    found = Importance(weights, 4.0).of_channels(layout, measured(np.arange(4).reshape(1, 1, 2, 2), np.ones(1), np.ones(1), False))
    assert found is not None
    np.testing.assert_allclose(found.reshape(-1), [LEAST, LEAST, LEAST, 1])


def test_cheap_errors_are_rounded_down_further() -> None:
    rng = np.random.default_rng(0)
    scaled_values = rng.exponential(3, 4000).astype(np.float32) + np.float32(0.5)
    buckets = Buckets(*(rng.integers(8, 24, (3, 4000)).astype(np.uint8)))
    plain = quantise(scaled_values, buckets, 0.1)
    np.testing.assert_array_equal(quantise(scaled_values, buckets, 0.1, np.ones(4000, np.float32)), plain)
    means = [plain.mean()]
    for weight in (0.5, 0.1, 0.01):
        means.append(quantise(scaled_values, buckets, 0.1, np.full(4000, weight, np.float32)).mean())
    assert (np.diff(means) < 0).all()

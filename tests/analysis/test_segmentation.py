"""Segmenters and filters against scikit-image, NumPy and images with a known answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield.analysis import filters
from microfield.analysis.choose_segmenter import choose_segmenter
from microfield.analysis.segmentation import SEGMENTERS, agreement, otsu_threshold, overlap
from microfield.errors import InputError

Array = npt.NDArray[Any]
RNG = np.random.default_rng(3)


def discs(shape: tuple[int, int], centres: list[tuple[int, int]], radius: float) -> npt.NDArray[np.bool_]:
    y, x = np.indices(shape)
    return np.asarray(np.logical_or.reduce([(y - i) ** 2 + (x - j) ** 2 <= radius**2 for i, j in centres]), np.bool_)


def noisy(mask: Array, contrast: float = 100.0, noise: float = 5.0, seed: int = 0) -> Array:
    return np.asarray(50 + contrast * mask + np.random.default_rng(seed).normal(0, noise, mask.shape))


NUCLEI = discs((160, 160), [(i, j) for i in (30, 80, 130) for j in (30, 80, 130)], 14)
LINES = np.zeros((160, 160), np.bool_)
for _k in range(12, 160, 30):
    LINES[_k : _k + 3, 8:152] = LINES[8:152, _k : _k + 3] = True
DOTS = discs((160, 160), [(i, j) for i in range(15, 160, 25) for j in range(15, 160, 25)], 2)


# -- filters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3])
def test_eigenvalues_are_those_of_numpy(n: int) -> None:
    matrices = RNG.normal(size=(500, n, n)).astype(np.float32)
    matrices += matrices.transpose(0, 2, 1)
    matrices[:2] = np.eye(n) * 3, np.zeros((n, n))  # equal eigenvalues
    triangle = [matrices[:, i, j] for i in range(n) for j in range(i, n)]
    np.testing.assert_allclose(np.stack(filters._eigenvalues(triangle), -1), np.linalg.eigvalsh(matrices), atol=2e-5)


def test_ridges_do_not_depend_on_how_the_volume_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    field = filters.as_field(RNG.normal(size=(9, 17, 23)))
    whole = filters.ridge_response(field, 1.0)
    monkeypatch.setattr(filters, "_SLAB", 800)
    np.testing.assert_array_equal(filters.ridge_response(field, 1.0), whole)


def test_ridge_filter_prefers_lines_and_sheets_to_blobs() -> None:
    z, y, x = np.indices((31, 31, 31)) - 15.0
    bell = {"tube": y**2 + x**2, "sheet": x**2, "blob": z**2 + y**2 + x**2}
    centre = {
        name: filters.ridge_response(np.exp(-r / 8).astype(np.float32), 2.0)[15, 15, 15] for name, r in bell.items()
    }
    assert centre["tube"] > 4 * centre["blob"]
    assert centre["sheet"] > 4 * centre["blob"]
    dark = filters.ridge_response((1 - np.exp(-bell["tube"] / 8)).astype(np.float32), 2.0)
    assert dark[15, 15, 15] == 0


def test_spot_filter_has_the_height_of_its_closed_form() -> None:
    # A Gaussian of variance v smoothed with variance s: -s times the Laplacian at its centre is 2 s v / (v + s)^2 in 2-D.
    y, x = np.indices((61, 61)) - 30.0
    field = np.exp(-(y**2 + x**2) / (2 * 9.0)).astype(np.float32)
    assert filters.spot_response(field, 3.0)[30, 30] == pytest.approx(2 * 9 * 9 / 18**2, rel=0.03)


def test_widths_follow_the_spacing() -> None:
    assert filters.widths(2.0, 3, (1.0, 0.25, 0.25)) == (0.5, 2.0, 2.0)
    for bad in ((1.0, 1.0), (1.0, 0.0, 1.0), (1.0, float("nan"), 1.0)):
        with pytest.raises(InputError, match="one positive number per axis"):
            filters.widths(1.0, 3, bad)


@given(scale=st.floats(1e-300, 1e300), offset=st.floats(-1e3, 1e3))
@settings(max_examples=30, deadline=None)
def test_fields_forget_scale_and_offset(scale: float, offset: float) -> None:
    values = np.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(filters.as_field((values + offset) * scale), values / 11, atol=1e-5)


def test_fields_take_every_dtype() -> None:
    wide = np.array([[np.finfo(np.float64).min, 0, np.finfo(np.float64).max]])
    np.testing.assert_allclose(filters.as_field(wide), [[0, 0.5, 1]])
    np.testing.assert_allclose(filters.as_field(np.array([[-32768, 32767]], np.int16)), [[0, 1]])
    assert not filters.as_field(np.full((4, 4), 7.0)).any()


# -- thresholds and masks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [NUCLEI, LINES, DOTS])
def test_otsu_agrees_with_scikit_image(mask: Array) -> None:
    from skimage.filters import threshold_otsu

    values = noisy(mask, noise=20).astype(np.float32)
    assert otsu_threshold(values) == pytest.approx(threshold_otsu(values, nbins=512), abs=1.5)


def test_otsu_ignores_a_hot_pixel() -> None:
    values = noisy(NUCLEI)
    before = otsu_threshold(values)
    values[0, 0] = 1e6
    assert otsu_threshold(values) == pytest.approx(before, abs=1.0)
    assert otsu_threshold(np.zeros((5, 5))) == np.inf
    alone = np.zeros((200, 200))
    alone[5, 5] = 1
    assert 0 < otsu_threshold(alone) < 1


@pytest.mark.parametrize(("name", "mask"), [("otsu", NUCLEI), ("local", NUCLEI), ("filament", LINES), ("spots", DOTS)])
def test_segmenters_find_what_they_are_for(name: str, mask: Array) -> None:
    found = SEGMENTERS[name](noisy(mask))
    assert overlap(mask, found).iou > (0.45 if name == "spots" else 0.75)
    np.testing.assert_array_equal(SEGMENTERS[f"{name}-dark"](-noisy(mask)), found)


def test_local_threshold_sees_past_uneven_ground() -> None:
    ramp = 4 * np.arange(160.0)[:, None]
    image = noisy(NUCLEI) + ramp
    assert overlap(NUCLEI, SEGMENTERS["local"](image)).iou > 0.75 > overlap(NUCLEI, SEGMENTERS["otsu"](image)).iou


@pytest.mark.parametrize("name", SEGMENTERS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (1, 30, 30), (5, 1, 9), (2, 3, 4)])
def test_segmenters_take_any_shape_and_a_constant(name: str, shape: tuple[int, ...]) -> None:
    values = RNG.integers(0, 255, shape).astype(np.uint8)
    assert SEGMENTERS[name](values).shape == shape
    assert SEGMENTERS[name](values).dtype == np.bool_
    assert not SEGMENTERS[name](np.full(shape, 9, np.int16)).any()
    assert choose_segmenter(values) in SEGMENTERS


@pytest.mark.parametrize("name", SEGMENTERS)
def test_masks_do_not_depend_on_scale_or_offset(name: str) -> None:
    image = np.rint(noisy(NUCLEI | LINES)).astype(np.uint16)
    other = SEGMENTERS[name](image.astype(np.float64) * 1e-7 - 3)
    assert overlap(SEGMENTERS[name](image), other).iou > 0.995


@pytest.mark.parametrize(
    "bad",
    [np.zeros(5), np.zeros((2, 2, 2, 2)), np.zeros((0, 4)), np.array([["a"]]), np.array([[1, np.nan]]), np.array([[np.inf, 0]])],
    ids=str,
)
def test_what_cannot_be_segmented_is_one_sentence(bad: Array) -> None:
    with pytest.raises(InputError, match=r"segmented.*\.$|give intensities\.$"):
        SEGMENTERS["otsu"](bad)


# -- choice ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mask", "name"), [(NUCLEI, "otsu"), (LINES, "filament"), (DOTS, "spots")])
def test_choice_by_shape_and_polarity(mask: Array, name: str) -> None:
    assert choose_segmenter(noisy(mask)) == name
    # Dark objects on a bright ground whose grain is weaker than theirs.
    grain = RNG.normal(0, 20, mask.shape) * mask
    assert choose_segmenter(200 - noisy(mask) + grain) == f"{name}-dark"


def test_choice_by_ground_and_noise() -> None:
    assert choose_segmenter(noisy(NUCLEI) + 4 * np.arange(160.0)[:, None]) == "local"
    assert choose_segmenter(RNG.normal(0, 1, (160, 160))) == "spots"
    assert choose_segmenter(np.zeros((9, 9))) == "otsu"
    volume = np.stack([np.zeros(NUCLEI.shape), noisy(NUCLEI), np.zeros(NUCLEI.shape)])
    assert choose_segmenter(volume) == "otsu"


# -- overlap -----------------------------------------------------------------------------------------------------------


def test_overlap_by_hand() -> None:
    a, b = np.array([[1, 1, 1, 0]], bool), np.array([[0, 1, 1, 1]], bool)
    found = overlap(a, b)
    assert [found.iou, found.dice] == pytest.approx([1 / 2, 2 / 3])
    np.testing.assert_array_equal(found.false_positive, [[False, False, False, True]])
    np.testing.assert_array_equal(found.false_negative, [[True, False, False, False]])
    empty = np.zeros((1, 4), bool)
    assert (overlap(empty, empty).iou, overlap(empty, empty).dice) == (1.0, 1.0)
    assert overlap(a, empty).iou == 0
    with pytest.raises(InputError, match="shapes"):
        overlap(a, b.T)


@given(both=st.integers(0, 50), a=st.integers(0, 50), b=st.integers(0, 50))
def test_iou_and_dice_tell_the_same(both: int, a: int, b: int) -> None:
    iou, dice = agreement(both, both + a, both + b)
    assert dice == pytest.approx(2 * iou / (1 + iou))
    assert 0 <= iou <= 1

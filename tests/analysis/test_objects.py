"""Labelling and matching of objects against scikit-image and brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield.analysis.choose_segmenter import typical_radius
from microfield.analysis.objects import Matching, as_labels, fill_holes, label_objects, match, pool
from microfield.errors import InputError

Array = npt.NDArray[Any]


def disc(shape: tuple[int, int], i: float, j: float, radius: float) -> npt.NDArray[np.bool_]:
    y, x = np.indices(shape)
    return np.asarray((y - i) ** 2 + (x - j) ** 2 <= radius**2)


def test_components_are_those_of_scikit_image() -> None:
    from skimage.measure import label

    for shape in ((60, 70), (12, 20, 25)):
        mask = np.random.default_rng(1).random(shape) < 0.3
        ours, theirs = label_objects(mask), label(mask, connectivity=1)
        assert ours.max() == theirs.max()
        assert match(ours, theirs, iou=1.0).matched == ours.max()


def test_small_objects_are_dropped_and_the_rest_numbered() -> None:
    mask = np.zeros((10, 20), bool)
    mask[1, 1] = mask[3:5, 3:5] = mask[6:9, 10:14] = True
    labels = label_objects(mask, 4)
    assert sorted(np.bincount(labels.ravel())[1:]) == [4, 12]
    assert label_objects(mask, 5).max() == 1
    assert not label_objects(np.zeros((3, 3), bool), 1, split=3.0).any()


def test_touching_discs_are_split_and_no_pixel_is_lost() -> None:
    mask = disc((60, 100), 30, 30, 16) | disc((60, 100), 30, 58, 16)
    mask |= disc((60, 100), 8, 90, 6)
    assert label_objects(mask).max() == 2
    assert typical_radius(mask) == pytest.approx(16, abs=1.5)
    split = label_objects(mask, split=typical_radius(mask))
    assert split.max() == 3
    np.testing.assert_array_equal(split > 0, mask)
    assert abs(int((split == split[30, 20]).sum()) - int((split == split[30, 68]).sum())) < 20


def test_volumes_are_split_with_their_spacing() -> None:
    z, y, x = np.indices((12, 48, 80))
    mask = (4 * (z - 6.0)) ** 2 + (y - 24) ** 2 + np.minimum(np.abs(x - 24), np.abs(x - 54)) ** 2 <= 17**2
    assert label_objects(mask).max() == 1
    assert label_objects(mask, split=16.0, spacing=(4.0, 1.0, 1.0)).max() == 2


def test_only_small_inner_holes_are_filled() -> None:
    mask = disc((60, 60), 30, 30, 20)
    mask[30, 30] = mask[26:28, 20:22] = False
    assert fill_holes(mask, 8.0).sum() == mask.sum() + 5
    ring = disc((60, 60), 30, 30, 20) & ~disc((60, 60), 30, 30, 12)
    np.testing.assert_array_equal(fill_holes(ring, 8.0), ring)
    assert not fill_holes(np.zeros((2, 2), bool), 40.0).any()


def test_matching_by_hand() -> None:
    a, b = np.zeros((20, 40), np.uint16), np.zeros((20, 40), np.int64)
    a[2:6, 2:6] = 7  # moves by one pixel: IoU 12 / 20
    b[2:6, 3:7] = 100
    a[10:14, 10:14] = 9  # grows by half
    b[10:16, 10:14] = 3
    a[2:6, 20:24] = 2000  # lost
    b[16:18, 30:36] = 5  # new
    b[2, 20] = 8  # a crumb of the lost one
    found = match(a, b, voxel_size=(2.0, 0.5))
    assert (found.count_a, found.count_b, found.matched) == (3, 4, 2)
    assert [found.precision, found.recall, found.f1] == pytest.approx([1 / 2, 2 / 3, 4 / 7])
    assert found.area_error == pytest.approx((0 + 0.5) / 2)
    assert found.distance_error == pytest.approx((1 + 1) / 2)
    assert found.distance_physical == pytest.approx((0.5 + 2.0) / 2)
    assert found.count_error == pytest.approx(1 / 3)


def brute(a: Array, b: Array, least: float) -> int:
    """Matches above ``least`` >= 0.5, object by object."""
    pairs = 0
    for i in np.unique(a[a > 0]):
        for j in np.unique(b[b > 0]):
            shared = np.sum((a == i) & (b == j))
            pairs += bool(shared / np.sum((a == i) | (b == j)) > least)
    return pairs


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_matching_agrees_with_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 4, (6, 7))
    b = np.where(rng.random(a.shape) < 0.25, rng.integers(0, 4, a.shape), a)
    found, back = match(a, b, 0.501), match(b, a, 0.501)
    assert found.matched == back.matched == brute(a, b, 0.501)
    assert found.precision == back.recall


def test_low_overlaps_pair_one_to_one_from_the_largest() -> None:
    a, b = np.array([[1, 1, 1, 1, 2, 2]]), np.array([[1, 1, 2, 2, 2, 2]])
    assert match(a, b, 0.3).matched == 2
    halves = np.array([[1, 1, 2, 2]])
    assert match(np.ones_like(halves), halves, 0.5).matched == 1


def test_tens_of_thousands_of_objects_can_be_matched() -> None:
    """A table of all pairs of objects would take 12 GB."""
    labels = np.arange(1, 40001).reshape(200, 200).repeat(4, 0).repeat(4, 1)
    assert match(labels, labels[:, ::-1][:, ::-1]).f1 == 1


def test_nothing_to_match() -> None:
    empty, one = np.zeros((4, 4), int), np.ones((4, 4), int)
    assert match(empty, empty) == Matching(0, 0, 0, None, None)
    assert match(empty, empty).f1 == 1
    assert (match(one, empty).f1, match(one, empty).precision, match(one, empty).recall) == (0, 1, 0)
    assert match(empty, one).count_error is None
    with pytest.raises(InputError, match="shapes"):
        match(empty, np.zeros((4, 5), int))
    with pytest.raises(InputError, match=r"not 1\.5"):
        match(one, one, 1.5)


def test_pooling_weighs_by_pairs() -> None:
    several = [Matching(2, 2, 1, 0.1, 1.0), Matching(4, 3, 3, 0.5, 2.0), Matching(1, 0, 0, None, None)]
    found = pool(several)
    assert (found.count_a, found.count_b, found.matched, found.distance_physical) == (7, 5, 4, None)
    assert [found.area_error, found.distance_error] == pytest.approx([0.4, 1.75])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_masks_become_objects(dtype: Any) -> None:
    mask = np.zeros((8, 8), bool)
    mask[1:3, 1:3] = mask[5:7, 5:7] = True
    for top in (1, 255):
        labels = as_labels((mask * top).astype(dtype))
        assert labels.max() == 2
        np.testing.assert_array_equal(labels > 0, mask)


def test_instances_keep_their_objects() -> None:
    labels = np.array([[0, 5, 5, 9], [9, 0, 0, 9]])
    np.testing.assert_array_equal(as_labels(labels), [[0, 1, 1, 2], [2, 0, 0, 2]])
    np.testing.assert_array_equal(as_labels(np.array([[3, 3, 7]])), [[1, 1, 2]])
    assert as_labels(np.zeros((3, 3))).max() == 0


@pytest.mark.parametrize("bad", [np.array([[0.5]]), np.array([[-1, 0]]), np.array([[np.nan]]), np.array([["a"]])], ids=str)
def test_labels_are_whole_numbers(bad: Array) -> None:
    with pytest.raises(InputError, match="whole numbers"):
        as_labels(bad)

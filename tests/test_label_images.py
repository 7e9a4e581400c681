from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from microfield.display import ChannelDisplay, Display
from microfield.image import Image
from microfield.io import open_image
from microfield.label_images import looks_like_labels, sounds_like_labels, table_of_labels

RANDOM = np.random.default_rng
POLLEN = Path(__file__).parents[1] / "examples" / "pollen.ome.tif"


class Counted:
    """An array that counts the elements that were read of it."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, 0

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        part: npt.NDArray[Any] = self.values[key]
        self.read += part.size
        return part


def smooth(shape: tuple[int, int] = (256, 256), height: float = 200.0) -> npt.NDArray[np.float64]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(height * (1 + np.sin(x / 17) * np.cos(y / 23)) + 0.3 * x)


def discs(shape: tuple[int, int], radius: int, step: int) -> npt.NDArray[np.uint16]:
    labels = np.zeros(shape, np.uint16)
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = product(range(radius, shape[0], step), range(radius, shape[1], step))
    for number, (cy, cx) in enumerate(centres, start=1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = number
    return labels


def cells(shape: tuple[int, ...], count: int, seed: int = 0) -> npt.NDArray[np.uint16]:
    """Voronoi cells, numbered from 1, without gaps."""
    seeds = np.zeros(shape, np.uint16)
    places = RANDOM(seed).choice(seeds.size, count, replace=False)
    seeds.ravel()[places] = np.arange(1, count + 1)
    nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    return np.asarray(seeds[tuple(nearest)])


def superpixels() -> npt.NDArray[np.uint16]:
    """Patches of a real image that end where its grey levels change."""
    from skimage.segmentation import watershed

    plane = ndimage.gaussian_filter(open_image(POLLEN).read()[16].astype(float), 1)
    seeds = np.zeros(plane.shape, np.int32)
    seeds.ravel()[RANDOM(1).choice(seeds.size, 300, replace=False)] = np.arange(1, 301)
    return np.asarray(watershed(np.hypot(*np.gradient(plane)), seeds), np.uint16)


def _labels() -> dict[str, npt.NDArray[Any]]:
    touching = cells((192, 192), 60)
    return {
        "far apart": discs((128, 128), 9, 24),
        "small": discs((128, 128), 4, 11),  # 15 % of all pairs differ
        "background -1": discs((128, 128), 40, 90).astype(np.int32) - 1,
        "mask of 255": np.where(discs((128, 128), 9, 24) > 0, 255, 0).astype(np.uint8),
        "inverted mask": np.where(discs((128, 128), 9, 24) > 0, 0, 255).astype(np.uint8),
        "planes": np.stack([discs((64, 64), 9, 24)] * 3),
        "floats": discs((64, 64), 9, 24).astype(np.float32),
        "cells without gaps": touching,
        "small cells without gaps": cells((160, 160), 400),
        "cells of floats": touching.astype(np.float32),
        "cells magnified": touching.repeat(2, 0).repeat(2, 1),
        "cells in 3-D": cells((12, 64, 64), 60),
        "cells in any order": RANDOM(2).permutation(61)[touching].astype(np.int32),
        "three classes": (touching % 3).astype(np.uint8),
        "six classes in steps": (touching % 6 * 40).astype(np.uint8),
        "superpixels of a real image": superpixels(),
        "one small object in a large field": np.pad(np.ones((12, 12), np.uint8), ((900, 100), (100, 900))),
    }


@pytest.mark.parametrize("name", sorted(_labels()))
def test_labels_masks_and_classes_are_recognised(name: str) -> None:
    values = _labels()[name]
    assert looks_like_labels(Image(values, "ZYX"[-values.ndim :]))


def _images() -> dict[str, npt.NDArray[Any]]:
    random = RANDOM(8)
    hot = np.full((64, 64), 100, np.uint16)
    hot[3, 3] = 4000
    sparse = np.zeros((256, 256), np.uint16)
    sparse[100:120, 100:120] = random.poisson(40, (20, 20))
    pollen = open_image(POLLEN).read()
    plane = pollen[16]
    share = (plane / plane.max()).astype(np.float64)
    return {
        "constant": np.full((20, 20), 5, np.uint8),
        "steps along Z": np.repeat(np.arange(6, dtype=np.uint8), 400).reshape(6, 20, 20),
        "one hot pixel": hot,
        "one bright cell in an empty field": sparse,
        "single photons": (random.random((256, 256)) < 0.004).astype(np.uint8),
        "binary noise": (random.random((256, 256)) < 0.5).astype(np.uint8),
        "noise": random.poisson(3, (64, 64)).astype(np.uint8),
        "saturated": np.clip(smooth((128, 128)), 60, 300).astype(np.uint16),
        "one pixel": np.ones((1, 1), np.uint8),
        "real": pollen,
        "real in 16 grey levels": np.floor(share * 15.99).astype(np.uint8),
        "real, without noise, in 8 bits": np.rint(ndimage.gaussian_filter(share, 2) * 255).astype(np.uint8),
        "real, magnified": plane.repeat(3, 0).repeat(3, 1),
        "real, magnified twice": plane.repeat(6, 0).repeat(3, 1),
        "real, few photons": random.poisson(share).astype(np.uint8),
        "real, dark pixels set to 0": np.where(ndimage.gaussian_filter(share, 3) > 0.2, plane, 0),
        "real, half saturated": np.minimum(plane, int(np.median(plane))),
    }


@pytest.mark.parametrize("name", sorted(_images()))
def test_images_are_not_taken_for_labels(name: str) -> None:
    values = _images()[name]
    assert not looks_like_labels(Image(values, "ZYX"[-values.ndim :]))


def test_who_says_that_an_image_is_no_labels_has_the_last_word() -> None:
    assert not looks_like_labels(Image(discs((64, 64), 9, 24), "YX", labels=False))


def test_names_and_metadata_shift_the_limits_and_do_not_decide_alone() -> None:
    tiny = cells((96, 96), 900)  # some ten pixels a cell
    assert not looks_like_labels(Image(tiny, "YX", name="cells.tif"))
    assert looks_like_labels(Image(tiny, "YX", name="cells_cp_masks.tif"))
    assert looks_like_labels(Image(tiny, "YX", labels=True))
    pollen = open_image(POLLEN).read()
    assert not looks_like_labels(Image(pollen, "ZYX", labels=True, name="pollen_labels.tif"))
    table = RANDOM(3).integers(0, 256, 768).astype(np.uint8).tobytes()
    assert looks_like_labels(Image(tiny, "YX", display=Display((ChannelDisplay(table=table),))))


@pytest.mark.parametrize(("name", "expected"), [
    ("a_labels.tif", True), ("b_cp_masks.png", True), ("mask.tif", True), ("c-seg.npy", True), ("d.label.ome.tif", True),
    ("e_mask3.tif", True), ("labelfree_worm.tif", False), ("label-free_worm.tif", False), ("segment.tif", False),
    ("unmasked.tif", False), ("array", False),
])
def test_names_of_labels(name: str, expected: bool) -> None:
    assert sounds_like_labels(name) == expected


def test_tables_of_labels_have_neighbours_unlike_each_other() -> None:
    ramp = np.concatenate([np.arange(256), np.arange(256) // 2, 255 - np.arange(256)]).astype(np.uint8).tobytes()
    assert not table_of_labels(None)
    assert not table_of_labels(ramp)
    assert table_of_labels(RANDOM(4).integers(0, 256, 768).astype(np.uint8).tobytes())


def test_of_a_large_image_little_is_read() -> None:
    values = Counted(RANDOM(5).poisson(100, (40, 512, 512)).astype(np.uint16))
    assert not looks_like_labels(Image(values, "ZYX"))
    assert values.read < values.values.size / 8

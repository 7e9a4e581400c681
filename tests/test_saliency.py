"""The map of structure, and the saliency that is made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from helpers.files import compressed
from helpers.images import blobs, scaled
from microfield.cli import main
from microfield.errors import InputError
from microfield.image import Image, Layout
from microfield.saliency import structure_map
from microfield.writing.budget import Budget


def cell(shape: tuple[int, int] = (64, 72), noise: float = 4.0) -> npt.NDArray[np.float64]:
    """One textured round object on a flat ground."""
    y, x = np.indices(shape)
    inside = (y - 20) ** 2 + (x - 30) ** 2 < 120
    rng = np.random.default_rng(0)
    return np.asarray(200 + inside * (400 + 100 * np.sin(x)) + rng.normal(0, noise, shape))


def test_structure_is_where_the_object_is() -> None:
    found = structure_map(cell().astype(np.uint16), Layout((64, 72), "YX", np.dtype("uint16")))
    assert found.dtype == np.float32
    assert found.shape == (64, 72)
    assert 0 <= found.min() <= found.max() <= 1
    assert found[14:26, 24:36].mean() > 0.3
    assert found[45:, 50:].mean() < 0.02


def test_noise_alone_has_no_structure() -> None:
    noise = np.random.default_rng(0).normal(1000, 30, (3, 64, 64))
    assert structure_map(noise, Layout(noise.shape, "ZYX", noise.dtype)).mean() < 0.01
    flat = np.full((8, 9), 7, np.uint8)
    assert not structure_map(flat, Layout(flat.shape, "YX", flat.dtype)).any()


def test_every_channel_has_its_own_scale_and_axes_may_come_in_any_order() -> None:
    plane = cell()
    both = np.stack([plane, plane * 0.01], -1).astype(np.float32)
    found = structure_map(both, Layout(both.shape, "YXC", both.dtype))
    np.testing.assert_allclose(found[..., 0], found[..., 1], atol=1e-3)
    alone = structure_map(both[..., 0], Layout(plane.shape, "YX", both.dtype))
    np.testing.assert_allclose(found[..., 0], alone, atol=1e-6)


def test_structure_can_be_the_saliency() -> None:
    image, budget = Image(cell(noise=25).astype(np.uint16), "YX"), Budget("max_bytes", 260)
    plain = compressed(image, "field", budget)[0]
    data, report = compressed(image, "field", budget, saliency="auto", saliency_weight=16.0)
    assert data != plain
    assert report.psnr_inside is not None
    assert report.psnr_outside is not None


def test_a_saliency_of_nothing_is_refused_in_a_sentence() -> None:
    flat = Image(np.full((16, 16), 7, np.uint8), "YX", name="flat.tif")
    with pytest.raises(InputError, match=r"flat\.tif shows no structure"):
        compressed(flat, "field", Budget("max_bytes", 300), saliency="auto")
    with pytest.raises(InputError, match="saliency"):
        compressed(flat, "field", Budget("max_bytes", 300), saliency="magic")


def test_the_command_line_knows_auto(tmp_path: Path) -> None:
    source = tmp_path / "cells.tif"
    tifffile.imwrite(source, scaled(blobs((48, 40)), 20, 200, np.uint8))
    assert main(["compress", str(source), str(tmp_path / "o.mfield"), "--max-bytes", "300", "--saliency", "auto"]) == 0
    assert (tmp_path / "o.mfield").stat().st_size <= 300

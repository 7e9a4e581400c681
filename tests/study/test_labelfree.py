"""The label-free study on synthetic pairs: the network, planes and volumes, what cannot be studied, resuming."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from microfield.cli import main
from microfield.errors import InputError
from microfield.image import Image
from microfield.study.labelfree import Field, LabelFreePlan, columns, run
from microfield.study.labelfree_report import text
from microfield.study.unet import CHANNELS, Training, predicted, started, trained


def pair(shape: tuple[int, ...], seed: int = 0) -> Image:
    """A smooth channel and the bright parts of it."""
    light = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    light = 1000 + 200 * light / light.std()
    glow = np.maximum(light - 1100, 0) + 100
    axes = "CZYX" if len(shape) == 3 else "CYX"
    return Image(np.stack([light, glow]).astype(np.uint16), axes, name="pair")


@pytest.mark.parametrize("shape", [(48, 52), (4, 20, 24)])
def test_a_network_learns_planes_and_volumes(shape: tuple[int, ...]) -> None:
    field = Field.of(pair((*shape[:-1], 80)), 0, 1)
    crop = tuple(min(n, 16) // 4 * 4 for n in field.source.shape)
    params = trained([(field.source, field.target)], Training(40, crop, rate=1e-2))
    found = predicted(params, field.source)
    assert found.shape == field.target.shape
    before = predicted(started(len(shape), 0), field.source)
    assert np.mean((found - field.target) ** 2) < 0.7 * min(np.mean((before - field.target) ** 2), field.target.var())
    assert len(params) == 4 * len(CHANNELS) - 1


def test_training_can_go_on() -> None:
    field = Field.of(pair((32, 80)), 0, 1)
    how = Training(2, (16, 16))
    again = trained([(field.source, field.target)], how, trained([(field.source, field.target)], how))
    assert all(np.isfinite(kernel).all() for kernel, _ in again)


def test_what_trains_is_not_measured() -> None:
    left, right = columns(200)
    assert left.stop + 16 <= right.start
    assert right.stop == 200


def test_a_study_measures_the_five_comparisons_and_goes_on_where_it_stopped(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, small = tmp_path / "pair.ome.tif", tmp_path / "small.ome.tif"
    for where, shape in ((small, (20, 40)), (path, (32, 96))):
        tifffile.imwrite(where, pair(shape).read(), metadata={"axes": "CYX"}, ome=True)
    plan = LabelFreePlan((path, small), {"jpegxl": {}}, (4.0, 12.0), tmp_path / "out", steps=6, effort=1)
    rows = run(plan)
    assert [row["method"] for row in rows] == ["jpegxl"] * 4
    assert rows[0]["x with x^"]["psnr"] > rows[1]["x with x^"]["psnr"]
    assert set(rows[0]["f(x^) with t"]) == {"mse", "psnr", "ssim", "pearson"}
    assert ["too small" in row.get("message", "") for row in rows] == [False, False, True, True]
    assert run(plan)[:2] == rows[:2]
    assert "A demonstration: n = 1 field" in text(rows)
    assert "small.ome.tif jpegxl 4: small.ome.tif is too small" in text(rows)
    call = ["study", "labelfree", str(path), "--methods", "jpegxl", "--ratios", "4,12", "--steps", "6", "--effort", "1", "--out",
            str(tmp_path / "out")]
    assert main(call) == 0
    assert "f(x^) with t" in capsys.readouterr().out
    assert main([*call, "--channels", "0"]) == 2


def test_an_image_without_the_channels_is_refused() -> None:
    with pytest.raises(InputError, match="a bright-field and a fluorescence channel"):
        Field.of(pair((32, 80)), 0, 2)
    flat = pair((32, 80))
    with pytest.raises(InputError, match="one value only"):
        Field.of(Image(np.stack([flat.read()[0], np.zeros((32, 80), np.uint16)]), "CYX"), 0, 1)

"""`--least-psnr`: every channel reaches the quality, in fewer bytes than one weight for all would take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.images import blobs, scaled
from microfield.cli import main
from microfield.errors import BudgetError
from microfield.image import Image
from microfield.methods import get_method
from microfield.metrics import square_errors
from microfield.reading.file import open_file
from microfield.statistics import channel_statistics
from microfield.writing import assemble, balance
from microfield.writing.budget import Budget
from microfield.writing.chunk import ChunkSettings
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings


def unequal() -> Image:
    """Three channels of which one is easy, one is noisy, and one is busy."""
    rng = np.random.default_rng(0)
    easy, busy = blobs((96, 112), 1, 6), blobs((96, 112), 2, 90)
    noisy = blobs((96, 112), 3, 20) + rng.normal(0, 0.05, (96, 112))
    return Image(np.stack([scaled(c, 200, 5000, np.uint16) for c in (easy, noisy, busy)]), "CYX", name="unequal")


GOAL = 33.0


def least(data: bytes, image: Image) -> float:
    """PSNR of the worst channel as the file decodes."""
    errors = square_errors(image, lambda box: np.asarray(open_file(data)[box]))
    return float(np.min(-10 * np.log10(errors / channel_statistics(image).range ** 2)))


@pytest.mark.parametrize("method", ["field", "hevc", "jpeg2000", "sperr"])
def test_every_channel_reaches_the_quality_and_the_worst_hardly_exceeds_it(method: str) -> None:
    data, report = compress_to_bytes(unequal(), Budget("least_psnr", GOAL), Settings(method=method, effort=2))
    assert least(data, unequal()) >= GOAL
    assert min(report.channel_psnr) == pytest.approx(least(data, unequal()), abs=1e-6)
    if get_method(method)().quality.fills:
        assert min(report.channel_psnr) <= GOAL + 0.2
    whole, _ = compress_to_bytes(unequal(), Budget("psnr", GOAL), Settings(method=method, effort=2))
    assert least(whole, unequal()) < GOAL  # The mean over channels asks for less.
    assert len(whole) < len(data)


def test_channels_that_are_better_than_asked_weigh_less(monkeypatch: pytest.MonkeyPatch) -> None:
    balanced, report = compress_to_bytes(unequal(), Budget("least_psnr", GOAL), Settings(effort=3))
    monkeypatch.setattr(balance, "ROUNDS", 0)
    equal, plain = compress_to_bytes(unequal(), Budget("least_psnr", GOAL), Settings(effort=3))
    assert len(balanced) < 0.95 * len(equal)
    assert np.ptp(report.channel_psnr) < np.ptp(plain.channel_psnr)
    assert min(report.channel_psnr) >= GOAL


def test_large_images_and_plans_are_balanced_by_sampled_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "WHOLE_VOXELS", 1 << 10)
    monkeypatch.setattr(balance, "ROUNDS", 1)
    data, report = compress_to_bytes(unequal(), Budget("least_psnr", 31.0), Settings(tile={"y": 48, "x": 56}, effort=3))
    assert report.parts == 4
    assert least(data, unequal()) >= 31.0
    assert np.ptp(report.channel_psnr) < 6


def test_one_channel_is_as_with_psnr() -> None:
    single = replace(unequal(), data=unequal().read()[2], axes="YX")
    one, _ = compress_to_bytes(single, Budget("least_psnr", 35), Settings(effort=2))
    other, _ = compress_to_bytes(single, Budget("psnr", 35), Settings(effort=2))
    assert one == other


def test_what_cannot_be_reached_is_refused_with_what_can() -> None:
    with pytest.raises(BudgetError, match=r"asked quality \(70.00 dB\)"):
        compress_to_bytes(unequal(), Budget("least_psnr", 70), Settings(effort=2))


def test_it_is_a_budget_like_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, packed = tmp_path / "cells.npy", tmp_path / "cells.mfield"
    np.save(source, unequal().read())
    assert main(["compress", str(source), str(packed), "--axes", "CYX", "--least-psnr", "30", "--effort", "1", "--json"]) == 0
    assert min(json.loads(capsys.readouterr().out)["channel_psnr"]) >= 30
    assert main(["compress", str(source), str(packed), "--axes", "CYX", "--least-psnr", "30", "--psnr", "30"]) == 2
    chunk = ChunkSettings(Budget("least_psnr", 30.0))
    assert ChunkSettings.from_dict(chunk.to_dict()) == chunk


def test_auto_takes_the_fewest_bytes_for_it() -> None:
    _, report = compress_to_bytes(unequal(), Budget("least_psnr", 30), Settings(method="auto", effort=0))
    assert min(report.channel_psnr) >= 30
    assert any("for this quality" in note for note in report.notes)

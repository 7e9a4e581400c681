"""Requests that an exact copy would meet, or that nothing lossy meets, lead to `--lossless`; nothing switches in silence."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import microfield as mf
from helpers.images import blobs, scaled
from microfield.cli import main
from microfield.errors import BudgetError
from microfield.image import Image
from microfield.writing import assemble
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.exact_copy import exact_size
from microfield.writing.settings import Settings

CELLS = Image(scaled(blobs((40, 48), count=12), 20, 220, np.uint8), "YX", name="cells")


def test_ratio_1_is_told_that_an_exact_copy_is_smaller() -> None:
    _, report = compress_to_bytes(CELLS, Budget("ratio", 1), Settings(effort=0))
    assert report.method == "field"
    said = re.compile(r"an exact copy of this image takes (\d+) bytes, less than the budget: lossless=True")
    size = next(int(found[1]) for note in report.notes if (found := said.search(note)))
    exact, _ = compress_to_bytes(CELLS, Budget.of(lossless=True), Settings(method="lossless"))
    assert len(exact) <= size <= 1.1 * len(exact)


def test_usual_ratios_are_not_bothered() -> None:
    for ratio in (9, 12):
        _, report = compress_to_bytes(CELLS, Budget("ratio", ratio), Settings(effort=0))
        assert not any("exact" in note for note in report.notes)


def test_a_constant_image_is_small_already() -> None:
    _, report = compress_to_bytes(Image(np.full((9, 9), 7, np.uint8), "YX"), Budget("ratio", 1), Settings())
    assert not report.notes


@pytest.mark.parametrize("kind", ["psnr", "least_psnr"])
def test_a_quality_out_of_reach_names_what_an_exact_copy_takes(kind: str) -> None:
    noise = Image(np.random.default_rng(0).integers(0, 200, (32, 28), np.uint8), "YX", name="noise")
    said = r"quarter of the raw size.*exact copy with lossless=True. That takes \d+ bytes"
    with pytest.raises(BudgetError, match=said):
        compress_to_bytes(noise, Budget(kind, 60), Settings(effort=0))


def test_images_smaller_than_any_lossy_file_lead_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "tiny.npy", np.arange(12, dtype=np.uint8).reshape(3, 4))
    arguments = ["compress", str(tmp_path / "tiny.npy"), str(tmp_path / "tiny.mfield")]
    assert main([*arguments, "--psnr", "40"]) != 0
    assert "--lossless" in capsys.readouterr().err
    assert main([*arguments, "--lossless"]) == 0
    assert mf.open(tmp_path / "tiny.mfield").asarray().tolist() == np.arange(12).reshape(3, 4).tolist()


def test_large_images_are_not_coded_for_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microfield.writing.exact_copy.MOST_VOXELS", 100)
    monkeypatch.setattr(assemble, "exact_note", lambda job, around, limit: exact_size(job, around) and "never")
    _, report = compress_to_bytes(CELLS, Budget("ratio", 1), Settings(effort=0))
    assert not report.notes

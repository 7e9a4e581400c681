"""What a file holds beside its parts: what is kept for which budget, and that what is left out is said once and truly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import microfield as mf
from helpers.files import compressed
from helpers.images import image
from helpers.meaningful import FIRE, imagej
from microfield.display import Calibration, ChannelDisplay, Display
from microfield.format.header import METADATA_LIMIT
from microfield.image import Image
from microfield.writing.budget import Budget

SERIES = image("series")
DISPLAY = Display(
    tuple(ChannelDisplay.of_table(FIRE, (0.0, 4095.0)) for _ in range(2)), tuple(f"plane {i}" for i in range(12)),
    Calibration((0.0, 2.0), "photons"), "composite",
)
TEXT = "<OME>" + "".join(map(chr, np.random.default_rng(0).integers(0x4000, 0x9000, 400))) + "</OME>"


def written(budget: Budget, source: Image, **settings: Any) -> tuple[Display, str | None, tuple[str, ...]]:
    data, report = compressed(source, "downsample", budget, **settings)
    with mf.open(data) as f:
        return f.display, f.metadata, report.notes


def test_an_image_of_which_nothing_is_known_pays_nothing() -> None:
    plain = compressed(SERIES, "downsample", Budget("max_bytes", 400))[0]
    empty = replace(SERIES, display=Display((ChannelDisplay(), ChannelDisplay()), ("",) * 12))
    assert compressed(empty, "downsample", Budget("max_bytes", 400))[0] == plain


@pytest.mark.parametrize(("budget", "kept"), [
    (200, set()),
    (700, {"colours", "display ranges", "display mode"}),
    (1000, {"colours", "display ranges", "display mode", "value calibration"}),
    (2500, {"colours", "display ranges", "display mode", "value calibration", "plane labels"}),
    (2900, {"colours", "display ranges", "display mode", "value calibration", "plane labels", "lookup tables"}),
])
def test_the_smaller_the_file_the_less_is_kept(budget: int, kept: set[str]) -> None:
    source = replace(SERIES, display=DISPLAY)
    display, _, notes = written(Budget("max_bytes", budget), source)
    assert set(display.facts()) == kept
    left = set(DISPLAY.facts()) - kept
    assert len(notes) == (1 if left else 0)
    assert all(fact in notes[0] for fact in left)
    assert written(Budget("max_bytes", 2000), source, keep_metadata=True) == (DISPLAY, None, ())


def test_what_is_left_out_is_said_in_one_note() -> None:
    source = replace(SERIES, display=replace(DISPLAY, channels=()), metadata=TEXT, not_kept=("overlays",))
    notes = written(Budget("max_bytes", 300), source)[2]
    assert len(notes) == 1
    words = ("the value calibration (", "plane labels (", "vendor metadata (", "keep_metadata=True keeps them",
             "overlays of the source cannot be kept")
    assert all(word in notes[0] for word in words)
    kept = written(Budget("max_bytes", 3000), source, keep_metadata=True)
    assert kept == (source.display, TEXT, ("overlays of the source cannot be kept.",))


@pytest.mark.parametrize("budget", [Budget("psnr", 20.0), Budget("noise_factor", 5.0)])
def test_with_a_quality_it_is_the_share_of_the_file_that_counts(budget: Budget) -> None:
    """Metadata used to be called larger than 2 % of a budget that there was not, whatever the file's size."""
    source = replace(SERIES, display=DISPLAY, metadata="<OME/>")
    display, metadata, notes = written(budget, source)
    size = compressed(source, "downsample", budget)[1].file_bytes
    assert metadata is None if size < 1000 else metadata == "<OME/>"
    assert not any("budget" in note for note in notes)
    large = replace(source, data=np.tile(source.read(), (1, 1, 1, 12, 12)), display=DISPLAY)
    display, metadata, notes = written(budget, large)
    assert (display, metadata, notes) == (DISPLAY, "<OME/>", ())


def test_an_ome_tiff_with_psnr_keeps_its_metadata(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(1000, 60, (300, 400)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata={"axes": "YX", "Description": "a cell"})
    report = mf.compress(tmp_path / "a.ome.tif", tmp_path / "a.mfield", psnr=30, method="lerc", not_labels=True)
    with mf.open(tmp_path / "a.mfield") as f:
        assert "a cell" in (f.metadata or "")
        assert f.file_bytes == report.file_bytes == (tmp_path / "a.mfield").stat().st_size
    assert report.notes == ()


def test_what_is_more_than_a_file_can_hold_is_left_out() -> None:
    source = replace(SERIES, metadata="x" * (METADATA_LIMIT + 1))
    _, metadata, notes = written(Budget("max_bytes", 400), source, keep_metadata=True)
    assert metadata is None
    assert notes[0].startswith("vendor metadata (more than a file can hold) left out")


def test_a_file_of_imagej_within_its_budget(tmp_path: Path) -> None:
    for budget in (400, 1000, 4000):
        report = mf.compress(imagej(tmp_path), tmp_path / "a.mfield", max_bytes=budget, method="downsample", overwrite=True)
        assert (tmp_path / "a.mfield").stat().st_size == report.file_bytes <= budget

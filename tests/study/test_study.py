"""Studies: the safe ratio with its interval, repeat errors, and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.images import blobs, scaled
from microfield.bench.task_measures import blocks
from microfield.cli import main
from microfield.errors import InputError
from microfield.image import Image
from microfield.study.repeat import EXPOSURE, HALVES, NEIGHBOUR, halves, pairs, repeat_errors
from microfield.study.safe_ratio import one_safe_ratio, safe_ratio

PLANE = scaled(blobs((100, 96), 1, 20), 100, 4000, np.uint16)


# -- the safe ratio -----------------------------------------------------------------------------------------------------


def test_the_safe_ratio_lies_where_the_loss_crosses_the_tolerance() -> None:
    assert one_safe_ratio({16: 0.0, 64: 0.04}, 0.02) == pytest.approx(32)
    assert one_safe_ratio({16: 0.03, 64: 0.0}, 0.02) == 1
    assert one_safe_ratio({16: 0.01, 64: math.inf}, 0.02) == 16
    assert one_safe_ratio({16: 0.01, 64: 0.02}, 0.02) == 64
    assert one_safe_ratio({16: 0.01, 32: 0.03, 64: 0.01}, 0.02) == pytest.approx(16 * math.sqrt(2))


@given(st.lists(st.dictionaries(st.sampled_from([8.0, 32.0, 128.0]), st.floats(0, 0.1), min_size=1), min_size=2, max_size=12),
       st.floats(0.001, 0.1))
def test_the_interval_holds_the_median_and_grows_with_the_tolerance(losses: list[dict[float, float]], tolerance: float) -> None:
    found = safe_ratio(losses, tolerance)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.middle * 1.0001
    assert found.middle <= found.high * 1.0001
    assert found.n == len(losses)
    assert safe_ratio(losses, tolerance * 2).middle >= found.middle * 0.9999


def test_one_image_has_no_interval() -> None:
    assert safe_ratio([{16: 0.0}], 0.02).text == "16 (n = 1)"


# -- repeat errors ------------------------------------------------------------------------------------------------------


def test_halves_keep_their_own_pixels_and_see_smooth_images_alike() -> None:
    ramp = np.add.outer(np.arange(20), 2 * np.arange(16)).astype(np.uint16)
    first, second = halves(ramp, "YX")
    even = np.add.outer(np.arange(20), np.arange(16)) % 2 == 0
    assert (first[even] == ramp[even]).all()
    assert (second[~even] == ramp[~even]).all()
    assert (first[1:-1, 1:-1] == second[1:-1, 1:-1]).all()
    noise = np.random.default_rng(0).normal(0, 10, (3, 64, 64))
    a, b = halves(noise, "CYX")
    assert abs(np.corrcoef((a - b).ravel(), noise.ravel())[0, 1]) < 0.05


def test_every_kind_of_pair_that_an_image_offers() -> None:
    film = Image(np.stack([PLANE, PLANE + 7, PLANE]), "TYX", name="film")
    found = {pair.kind: pair for pair in pairs(film, film)}
    assert list(found) == [EXPOSURE, NEIGHBOUR, HALVES]
    assert found[NEIGHBOUR].first.shape == (2, 100, 96)
    assert (found[NEIGHBOUR].second[0] == PLANE + 7).all()
    assert [one.kind for one in repeat_errors("segment", film, film)] == [EXPOSURE, NEIGHBOUR, HALVES]
    assert repeat_errors("segment", film, film)[0].loss == 0
    with pytest.raises(InputError, match="must show the same field"):
        list(pairs(film, Image(PLANE, "YX", name="other")))


def test_blocks_tile_the_image() -> None:
    seen = np.zeros((2, 100, 96), int)
    boxes = list(blocks(Image(np.zeros((2, 100, 96), np.uint8), "CYX")))
    for box in boxes:
        seen[box] += 1
    assert len(boxes) == 4
    assert (seen == 1).all()


# -- the command --------------------------------------------------------------------------------------------------------


def test_a_function_that_fails_on_one_image_does_not_stop_the_study(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_study_task.py").write_text(
        "def spread(values):\n    if len(values) < 50:\n        raise ValueError('too small')\n    return float(values.std())\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, values in (("a", PLANE), ("b", PLANE[::-1]), ("c", PLANE[:40])):
        np.save(f"{name}.npy", values)
    call = ["study", "--task", "my_study_task:spread", "a.npy", "b.npy", "c.npy", "--methods", "jpegxl", "--ratios", "8,40",
            "--effort", "1", "--out", "out", "--repeat", "a.npy=b.npy"]
    assert main(call) == 1
    shown = capsys.readouterr()
    assert "A demonstration: 2 images" in shown.out
    assert "my_study_task:spread failed on c.npy: ValueError: too small" in shown.out
    assert "second exposure" in shown.out
    page = Path("out/study.html").read_text(encoding="utf-8")
    assert "Which ratio is safe for my_study_task:spread?" in page
    assert "too small" in page
    rows = [json.loads(line) for line in Path("out/rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum(row["status"] == "ok" and row["loss"] >= 0 for row in rows) == 4
    kinds = [json.loads(line)["kind"] for line in Path("out/repeat.jsonl").read_text(encoding="utf-8").splitlines()]
    assert kinds == [EXPOSURE, HALVES, HALVES]


def test_one_image_is_studied_by_its_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", PLANE)
    out = tmp_path / "out"
    assert main(["study", "segment", str(tmp_path / "a.npy"), "--methods", "jpegxl", "--ratios", "8", "--out", str(out)]) == 0
    assert "4 blocks of one image" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "why"), [
    (["sharpen", "a.npy"], "no study 'sharpen'"), (["segment"], "at least one image"),
    (["--task", "none.such:f", "a.npy"], "cannot be imported"), (["segment", "a.npy", "--repeat", "b=c"], "IMAGE=SECOND"),
    (["count", "a.npy", "--tolerance", "0.1"], "limits of the report"), (["segment", "none*.npy"], "no file matches"),
])
def test_what_a_study_cannot_do_is_said_before_it_begins(
        words: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", PLANE)
    assert main(["study", *words, "--methods", "jpegxl", "--out", "out"]) == 2
    assert why in capsys.readouterr().err
    assert not Path("out").exists()

"""``safe_for``: the search for the fewest bytes that keep an analysis, and the evidence in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import helpers.seam_methods  # noqa: F401 (registers its methods)
import microfield as mf
from helpers.images import image
from microfield.cli import main
from microfield.tasks.base import Outcome
from microfield.writing.pace import Pace
from microfield.writing.to_a_goal import ATTEMPTS, Attempt, Range, search

PLANE = image("uint8").read()


def mean(values: npt.NDArray[Any]) -> dict[str, float]:
    """Mean and spread of the grey levels."""
    return {"mean": float(values.mean()), "spread": float(values.std())}


def nothing_right(values: npt.NDArray[Any]) -> float:
    """A number that no lossy copy has."""
    return float(np.array_equal(values, PLANE))


@given(st.floats(0.5, 13), st.floats(0.3, 3), st.floats(1, 12))
def test_a_search_ends_near_the_fewest_bytes_that_are_good_enough(edge: float, slope: float, first: float) -> None:
    """A loss that falls with the bytes by a power: the edge is where it is allowed."""
    def attempt(setting: float) -> Attempt:
        return Attempt([], int(1000 * 2**setting), Outcome("loss", 0.02 * 2 ** (slope * (edge - setting)), 0.02))

    tried = search(attempt, Range(0.0, 14.0, first, 1.0, 0.01, lambda setting: []), Pace())
    kept = [one.size for one in tried if one.outcome.kept]
    assert len(tried) <= ATTEMPTS
    assert min(kept) >= 999 * 2**edge
    assert min(kept) <= 1000 * 2 ** (edge + 0.35)


@pytest.mark.parametrize(("method", "tolerance"), [("field", 0.03), ("jpegxl", 0.03), ("nested-for-tests", 0.5), ("lossless", 0.0)])
def test_the_file_keeps_the_analysis_and_says_so(tmp_path: Path, method: str, tolerance: float) -> None:
    path = tmp_path / "a.mfield"
    report = mf.compress(PLANE, path, safe_for=mean, tolerance=tolerance, method=method, effort=0)
    with mf.open(path) as f:
        values, evidence = f[...], f.evidence
        assert f.making is not None
        assert f.making.budget == "safe_for"
    assert evidence is not None
    assert evidence == report.evidence
    assert (evidence.task, evidence.limit, evidence.rising, evidence.share) == (f"{__name__}:mean", tolerance, False, 1.0)
    change = max(abs(after - before) / before for before, after in zip(mean(PLANE).values(), mean(values).values(), strict=True))
    assert change <= evidence.value + 1e-9  # That of the worst of three views, the whole image among them.
    assert evidence.value <= tolerance
    assert str(evidence) in str(report)


def test_parts_are_judged_together(tmp_path: Path) -> None:
    report = mf.compress(PLANE, tmp_path / "a.mfield", safe_for=mean, tolerance=0.05, tile="y=24,x=20", effort=0)
    assert report.parts == 4
    assert report.evidence is not None
    assert report.evidence.value <= 0.05


def test_what_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(mf.BudgetError, match=r"needs more than a quarter of the raw size.*lossless="):
        mf.compress(PLANE, tmp_path / "a.mfield", safe_for=nothing_right, effort=0)
    with pytest.raises(mf.UsageError, match="exactly one"):
        mf.compress(PLANE, tmp_path / "a.mfield", safe_for=mean, ratio=10)
    with pytest.raises(mf.UsageError, match="name it with safe_for="):
        mf.compress(PLANE, tmp_path / "a.mfield", tolerance=0.1, ratio=10)
    assert not list(tmp_path.iterdir())


def test_auto_takes_the_smallest_file_that_keeps_the_analysis(tmp_path: Path) -> None:
    report = mf.compress(PLANE, tmp_path / "a.mfield", safe_for=mean, tolerance=0.05, method="auto", effort=0)
    assert report.evidence is not None
    assert "bytes on the whole image for this quality" in report.notes[0]


def test_the_command_line_shows_the_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                             ) -> None:
    (tmp_path / "my_task_of_means.py").write_text("def mean(values):\n    return float(values.mean())\n")
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", PLANE)
    call = ["compress", "a.npy", "a.mfield", "--safe-for", "my_task_of_means:mean", "--tolerance", "0.02", "--effort", "0",
            "--no-verdict"]
    assert main(call) == 0
    assert "safe for my_task_of_means:mean" in capsys.readouterr().out
    assert main(["info", "a.mfield"]) == 0
    out = capsys.readouterr().out
    assert "safe for an analysis, effort 0" in out
    assert "relative change of the number" in out
    assert main(["info", "--json", "a.mfield"]) == 0
    assert json.loads(capsys.readouterr().out)["safe_for"]["limit"] == 0.02
    assert main([*call[:4], "nowhere:f", *call[5:], "--overwrite"]) == 2
    assert "cannot be imported" in capsys.readouterr().err
    assert main([*call[:4], "trace", *call[5:], "--overwrite"]) == 1
    assert "task trace cannot be judged on a.npy" in capsys.readouterr().err

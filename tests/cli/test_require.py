"""``microfield compare`` as a gate: exact copies of anything, whose original it was, and ``--require``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microfield as mf
from helpers.images import blobs, image
from microfield.cli import main
from microfield.cli.require import HELP, USES, Requirement
from microfield.report.verdict import USES as JUDGED


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image, labels and an image with NaN, each with an exact copy, and a lossy copy of the image."""
    made = tmp_path_factory.mktemp("gate")
    gaps = blobs((40, 50)).astype(np.float32)
    gaps[3, 4], gaps[5, 6] = np.nan, np.inf
    labels = np.kron(np.arange(4).reshape(2, 2), np.ones((50, 50))).astype(np.uint16)
    for name, values in (("cells", image("uint8").read()), ("gaps", gaps), ("labels", labels)):
        np.save(made / f"{name}.npy", values)
        mf.compress(values, made / f"{name}.mfield", lossless=True)
    mf.compress(image("uint8"), made / "lossy.mfield", ratio=9, effort=0)
    return made


def compared(folder: Path, original: str, copy: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    """Exit status, and what is printed as JSON."""
    status = main(["compare", str(folder / original), str(folder / copy), "--json", *more])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["cells", "gaps", "labels"])
def test_exact_copies_of_anything_are_compared(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = compared(folder, f"{name}.npy", f"{name}.mfield", capsys, "--require", "exact", "--require", "same-original",
                             "--require", "count=fine", "--require", "least-psnr=90", "--require", "noise-factor=0")
    assert (status, found["exact"], found["same_original"], found["unmet"]) == (0, True, True, [])
    assert found["verdict"]["look"] == {"grade": "fine", "why": "exact copy"}
    assert (found["max_error"], found["psnr"]) == (0, None)
    assert mf.compare(folder / f"{name}.npy", folder / f"{name}.mfield").exact
    assert {v.grade.words for v in mf.verdict(folder / f"{name}.npy", folder / f"{name}.mfield").verdicts} == {"fine"}


@pytest.mark.parametrize("name", ["gaps", "labels"])
def test_other_copies_of_what_has_no_error_are_still_refused(folder: Path, name: str, tmp_path: Path) -> None:
    values = np.load(folder / f"{name}.npy")
    values[9, 9] += 1
    np.save(tmp_path / "other.npy", values)
    assert main(["compare", str(folder / f"{name}.npy"), str(tmp_path / "other.npy")]) == 1
    if name == "gaps":
        for judge in (mf.compare, mf.verdict):
            with pytest.raises(mf.InputError, match="1 NaN and 1 infinite"):
                judge(folder / "gaps.npy", values)


def test_what_is_not_met_is_said_and_is_the_exit_status(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = compared(folder, "cells.npy", "lossy.mfield", capsys, "--require", "psnr=5", "--require", "measure=care",
                             "--require", "exact")
    assert (status, found["exact"], found["same_original"], found["unmet"][-1:]) == (1, False, True, ["the copy is not exact"])
    other = image("uint8").read().copy()
    other[0, 0] += 1
    np.save(tmp_path / "other.npy", other)
    call = ["compare", str(tmp_path / "other.npy"), str(folder / "lossy.mfield"), "--no-verdict"]
    assert main(call) == 0
    capsys.readouterr()
    assert main([*call, "--require", "psnr=99", "--require", "same_original", "--require", "max-error=0"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"microfield: what is required of {folder / 'lossy.mfield'} does not hold: psnr is ")
    assert "not at least 99; the copy was made from another original; max-error is " in error
    status, found = compared(folder, "cells.npy", "cells.npy", capsys, "--require", "same-original")
    assert (status, found["same_original"]) == (1, None)
    assert found["unmet"] == ["the copy does not say which original it was made from"]


@pytest.mark.parametrize("wrong", [["--require", "good"], ["--require", "psnr"], ["--require", "psnr=high"],
                                   ["--require", "exact=1"], ["--require", "count=1"], ["--require", "ssim=0.9", "--no-ssim"],
                                   ["--require", "look=fine", "--no-verdict"]])
def test_requirements_that_make_no_sense_are_wrong_calls(folder: Path, wrong: list[str], capsys: pytest.CaptureFixture[str],
                                                        ) -> None:
    assert main(["compare", str(folder / "cells.npy"), str(folder / "lossy.mfield"), *wrong]) == 2
    assert capsys.readouterr().err.startswith("microfield: --require ")


def test_uses_are_those_of_the_verdict() -> None:
    assert tuple(JUDGED) == USES
    assert all(use in HELP for use in USES)
    assert Requirement.parse("look=care").grades == ("fine", "with care")

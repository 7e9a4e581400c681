from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microfield as mf
from helpers.images import blobs, scaled
from microfield.cli import main

PLANE = scaled(blobs((256, 256), count=40), 100, 3000, np.uint16)


@pytest.mark.parametrize(("budget", "value"), [("max_bytes", 2500.0), ("psnr", 38.0)])
def test_a_file_says_how_it_was_made(tmp_path: Path, budget: str, value: float) -> None:
    asked: dict[str, Any] = {budget: value}
    report = mf.compress(PLANE, tmp_path / "a.mfield", seed=3, effort=1, **asked)
    with mf.open(tmp_path / "a.mfield") as f:
        making = f.making
        error = np.asarray(f).astype(float) - PLANE
        assert f.file_bytes == report.file_bytes <= asked.get("max_bytes", math.inf)
    assert making is not None
    assert making.psnr == pytest.approx(report.psnr, abs=0.0051)
    assert making.psnr == pytest.approx(20 * math.log10(np.ptp(PLANE) / np.sqrt((error**2).mean())), abs=0.01)
    assert ({making.budget: making.value}, making.effort, making.settings) == (asked, 1, {"seed": 3})


def test_a_small_file_does_not_pay_for_it(tmp_path: Path) -> None:
    mf.compress(PLANE, tmp_path / "a.mfield", max_bytes=500, effort=1)
    with mf.open(tmp_path / "a.mfield") as f:
        assert f.making is None


def test_info_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mfield"
    report = mf.compress(PLANE, path, ratio=50, effort=1)
    assert main(["info", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"PSNR {report.psnr:.2f} dB as measured when written" in said
    assert "ratio 50, effort 1" in said
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["psnr_when_written"] == pytest.approx(report.psnr, abs=0.0051)
    assert facts["asked_for"] == {"ratio": 50, "effort": 1}

"""The page of the learning-rate study: what it says of rows whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks import learning_rates_page
from benchmarks.learning_rates import IMAGES, RATES, SEEDS, TUNED, cases
from benchmarks.learning_rates_page import Comparison, best_rate, decade_off, figure, write

from microfield.models import index
from microfield.nn.learned import Learned


def rows(lead: float = -0.05) -> list[dict[str, Any]]:
    """Adam best at 1e-2 with 30 dB and 3 dB worse a decade off; SOAP 1 dB better; seeds 0.1 dB apart."""
    made = []
    for case in cases():
        away = abs(RATES.index(case.rate) - 4) if case.rate else 0
        psnr = 30 - 1.5 * away + (case.optimiser == "soap") if case.rate else 31 + lead
        made.append({"image": case.image, "optimiser": case.optimiser, "rate": case.rate, "seed": case.seed,
                     "psnr": psnr + 0.1 * case.seed, "seconds": 1.0})
    return made


def test_the_study_is_every_optimiser_at_every_rate_and_seed() -> None:
    every = list(cases())
    assert len({case.key for case in every}) == len(every) == len(IMAGES) * len(SEEDS) * (len(TUNED) * len(RATES) + 1)


def test_images_are_new_to_the_learned_optimiser() -> None:
    assert not set(IMAGES) & set(index()["optimiser"][Learned().name]["trained"]["images"])


def test_the_best_rate_and_a_decade_off() -> None:
    curve = {1e-3: [24.0, 26.0], 1e-2: [30.0, 31.0], 1e-1: [29.0, 29.0], 3.16e-2: [30.4, 30.4]}
    assert best_rate(curve) == 1e-2
    assert decade_off(curve) == pytest.approx([5.5, 1.5])
    one = Comparison.of(rows(), "spots2d_terra")
    assert one.lead == pytest.approx(-0.05)
    assert one.lost == pytest.approx([3.0, 3.0])


def test_the_page_says_whether_targets_are_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_rates_page, "FILES", tmp_path / "none")
    page = tmp_path / "studies" / "page.md"
    write(page, rows())
    text = page.read_text("utf-8")
    assert "0.05 dB behind the best hand-tuned rate" in text
    assert "are **met**" in text
    assert "3.0 dB in the median" in text
    assert "holds in 12 of 12 cases" in text
    tuned = "30.10 ± 0.10 (1e-02) | 30.10 ± 0.10 (1e-02) | 31.10 ± 0.10 (1e-02)"
    assert f"| spots2d_terra | {tuned} | 31.05 ± 0.10 | -0.05 | 3.0, 3.0 |" in text
    write(page, rows(lead=-0.6))
    assert "are **missed**" in page.read_text("utf-8")
    drawing = (page.parent / "plots" / "learning-rates.svg").read_text("utf-8")
    assert drawing == figure(rows(lead=-0.6))
    assert drawing.count("<polyline") == len(IMAGES) * len(TUNED)


def test_files_and_costs_become_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, costs = tmp_path / "files.jsonl", tmp_path / "costs.json"
    made = [{"ratio": 64.0, "image": "a", "optimiser": name, "effort": 2, "seed": 0, "psnr": psnr}
            for name, psnr in (("soap", 30.0), ("learned", 30.25))]
    made += [{**made[0], "seed": 1, "psnr": 99.0}, {**made[0], "image": "b"}]  # What only one optimiser was given does not count.
    files.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    costs.write_text('[{"width": 32, "batch": 8192, "adam": 2.0, "adamax": 2.0, "soap": 2.2, "learned": 2.5}]', encoding="utf-8")
    monkeypatch.setattr(learning_rates_page, "FILES", files)
    monkeypatch.setattr(learning_rates_page, "COSTS", costs)
    write(tmp_path / "studies" / "page.md", rows())
    text = (tmp_path / "studies" / "page.md").read_text("utf-8")
    assert "| a | 30.00 | 30.25 |" in text
    assert "At 64 times and effort 2 the learned optimiser is +0.25 dB against SOAP on one image." in text
    assert "| 32 | 8192 | 2.0 ms | 1.10 | 1.25 |" in text

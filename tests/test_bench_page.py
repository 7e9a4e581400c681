"""The pages and plots of a bench, from rows made by hand."""

from __future__ import annotations

import itertools
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microfield.study import bench_page, plots, summary


def row(method: str, asked: float, psnr: float | None, image: str = "cells", **changed: Any) -> dict[str, Any]:
    bits = 16 / asked
    return {
        "image": image, "method": method, "budget": "ratio", "asked": asked, "status": "ok", "message": "", "psnr": psnr,
        "bytes": int(1e6 / asked), "ratio": asked, "bits_per_voxel": bits, "used": 0.99, "encode_seconds": 1.5,
        "decode_seconds": 0.5, "shape": [10, 10], "axes": "YX", "dtype": "uint16", "raw_bytes": 1000000, "command": "c", **changed,
    }


ROWS = [
    *(row("av1", r, 50 - i) for i, r in enumerate((32.0, 64.0, 128.0, 256.0))),
    *(row("sperr", r, 51 - i) for i, r in enumerate((32.0, 64.0, 128.0, 256.0))),
    row("lerc", 32.0, 40.0), row("lerc", 64.0, None, status="unreachable", message="too few"),
    row("<b>", 32.0, 45.0, image="<script>alert(1)</script>"),
    row("<b>", 64.0, None, image="<script>alert(1)</script>", status="failed", message="<i>said</i>"),
]


def test_summary_lines() -> None:
    found = {line.method: line for line in summary.lines(ROWS, "av1")}
    assert found["sperr"].bd_psnr == pytest.approx(1)
    # 1 dB is a factor of two in rate on these curves.
    assert found["sperr"].bd_rate == pytest.approx(-50)
    assert found["sperr"].bd_images == (1, 1)
    assert found["lerc"].counts == {"ok": 1, "unreachable": 1}
    assert found["lerc"].bd_psnr is None
    assert [line.method for line in summary.lines(ROWS, "av1")][:2] == ["sperr", "av1"]
    assert summary.anchor_of(ROWS) == "av1"
    assert summary.anchor_of(ROWS, "lerc") == "lerc"
    assert summary.anchor_of([]) is None
    assert "sperr" in summary.text(list(found.values()), "av1")


def test_means_of_bd_rates_are_geometric() -> None:
    half = [row("new", r, 51 - i, image="a") for i, r in enumerate((32.0, 64.0, 128.0))]
    twice = [row("new", r, 49 - i, image="b") for i, r in enumerate((32.0, 64.0, 128.0))]
    anchors = [row("av1", r, 50 - i, image=name) for name in "ab" for i, r in enumerate((32.0, 64.0, 128.0))]
    line = next(x for x in summary.lines([*half, *twice, *anchors], "av1") if x.method == "new")
    assert line.bd_rate == pytest.approx(0)
    assert line.bd_images == (2, 2)


def test_the_page_escapes_names_and_marks_the_best() -> None:
    page = bench_page.page(ROWS)
    assert "<script>" not in page
    assert "<i>said" not in page
    assert "&lt;script&gt;" in page
    assert page.count('<svg class="rd"') == 2
    bold = re.findall(r'<td class="best">([\d.]+)</td>', page)
    assert bold == ["51.00", "50.00", "49.00", "48.00", "45.00"]
    for text in re.findall(r"<figure>.*?</figure>", page, re.DOTALL):
        ElementTree.fromstring(text)


def test_a_page_of_failures_only() -> None:
    page = bench_page.page([row("lerc", 64.0, None, status="failed", message="no", shape=None, bits_per_voxel=None)])
    assert "no run reached its budget" in page


def test_a_plot_puts_points_where_they_belong() -> None:
    text = plots.plot({"a": [(0.1, 30.0), (1.0, 40.0)], "b": [(0.1, 35.0)]}, "one & two", raw_bits=16, standalone=True)
    tree = ElementTree.fromstring(text)
    assert "one &amp; two" in text
    line = next(e for e in tree.iter() if e.get("class") == "line")
    (x0, y0), (x1, y1) = (map(float, p.split()) for p in (line.get("d") or "")[1:].split("L"))
    assert x0 < x1
    assert y0 > y1
    words = ["".join(e.itertext()) for e in tree.iter() if e.tag.endswith("}text")]
    assert {"0.1", "1", "32x", "64x", "30", "40"} <= set(words)


@given(st.floats(-100, 100), st.floats(0.01, 200))
def test_ticks_are_few_round_and_inside(low: float, span: float) -> None:
    found = plots.ticks(low, low + span)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-6 <= t <= low + span + 1e-6 for t in found)


@given(st.lists(st.floats(0, 300), max_size=20).map(sorted))
def test_spread_names_do_not_overlap(wanted: list[float]) -> None:
    found = plots.spread(wanted, 13, 0, 300)
    assert len(found) == len(wanted)
    gap = min(13, 300 / max(1, len(wanted)))
    assert all(b - a >= gap - 1e-6 for a, b in itertools.pairwise(found))
    assert all(-1e-6 <= f <= 300 + 1e-6 for f in found)


def test_colours_are_steady() -> None:
    assert plots.colour_index("av1", ["x", "av1"]) == plots.colour_index("av1", ["av1", "y"])
    assert plots.colour_index("x", ["x", "y"]) != plots.colour_index("y", ["x", "y"])


def test_a_hopeless_curve_does_not_flatten_the_others() -> None:
    good = {"a": [(0.1, 40.0), (1.0, 45.0)], "b": [(0.1, 10.0), (1.0, 39.0)]}
    text = plots.plot({**good, "bad": [(0.1, 3.0), (1.0, 5.0)]}, "t")
    assert "below this plot: bad" in text
    assert "below this plot" not in plots.plot(good, "t")
    heights = [float(v) for v in re.findall(r'text-anchor="end">([\d.]+)</text>', text)]
    assert min(heights) >= 45 - 5 - plots.DEPTH

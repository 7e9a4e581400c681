"""The pages and plots of a bench, from rows made by hand."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microfield.bench import page as bench_page
from microfield.bench import plot_style, plots, summary, summary_text
from microfield.bench.recommend import recommendation


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
    text = summary_text.text(ROWS, "av1")
    assert "BD-rate % vs av1" in text
    assert "~" not in text
    # Mean PSNR of each method at each ratio, and where only one of two runs has one.
    head, body = summary_text.methods_table(ROWS, "av1")
    cells = {line[0]: dict(zip(head, line, strict=True)) for line in body}
    assert [cells["sperr"][f"{r}x, dB"] for r in (32, 64, 128, 256)] == ["51.00 (1 of 2)", "50.00", "49.00", "48.00"]
    assert (cells["lerc"]["32x, dB"], cells["lerc"]["64x, dB"], cells["lerc"]["128x, dB"]) == ("40.00 (1 of 2)", "-", "-")
    assert (cells["av1"]["BD-rate % vs av1"], cells["sperr"]["BD-rate % vs av1"]) == ("reference", "-50.0 (1)")
    assert (cells["<b>"]["failed"], cells["av1"]["failed"]) == ("1", "0")
    assert "refused" not in head


def test_with_one_ratio_the_difference_of_psnr_is_shown() -> None:
    one = [row(m, 64.0, psnr, image=i) for m, i, psnr in (
        ("av1", "a", 40.0), ("av1", "b", 30.0), ("sperr", "a", 41.0), ("sperr", "b", 33.0), ("zfp", "b", 20.0))]
    head, body = summary_text.methods_table(one, "av1")
    assert head[2:4] == ["64x, dB", "dB vs av1"]
    assert [line[0] for line in body] == ["sperr", "av1", "zfp"]
    assert [line[2:4] for line in body] == [["37.00", "+2.00"], ["35.00", "reference"], ["20.00 (1 of 2)", "-10.00"]]
    # An image that no method could compress is nobody's gap.
    bad = [row(m, 64.0, None, image="bad", status="refused") for m in ("av1", "sperr", "zfp")]
    assert summary_text.methods_table([*one, *bad], "av1")[1][0][-5:-3] == ["37.00", "+2.00"]
    assert not any("vs" in h for h in summary_text.methods_table(one[:2], "av1")[0])


@pytest.mark.parametrize(("ratios", "cell"), [
    ((32.0, 64.0), None), ((32.0, 64.0, 128.0), "~-50.0 (1)"), ((32.0, 64.0, 128.0, 256.0), "-50.0 (1)"),
    ((30.0, 100.0, 5000.0), None), ((32.0, 64.0, 128.0, 5000.0), "~-50.0 (1)"), ((64.0, 512.0, 4096.0), "~-50.0 (1)"),
])
def test_bd_rates_from_few_points_are_marked_or_left_out(ratios: tuple[float, ...], cell: str | None) -> None:
    found = [row(m, r, 60 - math.log2(r) + (m == "sperr")) for m in ("av1", "sperr") for r in ratios]
    head, body = summary_text.methods_table(found, "av1")
    shown = next(dict(zip(head, line, strict=True)) for line in body if line[0] == "sperr").get("BD-rate % vs av1")
    assert shown == cell
    remarks = " ".join(summary_text.remarks(found, "av1"))
    assert ("~:" in remarks) == bool(cell and cell.startswith("~"))
    assert ("geometric mean" in remarks) == (cell is not None)


def test_complaints_that_are_the_same_are_one() -> None:
    refused = [row(m, r, None, image="bad", status="refused", message="NaN.") for m in ("av1", "zfp") for r in (32.0, 64.0)]
    partly = [row("webp", r, None, status="refused", message="too wide.") for r in (32.0, 64.0)] + [row("av1", 32.0, 40.0)]
    assert summary_text.complaints([*refused, *partly]) == [
        "refused: bad, all 4 runs: NaN.", "refused: cells webp ratio 32, 64: too wide."]
    assert bench_page.page([*refused, *partly]).count("<li>") == 2


def test_the_page_shows_what_segmentation_found() -> None:
    found = [row(m, r, 40.0, image=i, iou=0.9 - 0.1 * (i == "b"), object_f1=0.7, truth_f1_original=0.95,
                 truth_f1_reconstruction=None if i == "b" else 0.6, noise_factor=1.0)
             for m in ("av1", "zfp") for r in (32.0, 64.0) for i in "ab"]
    page = bench_page.page(found)
    assert page.index("Segmentation and objects") < page.index("<h2>Curves")
    table = page[page.index("Segmentation and objects"):page.index("<h2>Curves")]
    assert re.findall(r'<th scope="col">(.*?)</th>', table) == [
        "method", *(f"{r}x {what}" for what in ("IoU", "F1", "F1 of labels") for r in (32, 64))]
    assert table.count("<td>0.850</td><td>0.850</td><td>0.700</td><td>0.700</td><td>0.600</td><td>0.600</td>") == 2
    assert "reach 0.950" in table
    heads = re.findall(r'<th scope="col">(.*?)</th>', page[page.index("Every run"):])
    assert heads[heads.index("PSNR dB") + 1:][:2] == ["IoU", "object F1"]
    assert "Segmentation and objects" not in bench_page.page(ROWS)


def test_why_there_is_no_curve() -> None:
    exact = [row(m, 64.0, None, image="flat", max_error=0.0) for m in ("av1", "zfp")]
    broken = [row("av1", r, None, status="refused", message="it holds 3 <NaN>.", image="bad") for r in (32.0, 64.0)]
    page = bench_page.page([*exact, *broken])
    assert page.count(">exact copy in every run</text>") == 1
    assert page.count(">refused: it holds 3 &lt;NaN&gt;.</text>") == 1
    assert "no run reached its budget" not in page
    assert page.count('>exact</td>') == 4  # mean of both methods, and both runs
    unreachable = row("zfp", 512.0, None, image="flat", status="unreachable")
    assert summary_text.no_curve([*exact, unreachable]) == "exact copy in 2 of 3 runs"
    assert summary_text.no_curve([unreachable]) == "no run reached its budget"


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
    page = bench_page.page([row("lerc", 64.0, None, status="unreachable", message="no", shape=None, bits_per_voxel=None)])
    assert "no run reached its budget" in page
    assert "None" not in page


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
    assert plot_style.colour_index("av1", ["x", "av1"]) == plot_style.colour_index("av1", ["av1", "y"])
    others = [f"method {i}" for i in range(plot_style.STYLES - len(plot_style.FIXED))]
    assert len({plot_style.colour_index(m, others) for m in (*plot_style.FIXED, *others)}) == plot_style.STYLES
    # A method nobody foresaw has its colour from its name alone, unless another one on the plot has the same.
    assert plot_style.colour_index("new", ["new"]) == plot_style.colour_index("new", ["av1", "a", "new"])
    assert all(plot_style.colour_index(m, [*others, "one more"]) < plot_style.STYLES for m in (*others, "one more"))


def test_a_hopeless_curve_does_not_flatten_the_others() -> None:
    good = {"a": [(0.1, 40.0), (1.0, 45.0)], "b": [(0.1, 10.0), (1.0, 39.0)]}
    text = plots.plot({**good, "bad": [(0.1, 3.0), (1.0, 5.0)]}, "t")
    assert "below this plot: bad" in text
    assert "below this plot" not in plots.plot(good, "t")
    heights = [float(v) for v in re.findall(r'text-anchor="end">([\d.]+)</text>', text)]
    assert min(heights) >= 45 - 5 - plots.DEPTH


def spots(text: str) -> list[tuple[float, float]]:
    """Where markers are drawn."""
    return [(float(x), float(y)) for mark in re.findall(r'class="mark" d="([^"]*)"', text)
            for x, y in re.findall(r"M([-\d.]+) ([-\d.]+)", mark)]


def test_far_points_neither_squeeze_nor_leak() -> None:
    near = {"a": [(0.1, 40.0), (1.0, 45.0)], "b": [(0.2, 39.0), (0.9, 44.0)]}
    far = {"a": [(0.0001, 5.0), *near["a"]], "b": [*near["b"], (300.0, 99.0)], "c": [(0.0002, 41.0)]}
    text = plots.plot(far, "t", raw_bits=16, rates=(0.05, 2.0))
    assert spots(text) == spots(plots.plot(near, "t", raw_bits=16))
    assert "outside this plot: c, points of a, b" in text
    frame = plots.Frame()
    root = ElementTree.fromstring(text)
    clips = [e for e in root.iter() if e.tag.endswith("svg") and e is not root]
    assert len(clips) == sum(1 for e in root.iter() if e.get("class") == "line") == 2
    for clip in clips:
        assert clip.get("overflow") == "hidden"
        assert float(clip.get("x") or 0) == frame.left
        assert float(clip.get("width") or 0) == frame.width - frame.left - frame.right
    # Leads to the names begin at a point that is seen.
    assert all(frame.left <= float(x) <= frame.width for x in re.findall(r'class="lead" fill="none" d="M([-\d.]+)', text))
    # Where everything is far it is drawn all the same.
    assert len(spots(plots.plot({"c": [(0.0002, 41.0)]}, "t", rates=(0.05, 2.0)))) == 1
    # The style of the page must not stretch the frame that clips.
    assert ".plots svg{" not in bench_page.page(ROWS)


def test_the_page_draws_what_was_asked_for() -> None:
    rows = [row("av1", r, 50.0 - i) for i, r in enumerate((32.0, 64.0))]
    rows += [row("zfp", 64.0, 12.0, ratio=5000.0, bits_per_voxel=16 / 5000)]
    assert bench_page.rate_limits(rows, "cells") == pytest.approx((0.125, 1.0))
    assert "outside this plot: zfp" in bench_page.page(rows)
    # A ratio asked for far from the others does not squeeze them; alone with one other it is as good as that.
    assert bench_page.rate_limits([*rows, row("av1", 5000.0, 20.0)], "cells") == pytest.approx((0.125, 1.0))
    assert bench_page.rate_limits([rows[0], row("av1", 5000.0, 20.0)], "cells") == pytest.approx((16 / 10000, 1.0))
    assert bench_page.rate_limits([*rows, row("av1", 40.0, 41.0, budget="psnr")], "cells") is None


@pytest.mark.parametrize("octaves", [0.3, 1, 4, 9, 14])
def test_labels_of_the_axes_do_not_touch(octaves: float) -> None:
    text = plots.plot({"a": [(16 / 128 / 2**octaves, 30.0), (16 / 128, 40.0)]}, "t", raw_bits=16)
    places = sorted(float(x) for x in re.findall(r'x="([\d.]+)" y="44" text-anchor="middle">\d+x<', text))
    assert places
    assert all(b - a >= 40 for a, b in itertools.pairwise(places))
    # The title of the y axis stands beside it, upright, where no label of a ratio is.
    assert text.count("PSNR, dB</text>") == 1
    assert re.search(r'translate\(14 [\d.]+\) rotate\(-90\)" text-anchor="middle">PSNR, dB', text)
    assert ">dB<" not in text
    assert len(re.findall(r'y="306" text-anchor="middle">', text)) >= 2  # ticks of the rate


def test_long_reasons_are_wrapped() -> None:
    root = ElementTree.fromstring(plots.plot({}, "t", empty="one word after another " * 12))
    lines = [e for e in root.iter() if e.get("class") == "faint"]
    assert len(lines) > 3
    assert all(len(e.text or "") <= 76 for e in lines)


def test_an_image_gets_a_recommendation() -> None:
    field = [row("field", r, 50.1 - i, object_f1=f) for i, (r, f) in enumerate([(32.0, 0.99), (64.0, 0.96), (128.0, 0.9)])]
    hevc = [row("hevc", r, 50.2 - i) for i, r in enumerate((32.0, 64.0, 128.0))]
    said = recommendation([*field, *hevc])
    assert said.startswith("Recommended: field, best or within 0.2 dB of the best at 3 of 3 sizes. Up to 64x at least 95 %")
    assert recommendation([*field, *(r | {"psnr": r["psnr"] + 1} for r in hevc)]).startswith("Recommended: hevc")
    noisy = [row("field", r, 40 - i, noise_factor=n) for i, (r, n) in enumerate([(32.0, 1.1), (64.0, 1.4), (128.0, 2.0)])]
    assert "Up to 64x the error is at most 1.5 times the noise" in recommendation(noisy)
    assert recommendation([row("lerc", 64.0, None, status="unreachable")]).startswith("No recommendation")
    assert "Recommended: " in bench_page.page(ROWS)

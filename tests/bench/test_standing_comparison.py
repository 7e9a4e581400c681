"""The standing comparison: how its rows are kept and what docs/results.md makes of them."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import advice, comparison, comparison_report, report
from benchmarks.compact import RowKey, Store
from benchmarks.images import Listed, listed
from benchmarks.markdown import table, text

import microfield as mf
from microfield.image import Layout


def row(image: str, method: str, ratio: float, psnr: float | None, **changed: Any) -> dict[str, Any]:
    limit = int(2e6 / ratio)
    return {
        "image": image, "kind": listed()[image].kind, "axes": "ZYX", "shape": [10, 100, 1000], "dtype": "uint16",
        "raw_bytes": 2000000, "labels": None, "method": method, "options": {}, "budget": "ratio", "asked": ratio, "status": "ok",
        "message": "", "limit": limit, "bytes": limit - 7, "psnr": psnr, "ratio": 2e6 / (limit - 7),
        "bits_per_voxel": 8e-6 * (limit - 7), "used": (limit - 7) / limit, "ssim": 0.91234567, "iou": 0.8, "max_error": 12.0,
        "encode_seconds": 1.23456789, "decode_seconds": 0.5, "encode_memory": 300000000, "effort": 5, "seed": 0,
        "time_limit": None, "measures": ["quality"], "versions": {"microfield": "1"}, "notes": ["left out"],
        "machine": {"cores": 2, "processor": "p", "system": "s", "python": "3"}, "date": "2026-01-01", **changed,
    }


NUCLEI, POLLEN = "fluo3d_nuclei_confocal", "fluo3d_pollen_clean"
TOO_SMALL = {"status": "unreachable", "message": "9 bytes are too few: it takes at least 11 bytes.", "bytes": None, "iou": None,
             "ssim": None, "measures": None}


def rows() -> list[dict[str, Any]]:
    """av1 best at 32x; at 128x sperr by 2 dB, while zfp is best where it works and av1 has the better segmentation."""
    found = []
    for image in (NUCLEI, POLLEN):
        found += [row(image, "av1", 32.0, 45.0), row(image, "sperr", 32.0, 44.95), row(image, "zfp", 32.0, 20.0)]
        found += [row(image, "av1", 128.0, 38.0, iou=0.95), row(image, "sperr", 128.0, 40.0, iou=0.7)]
    found += [row(NUCLEI, "zfp", 128.0, 60.0), row(POLLEN, "zfp", 128.0, None, **TOO_SMALL)]
    return found


def test_a_store_keeps_rows_rounded(tmp_path: Path) -> None:
    store = Store(tmp_path / "c.jsonl")
    for one in reversed(rows()):
        store.add(one)
    store.save()
    again = Store(tmp_path / "c.jsonl")
    assert set(again.rows) == set(store.rows)
    before, after = store.rows[RowKey(NUCLEI, "av1", 32.0)], again.rows[RowKey(NUCLEI, "av1", 32.0)]
    for name in ("image", "kind", "shape", "bytes", "limit", "psnr", "ratio", "used", "bits_per_voxel", "versions", "measures"):
        assert after[name] == before[name], name
    assert after["encode_seconds"] == 1.2346
    assert after["used"] == after["bytes"] / after["limit"]
    assert after["bits_per_voxel"] == pytest.approx(8 * after["bytes"] / 1e6)
    assert again.rows[RowKey(POLLEN, "zfp", 128.0)]["message"] == TOO_SMALL["message"]
    again.save()
    assert Store(tmp_path / "c.jsonl").rows == again.rows
    assert [r["method"] for r in again.ordered(comparison.METHODS)][:4] == ["av1", "av1", "sperr", "sperr"]
    # A thousand rows stay small.
    assert (tmp_path / "c.jsonl").stat().st_size < 600 * len(rows())


def test_the_best_method_is_one_that_reaches_the_ratio_everywhere() -> None:
    first, second = advice.places(rows(), "3-D fluorescence", 128.0)
    assert (first.method, first.psnr, second.method) == ("sperr", 40.0, "av1")
    lines = "\n".join(advice.sections(rows()))
    assert "**sperr** 40.0 dB<br>+2.0 over av1" in lines
    assert "**av1** 45.0 dB<br>level with sperr" in lines
    assert "3-D fluorescence 128x: av1 (0.95, sperr 0.70)" in lines
    assert "| zfp | all | 1 of 2 |" in lines


def test_one_method_for_everything_reaches_nearly_everything() -> None:
    behind = advice.deficits(rows())
    # At 128x zfp sets the mark on one image, sperr on the other.
    assert behind["av1"] == pytest.approx([0, 22, 0, 2])
    assert behind["sperr"] == pytest.approx([0.05, 20, 0.05, 0])
    assert "one method for everything: `sperr`" in advice.sections(rows())[0]


def test_the_page_has_everything(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "gone.svg").write_text("old")
    report.write(tmp_path / "results.md", rows(), {})
    page = (tmp_path / "results.md").read_text()
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {f"{NUCLEI}.svg", f"{POLLEN}.svg"}
    for wanted in ("## Which method", "## How it was measured", "## BD-rate and BD-PSNR against `av1`", f"plots/{NUCLEI}.svg",
                   "`microfield bench DATA/fluo3d_nuclei_confocal.ome.tif --methods av1 --ratios 32", "| 128x | zfp |",
                   "* `zfp` 128x unreachable: it takes at least 11 bytes."):
        assert wanted in page
    fence = page[page.index("```sh"):].splitlines()
    assert fence[1].startswith("microfield bench")
    assert fence[2] == "```"
    assert "nan" not in page.lower().replace("nano", "")


def test_shares_are_of_what_was_allowed() -> None:
    section = comparison_report.sections(rows())[-1]
    line = next(line for line in section.splitlines() if line.startswith("| sperr"))
    assert line.split(" | ")[1] == f"{(15625 - 7) / 15625:.1%}" == "100.0%"
    assert "| 1.23 | 0.500 | 300 |" in line


def test_markdown() -> None:
    assert table(["a", "b"], [["x|y", "+1"], ["z", "-"]]) == "| a | b |\n|---|---:|\n| x\\|y | +1 |\n| z | - |\n"
    assert text("""
        one
        two

        * three
          four
        ```sh
        five
        six
        ```
    """) == "one two\n\n* three four\n```sh\nfive\nsix\n```\n"


def test_every_image_is_listed_with_what_it_needs() -> None:
    images = listed()
    assert len(images) >= 24
    assert len({image.kind for image in images.values()}) >= 12
    for image in images.values():
        assert image.source, image.name
        assert image.licence, image.name
        assert len(image.sha256) == 64
        assert bool(image.labels) == (len(image.labels_sha256) == 64)
    assert len(comparison.METHODS) >= 10
    assert set(comparison.RATIOS) >= {32, 512}


def test_the_comparison_runs_resumes_and_checks_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(48, 40)), 0), 1)
    grey = (200 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    mf.save_image(tmp_path / "a.ome.tif", Layout(grey.shape, "YX", grey.dtype), lambda box: grey[box])
    entry = Listed("a.ome.tif", "test", "s", "l", hashlib.sha256((tmp_path / "a.ome.tif").read_bytes()).hexdigest())
    monkeypatch.setattr(comparison, "listed", lambda: {"a": entry, "b": Listed("b.ome.tif", "test", "s", "l", "0")})
    monkeypatch.setattr(comparison, "METHODS", ("means-for-tests",))
    monkeypatch.setattr(comparison, "RATIOS", (8.0, 16.0))
    __import__("helpers.bench_methods")
    store = Store(tmp_path / "c.jsonl")
    asked = comparison.StandingComparison(tmp_path, tmp_path / "files", 5, measures=("quality",))
    comparison.run(asked, store)
    found = Store(tmp_path / "c.jsonl").rows
    assert [(key.ratio, r["status"]) for key, r in found.items()] == [(8.0, "ok"), (16.0, "ok")]
    assert all(math.isfinite(r["psnr"]) and r["bytes"] <= r["limit"] for r in found.values())
    # From what is kept alone nothing is run again, not even looked for.
    (tmp_path / "a.ome.tif").write_bytes(b"another")
    comparison.run(asked, Store(tmp_path / "c.jsonl"))
    with pytest.raises(SystemExit, match="checksum"):
        comparison.run(asked, Store(tmp_path / "none.jsonl"))

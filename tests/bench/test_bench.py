"""`microfield bench`, with methods that take no time: rows, resuming, crashes, files, the call itself."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import helpers.raw_method  # noqa: F401 (registers its method)
import microfield as mf
from helpers import bench_methods
from helpers.images import image
from microfield.bench import measures, rows
from microfield.bench import plan as bench
from microfield.bench.plan import BenchImage, BenchPlan
from microfield.cli import main
from microfield.statistics import channel_statistics
from microfield.writing.budget import Budget

MEANS, RAW = "means-for-tests", "raw-for-tests"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "cells.npy"
    np.save(path, image("uint8").read())
    return path


@pytest.fixture(autouse=True)
def _measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_MEASURES", dict(measures._MEASURES))
    measures.register("brightest", bench_methods.brightest)
    measures.register("broken", bench_methods.broken)


def plan(picture: Path, ratios: tuple[float, ...] = (4.0, 16.0), **changed: Any) -> BenchPlan:
    return BenchPlan(**{
        "images": (BenchImage(picture, "cells"),), "methods": {MEANS: {}}, "budgets": tuple(Budget("ratio", r) for r in ratios),
        "out": picture.parent / "out", "measures": ("brightest",), **changed,
    })


def recorded(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


# -- rows -------------------------------------------------------------------------------------------------------------


def test_a_row_says_everything(picture: Path) -> None:
    ok, small = bench.run(plan(picture, ratios=(4, 100000), measures=("quality", "brightest"), effort=3, seed=7))
    original = mf.open_image(picture)
    with mf.open(picture.parent / "out" / ok["file"]) as file:
        assert ok["bytes"] == file.file_bytes <= ok["limit"] == original.nbytes // 4
        assert ok["ratio"] == pytest.approx(original.nbytes / file.file_bytes)
        assert ok["bits_per_voxel"] == pytest.approx(8 * file.file_bytes / original.layout.size)
        expected = mf.compare(original, file)
        assert ok["psnr"] == pytest.approx(expected["psnr"]) == pytest.approx(ok["psnr_lowest"])
        assert ok["ssim"] == pytest.approx(expected["ssim"])
        assert ok["brightest"] == file.asarray().max()
    assert ok["nothing"] is None
    assert ok["used"] == pytest.approx(ok["bytes"] / ok["limit"])
    assert (ok["axes"], ok["shape"], ok["dtype"], ok["status"]) == ("YX", [48, 40], "uint8", "ok")
    assert ok["encode_seconds"] >= 0
    assert ok["decode_seconds"] > 0
    assert 10e6 < ok["encode_memory"] < 4e9
    assert ok["versions"]["microfield"] == mf.__version__
    assert ok["versions"]["numpy"] == np.__version__
    assert ok["machine"]["cores"] >= 1
    assert (small["status"], small["limit"]) == ("unreachable", 0)
    assert "takes at least" in small["message"]
    assert small.get("bytes") is None


def test_the_command_of_a_row_repeats_it(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = bench.run(plan(picture, ratios=(16,), methods={MEANS: {"crash_below": "2"}}, effort=3, axes="YX"))[0]
    words = shlex.split(row["command"])
    assert words[:2] == ["microfield", "bench"]
    assert words[-2:] == ["--out", str(picture.parent / "out")]
    monkeypatch.chdir(picture.parent)
    assert main([*words[1:-1], "again"]) == 0
    again = rows.load(Path("again/rows.jsonl"))[0]
    assert rows.key(again) == rows.key(row)
    assert {k: again[k] for k in ("bytes", "brightest", "options", "used")} == \
        {k: row[k] for k in ("bytes", "brightest", "options", "used")}
    assert shlex.split(again["command"])[:-1] == words[:-1]


def test_filled_values_and_not_labels_are_part_of_a_run(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = image("uint8").read().astype(np.float32)
    values[3, 4] = np.nan
    np.save(picture, values)
    call = ["--methods", RAW, "--ratios", "0.5", "--measures", "quality"]
    assert cli(picture, *call) == 1
    assert "--nan-fill" in capsys.readouterr().out
    assert cli(picture, *call, "--nan-fill", "0") == 0
    assert cli(picture, *call, "--nan-fill", "-7", "--not-labels") == 0
    refused, zero, minus = rows.load(picture.parent / "out" / "rows.jsonl")
    assert (refused["status"], zero["status"], minus["status"]) == ("refused", "ok", "ok")
    assert ("nan_fill" in refused, zero["nan_fill"], minus["nan_fill"], minus["not_labels"]) == (False, 0, -7, True)
    assert "not_labels" not in zero
    assert "--nan-fill=0.0" in zero["command"]
    assert "--nan-fill=-7.0 --not-labels" in minus["command"]
    # Compared with what was filled in: the copy is exact, and the file holds the value.
    for row, value in ((zero, 0), (minus, -7)):
        assert (row["psnr"], row["max_error"]) == (None, 0)
        with mf.open(picture.parent / "out" / row["file"]) as file:
            assert file[3, 4] == value
    assert cli(picture, *call, "--nan-fill", "nan") == 2


def test_labels_can_be_benched_when_asked(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(picture, np.kron(np.arange(12).reshape(3, 4), np.pad(np.ones((12, 12)), 2)).astype(np.uint8))
    assert cli(picture, "--ratios", "16", "--measures", "brightest") == 1
    assert "--not-labels" in capsys.readouterr().out
    assert cli(picture, "--ratios", "16", "--measures", "brightest", "--not-labels") == 0


def test_the_key_of_a_row_without_the_new_fields_stays() -> None:
    row: dict[str, Any] = {
        "fingerprint": "ab", "axes_given": None, "method": "av1", "options": {}, "budget": "ratio", "asked": 64.0, "effort": 5,
        "seed": 0, "time_limit": None,
    }
    assert rows.key(row) == "3a08a86de3b7"
    assert len({rows.key(row | extra) for extra in ({}, {"nan_fill": 0.0}, {"nan_fill": 1.0}, {"not_labels": True})}) == 4


def test_a_quality_is_asked_for_like_a_size(picture: Path) -> None:
    row = bench.run(plan(picture, budgets=(Budget("psnr", 60.0),), measures=("quality",)))[0]
    assert row["status"] == "unreachable"
    assert row["limit"] is None
    assert "needs more than a quarter" in row["message"]


def test_an_exact_copy_has_no_psnr(picture: Path) -> None:
    row = bench.run(plan(picture, methods={RAW: {}}, budgets=(Budget("ratio", 0.9),), measures=("quality",)))[0]
    assert (row["status"], row["psnr"], row["max_error"]) == ("ok", None, 0)
    assert "exact" in rows.one_line(row)


# -- resuming -----------------------------------------------------------------------------------------------------------


def test_what_is_done_is_not_done_again(picture: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = bench.run(plan(picture), lambda row, done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    more = bench.run(plan(picture, ratios=(4, 8, 16)), lambda row, done, total: seen.append((done, total)))
    assert seen[2:] == [(1, 1)]
    assert [row["asked"] for row in more] == [4, 8, 16]
    assert more[0] == first[0]
    assert more[2] == first[1]
    assert len(bench.run(plan(picture, again=True))) == 2
    assert len(recorded(picture.parent / "out")) == 5
    assert len(rows.load(picture.parent / "out" / "rows.jsonl")) == 3


def test_a_new_measure_needs_no_second_encode(picture: Path) -> None:
    first = bench.run(plan(picture))
    files = {p: p.stat().st_mtime_ns for p in (picture.parent / "out" / "files").iterdir()}
    second = bench.run(plan(picture, measures=("brightest", "quality")))
    assert {p: p.stat().st_mtime_ns for p in files} == files
    for before, after in zip(first, second, strict=True):
        assert after["measures"] == ["brightest", "quality"]
        assert after["psnr"] > 5
        assert after["encode_seconds"] == before["encode_seconds"]
    # Where the file was deleted it is made again, with all measures.
    for path in files:
        path.unlink()
    third = bench.run(plan(picture, measures=("brightest", "full")))
    assert all(row["measures"] == ["brightest", "full"] for row in third)


def test_a_changed_image_is_another_run(picture: Path) -> None:
    bench.run(plan(picture))
    np.save(picture, image("uint8").read()[::-1])
    bench.run(plan(picture))
    assert len(rows.load(picture.parent / "out" / "rows.jsonl")) == 4


def test_a_half_written_line_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    one, two = ({"status": "ok", "method": m, "asked": 4.0} for m in "ab")
    rows.append(path, one)
    path.write_bytes(path.read_bytes() + b'{"status": "ok", "meth')
    assert rows.load(path) == [one]
    rows.append(path, two)
    rows.append(path, one | {"psnr": 3.5})
    assert rows.load(path) == [one | {"psnr": 3.5}, two]
    assert rows.load(tmp_path / "none") == []


# -- what goes wrong ------------------------------------------------------------------------------------------------------


def test_a_crash_costs_one_row(picture: Path) -> None:
    # 1920 raw bytes: 240, 120, 60 bytes allowed; the part gets fewer.
    found = bench.run(plan(picture, ratios=(8, 32, 16), methods={MEANS: {"crash_below": "60"}}))
    assert [row["status"] for row in found] == ["ok", "failed", "ok"]
    assert "signal 9" in found[1]["message"]
    # A failed run is tried again, and what could not be reached is not.
    assert len(recorded(picture.parent / "out")) == 3
    bench.run(plan(picture, ratios=(8, 32), methods={MEANS: {"crash_below": "60"}}))
    assert len(recorded(picture.parent / "out")) == 4


def test_errors_are_one_sentence_and_stop_nothing(picture: Path) -> None:
    labels = picture.with_name("labels.npy")
    np.save(labels, np.kron(np.arange(12).reshape(3, 4), np.pad(np.ones((12, 12)), 2)).astype(np.uint8))
    images = tuple(BenchImage(picture.with_name(n), n) for n in ("missing.tif", "labels.npy", "cells.npy"))
    found = bench.run(plan(picture, ratios=(16,), images=images, methods={MEANS: {"fail_below": "60"}, RAW: {}}))
    said = {(row["image"], row["method"]): (row["status"], row["message"]) for row in found}
    assert said["missing.tif", MEANS][0] == "refused"
    assert "there is no file" in said["missing.tif", MEANS][1]
    assert said["labels.npy", MEANS][0] == "refused"
    assert "labels" in said["labels.npy", MEANS][1]
    assert said["cells.npy", RAW][0] == "unreachable"
    assert said["cells.npy", MEANS] == ("ok", "")
    foreseen = bench.run(plan(picture, ratios=(16,), methods={MEANS: {"fail_below": "1000"}}))[0]
    assert (foreseen["status"], foreseen["message"]) == ("failed", "RuntimeError: nobody foresaw this")
    assert "second line" in (picture.parent / "out" / "log.txt").read_text()


def test_what_was_refused_is_tried_again(picture: Path) -> None:
    missing = picture.with_name("later.npy")
    later: dict[str, Any] = {"images": (BenchImage(missing, "later"),), "ratios": (16, 100000)}
    assert {row["status"] for row in bench.run(plan(picture, **later))} == {"refused"}
    assert len(recorded(picture.parent / "out")) == 2
    assert {row["status"] for row in bench.run(plan(picture, **later))} == {"refused"}
    assert len(recorded(picture.parent / "out")) == 4
    # Labels that cannot be read, and then can: the same image, the same run.
    labels = picture.with_name("truth.npy")
    labels.write_text("no array")
    known: dict[str, Any] = {"images": (BenchImage(picture, "cells", labels=labels),), "ratios": (16,)}
    assert bench.run(plan(picture, **known))[0]["status"] == "refused"
    np.save(labels, np.full((48, 40), 3, np.uint8))
    row = bench.run(plan(picture, **known))[0]
    assert (row["status"], row["message"], row["label"]) == ("ok", "", 3)


def test_a_measure_that_gives_nan_is_refused() -> None:
    measures.register("nan", lambda original, reconstruction, known: {"value": float("nan")})
    measures.register("exact", lambda original, reconstruction, known: {"psnr": float("inf"), "ssim": None})
    taken = image("uint8"), image("uint8").read(), measures.Known(channel_statistics(image("uint8")))
    with pytest.raises(ValueError, match="measure nan gave NaN as value"):
        measures.measure_all(["nan"], *taken)
    assert measures.measure_all(["exact"], *taken) == {"psnr": None, "ssim": None}


def test_a_broken_measure_keeps_the_encode(picture: Path) -> None:
    row = bench.run(plan(picture, ratios=(16,), measures=("brightest", "broken")))[0]
    assert (row["status"], row["message"]) == ("failed", "ValueError: this measure is broken")
    written = (picture.parent / "out" / row["file"]).stat().st_mtime_ns
    row = bench.run(plan(picture, ratios=(16,), measures=("brightest",)))[0]
    assert (row["status"], row["measures"]) == ("ok", ["brightest"])
    assert (picture.parent / "out" / row["file"]).stat().st_mtime_ns == written


# -- the command line -----------------------------------------------------------------------------------------------------


def cli(picture: Path, *words: str) -> int:
    out = str(picture.parent / "out")
    more = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    return main(["bench", str(picture), *more, "--methods", MEANS, "--ratios", "4,8,16", "--out", out, *words[len(more):]])


def test_the_command_writes_rows_tables_and_a_page(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(picture, "--methods", f"{MEANS},{RAW}", "--measures", "quality,brightest", "--jobs", "2") == 0
    out = picture.parent / "out"
    printed = capsys.readouterr()
    # Without a terminal one plain line per finished run.
    lines = printed.err.splitlines()
    assert [line.split("]")[0] for line in lines] == [f"[{i}/6" for i in range(1, 7)]
    assert any(re.fullmatch(rf"\[\d/6\] cells {MEANS} ratio 16: \d+ bytes, \d+\.\d dB, \d+\.\d s", line) for line in lines)
    assert f"unreachable: cells {RAW} ratio 4" in printed.out
    with (out / "rows.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert {(row["method"], row["asked"]) for row in table} == {(m, r) for m in (MEANS, RAW) for r in ("4.0", "8.0", "16.0")}
    assert next(row for row in table if row["status"] == "ok")["shape"] == "48x40"
    parquet = pytest.importorskip("pyarrow.parquet").read_table(out / "rows.parquet").to_pylist()
    assert [row["bytes"] for row in parquet if row["bytes"]] == [int(row["bytes"]) for row in table if row["bytes"]]
    assert parquet[0]["bits_per_voxel"] is None or isinstance(parquet[0]["bits_per_voxel"], float)
    page = (out / "index.html").read_text()
    assert page.count('<svg class="rd"') == 1
    assert "Recommended: " in page
    assert page.count("data:image/png;base64,") == 2  # the original and the method that reached a size
    assert "http://" not in page.replace("http://www.w3.org", "")
    # A second call has nothing to do and says the same.
    assert cli(picture, "--methods", f"{MEANS},{RAW}", "--measures", "quality,brightest") == 0
    assert capsys.readouterr() == (printed.out, "")


def test_without_pyarrow_there_is_csv_only(
    picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert cli(picture, "--ratios", "16", "--measures", "brightest") == 0
    assert not (picture.parent / "out" / "rows.parquet").exists()
    assert "microfield[bench]" in capsys.readouterr().out


def test_labels_are_found_beside_the_image(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = np.zeros((48, 40), np.uint8)
    truth[4:20, 4:20] = 9
    np.save(picture.with_name("cells_labels.npy"), truth)
    call = ["bench", str(picture.parent / "*.npy"), "--methods", MEANS, "--ratios", "16", "--measures", "brightest"]
    assert main([*call, "--labels", "auto", "--out", str(picture.parent / "a")]) == 0
    row = rows.load(picture.parent / "a" / "rows.jsonl")
    assert len(row) == 1
    said = capsys.readouterr().err.splitlines()[0]
    assert said == f"note: {picture.with_name('cells_labels.npy')} is used as labels of {picture} and not benched itself " \
        "(--labels auto)."
    assert row[0]["label"] == 9
    assert row[0]["labels"] == "cells_labels.npy"
    given = f"{picture}={picture.with_name('cells_labels.npy')}"
    assert main([*call[:1], str(picture), *call[2:], "--labels", given, "--out", str(picture.parent / "b")]) == 0
    assert rows.load(picture.parent / "b" / "rows.jsonl")[0]["label"] == 9


@pytest.mark.parametrize(("words", "said"), [
    (["--methods", "nothing"], "there is no method 'nothing'"),
    (["--methods", ","], "names nothing"),
    (["--measures", "beauty"], "there is no measure 'beauty'"),
    (["--option", "x=3"], "METHOD:key=value"),
    (["--option", "hevc:preset=slow"], "not in --methods"),
    (["--option", f"{MEANS}:colour=3"], "no option 'colour'"),
    (["--ratios", "4,many"], "must be a number"),
    (["--ratios", "-4"], "positive number"),
    (["--psnr", "0"], "positive number"),
    (["--labels", "cells"], "IMAGE=LABELS"),
    (["--labels", "other.tif=x.tif"], "not one of the images"),
    (["--labels", "{}=nothere.tif"], "there is no file nothere.tif"),
    (["--out", "{}"], "is a file"),
    (["--out", "{}/deeper/still"], "is a file"),
    (["nothing*.tif"], "no file matches nothing*.tif"),
    (["--nan-fill", "inf"], "finite"),
    (["--jobs", "0"], "--jobs must be at least 1"),
    (["--effort", "11"], "--effort 11 must be 0 to 9"),
    (["--time-limit", "long"], "--time-limit"),
    (["--anchor", "av1"], "--anchor av1"),
])
def test_wrong_calls_exit_2_with_a_sentence(
    picture: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(picture, *(word.format(picture) for word in words)) == 2
    text = capsys.readouterr().err
    assert said in text
    assert text.startswith("microfield: ")
    assert text.count("\n") == 1
    assert not (picture.parent / "out").exists()


def test_refused_images_exit_1(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(picture, np.full((9, 9), np.nan, np.float32))
    assert cli(picture, "--ratios", "2") == 1
    assert "refused: cells" in capsys.readouterr().out


def test_an_image_refused_as_a_whole_is_one_sentence(
    picture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(picture, np.full((9, 9), np.nan, np.float32))
    good = picture.with_name("good.npy")
    np.save(good, image("uint8").read())
    call = [str(good), "--measures", "quality"]
    assert cli(picture, *call) == 1
    printed = capsys.readouterr()
    assert printed.out.count("NaN") == 1
    assert "refused: cells, all 3 runs: " in printed.out
    assert "vs None" not in printed.out
    assert printed.err.count("refused") == 3
    # On a terminal it is said once, as soon as it is known, and not again at the end.
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert cli(picture, *call) == 1
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("refused: ") == 1
    assert "refused" in printed.err
    assert "[1/3] cells" in printed.err


def test_nothing_but_refusals_has_no_anchor(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture.write_text("no array")
    assert cli(picture) == 1
    assert "None" not in capsys.readouterr().out


def test_an_interrupted_bench_says_how_to_go_on(
    picture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("microfield.cli.bench.Shown.row", stop)
    assert cli(picture, "--measures", "brightest") == 130
    assert "the same command again goes on" in capsys.readouterr().err
    assert len(recorded(picture.parent / "out")) == 1
    assert (picture.parent / "out" / "rows.csv").exists()


@pytest.mark.parametrize(("name", "words"), [("index.html", "holds index.html"), ("rows.csv", "holds rows.csv"),
                                              ("rows.jsonl", "is no record of a bench")])
def test_files_that_are_not_of_a_bench_are_not_replaced(picture: Path, capsys: pytest.CaptureFixture[str], name: str, words: str,
                                                        ) -> None:
    out = picture.parent / "out"
    out.mkdir()
    (out / name).write_text("precious")
    assert cli(picture) == 2
    assert words in capsys.readouterr().err
    assert [(p.name, p.read_text()) for p in out.iterdir()] == [(name, "precious")]


def test_images_of_one_name_are_told_apart(picture: Path) -> None:
    other = picture.parent / "b" / "cells.npy"
    other.parent.mkdir()
    np.save(other, image("uint8").read()[::-1])
    out = picture.parent / "out"
    assert main(["bench", str(picture), str(other), "--methods", MEANS, "--ratios", "16", "--measures", "brightest",
                 "--out", str(out)]) == 0
    assert [row["image"] for row in rows.load(out / "rows.jsonl")] == [f"{picture.parent.name}/cells", "b/cells"]

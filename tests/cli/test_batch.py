"""``compress --out-dir``: what is found, what is trusted on resuming, what the summary says, and the exit status."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import microfield as mf
from microfield.cli import batch, main
from microfield.cli.locked import locked
from microfield.cli.strict_json import strict_json
from microfield.cli.summary import COLUMNS, Summary

FLAT = np.full((20, 20), 3, np.uint8)
CALL = ["--max-bytes", "200"]


def flat(path: Path, value: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, FLAT + np.uint8(value - 3))
    else:
        tifffile.imwrite(path, FLAT + np.uint8(value - 3))
    return path


def compress(*words: object, capsys: pytest.CaptureFixture[str] | None = None) -> int:
    status = main(["compress", *map(str, words), *CALL])
    if capsys is not None:
        capsys.readouterr()
    return status


def summary(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "microfield-summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["output"] for row in rows}) == len(rows)
    return {row["output"]: row for row in rows}


# -- done, skipped, failed --------------------------------------------------------------------------------------------


def test_many_inputs_go_on_after_failures_and_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat(tmp_path / "a.npy")
    flat(tmp_path / "c.npy", 200)
    (tmp_path / "b.npy").write_bytes(b"not an image")
    out = tmp_path / "packed"
    assert compress(*(tmp_path / f"{n}.npy" for n in "abc"), "--out-dir", out) == 1
    assert "2 done, 0 skipped, 1 failed" in capsys.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == ["a.mfield", "c.mfield", "microfield-summary.csv", "microfield-summary.html"]
    rows = summary(out)
    assert {name: row["status"] for name, row in rows.items()} == {"a.mfield": "done", "b.mfield": "failed", "c.mfield": "done"}
    assert "b.npy" in rows["b.mfield"]["message"]
    assert int(rows["a.mfield"]["file_bytes"]) == (out / "a.mfield").stat().st_size
    before = (out / "a.mfield").stat().st_mtime_ns
    assert compress(tmp_path / "[ac].npy", "--out-dir", out) == 0
    assert "0 done, 2 skipped, 0 failed" in capsys.readouterr().out
    assert (out / "a.mfield").stat().st_mtime_ns == before
    assert summary(out) == rows


def test_labels_are_skipped_and_are_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.kron(np.arange(64, dtype=np.uint16).reshape(8, 8), np.pad(np.ones((12, 12), np.uint16), 2))
    np.save(tmp_path / "nuclei.npy", labels)
    assert compress(tmp_path / "nuclei.npy", flat(tmp_path / "a.npy"), "--out-dir", tmp_path / "o") == 0
    told = capsys.readouterr().out
    assert "nuclei.npy: skipped: " in told
    assert "--not-labels" in told
    assert "1 done, 1 skipped, 0 failed" in told
    assert summary(tmp_path / "o")["nuclei.mfield"]["status"] == "skipped"


def test_a_fault_of_ours_costs_one_image_only(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    from microfield.cli.one import compress_one as whole

    def faulty(arguments: Any, budget: Any, source: Any, *rest: Any) -> Any:
        if source.source.endswith("a.npy"):
            raise ZeroDivisionError("division by zero")
        return whole(arguments, budget, source, *rest)

    monkeypatch.setattr("microfield.cli.batch.compress_one", faulty)
    assert compress(flat(tmp_path / "a.npy"), flat(tmp_path / "b.npy"), "--out-dir", tmp_path / "o") == 1
    assert "please report it" in capsys.readouterr().out
    assert mf.open(tmp_path / "o" / "b.mfield").shape == (20, 20)


def test_json_is_standard_json_and_csv_has_the_columns_it_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compress(flat(tmp_path / "a.npy"), tmp_path / "no.npy", "--out-dir", tmp_path / "o", "--json") == 1
    rows = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [(row["status"], row.get("psnr")) for row in rows] == [("done", None), ("failed", None)]  # an exact copy
    assert list(summary(tmp_path / "o")["a.mfield"]) == list(COLUMNS)
    page = (Path(__file__).parents[2] / "docs" / "batch.md").read_text(encoding="utf-8")
    for column in COLUMNS:
        assert f"| `{column}`" in page or f", `{column}`" in page, f"docs/batch.md says nothing of the column {column}"
    odd = {"a": [float("inf"), {"b": float("nan")}], "c": 1.5}
    assert json.loads(strict_json(odd)) == {"a": [None, {"b": None}], "c": 1.5}


# -- resuming ---------------------------------------------------------------------------------------------------------


def test_only_files_of_this_source_with_these_settings_are_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = flat(tmp_path / "a.npy"), tmp_path / "o"
    assert compress(source, "--out-dir", out) == 0
    rows = summary(out)
    assert main(["compress", str(source), "--out-dir", str(out), "--max-bytes", "150", "--method", "av1"]) == 1
    told = capsys.readouterr().out
    assert "was made with other settings (max-bytes 200, method not given); --overwrite replaces it." in told
    now = summary(out)["a.mfield"]
    assert now["status"] == "failed"
    assert "was made with other settings" in now["message"]
    assert {k: v for k, v in now.items() if rows["a.mfield"][k] != v}.keys() == {"status", "message"}
    assert compress(source, "--out-dir", out) == 0
    assert summary(out)["a.mfield"]["status"] == "skipped"
    flat(source, 9)
    os.utime(source, ns=(1, 10**18))
    assert compress(source, "--out-dir", out) == 1
    assert "was made before its source last changed, or from another one; --overwrite" in capsys.readouterr().out
    assert mf.open(out / "a.mfield")[0, 0] == 3
    assert compress(source, "--out-dir", out, "--overwrite") == 0
    assert mf.open(out / "a.mfield")[0, 0] == 9
    assert summary(out)["a.mfield"]["settings"] == rows["a.mfield"]["settings"]


def test_garbage_in_the_place_of_an_output_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = flat(tmp_path / "a.npy"), tmp_path / "o"
    compress(source, "--out-dir", out, capsys=capsys)
    whole = (out / "a.mfield").read_bytes()
    for content in (b"garbage", b"", whole[:-3], whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]):
        (out / "a.mfield").write_bytes(content)
        assert compress(source, "--out-dir", out) == 1
        assert "exists and is no intact microfield file" in capsys.readouterr().out
        assert (out / "a.mfield").read_bytes() == content
    mf.compress(FLAT, out / "b.mfield", max_bytes=200)
    assert compress(flat(tmp_path / "b.npy"), "--out-dir", out) == 1
    assert "the summary beside it does not say how it was made" in capsys.readouterr().out


def test_a_crash_between_a_file_and_its_row_costs_one_image(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed writes nothing any more: the summary holds the row of the beginning."""
    source, out = flat(tmp_path / "a.npy"), tmp_path / "o"
    with monkeypatch.context() as patch:
        patch.setattr(batch.Batch, "_finish", lambda *_, **__: None)
        patch.setattr("microfield.cli.summary.Summary.write", lambda _: None)
        compress(source, "--out-dir", out, capsys=capsys)
    assert summary(out)["a.mfield"]["status"] == "started"
    assert compress(source, "--out-dir", out) == 0
    assert "1 done, 0 skipped, 0 failed" in capsys.readouterr().out
    with (out / "microfield-summary.csv").open("a", encoding="utf-8") as file:
        file.write("half,a,ro")
    assert compress(source, "--out-dir", out) == 0
    assert "0 done, 1 skipped" in capsys.readouterr().out


def test_an_interrupted_batch_leaves_the_summary_of_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    from microfield.cli.one import compress_one as whole

    def interrupted(arguments: Any, budget: Any, source: Any, *rest: Any) -> Any:
        if source.source.endswith("b.npy"):
            raise KeyboardInterrupt
        return whole(arguments, budget, source, *rest)

    monkeypatch.setattr("microfield.cli.batch.compress_one", interrupted)
    inputs = [flat(tmp_path / f"{n}.npy") for n in "abc"]
    assert compress(*inputs, "--out-dir", tmp_path / "o") == 130
    told = capsys.readouterr()
    assert "1 done, 0 skipped, 0 failed" in told.out
    assert "interrupted" in told.err
    rows = summary(tmp_path / "o")
    assert {name: row["status"] for name, row in rows.items()} == {"a.mfield": "done", "b.mfield": "interrupted"}
    monkeypatch.undo()
    assert compress(*inputs, "--out-dir", tmp_path / "o") == 0
    assert "2 done, 1 skipped, 0 failed" in capsys.readouterr().out


def test_a_foreign_summary_or_folder_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = flat(tmp_path / "a.npy"), tmp_path / "o"
    out.mkdir()
    (out / "microfield-summary.csv").write_text("my,own,table\n1,2,3\n")
    assert compress(source, "--out-dir", out) == 1
    assert "is no summary of microfield and is not replaced" in capsys.readouterr().err
    assert os.listdir(out) == ["microfield-summary.csv"]
    assert compress(source, "--out-dir", source) == 1
    assert "cannot be made" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_no_input_is_replaced_by_an_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, out = flat(tmp_path / "a.npy"), flat(tmp_path / "b.npy"), tmp_path / "o"
    out.mkdir()
    (out / "a.mfield").symlink_to(b)
    before = b.read_bytes()
    assert compress(a, b, "--out-dir", out, "--overwrite") == 1
    assert "is the same file as one of the inputs" in capsys.readouterr().out
    assert b.read_bytes() == before


def test_a_summary_that_is_locked_does_not_stop_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = flat(tmp_path / "a.npy"), tmp_path / "o"
    out.mkdir()
    (out / "microfield-summary.csv").write_text("input,output,status\n")
    (out / "microfield-summary.csv").chmod(0o444)
    assert compress(source, "--out-dir", out) == 0
    told = capsys.readouterr()
    assert "1 done" in told.out
    assert told.err.count("cannot be written") == 1


def test_calls_that_run_at_the_same_time_keep_each_others_rows(tmp_path: Path) -> None:
    """Each has read the summary before the other wrote its rows, and writes it anew afterwards."""
    first, second = Summary(tmp_path), Summary(tmp_path)
    rows = {name: {"input": name, "output": str(tmp_path / f"{name}.mfield"), "status": "done", "message": "x" * 20000}
            for name in "abcd"}
    first.add(rows["a"])
    second.add(rows["b"])
    assert second.earlier(tmp_path / "a.mfield") is not None
    first.add(rows["c"] | {"status": "started"})
    first.write()
    second.add(rows["d"])
    first.add(rows["c"])
    second.write()
    first.write()
    assert {name: row["status"] for name, row in summary(tmp_path).items()} == {f"{name}.mfield": "done" for name in "abcd"}
    assert os.listdir(tmp_path) == ["microfield-summary.csv"]


def test_a_summary_of_another_version_gets_rows_that_fit(tmp_path: Path) -> None:
    (tmp_path / "microfield-summary.csv").write_text("input,output,status,settings,verdict_why\na,a.mfield,done,{},good\n")
    known = Summary(tmp_path)
    known.add({"input": "b", "output": str(tmp_path / "b.mfield"), "status": "started", "psnr_robust": 30})
    found = summary(tmp_path)
    assert list(found["a.mfield"]) == list(COLUMNS)
    assert (found["a.mfield"]["verdict_why"], found["b.mfield"]["psnr_robust"]) == ("good", "30")


def test_the_lock_of_a_process_that_was_killed_is_broken(tmp_path: Path) -> None:
    lock = tmp_path / ".a.lock"
    lock.touch()
    os.utime(lock, (1, 1))
    with locked(tmp_path / "a"):
        assert lock.stat().st_mtime > 1
    assert not lock.exists()
    with locked(tmp_path / "nowhere" / "a"):
        pass


# -- what is found ----------------------------------------------------------------------------------------------------


def test_inputs_of_one_name_do_not_overwrite_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for names in (("one/a.npy", "two/a.npy"), ("one/a.npy", "two/A.npy"), ("one/a.npy", "one/a.tif")):
        inputs = [flat(tmp_path / name) for name in names]
        assert compress(*inputs, "--out-dir", tmp_path / "o") == 2
        assert "different folders" in capsys.readouterr().err
        assert not (tmp_path / "o").exists()


def test_folders_are_walked_and_keep_their_structure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    for name in ("a.npy", "day 1/a.tif", "day 1/deep/b.npy", ".hidden/c.npy", "day 1/._a.tif"):
        flat(data / name)
    (data / "notes.txt").write_text("no image")
    (data / "old.mfield").write_bytes(b"output")
    (data / "day 2").mkdir()
    mf.save_image(data / "day 2" / "z.zarr", mf.Image(FLAT, "YX").layout, lambda box: FLAT[box])
    call = [data, "--recursive", "--out-dir", data / "packed"]
    assert compress(*call) == 0
    told = capsys.readouterr()
    assert "note: 1 files below" in told.err
    made = sorted(p.relative_to(data / "packed").as_posix() for p in (data / "packed").rglob("*.mfield"))
    assert made == ["a.mfield", "day 1/a.mfield", "day 1/deep/b.mfield", "day 2/z.mfield"]
    assert set(summary(data / "packed")) == set(made)
    assert compress(*call) == 0
    assert "0 done, 4 skipped" in capsys.readouterr().out
    empty = tmp_path / "empty"
    empty.mkdir()
    assert compress(empty, "--recursive", "--out-dir", tmp_path / "o") == 2
    assert "holds no image" in capsys.readouterr().err


def test_a_folder_alone_says_what_could_be_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat(tmp_path / "data" / "a.npy")
    assert compress(tmp_path / "data", "--out-dir", tmp_path / "o") == 1
    told = capsys.readouterr().out
    assert "--recursive" in told
    assert "--stack" in told
    for flag in (["--recursive"], ["--scene", "all"]):
        assert compress(tmp_path / "data", tmp_path / "a.mfield", *flag) == 2
        assert "give --out-dir" in capsys.readouterr().err


def series(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        for size in (20, 21, 22):
            writer.write(np.full((size, 20), size, np.uint8), photometric="minisblack", metadata=None)


def test_every_scene_can_become_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series(tmp_path / "three.tif")
    flat(tmp_path / "one.npy")
    arrays: dict[str, Any] = {"A 1": FLAT, "a_1": FLAT, "b": FLAT}
    np.savez(tmp_path / "arrays.npz", **arrays)
    inputs = [tmp_path / name for name in ("three.tif", "one.npy", "arrays.npz")]
    assert compress(*inputs, "--scene", "all", "--out-dir", tmp_path / "o") == 0
    names = mf.list_scenes(tmp_path / "three.tif")
    made = {p.name: mf.open(p).shape for p in (tmp_path / "o").glob("*.mfield")}
    assert sorted(made.values()) == [(20, 20)] * 5 + [(21, 20), (22, 20)]
    assert {"one.mfield", "arrays-A_1-0.mfield", "arrays-a_1-1.mfield", "arrays-b.mfield"} < set(made)
    assert {row["scene"] for row in summary(tmp_path / "o").values()} == {*names, "", "A 1", "a_1", "b"}
    capsys.readouterr()
    assert compress(*inputs, "--scene", "all", "--out-dir", tmp_path / "o") == 0
    assert "0 done, 7 skipped" in capsys.readouterr().out
    assert compress(tmp_path / "three.tif", tmp_path / "o.mfield") == 0
    assert "note: 2 of 3 series are not in this: " in (told := capsys.readouterr().out)
    assert "--scene all writes one file each" in told


def test_folders_of_planes_become_one_file_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("data", "data/b"):
        for z in range(3):
            flat(tmp_path / folder / f"img_z{z}.tif", 5)
    assert compress(tmp_path / "data" / "b", tmp_path / "b.mfield", "--stack") == 0
    assert "note: stacked from 3 files: 3 along Z." in capsys.readouterr().out
    assert mf.open(tmp_path / "b.mfield").shape == (3, 20, 20)
    flat(tmp_path / "data" / "c" / "well A1.tif")
    flat(tmp_path / "data" / "c" / "well B7.tif")
    assert compress(tmp_path / "data", "--stack", "--recursive", "--out-dir", tmp_path / "o") == 0
    assert mf.open(tmp_path / "o" / "c" / "well A1.mfield").shape == (20, 20)
    assert main(["compare", str(tmp_path / "data" / "b"), str(tmp_path / "b.mfield"), "--stack", "--no-ssim", "--not-labels"]) == 0
    assert "not made from" not in capsys.readouterr().out
    assert compress(tmp_path / "data", "--recursive", "--out-dir", tmp_path / "single") == 0
    assert "note: 3 files in " in capsys.readouterr().err
    assert {n: mf.open(tmp_path / "o" / n).shape for n in ("data.mfield", "b.mfield")} == dict.fromkeys(
        ("data.mfield", "b.mfield"), (3, 20, 20))


def test_what_goes_wrong_with_the_verdict_does_not_cost_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, out = flat(tmp_path / "a.npy"), flat(tmp_path / "b.npy"), tmp_path / "o"

    def fault(_: Any, image: Any, *__: Any, **___: Any) -> Any:
        if image.source.endswith("b.npy"):
            raise KeyboardInterrupt
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("microfield.cli.batch.judged", fault)
    assert compress(a, b, "--out-dir", out) == 130
    assert "no verdict (ZeroDivisionError: division by zero)" in capsys.readouterr().out
    assert {name: row["status"] for name, row in summary(out).items()} == {"a.mfield": "done", "b.mfield": "done"}
    monkeypatch.undo()
    assert compress(a, b, "--out-dir", out) == 0
    assert "0 done, 2 skipped" in capsys.readouterr().out


def test_a_foreign_page_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o"
    out.mkdir()
    (out / "microfield-summary.html").write_text("<title>precious</title>")
    assert compress(flat(tmp_path / "a.npy"), "--out-dir", out) == 0
    assert "is no page of microfield and is not replaced" in capsys.readouterr().err
    assert (out / "microfield-summary.html").read_text() == "<title>precious</title>"
    (out / "microfield-summary.html").unlink()
    for _ in range(2):
        assert compress(tmp_path / "a.npy", "--out-dir", out, "--overwrite") == 0
        assert "not replaced" not in capsys.readouterr().err
        assert "microfield summary" in (out / "microfield-summary.html").read_text()

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from helpers.images import blobs, scaled
from microfield.cli import main

USES = ["look", "count", "spots", "measure"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "cells.npy"
    np.save(path, scaled(blobs((128, 128), count=40), 100, 3000, np.uint16))
    return path


def test_compress_says_what_the_copy_is_good_for(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["compress", str(source), str(tmp_path / "a.mfield"), "--ratio", "30", "--effort", "0"]
    assert main(call) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^  (\w+) +(?:fine|with care|not advised|not judged)", said, re.M) == USES
    assert main([*call, "--overwrite", "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert list(verdict) == [*USES, "judged_on"]
    assert verdict["look"]["grade"] in ("fine", "with care", "not advised")
    assert main([*call, "--overwrite", "--no-verdict"]) == 0
    assert "look" not in capsys.readouterr().out


def test_compare_says_it_too(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy.npy"
    np.save(copy, np.load(source))
    assert main(["compare", str(source), str(copy)]) == 0
    assert "look     fine: exact copy" in capsys.readouterr().out
    np.save(copy, np.load(source) // 2 + 30)
    assert main(["compare", str(source), str(copy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["measure"]["grade"] == "not advised"


def test_a_batch_has_columns_and_a_page_that_keeps_pictures(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    call = ["compress", str(source), "--out-dir", str(out), "--ratio", "30", "--effort", "0"]
    assert main(call) == 0
    with (out / "microfield-summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert all(row[f"verdict_{use}"] for use in USES)
    page = (out / "microfield-summary.html").read_text(encoding="utf-8")
    assert 'href="cells.mfield"' in page
    assert page.count("data:image/jpeg;base64,") == 1
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    np.save(tmp_path / "more <b>.npy", np.load(source) + 1)
    assert main([*call[:1], str(tmp_path / "more <b>.npy"), *call[1:]]) == 0
    page = (out / "microfield-summary.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2
    assert "more &lt;b&gt;.npy" in page
    assert 'href="more%20%3Cb%3E.mfield"' in page

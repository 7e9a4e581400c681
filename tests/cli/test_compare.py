"""``microfield compare``: table, JSON, report, labels and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import microfield as mf
from helpers.files import random_file
from helpers.images import blobs, scaled
from microfield.cli import main
from microfield.image import Layout
from microfield.io import save_image

LAYOUT = Layout((64, 60), "YX", np.dtype(np.uint16))


@pytest.fixture
def original(tmp_path: Path) -> Path:
    values = scaled(blobs(LAYOUT.shape, count=12), 100, 4000, np.uint16)
    save_image(tmp_path / "cells.ome.tif", LAYOUT, lambda box: values[box])
    return tmp_path / "cells.ome.tif"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "cells.mfield"
    path.write_bytes(random_file(LAYOUT))
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    np.save(tmp_path / "labels.npy", (blobs(LAYOUT.shape, count=12) > 0.2).astype(np.uint8))
    return tmp_path / "labels.npy"


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on standard error."""
    error = capsys.readouterr().err.strip()
    assert error.startswith("microfield: ")
    assert "\n" not in error
    return error


def test_plain_comparison_prints_the_table_only(original: Path, packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(original), str(packed), "--no-verdict"]) == 0
    out = capsys.readouterr().out
    assert "PSNR" in out
    assert "objects" not in out


def test_report_is_written_and_everything_printed(original: Path, packed: Path, labels: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "report.html"
    assert main(["compare", str(original), str(packed), "--report", str(page), "--labels", str(labels)]) == 0
    out = capsys.readouterr().out
    assert "PSNR" in out
    assert "truth F1" in out
    text = page.read_text(encoding="utf-8")
    assert "cells.ome.tif" in text
    assert "against the labels" in text
    assert str(tmp_path) not in text


def test_json_holds_metrics_and_analysis(original: Path, packed: Path, labels: Path,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(original), str(packed), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["ssim_3d"] is None
    assert "downstream" not in plain
    assert main(["compare", str(original), str(packed), "--json", "--full", "--labels", str(labels)]) == 0
    full = json.loads(capsys.readouterr().out)
    assert full["ms_ssim"] is not None
    assert full["psnr"] == pytest.approx(plain["psnr"])
    assert full["downstream"]["channels"][0]["truth_f1_original"] is not None
    expected = mf.compare(mf.open_image(original), mf.open(packed))
    assert plain["psnr"] == pytest.approx(expected.psnr)


def test_labels_alone_bring_the_analysis(original: Path, packed: Path, labels: Path,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(original), str(packed), "--labels", str(labels)]) == 0
    assert "truth F1" in capsys.readouterr().out


def test_wrong_input_is_one_sentence(original: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "small.npy", np.zeros((5, 5), np.uint8))
    assert main(["compare", str(original), str(tmp_path / "small.npy")]) == 1
    assert "shape" in said(capsys)
    assert main(["compare", str(original), str(packed), "--labels", str(tmp_path / "small.npy")]) == 1
    assert "labels have shape" in said(capsys)
    assert main(["compare", str(original), str(packed), "--labels", str(tmp_path / "none.npy")]) == 1
    assert "no file" in said(capsys)
    assert main(["compare", str(original), str(packed), "--report", str(tmp_path / "report.txt")]) == 2
    assert ".html" in said(capsys)
    assert main(["compare", str(original), str(packed), "--report", str(tmp_path / "nowhere" / "r.html")]) == 1
    assert "folder" in said(capsys)
    assert main(["compare", str(original), str(packed), "--labels", str(original)]) == 1
    assert "not like labels" in said(capsys)
    assert main(["compare", str(original), str(packed), "--report", str(tmp_path / "r.html"), "--no-ssim"]) == 2
    assert "--no-ssim" in said(capsys)


def test_labels_given_as_the_image_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.kron(np.arange(4).reshape(2, 2), np.ones((150, 150))).astype(np.uint16)
    np.save(tmp_path / "labels.npy", values)
    np.save(tmp_path / "other.npy", values + (np.indices(values.shape).sum(0) == 9))
    for more in ([], ["--full"], ["--report", str(tmp_path / "r.html")]):
        assert main(["compare", str(tmp_path / "labels.npy"), str(tmp_path / "other.npy"), *more]) == 1
        assert "--not-labels" in said(capsys)
    assert main(["compare", str(tmp_path / "labels.npy"), str(tmp_path / "other.npy"), "--not-labels"]) == 0


def test_axes_that_contradict_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = scaled(blobs((3, 32, 30)), 100, 4000, np.uint16)
    for axes in ("ZYX", "TYX"):
        save_image(tmp_path / f"{axes}.ome.tif", Layout(values.shape, axes, values.dtype), lambda box: values[box])
    assert main(["compare", str(tmp_path / "ZYX.ome.tif"), str(tmp_path / "TYX.ome.tif"), "--full"]) == 1
    assert "axes" in said(capsys)
    assert main(["compare", str(tmp_path / "ZYX.ome.tif"), str(tmp_path / "TYX.ome.tif"), "--full", "--axes", "TYX"]) == 0
    # A microfield file is treated as a TIFF is, with the analysis and without.
    (tmp_path / "TYX.mfield").write_bytes(random_file(Layout(values.shape, "TYX", values.dtype)))
    for made in ("TYX.ome.tif", "TYX.mfield"):
        for more in ([], ["--full"]):
            capsys.readouterr()
            assert main(["compare", str(tmp_path / "ZYX.ome.tif"), str(tmp_path / made), *more]) == 1
            assert "axes ZYX and the reconstruction TYX" in said(capsys)
            assert main(["compare", str(tmp_path / "TYX.ome.tif"), str(tmp_path / made), "--axes", "ZYX", *more]) == 1
            assert "axes ZYX and the reconstruction TYX" in said(capsys)
            assert main(["compare", str(tmp_path / "ZYX.ome.tif"), str(tmp_path / made), "--axes", "tyx", *more]) == 0
    np.save(tmp_path / "bare.npy", values)
    assert main(["compare", str(tmp_path / "TYX.ome.tif"), str(tmp_path / "bare.npy"), "--full"]) == 0


def test_nan_is_filled_as_in_compress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = blobs((40, 50)).astype(np.float32)
    values[3, 4], values[5, 6] = np.nan, np.inf
    np.save(tmp_path / "nan.npy", values)
    packed = str(tmp_path / "nan.mfield")
    assert main(["compress", str(tmp_path / "nan.npy"), packed, "--method", "sperr", "--ratio", "8", "--nan-fill", "0.5"]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "nan.npy"), packed]) == 1
    assert "NaN" in said(capsys)
    assert main(["compare", str(tmp_path / "nan.npy"), packed, "--nan-fill", "0.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    full = np.where(np.isfinite(values), values, np.float32(0.5))
    assert found["psnr"] == pytest.approx(mf.compare(mf.Image(full, "YX"), mf.open(packed)).psnr)
    assert main(["compare", str(tmp_path / "nan.npy"), packed, "--nan-fill", "0.5", "--report", str(tmp_path / "r.html")]) == 0


def test_short_headings_are_explained_once_each(original: Path, packed: Path, labels: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(original), str(packed)]) == 0
    plain = capsys.readouterr().out
    assert plain.count("robust dB: ") == 1
    assert "FRC: " not in plain
    assert main(["compare", str(original), str(packed), "--full", "--labels", str(labels)]) == 0
    full = capsys.readouterr().out
    for heading in ("robust dB", "hist. W1", "blocks", "FRC", "objects F1", "truth F1"):
        assert full.count(f"{heading}: ") == 1
        assert full.startswith("channel")
    assert "kept" not in full
    assert "original / copy" in full


def test_a_plain_comparison_loads_nothing_heavy(original: Path, packed: Path) -> None:
    program = ("import sys; from microfield.cli import main; main(['info', sys.argv[2]]); "
               "print([m for m in ('PIL', 'skimage', 'jax') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-W", "error", "-c", program, str(original), str(packed)], capture_output=True,
                          text=True, timeout=60, check=True, env=dict(os.environ))
    assert done.stdout.splitlines()[-1] == "[]"


def test_compress_writes_the_report_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from helpers.images import image

    source = tmp_path / "cells.npy"
    np.save(source, image("uint8").read())
    call = ["compress", str(source), str(tmp_path / "cells.mfield"), "--method", "av1", "--max-bytes", "300",
            "--overwrite", "--report"]
    assert main([*call, str(tmp_path / "cells.html")]) == 0
    page = (tmp_path / "cells.html").read_text(encoding="utf-8")
    assert "av1" in page
    assert "cells" in page
    capsys.readouterr()
    written = (tmp_path / "cells.mfield").stat().st_mtime_ns
    for bad, status in (("page.pdf", 2), ("nowhere/page.html", 1)):
        assert main([*call, str(tmp_path / bad)]) == status
        assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "cells.mfield").stat().st_mtime_ns == written  # refused before the work
    assert main(["compress", str(source), "--out-dir", str(tmp_path), "--ratio", "9", "--report", "all.html"]) == 2


def test_an_original_that_is_not_the_files_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the terminal, in JSON, on the page and in Python; not where the same scene, channel and filling are asked for."""
    from helpers.images import image

    values = image("channels").read().astype(np.float32)
    values[0, 3, 4] = np.nan
    source, packed, page = tmp_path / "cells.npy", tmp_path / "cells.mfield", tmp_path / "page.html"
    np.save(source, values)
    how = ["--axes", "CYX", "--channel", "0", "--nan-fill", "7"]
    assert main(["compress", str(source), str(packed), "--max-bytes", "300", "--method", "zfp", *how]) == 0
    call = ["compare", str(source), str(packed), "--no-ssim"]
    capsys.readouterr()
    assert main([*call, *how]) == 0
    assert "was not made from" not in capsys.readouterr().out
    values[0, 9, 9] += 1
    np.save(source, values)
    assert main([*call, *how]) == 0
    said = f"cells.mfield was not made from cells.npy, channel 0 as it is now: the checksum of its original is {checksum(packed)}"
    assert f"note: {said}" in capsys.readouterr().out
    assert main([*call, *how, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"][0].startswith(said)
    assert main([*call[:3], *how, "--report", str(page)]) == 0
    assert said in page.read_text(encoding="utf-8")
    found = mf.compare(source, packed, axes="CYX", channel=0, nan_fill=7, ssim=False)
    assert found.notes[0].startswith(said)


def checksum(path: Path) -> str:
    with mf.open(path) as f:
        return f.header.checksum.hex()

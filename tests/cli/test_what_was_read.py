"""What the command line says of how an image was read, of how it is meant to be seen, and of what a format cannot hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from helpers.images import blobs, scaled
from helpers.meaningful import imagej, lsm, ome_tiff
from microfield.cli import main

FAST = ["--method", "downsample", "--ratio", "4"]


def test_the_result_says_how_the_image_was_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", scaled(blobs((3, 64, 60)), 100, 4000, np.uint16))
    call = ["compress", str(tmp_path / "a.npy"), str(tmp_path / "a.mfield"), *FAST]
    assert main(call) == 0
    assert "  read as CYX: 3 channels, 64 x 60 (axes guessed; --axes to change)" in capsys.readouterr().out.splitlines()
    assert main([*call, "--axes", "TYX", "--overwrite", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["axes"], report["shape"], report["axes_guessed"]) == ("TYX", [3, 64, 60], False)
    assert main(["compress", str(ome_tiff(tmp_path)), str(tmp_path / "b.mfield"), *FAST]) == 0
    assert "  read as TZCYX: 2 time points, 2 planes, 3 channels, 24 x 20\n" in capsys.readouterr().out


def test_a_batch_says_it_of_every_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", scaled(blobs((5, 64, 60)), 100, 4000, np.uint16))
    np.save(tmp_path / "b.npy", scaled(blobs((2, 2, 64, 60)), 100, 4000, np.uint16))
    out = tmp_path / "out"
    inputs = [str(tmp_path / "a.npy"), str(tmp_path / "b.npy"), str(lsm(tmp_path))]
    assert main(["compress", *inputs, "--out-dir", str(out), *FAST]) != 0
    said = capsys.readouterr().out
    assert "read as ZYX: 5 planes, 64 x 60 (axes guessed; --axes to change)" in said
    assert "read as CYX: 3 channels, 24 x 20\n" in said
    assert "b.npy has shape 2 x 2 x 64 x 60 and does not say what its axes are; say it with --axes, such as" in said
    with (out / "microfield-summary.csv").open(newline="") as file:
        rows = {Path(row["input"]).name: row for row in csv.DictReader(file)}
    assert (rows["a.npy"]["axes"], rows["a.npy"]["axes_guessed"]) == ("ZYX", "True")


def test_info_shows_how_an_image_is_meant_to_be_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "a.mfield")
    assert main(["compress", str(imagej(tmp_path)), path, *FAST, "--keep-metadata"]) == 0
    capsys.readouterr()
    assert main(["info", path]) == 0
    lines = {line.split("  ")[0]: line.rpartition("  ")[2] for line in capsys.readouterr().out.splitlines()}
    assert lines["colours"] == "#FF0000, #00FF00, #FFFFFF (lookup table)"
    assert lines["display ranges"] == "10 to 500, 0 to 4095, 20 to 300.5"
    assert lines["display mode"] == "composite"
    assert lines["value calibration"] == "-100 + 1.5 g photons, g the grey level"
    assert lines["plane labels"] == "12: t0 z0 c0, t0 z0 c1, t0 z0 c2, ..."
    assert main(["info", "--json", path]) == 0
    display = json.loads(capsys.readouterr().out)["display"]
    assert display["colours"] == ["#FF0000", "#00FF00", "#FFFFFF"]
    assert display["display_ranges"][2] == [20.0, 300.5]
    assert display["lookup_tables"] == [False, False, True]
    assert len(display["plane_labels"]) == 12


def test_what_a_format_cannot_hold_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "a.mfield")
    assert main(["compress", str(ome_tiff(tmp_path)), path, *FAST, "--keep-metadata"]) == 0
    capsys.readouterr()
    assert main(["decompress", path, str(tmp_path / "a.npy")]) == 0
    note = ("note: not in a.npy: voxel sizes, the time increment, channel names, colours, the acquisition date, the objective, "
            "the stage position and metadata of the source.")
    assert capsys.readouterr().out.count(note) == 1
    assert main(["decompress", path, str(tmp_path / "a.ome.tif")]) == 0
    assert "note" not in capsys.readouterr().out
    assert main(["decompress", path, str(tmp_path / "b.ome.tif"), "--select", "c=1"]) == 0
    assert "not in b.ome.tif: metadata of the source, which describe all of the image." in capsys.readouterr().out


def test_labels_that_are_whole_headers_are_cut_for_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "a.mfield")
    source = imagej(tmp_path, Labels=["IM1\n0008,0005  Specific Character Set: " + "x" * 500] * 12)
    assert main(["compress", str(source), path, *FAST, "--keep-metadata"]) == 0
    capsys.readouterr()
    assert main(["info", path]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("plane labels"))
    assert len(line) < 260
    assert "12: IM1 0008,0005" in line

"""Folders of single planes, put together as the names of the files say."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import microfield as mf
from microfield.errors import InputError, UsageError
from microfield.io import list_scenes, open_image
from microfield.io.planes import take_apart

RNG = np.random.default_rng(0)
FIVE = RNG.integers(0, 4000, (2, 3, 4, 6, 8)).astype("uint16")


def write(folder: Path, pattern: str, values: np.ndarray[Any, Any] = FIVE, first: int = 0, **names: Any) -> None:
    """A plane a file, named by a pattern of t, c and z."""
    folder.mkdir(exist_ok=True)
    for t, c, z in itertools.product(*map(range, values.shape[:3])):
        channel = names["channels"][c] if names else ""
        tifffile.imwrite(folder / pattern.format(t=t + first, c=c + first, z=z + first, ch=channel), values[t, c, z])


@pytest.mark.parametrize(("stem", "positions", "stack"), [
    ("img_t001_z002_c1", {"T": 1, "Z": 2, "C": 1}, "img"),
    ("Series003_t05_ch00", {"T": 5, "C": 0}, "Series003"),
    ("Z012", {"Z": 12}, ""),
    ("img_channel000_position002_time000000007_z003", {"C": 0, "T": 7, "Z": 3}, "img_position002"),
    ("img_000000004_DAPI_011", {"T": 4, "Z": 11}, "img"),
    ("A01_s1_w2GFP", {"C": 2}, "A01_s1"),
    ("r02c03f01p05-ch2sk4fk1fl1", {"Z": 5, "C": 2, "T": 4}, "r02c03f01fk1fl1"),
    ("AssayPlate_C04_T0001F002L01A01Z03C02", {"T": 1, "Z": 3, "C": 2}, "AssayPlate_C04_F002L01A01"),
    ("plain_0042", {"Q": 42}, "plain"),
    ("frame-7", {"T": 7}, ""),
    ("cells", {}, "cells"),
    ("actin3 treated", {"Q": 3}, "actin treated"),
])
def test_names_are_taken_apart(stem: str, positions: dict[str, int], stack: str) -> None:
    plane = take_apart(stem)
    assert plane.positions == positions
    assert plane.stack == stack


@pytest.mark.parametrize(("pattern", "first"), [
    ("img_t{t:03}_z{z:03}_c{c}.tif", 1), ("img_channel{c:03}_position000_time{t:09}_z{z:03}.tif", 0),
    ("r01c01f01p{z:02}-ch{c}sk{t}fk1fl1.tiff", 1), ("t{t}c{c}z{z}.tif", 8),
])
def test_planes_become_one_image(tmp_path: Path, pattern: str, first: int) -> None:
    write(tmp_path, pattern, first=first)
    opened = open_image(tmp_path, stack=True)
    assert opened.axes == "TCZYX"
    np.testing.assert_array_equal(opened.read(), FIVE, strict=True)
    box = (slice(1, 2), slice(0, 3, 2), slice(1, 3), slice(2, 5), slice(0, 8))
    np.testing.assert_array_equal(opened.read(box), FIVE[box])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(opened.data))[1, :, -1, 0], FIVE[1, :, -1, 0])
    assert any("stacked from 24 files: 2 along T, 3 along C, 4 along Z" in note for note in opened.notes)
    assert opened.source_bytes == sum(f.stat().st_size for f in tmp_path.iterdir())


def test_channels_have_names(tmp_path: Path) -> None:
    for pattern in ("img_{t:09}_{ch}_{z:03}.tif", "B02_s1_w{c}{ch}_t{t}_z{z}.tif"):
        folder = tmp_path / pattern[:3]
        write(folder, pattern, channels=("DAPI", "Cy5", "GFP"))
        opened = open_image(folder, stack=True)
        order = sorted if pattern.startswith("img") else list
        assert list(opened.channel_names) == order(["DAPI", "Cy5", "GFP"])
        np.testing.assert_array_equal(opened.read()[:, list(opened.channel_names).index("Cy5")], FIVE[:, 1])


def test_planes_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "z{z}.tif", FIVE[:1, :1])
    opened = open_image(tmp_path, stack=True)
    assert opened.axes == "ZYX"
    (tmp_path / "z2.tif").unlink()
    np.testing.assert_array_equal(opened.read((slice(3, 4), slice(None), slice(None))), FIVE[0, 0, 3:])
    with pytest.raises(InputError, match=r"z2\.tif"):
        opened.read()


def test_a_number_alone_is_an_axis_that_can_be_named(tmp_path: Path) -> None:
    write(tmp_path, "plain_{z:04}.tif", FIVE[:1, :1])
    assert open_image(tmp_path, stack=True).axes == "ZYX"
    assert open_image(tmp_path, stack=True, axes="TYX").axes == "TYX"
    for z in range(4):
        np.save(tmp_path / f"plain_{z:04}.npy", FIVE[0, 0, z])
        (tmp_path / f"plain_{z:04}.tif").unlink()
    np.testing.assert_array_equal(open_image(tmp_path, stack=True).read(), FIVE[0, 0])


def test_files_of_several_planes_are_stacked_too(tmp_path: Path) -> None:
    for t in range(2):
        tifffile.imwrite(tmp_path / f"t{t}.tif", FIVE[t, 0], photometric="minisblack")
    opened = open_image(tmp_path, stack=True)
    assert opened.axes == "TZYX"
    np.testing.assert_array_equal(opened.read(), FIVE[:, 0])
    for t in range(2):
        tifffile.imwrite(tmp_path / f"t{t}.tif", FIVE[t, 0], imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(InputError, match="count along T, and so does each file"):
        open_image(tmp_path, stack=True)


def test_other_files_are_no_planes(tmp_path: Path) -> None:
    write(tmp_path, "z{z}.tif", FIVE[:1, :1])
    for name in ("notes.txt", "._z1.tif", ".DS_Store", "z1.mfield"):
        (tmp_path / name).write_text("no image")
    assert open_image(tmp_path, stack=True).shape == (4, 6, 8)


def test_what_is_missing_doubled_or_different_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path, "t{t}_z{z}.tif", FIVE[:, :1])
    (tmp_path / "t1_z2.tif").rename(tmp_path / "kept")
    with pytest.raises(InputError, match=r"1 of 8 planes are missing, the first of them t=1, z=2"):
        open_image(tmp_path, stack=True)
    (tmp_path / "kept").rename(tmp_path / "t1_z2.tif")
    tifffile.imwrite(tmp_path / "t01_z2.tif", FIVE[0, 0, 0])
    with pytest.raises(InputError, match=r"'t01_z2' and 't1_z2' are both t=1, z=2"):
        open_image(tmp_path, stack=True)
    (tmp_path / "t01_z2.tif").unlink()
    for other in (FIVE[0, 0, 0, :5], FIVE[0, 0, 0].astype("uint8")):
        tifffile.imwrite(tmp_path / "t1_z2.tif", other)
        with pytest.raises(InputError, match=r"t1_z2\.tif has shape .* only planes of one kind"):
            open_image(tmp_path, stack=True)
    (tmp_path / "t1_z2.tif").unlink()
    tifffile.imwrite(tmp_path / "t1.tif", FIVE[0, 0, 0])
    with pytest.raises(InputError, match="do not count along the same axes"):
        open_image(tmp_path, stack=True)


def test_a_gap_in_the_numbers_is_said_and_irregular_times_are_fine(tmp_path: Path) -> None:
    for z in (1, 2, 3, 5, 6):
        tifffile.imwrite(tmp_path / f"z{z:02}.tif", FIVE[0, 0, 0])
    with pytest.raises(InputError, match="between z3 and z5 a plane is missing"):
        open_image(tmp_path, stack=True)
    folder = tmp_path / "times"
    folder.mkdir()
    for t in (0, 1013, 2021, 3544, 4102):
        tifffile.imwrite(folder / f"time{t:09}.tif", FIVE[0, 0, 0])
    assert open_image(folder, stack=True).shape == (5, 6, 8)


def test_several_stacks_in_a_folder_are_scenes(tmp_path: Path) -> None:
    for position in range(2):
        write(tmp_path, f"img_channel{{c:03}}_position00{position}_time{{t:09}}_z{{z:03}}.tif", FIVE + position)
    assert list_scenes(tmp_path, stack=True) == ["img_position000", "img_position001"]
    with pytest.raises(InputError, match=r"holds 2 stacks: 'img_position000' \(24 files\)"):
        open_image(tmp_path, stack=True)
    opened = open_image(tmp_path, stack=True, scene="img_position001")
    np.testing.assert_array_equal(opened.read(), FIVE + 1)
    assert "img_position001" in opened.name
    with pytest.raises(UsageError, match="has no scene 'x'"):
        open_image(tmp_path, stack=True, scene="x")


def test_a_stack_is_a_folder_of_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image files"):
        open_image(tmp_path, stack=True)
    tifffile.imwrite(tmp_path / "z1.tif", FIVE[0, 0, 0])
    with pytest.raises(InputError, match="takes a folder of planes"):
        open_image(tmp_path / "z1.tif", stack=True)
    with pytest.raises(InputError, match="stack=True"):
        mf.open_image(tmp_path)


def test_a_file_that_is_alone_keeps_its_name(tmp_path: Path) -> None:
    write(tmp_path, "img_z{z}.tif", FIVE[:1, :1])
    tifffile.imwrite(tmp_path / "overview_2d.tif", FIVE[0, 0, 0])
    assert list_scenes(tmp_path, stack=True) == ["img", "overview_2d"]
    assert open_image(tmp_path, stack=True, scene="overview_2d").axes == "YX"

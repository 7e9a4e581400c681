"""What people found who tried the program from its documentation alone: data that was lost, and crashes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import microfield as mf
from helpers.images import image


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(path, image("stack").read(), metadata={"axes": "ZYX"})
    return path


def test_a_copy_does_not_replace_its_original(cells: Path, tmp_path: Path) -> None:
    before = cells.read_bytes()
    mf.compress(cells, tmp_path / "cells.mfield", ratio=10, effort=0)
    link = tmp_path / "latest.ome.tif"
    link.symlink_to(cells)
    for target in (cells, link):
        with pytest.raises(mf.InputError, match=r"is the original that cells\.mfield was made from"):
            mf.decompress(tmp_path / "cells.mfield", target, overwrite=True)
    assert cells.read_bytes() == before
    other = tmp_path / "other.ome.tif"
    for _ in range(2):
        mf.decompress(tmp_path / "cells.mfield", other, overwrite=True)


def test_an_open_file_is_not_replaced_by_a_copy_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mfield"
    mf.compress(image("uint8"), path, lossless=True)
    before = path.read_bytes()
    with mf.open(path) as f, pytest.raises(mf.MicrofieldError, match=r"a\.mfield"):
        mf.compress(f, path, ratio=20, effort=0, overwrite=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("wrong", [{"channel_names": (405, 488)}, {"channel_names": (None, None)}, {"channel_names": "ab"},
                                   {"units": {"Y": 3}, "voxel_size": {"Y": 1.0}}, {"voxel_size": {"Y": "a"}}, {"metadata": {}}])
def test_what_no_file_could_hold_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(mf.InputError, match="must be"):
        mf.Image(np.zeros((2, 8, 8), np.uint8), "CYX", **wrong)


def test_numbers_of_numpy_are_recorded_like_those_of_python(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 200, (80, 80)).astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    given: dict[str, Any] = {"max_bytes": np.float32(20000), "effort": np.int64(0), "saliency_weight": np.float32(3),
                             "seed": np.int64(3), "tile": {"y": np.int64(160)}}
    mf.compress(array, tmp_path / "a.mfield", **given)
    with mf.open(tmp_path / "a.mfield") as f:
        assert f.making is not None
        assert f.making.settings["seed"] == 3


@pytest.mark.parametrize("wrong", [{"effort": 2.5}, {"seed": "x"}, {"tile": 64}, {"tile": {"y": 64.5}}, {"saliency_weight": "x"},
                                   {"nan_fill": "0"}, {"effort": True}, {"channel_weights": ("a",)}])
def test_wrong_types_are_one_sentence(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(mf.MicrofieldError, match=f"{next(iter(wrong))}="):
        mf.compress(image("uint8").read(), tmp_path / "a.mfield", ratio=8, **wrong)


def test_masked_values_are_not_taken_for_grey_levels(tmp_path: Path) -> None:
    array = np.ma.masked_greater(image("uint8").read(), 100)
    with pytest.raises(mf.InputError, match="masked values"):
        mf.compress(array, tmp_path / "a.mfield", ratio=8)


@pytest.mark.parametrize("numbers", [(1, 2, 5), (1, 2, 4), (0, 2, 4, 5), (1, 3, 6)])
def test_a_missing_plane_of_a_small_stack_is_an_error(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    for n in numbers:
        tifffile.imwrite(tmp_path / f"p_z{n:03}.tif", np.full((8, 8), n, np.uint8))
    with pytest.raises(mf.InputError, match="a plane is missing"):
        mf.open_image(tmp_path, stack=True)


def run(folder: Path, *words: str, **how: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "microfield", *words], cwd=folder, check=False, **how)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_a_batch_survives_names_that_are_no_text_and_a_damaged_summary(tmp_path: Path) -> None:
    for name in (b"1ok.npy", b"k\xfcche.npy", b"z.npy"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            np.save(file, image("uint8").read())
    words = ("compress", ".", "--recursive", "--out-dir", "out", "--ratio", "9", "--effort", "0", "--no-verdict")
    assert run(tmp_path, *words, capture_output=True).returncode == 0
    assert len(list((tmp_path / "out").glob("*.mfield"))) == 3
    summary = tmp_path / "out" / "microfield-summary.csv"
    summary.write_bytes(summary.read_bytes()[:-200])
    again = run(tmp_path, *words, capture_output=True)
    assert again.returncode in (0, 1)
    assert b"Traceback" not in again.stderr
    for path in (tmp_path / "out").glob("*.mfield"):
        path.unlink()
    summary.write_bytes(b"")
    assert run(tmp_path, *words, capture_output=True).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="a shell closes the streams")
def test_closed_streams_do_not_keep_from_work(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", image("uint8").read())
    command = f"{sys.executable} -m microfield compress a.npy a.mfield --ratio 9 --effort 0 --no-verdict >&- 2>&-"
    assert subprocess.run(command, shell=True, cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "a.mfield").exists()

"""The command line, in process: what it writes, prints and returns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import tifffile

import microfield as mf
from helpers.files import QUICK as QUICK_OPTIONS
from helpers.images import image
from helpers.raw_method import Raw
from microfield import methods
from microfield.cli import main
from microfield.cli.arguments import stem
from microfield.errors import InputError
from microfield.io import save_image
from microfield.io.masks import Covered, read_mask, read_saliency
from microfield.writing.report import Report

QUICK = ["--effort", "0"]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "cells.npy"
    np.save(path, image("uint8").read())
    return path


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """An image that is coded without a fit."""
    path = tmp_path / "flat.npy"
    np.save(path, np.full((2, 6, 5), 300, np.uint16))
    return path


@pytest.fixture
def packed_flat(flat: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = flat.with_suffix(".mfield")
    assert main(["compress", str(flat), str(out), "--axes", "CYX", "--max-bytes", "200"]) == 0
    capsys.readouterr()
    return out


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What went to standard error: one sentence from microfield, never a traceback."""
    text = capsys.readouterr().err
    assert text.startswith("microfield: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text


# -- compress ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flag", "value"), [
    ("--ratio", "6.4"), ("--bits-per-voxel", "1.25"), ("--max-bytes", "0.3kB"), ("--psnr", "24"), ("--noise-factor", "3"),
])
def test_every_budget(picture: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str) -> None:
    out = picture.with_suffix(".mfield")
    assert main(["compress", str(picture), str(out), flag, value, "--json", *QUICK]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["output"] == str(out)
    assert told["file_bytes"] == out.stat().st_size
    f = mf.open(out)
    assert f.method == "field"
    if flag == "--psnr":
        assert told["psnr"] >= 24
    elif flag == "--noise-factor":
        assert told["noise_factor"] <= 3
    else:
        assert out.stat().st_size <= 300
    assert mf.compare(image("uint8"), f, ssim=False)["psnr"] == pytest.approx(told["psnr"])


def test_the_report_reads_well(packed_flat: Path, flat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", str(flat), str(packed_flat), "--axes", "cyx", "--ratio", "1.1", "--method", "siren",
                 "--overwrite"]) == 0
    printed = capsys.readouterr()
    assert f"{packed_flat.stat().st_size} bytes" in printed.out
    assert "method siren" in printed.out
    assert printed.err == ""


def test_settings_reach_the_file(picture: Path) -> None:
    out = picture.with_suffix(".mfield")
    assert main(["compress", str(picture), str(out), "--max-bytes", "800", "--tile", "y=24,x=20", "--seed", "3", *QUICK]) == 0
    assert mf.open(out).header.n_parts == 4


def test_without_a_budget_a_table_is_printed_and_nothing_written(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = picture.with_suffix(".mfield")
    assert main(["compress", str(picture), str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "128" in printed.err
    assert "dB" in printed.err
    assert printed.err.rstrip().splitlines()[-1].startswith("microfield: give a budget")
    assert not out.exists()


@pytest.mark.parametrize("arguments", [
    ["--ratio", "10", "--psnr", "30"], ["--ratio", "-1"], ["--max-bytes", "lots"], ["--ratio", "9", "--option", "wings=2"],
    ["--ratio", "9", "--option", "nonsense"], ["--ratio", "9", "--method", "magic"], ["--ratio", "9", "--tile", "y=big"],
    ["--ratio", "9", "--time-limit", "soon"], ["--ratio", "9", "--effort", "12"], ["--ratio", "9", "--threads", "0"],
])
def test_wrong_calls_are_one_sentence_and_status_2(picture: Path, capsys: pytest.CaptureFixture[str], arguments: list[str],
                                                   ) -> None:
    out = picture.with_suffix(".mfield")
    assert main(["compress", str(picture), str(out), *arguments]) == 2
    one_line(capsys)
    assert not out.exists()


def test_outputs_must_be_named_mfield(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", str(picture), str(picture.with_suffix(".tif")), "--ratio", "9"]) == 2
    assert ".mfield" in one_line(capsys)
    assert main(["compress", str(picture), "--ratio", "9"]) == 2
    one_line(capsys)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--max-bytes", "20"], "at least"), (["--ratio", "9", "--axes", "QX"], "axes"),
])
def test_work_that_fails_is_one_sentence_and_status_1(picture: Path, capsys: pytest.CaptureFixture[str],
                                                      arguments: list[str], message: str) -> None:
    assert main(["compress", str(picture), str(picture.with_suffix(".mfield")), *arguments]) == 1
    assert message in one_line(capsys)


def test_missing_and_broken_inputs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", str(tmp_path / "no.tif"), str(tmp_path / "no.mfield"), "--ratio", "9"]) == 1
    assert "no.tif" in one_line(capsys)
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"\x93NUMPY garbage")
    assert main(["compress", str(broken), str(tmp_path / "no.mfield"), "--ratio", "9"]) == 1
    assert "broken.npy" in one_line(capsys)


def test_unknown_commands_and_flags_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    for call in (["fly"], ["compress", "--wings"], ["decompress"]):
        with pytest.raises(SystemExit) as left:
            main(call)
        assert left.value.code == 2
    assert main([]) == 2
    assert "compress" in capsys.readouterr().err


@pytest.mark.parametrize(("path", "name"), [
    ("a/b/cells.ome.tif", "cells"), ("cells.OME.ZARR", "cells"), ("x.y.czi", "x.y"), ("plain", "plain"), ("s.npz", "s"),
])
def test_names_lose_their_double_suffix(path: str, name: str) -> None:
    assert stem(path) == name


# -- saliency ---------------------------------------------------------------------------------------------------------

ACCEPTING = [name for name in methods.names() if "saliency" in methods.get_method(name).accepts]


def quick(method: str) -> list[str]:
    """Arguments for the cheapest compression by a method that finds a difference between voxels worth its bytes."""
    options = [f"--option={key}={value}" for key, value in QUICK_OPTIONS.get(method, {}).items()]
    return ["--method", method, *QUICK, "--max-bytes", "300", *options]


def half(tmp_path: Path, name: str, *, left: bool, shape: tuple[int, int] = (48, 40)) -> Path:
    """A mask of the left or the right half of an image of this shape."""
    mask = np.zeros(shape, np.uint16)
    mask[:, : shape[1] // 2] = 7
    np.save(tmp_path / name, mask if left else 7 - mask)
    return tmp_path / name


def test_some_methods_can_use_a_saliency() -> None:
    assert {"inif", "siren"} <= set(ACCEPTING)


@pytest.mark.parametrize("method", ACCEPTING)
def test_what_a_mask_marks_comes_out_better(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str,
                                            ) -> None:
    told = []
    for left in (True, False):
        mask = half(tmp_path, f"{left}.npy", left=left)
        assert main(["compress", str(picture), str(tmp_path / "o.mfield"), "--saliency", str(mask), "--saliency-weight", "30",
                     "--overwrite", "--json", *quick(method)]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0]["psnr_inside"] > told[1]["psnr_outside"]
    assert told[1]["psnr_inside"] > told[0]["psnr_outside"]


def test_the_report_shows_both_sides_of_a_mask(flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = half(tmp_path, "mask.npy", left=True, shape=(6, 5))
    call = ["compress", str(flat), str(tmp_path / "o.mfield"), "--axes", "CYX", "--max-bytes", "200", "--method", "inif",
            "--overwrite"]
    assert main([*call, "--saliency", str(mask)]) == 0
    assert "inside exact, outside exact" in capsys.readouterr().out
    assert main(call) == 0
    assert "inside" not in capsys.readouterr().out
    ramp = Report("inif", 9, 3, 3.0, None, 30.0, (30.0,), None, None, 1, 0.0, psnr_inside=35.25, psnr_outside=28.0)
    assert "  PSNR 30.00 dB, inside 35.25 dB, outside 28.00 dB, method inif" in ramp.describe("o.mfield")


@pytest.mark.parametrize(("values", "axes", "sentence"), [
    (np.ones((47, 40), np.uint8), "YX", "shape (47, 40) (axes YX), which does not fit cells.npy of shape (48, 40) (axes YX)"),
    (np.ones((3, 48, 40), np.uint8), "ZYX", "shape (3, 48, 40) (axes ZYX), which does not fit cells.npy"),
    (np.zeros((48, 40), np.uint8), "YX", "zero everywhere"), (np.zeros((48, 40), np.float32), "YX", "zero everywhere"),
    (np.full((48, 40), np.nan, np.float32), "YX", "NaN"), (np.full((48, 40), -1.0, np.float32), "YX", "negative"),
])
def test_a_saliency_that_cannot_be_used_is_one_sentence(picture: Path, capsys: pytest.CaptureFixture[str], values: Any, axes: str,
                                                        sentence: str) -> None:
    mask = picture.with_name("mask.ome.tif")
    save_image(mask, mf.Image(values, axes).layout, lambda box: values[box])
    out = picture.with_suffix(".mfield")
    assert main(["compress", str(picture), str(out), "--saliency", str(mask), *quick("inif")]) == 1
    told = one_line(capsys)
    assert sentence in told
    assert "mask.ome.tif" in told
    assert not out.exists()


def test_a_saliency_that_is_not_there_or_of_no_use_is_one_sentence(picture: Path, tmp_path: Path,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    call = ["compress", str(picture), str(picture.with_suffix(".mfield")), "--ratio", "9"]
    assert main([*call, "--method", "inif", "--saliency", str(tmp_path / "no.tif")]) == 1
    assert "no.tif" in one_line(capsys)
    mask = str(half(tmp_path, "mask.npy", left=True))
    assert main([*call, "--method", "av1", "--saliency", mask]) == 2
    assert "av1 cannot use saliency" in one_line(capsys)
    assert main([*call, "--method", "inif", "--saliency-weight", "3"]) == 2
    assert "--saliency" in one_line(capsys)
    assert main([*call, "--method", "inif", "--saliency", mask, "--saliency-weight", "0"]) == 2
    assert "saliency-weight" in one_line(capsys)


def test_a_mask_must_fit_every_one_of_many_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, side in (("a", 20), ("b", 21)):
        np.save(tmp_path / f"{name}.npy", np.full((20, side), 3, np.uint8))
    mask = half(tmp_path, "mask.npy", left=True, shape=(20, 20))
    assert main(["compress", str(tmp_path / "a.npy"), str(tmp_path / "b.npy"), "--out-dir", str(tmp_path / "o"), "--max-bytes",
                 "200", "--method", "inif", "--saliency", str(mask)]) == 1
    done, failed, total = capsys.readouterr().out.splitlines()
    assert "a.npy" in done
    assert "inside exact, outside exact" in done
    assert "failed: the saliency mask.npy has shape (20, 20)" in failed
    assert total.startswith("1 done, 0 skipped, 1 failed")
    assert [p.name for p in sorted((tmp_path / "o").glob("*.mfield"))] == ["a.mfield"]


def test_masks_are_laid_over_images_by_their_axes(tmp_path: Path) -> None:
    covered = Covered("image", "CZYX", (2, 3, 4, 5))
    mask = (np.arange(60, dtype=np.uint8) % 7).reshape(3, 4, 5)
    np.save(tmp_path / "zyx.npy", mask)
    inside = read_saliency(str(tmp_path / "zyx.npy"), covered)
    np.testing.assert_array_equal(inside, np.broadcast_to(mask != 0, covered.shape), strict=True)
    np.testing.assert_array_equal(read_mask(str(tmp_path / "zyx.npy"), covered), inside, strict=True)
    weights = np.random.default_rng(0).random((4, 5)).astype(np.float32)
    np.save(tmp_path / "weights.npy", weights)
    np.testing.assert_array_equal(read_saliency(str(tmp_path / "weights.npy"), covered), np.broadcast_to(weights, covered.shape))
    moved = Covered("image", "YXZ", (4, 5, 3))
    save_image(tmp_path / "zyx.ome.tif", mf.Image(mask, "ZYX").layout, lambda box: mask[box])
    np.testing.assert_array_equal(read_mask(str(tmp_path / "zyx.ome.tif"), moved), mask.transpose(1, 2, 0) != 0)
    # A file that names no axes has those of an image of as many dimensions; so has any file where the user names the axes.
    times = Covered("image", "TYX", (3, 4, 5))
    np.testing.assert_array_equal(read_mask(str(tmp_path / "zyx.npy"), times), mask != 0)
    with pytest.raises(InputError, match="axes ZYX"):
        read_mask(str(tmp_path / "zyx.ome.tif"), times)
    np.testing.assert_array_equal(read_saliency(str(tmp_path / "zyx.ome.tif"), times, "TYX"), mask != 0)


# -- decompress -------------------------------------------------------------------------------------------------------


def test_decompress_all_and_a_selection(packed_flat: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.npy", tmp_path / "part.npy"
    assert main(["decompress", str(packed_flat), str(whole)]) == 0
    np.testing.assert_array_equal(np.load(whole), np.full((2, 6, 5), 300, np.uint16))
    assert main(["decompress", str(packed_flat), str(part), "--select", "c=1,y=1:5,x=::2"]) == 0
    assert np.load(part).shape == (4, 3)


def test_decompress_to_ome_tiff_keeps_meaning(tmp_path: Path) -> None:
    source = mf.Image(np.full((2, 6, 5), 300, np.uint16), "CYX", {"Y": 0.5, "X": 0.25}, {"Y": "micrometer", "X": "micrometer"},
                      ("DAPI", "GFP"))
    mf.compress(source, tmp_path / "f.mfield", max_bytes=300)
    assert main(["decompress", str(tmp_path / "f.mfield"), str(tmp_path / "f.ome.tif"), "--select", "x=::2"]) == 0
    opened = mf.open_image(tmp_path / "f.ome.tif")
    assert opened.shape == (2, 6, 3)
    assert opened.axes == "CYX"
    assert opened.voxel_size["X"] == pytest.approx(0.5)
    assert opened.voxel_size["Y"] == pytest.approx(0.5)
    assert opened.channel_names == ("DAPI", "GFP")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "f.ome.tif"), np.full((2, 6, 3), 300))


def test_decompress_with_a_mask(packed_flat: Path, tmp_path: Path) -> None:
    mask = np.zeros((6, 5), np.uint8)
    mask[2, 3] = 1
    np.save(tmp_path / "mask.npy", mask)
    assert main(["decompress", str(packed_flat), str(tmp_path / "o.npy"), "--mask", str(tmp_path / "mask.npy")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), np.broadcast_to(mask.astype(np.uint16) * 300, (2, 6, 5)))


@pytest.mark.parametrize("select", ["q=1", "y=9", "c=5:", "y=a:b", "x"])
def test_selections_without_sense_are_one_sentence(packed_flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                   select: str) -> None:
    assert main(["decompress", str(packed_flat), str(tmp_path / "o.npy"), "--select", select]) in (1, 2)
    one_line(capsys)
    assert not (tmp_path / "o.npy").exists()


def test_unknown_outputs_are_refused(packed_flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decompress", str(packed_flat), str(tmp_path / "o.gif")]) in (1, 2)
    assert "o.gif" in one_line(capsys)


# -- info, verify, methods, compare -----------------------------------------------------------------------------------


def test_info(packed_flat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(packed_flat), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shape"] == [2, 6, 5]
    assert facts["axes"] == "CYX"
    assert facts["dtype"] == "uint16"
    assert facts["file_bytes"] == packed_flat.stat().st_size
    assert main(["info", str(packed_flat)]) == 0
    assert "2 x 6 x 5" in capsys.readouterr().out


def test_info_has_the_same_keys_for_every_file(packed_flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from microfield import Image, compress
    from microfield.format.framing import FORMAT_VERSION

    image = Image(np.arange(30, dtype=np.uint8).reshape(1, 5, 6), "CYX", {"Y": 2.0}, {"Y": "micrometer"}, ("DAPI",))
    compress(image, tmp_path / "named.mfield", lossless=True)
    found = []
    for path in (packed_flat, tmp_path / "named.mfield"):
        assert main(["info", str(path), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0].keys() == found[1].keys()
    assert (found[0]["voxel_size"], found[0]["channels"], found[0]["damaged"]) == (None, None, None)
    assert (found[1]["channels"], found[1]["exact"], found[1]["format_version"]) == (["DAPI"], True, FORMAT_VERSION)


def test_verify_tells_good_from_damaged(packed_flat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(packed_flat)]) == 0
    assert "intact" in capsys.readouterr().out
    data = bytearray(packed_flat.read_bytes())
    data[-6] ^= 1
    packed_flat.write_bytes(bytes(data))
    assert main(["verify", str(packed_flat)]) == 1
    assert "damaged" in one_line(capsys)
    whole = packed_flat.with_name("whole.mfield")
    data[-6] ^= 1
    whole.write_bytes(bytes(data))
    assert main(["verify", str(packed_flat), str(whole)]) == 1  # goes on after the damaged one
    told = capsys.readouterr()
    assert "whole.mfield: intact" in told.out
    assert "flat.mfield" in told.err
    packed_flat.write_bytes(bytes(data[:-3]))
    assert main(["info", str(packed_flat)]) == 0
    assert "damaged" in capsys.readouterr().out
    packed_flat.write_bytes(bytes(data[:30]))
    for command in ("info", "verify"):
        assert main([command, str(packed_flat)]) == 1
        one_line(capsys)


def test_methods_lists_every_method_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    table: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert {"siren", "inif", "hevc", "av1"} <= set(table)
    assert next(iter(table)) == "field"
    assert [name for name in table if table[name]["default"]] == ["field"]
    assert [name for name in ("field", "inif", "hevc", "av1", "sperr") if table[name]["experimental"]] == ["sperr"]
    assert all(o["help"] for name in ("field", "siren", "inif") for o in table[name]["options"].values())
    assert main(["methods"]) == 0
    assert "bits_per_weight=" in capsys.readouterr().out


class Nameless(Raw):
    """A method of another package that lacks what the list shows."""

    name: ClassVar[str] = "nameless"
    Options: ClassVar[type[Any]] = int


class Foreign(Raw):
    name: ClassVar[str] = "foreign"
    summary: ClassVar[str] = "A method of another package."
    experimental: ClassVar[bool] = False


def test_methods_of_other_packages_are_listed_and_broken_ones_are_told(monkeypatch: pytest.MonkeyPatch,
                                                                       capsys: pytest.CaptureFixture[str]) -> None:
    package = ModuleType("other_people")
    package.Foreign, package.Nameless = Foreign, Nameless  # type: ignore[attr-defined]
    Foreign.__module__ = "other_people.methods"
    monkeypatch.setitem(sys.modules, "other_people", package)
    points = {"foreign": "other_people:Foreign", "nameless": "other_people:Nameless", "gone": "no_such_package_at_all:Method"}
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    monkeypatch.setattr(methods, "_entry_points", lambda: {n: EntryPoint(n, v, methods.GROUP) for n, v in points.items()})
    assert main(["methods", "--json"]) == 0
    told = capsys.readouterr()
    table = json.loads(told.out)
    assert {"field", "foreign", "auto"} <= set(table)
    assert not {"nameless", "gone"} & set(table)
    assert table["foreign"]["package"] == "other_people"
    assert len(notes := told.err.splitlines()) == 2
    assert all(note.startswith("note: ") and note.endswith(".") for note in notes)
    assert "no_such_package_at_all" in told.err
    assert "'nameless' does not describe itself" in told.err
    assert main(["methods"]) == 0
    told = capsys.readouterr()
    assert "foreign (of the package other_people): A method of another package." in told.out
    assert "note: " in told.err


def test_compare(packed_flat: Path, flat: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["compare", str(flat), str(packed_flat), "--axes", "CYX", "--json", "--no-ssim"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["psnr"] is None  # an exact copy
    assert told["file_bytes"] == packed_flat.stat().st_size
    np.save(tmp_path / "other.npy", np.full((2, 6, 5), 301, np.uint16))
    assert main(["compare", str(flat), str(tmp_path / "other.npy"), "--axes", "CYX"]) == 0
    assert "PSNR" in capsys.readouterr().out
    np.save(tmp_path / "smaller.npy", np.full((6, 5), 301, np.uint16))
    assert main(["compare", str(flat), str(tmp_path / "smaller.npy"), "--axes", "CYX"]) == 1
    one_line(capsys)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert mf.__version__ in said
    assert "computes" in said  # the kernel, or NumPy and why


# -- what is imported -------------------------------------------------------------------------------------------------


def run(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", program, *arguments], capture_output=True, text=True,
                          timeout=120, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout


HEAVY = "[m for m in ('jax', 'optax', 'scipy', 'skimage', 'zarr', 'dask', 'xarray') if m in sys.modules]"


def test_importing_opening_and_info_load_nothing_heavy(packed_flat: Path) -> None:
    assert run(f"import sys, microfield; print('numpy' in sys.modules, {HEAVY})").strip() == "False []"
    program = f"import sys; from microfield.cli import main; main(['info', sys.argv[1]]); print({HEAVY})"
    assert run(program, str(packed_flat)).splitlines()[-1] == "[]"
    program = f"import sys, microfield as mf; mf.open(sys.argv[1])[...]; print({HEAVY})"
    assert run(program, str(packed_flat)).strip() == "[]"


def test_the_module_runs_as_a_program(packed_flat: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "microfield", "verify", str(packed_flat)], capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0
    assert "intact" in done.stdout

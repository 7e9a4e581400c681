"""What ImageJ makes of the hyperstacks, where Debian's ImageJ and a display without a screen are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microfield as mf
from microfield.display import Calibration, ChannelDisplay, Display

JAR = Path("/usr/share/java/ij.jar")
JAVA, DISPLAY = shutil.which("java"), shutil.which("xvfb-run")
pytestmark = pytest.mark.skipif(not (JAR.exists() and JAVA and DISPLAY), reason="needs ImageJ, Java and Xvfb")

FACTS = """
open(getArgument());
getDimensions(width, height, channels, slices, frames);
getVoxelSize(w, h, d, unit);
print("sizes " + width + " " + height + " " + channels + " " + slices + " " + frames + " " + bitDepth());
print("voxel " + w + " " + h + " " + d + " " + Stack.getFrameInterval());
print("unit " + unit);
if (channels > 1) { Stack.getDisplayMode(mode); print("mode " + mode); }
for (c = 1; c <= channels; c++) {
  if (channels > 1) Stack.setChannel(c);
  getMinAndMax(low, high);
  getLut(r, g, b);
  print("channel " + low + " " + high + " " + r[0] + " " + g[0] + " " + b[0] + " " + r[255] + " " + g[255] + " " + b[255]);
  if (nSlices > 1) print("label " + getInfo("slice.label"));
}
if (nSlices > 1) setSlice(nSlices);
print("grey " + getPixel(5, 7) + " " + calibrate(getPixel(5, 7)));
"""


def run(macro: Path, argument: Path) -> list[str]:
    """Lines that a macro prints."""
    command = [str(DISPLAY), "-a", str(JAVA), "-cp", str(JAR), "ij.ImageJ", "-batch", str(macro), str(argument)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "Exception" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def facts(tmp_path: Path, image: mf.Image) -> dict[str, list[str]]:
    """What ImageJ says of an image that was saved as an exact copy and decompressed."""
    mf.compress(image, tmp_path / "x.mfield", lossless=True, keep_metadata=True)
    mf.decompress(tmp_path / "x.mfield", tmp_path / "x.imagej.tif")
    (tmp_path / "facts.ijm").write_text(FACTS)
    found: dict[str, list[str]] = {}
    for line in run(tmp_path / "facts.ijm", tmp_path / "x.imagej.tif"):
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(rest)
    return found


def random(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 250, shape).astype(dtype)


def test_a_hyperstack_with_everything(tmp_path: Path) -> None:
    table = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 40)]).astype(np.uint8).tobytes()
    shown = Display((ChannelDisplay((0, 0, 255), (100.0, 9000.0)), ChannelDisplay((255, 0, 40), (50.0, 6000.0), table)),
                    mode="composite")
    values = random((3, 2, 4, 16, 12), np.uint16)
    found = facts(tmp_path, mf.Image(
        values, "TCZYX", {"T": 30.0, "Z": 0.5, "Y": 0.25, "X": 0.125}, {"T": "second", **dict.fromkeys("ZYX", "micrometer")},
        ("DAPI", "GFP"), display=shown))
    assert found == {
        "sizes": ["12 16 2 4 3 16"], "voxel": ["0.125 0.25 0.5 30"], "unit": ["µm"], "mode": ["composite"],
        "channel": ["100 9000 0 0 0 0 0 255", "50 6000 0 255 40 255 0 40"], "label": ["DAPI", "GFP"],
        "grey": [f"{values[2, 1, 3, 7, 5]} {values[2, 1, 3, 7, 5]}"],
    }


def test_a_plane_with_a_lookup_table(tmp_path: Path) -> None:
    table = np.stack([np.arange(256)[::-1], np.arange(256), np.full(256, 7)]).astype(np.uint8).tobytes()
    values = random((16, 12), np.uint8)
    found = facts(tmp_path, mf.Image(values, "YX", display=Display((ChannelDisplay((0, 255, 7), (10.0, 200.0), table),))))
    assert (found["sizes"], found["grey"]) == (["12 16 1 1 1 8"], [f"{values[7, 5]} {values[7, 5]}"])
    assert found["channel"] == ["10 200 255 0 7 0 255 7"]


def test_floats_and_calibrated_grey_levels(tmp_path: Path) -> None:
    values = random((2, 16, 12), np.float32) / 4
    assert facts(tmp_path, mf.Image(values, "ZYX"))["grey"] == [f"{v:g} {v:g}" for v in (values[1, 7, 5],)]
    (tmp_path / "x.mfield").unlink()
    (tmp_path / "x.imagej.tif").unlink()
    counts = random((16, 12), np.uint16)
    found = facts(tmp_path, mf.Image(counts, "YX", display=Display(calibration=Calibration((-1000.0, 2.0), "Hounsfield"))))
    assert found["grey"] == [f"{counts[7, 5]} {2 * int(counts[7, 5]) - 1000}"]


def test_negative_values_of_16_bits(tmp_path: Path) -> None:
    """ImageJ adds 32768 to them, and says what they mean."""
    values = (random((2, 16, 12), np.int16) - 125).astype(np.int16)
    shown = Display((ChannelDisplay(None, (-100.0, 90.0)), ChannelDisplay(None, (-50.0, 70.0))))
    found = facts(tmp_path, mf.Image(values, "CYX", display=shown))
    assert found["grey"] == [f"{int(values[1, 7, 5]) + 32768} {values[1, 7, 5]}"]
    assert [channel.split(" ")[:2] for channel in found["channel"]] == [["-100", "90"], ["-50", "70"]]
    back = mf.open_image(tmp_path / "x.imagej.tif")
    assert [channel.range for channel in back.display.channels] == [(-100.0, 90.0), (-50.0, 70.0)]


def test_a_calibration_of_negative_values(tmp_path: Path) -> None:
    values = (random((16, 12), np.int16) - 125).astype(np.int16)
    calibration = Calibration((-1000.0, 2.0, 0.5), "Hounsfield")
    found = facts(tmp_path, mf.Image(values, "YX", display=Display((ChannelDisplay(None, (-100.0, 90.0)),), (), calibration)))
    assert float(found["grey"][0].split()[1]) == calibration(values[7, 5])
    back = mf.open_image(tmp_path / "x.imagej.tif").display
    assert (back.calibration, back.channels[0].range) == (calibration, (-100.0, 90.0))


def test_the_macro_of_the_page(tmp_path: Path) -> None:
    """It calls the command, which here is a script beside this Python, and opens what that writes."""
    page = (Path(__file__).parents[2] / "docs" / "fiji.md").read_text(encoding="utf-8")
    (macro,) = re.findall(r"```ijm\n(.*?)```", page, flags=re.S)
    command = tmp_path / "microfield"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m microfield "$@"\n')
    command.chmod(0o755)
    (tmp_path / "open.ijm").write_text(macro.replace('exec("microfield"', f'exec("{command}"') + "print(getWidth(), nSlices);\n")
    mf.compress(mf.Image(random((5, 16, 12), np.uint8), "ZYX"), tmp_path / "opened-by-macro.mfield", lossless=True)
    assert run(tmp_path / "open.ijm", tmp_path / "opened-by-macro.mfield")[-1] == "12 5"

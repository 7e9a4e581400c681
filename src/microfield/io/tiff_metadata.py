"""What a TIFF says about its array beside the values: the dialect is found, and those that take a few lines are read here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tifffile

from microfield.display import ChannelDisplay, Display
from microfield.io.imagej import colour_map, per_unit, read_imagej
from microfield.io.meaning import PLAUSIBLE_PIXEL, Meaning
from microfield.io.ome import read_ome
from microfield.io.tiff_text import as_text, instrument_text
from microfield.units import to_standard


def read_meaning(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, index: int, count: int) -> Meaning:
    """What the file says about the series at ``index`` of ``count``; empty where it says nothing that can be understood."""
    if tif.ome_metadata:
        return read_ome(tif.ome_metadata, series, index, count)
    if tif.imagej_metadata is not None:
        return read_imagej(tif.imagej_metadata, series, tif.filename)
    if tif.lsm_metadata is not None:
        return _from_lsm(tif.lsm_metadata)
    if tif.stk_metadata is not None:
        return _from_stk(tif.stk_metadata)
    return _from_tags(series, instrument_text(tif))


def _from_lsm(lsm: Mapping[str, Any]) -> Meaning:
    """Zeiss LSM: voxel sizes in metres, the interval in seconds."""
    meaning = Meaning(metadata=as_text(lsm))
    for axis in "XYZ":
        meaning.set_step(axis, lsm.get(f"VoxelSize{axis}"), "m")
    meaning.set_step("T", lsm.get("TimeIntervall", lsm.get("TimeInterval")), "s")
    stated = lsm.get("ChannelColors") or {}
    meaning.channel_names = tuple(str(name).strip("\0 ") for name in stated.get("ColorNames") or ())
    colours = [(int(c[0]), int(c[1]), int(c[2])) for c in stated.get("Colors") or ()]
    meaning.display = Display(tuple(ChannelDisplay(c if any(c) else None) for c in colours))
    return meaning


def _from_stk(stk: Mapping[str, Any]) -> Meaning:
    """MetaMorph STK: calibration with a unit, and a list of distances between planes."""
    meaning = Meaning(metadata=as_text(stk))
    unit = str(stk.get("CalibrationUnits", ""))
    for axis in "XY":
        meaning.set_step(axis, stk.get(f"{axis}Calibration"), unit)
    distances = stk.get("ZDistance")
    if distances is not None and len(distances):
        meaning.set_step("Z", distances[0], unit)
    return meaning


def _from_tags(series: tifffile.TiffPageSeries, text: str | None) -> Meaning:
    """Colours of a palette, and resolution tags, where they give a pixel that a microscope could have (`PLAUSIBLE_PIXEL`)."""
    meaning = Meaning(metadata=text)
    unit = {2: "inch", 3: "centimeter"}.get(int(series.keyframe.resolutionunit), "")
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        step = to_standard(per_unit(series, tag), unit, axis)
        if step is not None and PLAUSIBLE_PIXEL[0] <= step[0] <= PLAUSIBLE_PIXEL[1]:
            meaning.voxel_size[axis], meaning.units[axis] = step
    table = colour_map(series)
    if table is not None and "S" not in series.axes:
        meaning.display = Display((ChannelDisplay.of_table(table),))
    return meaning

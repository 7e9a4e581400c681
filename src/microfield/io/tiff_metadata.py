"""What a TIFF says about its array, in each dialect: voxel size, units, channel names and the OME-XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tifffile

from microfield.io.units import to_standard

SOURCE_NAMESPACE = "microfield/source-metadata"
"""Marks the annotation in which the TIFF writer keeps the metadata of the image's first source."""

PLAUSIBLE_PIXEL = (1e-3, 20.0)
"""Micrometers: resolution tags outside say what a printer should do (72 per inch is 353 micrometers), not what was seen."""


@dataclass
class Meaning:
    """What an array means; attributes are those of `Image` of the same names."""

    voxel_size: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    metadata: str | None = None

    def set_step(self, axis: str, value: Any, unit: str) -> None:
        """Note the step along an axis in micrometers or seconds; a step that is no positive length or time is left out."""
        try:
            step = to_standard(float(value), unit, axis)
        except (TypeError, ValueError):
            return
        if step is not None:
            self.voxel_size[axis], self.units[axis] = step


def read_meaning(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, index: int, count: int) -> Meaning:
    """What the file says about one of its series; empty where it says nothing that can be understood."""
    if tif.ome_metadata:
        return _from_ome(tif.ome_metadata, index, count)
    if tif.imagej_metadata is not None:
        return _from_imagej(tif.imagej_metadata, series)
    if tif.lsm_metadata is not None:
        return _from_lsm(tif.lsm_metadata)
    if tif.stk_metadata is not None:
        return _from_stk(tif.stk_metadata)
    return _from_resolution(series)


def _from_ome(text: str, index: int, count: int) -> Meaning:
    """OME-XML of any schema version: the image at ``index`` of ``count``, as the series of the file are numbered."""
    meaning = Meaning(metadata=text)
    try:
        root = ET.fromstring(text)
    except ET.ParseError:
        return meaning
    for note in root.iter():
        if note.get("Namespace") == SOURCE_NAMESPACE:
            meaning.metadata = "".join(note.itertext())
    images = [e for e in root if _tag(e) == "Image"]
    if len(images) != count:
        return meaning
    pixels = next((e for e in images[index] if _tag(e) == "Pixels"), None)
    if pixels is None:
        return meaning
    for axis in "XYZ":
        value, unit = pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        if unit == "reference frame" and value is not None:
            meaning.voxel_size[axis] = float(value)  # How our own writer keeps a size that has no unit.
        else:
            meaning.set_step(axis, value, unit)
    meaning.set_step("T", pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    names = [e.get("Name") for e in pixels if _tag(e) == "Channel"]
    if any(names):
        meaning.channel_names = tuple(name or f"channel {i}" for i, name in enumerate(names))
    return meaning


def _tag(element: ET.Element) -> str:
    """Name of an element without its namespace, which changes with every schema version."""
    return str(element.tag).rpartition("}")[2]


def _from_imagej(imagej: Mapping[str, Any], series: tifffile.TiffPageSeries) -> Meaning:
    """ImageJ's description: its resolution tags count pixels per ``unit``."""
    meaning = Meaning()
    unit = str(imagej.get("unit", ""))
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        meaning.set_step(axis, _per_unit(series, tag), str(imagej.get("yunit", unit)) if axis == "Y" else unit)
    meaning.set_step("Z", imagej.get("spacing"), str(imagej.get("zunit", unit)))
    interval = imagej.get("finterval")
    if not interval and imagej.get("fps"):
        interval = 1.0 / float(imagej["fps"])
    meaning.set_step("T", interval, str(imagej.get("tunit", "s")))
    labels = imagej.get("Labels")
    channels = dict(zip(series.axes, series.shape, strict=True)).get("C", 0)
    # More labels than channels belong to planes and name more than the channel.
    if isinstance(labels, (list, tuple)) and len(labels) == channels and all(labels):
        meaning.channel_names = tuple(str(label).strip() for label in labels)
    return meaning


def _from_lsm(lsm: Mapping[str, Any]) -> Meaning:
    """Zeiss LSM: voxel sizes in metres, the interval in seconds."""
    meaning = Meaning()
    for axis in "XYZ":
        meaning.set_step(axis, lsm.get(f"VoxelSize{axis}"), "m")
    meaning.set_step("T", lsm.get("TimeIntervall", lsm.get("TimeInterval")), "s")
    names = (lsm.get("ChannelColors") or {}).get("ColorNames") or ()
    meaning.channel_names = tuple(str(name).strip("\0 ") for name in names)
    return meaning


def _from_stk(stk: Mapping[str, Any]) -> Meaning:
    """MetaMorph STK: calibration with a unit, and a list of distances between planes."""
    meaning = Meaning()
    unit = str(stk.get("CalibrationUnits", ""))
    for axis in "XY":
        meaning.set_step(axis, stk.get(f"{axis}Calibration"), unit)
    distances = stk.get("ZDistance")
    if distances is not None and len(distances):
        meaning.set_step("Z", distances[0], unit)
    return meaning


def _from_resolution(series: tifffile.TiffPageSeries) -> Meaning:
    """Plain resolution tags, where they give a pixel that a microscope could have (`PLAUSIBLE_PIXEL`)."""
    meaning = Meaning()
    unit = {2: "inch", 3: "centimeter"}.get(int(series.keyframe.resolutionunit), "")
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        step = to_standard(_per_unit(series, tag), unit, axis)
        if step is not None and PLAUSIBLE_PIXEL[0] <= step[0] <= PLAUSIBLE_PIXEL[1]:
            meaning.voxel_size[axis], meaning.units[axis] = step
    return meaning


def _per_unit(series: tifffile.TiffPageSeries, name: str) -> float:
    """Size of a pixel in the unit of the resolution tags; 0 where the tag is missing or says 0."""
    tag = series.keyframe.tags.get(name)
    if tag is None:
        return 0.0
    pixels, units = tag.value
    return float(units) / float(pixels) if pixels else 0.0

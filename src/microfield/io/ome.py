"""OME-XML in the places that both the reader and the writer of OME-TIFF use."""

from __future__ import annotations

import json
import re
import statistics
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import tifffile

from microfield.acquisition import NOTHING_SAID, Acquisition
from microfield.display import ChannelDisplay, Colour, Display
from microfield.io.annotations import with_annotation
from microfield.io.meaning import Meaning
from microfield.io.ome_acquisition import read_acquisition

SOURCE_NAMESPACE = "microfield/source-metadata"
"""Marks the annotation in which the TIFF writer keeps the metadata of the image's first source."""

DISPLAY_NAMESPACE = "microfield/display"
"""Marks the annotation in which the TIFF writer keeps what OME has no place for; its values are JSON."""

REGULAR = 0.05
"""Times of planes are a constant increment where no step between them is further from the middle one than this share of it."""

STRUCTURE = {
    "OME": {"UUID", "Creator", "schemaLocation"},
    "Image": {"ID", "Name"},
    "Pixels": {"ID", "DimensionOrder", "Type", "SizeX", "SizeY", "SizeZ", "SizeC", "SizeT", "Interleaved", "BigEndian",
               "PhysicalSizeX", "PhysicalSizeXUnit", "PhysicalSizeY", "PhysicalSizeYUnit", "PhysicalSizeZ", "PhysicalSizeZUnit",
               "TimeIncrement", "TimeIncrementUnit"},
    "Channel": {"ID", "Name", "Color", "SamplesPerPixel"},
    "LightPath": set(),
    "AcquisitionDate": set(),
    "Instrument": {"ID"},
    "Objective": {"ID", "Model", "NominalMagnification", "LensNA"},
    "InstrumentRef": {"ID"},
    "Plane": {"TheZ", "TheT", "TheC", "PositionX", "PositionXUnit", "PositionY", "PositionYUnit", "PositionZ", "PositionZUnit"},
    "ObjectiveSettings": {"ID"},
    "TiffData": {"IFD", "PlaneCount", "FirstZ", "FirstC", "FirstT"},
    "UUID": {"FileName"},
    "AnnotationRef": {"ID"},
    "StructuredAnnotations": set(),
}  # fmt: skip
"""Elements and their attributes that an Image keeps, or that say how the file is laid out: OME-XML with others is worth keeping."""


def read_ome(text: str, series: tifffile.TiffPageSeries, index: int, count: int) -> Meaning:
    """OME-XML of any schema version: the image at ``index`` of ``count``, as the series of the file are numbered."""
    meaning = Meaning(metadata=text)
    try:
        root = ET.fromstring(text)
    except ET.ParseError:
        return meaning
    annotations = _annotations(root)
    images = [e for e in root if _tag(e) == "Image"]
    if len(images) == count:
        meaning.acquisition = read_acquisition(root, images[index])
        pixels = next((e for e in images[index] if _tag(e) == "Pixels"), None)
        if pixels is not None:
            sizes = dict(zip(series.axes, (int(n) for n in series.shape), strict=True))
            _steps(meaning, pixels)
            _channels(meaning, pixels, sizes)
            meaning.display = with_annotation(meaning.display.fitting(sizes), _display(annotations), sizes)
        if not any(_says_more(e) for e in root if e not in images or e is images[index]):
            meaning.metadata = None
    if SOURCE_NAMESPACE in annotations:
        meaning.metadata = "".join(annotations[SOURCE_NAMESPACE].itertext())
    return meaning


def acquisition_in(text: str, image: int) -> Acquisition:
    """How an image in OME-XML was taken; nothing where the text cannot be understood or has no such image."""
    try:
        root = ET.fromstring(text)
        return read_acquisition(root, [e for e in root if _tag(e) == "Image"][image])
    except (ET.ParseError, IndexError):
        return NOTHING_SAID


def colours_of(text: str, image: int) -> list[Colour | None]:
    """Colours of the channels of an image in OME-XML.

    Raises
    ------
    ParseError, IndexError, StopIteration
        There is no such image.
    """
    element = [e for e in ET.fromstring(text) if _tag(e) == "Image"][image]
    pixels = next(e for e in element if _tag(e) == "Pixels")
    return [_colour(e.get("Color")) for e in pixels if _tag(e) == "Channel"]


def colour_number(colour: Colour) -> int:
    """A colour as OME-XML has it: red, green, blue and an opaque alpha in a signed integer of 32 bits."""
    value = colour[0] << 24 | colour[1] << 16 | colour[2] << 8 | 255
    return value - (1 << 32) if value >= 1 << 31 else value


def _colour(number: str | None) -> Colour | None:
    """The colour of such a number; the alpha is left out, since many programs write 0 for opaque."""
    try:
        value = int(number or "")
    except ValueError:
        return None
    return value >> 24 & 255, value >> 16 & 255, value >> 8 & 255


def _steps(meaning: Meaning, pixels: ET.Element) -> None:
    """Voxel sizes and the time increment, which some files give by the times of their planes alone."""
    for axis in "XYZ":
        value, unit = pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        if unit == "reference frame" and value is not None:
            meaning.voxel_size[axis] = float(value)  # How our own writer keeps a size that has no unit.
        else:
            meaning.set_step(axis, value, unit)
    meaning.set_step("T", pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    if "T" not in meaning.voxel_size:
        planes = [e for e in pixels if _tag(e) == "Plane" and e.get("TheZ") == "0" and e.get("TheC") == "0" and e.get("DeltaT")]
        _increment(meaning, planes)


def _increment(meaning: Meaning, planes: list[ET.Element]) -> None:
    """The time increment of planes of one depth and channel that are equally far apart in time."""
    try:
        times = [float(t) for _, t in sorted((int(p.get("TheT", "")), p.get("DeltaT", "")) for p in planes)]
    except ValueError:
        return
    steps = [b - a for a, b in pairwise(times)]
    middle = statistics.median(steps) if steps else 0.0
    if middle > 0 and all(abs(step - middle) <= REGULAR * middle for step in steps):
        meaning.set_step("T", middle, planes[0].get("DeltaTUnit", "s"))


def _channels(meaning: Meaning, pixels: ET.Element, sizes: dict[str, int]) -> None:
    """Names and colours; colour samples show themselves and have none."""
    channels = [e for e in pixels if _tag(e) == "Channel"]
    names = [e.get("Name") for e in channels]
    if any(names):
        meaning.channel_names = tuple(name or f"channel {i}" for i, name in enumerate(names))
    if "S" not in sizes:
        meaning.display = Display(tuple(ChannelDisplay(_colour(e.get("Color"))) for e in channels))


def _annotations(root: ET.Element) -> dict[str, ET.Element]:
    """The annotations that our own writer makes, by namespace."""
    return {str(e.get("Namespace")): e for e in root.iter() if e.get("Namespace") in (SOURCE_NAMESPACE, DISPLAY_NAMESPACE)}


def _display(annotations: dict[str, ET.Element]) -> dict[str, Any]:
    """What our own writer kept of the display."""
    kept: dict[str, Any] = {}
    for entry in annotations[DISPLAY_NAMESPACE].iter() if DISPLAY_NAMESPACE in annotations else ():
        if _tag(entry) == "M" and entry.get("K"):
            try:
                kept[str(entry.get("K"))] = json.loads(entry.text or "")
            except ValueError:
                continue
    return kept


def _says_more(element: ET.Element) -> bool:
    """Whether an element or one in it says what an Image does not keep."""
    if element.get("Namespace") in (SOURCE_NAMESPACE, DISPLAY_NAMESPACE):
        return False
    known = STRUCTURE.get(_tag(element))
    if known is None or not {str(a).rpartition("}")[2] for a in element.attrib} <= known:
        return True
    if sum(_tag(child) == "Plane" for child in element) > 1:  # Of several positions an Image keeps the first.
        return True
    named = _tag(element) == "Image" and not re.fullmatch(r"Image:?\s?\d+|", element.get("Name", ""))
    return named or any(_says_more(child) for child in element)


def _tag(element: ET.Element) -> str:
    """Name of an element without its namespace, which changes with every schema version."""
    return str(element.tag).rpartition("}")[2]

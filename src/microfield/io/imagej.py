"""What ImageJ writes into its TIFF files: sizes, lookup tables, display ranges, labels of slices, what grey levels mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from microfield.axes import MOST_CHANNELS
from microfield.display import MODES, Calibration, ChannelDisplay, Display
from microfield.io.meaning import Meaning
from microfield.wording import argument

POLYNOMIALS = {0: 2, 1: 3, 2: 4, 3: 5}
"""ImageJ's numbers of the calibration functions that are polynomials, to how many coefficients they have."""

UNCALIBRATED = 20
"""ImageJ's number for no calibration function."""

NOT_KEPT = {"ROI": "regions of interest", "Overlays": "overlays", "Plot": "a plot", "Properties": "properties of the image"}
"""Entries of ImageJ's metadata that an Image has no place for."""


def read_imagej(imagej: Mapping[str, Any], series: tifffile.TiffPageSeries, name: str) -> Meaning:
    """The meaning of the array of an ImageJ file, called ``name`` in messages."""
    meaning = Meaning()
    _sizes(meaning, imagej, series)
    sizes = dict(zip(series.axes, (int(n) for n in series.shape), strict=True))
    labels = _labels(imagej)
    channels = sizes.get("C", 1)
    # More labels than channels belong to planes and name more than the channel.
    if channels > 1 and len(labels) == channels and all(labels):
        meaning.channel_names = labels
    mode = imagej.get("mode")
    meaning.display = Display(
        _channels(imagej, series, channels), () if meaning.channel_names else labels, _calibration(imagej, shift_of(series.dtype)),
        mode if mode in MODES else None,
    ).fitting(sizes)
    info = imagej.get("Info")
    meaning.metadata = info if isinstance(info, str) and info.strip() else None
    lost = [words for key, words in NOT_KEPT.items() if imagej.get(key) is not None]
    function = imagej.get("cf", UNCALIBRATED)
    if meaning.display.calibration is None and function != UNCALIBRATED:
        lost.append(f"the value calibration (ImageJ's function {function})")
    if labels and not (meaning.channel_names or meaning.display.plane_labels):
        lost.append(f"labels of slices ({len(labels)} for {math.prod(n for a, n in sizes.items() if a not in 'YXS')} planes)")
    meaning.not_kept = tuple(lost)
    if channels > MOST_CHANNELS and not meaning.channel_names and not meaning.display.channels and set(sizes) <= set("CYX"):
        meaning.doubt = (
            f"{name} says that its {channels} planes are channels, as is written where nobody says what the planes of a stack are; "
            f"say it with {argument('axes')}, such as ZYX, TYX or CYX."
        )
    return meaning


def _sizes(meaning: Meaning, imagej: Mapping[str, Any], series: tifffile.TiffPageSeries) -> None:
    """Steps along the axes: the resolution tags count pixels per ``unit``."""
    unit = str(imagej.get("unit", ""))
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        meaning.set_step(axis, per_unit(series, tag), str(imagej.get("yunit", unit)) if axis == "Y" else unit)
    meaning.set_step("Z", imagej.get("spacing"), str(imagej.get("zunit", unit)))
    interval = imagej.get("finterval")
    if not interval and imagej.get("fps"):
        interval = 1.0 / float(imagej["fps"])
    meaning.set_step("T", interval, str(imagej.get("tunit", "s")))


def _labels(imagej: Mapping[str, Any]) -> tuple[str, ...]:
    """Labels of slices, one per plane; a single plane has a single one."""
    labels = imagej.get("Labels")
    if isinstance(labels, str):
        labels = [labels]
    if not isinstance(labels, (list, tuple)):
        return ()
    return tuple(str(label).replace("\0", " ").strip() for label in labels)


def _channels(imagej: Mapping[str, Any], series: tifffile.TiffPageSeries, count: int) -> tuple[ChannelDisplay, ...]:
    """Lookup table and range of every channel.

    A single one has its range in the description, and if it has 8 bits its table in the TIFF's colour map.
    """
    if "S" in series.axes:
        return ()
    tables = imagej.get("LUTs")
    tables = tables if isinstance(tables, list) else [] if tables is None else [tables]
    if not tables and count == 1 and (table := colour_map(series)) is not None:
        tables = [table]
    ranges = imagej.get("Ranges")
    shown = list(ranges) if isinstance(ranges, Sequence) and not isinstance(ranges, str) else []
    if not shown and count == 1 and "min" in imagej and "max" in imagej:
        shown = [imagej["min"], imagej["max"]]
    found = []
    for i in range(count):
        limits = _range(shown[2 * i : 2 * i + 2], shift_of(series.dtype))
        table = np.asarray(tables[i]) if i < len(tables) else None
        fits = table is not None and table.shape == (3, 256)
        found.append(ChannelDisplay.of_table(table, limits) if table is not None and fits else ChannelDisplay(range=limits))
    if count == 1 and found[0].table is None and found[0].colour == (255, 255, 255):
        return (ChannelDisplay(range=found[0].range),)  # Grey is how a single channel is shown anyway.
    return tuple(found)


def colour_map(series: tifffile.TiffPageSeries) -> npt.NDArray[np.uint8] | None:
    """The colours in which a TIFF shows values of 8 bits, of shape (3, 256); None where it has none."""
    colours = series.keyframe.colormap
    if colours is None or np.shape(colours) != (3, 256):
        return None
    return (np.asarray(colours) >> 8).astype(np.uint8)


def shift_of(dtype: np.dtype[Any] | None) -> int:
    """What ImageJ adds to grey levels: it counts signed values of 16 bits from 0 on, also in display ranges and calibrations."""
    return 1 << 15 if dtype == np.int16 else 0


def _range(limits: Sequence[Any], shift: int) -> tuple[float, float] | None:
    """Two numbers as a display range; None where they are none."""
    try:
        low, high = (float(v) - shift for v in limits)
    except (TypeError, ValueError):
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low <= high else None


def _calibration(imagej: Mapping[str, Any], shift: int) -> Calibration | None:
    """What grey levels mean, where it is a polynomial."""
    function = imagej.get("cf")
    if not isinstance(function, int) or function not in POLYNOMIALS:
        return None
    try:
        coefficients = tuple(float(imagej[f"c{i}"]) for i in range(POLYNOMIALS[function]))
    except (KeyError, TypeError, ValueError):
        return None
    if not all(map(math.isfinite, coefficients)):
        return None
    return shifted(Calibration(coefficients, str(imagej.get("vunit", "")).strip()), shift)


def shifted(calibration: Calibration, shift: int) -> Calibration:
    """The calibration of grey levels to which ``shift`` has yet to be added before the given one holds."""
    moved = np.polynomial.Polynomial(calibration.coefficients)(np.polynomial.Polynomial([shift, 1]))
    return replace(calibration, coefficients=tuple(float(c) for c in moved.coef)) if shift else calibration


def per_unit(series: tifffile.TiffPageSeries, name: str) -> float:
    """Size of a pixel in the unit of a resolution tag; 0 where the tag is missing or says 0."""
    tag = series.keyframe.tags.get(name)
    if tag is None:
        return 0.0
    pixels, units = tag.value
    return float(units) / float(pixels) if pixels else 0.0

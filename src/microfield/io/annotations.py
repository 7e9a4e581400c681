"""What formats have no place of their own for, as a mapping that OME-TIFF keeps in an annotation and OME-Zarr in an attribute."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from microfield.display import MODES, Calibration, ChannelDisplay, Display, rearranged
from microfield.errors import InputError


def annotation_of(display: Display, axes: str, *, ranges: bool) -> dict[str, Any]:
    """What to keep, as JSON-ready values by name; nothing where nothing is known.

    Parameters
    ----------
    display : Display
        Of the array.
    axes : str
        Axes of the array, which say in which order the labels of planes are.
    ranges : bool
        Whether display ranges and hidden channels belong to it: OME-Zarr has a place of its own for them.
    """
    kept: dict[str, Any] = {}
    channels = display.channels
    if ranges and any(c.range is not None for c in channels):
        kept["display_ranges"] = [None if c.range is None else list(c.range) for c in channels]
    if ranges and any(c.hidden for c in channels):
        kept["hidden_channels"] = [i for i, c in enumerate(channels) if c.hidden]
    if any(c.table is not None for c in channels):
        kept["lookup_tables"] = [None if c.table is None else base64.b64encode(c.table).decode() for c in channels]
    if display.plane_labels:
        kept["plane_labels"] = {"axes": "".join(a for a in axes if a not in "YXS"), "labels": list(display.plane_labels)}
    if display.calibration is not None:
        kept["value_calibration"] = {"coefficients": list(display.calibration.coefficients), "unit": display.calibration.unit}
    if display.mode is not None:
        kept["display_mode"] = display.mode
    return kept


def with_annotation(display: Display, kept: Mapping[str, Any], sizes: Mapping[str, int]) -> Display:
    """A display with what an annotation adds to it; what cannot be understood is left out.

    Parameters
    ----------
    display : Display
        What the file says in places of its own: its channels are as many as the array's, or none.
    kept : mapping
        From `annotation_of`.
    sizes : mapping of str to int
        Axis letter to extent of the array, in its order.
    """
    count = sizes.get("C", 1)
    channels = list(display.channels) or [ChannelDisplay()] * count
    if len(channels) != count:
        return display
    try:
        for i, limits in enumerate(_as_many(kept.get("display_ranges"), count)):
            if limits is not None:
                channels[i] = replace(channels[i], range=(float(limits[0]), float(limits[1])))
        for i, table in enumerate(_as_many(kept.get("lookup_tables"), count)):
            if table is not None:
                channels[i] = replace(channels[i], table=base64.b64decode(table, validate=True))
        for i in kept.get("hidden_channels") or ():
            channels[i] = replace(channels[i], hidden=True)
        labels = kept.get("plane_labels") or {"axes": "", "labels": []}
        calibration = kept.get("value_calibration")
        mode = kept.get("display_mode")
        return Display(
            tuple(channels), rearranged([_text(t) for t in labels["labels"]], str(labels["axes"]), sizes) or display.plane_labels,
            Calibration(tuple(map(float, calibration["coefficients"])), _text(calibration["unit"])) if calibration else None,
            mode if mode in MODES else display.mode,
        )
    except (InputError, TypeError, ValueError, KeyError, IndexError, AttributeError, binascii.Error):
        return display  # Somebody else wrote it, or changed it.


def _text(value: Any) -> str:
    """A text that UTF-8 can hold: JSON may have halves of characters."""
    return str(value).encode("utf-8", "replace").decode().replace("\0", " ")


def _as_many(values: Any, count: int) -> list[Any]:
    """A list with one entry per channel, or an empty one."""
    return list(values) if isinstance(values, list) and len(values) == count else []

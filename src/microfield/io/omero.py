"""The block of OME-Zarr in which OMERO and the viewers keep names, colours and ranges of channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from microfield.display import NOTHING_KNOWN, ChannelDisplay, Colour, Display
from microfield.errors import InputError

MODEL_MODES = {"greyscale": "grayscale"}
"""OMERO's models of rendering to modes of `Display`; its other one, color, is what everybody assumes."""


def read_omero(attributes: Mapping[str, Any]) -> tuple[tuple[str, ...], Display]:
    """Names of the channels (none where none is named), and how they are shown; what cannot be understood is left out.

    Parameters
    ----------
    attributes : mapping
        Of the image's group.
    """
    try:
        omero = attributes.get("omero") or {}
        channels = list(omero.get("channels") or ())
        names = tuple(_text(c.get("label") or f"channel {i}") for i, c in enumerate(channels))
        model = (omero.get("rdefs") or {}).get("model")
        shown = Display(tuple(map(_channel, channels)), mode=MODEL_MODES.get(str(model)))
        return names if any(c.get("label") for c in channels) else (), shown
    except (AttributeError, TypeError, ValueError, InputError):
        return (), NOTHING_KNOWN


def _channel(channel: Mapping[str, Any]) -> ChannelDisplay:
    window = channel.get("window") or {}
    limits = [float(window[k]) for k in ("start", "end") if isinstance(window.get(k), (int, float))]
    ordered = len(limits) == 2 and all(map(math.isfinite, limits)) and limits[0] <= limits[1]
    shown = (limits[0], limits[1]) if ordered else None
    return ChannelDisplay(_colour(channel.get("color")), shown, hidden=channel.get("active") is False)


def _colour(text: Any) -> Colour | None:
    """A colour of six hexadecimal digits."""
    try:
        value = int(str(text).lstrip("#"), 16)
    except ValueError:
        return None
    return (value >> 16 & 255, value >> 8 & 255, value & 255) if 0 <= value < 1 << 24 else None


def _text(value: Any) -> str:
    """A text that UTF-8 can hold: JSON may have halves of characters."""
    return str(value).encode("utf-8", "replace").decode()

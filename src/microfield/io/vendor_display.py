"""Colours of the channels of CZI, ND2 and LIF files, where what their plugins give of the metadata says them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Any

from microfield.display import NOTHING_KNOWN, ChannelDisplay, Colour, Display
from microfield.io.ome import colours_of

LOOKUP_TABLES: dict[str, Colour] = {
    "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "cyan": (0, 255, 255), "magenta": (255, 0, 255),
    "yellow": (255, 255, 0), "gray": (255, 255, 255), "grey": (255, 255, 255),
}  # fmt: skip
"""Leica's names of lookup tables, in lower case, to colours."""

NUMBERED = re.compile(r"Channel:\d+:\d+")
"""What plugins call channels of which the file says no name."""


def channel_names(stated: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """Names of all channels; none where a plugin gives another number of them, an empty one, or numbers alone."""
    names = tuple(str(name) for name in stated or ())
    numbered = all(NUMBERED.fullmatch(name) for name in names)
    return names if len(names) == count and all(names) and not numbered else ()


def channel_colours(reader: Any, scene: int, suffix: str, names: Sequence[str], count: int) -> Display:
    """Colours of the channels of a scene.

    The vendor's XML is asked first, then the OME-XML that the plugin makes of it. Whatever goes wrong, nothing is known: metadata
    that a plugin cannot translate must not keep the image from being read.

    Parameters
    ----------
    reader : bioio reader
    scene : int
        Index of the scene.
    suffix : str
        Of the file, in lower case.
    names : sequence of str
        Names of the channels; Leica's are those of its lookup tables.
    count : int
        Number of channels.
    """
    places: tuple[Callable[[], list[Colour | None]], ...] = (
        lambda: _zeiss(reader.metadata) if suffix == ".czi" else [],
        lambda: colours_of(str(reader.ome_metadata.to_xml()), scene),
        lambda: [LOOKUP_TABLES.get(re.split(r"\W", n.lower())[0]) for n in names] if suffix == ".lif" else [],
    )
    for ask in places:
        try:
            colours = ask()
        except Exception:  # Plugins raise whatever their libraries do.
            continue
        if len(colours) == count and any(colours):
            return Display(tuple(ChannelDisplay(colour) for colour in colours))
    return NOTHING_KNOWN


def _zeiss(root: ET.Element) -> list[Colour | None]:
    """Colours in the display settings of a CZI file, written as ``#AARRGGBB`` or ``#RRGGBB``."""
    channels = root.findall(".//DisplaySetting/Channels/Channel")
    texts = [(channel.findtext("Color") or "").strip() for channel in channels]
    return [_hexadecimal(text) if re.fullmatch(r"#([0-9A-Fa-f]{2})?[0-9A-Fa-f]{6}", text) else None for text in texts]


def _hexadecimal(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text[-6:])
    return red, green, blue

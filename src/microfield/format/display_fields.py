"""Fields 16 to 19 of the header: how an image is meant to be seen, as CBOR values and back.

Lookup tables and labels are deflated. A table is deflated as differences between neighbouring entries, which are alike or nearly
so in the tables that people use.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from microfield.display import MODES, TABLE_BYTES, Calibration, ChannelDisplay, Display
from microfield.errors import FormatError, InputError
from microfield.format.cbor import MOST_ITEMS

LABELS_LIMIT = 16 << 20
"""Plane labels take at most this many bytes once unpacked."""

TABLE_LIMIT = 2048
"""A deflated lookup table takes at most this many bytes."""

MOST_TABLES = 1024
"""No more channels have a lookup table: one of 20 bytes takes 768 once unpacked."""


def pack_display(display: Display) -> dict[str, Any]:
    """Values of the header's fields by name; None where nothing is known."""
    calibration = display.calibration
    tables = sum(c.table is not None for c in display.channels)
    if tables > MOST_TABLES:
        raise InputError(f"{tables} channels have lookup tables, more than the {MOST_TABLES} a file can hold.")
    return {
        "channel_display": [_pack_channel(c) for c in display.channels] or None,
        "plane_labels": _pack_labels(display.plane_labels) if display.plane_labels else None,
        "value_calibration": None if calibration is None else [calibration.unit, *map(float, calibration.coefficients)],
        "display_mode": None if display.mode is None else MODES.index(display.mode) + 1,
    }


def unpack_display(values: Mapping[str, Any]) -> Display:
    """The display that the values of the header's fields stand for.

    Raises
    ------
    FormatError, InputError
        They break a rule of the format.
    """
    entries = values["channel_display"] or ()
    if sum(len(entry) > 3 and entry[3] is not None for entry in entries) > MOST_TABLES:
        raise FormatError(f"The file has more than {MOST_TABLES} lookup tables: it is damaged.")
    channels = tuple(map(_unpack_channel, entries))
    labels = () if values["plane_labels"] is None else _unpack_labels(values["plane_labels"])
    calibration = values["value_calibration"]
    mode = values["display_mode"]
    if mode is not None and not 1 <= mode <= len(MODES):
        raise FormatError(f"The file has the unknown display mode {mode}: update microfield to open it.")
    display = Display(channels, labels, None if calibration is None else Calibration(tuple(calibration[1:]), calibration[0]),
                      None if mode is None else MODES[mode - 1])
    if len(display.channels) != len(channels) or len(display.plane_labels) != len(labels):
        raise FormatError("The file says in fields of its own that nothing is known of the display: it is damaged.")
    return display


def are_channels(value: Any) -> bool:
    """Whether a CBOR value has the type of field ``channel_display``."""
    return type(value) is list and bool(value) and all(type(entry) is list and _is_channel(entry) for entry in value)


def is_calibration(value: Any) -> bool:
    """Whether a CBOR value has the type of field ``value_calibration``."""
    return type(value) is list and len(value) > 1 and type(value[0]) is str and all(type(n) is float for n in value[1:])


def _is_channel(entry: Sequence[Any]) -> bool:
    """Whether an entry is [colour, low, high, table, hidden], of which the last ones may be missing and the others null."""
    kinds = (bytes, float, float, bytes, bool)
    return len(entry) <= len(kinds) and all(v is None or type(v) is kind for v, kind in zip(entry, kinds, strict=False))


def _pack_channel(channel: ChannelDisplay) -> list[Any]:
    low, high = (None, None) if channel.range is None else map(float, channel.range)
    entry = [None if channel.colour is None else bytes(channel.colour), low, high,
             None if channel.table is None else _pack_table(channel.table), True if channel.hidden else None]
    while entry and entry[-1] is None:
        entry.pop()
    return entry


def _unpack_channel(entry: Sequence[Any]) -> ChannelDisplay:
    if (entry and entry[-1] is None) or entry[4:] == [False]:
        raise FormatError("The file describes a channel in more words than needed: it is damaged.")
    filled: list[Any] = [*entry, *[None] * (5 - len(entry))]
    colour, low, high, table, hidden = filled
    if (colour is not None and len(colour) != 3) or (low is None) != (high is None):
        raise FormatError("The file gives a channel a colour or a display range that cannot be: it is damaged.")
    return ChannelDisplay(None if colour is None else (colour[0], colour[1], colour[2]), None if low is None else (low, high),
                          None if table is None else _unpack_table(table), bool(hidden))


@lru_cache(maxsize=64)
def _pack_table(table: bytes) -> bytes:
    # The search for a budget asks for the size of the same header again and again.
    entries = np.frombuffer(table, np.uint8).reshape(3, 256)
    return zlib.compress(np.diff(entries, axis=1, prepend=np.uint8(0)).tobytes(), 9)


def _unpack_table(data: bytes) -> bytes:
    if len(data) > TABLE_LIMIT:
        raise FormatError(f"The file has a lookup table of {len(data)} bytes, more than {TABLE_LIMIT}: it is damaged.")
    differences = np.frombuffer(_inflate(data, TABLE_BYTES, "a lookup table"), np.uint8)
    if differences.size != TABLE_BYTES:
        raise FormatError(f"The file has a lookup table of {differences.size} entries, not {TABLE_BYTES}: it is damaged.")
    return np.cumsum(differences.reshape(3, 256), axis=1, dtype=np.uint8).tobytes()


@lru_cache(maxsize=4)
def _pack_labels(labels: tuple[str, ...]) -> bytes:
    text = "\0".join(labels).encode()
    if len(labels) > MOST_ITEMS:
        raise InputError(f"{len(labels)} planes have labels, more than the {MOST_ITEMS} a file can hold.")
    if len(text) > LABELS_LIMIT:
        raise InputError(f"the plane labels take {len(text)} bytes, more than the {LABELS_LIMIT} a file can hold.")
    return zlib.compress(text, 9)


def _unpack_labels(data: bytes) -> tuple[str, ...]:
    text = _inflate(data, LABELS_LIMIT, "the plane labels")
    if text.count(b"\0") >= MOST_ITEMS:  # Counted first: a list of labels takes far more memory than their bytes.
        raise FormatError(f"The file has labels of more than {MOST_ITEMS} planes: it is damaged.")
    try:
        return tuple(text.decode().split("\0"))
    except UnicodeDecodeError:
        raise FormatError("The plane labels of the file are not readable: it is damaged.") from None


def _inflate(data: bytes, limit: int, what: str) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, limit + 1)
    except zlib.error:
        raise FormatError(f"The file holds {what} that cannot be read: it is damaged.") from None
    if not unpacker.eof or unpacker.unused_data or len(unpacked) > limit:
        raise FormatError(f"The file holds {what} that ends too early or is too large: it is damaged.")
    return unpacked

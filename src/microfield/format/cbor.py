"""The map of the header as CBOR bytes, of which nothing is trusted when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cbor2

from microfield.errors import FormatError, InputError

MOST_ITEMS = 1 << 18
"""A header holds at most so many keys, values and elements of arrays: each takes far more memory than its byte in the file."""

_BYTES, _TEXT = 2, 3
"""Major types of CBOR, which the high three bits of an item's first byte say."""

_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
"""Tags that the CBOR library would act on; all are refused before it does."""


def dump(fields: Mapping[int, Any]) -> bytes:
    """A map as CBOR in the deterministic encoding; InputError where it has more than `MOST_ITEMS` items."""
    data: bytes = cbor2.dumps(fields, canonical=True)
    if _has_more_items(data, MOST_ITEMS):
        raise InputError(f"names, colours and labels of more than {MOST_ITEMS:,} channels or planes cannot be stored.")
    return data


def load(data: bytes) -> dict[Any, Any]:
    """The map that CBOR bytes hold, which must be in the deterministic encoding.

    Raises
    ------
    FormatError
        They are anything else, or hold more than `MOST_ITEMS` items.
    """
    if _has_more_items(data, MOST_ITEMS):
        raise FormatError(f"The header of the file has more than {MOST_ITEMS:,} entries: it is damaged.")
    try:
        value = cbor2.loads(data, max_depth=8, allow_indefinite=False, allow_duplicate_keys=False,
                            tag_hook=_refuse_tag, semantic_decoders=dict.fromkeys(_TAGS, _refuse_tag))
        plain = type(value) is dict and cbor2.dumps(value, canonical=True) == data
    except Exception:
        # Whatever the CBOR library stumbles over, the bytes are not a header.
        raise FormatError("The header of the file is not readable: it is damaged.") from None
    if not plain:
        raise FormatError("The header of the file is not a map in the deterministic CBOR encoding: it is damaged.")
    return dict(value)


def _has_more_items(data: bytes, most: int) -> bool:
    """Whether the bytes begin more than ``most`` items, counted by their first bytes alone; strings are skipped."""
    at = items = 0
    while at < len(data) and items <= most:
        kind, argument = data[at] >> 5, data[at] & 31
        at += 1
        if argument >= 24:  # The next 1, 2, 4 or 8 bytes hold it; whatever else is no CBOR, which its reader notices.
            size = 1 << min(argument - 24, 3)
            argument = int.from_bytes(data[at : at + size], "big")
            at += size
        if kind in (_BYTES, _TEXT):
            at += argument
        items += 1
    return items > most


def _refuse_tag(*args: Any) -> Any:
    del args
    raise ValueError("tags are not part of the format")

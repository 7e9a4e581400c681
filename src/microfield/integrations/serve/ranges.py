"""Byte ranges of a response (RFC 9110, section 14)."""

from __future__ import annotations

import re

WHOLE = None
"""All bytes are to be sent: no range is asked for, or one that a server may ignore."""


class UnsatisfiableRangeError(ValueError):
    """A range that begins after the last byte."""


def byte_range(header: str | None, size: int) -> range | None:
    """The bytes that a Range header asks for; None for all of them.

    Headers that are malformed, or ask for several ranges, are ignored, as RFC 9110 allows.

    Parameters
    ----------
    header : str, optional
        Such as ``bytes=0-99``, ``bytes=100-`` or, for the last 100 bytes, ``bytes=-100``.
    size : int
        Bytes of the whole, more than 0.

    Raises
    ------
    UnsatisfiableRangeError
        The range begins after the last byte, or has none.
    """
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (header or "").strip(), re.ASCII)
    if found is None or not (found[1] or found[2]):
        return WHOLE
    if not found[1]:
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size), size - 1)
        if found[2] and int(found[2]) < first:
            return WHOLE
    if first > last:
        raise UnsatisfiableRangeError(f"the range {header} is not in {size} bytes.")
    return range(first, last + 1)

"""What PNG and JPEG files say beside the pixels: how large a pixel is, and what an Image has no place for."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from microfield.io.meaning import PLAUSIBLE_PIXEL

PNG_BLOCKS = {b"tEXt": "texts", b"zTXt": "texts", b"iTXt": "texts", b"eXIf": "EXIF data", b"iCCP": "a colour profile"}
"""Kinds of PNG chunks that are not kept, in words."""

JPEG_MARKS = ((0xE1, b"Exif\0", "EXIF data"), (0xE1, b"http://ns.adobe.com/xap", "XMP data"),
              (0xE2, b"ICC_PROFILE", "a colour profile"), (0xFE, b"", "texts"))  # fmt: skip
"""Markers of JPEG segments that are not kept, how these begin, and in words."""

METRE = 1
"""PNG's code for pixels per metre."""


def not_kept(content: bytes, kind: str) -> tuple[str, ...]:
    """What a picture holds that an Image has no place for, in words.

    Parameters
    ----------
    content : bytes
        The file.
    kind : str
        ``"png"``, ``"jpeg"`` or another format, of which nothing is known.
    """
    found: list[str] = []
    if kind == "png":
        found = [PNG_BLOCKS[name] for name, _ in _png_chunks(content) if name in PNG_BLOCKS]
    elif kind == "jpeg":
        segments = list(_jpeg_segments(content))
        found = [words for mark, begin, words in JPEG_MARKS if any(m == mark and data.startswith(begin) for m, data in segments)]
    return tuple(dict.fromkeys(found))


def pixel_size(content: bytes, kind: str) -> dict[str, float]:
    """Micrometers along Y and X of a PNG that gives them, where a microscope could have such pixels; else nothing."""
    for name, data in _png_chunks(content) if kind == "png" else ():
        if name == b"pHYs" and len(data) == 9:
            x, y, unit = struct.unpack(">IIB", data)
            steps = {"Y": 1e6 / y, "X": 1e6 / x} if x and y and unit == METRE else {}
            return steps if all(PLAUSIBLE_PIXEL[0] <= s <= PLAUSIBLE_PIXEL[1] for s in steps.values()) else {}
    return {}


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of every chunk of a PNG."""
    at = 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        at += 12 + length


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and data of every segment of a JPEG up to the pixels."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if length < 2:
            return
        yield content[at + 1], content[at + 4 : at + 2 + length]
        at += 2 + length

"""Pictures of 8 bits as PNG (ISO/IEC 15948), by zlib alone."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2
"""Colour types of the format."""


def png(values: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of grey values of shape ``(Y, X)`` or colours of shape ``(Y, X, 3)``."""
    height, width = values.shape[:2]
    rows = np.zeros((height, 1 + values[0].size), np.uint8)  # Every row begins with the number of its filter: 0, none.
    rows[:, 1:] = values.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, RGB if values.ndim == 3 else GREY, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

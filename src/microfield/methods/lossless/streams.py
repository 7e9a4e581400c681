"""Numbers to a compressed stream and back, by the compressors of the standard library: deflate, bzip2 and LZMA2.

Streams hold no headers of their own. What they unpack to is never more than what the part has, whatever a damaged one says.
"""

from __future__ import annotations

import bz2
import lzma
import math
import zlib
from typing import Any

import numpy as np

from microfield.errors import FormatError
from microfield.methods.lossless.values import Unsigned

DEFLATE, BZIP2, LZMA2 = range(3)
"""Codes of the compressors."""

LEAST_WINDOW, LARGEST_WINDOW = 1 << 12, 1 << 23
"""Bytes that LZMA2 looks back, at least and at most; the power of two that holds the part where that lies between."""

EFFORTS = (1, 1, 2, 4, 5, 6, 6, 7, 8, 9)
"""Preset of LZMA2 by effort."""

PIECE = 1 << 22
"""Bytes that a compressor is fed at once, so that it can be interrupted."""


def pack(numbers: Unsigned, codec: int, interleaved: bool, effort: int) -> bytes:
    """Numbers of any shape as a stream.

    Parameters
    ----------
    codec : `DEFLATE`, `BZIP2` or `LZMA2`
    interleaved : bool
        Bytes of a number follow each other, the lowest first; else all highest bytes come first, then the next, ...
    effort : int, 0 to 9
    """
    size = numbers.dtype.itemsize
    if interleaved:
        raw = numbers.astype(f"<u{size}", copy=False).tobytes()
    else:
        raw = np.ascontiguousarray(numbers.astype(f">u{size}", copy=False).reshape(-1, 1).view(np.uint8).T).tobytes()
    if codec == DEFLATE:
        compressor: Any = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    elif codec == BZIP2:
        compressor = bz2.BZ2Compressor(9)
    else:
        # Bytes of a number have tables of their own where they alternate.
        position = int(math.log2(size)) if interleaved else 0
        literal = 0 if not interleaved else 3 if size == 1 else 4 - position
        compressor = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[{
            "id": lzma.FILTER_LZMA2, "preset": EFFORTS[effort], "dict_size": window(len(raw)),
            "lc": literal, "lp": position, "pb": position,
        }])
    return b"".join([compressor.compress(raw), compressor.flush()])


def unpack(data: bytes, codec: int, interleaved: bool, shape: tuple[int, ...], itemsize: int) -> Unsigned:
    """Numbers of a shape and so many bytes each.

    Raises
    ------
    FormatError
        The stream is damaged, or holds other than just these numbers.
    """
    nbytes = math.prod(shape) * itemsize
    try:
        if codec == DEFLATE:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            # One byte more than fits shows that there are too many.
            raw = inflate.decompress(data, nbytes + 1)
            ended, rest = inflate.eof, inflate.unused_data
        else:
            expand: Any = bz2.BZ2Decompressor() if codec == BZIP2 else lzma.LZMADecompressor(
                lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": window(nbytes)}])
            raw = expand.decompress(data, nbytes + 1)
            # The end of a stream may lie behind its last byte.
            if not expand.eof and len(raw) == nbytes:
                raw += expand.decompress(b"", 1)
            ended, rest = expand.eof, expand.unused_data
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as damage:
        raise FormatError(f"a stream of lossless cannot be unpacked ({type(damage).__name__}).") from damage
    if len(raw) != nbytes or not ended or rest:
        raise FormatError("a stream of lossless holds other than the values of its part.")
    if interleaved:
        return np.frombuffer(raw, f"<u{itemsize}").astype(f"=u{itemsize}").reshape(shape)
    columns = np.frombuffer(raw, np.uint8).reshape(itemsize, -1).T
    return np.ascontiguousarray(columns).view(f">u{itemsize}").astype(f"=u{itemsize}").reshape(shape)


def window(nbytes: int) -> int:
    """Bytes that LZMA2 looks back in a part of ``nbytes``."""
    return min(LARGEST_WINDOW, max(LEAST_WINDOW, 1 << max(0, nbytes - 1).bit_length()))

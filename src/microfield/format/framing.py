"""How sections become the bytes of a part, and what stands around them: magic, flags, lengths, checksums.

Shared by what writes files (`assembler`) and what opens them (`container`); `docs/format.md` specifies every byte.
"""

from __future__ import annotations

import zlib

from microfield.coding import varint
from microfield.errors import FormatError

Sections = tuple[bytes, ...]
"""What a method stores for one part, or for all parts together; how many and what they hold is the method's own business."""

MAGIC = b"\x8dMF"
FORMAT_VERSION = 0
CRC_BYTES = 4
HEADER_LIMIT = 16 << 20
"""A header takes at most this many bytes."""

INDEX_LIMIT = SHARED_LIMIT = 1 << 28
"""An index, and what parts share, take at most so many bytes each (256 MiB): a server may claim any size of a file."""

EMBEDDED, INDEXED, SEALED = 1, 2, 4
"""Flags: layout and names are left to the host; there is an index of parts; an embedded stream has a checksum for its front
and for every part (those without this flag, which are no longer written, have one at their very end)."""


def part_size(sections: Sections) -> int:
    """Stored bytes of a part: the lengths of all sections but the last, the sections, and the CRC.

    In a file of several parts, a part of which all sections are empty takes nothing; `assembler.file_size` knows that.
    """
    return len(_lengths(sections)) + sum(len(s) for s in sections) + CRC_BYTES


def overhead(count: int, limit: int) -> int:
    """Most bytes that the lengths and the CRC of a part of ``count`` sections take, where the part takes at most ``limit``."""
    return CRC_BYTES + (count - 1) * len(varint.encode_one(max(0, limit)))


def frame(sections: Sections) -> bytes:
    """A part without its CRC: the lengths of all sections but the last as varints, then the sections."""
    return b"".join([_lengths(sections), *sections])


def unframe(data: bytes, count: int) -> Sections:
    """The ``count`` sections of a part; the inverse of `frame`. Raises FormatError where the lengths are not those of the data."""
    if count - 1 > len(data):
        raise FormatError("A part of the file is shorter than its list of sections: the file is damaged.")
    lengths, at = varint.decode(data, count - 1)
    sections: list[bytes] = []
    for length in lengths.tolist():
        sections.append(data[at : at + length])
        at += length
    if at > len(data):
        raise FormatError("A part of the file is shorter than its sections: the file is damaged.")
    return (*sections, data[at:])


def frame_shared(shared: Sections) -> bytes:
    """The block that all parts share, without its CRC: the number of sections and these as in a part; empty for no sections."""
    return varint.encode_one(len(shared)) + frame(shared) if shared else b""


def unframe_shared(block: bytes) -> Sections:
    """The inverse of `frame_shared`. Raises FormatError for damaged blocks."""
    count, at = varint.decode_one(block)
    if count == 0:
        raise FormatError("The file shares no sections among its parts but says so: it is damaged.")
    return unframe(block[at:], count)


def sealed(data: bytes) -> bytes:
    """The data with its CRC behind it."""
    return data + zlib.crc32(data).to_bytes(CRC_BYTES, "little")


def unsealed(data: bytes, what: str) -> bytes:
    """The data without the CRC at its end. Raises FormatError, which names ``what``, where the CRC does not match."""
    body = data[:-CRC_BYTES]
    if len(data) < CRC_BYTES or sealed(body) != data:
        raise FormatError(f"The checksum of {what} does not match: the file is damaged or truncated.")
    return body


def _lengths(sections: Sections) -> bytes:
    return b"".join(varint.encode_one(len(s)) for s in sections[:-1])

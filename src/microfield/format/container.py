"""The microfield file: magic, header, index, a block that all parts share, and the parts, each with a checksum.

::

    magic 8D 4D 46 | version << 4 | flags | varint: header bytes [| varint: index bytes] | header | index | CRC
    [shared block | CRC]  part 0 | CRC  part 1 | CRC ...

The *embedded* profile (flag 1) leaves out what its host knows, and has one CRC at its very end only. Files of several
parts (flag 2) have an index. `docs/format.md` specifies every byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding import varint
from microfield.errors import FormatError
from microfield.format.header import Checksum, Header, checksum, describe, pack, unpack

if TYPE_CHECKING:
    from microfield.format.source import Source
    from microfield.image import Layout
    from microfield.methods.base import Sections

__all__ = ["FORMAT_VERSION", "MAGIC", "Checksum", "Container", "Header", "checksum", "describe", "file_size",
           "part_size", "write"]

MAGIC = b"\x8dMF"
FORMAT_VERSION = 0
CRC_BYTES = 4
FIRST_READ = 16 << 10
"""Bytes fetched at once on opening: the header and index of most files."""

HEADER_LIMIT = 16 << 20
_EMBEDDED, _INDEXED = 1, 2
_PREFIX = len(MAGIC) + 1 + 2 * 8
"""Most bytes before the header."""

_Int64s = npt.NDArray[np.int64]


def write(header: Header, parts: Sequence[Sections], shared: Sections = (), embedded: bool = False) -> bytes:
    """A whole file.

    Parameters
    ----------
    header : Header
        Describes the array; ``header.sections`` is the number of sections of every part.
    parts : sequence of tuples of bytes
        The sections of every part, in C order of the grid.
    shared : tuple of bytes
        Sections that all parts use.
    embedded : bool
        Leave out what the host knows: layout, voxel sizes, names, checksum and vendor metadata.

    Raises
    ------
    ValueError
        If the number of parts or sections is not what the header says.
    """
    if len(parts) != header.n_parts or any(len(p) != header.sections for p in parts):
        raise ValueError(f"the header asks for {header.n_parts} parts of {header.sections} sections each.")
    several = len(parts) > 1
    payloads = [b"" if several and not any(p) else _frame(p) for p in parts]
    block = _frame_shared(shared)
    front = _front(header, [len(p) for p in payloads], len(block), embedded)
    if embedded:
        body = b"".join([front, block, *payloads])
        return body + _crc(body)
    # The CRC of a single part is stored even if the part is empty: it is what shows a truncated file.
    pieces = [front, *([block] if block else []), *(p for p in payloads if p or not several)]
    return b"".join(piece + _crc(piece) for piece in pieces)


def part_size(sections: Sections) -> int:
    """Stored bytes of a part: the lengths of all sections but the last, the sections, and the CRC.

    In a file of several parts, a part of which all sections are empty takes nothing; `file_size` knows that.
    """
    return len(_lengths(sections)) + sum(len(s) for s in sections) + CRC_BYTES


def file_size(header: Header, part_sizes: Sequence[int], shared: Sections = (), embedded: bool = False) -> int:
    """Bytes that `write` would give for parts of these sizes (each from `part_size`)."""
    empty = header.sections - 1 + CRC_BYTES
    stored = [0 if len(part_sizes) > 1 and size == empty else size for size in part_sizes]
    block = _frame_shared(shared)
    size = len(_front(header, [max(0, n - CRC_BYTES) for n in stored], len(block), embedded)) + len(block) + sum(stored)
    if embedded:
        return size - CRC_BYTES * sum(n > 0 for n in stored) + CRC_BYTES
    return size + CRC_BYTES * (2 if block else 1)


class Container:
    """An open file; made by `open`. Safe to use from several threads, and pickles as small as its source and header.

    Attributes
    ----------
    header : Header
        What the file says about itself.
    shared : tuple of bytes
        Sections that all parts use.
    nbytes : int
        Size of the file.
    """

    def __init__(self, source: Source, header: Header, shared: Sections, ranges: _Int64s, crc: bool) -> None:
        self._source = source
        self._ranges = ranges
        self._crc = crc
        self.header = header
        self.shared = shared
        self.nbytes = source.size

    @classmethod
    def open(cls, source: Source, host: Layout | None = None) -> Container:
        """Read and check all but the parts; of the embedded profile, everything.

        Parameters
        ----------
        source : Source
            From `microfield.format.source.open_source`.
        host : Layout, optional
            What the embedded profile leaves out; a file that has a layout of its own must agree.

        Raises
        ------
        FormatError
            If the bytes are not a readable microfield file.
        """
        front = _read_front(source, host)
        header, embedded = front.header, front.embedded
        if embedded:
            whole = source.read(0, source.size)
            _check_crc(whole, "")
        extra = 0 if embedded or not front.shared else CRC_BYTES
        start = front.end + front.shared + extra
        end = source.size - (CRC_BYTES if embedded else 0)
        if start > end:
            raise FormatError("The file ends inside what its parts share: it is truncated.")
        ranges = _ranges(front, start, end, 0 if embedded else CRC_BYTES)
        shared: Sections = ()
        if front.shared:
            block = source.read(front.end, start)
            shared = _unframe_shared(block if embedded else _check_crc(block, "what its parts share"))
        return cls(source, header, shared, ranges, not embedded)

    def part(self, part: int) -> Sections:
        """Sections of one part, its checksum checked.

        Raises
        ------
        FormatError
            If the part is damaged.
        """
        start, stop = self.part_range(part)
        if start == stop:
            return (b"",) * self.header.sections
        data = self._source.read(start, stop)
        return _unframe(_check_crc(data, f"part {part}") if self._crc else data, self.header.sections)

    def part_range(self, part: int) -> tuple[int, int]:
        """Where in the file a part is stored, its checksum included: first byte and the one after the last."""
        if not 0 <= part < len(self._ranges) - 1:
            raise IndexError(f"part {part} does not exist: the file has {len(self._ranges) - 1} parts.")
        return int(self._ranges[part]), int(self._ranges[part + 1])

    def part_layout(self, part: int) -> Layout:
        """Shape, axes and dtype of a part."""
        return self.header.part_layout(part)

    def verify(self) -> None:
        """Read everything and check every checksum.

        Raises
        ------
        FormatError
            At the first that does not match.
        """
        for part in range(self.header.n_parts):
            self.part(part)


class _Front(NamedTuple):
    """What stands before the shared block."""

    header: Header
    embedded: bool
    shared: int
    lengths: _Int64s | None
    """Bytes of every part without CRC, None for a single part, which takes what is left."""
    end: int


def _front(header: Header, lengths: Sequence[int], shared: int, embedded: bool) -> bytes:
    """Everything up to, without, the first CRC."""
    packed = pack(header, shared, embedded)
    if len(packed) > HEADER_LIMIT:
        raise ValueError(f"the header takes {len(packed)} bytes, more than {HEADER_LIMIT}.")
    index = varint.encode_deltas(lengths) if len(lengths) > 1 else b""
    flags = (_EMBEDDED if embedded else 0) | (_INDEXED if index else 0)
    sizes = varint.encode_one(len(packed)) + (varint.encode_one(len(index)) if index else b"")
    return MAGIC + bytes([FORMAT_VERSION << 4 | flags]) + sizes + packed + index


def _read_front(source: Source, host: Layout | None) -> _Front:
    first = source.read(0, min(FIRST_READ, source.size))
    flags = _check_start(first, source)
    embedded, indexed = bool(flags & _EMBEDDED), bool(flags & _INDEXED)
    if embedded and host is None:
        raise FormatError(f"{source.name} is an embedded microfield stream: open the file or store that holds it.")
    n_header, at = varint.decode_one(first[:_PREFIX], len(MAGIC) + 1)
    n_index, at = varint.decode_one(first[:_PREFIX], at) if indexed else (0, at)
    end = at + n_header + n_index + (0 if embedded else CRC_BYTES)
    if n_header > HEADER_LIMIT or end > source.size:
        raise FormatError(f"{source.name} ends inside its header: it is truncated or damaged.")
    front = first[:end] + (source.read(len(first), end) if end > len(first) else b"")
    if not embedded:
        _check_crc(front, "its header")
    header, shared = unpack(front[at : at + n_header], host if embedded else None)
    if host is not None and header.layout != host:
        raise FormatError(f"{source.name} holds an array of shape {header.layout.shape}, not {host.shape}, "
                          "or of other axes or type.")
    if indexed != (header.n_parts > 1):
        raise FormatError(f"{source.name} has an index that does not belong to its parts: it is damaged.")
    lengths = None
    if indexed:
        lengths, stop = varint.decode_deltas(front[: at + n_header + n_index], header.n_parts, at + n_header)
        if stop != at + n_header + n_index:
            raise FormatError(f"{source.name} has an index of the wrong length: it is damaged.")
    return _Front(header, embedded, shared, lengths, end)


def _check_start(first: bytes, source: Source) -> int:
    """Refuse what is not a microfield file of a known version; gives the flags."""
    if not first.startswith(MAGIC):
        if first[:1] == b"\x80" and first[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") \
                and source.read(source.size - 1, source.size) == b".":
            raise FormatError(f"{source.name} looks like a Python pickle, such as the files that INIF's research code "
                              "saves; microfield never opens pickles, because they can run any program.")
        what = "is empty" if not first else "is not a microfield file, or its beginning is damaged"
        raise FormatError(f"{source.name} {what}.")
    if len(first) < len(MAGIC) + 2:
        raise FormatError(f"{source.name} ends inside its first bytes: it is truncated.")
    version, flags = divmod(first[len(MAGIC)], 16)
    if version > FORMAT_VERSION or flags > (_EMBEDDED | _INDEXED):
        raise FormatError(f"{source.name} is of a newer format (version {version}): update microfield to open it.")
    return flags


def _ranges(front: _Front, start: int, end: int, crc: int) -> _Int64s:
    """Offsets of all parts and of the end, shape (n_parts + 1,)."""
    if front.lengths is None:
        if end - start < front.header.sections - 1 + crc:
            raise FormatError("The file ends before its part does: it is truncated.")
        return np.array([start, end], np.int64)
    # The sum is checked in floats first, so that the exact one cannot overflow.
    lengths = front.lengths + crc * (front.lengths > 0)
    total = float(lengths.sum(dtype=np.float64))
    if int(lengths.max()) > end or total > 2.0 * end or start + int(lengths.sum()) != end:
        raise FormatError("The parts of the file do not end where the file does: it is truncated or damaged.")
    return np.concatenate([[start], start + np.cumsum(lengths)]).astype(np.int64)


def _lengths(sections: Sections) -> bytes:
    return b"".join(varint.encode_one(len(s)) for s in sections[:-1])


def _frame(sections: Sections) -> bytes:
    return b"".join([_lengths(sections), *sections])


def _unframe(data: bytes, count: int) -> Sections:
    """Inverse of `_frame`."""
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


def _frame_shared(shared: Sections) -> bytes:
    return varint.encode_one(len(shared)) + _frame(shared) if shared else b""


def _unframe_shared(block: bytes) -> Sections:
    count, at = varint.decode_one(block)
    if count == 0:
        raise FormatError("The file shares no sections among its parts but says so: it is damaged.")
    return _unframe(block[at:], count)


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(CRC_BYTES, "little")


def _check_crc(data: bytes, what: str) -> bytes:
    """The data without the CRC at its end."""
    body, crc = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if _crc(body) != crc:
        raise FormatError(f"The checksum of {what or 'the file'} does not match: the file is damaged or truncated.")
    return body

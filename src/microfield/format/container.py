"""An open microfield file: magic, header, index, a block that all parts share, and the parts, each with a checksum.

::

    magic 8D 4D 46 | version << 4 | flags | varint: header bytes [| varint: index bytes] | header | index | CRC
    [shared block | CRC]  part 0 | CRC  part 1 | CRC ...

The *embedded* profile (flag 1) leaves out what its host knows. Files of several parts (flag 2) have an index.
`docs/format.md` specifies every byte; `assembler` writes what is read here.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding import varint
from microfield.errors import FormatError, MicrofieldError
from microfield.format.framing import (
    CRC_BYTES,
    EMBEDDED,
    FORMAT_VERSION,
    HEADER_LIMIT,
    INDEX_LIMIT,
    INDEXED,
    MAGIC,
    SEALED,
    SHARED_LIMIT,
    Sections,
    unframe,
    unframe_shared,
    unsealed,
)
from microfield.format.header import Header, unpack
from microfield.format.source import open_source
from microfield.wording import spoken

if TYPE_CHECKING:
    from microfield.format.source import Source
    from microfield.image import Layout

FIRST_READ = 16 << 10
"""Bytes fetched at once on opening: the header and index of most files."""

_PREFIX = len(MAGIC) + 1 + 2 * 8
"""Most bytes before the header."""

_Int64s = npt.NDArray[np.int64]


class Container:
    """An open file; made by `open`. Safe to use from several threads, and pickles as small as its source and header.

    Attributes
    ----------
    header : Header
        What the file says about itself.
    shared : tuple of bytes
        Sections that all parts use.
    embedded : bool
        Whether the file leaves out what its host knows.
    version : int
        Of the format.
    """

    def __init__(self, source: Source, front: _Front, shared: Sections, ranges: _Int64s) -> None:
        self._source = source
        self._ranges = ranges
        self._sealed = front.sealed
        self._crc = front.crc
        self.embedded = front.embedded
        self.version = front.version
        self.header = front.header
        self.shared = shared

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return int(self._ranges[-1]) + (0 if self._sealed else CRC_BYTES)

    @cached_property
    def identity(self) -> tuple[int, bytes]:
        """What tells this file from one that took its place: its size, and the checksums of its front and at its end."""
        return self.nbytes, self._crc + self._source.read(self.nbytes - CRC_BYTES, self.nbytes)

    @classmethod
    def open(cls, source: Source, host: Layout | None = None) -> Container:
        """Read and check all but the parts.

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
        if not front.sealed:
            unsealed(source.read(0, source.size), "the file")
        start = front.end + front.shared + (CRC_BYTES if front.sealed and front.shared else 0)
        # The size is needed, and fetched where the source does not know it, only where no index tells it.
        end = source.size - (0 if front.sealed else CRC_BYTES) if front.lengths is None or source.knows_size else None
        if end is not None and start > end:
            raise FormatError("The file ends inside what its parts share: it is truncated.")
        ranges = _ranges(front, start, end)
        shared: Sections = ()
        if front.shared:
            block = source.read(front.end, start)
            shared = unframe_shared(unsealed(block, "what its parts share") if front.sealed else block)
        return cls(source, front, shared, ranges)

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
        return unframe(unsealed(data, f"part {part}") if self._sealed else data, self.header.sections)

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
        _ = self.header.metadata  # Unpacked only now.


def has_index(first: bytes) -> bool:
    """Whether the first bytes of a stream announce an index, that is, several parts that can be fetched one by one."""
    return first.startswith(MAGIC) and len(first) > len(MAGIC) and bool(first[len(MAGIC)] & INDEXED)


class _Front(NamedTuple):
    """What stands before the shared block.

    ``shared`` is the length of the shared block, ``lengths`` holds the bytes of every part without its CRC (None for a single
    part, which takes what is left), ``end`` is where the front ends, its CRC included; ``sealed`` says whether front and parts
    have checksums of their own, ``crc`` is that of the front (empty without) and ``version`` that of the format.
    """

    header: Header
    embedded: bool
    sealed: bool
    shared: int
    lengths: _Int64s | None
    end: int
    crc: bytes
    version: int


def fault(path: str | os.PathLike[str]) -> str:
    """One sentence on what is wrong with a file, by all of its checksums; empty for an intact one."""
    try:
        Container.open(open_source(path)).verify()
    except (MicrofieldError, OSError) as error:
        return str(error)
    return ""


def _read_front(source: Source, host: Layout | None) -> _Front:
    first = source.head(FIRST_READ)
    version, flags = _check_start(first, source)
    embedded, indexed = bool(flags & EMBEDDED), bool(flags & INDEXED)
    has_crc = not embedded or bool(flags & SEALED)
    if embedded and host is None:
        raise FormatError(f"{source.name} is an embedded microfield stream: open the file or store that holds it.")
    n_header, at = varint.decode_one(first[:_PREFIX], len(MAGIC) + 1)
    n_index, at = varint.decode_one(first[:_PREFIX], at) if indexed else (0, at)
    end = at + n_header + n_index + (CRC_BYTES if has_crc else 0)
    if n_header > HEADER_LIMIT or n_index > INDEX_LIMIT or (end > len(first) and source.knows_size and end > source.size):
        raise FormatError(f"{source.name} ends inside its header: it is truncated or damaged.")
    front = first[:end] + (source.read(len(first), end) if end > len(first) else b"")
    if has_crc:
        unsealed(front, "its header")
    header, shared = unpack(front[at : at + n_header], host if embedded else None)
    if shared > SHARED_LIMIT:
        raise FormatError(f"{source.name} claims {shared:,} bytes that its parts share, more than the {SHARED_LIMIT:,} allowed: it "
                          "is damaged.")
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
    return _Front(header, embedded, has_crc, shared, lengths, end, front[end - CRC_BYTES :] if has_crc else b"", version)


def _check_start(first: bytes, source: Source) -> tuple[int, int]:
    """Refuse what is not a microfield file of a known version; gives the version and the flags."""
    if not first.startswith(MAGIC):
        if first[:1] == b"\x80" and first[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") \
                and source.read(source.size - 1, source.size) == b".":
            raise FormatError(f"{source.name} looks like a Python pickle, such as the files that INIF's research code "
                              "saves; microfield never opens pickles, because they can run any program.")
        images = spoken("microfield.open_image opens", "`microfield compress` reads")
        what = "is empty" if not first else f"is not a microfield file, or its beginning is damaged; {images} other images"
        raise FormatError(f"{source.name} {what}.")
    if len(first) < len(MAGIC) + 2:
        raise FormatError(f"{source.name} ends inside its first bytes: it is truncated.")
    version, flags = divmod(first[len(MAGIC)], 16)
    if version > FORMAT_VERSION or flags > (EMBEDDED | INDEXED | SEALED) or (flags & SEALED and not flags & EMBEDDED):
        raise FormatError(f"{source.name} is of a newer format (version {version}): update microfield to open it.")
    return version, flags


def _ranges(front: _Front, start: int, end: int | None) -> _Int64s:
    """Offsets of all parts and of the end, shape (n_parts + 1,); ``end`` is None where the size of the file is not known."""
    crc = CRC_BYTES if front.sealed else 0
    if front.lengths is None:
        assert end is not None
        if end - start < front.header.sections - 1 + crc:
            raise FormatError("The file ends before its part does: it is truncated.")
        return np.array([start, end], np.int64)
    # The sum is checked in floats first, so that the exact one cannot overflow.
    lengths = front.lengths + crc * (front.lengths > 0)
    total = float(lengths.sum(dtype=np.float64))
    if total > 2.0**62:
        raise FormatError("The parts of the file are longer than any file: it is damaged.")
    if end is not None and (int(lengths.max()) > end or total > 2.0 * end or start + int(lengths.sum()) != end):
        raise FormatError("The parts of the file do not end where the file does: it is truncated or damaged.")
    return np.concatenate([[start], start + np.cumsum(lengths)]).astype(np.int64)

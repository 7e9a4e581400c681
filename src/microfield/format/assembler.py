"""Writing a file: parts are spooled one by one, and the front, which says how long each is, is written before them at the end."""

from __future__ import annotations

import io
import shutil
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import IO

from microfield.coding import varint
from microfield.format.framing import (
    CRC_BYTES,
    EMBEDDED,
    FORMAT_VERSION,
    HEADER_LIMIT,
    INDEXED,
    MAGIC,
    SEALED,
    Sections,
    frame,
    frame_shared,
    sealed,
)
from microfield.format.header import Header, pack

SPOOLED = 64 << 20
"""Parts of up to so many bytes together wait in memory, larger ones in a temporary file."""


class Assembler:
    """Takes the parts of a file in order and then writes the file; memory holds the lengths of the parts, not the parts.

    Parameters
    ----------
    header : Header
        Describes the array; ``header.sections`` is the number of sections of every part. Its ``references`` are those the
        parts bring along.
    shared : tuple of bytes
        Sections that all parts use.
    embedded : bool
        Leave out what the host knows: layout, voxel sizes, names, checksum and vendor metadata.
    """

    def __init__(self, header: Header, shared: Sections = (), embedded: bool = False) -> None:
        self.header, self.embedded = header, embedded
        self._shared = frame_shared(shared)
        self._parts = header.n_parts
        self._lengths = array("q")
        self._references: list[int | None] = []
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOLED)  # noqa: SIM115 (closed by `close`)

    def add(self, sections: Sections, reference: int | None = None) -> None:
        """Take the next part.

        Parameters
        ----------
        sections : tuple of bytes
        reference : int, optional
            Number of the earlier part that this one builds on.

        Raises
        ------
        ValueError
            The number of sections or of parts is not what the header says.
        """
        if len(sections) != self.header.sections or len(self._lengths) == self._parts:
            raise self._wrong()
        # The CRC of a single part is stored even if the part is empty: it is what shows a truncated file.
        payload = b"" if self._parts > 1 and not any(sections) else frame(sections)
        self._lengths.append(len(payload))
        if reference is not None and not self._references:
            self._references = [None] * (len(self._lengths) - 1)
        if reference is not None or self._references:
            self._references.append(reference)
        if payload or self._parts == 1:
            self._spool.write(sealed(payload))

    @property
    def size(self) -> int:
        """Bytes of the file with the parts taken so far."""
        front = self._front() if len(self._lengths) == self._parts else b""
        return len(front) + self._spool.tell()

    def write(self, stream: IO[bytes]) -> int:
        """Write the whole file and return its size.

        Raises
        ------
        ValueError
            Parts are missing.
        """
        if len(self._lengths) != self._parts:
            raise self._wrong()
        front = self._front()
        stream.write(front)
        parts = self._spool.tell()
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, stream, 1 << 20)
        self._spool.seek(0, io.SEEK_END)
        return len(front) + parts

    def close(self) -> None:
        """Give up the spooled parts."""
        self._spool.close()

    def __enter__(self) -> Assembler:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _wrong(self) -> ValueError:
        return ValueError(f"the header asks for {self.header.n_parts} parts of {self.header.sections} sections each.")

    def _front(self) -> bytes:
        header = replace(self.header, references=tuple(self._references)) if self._references else self.header
        front = sealed(_front(header, self._lengths, len(self._shared), self.embedded))
        return front + (sealed(self._shared) if self._shared else b"")


def write(header: Header, parts: Iterable[Sections], shared: Sections = (), embedded: bool = False) -> bytes:
    """A whole file in memory; ``header.references`` says which part builds on which (see `Assembler`)."""
    references = header.references or (None,) * header.n_parts
    with Assembler(replace(header, references=None), shared, embedded) as assembler:
        for number, sections in enumerate(parts):
            assembler.add(sections, references[number] if number < len(references) else None)
        stream = io.BytesIO()
        assembler.write(stream)
        return stream.getvalue()


def file_size(header: Header, part_sizes: Sequence[int], shared: Sections = (), embedded: bool = False) -> int:
    """Bytes that `write` would give for parts of these sizes (each from `framing.part_size`)."""
    empty = header.sections - 1 + CRC_BYTES
    stored = [0 if len(part_sizes) > 1 and size == empty else size for size in part_sizes]
    block = frame_shared(shared)
    front = _front(header, [max(0, n - CRC_BYTES) for n in stored], len(block), embedded)
    return len(front) + CRC_BYTES + (len(block) + CRC_BYTES if block else 0) + sum(stored)


def _front(header: Header, lengths: Sequence[int], shared: int, embedded: bool) -> bytes:
    """Everything up to, without, the first CRC."""
    packed = pack(header, shared, embedded)
    if len(packed) > HEADER_LIMIT:
        raise ValueError(f"the header takes {len(packed)} bytes, more than {HEADER_LIMIT}.")
    index = varint.encode_deltas(lengths) if len(lengths) > 1 else b""
    flags = (EMBEDDED | SEALED if embedded else 0) | (INDEXED if index else 0)
    sizes = varint.encode_one(len(packed)) + (varint.encode_one(len(index)) if index else b"")
    return MAGIC + bytes([FORMAT_VERSION << 4 | flags]) + sizes + packed + index

"""What the server keeps: open images, and chunks and pictures that were asked for most recently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from microfield.errors import FormatError, InputError, MicrofieldError
from microfield.format.container import fault
from microfield.integrations.serve.folder import Folder
from microfield.integrations.serve.image import ChunkPlace, ServedImage
from microfield.notebook.png import png
from microfield.reading.file import open_file
from microfield.reading.limits import USUAL, physical_memory
from microfield.reading.recent import Recent

OPEN_IMAGES = 4
"""Images that stay open with the parts of them that are decoded; each may take its share of the memory for that."""

MOST_ENTRIES = 1 << 16
"""Chunks and pictures that are kept, whatever their size."""

CHECKED_BYTES = 1 << 23
"""Files of at most so many bytes are checked when they are opened (8 MiB), which takes no noticeable time."""

Version = tuple[str, int, int, int]
"""A file as it is now: its path, when it was changed (nanoseconds), its size and its number on the disk."""


@dataclass(frozen=True)
class _Open:
    image: ServedImage
    held: int = 0  # What its decoders hold is bounded by the file itself.


@dataclass(frozen=True)
class Body:
    """Bytes that were asked for."""

    data: bytes

    @property
    def held(self) -> int:
        """Bytes of memory."""
        return len(self.data)


class Library:
    """Images of a folder; safe to use from several threads. A file that is replaced is opened anew.

    Parameters
    ----------
    folder : Folder
    cache_bytes : int
        Chunks and pictures that are kept, in bytes.
    """

    def __init__(self, folder: Folder, cache_bytes: int) -> None:
        self.folder = folder
        self._images: Recent[Version, _Open] = Recent(_opened, OPEN_IMAGES, 0)
        self._bodies: Recent[tuple[Version, ChunkPlace | None], Body] = Recent(self._make, MOST_ENTRIES, cache_bytes)

    def image(self, name: str) -> ServedImage:
        """An open image by its name in the folder.

        Raises
        ------
        NotServedError
            There is none of that name.
        MicrofieldError
            It cannot be opened.
        """
        return self._images.get(self._version(name)).image

    def chunk(self, name: str, place: ChunkPlace) -> bytes:
        """The bytes of a chunk."""
        return self._bodies.get((self._version(name), place)).data

    def picture(self, name: str) -> bytes:
        """A small picture of the middle plane as PNG.

        Raises
        ------
        InputError
            That takes more than a second or so to decode.
        """
        return self._bodies.get((self._version(name), None)).data

    def _version(self, name: str) -> Version:
        path = self.folder.path(name)
        there = path.stat()
        return str(path), there.st_mtime_ns, there.st_size, there.st_ino

    def _make(self, key: tuple[Version, ChunkPlace | None]) -> Body:
        version, place = key
        image = self._images.get(version).image
        make: Callable[[], bytes] = partial(_picture, image) if place is None else partial(image.chunk, place)
        body = Body(make())
        self._bodies.make_room(body.held)
        return body


def reason(error: Exception) -> str:
    """Why something cannot be served, without the paths of this machine."""
    if isinstance(error, OSError) and not isinstance(error, MicrofieldError):
        return f"the file cannot be read ({error.strerror or type(error).__name__})."
    return str(error) or "there is not enough memory for this."


def _opened(version: Version) -> _Open:
    """An image, all of whose checksums are right where it is small.

    Raises
    ------
    FormatError
        They are not.
    """
    path = Path(version[0])
    if version[2] <= CHECKED_BYTES and (wrong := fault(path)):
        raise FormatError(wrong)
    return _Open(ServedImage(open_file(path, max_read_bytes=max(USUAL, physical_memory() // OPEN_IMAGES))))


def _picture(image: ServedImage) -> bytes:
    shown = image.file.glance()
    if shown is None:
        raise InputError(f"{image.file.name} is too large for a quick look.")
    return png(shown.picture)

"""Parts: the voxels of an image, decoded from the parts of a container that hold them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError, InputError, MicrofieldError, UsageError
from microfield.format.grid import Box, Grid
from microfield.methods import get_method
from microfield.methods.base import Cost, Decoder, PartData
from microfield.reading.recent import Recent
from microfield.wording import argument

if TYPE_CHECKING:
    from microfield.format.container import Container

POINTS = 1 << 18
"""Most points given to a decoder at once."""

SMALL_PART = 1 << 20
"""Parts of at most so many bytes in the file are fetched whatever the limit (1 MiB)."""

MASK_VOXELS = 1 << 22
"""Voxels of a mask that are turned into indices at once (8 bytes each)."""


def _nothing(name: str) -> bytes | None:
    del name
    return None


class Parts:
    """Decodes boxes, points and masks of the image in a container; safe to call from several threads.

    Parameters
    ----------
    container : Container
        The open file.
    cache_parts : int
        How many decoders are kept, the most recently used ones; 0 opens a part anew for every read.
    name : str
        What messages call the file.
    working : int
        Bytes that decoding a part may take, decoded parts that are kept included.
    trusted : bool
        See `PartData.trusted`.
    beside : callable (name) -> bytes or None
        Content of a file beside this one, None where there is none.
    """

    def __init__(self, container: Container, cache_parts: int, name: str, working: int, trusted: bool = False,
                 beside: Callable[[str], bytes | None] = _nothing) -> None:
        header = container.header
        self._container = container
        self._name = name
        self._working, self._trusted, self._beside = working, trusted, beside
        try:
            self._method = get_method(header.method)
        except UsageError:
            raise FormatError(f"{name} was written with method {header.method!r}, which this microfield does not know; "
                              "a newer version may, or the package that added it.") from None
        self.layout = header.layout
        self.grid = Grid(header.layout.shape, header.tile or header.layout.shape)
        self._decoders = Recent(self._open, cache_parts, working)

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Values of the outer product of ``box`` in a new array of its extents."""
        with self._enough_memory():
            out = np.empty([len(r) for r in box], self.layout.dtype)
            for part, local, where in self.grid.touching(box):
                decoder = self._decoders.get(part)
                with self._blame(part):
                    out[where] = self._checked(decoder.read(local), tuple(len(r) for r in local), part)
            return out

    def at(self, points: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Values at ``points`` of shape (n, ndim), all inside the image, in a new array of shape (n,)."""
        out = np.empty(len(points), self.layout.dtype)
        part_of, local = self.grid.locate(points)
        # All points of a part together, so that a part is opened once however the points are ordered.
        order = np.argsort(part_of, kind="stable")
        parts, starts, counts = np.unique(part_of[order], return_index=True, return_counts=True)
        for part, start, count in zip(parts, starts, counts, strict=True):
            for chunk in _chunks(order[start:start + count]):
                out[chunk] = self._values(int(part), local[chunk])
        return out

    def averaged(self, part: int, steps: tuple[int, ...]) -> npt.NDArray[np.float64] | None:
        """About the means of blocks of ``steps`` voxels of a part, where its decoder has a quick way to them; else None."""
        with self._enough_memory(), self._blame(part):
            return self._decoders.get(part).averaged(steps)

    def where(self, mask: npt.NDArray[np.bool_]) -> Iterator[tuple[tuple[npt.NDArray[np.int64], ...],
                                                                   npt.NDArray[Any]]]:
        """Values where ``mask`` (of the image's shape) is true, part by part.

        Yields
        ------
        index : tuple of int64 arrays of shape (k,)
            Image coordinates, one array per axis; k is at most `POINTS`.
        values : array of shape (k,)
            The voxels there.
        """
        for part in range(self.grid.n):
            box = self.grid.box(part)
            origin = np.array([s.start for s in box], dtype=np.int64)
            inside = mask[box]
            flat = inside.reshape(-1)
            for start in range(0, flat.size, MASK_VOXELS):
                for chunk in _chunks(np.flatnonzero(flat[start:start + MASK_VOXELS]) + start):
                    local = np.stack(np.unravel_index(chunk, inside.shape), axis=1).astype(np.int64, copy=False)
                    yield tuple((local + origin).T), self._values(part, local)

    def cost(self, box: Box) -> Cost:
        """What `read` of the same box must touch, added over the parts."""
        return sum((self._decoders.get(part).cost(local) for part, local, _ in self.grid.touching(box)), Cost(0, 0))

    def cost_where(self, mask: npt.NDArray[np.bool_]) -> Cost:
        """Upper bound of what `where` must touch: in every part the box around the voxels asked for."""
        cost = Cost(0, 0)
        for part in range(self.grid.n):
            inside = mask[self.grid.box(part)]
            if inside.any():
                cost += self._decoders.get(part).cost(_bounds(inside))
        return cost

    def clear(self) -> None:
        """Forget all decoders."""
        self._decoders.clear()

    def _open(self, part: int) -> Decoder:
        """The decoder of a part, and first that of the part it builds on; how long such chains get is checked with the header."""
        header, layout = self._container.header, self._container.part_layout(part)
        reference = None if header.references is None else header.references[part]
        if reference is not None and self._method.longest_chain == 0:
            raise FormatError(f"part {part} of {self._name} builds on another part, which method {header.method!r} never does; "
                              "the file is damaged, or a newer microfield may open it.")
        start, stop = self._container.part_range(part)
        if stop - start > SMALL_PART:
            self._check(stop - start, f"part {part} of {self._name} takes {stop - start:,} bytes of the file")
        parent = None if reference is None else self._decoders.get(reference)
        data = PartData(self._container.part(part), self._container.shared, parent, self._working, self._trusted, self._companions)
        if len(data.own) != self._method.sections:
            raise FormatError(f"part {part} of {self._name} has {len(data.own)} sections where method {header.method!r} has "
                              f"{self._method.sections}: the file is damaged, or a newer microfield may open it.")
        with self._blame(part):
            decoder = self._method.decoder(layout, header.bitstream_version, data)
        cost = decoder.cost((range(1),) * len(layout.shape))
        needed = max(cost.memory, cost.voxels * layout.dtype.itemsize)
        self._check(needed, f"method {header.method} decodes part {part} of {self._name} whole, for which it needs {needed:,} "
                            "bytes of memory")
        self._decoders.make_room(needed)
        return decoder

    @cached_property
    def _companions(self) -> tuple[bytes, ...]:
        """The files without which this one cannot be decoded.

        Raises
        ------
        InputError
            One is not there.
        """
        found = []
        for name in self.companions:
            data = self._beside(name)
            if data is None:
                raise InputError(f"{self._name} was made from the network in {name}, which does not lie beside it; put it into the "
                                 f"same folder, or say where it is with {argument('ancestor', 'FILE')}.")
            found.append(data)
        return tuple(found)

    @property
    def companions(self) -> tuple[str, ...]:
        """Names of the files without which this one cannot be decoded."""
        return self._method.companions(self._container.shared)

    def _check(self, needed: int, what: str) -> None:
        if needed > self._working:
            raise InputError(f"{what}, more than the {self._working:,} allowed; open the file with max_read_bytes={needed}.")

    def _values(self, part: int, points: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        with self._enough_memory(), self._blame(part):
            return self._checked(self._decoders.get(part).at(points), (len(points),), part)

    def _checked(self, values: npt.NDArray[Any], shape: tuple[int, ...], part: int) -> npt.NDArray[Any]:
        if values.shape != shape or values.dtype != self.layout.dtype:
            raise FormatError(f"part {part} of {self._name} decodes to {values.dtype} values of shape {values.shape} "
                              f"where {self.layout.dtype} values of shape {shape} belong.")
        return values

    @contextmanager
    def _enough_memory(self) -> Iterator[None]:
        """Turn a MemoryError, of an honest file on a small machine or of a file that claims too much, into a sentence."""
        try:
            yield
        except MemoryError:
            raise InputError(f"there is not enough memory for this read of {self._name}; select less, or open it on a larger "
                             "machine.") from None

    @contextmanager
    def _blame(self, part: int) -> Iterator[None]:
        """Turn what a decoder stumbles over in hostile bytes into a FormatError that names the part."""
        try:
            yield
        except MicrofieldError:
            raise
        except (ValueError, LookupError, ArithmeticError, EOFError, struct.error, zlib.error) as error:
            raise FormatError(f"part {part} of {self._name} cannot be decoded ({type(error).__name__}: {error}); "
                              "the file is damaged or was not written by microfield.") from error


def _chunks(indices: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(indices), POINTS):
        yield indices[start:start + POINTS]


def _bounds(mask: npt.NDArray[np.bool_]) -> Box:
    """The smallest box that holds every true voxel of a mask that has some."""
    box: list[range] = []
    for axis in range(mask.ndim):
        others = tuple(i for i in range(mask.ndim) if i != axis)
        used = np.flatnonzero(mask.any(axis=others))
        box.append(range(int(used[0]), int(used[-1]) + 1))
    return tuple(box)

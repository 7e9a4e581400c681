"""A band of coefficients split into its eight parity phases, with mirrored borders, so that a neighbour is a shifted slice.

Phase (z, y, x) holds every other coefficient along each axis. Phases are coded one after the other; all coefficients of a
phase are coded at once, from neighbours in the phases before it. Bands have four axes: a batch axis, which has no
neighbours, and z, y, x (z may be time).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Shape = tuple[int, ...]
Offset = tuple[int, int, int]

PHASE_ORDER: tuple[Offset, ...] = ((0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0))
"""Parities (z, y, x) of the phases, in the order of coding: among the first four no two coefficients share a face."""

CONTEXT_CAP = 20
"""Magnitudes are cut at this before they serve as context: eight of them still fit into a byte."""


def _mirrored(*offset: int) -> tuple[Offset, ...]:
    """The offsets (z, y, x) that differ from this one in the signs of their entries only."""
    found: list[tuple[int, ...]] = [()]
    for value in offset:
        found = [(*start, v) for start in found for v in ({value, -value} if value else {0})]
    return tuple(sorted(found))  # type: ignore[arg-type]


NEIGHBOUR_GROUPS: tuple[tuple[Offset, ...], ...] = (
    _mirrored(0, 0, 1),
    _mirrored(0, 1, 0),
    _mirrored(1, 0, 0),
    _mirrored(0, 1, 1),
    _mirrored(1, 0, 1) + _mirrored(1, 1, 0),
    _mirrored(1, 1, 1),
    _mirrored(0, 1, 2) + _mirrored(0, 2, 1),
)
"""Offsets of the neighbours (z, y, x) whose magnitudes are averaged into one feature each, in bitstream versions 1 to 4."""
ORIENTED_GROUPS: tuple[tuple[Offset, ...], ...] = (
    *NEIGHBOUR_GROUPS[:3],
    ((0, -1, -1), (0, 1, 1)),
    ((0, -1, 1), (0, 1, -1)),
    _mirrored(1, 0, 1),
    _mirrored(1, 1, 0),
    _mirrored(1, 1, 1),
    _mirrored(0, 1, 2),
    _mirrored(0, 2, 1),
)
"""The same from version 5 on: diagonals are apart, and so are y and x."""


def turned(offset: Offset) -> Offset:
    """An offset (z, y, x) with y and x exchanged."""
    z, y, x = offset
    return z, x, y


TURNED_GROUPS = tuple(tuple(turned(offset) for offset in group) for group in ORIENTED_GROUPS)
"""`ORIENTED_GROUPS` of bands that are seen with y and x exchanged."""


class Phases:
    """Magnitudes of one band, as far as they are coded, phase by phase.

    Parameters
    ----------
    shape : tuple of int
        Shape (batch, z, y, x) of the band.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        half = tuple(-(-n // 2) for n in shape[1:])
        # One coefficient more at either end of each axis, for the mirrored borders.
        self._planes = np.zeros((len(PHASE_ORDER), shape[0], *(n + 2 for n in half)), np.uint8)

    def order(self) -> Iterator[int]:
        """Indices into `PHASE_ORDER` of the phases that hold anything."""
        return iter(_present(self.shape))

    def extents(self, phase: int) -> Shape:
        """Shape (batch, z, y, x) of a phase."""
        return _extents(self.shape, phase)

    def size(self, phase: int) -> int:
        """Number of coefficients in a phase."""
        return math.prod(_extents(self.shape, phase))

    def put(self, phase: int, magnitudes: Bytes) -> None:
        """Store the magnitudes of a phase (uint8 of its extents, at most `CONTEXT_CAP`) and mirror its borders."""
        plane = self._planes[phase]
        plane[(slice(None), *(slice(1, n + 1) for n in magnitudes.shape[1:]))] = magnitudes
        for axis in range(3):
            _mirror(plane.swapaxes(0, axis + 1), self.shape[axis + 1], PHASE_ORDER[phase][axis])

    def fill(self, magnitudes: Bytes) -> None:
        """Store the magnitudes of the whole band."""
        for phase in self.order():
            self.put(phase, magnitudes[phase_slices(phase)])

    def sums(self, phase: int, rows: slice, groups: tuple[tuple[Offset, ...], ...] = NEIGHBOUR_GROUPS,
             ) -> Iterator[tuple[Bytes, int]]:
        """Sums of magnitudes over the coded neighbours of a slab of a phase, one for every group of offsets.

        Parameters
        ----------
        phase : int
            Index into `PHASE_ORDER`; neighbours in earlier phases count.
        rows : slice
            The rows of the slab along the phase's y axis.
        groups : tuple of tuples of offsets

        Yields
        ------
        total : uint8 array (batch, z, rows, x)
            The sum; empty where no neighbour of the group is coded.
        count : int
            How many neighbours were added, at most 8.
        """
        for views in self.neighbours(phase, rows, groups):
            total: Bytes = np.zeros((0,), np.uint8)
            for k, view in enumerate(views):
                total = np.add(total, view, out=total) if k else view.copy()
            yield total, len(views)

    def neighbours(self, phase: int, rows: slice, groups: tuple[tuple[Offset, ...], ...]) -> Iterator[list[Bytes]]:
        """What `sums` adds up: for every group views, uint8 (batch, z, rows, x), of the magnitudes of its coded neighbours."""
        extents = self.extents(phase)
        present = _present(self.shape)
        for members in _members(phase, groups):
            yield [self._planes[source][
                    :, 1 + shift[0] : 1 + shift[0] + extents[1],
                    1 + shift[1] + rows.start : 1 + shift[1] + rows.stop,
                    1 + shift[2] : 1 + shift[2] + extents[3],
                   ] for source, shift in members if source in present]


@lru_cache(1 << 12)
def _extents(shape: Shape, phase: int) -> Shape:
    """Shape (batch, z, y, x) of a phase of a band."""
    return (shape[0], *(len(range(p, n, 2)) for p, n in zip(PHASE_ORDER[phase], shape[1:], strict=True)))


@lru_cache(1 << 10)
def _present(shape: Shape) -> tuple[int, ...]:
    """The phases of a band that hold anything."""
    return tuple(k for k in range(len(PHASE_ORDER)) if all(_extents(shape, k)))


@lru_cache
def phase_slices(phase: int) -> tuple[slice, ...]:
    """Where the coefficients of a phase lie in their band (batch, z, y, x)."""
    return (slice(None), *(slice(p, None, 2) for p in PHASE_ORDER[phase]))


@lru_cache
def _members(phase: int, neighbours: tuple[tuple[Offset, ...], ...]) -> tuple[tuple[tuple[int, Offset], ...], ...]:
    """For each group of neighbours, the (phase, shift within it) of the members that are coded before a phase."""
    groups: list[tuple[tuple[int, Offset], ...]] = []
    for offsets in neighbours:
        members: list[tuple[int, Offset]] = []
        for offset in offsets:
            reached = [p + d for p, d in zip(PHASE_ORDER[phase], offset, strict=True)]
            source = PHASE_ORDER.index((reached[0] % 2, reached[1] % 2, reached[2] % 2))
            if source < phase:
                members.append((source, (reached[0] // 2, reached[1] // 2, reached[2] // 2)))
        groups.append(tuple(members))
    return tuple(groups)


def _mirror(plane: Bytes, n: int, parity: int) -> None:
    """Fill in what lies past both ends of the first axis: the mirror image about the first or last coefficient of the band.

    Parameters
    ----------
    plane : uint8 array
        One phase with a border of one coefficient, its first axis the one to mirror along.
    n : int
        Extent of the band along this axis.
    parity : int
        Which coefficients of the axis belong to the phase. Where the mirror image belongs to none, the border is 0.
    """
    count = len(range(parity, n, 2))
    if not count:
        return
    first = 0 if parity else 1
    plane[0] = plane[1 + first] if first < count else 0
    for index in range(count, plane.shape[0] - 1):
        image = n - 1 - index - parity
        plane[1 + index] = plane[1 + image] if 0 <= image < count else 0

"""A band of coefficients split into its eight parity phases, with mirrored borders, so that a neighbour is a shifted slice.

Phase (z, y, x) holds every other coefficient along each axis. Phases are coded one after the other; all coefficients of a
phase are coded at once, from neighbours in the phases before it. Bands have four axes: a batch axis, which has no
neighbours, and z, y, x (z may be time).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Shape = tuple[int, ...]
Offset = tuple[int, int, int]

ORDER: tuple[Offset, ...] = ((0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0))
"""Parities (z, y, x) in the order of coding: no two phases next to each other in the first half share a face."""

LARGEST = 20
"""Magnitudes are cut at this before they serve as context: eight of them still fit into a byte."""


def _signs(*offset: int) -> tuple[Offset, ...]:
    """Every choice of signs of an offset's non-zero entries."""
    found: list[tuple[int, ...]] = [()]
    for value in offset:
        found = [(*start, v) for start in found for v in ({value, -value} if value else {0})]
    return tuple(sorted(found))  # type: ignore[arg-type]


GROUPS: tuple[tuple[Offset, ...], ...] = (
    _signs(0, 0, 1),
    _signs(0, 1, 0),
    _signs(1, 0, 0),
    _signs(0, 1, 1),
    _signs(1, 0, 1) + _signs(1, 1, 0),
    _signs(1, 1, 1),
    _signs(0, 1, 2) + _signs(0, 2, 1),
)
"""Neighbours whose magnitudes are averaged into one feature each."""


class Phases:
    """Magnitudes of one band, by phase.

    Parameters
    ----------
    shape : tuple of int
        Shape (batch, z, y, x) of the band.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        half = tuple(-(-n // 2) for n in shape[1:])
        self._planes = np.zeros((8, shape[0], *(n + 2 for n in half)), np.uint8)

    def order(self) -> Iterator[int]:
        """Indices into `ORDER` of the phases that hold anything."""
        return (k for k in range(8) if self.size(k))

    def extents(self, phase: int) -> Shape:
        """Shape (batch, z, y, x) of a phase."""
        return (self.shape[0], *(len(range(p, n, 2)) for p, n in zip(ORDER[phase], self.shape[1:], strict=True)))

    def size(self, phase: int) -> int:
        """Number of coefficients in a phase."""
        return int(np.prod(self.extents(phase)))

    def put(self, phase: int, magnitudes: Bytes) -> None:
        """Store a phase (values up to `LARGEST`) and mirror its borders."""
        plane = self._planes[phase]
        plane[(slice(None), *(slice(1, n + 1) for n in magnitudes.shape[1:]))] = magnitudes
        for axis in range(3):
            _mirror(np.moveaxis(plane, axis + 1, 0), self.shape[axis + 1], ORDER[phase][axis])

    def fill(self, magnitudes: Bytes) -> None:
        """Store a whole band."""
        for phase in self.order():
            self.put(phase, magnitudes[steps(phase)])

    def sums(self, phase: int, rows: slice) -> Iterator[tuple[Bytes, int]]:
        """For every group with members: sum over the members that come before ``phase``, and how many those are (an empty
        array and 0 where there are none).

        Parameters
        ----------
        rows : slice
            Which rows of the phase along its y axis.
        """
        extents = self.extents(phase)
        present = tuple(self.order())
        for members in _members(phase):
            usable = [(source, shift) for source, shift in members if source in present]
            total: Bytes | None = None
            for source, shift in usable:
                view = self._planes[source][
                    :, 1 + shift[0] : 1 + shift[0] + extents[1],
                    1 + shift[1] + rows.start : 1 + shift[1] + rows.stop,
                    1 + shift[2] : 1 + shift[2] + extents[3],
                ]
                total = view.copy() if total is None else np.add(total, view, out=total)
            yield (np.zeros((0,), np.uint8) if total is None else total), len(usable)


def steps(phase: int) -> tuple[slice, ...]:
    """Where a phase lies in its band."""
    return (slice(None), *(slice(p, None, 2) for p in ORDER[phase]))


@lru_cache
def _members(phase: int) -> tuple[tuple[tuple[int, Offset], ...], ...]:
    """Per group the (source phase, shift in it) of the members that come before a phase."""
    groups: list[tuple[tuple[int, Offset], ...]] = []
    for offsets in GROUPS:
        members: list[tuple[int, Offset]] = []
        for offset in offsets:
            reached = [p + d for p, d in zip(ORDER[phase], offset, strict=True)]
            source = ORDER.index((reached[0] % 2, reached[1] % 2, reached[2] % 2))
            if source < phase:
                members.append((source, (reached[0] // 2, reached[1] // 2, reached[2] // 2)))
        groups.append(tuple(members))
    return tuple(groups)


def _mirror(plane: Bytes, n: int, parity: int) -> None:
    """Fill what lies past both ends of the first axis with the mirror image about the last coefficient; 0 where there is none."""
    count = len(range(parity, n, 2))
    if not count:
        return
    first = 0 if parity else 1
    plane[0] = plane[1 + first] if first < count else 0
    for index in range(count, plane.shape[0] - 1):
        image = n - 1 - index - parity
        plane[1 + index] = plane[1 + image] if 0 <= image < count else 0

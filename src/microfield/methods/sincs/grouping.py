"""Groups: how a part is cut into pieces that each get a network, and which pieces a box or points touch.

Along every axis a part is cut into a number of pieces, either into runs (blocks of neighbours) or in turn: piece i then takes the
indices i, i + n, i + 2 n, ..., which is how the public code of SINCS groups slices. Groups are the combinations of pieces, numbered
in C order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.format.grid import Box
from microfield.image import Layout

MOST_GROUPS = 4096
"""Groups of a part at most: their lengths and ancestors are read before any of them is decoded."""


@dataclass(frozen=True)
class Groups:
    """The groups of a part.

    Parameters
    ----------
    shape : tuple of int
        Extents of the part.
    counts : tuple of int
        Pieces along every axis, 1 to the axis' extent.
    in_turn : tuple of bool
        For every axis: whether its pieces take indices in turn instead of runs of them.
    """

    shape: tuple[int, ...]
    counts: tuple[int, ...]
    in_turn: tuple[bool, ...]

    @property
    def n(self) -> int:
        """Number of groups."""
        return math.prod(self.counts)

    @cached_property
    def extents(self) -> tuple[int, ...]:
        """Extents of the largest group; those at the far ends of the part may be smaller."""
        return tuple(-(-n // count) for n, count in zip(self.shape, self.counts, strict=True))

    @property
    def whole(self) -> bool:
        """Whether no group is empty: runs of ceil(n / count) may use up an axis before the last piece."""
        return all(turn or (count - 1) * extent < n
                   for n, count, extent, turn in zip(self.shape, self.counts, self.extents, self.in_turn, strict=True))

    def position(self, group: int) -> tuple[int, ...]:
        """Number of the group's piece along every axis."""
        return tuple(int(k) for k in np.unravel_index(group, self.counts))

    def box(self, group: int) -> tuple[slice, ...]:
        """What the group takes of the part."""
        return tuple(
            slice(k, n, count) if turn else slice(k * extent, min((k + 1) * extent, n))
            for k, n, count, extent, turn in zip(
                self.position(group), self.shape, self.counts, self.extents, self.in_turn, strict=True)
        )

    def layout(self, group: int, layout: Layout) -> Layout:
        """Layout of a group of a part of this layout."""
        return layout.with_shape(tuple(len(range(*s.indices(n))) for s, n in zip(self.box(group), self.shape, strict=True)))

    def touching(self, box: Box) -> Iterator[tuple[int, Box, tuple[npt.NDArray[np.intp], ...]]]:
        """The groups that a box touches.

        Yields
        ------
        group : int
        local : tuple of range
            What to read of it, in its own coordinates.
        where : tuple of intp arrays
            For every axis, where these values belong in an array of the extents of ``box``.
        """
        for pieces in itertools.product(*(self._pieces(axis, r) for axis, r in enumerate(box))):
            group = int(np.ravel_multi_index([p[0] for p in pieces], self.counts))
            yield group, tuple(p[1] for p in pieces), tuple(p[2] for p in pieces)

    def _pieces(self, axis: int, indices: range) -> list[tuple[int, range, npt.NDArray[np.intp]]]:
        """(piece, local range, places in the selection) for every piece of an axis that the indices touch."""
        values = np.asarray(indices, np.intp)
        piece, local = self._along(axis, values)
        found = []
        for k in np.unique(piece):
            where = np.flatnonzero(piece == k)
            first, step = int(local[where[0]]), int(local[where[1]] - local[where[0]]) if len(where) > 1 else 1
            found.append((int(k), range(first, first + step * len(where), step), where))
        return found

    def _along(self, axis: int, index: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Piece and index within it of every index along an axis."""
        if self.in_turn[axis]:
            return index % self.counts[axis], index // self.counts[axis]
        return index // self.extents[axis], index % self.extents[axis]

    def locate(self, points: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The group that every point lies in, shape (n,), and the points in their groups' coordinates, shape (n, axes)."""
        group, local = np.zeros(len(points), np.int64), np.empty_like(points)
        for axis, count in enumerate(self.counts):
            piece, local[:, axis] = self._along(axis, points[:, axis])
            group = group * count + piece
        return group, local


def undivided(shape: tuple[int, ...]) -> Groups:
    """A part as one group."""
    return Groups(shape, (1,) * len(shape), (False,) * len(shape))


# -- choosing groups ------------------------------------------------------------------------------------------------------------

KINDS = ("auto", "slices", "blocks", "time", "channel", "adaptive")
"""How a user can ask for groups."""

SHORTEST_BLOCK = 16
"""Blocks of fewer voxels along Y or X are not made."""


def grouped(layout: Layout, kind: str, wanted: int) -> Groups:
    """About ``wanted`` groups of a part, never more than there are pieces of the kind.

    ``slices`` deals planes along Z (else T) out in turn, ``time`` makes runs of time points, ``channel`` a group of every channel,
    ``blocks`` runs along the longest axes. ``auto`` and ``adaptive`` make runs along T, or else along Z, where there are two planes
    for each group: neighbours then show about the same at the same place. Otherwise they make blocks.
    """
    sizes = dict(zip(layout.axes, layout.shape, strict=True))
    if kind in ("auto", "adaptive"):
        axis = next((a for a in "TZ" if sizes.get(a, 1) >= 2 * wanted), None)
        if axis is not None:
            return _cut(layout, {axis: wanted}, False)
        kind = "blocks"
    if kind == "channel":
        return _cut(layout, {a: sizes[a] for a in "C" if a in sizes}, False)
    if kind == "time":
        return _cut(layout, {"T": wanted}, False)
    if kind == "slices":
        axis = next((a for a in "ZT" if sizes.get(a, 1) > 1), "Y")
        return _cut(layout, {axis: wanted}, True)
    return _cut(layout, _blocks(sizes, wanted), False)


def _cut(layout: Layout, counts: dict[str, int], in_turn: bool) -> Groups:
    """Groups by the number of pieces along some axes, lowered until no piece is empty."""
    pieces = []
    for axis, n in zip(layout.axes, layout.shape, strict=True):
        extent = -(-n // min(n, max(1, counts.get(axis, 1))))
        pieces.append(min(n, counts.get(axis, 1)) if in_turn else -(-n // extent))
    return Groups(layout.shape, tuple(pieces), tuple(in_turn and axis in counts for axis in layout.axes))


def _blocks(sizes: dict[str, int], wanted: int) -> dict[str, int]:
    """Pieces along the axes T, Z, Y and X: the axis with the longest pieces is halved again and again."""
    counts = {a: 1 for a in "TZYX" if sizes.get(a, 1) > 1}
    while math.prod(counts.values()) * 2 <= wanted:
        # A plane more along Z or T is worth several voxels along Y or X, which microscopes sample more finely.
        length = {a: sizes[a] / c * (1 if a in "YX" else 4) for a, c in counts.items()}
        able = [a for a in length if sizes[a] // (counts[a] * 2) >= (SHORTEST_BLOCK if a in "YX" else 1)]
        if not able:
            break
        counts[max(able, key=lambda a: length[a])] *= 2
    return counts

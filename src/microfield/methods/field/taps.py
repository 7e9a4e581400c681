"""What the adaptive filters of `field` and `hybrid` are linear in: how far a voxel lies from its neighbours.

A Wiener filter fitted to one image, as the adaptive loop filter of VVC (M. Karczewicz et al., "VVC in-loop filters", IEEE
Transactions on Circuits and Systems for Video Technology 31, 2021, section IV), here with point symmetry and along z, too. Every
feature is the sum of two neighbours at opposite sides less twice the voxel, so that a filter leaves constant places alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from microfield.methods.field.lifting import Floats

Pairs = tuple[tuple[int, int], ...]
"""Neighbours (y, x) in the plane, one of each pair."""
REACH = 4
"""Farthest neighbour in the plane; beyond the borders the edge is repeated."""
STRIP = 1 << 14
"""Voxels whose features are computed at once, about."""


class Place(NamedTuple):
    """Some rows of one plane of a volume (batch, z, y, x)."""

    batch: int
    plane: int
    rows: slice


def places(shape: tuple[int, ...]) -> Iterator[Place]:
    """All of a volume, strip after strip."""
    rows = max(1, STRIP // shape[3])
    for batch in range(shape[0]):
        for plane in range(shape[1]):
            for start in range(0, shape[2], rows):
                yield Place(batch, plane, slice(start, min(start + rows, shape[2])))


def beside(shape: tuple[int, ...]) -> int:
    """Number of features along z and along the batch: one where the axis is longer than 1."""
    return sum(n > 1 for n in shape[:2])


def bordered(volume: Floats, place: Place) -> Floats:
    """The rows of a place with `REACH` voxels around them, the edge repeated beyond the borders."""
    batch, plane, rows = place
    across = np.clip(np.arange(rows.start - REACH, rows.stop + REACH), 0, volume.shape[2] - 1)
    return np.pad(volume[batch, plane, across], ((0, 0), (REACH, REACH)), mode="edge")


def shifted(padded: Floats, dy: int, dx: int) -> Floats:
    """What lies (dy, dx) from every voxel inside the border of `bordered`."""
    rows, columns = padded.shape
    return padded[REACH + dy : rows - REACH + dy, REACH + dx : columns - REACH + dx]


def neighbours(volume: Floats, place: Place) -> list[Floats]:
    """What lies before and after a place along z, and along the batch, where these axes are longer than 1: (rows, x) each.

    Beyond the ends the edge is repeated.
    """
    batch, plane, rows = place
    found = []
    for stack, at in ((volume[batch, :, rows], plane), (volume[:, plane, rows], batch)):
        last = len(stack) - 1
        if last:
            found += [stack[max(0, at - 1)], stack[min(last, at + 1)]]
    return found


def features(volume: Floats, place: Place, pairs: Pairs, clipped: Pairs = (), limit: float = 0.0) -> Floats:
    """Features at a place, float32 of shape (features, rows, x).

    First those of the pairs, then of clipped pairs, whose two differences are cut at ``limit`` before they are added, then along
    z, then along the batch.
    """
    padded, voxel = bordered(volume, place), volume[place.batch, place.plane, place.rows]
    out = np.empty((len(pairs) + len(clipped) + beside(volume.shape), *voxel.shape), np.float32)
    for k, (dy, dx) in enumerate(pairs):
        np.add(shifted(padded, -dy, -dx), shifted(padded, dy, dx), out=out[k])
    k = len(pairs)
    beyond = neighbours(volume, place)
    for n, (before, after) in enumerate(zip(beyond[::2], beyond[1::2], strict=True)):
        np.add(before, after, out=out[k + len(clipped) + n])
    twice, cut = voxel * np.float32(2), np.float32(limit)
    out[:k] -= twice
    out[k + len(clipped) :] -= twice
    for n, (dy, dx) in enumerate(clipped):
        before, after = (np.clip(shifted(padded, s * dy, s * dx) - voxel, -cut, cut) for s in (-1, 1))
        np.add(before, after, out=out[k + n])
    return out

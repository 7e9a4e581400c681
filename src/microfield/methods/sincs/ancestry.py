"""Which group builds on which: a forest over the groups of a part, chosen by how much they resemble each other.

A group's *ancestor* is the group whose weights it is coded against; a group without one is a *root*. Groups can be stored in any
order and still have any ancestor, so that no permutation is stored: a tree takes a few bits per group, a plain chain takes none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.format.header import LONGEST_CHAIN

Ancestors = tuple[int | None, ...]
"""For every group the group that it builds on; None for a root."""

Floats = npt.NDArray[np.float64]

SIGNATURE = 8
"""A signature holds means of so many blocks along every axis."""

WORTH = 0.9
"""A tree replaces the chain where its differences between signatures are at most this share of the chain's."""


def chain(n: int, longest: int) -> Ancestors:
    """Every group builds on the one before it; a new root comes after ``longest`` groups."""
    return tuple(None if g % longest == 0 else g - 1 for g in range(n))


def depths(ancestors: Ancestors) -> list[int]:
    """How many groups come before every group on the way from its root.

    Raises
    ------
    FormatError
        Groups build on each other in a circle, or more than `LONGEST_CHAIN` of them on one another.
    """
    depth: list[int | None] = [None] * len(ancestors)
    for start in range(len(ancestors)):
        way = [start]
        while depth[way[-1]] is None and (above := ancestors[way[-1]]) is not None and len(way) <= LONGEST_CHAIN + 1:
            way.append(above)
        known = depth[way[-1]]
        base = 0 if known is None else known
        if (known is None and ancestors[way[-1]] is not None) or base + len(way) - 1 > LONGEST_CHAIN:
            raise FormatError(f"more than {LONGEST_CHAIN} groups build on one another: the file is damaged.")
        for k, group in enumerate(reversed(way)):
            depth[group] = base + k
    return [0 if d is None else d for d in depth]


def order(ancestors: Ancestors) -> list[int]:
    """The groups in an order in which every group comes after the one that it builds on."""
    depth = depths(ancestors)
    return sorted(range(len(ancestors)), key=lambda g: (depth[g], g))


def line(ancestors: Ancestors, group: int) -> list[int]:
    """The groups that must be decoded for a group, its root first and itself last."""
    found = [group]
    while (above := ancestors[found[-1]]) is not None:
        found.append(above)
    return found[::-1]


# -- likeness -------------------------------------------------------------------------------------------------------------------


def signature(values: npt.NDArray[np.floating]) -> Floats:
    """What a group looks like, coarsely: means of `SIGNATURE` blocks along every axis of more, as one vector."""
    out = np.asarray(values, np.float64)
    for axis, n in enumerate(values.shape):
        if n > SIGNATURE:
            edges = np.arange(SIGNATURE) * n // SIGNATURE
            sizes = np.diff([*edges, n]).reshape([-1 if i == axis else 1 for i in range(out.ndim)])
            out = np.add.reduceat(out, edges, axis=axis) / sizes
    return out.ravel()


def distances(signatures: Sequence[Floats]) -> Floats:
    """Root mean square differences between signatures, of shape (groups, groups); those of other sizes are infinitely far."""
    n = len(signatures)
    out = np.full((n, n), np.inf)
    for a in range(n):
        for b in range(n):
            if signatures[a].size == signatures[b].size:
                out[a, b] = np.sqrt(np.mean((signatures[a] - signatures[b]) ** 2))
    return out


def tree(apart: Floats, longest: int) -> Ancestors:
    """The tree of least total distance (Prim) from the most central group, no line of it longer than ``longest`` groups."""
    n = len(apart)
    finite = np.where(np.isfinite(apart), apart, 1e9)
    root = int(np.argmin(finite.sum(1)))
    ancestors: list[int | None] = [None] * n
    depth = np.full(n, -1)
    depth[root] = 0
    for _ in range(n - 1):
        inside, outside = np.flatnonzero((depth >= 0) & (depth < longest - 1)), np.flatnonzero(depth < 0)
        rows = finite[np.ix_(inside, outside)]
        a, b = np.unravel_index(int(np.argmin(rows)), rows.shape)
        ancestors[outside[b]] = int(inside[a])
        depth[outside[b]] = depth[inside[a]] + 1
    return tuple(ancestors)


def length(apart: Floats, ancestors: Ancestors) -> float:
    """Sum of the distances between groups and those they build on."""
    return float(sum(apart[g, a] for g, a in enumerate(ancestors) if a is not None))


def chosen(signatures: Sequence[Floats], longest: int, kind: str) -> Ancestors:
    """Ancestors of groups with these signatures: a tree for ``adaptive``, for ``auto`` where it pays, else a chain."""
    plain = chain(len(signatures), longest)
    if kind not in ("auto", "adaptive") or len(signatures) < 3:
        return plain
    apart = distances(signatures)
    found = tree(apart, longest)
    return found if kind == "adaptive" or length(apart, found) <= WORTH * length(apart, plain) else plain


# -- bytes ----------------------------------------------------------------------------------------------------------------------


def pack(ancestors: Ancestors) -> bytes:
    """Bytes of a forest of at least 2 groups: 0 for a chain, else 1 and a field of as many bits per group as their number needs."""
    n = len(ancestors)
    if ancestors == (None, *range(n - 1)):
        return b"\x00"
    width = n.bit_length()
    codes = np.asarray([0 if a is None else a + 1 for a in ancestors], np.int64)
    return b"\x01" + np.packbits((codes[:, None] >> np.arange(width)[::-1]) & 1).tobytes()


def unpack(data: bytes, at: int, n: int) -> tuple[Ancestors, int]:
    """Inverse of `pack`, from byte ``at`` on; and the position behind it. FormatError where the forest is none."""
    if at >= len(data) or data[at] > 1:
        raise FormatError("the ancestors of the groups are missing.")
    if data[at] == 0:
        found: Ancestors = (None, *range(n - 1))
        at += 1
    else:
        width = n.bit_length()
        end = at + 1 + (n * width + 7) // 8
        if end > len(data):
            raise FormatError("the ancestors of the groups are cut short.")
        bits = np.unpackbits(np.frombuffer(data[at + 1 : end], np.uint8))[: n * width].reshape(n, width)
        codes = bits.astype(np.int64) @ (1 << np.arange(width)[::-1])
        if codes.max() > n or np.any(codes == np.arange(1, n + 1)):
            raise FormatError("a group builds on itself or on one that is not there.")
        found = tuple(int(c) - 1 if c else None for c in codes)
        at = end
    depths(found)
    return found, at

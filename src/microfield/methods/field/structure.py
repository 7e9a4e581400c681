"""The cheapest schedule by an estimate: a shortest path over how often z, and how often y and x, were split.

The approximation after i splits along z and j along y and x does not depend on their order, so every schedule is a path over the
pairs (i, j), and what a step of the path costs is the estimate for the details that it takes out.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from microfield.methods.field.lifting import Axes, Floats, Schedule, forward, inverse
from microfield.methods.field.schedules import COARSEST, WORDS, shortest

Node = tuple[int, int]
"""How often an array was split along z, and how often along y and x."""

Z, Y, X = 1, 2, 3
AXES: dict[str, Axes] = {"yx": (Y, X), "z": (Z,), "zyx": (Z, Y, X)}
"""Axes of the words of a level, in arrays (batch, z, y, x)."""
BIT = 0.1155
"""Squared quantiser steps of error that a bit is worth in the estimate."""
ROUNDED_UP = 0.35
"""What is added to a magnitude, in steps, before it is cut to a whole number."""
NEIGHBOURHOOD = (3, 5, 5)
"""Extents along z, y, x of the surroundings whose mean magnitude says how likely a magnitude is."""
DEEPEST = 12
"""More splits along z are not looked at."""


def estimate(details: Floats, step: float) -> float:
    """Squared error in steps plus bits times their worth, about, for coefficients (batch, z, y, x) quantised with a step.

    Bits are those of a geometric distribution whose mean is that of the magnitudes around, and one for a sign.
    """
    magnitudes = np.abs(details) * np.float32(1 / step)
    whole = np.floor(magnitudes + np.float32(ROUNDED_UP))
    magnitudes -= whole
    error = float(np.square(magnitudes, out=magnitudes).sum(dtype=np.float64))
    if not whole.any():
        return error
    mean, number = _sum_around(whole)
    mean -= whole
    mean *= np.float32(1 / max(1, number - 1))
    mean += np.float32(0.02 * float(whole.mean()) + 1e-4)
    more = np.log2(1 + mean)
    bits = float(more.sum(dtype=np.float64)) + float(np.count_nonzero(whole))
    more -= np.log2(mean)
    more *= whole
    return error + BIT * (bits + float(more.sum(dtype=np.float64)))


def _sum_around(values: Floats) -> tuple[Floats, int]:
    """Sums of values (batch, z, y, x) over `NEIGHBOURHOOD`, and of how many values; the last ones are repeated at the ends."""
    total, number = values, 1
    for axis, width in zip((Z, Y, X), NEIGHBOURHOOD, strict=True):
        n = values.shape[axis]
        if n == 1:
            continue
        reach = width // 2
        front = np.moveaxis(np.pad(total, [(reach, reach) if a == axis else (0, 0) for a in range(4)], mode="edge"), axis, 0)
        total = np.moveaxis(sum((front[k : k + n] for k in range(1, width)), front[:n].copy()), 0, axis)
        number *= width
    return np.array(total, np.float32), number


class Lattice:
    """Approximations of an array at every node, each made when it is first asked for, and what the steps between them cost.

    Parameters
    ----------
    values : float32 array (batch, z, y, x)
    step : float
        Quantiser step.
    """

    def __init__(self, values: Floats, step: float) -> None:
        self.step = step
        self.shape = values.shape
        self._approximations: dict[Node, Floats] = {(0, 0): values}
        self._costs: dict[tuple[Node, str], float] = {}
        self.deepest = min(DEEPEST, (values.shape[Z] - 1).bit_length())
        """Most splits along z."""
        self.widest = 0
        """Splits along y and x until the approximation is as small as schedules make it."""
        while max(-(-n // 2**self.widest) for n in values.shape[Y:]) > COARSEST:
            self.widest += 1

    def after(self, node: Node, word: str) -> Node:
        """The node that a level leads to."""
        return node[0] + ("z" in word), node[1] + ("yx" in word)

    def cost(self, node: Node, word: str) -> float:
        """The estimate for the details of a level that begins at a node."""
        if (node, word) not in self._costs:
            approximation = self._approximations[node]
            one = Schedule((AXES[word],), approximation.shape)
            split = forward(approximation, one)
            total = sum(estimate(self._weighed(split[box], details, node, one), self.step) for details, box in one.bands(0))
            self._approximations.setdefault(self.after(node, word), split[one.box(0, ())])
            self._costs[node, word] = total
        return self._costs[node, word]

    def rest(self, node: Node) -> float:
        """The estimate for the approximation at a node."""
        approximation = self._approximations[node]
        return estimate(approximation * self._norms(node[0])[: approximation.shape[Z], None, None], self.step)

    def _weighed(self, band: Floats, details: Axes, node: Node, one: Schedule) -> Floats:
        """Details multiplied by how much each of them changes the array along z: short axes are far from orthonormal."""
        if Z not in one.split(0):
            norms = self._norms(node[0])[: band.shape[Z]]
        else:
            kept = one.extents[1][Z]
            norms = self._norms(node[0] + 1)
            norms = norms[kept : kept + band.shape[Z]] if Z in details else norms[:kept]
        return band * norms[:, None, None]

    def _norms(self, splits: int) -> Floats:
        """Norms of what coefficients along z stand for after so many splits."""
        return synthesis_norms(self.shape[Z], splits)


@cache
def synthesis_norms(extent: int, splits: int) -> Floats:
    """Norms of the synthesis functions of an axis that is split so often, one per coefficient."""
    schedule = Schedule(((1,),) * splits, (extent, extent))
    functions = inverse(np.eye(extent, dtype=np.float32), schedule)
    norms: Floats = np.sqrt(np.square(functions).sum(axis=1))
    return norms


def price(lattice: Lattice, schedule: Schedule) -> float:
    """The estimate for a schedule."""
    node, total = (0, 0), 0.0
    for level in range(len(schedule.levels)):
        axes = schedule.split(level)
        word = ("z" if Z in axes else "") + ("yx" if Y in axes or X in axes else "")
        if word:
            total += lattice.cost(node, word)
            node = lattice.after(node, word)
    return total + lattice.rest(node)


def cheapest(lattice: Lattice) -> str:
    """The transform of the least estimate, see `schedules`."""
    best: dict[Node, tuple[float, str]] = {(0, 0): (0.0, "")}
    for i in range(lattice.deepest + 1):
        for j in range(lattice.widest + 1):
            for word in WORDS:
                after = lattice.after((i, j), word)
                if (i, j) not in best or after[0] > lattice.deepest or after[1] > lattice.widest:
                    continue
                cost, words = best[i, j]
                found = cost + lattice.cost((i, j), word), f"{words} {word}".strip()
                best[after] = min(best.get(after, found), found)
    ends = [(i, lattice.widest) for i in range(lattice.deepest + 1) if (i, lattice.widest) in best]
    _, words = min((best[end][0] + lattice.rest(end), best[end][1]) for end in ends)
    return shortest(words, lattice.shape)

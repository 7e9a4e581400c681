"""The contexts of bitstream version 5 for the second decoder of ``field``, written from `docs/format.md` alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Index = tuple[int, ...]
F = np.float32
Take = Callable[[Index], Array | None]
"""The quantised values of a band of a level by the axes of its details, None where there is none."""

NAMES: dict[str, Index] = {"x": (3,), "y": (2,), "yx": (2, 3), "z": (1,), "zx": (1, 3), "zy": (1, 2), "zyx": (1, 2, 3)}

NEIGHBOURS: list[list[Index]] = [
    [(0, 0, -1), (0, 0, 1)], [(0, -1, 0), (0, 1, 0)], [(-1, 0, 0), (1, 0, 0)], [(0, 1, 1), (0, -1, -1)], [(0, 1, -1), (0, -1, 1)],
    [(z, 0, x) for z in (-1, 1) for x in (-1, 1)], [(z, y, 0) for z in (-1, 1) for y in (-1, 1)],
    [*itertools.product((-1, 1), repeat=3)], [(0, y, x) for y in (-1, 1) for x in (-2, 2)],
    [(0, y, x) for y in (-2, 2) for x in (-1, 1)]]

PATCH = [*itertools.product((0,), range(-1, 3), range(-2, 4))]
AROUND = [*itertools.product((0,), (-1, 0, 1), (-1, 0, 1))]
NEAR = [o for o in itertools.product((-1, 0, 1), repeat=3) if any(o)] + [
    (0, y, x) for y in (-2, -1, 1, 2) for x in (-2, -1, 1, 2) if abs(y) != abs(x)]
CROSS = [(0, 0, 0), (0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0)]


def log_code(numerator: int, denominator: int = 1, bits: int = 5) -> int:
    """log5 (or log4) of a fraction that is at least 1."""
    e = 0
    while denominator << e + 1 <= numerator:
        e += 1
    base = denominator << e
    return min(255, (e << bits) + (((numerator - base) << bits) // base))


def is_turned(band: Index) -> bool:
    """Details along y, but not along x."""
    return 2 in band and 3 not in band


def swapped(band: Index) -> Index:
    """Names with y and x exchanged."""
    return tuple(sorted({2: 3, 3: 2}.get(axis, axis) for axis in band))


def seen(band: Index) -> Index:
    """The axes of details as the band is seen."""
    return swapped(band) if is_turned(band) else band


def in_array(offset: Index, band: Index) -> Index:
    """An offset as it is seen, in the array."""
    z, y, x = offset
    return (z, x, y) if is_turned(band) else (z, y, x)


class Picture(NamedTuple):
    """The picture in quarters of a step."""

    v: Array

    @classmethod
    def of(cls, picture: Array) -> Picture:
        """From the approximation in steps."""
        return cls(np.clip(np.rint(picture * F(4)), -(1 << 19), 1 << 19).astype(np.int64))

    def at(self, batch: int, place: Index, offset: Index, band: Index) -> int:
        """The value at an offset as it is seen, edges repeated."""
        moved = [p + o for p, o in zip(place, in_array(offset, band), strict=True)]
        inside = [min(max(i, 0), n - 1) for i, n in zip(moved, self.v.shape[1:], strict=True)]
        return int(self.v[(batch, *inside)])

    def features(self, batch: int, place: Index, band: Index) -> list[int]:
        """Features 21 to 33."""
        def v(*offset: int) -> int:
            return self.at(batch, place, offset, band)

        found: list[int] = []
        for axis in (1, 2, 3):
            one = [tuple(i * (k == axis) for k in (1, 2, 3)) for i in (-1, 0, 1, 2)]
            before, here, after, later = (v(*o) for o in one)
            if axis in seen(band):
                found += [after - here, later - after - here + before]
            else:
                found += [after - before, after + before - 2 * here]
        found.append(v(0, 0, 2) - v(0, 0, -1) + 3 * (v(0, 0, 0) - v(0, 0, 1)))
        found += [v(0, 1, 1) - v(0, 0, 0), v(0, 1, 0) - v(0, 0, 1)]
        for (ay, ax), (by, bx) in (((0, 1), (0, 0)), ((1, 0), (0, 0)), ((1, 1), (0, 0)), ((1, 0), (0, 1))):
            found.append(sum(abs(v(0, y + ay, x + ax) - v(0, y + by, x + bx)) for _, y, x in AROUND))
        return [log_code(1 + abs(value), 1, 4) for value in found]


class SignInputs(NamedTuple):
    """What surrounds a coefficient of a band.

    ``here`` and ``above`` give bands of its level and of the next coarser one that splits anything, ``halved`` are the axes that
    one splits; ``reference`` is the same band of the reference.
    """

    band: Index
    picture: Picture
    here: Take
    above: Take
    halved: Index
    reference: Array | None

    def of(self, batch: int, place: Index, magnitude: int, phase_features: list[int]) -> tuple[list[int], list[int]]:
        """Inputs with and without a sign."""
        patch, lively = self._patch(batch, place)
        own = self._logs(self.here(self.band), batch, place, NEAR)
        siblings: list[int] = []
        for name in ("x", "y", "yx", "z", "zx", "zy", "zyx"):
            other = self._named(name)
            offsets = AROUND if name in ("x", "y", "yx") else [(0, 0, 0)]
            siblings += self._logs(None if other == self.band else self.here(other), batch, place, offsets)
        there = tuple(i // 2 if axis in self.halved else i for axis, i in enumerate(place, 1))
        parent = tuple(axis for axis in self.band if axis in self.halved)
        parents = self._logs(self.above(parent) if parent else None, batch, there, AROUND)
        others = [self._logs(self.above(self._named(name)), batch, there, [(0, 0, 0)])[0] for name in ("x", "y", "yx")]
        reference = self._logs(self.reference, batch, place, CROSS)
        faces = [value for value, offset in zip(own, NEAR, strict=True) if sum(map(abs, offset)) == 1]
        sums = [min(255, sum(map(abs, part)) // d)
                for part, d in ((faces, 2), (own, 4), (parents, 2), (siblings, 4), (reference, 2))]
        without = [*phase_features, log_code(1 + min(20, magnitude)), lively, *sums]
        return [*patch, *own, *siblings, *parents, *others, *reference], without

    def _named(self, name: str) -> Index:
        """A band as it is seen, by its axes in the array."""
        return swapped(NAMES[name]) if is_turned(self.band) else NAMES[name]

    def _patch(self, batch: int, place: Index) -> tuple[list[int], int]:
        offsets = [*PATCH, (-1, 0, 0), (-1, 0, 1), (1, 0, 0), (1, 0, 1)]
        values = [self.picture.at(batch, place, offset, self.band) for offset in offsets]
        along = seen(self.band)
        middle = [PATCH.index((0, y, x)) for y in range(2 if 2 in along else 1) for x in range(2 if 3 in along else 1)]
        w = [len(middle) * value - sum(values[i] for i in middle) for value in values]
        t = sum(abs(value) for value in w[:24])
        found = [int(np.clip(np.rint(F(value) * F(1152) / F(t + 48 * len(middle))), -255, 255)) for value in w]
        return found, log4(1 + min(2**24 - 2, t))

    def _logs(self, values: Array | None, batch: int, place: Index, offsets: Sequence[Index]) -> list[int]:
        """L at offsets from a place."""
        found = []
        for offset in offsets:
            at = [p + o for p, o in zip(place, in_array(offset, self.band), strict=True)]
            q = 0
            if values is not None and all(0 <= i < n for i, n in zip(at, values.shape[1:], strict=True)):
                q = int(values[(batch, *at)])
            found.append((1 if q >= 0 else -1) * log_code(1 + min(20, abs(q))))
        return found


def log4(value: int) -> int:
    """log4 of a whole number below 2^24."""
    return log_code(value, 1, 4)


class SignNetwork(NamedTuple):
    """The network of signs."""

    arrays: dict[str, Array]

    def sums(self, signed: list[int], unsigned: list[int]) -> int:
        """The logit of a value below 0."""
        net = self.arrays
        odd = net["sign_signed"] @ np.array(signed)
        even = net["sign_unsigned"] @ np.array(unsigned) + net["sign_bias1"]

        def behind(sums: Array) -> Array:
            second = net["sign_second"] @ act(sums) + net["sign_bias2"]
            return act(second)

        return int((net["sign_third"] @ (behind(even + odd) - behind(even - odd)))[0])


def act(sums: Array) -> Array:
    """Activations of sums."""
    return np.minimum(255, np.maximum(0, np.rint(sums / 128))).astype(np.int64)


def sign_bucket(sums: int, scale: int) -> int:
    """The bucket of a sign."""
    return min(31, max(0, sums * scale // 16384 + 16))

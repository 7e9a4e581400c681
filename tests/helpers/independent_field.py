"""A second decoder of the ``field`` bitstream, written from `docs/format.md` alone: nothing of microfield decodes here.

One coefficient at a time, in whole numbers of Python where the format says *exact*; NumPy serves as arrays and for
elementwise float32. It is slow, for arrays of a few thousand voxels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import microfield
from helpers import independent_oriented as oriented
from helpers.independent_oriented import log_code
from microfield.image import Layout
from microfield.methods import get_method
from microfield.methods.base import PartData

__all__ = ["GapTable", "decode_section", "gap_rows", "gap_table"]

FORMAT = Path(__file__).parent.parent.parent / "docs" / "format.md"
MODELS = Path(microfield.__file__).parent / "models"

Array = npt.NDArray[Any]
Index = tuple[int, ...]
F = np.float32

SCHEDULES = ("yx zyx zyx zyx yx", "zyx zyx zyx zyx yx", "yx zyx zyx yx yx", "yx yx zyx zyx zyx", "z z z yx yx yx yx yx",
             "yx yx yx yx yx")
PHASES = ((0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0))
BANDS: tuple[Index, ...] = ((3,), (2,), (1,), (2, 3), (1, 3), (1, 2), (1, 2, 3))
"""Axes of (batch, z, y, x) with details, in the order of coding."""

SIBLINGS: tuple[Index, ...] = ((1,), (2,), (1, 2), (3,), (1, 3), (2, 3), (1, 2, 3))
"""Bands of a level in the order of features 10 to 16."""

LIFTING = ((-0.443506852043971, "a"), (-0.882911075530934, "d"), (0.052980118572961, "a"), (1.586134342059924, "d"))
LIFTING_SCALE = 1.149604398860241


# -- Bits, tables and the range coder ---------------------------------------------------------------------------------


def unzigzag(v: int) -> int:
    """Signed number of a zigzag code."""
    return -(v + 1 >> 1) if v & 1 else v >> 1


class Bits:
    """A string of bits, most significant first."""

    def __init__(self, data: bytes) -> None:
        self.text = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def number(self, n: int) -> int:
        """An unsigned number of n bits."""
        self.at += n
        assert self.at <= len(self.text)
        return int("0" + self.text[self.at - n : self.at], 2)

    def unary(self) -> int:
        """Zeros before a one."""
        zeros = self.text.index("1", self.at) - self.at
        self.at += zeros + 1
        return zeros

    def signed(self) -> int:
        """A zigzag code in unary."""
        return unzigzag(self.unary())

    def rice(self, count: int) -> list[int]:
        """A list of so many numbers."""
        k = self.number(5)
        return [unzigzag(self.unary() << k | self.number(k)) for _ in range(count)]

    def end(self) -> None:
        """Check that only filling zeros are left."""
        assert len(self.text) - self.at < 8
        assert "1" not in self.text[self.at :]


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits per byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def frequencies(weights: list[int]) -> list[int]:
    """Frequencies of the range coder, sum 32768."""
    total = sum(weights)
    shares = [32768 * w // total for w in weights]
    freq = [0 if w == 0 else max(1, share) for w, share in zip(weights, shares, strict=True)]
    missing = 32768 - sum(freq)
    if missing > 0:
        candidates = sorted((i for i, share in enumerate(shares) if share > 0), key=lambda i: (-(32768 * weights[i] % total), i))
        for i in candidates[:missing]:
            freq[i] += 1
    elif missing < 0:
        spare = [max(0, f - 1) for f in freq]
        taken = [-missing * s // sum(spare) for s in spare]
        for i in sorted(range(len(weights)), key=lambda i: (-spare[i], i))[: -missing - sum(taken)]:
            taken[i] += 1
        freq = [f - t for f, t in zip(freq, taken, strict=True)]
    return freq


class GapTable(NamedTuple):
    """A row of the gap tables: raw bits, cumulative frequencies, last symbol."""

    low: int
    cumulative: list[int]
    last: int


def gap_rows() -> list[tuple[int, int]]:
    """The pairs low / ratio as `docs/format.md` prints them."""
    block = FORMAT.read_text(encoding="utf-8").split("`low / ratio` for t = 0 ... 41:")[1].split("```")[1]
    pairs = [pair.split("/") for pair in block.split()]
    return [(int(low), int(ratio)) for low, ratio in pairs]


def gap_table(low: int, ratio: int) -> GapTable:
    """The frequencies of a row."""
    w, weights = 1 << 30, list[int]()
    for j in range(64):
        if j == 63 or w <= 1 << 18:
            weights.append((w << 24) // ((1 << 24) - ratio))
            break
        weights.append(w)
        w = w * ratio >> 24
    return GapTable(low, [0, *itertools.accumulate(frequencies(weights))], len(weights) - 1)


class RangeDecoder:
    """The range coder with lanes; positions count from 0 in every batch."""

    def __init__(self, data: bytes, lanes: int) -> None:
        self.data, self.lanes = data, lanes
        if lanes > 1:
            self.at = 4 * lanes
            self.states = [int.from_bytes(data[4 * i : 4 * i + 4], "little") for i in range(lanes)]
        else:
            self.at = len(data) if len(data) <= 2 else 4 - len(data) % 2
            self.states = [int.from_bytes(data[: self.at], "little")]

    def _step(self, position: int, start: int, freq: int) -> None:
        lane = position % self.lanes
        x = self.states[lane]
        x = freq * (x >> 15) + (x & 32767) - start
        if x < 65536:
            if self.at < len(self.data):
                x = x << 16 | self.data[self.at] | self.data[self.at + 1] << 8
                self.at += 2
            else:
                assert self.lanes == 1
        self.states[lane] = x

    def symbol(self, position: int, cumulative: list[int]) -> int:
        """A symbol of a table."""
        slot = self.states[position % self.lanes] & 32767
        s = 0
        while cumulative[s + 1] <= slot:
            s += 1
        self._step(position, cumulative[s], cumulative[s + 1] - cumulative[s])
        return s

    def raw(self, position: int, k: int) -> int:
        """A raw value of k bits."""
        freq = 1 << 15 - k
        value = (self.states[position % self.lanes] & 32767) // freq
        self._step(position, value * freq, freq)
        return value

    def end(self) -> None:
        """Check that the stream is used up."""
        assert self.at == len(self.data)
        assert all(state == (0 if self.lanes == 1 else 65536) for state in self.states)


class Decisions:
    """Binary decisions of several kinds and 32 buckets."""

    def __init__(self, data: bytes, number_of_kinds: int = 3) -> None:
        bits = Bits(data)
        lanes = 1 << bits.unary()
        kinds = [self._head(bits) for _ in range(number_of_kinds)]
        while bits.at % 8:
            assert bits.number(1) == 0
        tables = [gap_table(*row) for row in gap_rows()]
        chosen = [tables[row] for counts, rows in kinds for row, n in zip(rows, counts, strict=True) for _ in range(n)]
        gaps = iter(self._gaps(RangeDecoder(data[bits.at // 8 :], lanes), chosen))
        self.left = [[list(itertools.islice(gaps, n))[::-1] for n in counts] for counts, _ in kinds]
        self.met = [[0] * 32 for _ in range(number_of_kinds)]

    @staticmethod
    def _head(bits: Bits) -> tuple[list[int], list[int]]:
        """Gaps and table row of every bucket of a kind."""
        counts, shifts = [0] * 32, [0] * 32
        if bits.number(1):
            first, last = bits.number(5), bits.number(5)
            length = shift = 0
            for b in range(first, last + 1):
                length += bits.signed()
                counts[b] = 0 if length == 0 else (1 << length - 1) + bits.number(length - 1)
            assert counts[first]
            assert counts[last]
            if bits.number(1):
                for b in range(first, last + 1):
                    if counts[b]:
                        shift += bits.signed()
                        shifts[b] = shift
        return counts, [min(41, max(0, 39 - abs(2 * b - 31) + shifts[b])) for b in range(32)]

    @staticmethod
    def _gaps(coder: RangeDecoder, tables: list[GapTable]) -> list[int]:
        """All gaps, in the order of their batches."""
        gaps, left = [0] * len(tables), list(range(len(tables)))
        for _ in range(3):
            more = []
            for position, i in enumerate(left):
                symbol = coder.symbol(position, tables[i].cumulative)
                gaps[i] += symbol
                if symbol == tables[i].last:
                    more.append(i)
            left = more
        for half in (1, 1 << 15):
            for position, i in enumerate(left):
                gaps[i] += coder.raw(position, 15) * half
        for k in range(1, 12):
            for position, i in enumerate([i for i, table in enumerate(tables) if table.low == k]):
                gaps[i] = (gaps[i] << k) + coder.raw(position, k)
        coder.end()
        return gaps

    def take(self, kind: int, bucket: int) -> int:
        """One decision."""
        gaps, met = self.left[kind][bucket], self.met[kind]
        if gaps and met[bucket] == gaps[-1]:
            gaps.pop()
            met[bucket] = 0
            return int(bucket < 16)
        met[bucket] += 1
        return int(bucket >= 16)

    def run(self, kind: int, bucket: int) -> int:
        """Decisions 0 before a decision 1."""
        length = 0
        while not self.take(kind, bucket):
            length += 1
            assert bucket >= 16 or self.left[kind][bucket], "a run without end"
        return length

    def end(self) -> None:
        """Check that no gap is left."""
        assert not any(gaps for kind in self.left for gaps in kind)


# -- Transform --------------------------------------------------------------------------------------------------------


def levels_of(words: str, shape: Index) -> tuple[list[Index], list[Index]]:
    """Axes split at every level, finest first, and the extents E."""
    levels: list[Index] = [tuple("bzyx".index(letter) for letter in word) for word in words.split()]
    extents = [shape]
    while True:
        for axes in levels[len(extents) - 1 :]:
            extents.append(tuple(-(-n // 2) if i in axes else n for i, n in enumerate(extents[-1])))
        if max(extents[-1][2:]) <= 8:
            break
        levels.append((2, 3))
    return [tuple(a for a in axes if extents[k][a] > 1) for k, axes in enumerate(levels)], extents


def corner(extents: Index) -> tuple[slice, ...]:
    """The first so many along every axis."""
    return tuple(slice(0, n) for n in extents)


def lift(a: Array, d: Array, c: np.float32, target: str) -> None:
    """One lifting step, in place: approximations ("a") or details ("d") change by their neighbours times c."""
    m1, m2 = len(a), len(d)
    if target == "a":
        a[0] = a[0] + F(2) * c * d[0]
        for i in range(1, m2):
            a[i] = a[i] + c * (d[i - 1] + d[i])
        if m1 > m2:
            a[m2] = a[m2] + F(2) * c * d[m2 - 1]
    else:
        for i in range(m1 - 1):
            d[i] = d[i] + c * (a[i] + a[i + 1])
        if m1 == m2:
            d[m2 - 1] = d[m2 - 1] + F(2) * c * a[m1 - 1]


def join(values: Array, axis: int) -> Array:
    """Inverse lifting along one axis, in float32."""
    v = np.moveaxis(values, axis, 0)
    m1 = -(-len(v) // 2)
    a, d = v[:m1] * F(1 / LIFTING_SCALE), v[m1:] * F(LIFTING_SCALE)
    for step, target in LIFTING:
        lift(a, d, F(step), target)
    out = np.empty_like(v)
    out[0::2], out[1::2] = a, d
    return np.moveaxis(out, 0, axis)


# -- Features ---------------------------------------------------------------------------------------------------------


def elementwise(function: Callable[[int], int], values: Array) -> Array:
    """A function of whole numbers, for every element."""
    out = np.zeros(values.shape, np.int64)
    for i in np.ndindex(values.shape):
        out[i] = function(int(values[i]))
    return out


def log_same(magnitudes: Array) -> Array:
    """Features 7 and 24: the same place."""
    return elementwise(lambda m: log_code(1 + 2 * m), magnitudes)


def log_box(magnitudes: Array) -> Array:
    """Features 8 and 9: the 3 x 3 x 3 around a place, edges repeated."""
    padded = np.pad(magnitudes, [(0, 0), (1, 1), (1, 1), (1, 1)], mode="edge")
    _, nz, ny, nx = magnitudes.shape
    total = np.zeros(magnitudes.shape, np.int64)
    for z, y, x in itertools.product(range(3), repeat=3):
        total += padded[:, z : z + nz, y : y + ny, x : x + nx]
    return elementwise(lambda s: log_code(9 + 2 * s, 9), total)


def log_faces(magnitudes: Array) -> Array:
    """Features 10 to 16 and 25: the place twice and its six faces."""
    padded = np.pad(magnitudes, [(0, 0), (1, 1), (1, 1), (1, 1)])
    _, nz, ny, nx = magnitudes.shape
    total = 2 * magnitudes
    for z, y, x in ((0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, 0), (1, 1, 2)):
        total = total + padded[:, z : z + nz, y : y + ny, x : x + nx]
    return elementwise(lambda f: log_code(2 + f, 2), total)


def picture_features(picture: Array, splits: int) -> list[Array]:
    """Features 17 to 23 of the approximation, in steps, after so many splits."""
    bright = np.minimum(1 << 22, np.maximum(0, np.rint(picture * F(2.0 ** (-splits / 2)))))
    planes = [elementwise(lambda v: log_code(1 + v, 1, 4), bright)]
    v = np.clip(np.rint(picture), -(1 << 21), 1 << 21).astype(np.int64)
    for axis in (1, 2, 3):
        n = v.shape[axis]
        after = np.take(v, [min(i + 1, n - 1) for i in range(n)], axis)
        before = np.take(v, [max(i - 1, 0) for i in range(n)], axis)
        for change in (after - before, after + before - 2 * v):
            planes.append(elementwise(lambda c: log_code(1 + abs(c), 1, 4), change))
    return planes


def with_signs(*offset: int) -> list[Index]:
    """An offset with all signs of what is not 0."""
    return [*itertools.product(*[((v, -v) if v else (0,)) for v in offset])]


NEIGHBOURS: list[list[Index]] = [
    with_signs(0, 0, 1), with_signs(0, 1, 0), with_signs(1, 0, 0), with_signs(0, 1, 1),
    with_signs(1, 0, 1) + with_signs(1, 1, 0), with_signs(1, 1, 1), with_signs(0, 1, 2) + with_signs(0, 2, 1)]


def neighbour_sum(magnitudes: Array, batch: int, place: Index, members: list[Index]) -> int:
    """Sum over the members of a set, mirrored past the ends, 0 where that lies outside, too."""
    total, extents = 0, magnitudes.shape[1:]
    for offset in members:
        at = [a + b for a, b in zip(place, offset, strict=True)]
        at = [-a if a < 0 else 2 * (n - 1) - a if a > n - 1 else a for a, n in zip(at, extents, strict=True)]
        if all(0 <= a < n for a, n in zip(at, extents, strict=True)):
            total += int(magnitudes[(batch, *at)])
    return total


class Plane(NamedTuple):
    """A plane of features, and the axes along which it is of the coarser level."""

    values: Array
    halved: Index

    def at(self, batch: int, index: Index, parities: Index) -> int:
        """The feature of the coefficient with this index in its phase."""
        place = [batch]
        for axis, (i, p) in enumerate(zip(index, parities, strict=True), 1):
            n = self.values.shape[axis]
            if axis in self.halved:
                place.append(min(i, n - 1))
            elif p >= n:
                return 0
            else:
                place.append(min(2 * i + p, n - 1 - (n - 1 - p) % 2))
        return int(self.values[tuple(place)])


# -- Coefficients -----------------------------------------------------------------------------------------------------


class Contexts:
    """The context network of a part, after its changes."""

    def __init__(self, name: bytes, numbers: Bits) -> None:
        with np.load(MODELS / f"contexts-{name.hex()}.npz") as stored:
            self.arrays = {key: stored[key].astype(np.int64) for key in stored.files}
        self.oriented = "sign_signed" in self.arrays
        sort = numbers.number(2 if self.oriented else 1)
        third, bias = self.arrays["third"], self.arrays["bias3"]
        if sort == 1:
            inputs = third.shape[1]
            for logit in range(3):
                u = np.array(numbers.rice(inputs + 1))
                third[logit] = np.clip(third[logit] + 3 * u[:inputs], -511, 511)
                bias[logit] += 96 * u[inputs]
        elif sort == 2:
            units = len(self.arrays["planes"])
            gains, offsets, last = (np.array(numbers.rice(n)) for n in (units, units, 3))
            for key in ("planes", "constants"):
                self.arrays[key] = np.clip(np.rint(self.arrays[key] * (32 + gains)[:, None] / 32), -511, 511).astype(np.int64)
            self.arrays["bias1"] += np.clip(256 * offsets, -(1 << 17), 1 << 17)
            bias += 96 * last
        else:
            assert sort == 0
        self.scales: dict[tuple[int, Index], int] = {}

    def read_scales(self, numbers: Bits, groups: Sequence[Group]) -> None:
        """Scales of signs, by kind of band."""
        kinds = sorted({(min(level, 4), oriented.seen(band)) for group in groups for level, band in group.bands})
        chosen = numbers.number(1)
        self.scales = {kind: numbers.number(4) if chosen else 8 for kind in kinds}

    def buckets(self, features: Array, phase_features: list[int]) -> Array:
        """Buckets (3, n) of coefficients with features (26 or 36, n)."""
        net = self.arrays
        hidden = self._act(net["planes"] @ features + (net["constants"] @ np.array(phase_features) + net["bias1"])[:, None])
        hidden = self._act(net["second"] @ hidden + net["bias2"][:, None])
        logits = net["third"] @ hidden + net["bias3"][:, None]
        buckets: Array = np.minimum(31, np.maximum(0, logits // 2048 + 16))
        return buckets

    @staticmethod
    def _act(sums: Array) -> Array:
        return np.minimum(255, np.maximum(0, np.rint(sums / 128))).astype(np.int64)


class Streams(NamedTuple):
    """What coefficients are decoded from."""

    contexts: Contexts
    decisions: Decisions
    signs: Bits | None


class Group:
    """A group: its quantised coefficients, decoded level by level."""

    def __init__(self, words: str, shape: Index, reference: Group | None, predicted: bool = False) -> None:
        self.predicted = predicted
        self.levels, self.extents = levels_of(words, shape)
        self.quantised: Array = np.zeros(shape, np.int64)
        self.magnitudes: dict[tuple[int, Index], Array] = {}
        self.mean_codes: dict[tuple[int, Index], int] = {}
        self.reference = reference
        self.bands = [(k, band) for k in reversed(range(len(self.levels))) for band in BANDS if set(band) <= set(self.levels[k])]
        self.picture: Array = np.zeros(0, F)
        self.picture_level = len(self.levels)

    def read_numbers(self, numbers: Bits) -> None:
        """The coarsest approximation and the mean codes."""
        extents = self.extents[-1]
        values = self.quantised[corner(extents)]
        for residual, place in zip(numbers.rice(values.size), np.ndindex(extents), strict=True):
            before = [tuple(i - (a == axis) for a, i in enumerate(place)) for axis in (1, 2, 3) if place[axis]]
            values[place] = residual + sum(int(values[i]) for i in before) // max(1, len(before))
        self.picture = values.astype(F)
        mean = 0
        for band, difference in zip(self.bands, numbers.rice(len(self.bands)), strict=True):
            mean += difference
            assert 0 <= mean <= 50
            self.mean_codes[band] = mean

    def box(self, level: int, band: Index) -> tuple[slice, ...]:
        """Where a band lies."""
        inner, outer = self.extents[level + 1], self.extents[level]
        return tuple(slice(inner[i], outer[i]) if i in band else slice(0, inner[i]) for i in range(4))

    def bands_of(self, level: int) -> list[Index]:
        """The bands of a level in the order of coding."""
        return [band for k, band in self.bands if k == level]

    def _refine_picture(self, level: int) -> None:
        """Join the picture up to the approximation that a level splits into."""
        while self.picture_level > level + 1:
            self.picture_level -= 1
            k = self.picture_level
            joined = np.empty(self.extents[k], F)
            joined[corner(self.extents[k + 1])] = self.picture
            for band in self.bands_of(k):
                joined[self.box(k, band)] = reconstruct(self.quantised[self.box(k, band)], (0.92, 1.94, 2.97))
            for axis in reversed(self.levels[k]):
                joined = join(joined, axis)
            self.picture = joined

    def _coarser_planes(self, level: int) -> Iterator[tuple[Index, list[Plane | None]]]:
        """Features 7 to 9 of every band of a level."""
        coarser = next((k for k in range(level + 1, len(self.levels)) if self.levels[k]), None)
        if coarser is None:
            for band in self.bands_of(level):
                yield band, [None, None, None]
            return
        axes = self.levels[coarser]
        all_bands = [self.magnitudes[coarser, band] for band in self.bands_of(coarser)]
        total = np.zeros([max(m.shape[i] for m in all_bands) for i in range(4)], np.int64)
        for m in all_bands:
            total[corner(m.shape)] += m
        everything = Plane(log_box(total), axes)
        for band in self.bands_of(level):
            parent = tuple(a for a in band if a in axes)
            if parent:
                m = self.magnitudes[coarser, parent]
                yield band, [Plane(log_same(m), axes), Plane(log_box(m), axes), everything]
            else:
                yield band, [None, None, everything]

    def read_level(self, level: int, streams: Streams) -> None:
        """Decode the bands of a level; the levels above are known, and this one of the reference."""
        if not self.levels[level]:
            return
        self._refine_picture(level)
        if streams.contexts.oriented:
            self._read_oriented(level, streams)
            return
        picture = [Plane(p, ()) for p in picture_features(self.picture, sum(map(len, self.levels[: level + 1])))]
        siblings: list[Plane | None] = [None] * 7
        for band, coarser in self._coarser_planes(level):
            values = self.quantised[self.box(level, band)]
            magnitudes: Array = np.zeros(values.shape, np.int64)
            if self.mean_codes[level, band]:
                reference: list[Plane | None] = [None, None]
                if self.reference is not None:
                    same = self.reference.magnitudes[level, band]
                    reference = [Plane(log_same(same), ()), Plane(log_faces(same), ())]
                self._read_band(level, band, values, magnitudes, [*coarser, *siblings, *picture, *reference], streams)
                siblings[SIBLINGS.index(band)] = Plane(log_faces(magnitudes), ())
            self.magnitudes[level, band] = magnitudes

    def _read_oriented(self, level: int, streams: Streams) -> None:
        """Decode the bands of a level from version 5 on."""
        picture = oriented.Picture.of(self.picture)
        bright = Plane(picture_features(self.picture, sum(map(len, self.levels[: level + 1])))[0], ())
        siblings: dict[Index, Plane] = {}
        coarser = next((k for k in range(level + 1, len(self.levels)) if self.levels[k]), len(self.levels))
        for band, planes in self._coarser_planes(level):
            magnitudes: Array = np.zeros(self.quantised[self.box(level, band)].shape, np.int64)
            if self.mean_codes[level, band]:
                turned = oriented.is_turned(band)
                known = [siblings.get(oriented.swapped(name) if turned else name) for name in SIBLINGS]
                reference: list[Plane | None] = [None, None]
                same = None
                if self.reference is not None and self.reference.mean_codes[level, band]:
                    same = self.reference.values_of(level, band)
                if self.reference is not None:
                    cut = self.reference.magnitudes[level, band]
                    reference = [Plane(log_same(cut), ()), Plane(log_faces(cut), ())]
                around = oriented.SignInputs(band, picture, lambda name: self.values_of(level, name),
                                             lambda name: self.values_of(coarser, name),
                                             self.levels[coarser] if coarser < len(self.levels) else (), same)
                self._read_oriented_band(level, magnitudes, [*planes, *known, bright], reference, around, streams)
                siblings[band] = Plane(log_faces(magnitudes), ())
            self.magnitudes[level, band] = magnitudes

    def values_of(self, level: int, band: Index) -> Array | None:
        """The quantised values of a band, None where there is none or it is all zero."""
        return self.quantised[self.box(level, band)] if self.mean_codes.get((level, band)) else None

    def _read_oriented_band(self, level: int, magnitudes: Array, planes: list[Plane | None], reference: list[Plane | None],
                            around: oriented.SignInputs, streams: Streams) -> None:
        """Decode a band from version 5 on."""
        band, sets = around.band, [[oriented.in_array(o, around.band) for o in some] for some in oriented.NEIGHBOURS]
        values = self.quantised[self.box(level, band)]
        for number, phase, slab in slabs_of(values.shape):
            constants = phase_features_of(level, oriented.seen(band), 1 in self.levels[level], self.mean_codes[level, band], number)
            constants += [32 * oriented.is_turned(band), 32 * self.predicted]
            known = known_members(sets, phase, number, values.shape[1:])
            features: Array = np.zeros((36, len(slab)), np.int64)
            for n, (b, *index) in enumerate(slab):
                place = tuple(2 * i + p for i, p in zip(index, phase, strict=True))
                column = [log_code(len(m) + 2 * neighbour_sum(magnitudes, b, place, m), len(m)) if m else 0 for m in known]
                column += [0 if plane is None else plane.at(b, tuple(index), phase) for plane in planes]
                column += around.picture.features(b, place, band)
                column += [0 if plane is None else plane.at(b, tuple(index), phase) for plane in reference]
                features[:, n] = column
            found = read_magnitudes(streams.contexts.buckets(features, constants), streams)
            signs = oriented.SignNetwork(streams.contexts.arrays)
            scale = streams.contexts.scales[min(level, 4), oriented.seen(band)]
            decoded = {}
            for n, magnitude in found.items():
                b, *index = slab[n]
                place = tuple(2 * i + p for i, p in zip(index, phase, strict=True))
                sums = signs.sums(*around.of(b, place, magnitude, constants))
                decoded[b, *place] = -magnitude if streams.decisions.take(3, oriented.sign_bucket(sums, scale)) else magnitude
            for at, value in decoded.items():
                values[at], magnitudes[at] = value, min(20, abs(value))

    def _read_band(self, level: int, band: Index, values: Array, magnitudes: Array, planes: list[Plane | None],
                   streams: Streams) -> None:
        """Decode a band, phase by phase and slab by slab."""
        for number, phase, slab in slabs_of(values.shape):
            phase_features = phase_features_of(level, band, 1 in self.levels[level], self.mean_codes[level, band], number)
            known = known_members(NEIGHBOURS, phase, number, values.shape[1:])
            features: Array = np.zeros((26, len(slab)), np.int64)
            for n, (b, *index) in enumerate(slab):
                place = tuple(2 * i + p for i, p in zip(index, phase, strict=True))
                for t, members in enumerate(known):
                    if members:
                        features[t, n] = log_code(len(members) + 2 * neighbour_sum(magnitudes, b, place, members), len(members))
                for t, plane in enumerate(planes, 7):
                    if plane is not None:
                        features[t, n] = plane.at(b, tuple(index), phase)
            found = read_magnitudes(streams.contexts.buckets(features, phase_features), streams)
            assert streams.signs is not None
            for n, magnitude in found.items():
                b, *index = slab[n]
                at = (b, *(2 * i + p for i, p in zip(index, phase, strict=True)))
                values[at], magnitudes[at] = -magnitude if streams.signs.number(1) else magnitude, min(20, magnitude)

    def values(self, centroids: tuple[float, ...], q: np.float32) -> Array:
        """The joined values."""
        return self.joined(reconstruct(self.quantised, centroids) * q)

    def joined(self, coefficients: Array) -> Array:
        """Coefficients joined."""
        v = coefficients.copy()
        for k in reversed(range(len(self.levels))):
            inside = corner(self.extents[k])
            for axis in reversed(self.levels[k]):
                v[inside] = join(v[inside], axis)
        return v


def phase_of(phase: Index, offset: Index) -> int:
    """Number of the phase in which a neighbour lies."""
    z, y, x = ((p + o) % 2 for p, o in zip(phase, offset, strict=True))
    return PHASES.index((z, y, x))


def slabs_of(shape: Index) -> Iterator[tuple[int, Index, list[Index]]]:
    """Number and parities of the phase, and the indices (batch, z, y, x) in it, of every slab of a band."""
    for number, phase in enumerate(PHASES):
        nz, ny, nx = (len(range(p, n, 2)) for p, n in zip(phase, shape[1:], strict=True))
        if nz and ny and nx:
            rows = max(1, 16384 // (shape[0] * nz * nx))
            for top in range(0, ny, rows):
                yield number, phase, [*itertools.product(range(shape[0]), range(nz), range(top, min(top + rows, ny)), range(nx))]


def phase_features_of(level: int, details: Index, z_split: bool, mean_code: int, number: int) -> list[int]:
    """The first 18 features of a phase."""
    out = [0] * 18
    out[min(level, 4)] = 32
    for axis in details:
        out[4 + axis] = 32
    out[8], out[9] = 32 * z_split, 4 * mean_code
    out[10 + number] = 32
    return out


def known_members(sets: list[list[Index]], phase: Index, number: int, extents: Index) -> list[list[Index]]:
    """The members of sets of neighbours whose phase comes before and holds anything."""
    holds = [all(p < n for p, n in zip(other, extents, strict=True)) for other in PHASES]
    return [[m for m in members if holds[k := phase_of(phase, m)] and k < number] for members in sets]


def read_magnitudes(buckets: Array, streams: Streams) -> dict[int, int]:
    """Magnitudes of what is not zero, by place in the slab."""
    decisions = streams.decisions
    nonzero = [n for n in range(buckets.shape[1]) if decisions.take(0, int(buckets[0, n]))]
    larger = [n for n in nonzero if decisions.take(1, int(buckets[1, n]))]
    values = dict.fromkeys(nonzero, 1)
    for n in larger:
        values[n] = 2 + decisions.run(2, int(buckets[2, n]))
    return values


def reconstruct(quantised: Array, centroids: tuple[float, ...]) -> Array:
    """Quantised values in steps, magnitudes 1, 2 and 3 at their centroids; float32."""
    magnitudes = np.abs(quantised)
    out: Array = magnitudes.astype(F)
    for m, centroid in enumerate(centroids, 1):
        out[magnitudes == m] = F(centroid)
    return np.where(quantised < 0, -out, out)


# -- Refinement -------------------------------------------------------------------------------------------------------


Network = Callable[[Array, Array, Any], Array]
"""Outputs (4,) from differences of the window (108,) and of means (18,), and the mean of the cell."""


def floating_network(name: bytes) -> Network:
    """The network of a hash in floating point."""
    layers = refinement_layers(name)

    def outputs(voxels: Array, cells: Array, centre: Any) -> Array:
        logs = np.array([np.log(1 + max(centre, F(0))), np.log(F(0.02) + np.abs(voxels).mean())], F)
        h = np.concatenate([voxels / (1 + np.abs(voxels)), cells / (1 + np.abs(cells)), logs])
        for i, (weight, bias) in enumerate(layers):
            h = weight @ h + bias if i == 0 else weight @ np.maximum(h, F(0)) + bias
        return h

    return outputs


def whole_logarithm(value: Any) -> np.float32:
    """The logarithm as a polynomial."""
    mantissa, exponent = np.frexp(F(value))
    t = F(2) * mantissa - F(1)
    return F((t + F(0.344) * (t * (F(1) - t)) + F(exponent - 1)) * F(0.6931472))


def whole_network(name: bytes) -> Network:
    """The network of a hash in whole numbers."""
    most, unit = [1024] * 126 + [14 * 1024, 5 * 1024], 1024
    layers: list[tuple[Array, Array, Array]] = []
    stored = refinement_layers(name)
    for number, (weight, bias) in enumerate(stored):
        doubles, offsets = weight.astype(np.float64), bias.astype(np.float64)
        bounds = [max(1.0, sum(abs(w) * m for w, m in zip(row, most, strict=True)) + abs(offset) * unit)
                  for row, offset in zip(doubles.tolist(), offsets.tolist(), strict=True)]
        powers = np.array([2.0 ** min(12, math.floor(math.log2((2**24 - 2**16) / bound))) for bound in bounds])
        rows, offsets = np.rint(doubles * powers[:, None]), np.rint(offsets * powers * unit)
        last = number == len(stored) - 1
        layers.append((rows.astype(np.int64), offsets.astype(np.int64), ((1 if last else 128) / (powers * unit)).astype(F)))
        most, unit = [2047] * len(rows), 128

    def outputs(voxels: Array, cells: Array, centre: Any) -> Array:
        parts = sum(int(np.rint(min(abs(v), F(128)) * F(16))) for v in voxels)
        lively = F(parts) * F(1 / (16 * 108)) + F(0.02)
        logs = [whole_logarithm(max(centre, F(0)) + F(1)), whole_logarithm(lively)]
        around = np.concatenate([voxels / (1 + np.abs(voxels)), cells / (1 + np.abs(cells)), logs]).astype(F)
        h = np.rint(around * F(1024)).astype(np.int64)
        h[-2:] = np.clip(h[-2:], (-14 * 1024, -5 * 1024), (14 * 1024, 5 * 1024))
        for rows, offsets, factors in layers[:-1]:
            h = np.clip(np.rint((rows @ h + offsets).astype(F) * factors), 0, 2047).astype(np.int64)
        rows, offsets, factors = layers[-1]
        result: Array = (rows @ h + offsets).astype(F) * factors
        return result

    return outputs


def correction(values: Array, q: np.float32, network: Network) -> Array:
    """What the refinement network says of a volume (z, y, x)."""
    w = np.clip(np.nan_to_num(values / q), -(2**20), 2**20).astype(F)
    nz, ny, nx = w.shape
    out = np.zeros_like(values)

    def voxel(z: int, y: int, x: int) -> Any:
        return w[min(max(z, 0), nz - 1), min(max(y, 0), ny - 1), min(max(x, 0), nx - 1)]

    def mean(z: int, y: int, x: int) -> Any:
        y, x = 2 * y, 2 * x
        return (voxel(z, y, x) + voxel(z, y, x + 1) + voxel(z, y + 1, x) + voxel(z, y + 1, x + 1)) * F(0.25)

    near, five = (-1, 0, 1), range(-2, 3)
    window = [*itertools.product((0, 1), (0, 1), near, near, near)]
    ring = [(0, dy, dx) for dy in five for dx in five if max(abs(dy), abs(dx)) == 2] + [(-2, 0, 0), (2, 0, 0)]
    for z, y, x in np.ndindex(nz, -(-ny // 2), -(-nx // 2)):
        centre = mean(z, y, x)
        voxels = np.array([voxel(z + dz, 2 * (y + dy) + py, 2 * (x + dx) + px) - centre for py, px, dz, dy, dx in window], F)
        cells = np.array([mean(z + dz, y + dy, x + dx) - centre for dz, dy, dx in ring], F)
        for output, (py, px) in zip(network(voxels, cells, centre), itertools.product((0, 1), repeat=2), strict=True):
            if 2 * y + py < ny and 2 * x + px < nx:
                out[z, 2 * y + py, 2 * x + px] = np.clip(output, F(-4), F(4)) * q
    return out


def refinement_layers(name: bytes) -> list[tuple[Array, Array]]:
    """Weights and biases of a refinement network."""
    with np.load(MODELS / f"refinement-{name.hex()}.npz") as stored:
        count = sum(key.startswith("weight") for key in stored.files)
        return [(stored[f"weight{i}"].astype(F), stored[f"bias{i}"].astype(F)) for i in range(count)]


# -- Section ----------------------------------------------------------------------------------------------------------


class Filter(NamedTuple):
    """The filter of a channel: pairs, clipped pairs, and the weights of every class."""

    pairs: int
    clipped: int
    weights: list[Array]


def read_filter(take: Callable[[int], bytes], along: int) -> Filter | None:
    """The filter of a channel, with so many features along z and the batch."""
    kind = take(1)[0]
    if not kind:
        return None
    classes, pairs, clipped = {1: (1, 12, 0), 2: (3, 12, 6), 3: (6, 20, 6)}[kind]
    weights = []
    for _ in range(classes):
        scale = F(2.0 ** -take(1)[0])
        weights.append(np.frombuffer(take(pairs + clipped + along), np.int8).astype(F) * scale)
    return Filter(pairs, clipped, weights)


class Head(NamedTuple):
    """What stands before the numbers of a section."""

    words: str
    step: int
    alpha: int
    constant: list[bool]
    minimum: Array
    maximum: Array
    gains: Array
    darks: Array
    rotations: list[tuple[int, int, float]] | None
    sign_bits: int
    networks: tuple[bytes, bytes]
    time_splits: int
    along_time: bool
    shifts: Array | None
    version: int
    film: tuple[int, int, int, int] | None
    filters: list[Filter | None]
    codec: tuple[str, int] | None
    motion: tuple[bytes, bytes]
    centroids: tuple[float, ...]
    end: int


def read_head(section: bytes, channels: int, times: int, depth: int, dtype: np.dtype[Any],
              pinned: tuple[bytes, bytes], version: int) -> Head:
    """The fields of a section up to the centroid codes."""
    at = 0

    def take(n: int) -> bytes:
        nonlocal at
        at += n
        assert at <= len(section)
        return section[at - n : at]

    flags = take(1)[0]
    constant = [False] * channels
    if flags & 16:
        bits = Bits(take(-(-channels // 8)))
        constant = [bool(bits.number(1)) for _ in range(channels)]
    n = channels - sum(constant)
    step, alpha = (int.from_bytes(take(2), "little"), take(1)[0]) if n else (0, 0)
    minimum = np.frombuffer(take(channels * dtype.itemsize), dtype).astype(np.float64)
    empty: Array = np.zeros(0)
    if not n:
        assert flags == 16
        return Head("", 0, 0, constant, minimum, empty, empty, empty, None, 0, pinned, 0, False, None, version, None,
                    [], None, (b"", b""), (), at)
    maximum = np.frombuffer(take(n * dtype.itemsize), dtype).astype(np.float64)
    codes = np.frombuffer(take(2 * n), "<i2").astype(np.float64) if flags & 32 else np.zeros(n)
    gains = (2.0 ** (codes / 1024)).astype(F).astype(np.float64)
    darks = np.frombuffer(take(2 * n), "<i2").astype(np.float64)

    def lists(counts: Sequence[int]) -> list[list[int]]:
        bits = Bits(take(int.from_bytes(take(3), "little")))
        found = [bits.rice(count) for count in counts]
        bits.end()
        return found

    rotations, sign_bits = None, 0
    if flags & 64:
        planes, scale = list(itertools.combinations(range(n), 2)), 128
        if n <= 8:
            angles = [int(a) for a in np.frombuffer(take(len(planes)), np.int8)]
        else:
            leading, precision = take(2)
            scale = 1 << precision
            planes = [plane for plane in planes if plane[0] < leading]
            if not leading:
                count = int.from_bytes(take(2), "little")
                planes = list(zip(*lists([count, count]), strict=True))
            (angles,) = lists([len(planes)])
        rotations = [(i, j, angle / scale) for (i, j), angle in zip(planes, angles, strict=True)]
        sign_bits = int.from_bytes(take(-(-n // 8)), "little")
    second = take(1)[0] if flags & 128 else 0
    film = None
    if second >= 128 and second & 124:
        assert second & 124 == 4
        octaves, offset, segment = take(3)
        film = (1 << (octaves >> 4), 8 << (octaves & 15), offset, segment + 1)
        second &= 3
    networks = (take(4), take(4)) if second & 1 else pinned
    shifts = None
    if second & 2:
        frames = times if times > 1 else depth
        shifts = np.repeat(np.cumsum(lists([frames, frames]), 1).T, times * depth // frames, 0)
    words = SCHEDULES[flags & 15] if flags & 15 < 15 else ""
    while flags & 15 == 15:
        four = Bits(take(1))
        quarters = [four.number(2) for _ in range(4)]
        words += "".join(" " + ("", "yx", "z", "zyx")[code] for code in quarters)
        if 0 in quarters:
            break
    filters: list[Filter | None] = []
    last = take(1)[0] if version >= 5 else 0
    if last & 1:
        filters = [read_filter(take, (times > 1) + (depth > 1)) for _ in range(n)]
    codec = None
    if last & 2:
        number, codec_version = take(2)
        codec = ("hevc", "av1")[number], codec_version
    motion = (b"", b"")
    if film:
        n_bits, at = varint(section, at)
        n_decisions, at = varint(section, at)
        motion = take(n_bits), take(n_decisions)
    centroids = () if codec else tuple(m + (code - 128) / 256 for m, code in enumerate(take(3), 1))
    return Head(words, step, alpha, constant, minimum, maximum, gains, darks, rotations, sign_bits, networks,
                second >> 2 & 31, second >= 128, shifts, version, film, filters, codec, motion, centroids, at)


def decode_section(section: bytes, axes: str, shape: Index, dtype: np.dtype[Any], pinned: tuple[bytes, bytes],
                   version: int) -> Array:
    """The array of a part.

    Parameters
    ----------
    section : bytes
        The one section of the part.
    axes : str
        A letter of ``TCZYXS`` per array axis.
    shape : tuple of int
        Extents of the part.
    dtype : dtype
        Of the array.
    pinned : tuple of bytes
        Hashes of the context and refinement network that a part need not name.
    version : int
        Of the bitstream.
    """
    size = dict(zip(axes, shape, strict=True))
    times, depth, ny, nx = (size.get(axis, 1) for axis in "TZYX")
    channels = size.get("C", 1) * size.get("S", 1)
    head = read_head(section, channels, times, depth, dtype, pinned, version)
    out: Array = np.empty((channels, times * depth, ny, nx), dtype)
    if all(head.constant):
        assert head.end == len(section)
        out[:] = head.minimum.astype(dtype)[:, None, None, None]
    else:
        volumes = (times, depth, ny, nx) if times > 1 and depth > 1 else (1, times * depth, ny, nx)
        if head.along_time:
            volumes = (depth, times, ny, nx)
        if head.codec:
            values = of_codec(section[head.end :], head, axes, shape, dtype).reshape(-1, *volumes)
        elif head.film:
            values = read_film(section, head, (times, depth, ny, nx)).reshape(-1, *volumes)
        else:
            values = read_values(section, head, volumes)
        values = refined(values, head)
        if head.along_time:
            values = values.swapaxes(1, 2)
        values = unroll(values.reshape(-1, times * depth, ny, nx), head)
        to_grey(unrotate(values, head), head, out)
    first = [i for i, axis in enumerate(axes) if axis in "CS"]
    order = [*first, *(axes.index(axis) for axis in "TZYX" if axis in axes)]
    return out.reshape([shape[i] for i in order]).transpose(np.argsort(order))


def of_codec(stream: bytes, head: Head, axes: str, shape: Index, dtype: np.dtype[Any]) -> Array:
    """The values V that a codec decodes to: (channel, frame, y, x) of the coded channels."""
    assert head.codec is not None
    name, version = head.codec
    decoder = get_method(name).decoder(Layout(shape, axes, dtype), version, PartData((stream,), trusted=True))
    grey = decoder.read(tuple(range(n) for n in shape))
    order = [i for i, axis in enumerate(axes) if axis in "CS"] + [axes.index(axis) for axis in "TZYX" if axis in axes]
    frames = grey.transpose(order).reshape(len(head.constant), -1, *(shape[axes.index(axis)] for axis in "YX"))
    assert head.rotations is None
    reach = math.sqrt(math.fsum((head.gains**2).tolist()))
    values = []
    for k, c in enumerate(i for i, constant in enumerate(head.constant) if not constant):
        low, span = head.minimum[c], head.maximum[k] - head.minimum[c]
        value = ((frames[c].astype(np.float64) - low) / span * head.gains[k]).astype(F)
        values.append(value - F(head.darks[k] * (reach / 32768)))
    return np.stack(values)


def read_groups(section: bytes, head: Head, groups: list[Group], one_by_one: bool) -> None:
    """Decode the coefficients of all groups."""
    n_numbers, at = varint(section, head.end)
    n_decisions, at = (len(section), at) if head.version >= 5 else varint(section, at)
    numbers, signs = Bits(section[at : at + n_numbers]), Bits(section[at + n_numbers + n_decisions :])
    decisions = Decisions(section[at + n_numbers : at + n_numbers + n_decisions], 4 if head.version >= 5 else 3)
    streams = Streams(Contexts(head.networks[0], numbers), decisions, None if head.version >= 5 else signs)
    assert streams.contexts.oriented == (head.version >= 5)
    for group in groups:
        group.read_numbers(numbers)
    if head.version >= 5:
        streams.contexts.read_scales(numbers, groups)
    numbers.end()
    for some in [[group] for group in groups] if one_by_one else [groups]:
        for level in reversed(range(len(some[0].levels))):
            for group in some:
                group.read_level(level, streams)
    decisions.end()
    assert len(signs.text) - signs.at < 8


def step_of(head: Head) -> np.float32:
    """The quantiser step q."""
    return F(2.0 ** (1 - 17 * head.step / 65535))


def read_values(section: bytes, head: Head, volumes: Index) -> Array:
    """The values V of all coded channels, not refined: (channel, batch, z, y, x)."""
    n = len(head.maximum)
    halves = [volumes[0]]
    for _ in range(head.time_splits):
        halves.append(-(-halves[-1] // 2))
    bands = [halves[-1], *(halves[i] - halves[i + 1] for i in reversed(range(head.time_splits)))]
    groups: list[Group] = []
    for extent in bands:
        for channel in range(n):
            groups.append(Group(head.words, (extent, *volumes[1:]), groups[-1] if channel else None))
    read_groups(section, head, groups, one_by_one=False)
    joined = [group.values(head.centroids, step_of(head)) for group in groups]
    values = np.stack([np.concatenate(joined[channel::n]) for channel in range(n)])
    for k in reversed(range(head.time_splits)):
        values[:, : halves[k]] = join(values[:, : halves[k]], 1)
    return values


def refined(values: Array, head: Head) -> Array:
    """The values V with their refinement."""
    if head.alpha:
        network = network_of(head)
        for channel, batch in np.ndindex(values.shape[:2]):
            values[channel, batch] += F(head.alpha / 128) * correction(values[channel, batch], step_of(head), network)
    for channel, one in enumerate(head.filters):
        if one:
            values[channel] += filter_of(values[channel], one, step_of(head))
    return values


PAIRS = [(0, 1), (1, 0), (0, 2), (1, -1), (1, 1), (2, 0), (0, 3), (1, -2), (1, 2), (2, -1), (2, 1), (3, 0), (0, 4), (1, -3), (1, 3),
         (2, -2), (2, 2), (3, -1), (3, 1), (4, 0)]


def filter_of(volume: Array, one: Filter, q: np.float32) -> Array:
    """What a filter adds to a volume (batch, z, y, x)."""
    wide = np.pad(volume, ((0, 0), (0, 0), (4, 4), (4, 4)), mode="edge")
    ny, nx = volume.shape[2:]

    def at(dy: int, dx: int, margin: int = 0) -> Array:
        return wide[:, :, 4 + dy - margin : 4 + dy + ny + margin, 4 + dx - margin : 4 + dx + nx + margin]

    def box(values: Array) -> Array:
        for axis in (2, 3):
            n = values.shape[axis] - 6
            total = np.take(values, range(n), axis)
            for k in range(1, 7):
                total = total + np.take(values, range(k, k + n), axis)
            values = total
        return values

    rises = [box(np.abs((at(-dy, -dx, 3) + at(dy, dx, 3)) - F(2) * at(0, 0, 3))) for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1))]
    total = ((rises[0] + rises[1]) + rises[2]) + rises[3]
    direction = np.where(np.max(rises, 0) > F(0.36) * total, 1 + np.argmax(rises, 0), 0)
    lively = (rises[0] + rises[1] > F(24.5 * float(q))).astype(int)
    out = np.zeros_like(volume)
    for place in np.ndindex(volume.shape):
        b, z, y, x = place
        d = int(direction[place])
        class_ = {1: 0, 3: (0, 1, 1, 2, 2)[d], 6: 2 * (0, 1, 1, 2, 2)[d] + int(lively[place])}[len(one.weights)]
        pairs = list(range(one.pairs))
        if len(one.weights) > 1 and d in (2, 4):
            pairs = [PAIRS.index(turned) for dy, dx in PAIRS[: one.pairs]
                     for turned in ([(dx, dy), (-dx, -dy)] if d == 2 else [(dy, -dx), (-dy, dx)]) if turned in PAIRS]
        weights, v, features = one.weights[class_], volume[place], []
        for k, (dy, dx) in enumerate(PAIRS[: one.pairs] + PAIRS[: one.clipped]):
            before, after = (wide[b, z, 4 + y + s * dy, 4 + x + s * dx] for s in (-1, 1))
            cut = F(0.25 * float(q))
            clipped = min(max(before - v, -cut), cut) + min(max(after - v, -cut), cut)
            features.append((before + after) - F(2) * v if k < one.pairs else clipped)
        order = pairs + [one.pairs + k for k in pairs[: one.clipped]]
        found = [(weights[j], f) for j, f in zip(order, features, strict=True)]
        for axis in (1, 0):
            if volume.shape[axis] > 1:
                n = volume.shape[axis] - 1
                ends = [(*place[:axis], min(max(place[axis] + s, 0), n), *place[axis + 1 :]) for s in (-1, 1)]
                found.append((weights[len(found)], (volume[ends[0]] + volume[ends[1]]) - F(2) * v))
        for weight, feature in found:
            out[place] += weight * feature
    return out


def network_of(head: Head) -> Network:
    """The refinement network of a section."""
    return (whole_network if head.version >= 4 else floating_network)(head.networks[1])


# -- Films ------------------------------------------------------------------------------------------------------------


class Generation(NamedTuple):
    """Time points of one place, and what each of them is predicted from."""

    depth: int
    frames: list[int]
    references: list[list[int]]


def generations(times: int, group: int, segment: int) -> list[Generation]:
    """All of them in their order."""
    places: dict[Index, list[tuple[int, list[int]]]] = {}

    def put(place: Index, frame: int, references: list[int]) -> None:
        places.setdefault(place, []).append((frame, references))

    def between(a: int, b: int, depth: int) -> None:
        if b - a > 1:
            m = (a + b) // 2
            put((depth, 0, 2), m, [a, b])
            between(a, m, depth + 1)
            between(m, b, depth + 1)

    for s in range(0, times, segment):
        e = min(s + segment, times)
        put((0, 0, 0), s, [])
        if group == 1:
            for f in range(s + 1, e):
                references = [r for r in (f - 1, f - 2) if r >= s]
                put((1, f - s, len(references)), f, references)
            continue
        row = sorted({*range(s, e, group), e - 1})
        for k, (a, b) in enumerate(itertools.pairwise(row)):
            put((1, k, 1), b, [a])
            between(a, b, 2)
    return [Generation(place[0], *(list(part) for part in zip(*sorted(places[place]), strict=True))) for place in sorted(places)]


class MotionBits:
    """Flags, runs and plain bits of the motion."""

    def __init__(self, bits: bytes, decisions: bytes) -> None:
        self.bits, self.decisions = Bits(bits), Decisions(decisions, 2)
        self.buckets = [self.bits.number(5) if self.bits.number(1) else 0 for _ in range(36)]

    def flag(self, context: int) -> int:
        """A flag."""
        return self.decisions.take(0, self.buckets[context])

    def run(self, context: int) -> int:
        """A run."""
        return self.decisions.run(1, self.buckets[context])


Place = tuple[int, int]


def block_steps(rows: int, columns: int) -> Iterator[list[tuple[Place, list[Place]]]]:
    """Step by step the blocks and their neighbours."""
    yield [((0, 0), [])]
    d = 1
    while d < max(rows, columns):
        d *= 2
    while d > 1:
        d //= 2
        diagonal = [(-d, -d), (-d, d), (d, -d), (d, d)]
        along_x, along_y = [(0, -d), (0, d)], [(-d, 0), (d, 0)]
        for (odd_y, odd_x), offsets in (((1, 1), diagonal), ((0, 1), along_x + along_y), ((1, 0), along_y + along_x)):
            step = []
            for i in range(odd_y * d, rows, 2 * d):
                for j in range(odd_x * d, columns, 2 * d):
                    near: list[Place] = []
                    for dy, dx in offsets:
                        y = i + dy if 0 <= i + dy < rows else i - dy
                        x = j + dx if 0 <= j + dx < columns else j - dx
                        near.append((y, x) if 0 <= y < rows and 0 <= x < columns else near[0])
                    step.append(((i, j), near))
            if step:
                yield step


def read_modes(source: MotionBits, planes: int, grid: Place, references: int) -> Array:
    """Modes (planes, rows, columns)."""
    modes: Array = np.zeros((planes, *grid), np.int64)
    for step in block_steps(*grid):
        open_ = [(p, place, near) for p in range(planes) for place, near in step]
        found = {}
        for mode, first in ((3, 0), (2, 4), (1, 8))[: 3 if references == 2 else 1]:
            left = []
            for p, place, near in open_:
                same = sum(modes[(p, *n)] == mode for n in near)
                if source.flag(first + (3 if not near else (0, 1, 1, 2, 2)[same])):
                    found[p, *place] = mode
                else:
                    left.append((p, place, near))
            open_ = left
        for at, mode in found.items():
            modes[at] = mode
    return modes


def read_vectors(source: MotionBits, used: Array, earlier: Array) -> Array:
    """Vectors (planes, rows, columns, 2) for a reference."""
    vectors: Array = np.zeros((*used.shape, 2), np.int64)
    for step in block_steps(*used.shape[1:]):
        asked = []
        for p in range(len(used)):
            for place, near in step:
                at = (p, *place)
                around = [tuple(vectors[(p, *n)].tolist()) for n in near]
                before = tuple(earlier[at].tolist())
                expected, c = before, 3
                if near:
                    parts = list(zip(*around, strict=True))
                    expected = tuple((sum(v) - max(v) - min(v)) // 2 for v in parts)
                    spread = max(max(v) - min(v) for v in parts)
                    c = 0 if spread == 0 else 1 if spread <= 4 else 2
                vectors[at] = expected
                if used[at]:
                    asked.append((at, c, [expected, before, *around]))
        found = dict[Index, tuple[int, ...]]()
        for k, context in enumerate((12, 16, 17, 18, 18, 18) if step[0][1] else (12, 16)):
            for at, c, candidates in asked:
                if at not in found and candidates[k] not in candidates[:k] and source.flag(context + (c if k == 0 else 0)):
                    found[at] = candidates[k]
        for chosen, vector in found.items():
            vectors[chosen] = vector
        read_differences(source, vectors, [(at, c) for at, c, _ in asked if at not in found])
    return vectors


def read_differences(source: MotionBits, vectors: Array, asked: list[tuple[Index, int]]) -> None:
    """Add differences to vectors that are as expected so far."""
    in_y = [not source.flag(20 + c) for _, c in asked]
    in_x = [not source.flag(24 + c) if y else True for (_, c), y in zip(asked, in_y, strict=True)]
    for axis, moved in enumerate((in_y, in_x)):
        some = [block for block, m in zip(asked, moved, strict=True) if m]
        octaves = [source.run(28 + c) for _, c in some]
        for (at, _), h in zip(some, octaves, strict=True):
            u = source.bits.number(h + 1)
            vectors[(*at, axis)] += (-1) ** (u & 1) * ((1 << h) + u // 2)


TAPS = ((0, 0, 0, 64, 0, 0, 0, 0), (-1, 4, -10, 58, 17, -5, 1, 0), (-1, 4, -11, 40, 40, -11, 4, -1), (0, 1, -5, 17, 58, -10, 4, -1))


def window_of(plane: Array, top: int, left: int, side: int, vector: Array) -> Array:
    """A window of a decoded plane moved by a vector."""
    ny, nx = plane.shape
    (wy, wx), (py, px) = (int(v) // 4 for v in vector), (int(v) % 4 for v in vector)
    y = np.clip(np.arange(top + wy - 3, top + wy + side + 4), 0, ny - 1)
    x = np.clip(np.arange(left + wx - 3, left + wx + side + 4), 0, nx - 1)
    wide: Array = plane[np.ix_(y, x)]
    if py == px == 0:
        return wide[3:-4, 3:-4]
    for axis, p in enumerate((py, px)):
        v = np.moveaxis(wide, axis, 0)
        out: Array = F(TAPS[p][3] / 64) * v[3 : 3 + side]
        for k in (2, 4, 1, 5, 0, 6, 7):
            out = out + F(TAPS[p][k] / 64) * v[k : k + side]
        wide = np.moveaxis(out, 0, axis)
    return wide


def predict(references: list[Array], vectors: list[Array], modes: Array, block: int) -> Array:
    """A plane from its references, each with its vectors."""
    ny, nx = references[0].shape
    a = 2 * np.arange(block) + 1
    rise = np.where(a < block, 32 * a * a // block**2, 64 - 32 * (2 * block - a) ** 2 // block**2)
    weights = (np.concatenate([rise, 64 - rise]) / 64).astype(F)
    half = block // 2
    total: Array = np.zeros(((len(modes) + 1) * block, (len(modes[0]) + 1) * block), F)
    norm = total.copy()
    for top, left in itertools.product((0, block), repeat=2):
        quarter = slice(top, top + block), slice(left, left + block)
        weight = weights[quarter[0], None] * weights[None, quarter[1]]
        for i, j in np.ndindex(modes.shape):
            window: Array = np.zeros((2 * block, 2 * block), F)
            for k, (plane, field) in enumerate(zip(references, vectors, strict=True)):
                if modes[i, j] in (k, 2):
                    factor = F(0.5 if modes[i, j] == 2 else 1)
                    window = window + window_of(plane, i * block - half, j * block - half, 2 * block, field[i, j]) * factor
            at = slice(i * block + top, (i + 1) * block + top), slice(j * block + left, (j + 1) * block + left)
            total[at] += window[quarter] * weight
            norm[at] += weight
    inside = slice(half, half + ny), slice(half, half + nx)
    return total[inside] / norm[inside]


def split(values: Array, axis: int) -> Array:
    """Lifting along one axis, in float32: the inverse of `join`."""
    v = np.moveaxis(values, axis, 0)
    a, d = v[0::2].copy(), v[1::2].copy()
    for step, target in reversed(LIFTING):
        lift(a, d, F(-step), target)
    return np.moveaxis(np.concatenate([a * F(LIFTING_SCALE), d * F(1 / LIFTING_SCALE)]), 0, axis)


def read_film(section: bytes, head: Head, shape: Index) -> Array:
    """The values V of a film, not refined: (channel, time, z, y, x)."""
    assert head.film
    group_length, block, offset, segment = head.film
    times, depth, ny, nx = shape
    n = len(head.maximum)
    order = generations(times, group_length, segment)
    groups: list[Group] = []
    for k, generation in enumerate(order):
        alike = [i for i in range(k) if order[i].depth == generation.depth and len(order[i].frames) == len(generation.frames)]
        for channel in range(n):
            reference = groups[-1] if channel else groups[alike[-1] * n] if alike else None
            predicted = bool(generation.references[0])
            groups.append(Group(head.words, (len(generation.frames), depth, ny, nx), reference, predicted))
    read_groups(section, head, groups, one_by_one=True)
    source, grid = MotionBits(*head.motion), (-(-ny // block), -(-nx // block))
    alphas = [[source.bits.number(4) for _ in range(n)] for _ in order] if head.version >= 4 else [[0] * n for _ in order]
    network = network_of(head)
    decoded: Array = np.zeros((n, *shape), F)
    paths: dict[int, tuple[int, Array]] = {}
    for k, generation in enumerate(order):
        q = F(float(step_of(head)) * float(F(2.0 ** (offset * generation.depth / 8))))
        some = groups[k * n : (k + 1) * n]
        r = len(generation.references[0])
        if r:
            modes, vectors, weights = read_motion(source, generation, grid, depth, paths, [len(group.bands) + 1 for group in some])
            codes = [[32] * len(generation.frames) for _ in range(n)]
            if head.version >= 4 and source.bits.number(1):
                codes = [[source.bits.number(6) for _ in generation.frames] for _ in range(n)]
        for channel, group in enumerate(some):
            coefficients = reconstruct(group.quantised, head.centroids) * q
            if r:
                seen = np.empty(coefficients.shape, F)
                for f, z in np.ndindex(len(generation.frames), depth):
                    planes = [decoded[channel, t, z] for t in generation.references[f]]
                    p = f * depth + z
                    seen[f, z] = predict(planes, [v[p] for v in vectors], modes[p], block)
                for level, axes in enumerate(group.levels):
                    inside = corner(group.extents[level])
                    for axis in axes:
                        seen[inside] = split(seen[inside], axis)
                boxes = [*(group.box(*band) for band in group.bands), corner(group.extents[-1])]
                for f in range(len(seen)):
                    for weight, box in zip(weights[channel][f], boxes, strict=True):
                        seen[f][box[1:]] *= F(weight / 8) * F(1 + (codes[channel][f] - 32) / 64)
                coefficients = coefficients + seen
            found = group.joined(coefficients)
            if alphas[k][channel]:
                lacking = np.stack([correction(volume, q, network) for volume in found])
                found = found + F(alphas[k][channel] / 8) * lacking
            decoded[channel, generation.frames] = found
    source.bits.end()
    source.decisions.end()
    return decoded


def read_motion(source: MotionBits, generation: Generation, grid: Place, depth: int, paths: dict[int, tuple[int, Array]],
                bands: list[int]) -> tuple[Array, list[Array], list[list[list[int]]]]:
    """Modes, vectors by reference, and weights of a generation; its vectors are added to the paths."""
    n, r = len(generation.frames), len(generation.references[0])
    earlier: Array = np.zeros((r, n, depth, *grid, 2), np.int64)
    for f, (frame, references) in enumerate(zip(generation.frames, generation.references, strict=True)):
        known = [paths[t] for t in references if t in paths]
        for k, reference in enumerate(references):
            if known:
                d, v = known[-1]
                t = (reference - frame) * (1 if d > 0 else -1)
                earlier[k, f] = (2 * t * v + abs(d)) // (2 * abs(d))
    modes = read_modes(source, n * depth, grid, r)
    vectors = [read_vectors(source, (modes == k) | (modes == 2), earlier[k].reshape(-1, *grid, 2)) for k in range(r)]
    weights = [[[8 - source.run(32 + min(b, 3)) for b in range(count)] for _ in range(n)] for count in bands]
    for f, (frame, references) in enumerate(zip(generation.frames, generation.references, strict=True)):
        paths[frame] = references[0] - frame, vectors[0].reshape(n, depth, *grid, 2)[f]
    return modes, vectors, weights


def unroll(values: Array, head: Head) -> Array:
    """Planes rolled back by their shifts: (channel, frame, y, x)."""
    if head.shifts is None:
        return values
    out = np.empty_like(values)
    ny, nx = values.shape[2:]
    for frame, (y, x) in enumerate(head.shifts.tolist()):
        for i, j in np.ndindex(ny, nx):
            out[:, frame, i, j] = values[:, frame, (i + y) % ny, (j + x) % nx]
    return out


def unrotate(values: Array, head: Head) -> Array:
    """Dark levels added, channels rotated back."""
    reach = np.sqrt((head.gains**2).sum())
    v = [plane + F(dark * (reach / 32768)) for plane, dark in zip(values, head.darks, strict=True)]
    if head.rotations is not None:
        v = [-plane if head.sign_bits >> k & 1 else plane for k, plane in enumerate(v)]
        for i, j, t in reversed(head.rotations):
            c, s = F((1 - t * t) / (1 + t * t)), F(2 * t / (1 + t * t))
            v[i], v[j] = v[i] * c - v[j] * s, v[j] * c + v[i] * s
    return np.stack(v)


def to_grey(values: Array, head: Head, out: Array) -> None:
    """Grey levels of all channels, constant ones included, into an array of its type."""
    coded = iter(zip(values.astype(np.float64), head.maximum, head.gains, strict=True))
    for channel, (constant, minimum) in enumerate(zip(head.constant, head.minimum, strict=True)):
        if constant:
            out[channel] = minimum
            continue
        v, maximum, gain = next(coded)
        grey = v * ((maximum - minimum) / gain) + minimum
        grey = np.clip(np.where(np.isnan(grey), minimum, grey), minimum, maximum)
        out[channel] = np.rint(grey) if out.dtype.kind in "iu" else grey

"""Latent grids to bytes: every latent is coded with the table of a class, which follows from the latents around it.

Latents of a fitted image are mostly 0, and large ones lie beside large ones. The levels of a pyramid are coded from the coarsest to
the finest, and a level in phases, one for every combination of even and odd positions along its axes, so that NumPy codes all
latents of a phase at once. A latent's class says how large those around it are that are known already: its neighbours of earlier
phases, the nearest latent of the coarser level with its neighbours, and those at the same place in earlier features. Classes have
a table of `microfield.coding.weights` each, those of the finest levels their own: one to three groups of tables, whichever gives
the fewest bytes. All of this is integer arithmetic, so every machine decodes the same latents.

A stream is a byte with the number of groups, a table byte for every class of every group, and the range-coded latents.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from microfield.coding.range_coder import PRECISION, Decoder, Encoder, lanes_for
from microfield.coding.tables import Tables
from microfield.coding.weights import SHAPES, bell, best_table
from microfield.errors import FormatError

Ints = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

EDGES = (1, 5, 10, 19, 38, 77, 160, 320)
"""A latent is in the class of as many of these as 64 times the mean magnitude around it reaches."""

CLASSES = len(EDGES) + 1

EDGE_UNIT = 64

MOST_GROUPS = 3
"""Groups of tables at most: the finest level has the first one, all levels beyond the number of groups share the last."""

LARGEST_LATENT = 500
"""No latent is larger in magnitude: tables without raw bits reach this far."""

LEAST_MEAN = 1e-3
"""A class is expected to have at least this mean magnitude."""

LEAST_REACH = 32
"""All tables reach so far: among many latents of 0 a large one may stand alone."""

LARGEST_TABLE = SHAPES * 41
"""Tables from here on have raw bits, and are not used."""

LATENTS_A_LANE = 16
"""So many latents are taken to be a byte when the number of lanes of a stream is chosen."""


def encode(levels: Sequence[Ints]) -> bytes:
    """The levels of a pyramid to bytes.

    Parameters
    ----------
    levels : int arrays of shape (features, ...), the finest first
        Latents; each level has the same number of axes, and at most twice the extents of the next one.

    Raises
    ------
    OverflowError
        If a latent is larger than `LARGEST_LATENT`.
    """
    batches = _in_order(levels)
    codes, _ = _best_tables(batches)
    groups = len(codes) // CLASSES
    centres, tables = _centres(codes), _tables_of(codes)
    encoder = Encoder(lanes_for(sum(z.size for z in levels) // LATENTS_A_LANE))
    for level, classes, values in batches:
        rows = classes + CLASSES * min(level, groups - 1)
        encoder.put_symbols(values + centres[rows], tables, rows)
    return bytes([groups]) + codes + encoder.finish()


def estimate_bits(levels: Sequence[Ints]) -> float:
    """Bits that `encode` needs, without the few bytes that the range coder itself adds."""
    return 8 + _best_tables(_in_order(levels))[1]


def expected(levels: Sequence[Ints]) -> tuple[float, list[Float32]]:
    """Bits that `encode` needs, about, and how every latent is distributed for it.

    The distribution is a Laplace distribution around 0 that is rounded to integers and falls by exp(-decay) from one to the next;
    the decays are those of the latents' classes, in arrays of the shapes of ``levels``.
    """
    batches = _in_order(levels)
    codes, bits = _best_tables(batches)
    groups = len(codes) // CLASSES
    total, count = np.zeros(len(codes)), np.zeros(len(codes))
    rows = [classes + CLASSES * min(level, groups - 1) for level, classes, _ in batches]
    for row, (_, _, values) in zip(rows, batches, strict=True):
        total += np.bincount(row, np.abs(values), len(codes))
        count += np.bincount(row, minlength=len(codes))
    # With x = exp(-decay / 2) the mean magnitude is x / (1 - x^2).
    mean = np.maximum(total / np.maximum(count, 1), LEAST_MEAN)
    decay = (-2 * np.log((np.sqrt(1 + 4 * mean**2) - 1) / (2 * mean))).astype(np.float32)
    found = [np.empty(level.shape, np.float32) for level in levels]
    for row, turn in zip(rows, _turns([np.zeros_like(level) for level in levels]), strict=True):
        place = found[turn.level][turn.feature][turn.place]
        place[...] = decay[row].reshape(place.shape)
    return 8 + bits, found


def decode(data: bytes, shapes: Sequence[tuple[int, ...]]) -> list[Ints]:
    """Inverse of `encode`: the levels, given their shapes.

    Raises
    ------
    FormatError
        If the bytes are not such a stream.
    """
    groups = data[0] if data else 0
    codes, rest = data[1 : 1 + CLASSES * groups], data[1 + CLASSES * groups :]
    if not 1 <= groups <= MOST_GROUPS or len(codes) < CLASSES * groups or max(codes) >= LARGEST_TABLE:
        raise FormatError("the latents are cut short, or name a table that does not exist.")
    centres, tables = _centres(codes), _tables_of(codes)
    decoder = Decoder(rest, lanes_for(sum(map(math.prod, shapes)) // LATENTS_A_LANE))
    levels = [np.zeros(shape, np.int64) for shape in shapes]
    for turn in _turns(levels):
        rows = turn.classes() + CLASSES * min(turn.level, groups - 1)
        turn.put(decoder.get(tables, rows) - centres[rows])
    decoder.finish()
    return levels


_Batch = tuple[int, Ints, Ints]
"""Level, classes and values of the latents of a turn."""


def _in_order(levels: Sequence[Ints]) -> list[_Batch]:
    """The latents of all turns, in the order in which they are coded."""
    if max(int(np.abs(level).max(initial=0)) for level in levels) > LARGEST_LATENT:
        raise OverflowError(f"a latent is larger than {LARGEST_LATENT}.")
    batches = []
    for turn in _turns([np.zeros_like(level) for level in levels]):
        values = levels[turn.level][turn.feature][turn.place].ravel()
        batches.append((turn.level, turn.classes(), values))
        turn.put(values)
    return batches


def _best_tables(batches: list[_Batch]) -> tuple[bytes, float]:
    """The tables of all classes, group by group, for the number of groups that takes the fewest bits; these bits."""
    found = []
    for groups in range(1, MOST_GROUPS + 1):
        codes, total = [], 0.0
        for group in range(groups):
            mine = [(classes, values) for level, classes, values in batches if min(level, groups - 1) == group]
            classes, values = (np.concatenate(parts) for parts in zip(*mine, strict=True)) if mine else (_NONE, _NONE)
            best = [best_table(values[classes == k], LARGEST_TABLE, LEAST_REACH) for k in range(CLASSES)]
            codes += [code for code, _ in best]
            total += sum(8 + bits for _, bits in best)
        found.append((total, bytes(codes)))
    total, tables = min(found)
    return tables, total


_NONE = np.zeros(0, np.int64)


def _centres(codes: bytes) -> Ints:
    """The symbol of 0 in every table."""
    return np.asarray([bell(code, LEAST_REACH).size // 2 for code in codes], np.int64)


@lru_cache(maxsize=16)
def _tables_of(codes: bytes) -> Tables:
    """The tables of these codes, filled up to the longest."""
    tables = [bell(code, LEAST_REACH).astype(np.int64) for code in codes]
    cumulative = np.full((len(tables), max(t.size for t in tables) + 1), 1 << PRECISION, np.int64)
    for row, table in zip(cumulative, tables, strict=True):
        row[: table.size + 1] = np.concatenate(([0], np.cumsum(table)))
    return Tables(cumulative)


@lru_cache(maxsize=8)
def _phases(ndim: int) -> list[tuple[int, ...]]:
    """First positions of the phases along every axis, 0 or 1: those with an even number of 1 come first.

    So every latent of the later half knows its neighbours along every axis.
    """
    return sorted(itertools.product((0, 1), repeat=ndim), key=lambda first: (sum(first) % 2, sum(first), first))


@lru_cache(maxsize=8)
def _offsets(ndim: int) -> list[tuple[tuple[int, ...], int]]:
    """Neighbours that a class counts, as offsets with their weights: 2 along an axis, 1 on a diagonal of two axes."""
    near = (o for o in itertools.product((-1, 0, 1), repeat=ndim) if 1 <= np.abs(o).sum() <= 2)
    return [(o, 3 - int(np.abs(o).sum())) for o in near]


class _Turn:
    """The latents of one phase of feature number ``feature`` of a level.

    ``place`` are their positions in the feature's array. ``around`` holds, for all latents of the feature, the sum of magnitudes
    of the coarser level and of earlier features, and ``weight`` the weight of these. ``padded`` holds magnitudes and which of them
    are known, with a border of 0.
    """

    def __init__(self, number: tuple[int, int], latents: Ints, padded: tuple[Ints, Ints], first: tuple[int, ...],
                 around: tuple[Ints, int]) -> None:
        self.level, self.feature = number
        self.latents, self.padded, self.first = latents, padded, first
        self.around, self.weight = around
        self.place = tuple(slice(f, None, 2) for f in first)

    def classes(self) -> Ints:
        """Class of every latent, in C order."""
        magnitudes, known = self.padded
        total, count = self.around[self.place].copy(), np.full(self.around[self.place].shape, self.weight)
        unit = 4 * self.latents.ndim
        for offset, weight in _offsets(self.latents.ndim):
            seen = tuple(slice(1 + f + o, n + 1 + o, 2) for f, o, n in zip(self.first, offset, self.latents.shape, strict=True))
            total += unit * weight * magnitudes[seen]
            count += unit * weight * known[seen]
        scaled = EDGE_UNIT * total.ravel()
        count = np.maximum(count.ravel(), 1)
        return np.asarray(sum((scaled >= edge * count).astype(np.int64) for edge in EDGES))

    def put(self, values: npt.NDArray[np.integer]) -> None:
        """Take the values of the latents, in C order."""
        self.latents[self.place] = values.reshape(self.latents[self.place].shape)
        inside = tuple(slice(1 + f, n + 1, 2) for f, n in zip(self.first, self.latents.shape, strict=True))
        magnitudes, known = self.padded
        magnitudes[inside] = np.abs(self.latents[self.place])
        known[inside] = 1


def _turns(levels: list[Ints]) -> Iterator[_Turn]:
    """All turns in the order of coding; each level is filled by the turns' `_Turn.put` before the next one is begun."""
    coarser: Ints | None = None
    for depth, level in reversed(list(enumerate(levels))):
        ndim = level.ndim - 1
        siblings = np.zeros(level.shape[1:], np.int64)
        for number, latents in enumerate(level):
            around, weight = 8 * ndim * siblings, 8 * ndim * number
            if coarser is not None:
                around = around + _parents(np.abs(coarser[number]), latents.shape)
                weight += 4 * ndim
            padded = np.zeros([n + 2 for n in latents.shape], np.int64), np.zeros([n + 2 for n in latents.shape], np.int64)
            for first in _phases(ndim):
                yield _Turn((depth, number), latents, padded, first, (around, weight))
            siblings = siblings + np.abs(latents)
        coarser = level


def _parents(magnitudes: Ints, shape: tuple[int, ...]) -> Ints:
    """For every latent of a level of this shape: twice the number of axes times the coarser latent, plus its neighbours along axes.

    Beyond the edges the coarser level goes on as at its edge.
    """
    padded = np.pad(magnitudes, 1, mode="edge")
    inner = tuple(slice(1, -1) for _ in shape)
    total = 2 * len(shape) * magnitudes
    for axis in range(len(shape)):
        for start in (0, 2):
            near = list(inner)
            near[axis] = slice(start, start + magnitudes.shape[axis])
            total = total + padded[tuple(near)]
    for axis, n in enumerate(shape):
        index = np.arange(n) // 2 if n > magnitudes.shape[axis] else np.arange(n)
        total = np.take(total, index, axis)
    return total

"""What predicts the frames of a film, as bytes: modes and vectors of blocks, weights of bands.

The blocks of a plane are visited from coarse to fine: one block, then those half as far from each other, and so on, all planes of
a generation at once. What is coded are binary decisions; how probable a decision is depends on its *context*, what the neighbours
say, and is stored once per context as the number of a bucket (`microfield.coding.decisions`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from microfield.coding.bits import BitReader, BitWriter
from microfield.coding.decisions import COSTS, DecisionReader, DecisionWriter
from microfield.errors import FormatError
from microfield.methods.field.motion import MEAN, MODES, NONE, SECOND, Motion, Vectors

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

IS_NONE, IS_MEAN, IS_SECOND, AS_EXPECTED, AS_CANDIDATE, SAME_Y, SAME_X, OCTAVE, LESS = range(0, 36, 4)
"""First of the four contexts of every question."""
CONTEXTS = 36
FLAGS, RUNS = range(2)
"""Kinds of decisions."""
LARGEST_OCTAVE = 14
"""Vectors differ from what is expected by less than two to the power of one more than this, in quarters of a pixel."""
LARGEST_VECTOR = 1 << 20
"""Vectors beyond this, in quarters of a pixel, are not coded."""
BUCKET_BITS = 5
WEIGHT_ONE = 8
"""The code of the weight 1; codes run from 0."""
ALPHA_ONE, ALPHA_BITS = 8, 4
"""The code of the whole correction of decoded time points, and how many bits such a code takes."""
LARGEST_ALPHA = (1 << ALPHA_BITS) - 1
GAIN_BITS, GAIN_NONE, GAIN_STEPS = 6, 32, 64
"""Bits of the code of a gain; the code of the gain 1; a code more is a gain larger by one part in so many."""


class Visit(NamedTuple):
    """Blocks that are coded together, and those around them that are known.

    Attributes
    ----------
    rows, columns : int array (n,)
    near : pair of int arrays (4, n)
        Rows and columns of the neighbours; for the first block there are none, (0, 1).
    """

    rows: Ints
    columns: Ints
    near: tuple[Ints, Ints]


AROUND = (((1, 1), ((-1, -1), (-1, 1), (1, -1), (1, 1))), ((0, 1), ((0, -1), (0, 1), (-1, 0), (1, 0))),
          ((1, 0), ((-1, 0), (1, 0), (0, -1), (0, 1))))
"""Of the three kinds of blocks of a stride: whether they are odd along y and x, and where their neighbours are, in strides."""


def visits(rows: int, columns: int) -> Iterator[Visit]:
    """All blocks of a plane from coarse to fine."""
    first, none = np.zeros(1, np.int64), np.zeros((0, 1), np.int64)
    yield Visit(first, first, (none, none))
    stride = 1 << (max(rows, columns) - 1).bit_length()
    while stride > 1:
        stride //= 2
        for odd, around in AROUND:
            r, c = (a.reshape(-1) for a in np.meshgrid(np.arange(odd[0] * stride, rows, 2 * stride),
                                                       np.arange(odd[1] * stride, columns, 2 * stride), indexing="ij"))
            if not r.size:
                continue
            near = [_inside(r + dy * stride, c + dx * stride, (r, c), (rows, columns)) for dy, dx in around]
            # In a field one block wide nothing lies across: the first neighbour, which always exists, stands for it.
            near = [(np.where(lost, near[0][0], y), np.where(lost, near[0][1], x), lost) for y, x, lost in near]
            yield Visit(r, c, (np.stack([y for y, _, _ in near]), np.stack([x for _, x, _ in near])))


def _inside(y: Ints, x: Ints, of: tuple[Ints, Ints], shape: tuple[int, int]) -> tuple[Ints, Ints, Flags]:
    """Neighbours (y, x) of blocks, mirrored about the block where they would lie outside; and where that is outside, too."""
    y = np.where((y < 0) | (y >= shape[0]), 2 * of[0] - y, y)
    x = np.where((x < 0) | (x >= shape[1]), 2 * of[1] - x, x)
    return y, x, (y < 0) | (y >= shape[0]) | (x < 0) | (x >= shape[1])


class Decisions(Protocol):
    """Writes decisions that are given, or reads them and does not look at what is given."""

    def flags(self, contexts: Ints, given: Flags) -> Flags:
        """Flags (n,) in contexts (n,)."""
        ...

    def runs(self, contexts: Ints, given: Ints) -> Ints:
        """Whole numbers (n,), from 0, in contexts (n,)."""
        ...

    def bits(self, widths: Ints, given: Ints) -> Ints:
        """Whole numbers (n,) of so many bits each, as they are."""
        ...


class MotionWriter:
    """Collects decisions; `finish` gives their bytes."""

    def __init__(self) -> None:
        self._asked: tuple[list[Ints], list[Ints]] = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        self._given: tuple[list[Ints], list[Ints]] = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        self._bits = BitWriter()

    def flags(self, contexts: Ints, given: Flags) -> Flags:
        """Keep flags."""
        self._asked[FLAGS].append(contexts)
        self._given[FLAGS].append(given.astype(np.int64))
        return given

    def runs(self, contexts: Ints, given: Ints) -> Ints:
        """Keep whole numbers."""
        self._asked[RUNS].append(contexts)
        self._given[RUNS].append(given)
        return given

    def bits(self, widths: Ints, given: Ints) -> Ints:
        """Keep bits."""
        for width, value in zip(widths.tolist(), given.tolist(), strict=True):
            self._bits.number(value, width)
        return given

    def finish(self) -> tuple[bytes, bytes]:
        """The buckets of the contexts and the bits that stand as they are; the decisions."""
        side, decisions = BitWriter(), DecisionWriter(2)
        (flags, runs), (flag_values, run_values) = ([np.concatenate(kind) for kind in both] for both in (self._asked, self._given))
        # A run is so many decisions 0 and one 1.
        zeros = np.bincount(flags, 1 - flag_values, CONTEXTS) + np.bincount(runs, run_values, CONTEXTS)
        ones = np.bincount(flags, flag_values, CONTEXTS) + np.bincount(runs, minlength=CONTEXTS)
        buckets = np.argmin(np.outer(zeros, COSTS[:, 0]) + np.outer(ones, COSTS[:, 1]), axis=1).astype(np.uint8)
        for bucket, used in zip(buckets.tolist(), (zeros + ones > 0).tolist(), strict=True):
            side.number(int(used), 1)
            side.number(bucket, BUCKET_BITS if used else 0)
        decisions.put(FLAGS, buckets[flags], flag_values.astype(bool))
        decisions.put_runs(RUNS, buckets[runs], run_values)
        side.append(self._bits)
        return side.finish(), decisions.finish()


class MotionReader:
    """Reads what `MotionWriter` wrote.

    Parameters
    ----------
    side, decisions : bytes
    limit : int
        More flags and runs than so many are refused.

    Raises
    ------
    FormatError
        From every method, where the bytes are damaged.
    """

    def __init__(self, side: bytes, decisions: bytes, limit: int) -> None:
        self._bits, self._decisions = BitReader(side), DecisionReader(decisions, 2, limit)
        self._buckets = np.array([self._bits.number(BUCKET_BITS) if self._bits.number(1) else 0 for _ in range(CONTEXTS)], np.uint8)

    def flags(self, contexts: Ints, given: Flags) -> Flags:
        """The next flags."""
        del given
        return self._decisions.take(FLAGS, self._buckets[contexts])

    def runs(self, contexts: Ints, given: Ints) -> Ints:
        """The next whole numbers."""
        del given
        return self._decisions.take_runs(RUNS, self._buckets[contexts])

    def bits(self, widths: Ints, given: Ints) -> Ints:
        """The next bits."""
        del given
        return np.array([self._bits.number(width) for width in widths.tolist()], np.int64)

    def finish(self) -> None:
        """Check that nothing is left."""
        self._bits.finish()
        self._decisions.finish()


def code_motion(decisions: Decisions, motion: Motion, expected: Vectors) -> Motion:
    """Write the motion of a generation, or read one of the same shapes. Vectors that no mode uses become what is expected.

    Parameters
    ----------
    decisions : Decisions
    motion : Motion
    expected : int32 array (planes, references, rows, columns, 2)
        Vectors that earlier time points lead one to expect.
    """
    modes, vectors = motion.modes.copy(), motion.vectors.copy()
    _code_modes(decisions, modes, vectors.shape[1])
    for k in range(vectors.shape[1]):
        _code_vectors(decisions, vectors[:, k], (modes == k) | (modes == MEAN), expected[:, k])
    return Motion(motion.block, vectors, modes)


def code_weights(decisions: Decisions, weights: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Write the weights (frames, bands) of a channel of a generation, 0 to `WEIGHT_ONE`, or read some of the same shape."""
    contexts = LESS + np.minimum(np.arange(weights.shape[1]), 3)
    less = decisions.runs(np.tile(contexts, len(weights)), WEIGHT_ONE - weights.reshape(-1).astype(np.int64))
    if (less > WEIGHT_ONE).any():
        raise FormatError("a part weighs predictions by less than nothing.")
    return (WEIGHT_ONE - less).astype(np.uint8).reshape(weights.shape)


def code_alphas(decisions: Decisions, alphas: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Write factors of corrections (generations, channels), 0 to `LARGEST_ALPHA`, or read some of the same shape."""
    given = alphas.reshape(-1).astype(np.int64)
    return decisions.bits(np.full(given.shape, ALPHA_BITS), given).astype(np.uint8).reshape(alphas.shape)


def code_gains(decisions: Decisions, gains: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Write gains (channels, frames) of a generation, or read some of the same shape: a bit says whether any is not 1."""
    given = gains.reshape(-1).astype(np.int64)
    some = decisions.bits(np.ones(1, np.int64), np.array([int((given != GAIN_NONE).any())]))
    if not some[0]:
        return np.full_like(gains, GAIN_NONE)
    return decisions.bits(np.full(given.shape, GAIN_BITS), given).astype(np.uint8).reshape(gains.shape)


def _code_modes(decisions: Decisions, modes: npt.NDArray[np.uint8], references: int) -> None:
    """Modes (planes, rows, columns) in place: not predicted, mean, second reference, else first."""
    questions = ((NONE, IS_NONE), (MEAN, IS_MEAN), (SECOND, IS_SECOND))[: MODES[references]]
    for visit in visits(*modes.shape[1:]):
        here, near = modes[:, visit.rows, visit.columns], modes[:, visit.near[0], visit.near[1]]
        found, open_ = np.zeros(here.shape, np.uint8), np.ones(here.shape, bool)
        for mode, question in questions:
            contexts = question + _among((near == mode).sum(axis=1), near.shape[1])
            where = open_.copy()
            where[open_] = decisions.flags(contexts[open_], here[open_] == mode)
            found[where] = mode
            open_ &= ~where
        modes[:, visit.rows, visit.columns] = found


def _among(count: Ints, neighbours: int) -> Ints:
    """Context by how many of four neighbours: 0 none, 1 one or two, 2 more; 3 where there are no neighbours."""
    return np.full(count.shape, 3) if not neighbours else np.where(count == 0, 0, np.where(count < 3, 1, 2))


def _code_vectors(decisions: Decisions, vectors: Vectors, used: Flags, before: Vectors) -> None:
    """Vectors (planes, rows, columns, 2) in place; ``before`` are those of earlier time points.

    A vector is as expected from its neighbours, or as before, or that of one of its neighbours, or different from what is expected.
    """
    for visit in visits(*used.shape[1:]):
        here, open_ = vectors[:, visit.rows, visit.columns].astype(np.int64), used[:, visit.rows, visit.columns].copy()
        near = vectors[:, visit.near[0], visit.near[1]].astype(np.int64)
        earlier = before[:, visit.rows, visit.columns].astype(np.int64)
        expected, contexts = _from_neighbours(near, earlier)
        candidates, found = [expected, earlier, *near.swapaxes(0, 1)], expected.copy()
        for k, candidate in enumerate(candidates):
            where = open_.copy()
            for other in candidates[:k]:
                where &= (candidate != other).any(axis=-1)
            question = AS_EXPECTED + contexts[where] if not k else np.full(int(where.sum()), AS_CANDIDATE + min(k, 3) - 1)
            where[where] = decisions.flags(question, (here == candidate)[where].all(axis=-1))
            found[where] = candidate[where]
            open_ &= ~where
        found[open_] += _code_differences(decisions, contexts[open_], (here - expected)[open_])
        if np.abs(found).max(initial=0) > LARGEST_VECTOR:
            raise FormatError("a part moves blocks beyond all bounds.")
        vectors[:, visit.rows, visit.columns] = found


def _from_neighbours(near: Ints, earlier: Ints) -> tuple[Ints, Ints]:
    """The mean, rounded down, of the middle two of four neighbours (planes, 4, n, 2), and a context by how much they differ."""
    if not near.shape[1]:
        return earlier, np.full(earlier.shape[:2], 3)
    low, high = near.min(axis=1), near.max(axis=1)
    spread = (high - low).max(axis=-1)
    return (near.sum(axis=1) - low - high) >> 1, np.where(spread == 0, 0, np.where(spread <= 4, 1, 2))


def _code_differences(decisions: Decisions, contexts: Ints, given: Ints) -> Ints:
    """Differences (n, 2) of contexts (n,); never both 0."""
    found = np.zeros_like(given)
    moved_y = ~decisions.flags(SAME_Y + contexts, given[:, 0] == 0)
    moved_x = np.ones_like(moved_y)
    moved_x[moved_y] = ~decisions.flags(SAME_X + contexts[moved_y], given[moved_y, 1] == 0)
    for axis, where in ((0, moved_y), (1, moved_x)):
        found[where, axis] = _code_numbers(decisions, contexts[where], given[where, axis])
    return found


def _code_numbers(decisions: Decisions, contexts: Ints, given: Ints) -> Ints:
    """Whole numbers (n,) that are not 0: the octave as a run, then the rest and the sign in bits as they are."""
    size = np.maximum(np.abs(given), 1)
    octaves = decisions.runs(OCTAVE + contexts, np.frexp(size)[1].astype(np.int64) - 1)
    if (octaves > LARGEST_OCTAVE).any():
        raise FormatError("a part moves blocks beyond all bounds.")
    folded = decisions.bits(octaves + 1, (size - (1 << octaves)) * 2 + (given < 0))
    return np.where(folded & 1, -1, 1) * ((folded >> 1) + (1 << octaves))

"""Many binary decisions in few bytes: the probabilities come from a model, and no coder runs while the model does.

The model gives every decision a *bucket*, its quantised logit: ``clip(floor(logit / 0.5) + 16, 0, 31)``. The decisions of
one bucket are like throws of one coin, so it is enough to store how many likelier bits come before each rarer one (a 1 in
buckets 0 to 15, a 0 in 16 to 31): the *gaps*. The gaps of all buckets are decoded at once by the range coder before the
first decision is asked for, and a decision then is a look into a list. This is the separation of model and coder of
Marpe et al. (Picture Coding Symposium 2010, interval partitioning), with arithmetic coding in the place of their
variable-length codes.

Decisions of several *kinds* keep their own buckets. A kind holds flags or *runs*: values >= 0, each the number of 0
decisions before a 1 where all these decisions have the bucket's probability. A run is coded as just these decisions.

How gaps become bytes is told in `microfield.coding.gap_code`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.gap_code import BUCKETS, Kind, read_gaps, refuse, write_gaps
from microfield.errors import FormatError

__all__ = ["BUCKETS", "COSTS", "LARGEST_RUN", "DecisionReader", "DecisionWriter", "ideal_bits"]

LARGEST_RUN = 1 << 24
_HALF = BUCKETS // 2

_BASE = np.arange(BUCKETS, dtype=np.int64) << 48
"""Places in the lists of all buckets in one sorted array: bucket b counts from b << 48."""

_BLOCK = 1 << 14
"""Decisions handled at a time: sorting is several times faster while all fits the processor's cache."""

_FEW = 100
"""Up to this many decisions plain Python is faster than NumPy calls."""

_Bytes = npt.NDArray[np.uint8]
_Bools = npt.NDArray[np.bool_]
_Int64s = npt.NDArray[np.int64]
_Ints = npt.NDArray[Any]

_centres = (np.arange(BUCKETS) - _HALF + 0.5) / 2
COSTS = np.stack([np.logaddexp2(0, s * _centres / np.log(2)) for s in (1, -1)], 1).astype(np.float32)
"""Bits of a 0 and of a 1 in each bucket, shape (32, 2): for estimates, the bitstream does not depend on it."""


def ideal_bits(buckets: _Ints, bits: _Ints) -> float:
    """Bits that an ideal coder spends on decisions ``bits`` (n,) at the centres of ``buckets`` (n,)."""
    return float(COSTS[np.asarray(buckets), np.asarray(bits).astype(np.intp)].sum(dtype=np.float64))


class DecisionWriter:
    """Collects decisions in the order in which they will be taken, and codes them in `finish`.

    Parameters
    ----------
    kinds : int
        Number of kinds. The first call decides whether a kind holds flags or runs.
    """

    def __init__(self, kinds: int) -> None:
        self._kinds = [_Collector() for _ in range(kinds)]

    def put(self, kind: int, buckets: _Ints, bits: _Ints) -> None:
        """Add flags: ``bits`` (n,), bool, of ``buckets`` (n,)."""
        self._kinds[kind].add(False, buckets, np.array(bits, np.bool_))

    def put_runs(self, kind: int, buckets: _Ints, values: _Ints) -> None:
        """Add runs: ``values`` (n,), 0 to 2**24, of ``buckets`` (n,)."""
        values = np.array(values, np.int64)
        if values.size and not 0 <= values.min() <= values.max() <= LARGEST_RUN:
            raise ValueError(f"a run must lie between 0 and {LARGEST_RUN}.")
        self._kinds[kind].add(True, buckets, values)

    def finish(self) -> bytes:
        """Bytes of everything added so far."""
        return write_gaps([Kind(*collector.gaps()) for collector in self._kinds])


class DecisionReader:
    """Gives decisions back in the order they were put, in batches of any sizes.

    Parameters
    ----------
    data : bytes
        What `DecisionWriter.finish` gave.
    kinds : int
        As given to the writer.
    limit : int
        A number of flags and runs that the caller will not exceed: data that hold more are refused before they are
        decoded. (The length of the data bounds memory as well: at worst 6 MB, or 700 bytes for each byte of the data.)

    Raises
    ------
    FormatError
        If the data cannot be such a stream.
    """

    def __init__(self, data: bytes, kinds: int, limit: int) -> None:
        self._kinds = [_Supply(*found) for found in read_gaps(data, kinds, limit)]

    def take(self, kind: int, buckets: _Ints) -> _Bools:
        """The next flags of a kind, bool (n,), given their ``buckets`` (n,)."""
        return self._kinds[kind].flags(_checked(buckets))

    def take_runs(self, kind: int, buckets: _Ints) -> _Int64s:
        """The next runs of a kind, int64 (n,), given their ``buckets`` (n,).

        Raises
        ------
        FormatError
            If there are no more, or one is above 2**24.
        """
        return self._kinds[kind].runs(_checked(buckets))

    def finish(self) -> None:
        """Check that everything was taken.

        Raises
        ------
        FormatError
            If a list of gaps is not used up: the stream is damaged.
        """
        if not all(supply.used_up() for supply in self._kinds):
            raise FormatError("A stream of decisions holds more than the image needs: the file is damaged.")


class _Collector:
    """Rarer bits of one kind, each as ``bucket << 48 | likelier bits before it``."""

    def __init__(self) -> None:
        self._runs: bool | None = None
        self._waiting: list[tuple[_Bytes, _Ints]] = []
        self._size = 0
        self._passed = _BASE.copy()
        self._places: list[_Int64s] = [np.zeros(0, np.int64)]

    def add(self, runs: bool, buckets: _Ints, what: _Ints) -> None:
        own = np.array(_checked(buckets))
        if own.shape != what.shape:
            raise ValueError("buckets and decisions must be of equal length.")
        if runs is not (runs if self._runs is None else self._runs):
            raise ValueError("a kind holds flags or runs, not both.")
        self._runs = runs
        self._waiting.append((own, what))
        self._size += len(own)
        if self._size >= _BLOCK:
            self._work()

    def gaps(self) -> tuple[_Ints, _Int64s]:
        """Gaps of all buckets one after the other, and how many each bucket has, (32,); nothing can be added any more."""
        self._work()
        places = np.concatenate(self._places)
        self._places = []
        places.sort(kind="stable")
        first = places.searchsorted(_BASE)
        counts = np.diff(first, append=len(places))
        gaps = np.diff(places, prepend=np.int64(0))
        used = first[counts > 0]
        gaps[used] = places[used] - _BASE[counts > 0]
        # What is beyond int32 is too much, and stays so.
        return np.minimum(gaps, np.iinfo(np.int32).max).astype(np.int32), counts

    def _work(self) -> None:
        """Find the rarer bits among what waits; doing it here keeps only them."""
        if not self._waiting:
            return
        buckets, what = (np.concatenate(arrays) for arrays in zip(*self._waiting, strict=True))
        self._waiting, self._size = [], 0
        for begin in range(0, len(buckets), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            (self._work_runs if self._runs else self._work_flags)(buckets[block], what[block])

    def _work_flags(self, buckets: _Bytes, bits: _Bools) -> None:
        order, counts, first = _group(buckets)
        rare = (bits != (buckets >= _HALF))[order].nonzero()[0]
        which = buckets[order[rare]]
        found = np.bincount(which, minlength=BUCKETS)
        self._places.append(rare - np.arange(len(rare)) + (self._passed - first + np.cumsum(found) - found)[which])
        self._passed += counts - found

    def _work_runs(self, buckets: _Bytes, values: _Int64s) -> None:
        order, counts, first = _group(buckets)
        values, which, low = values[order], buckets[order], int(first[_HALF])
        sums = np.concatenate([[0], np.cumsum(values[:low])])  # In the low buckets zeros are the likelier bits.
        before, after = sums[first[:_HALF]], sums[(first + counts)[:_HALF]]
        self._places.append(sums[1:] + (self._passed[:_HALF] - before)[which[:low]])
        run = np.arange(low, len(values)).repeat(values[low:])
        self._places.append(run + (self._passed - first)[which[run]])
        self._passed += np.concatenate([after - before, counts[_HALF:]])


class _Supply:
    """Decisions of one kind that wait to be taken."""

    def __init__(self, gaps: _Int64s, counts: _Int64s) -> None:
        self._gaps, self._counts = gaps, counts
        self._runs: bool | None = None
        ends = np.cumsum(counts)
        self._ends: list[int] = ends.tolist()
        self._next: list[int] = (ends - counts).tolist()  # The next gap of each bucket,
        self._at: list[int] = _BASE.tolist()  # and the place of its next decision (in high buckets: of its next run).
        self._places = np.zeros(1, np.int64)  # Of the rarer bits; in the high buckets of runs, of the run they are in.
        self._due: list[int] = [0] * BUCKETS  # Place of the next rarer bit.

    def used_up(self) -> bool:
        return self._next == self._ends

    def flags(self, buckets: _Bytes) -> _Bools:
        self._prepare(False)
        if len(buckets) > _FEW:
            blocks = range(0, len(buckets), _BLOCK)
            return np.concatenate([self._flags(buckets[begin : begin + _BLOCK]) for begin in blocks])
        at, due = self._at, self._due
        out = []
        for b in buckets.tolist():
            rare = at[b] == due[b]
            if rare:
                self._advance(b)
            at[b] += 1
            out.append(rare != (b >= _HALF))
        return np.array(out, np.bool_)

    def runs(self, buckets: _Bytes) -> _Int64s:
        self._prepare(True)
        if len(buckets) > _FEW:
            blocks = range(0, len(buckets), _BLOCK)
            values = np.concatenate([self._runs_of(buckets[begin : begin + _BLOCK]) for begin in blocks])
        else:
            values = np.array([self._run(b) for b in buckets.tolist()], np.int64)
        refuse(bool(values.size and values.max() > LARGEST_RUN))
        return values

    def _prepare(self, runs: bool) -> None:
        if self._runs is None:
            self._runs = runs
            first = np.array(self._next)
            sums = np.concatenate([[0], np.cumsum(self._gaps)])
            places = sums[1:] + (_BASE - sums[first]).repeat(self._counts)
            if not runs:
                places += np.arange(len(places)) - first.repeat(self._counts)
            refuse(int(sums[-1]) + len(places) >= 1 << 48)
            self._places = np.append(places, np.int64(1 << 62))
            self._due = self._places[first].tolist()
        elif self._runs is not runs:
            raise ValueError("a kind holds flags or runs, not both.")

    def _advance(self, b: int) -> None:
        self._next[b] += 1
        self._due[b] = int(self._places[self._next[b]])  # Past the end of a list comes a place that is never reached.

    def _run(self, b: int) -> int:
        value = 0
        if b < _HALF:
            refuse(self._next[b] >= self._ends[b])
            value = int(self._gaps[self._next[b]])
            self._advance(b)
        else:
            while self._at[b] == self._due[b]:
                value += 1
                self._advance(b)
            self._at[b] += 1
        return value

    def _flags(self, buckets: _Bytes) -> _Bools:
        order, counts, first = _group(buckets)
        at, begin = np.array(self._at), np.array(self._next)
        out = buckets >= _HALF
        end = self._places.searchsorted(at + counts)
        rare = order[_spread(self._places, begin, end, first - at)]
        out[rare] = ~out[rare]
        self._move(at + counts, end)
        return out

    def _runs_of(self, buckets: _Bytes) -> _Int64s:
        order, counts, first = _group(buckets)
        at, begin = np.array(self._at), np.array(self._next)
        end = self._places.searchsorted(at + counts)
        end[:_HALF] = (begin + counts)[:_HALF]
        refuse(bool((end > self._ends).any()))
        low, none = slice(_HALF), np.zeros(_HALF, np.int64)
        split = int(first[_HALF])
        within = _spread(self._places, begin[_HALF:], end[_HALF:], (first - at)[_HALF:])
        values = np.bincount(order[within], minlength=len(order)).astype(np.int64)
        values[order[:split]] = _spread(self._gaps, begin[low], end[low], none)
        self._move(at + counts, end)
        return values

    def _move(self, at: _Int64s, following: _Int64s) -> None:
        self._at, self._next, self._due = at.tolist(), following.tolist(), self._places[following].tolist()


def _checked(buckets: _Ints) -> _Bytes:
    buckets = np.asarray(buckets)
    if buckets.ndim != 1 or buckets.dtype != np.uint8 or (buckets.size and buckets.max() >= BUCKETS):
        raise ValueError(f"buckets must be uint8, one-dimensional and below {BUCKETS}.")
    return buckets


def _group(buckets: _Bytes) -> tuple[_Int64s, _Int64s, _Int64s]:
    """The order that sorts ``buckets`` (n,) and keeps equal ones in place; how many of each, and where they begin, (32,)."""
    counts = np.bincount(buckets, minlength=BUCKETS)
    return buckets.argsort(kind="stable"), counts, counts.cumsum() - counts


def _spread(values: _Int64s, begin: _Int64s, end: _Int64s, plus: _Int64s) -> _Int64s:
    """``values[begin[b]:end[b]] + plus[b]`` for all b, one after the other."""
    sizes = end - begin
    ends = sizes.cumsum()
    index = np.arange(ends[-1]) + (begin - ends + sizes).repeat(sizes)
    return np.asarray(values[index] + plus.repeat(sizes))

"""Where the rarer bits lie among the decisions of their bucket: decisions to gaps, and gaps to decisions.

What `microfield.coding.decisions` does for each kind. See there for buckets, gaps, flags and runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.gap_tables import BUCKETS
from microfield.errors import FormatError
from microfield.kernel import decisions, loading

__all__ = ["LARGEST_RUN", "Collector", "Supply"]

LARGEST_RUN = 1 << 24
"""Runs are at most so long."""

_LOW_BUCKETS = BUCKETS // 2
"""In buckets below this 1 is the rarer bit, in the others 0."""

_PLACE_BITS = 48
_BASE = np.arange(BUCKETS, dtype=np.int64) << _PLACE_BITS
"""First *place* of every bucket. A place numbers the decisions of one bucket; those of bucket b count from b << 48, so that
one sorted array holds places of all buckets."""

_NEVER = np.int64(1 << 62)
"""A place beyond those of all buckets."""

_BLOCK = 1 << 14
"""Decisions that are handled at a time: sorting is several times faster while all fits the processor's cache."""

_FEW = 100
"""Up to this many decisions plain Python is faster than NumPy calls."""

_NO_MORE_RUNS = "A stream of decisions holds fewer runs than the image needs: the file is damaged or truncated."

_Bytes = npt.NDArray[np.uint8]
_Bools = npt.NDArray[np.bool_]
_Int64s = npt.NDArray[np.int64]
_Ints = npt.NDArray[Any]


class Collector:
    """Rarer bits of one kind, each as ``bucket << 48 | number of likelier bits before it in its bucket``."""

    def __init__(self) -> None:
        self._runs: bool | None = None
        """Whether this kind holds runs; None before the first call."""
        self._waiting: list[tuple[_Bytes, _Ints]] = []
        """Buckets and decisions that were added but not looked through yet."""
        self._n_waiting = 0
        self._passed = _BASE.copy()
        """First place of every bucket plus the likelier bits so far."""
        self._rarer: list[_Int64s] = [np.zeros(0, np.int64)]
        """What was found so far, in pieces."""

    def add(self, runs: bool, buckets: _Ints, what: _Ints) -> None:
        """Add flags or runs ``what`` (n,), of ``buckets`` (n,)."""
        own = np.array(_checked(buckets))
        if own.shape != what.shape:
            raise ValueError("buckets and decisions must be of equal length.")
        if runs is not (runs if self._runs is None else self._runs):
            raise ValueError("a kind holds flags or runs, not both.")
        self._runs = runs
        self._waiting.append((own, what))
        self._n_waiting += len(own)
        if self._n_waiting >= _BLOCK:
            self._work()

    def gaps(self) -> tuple[_Ints, _Int64s]:
        """Gaps of all buckets one after the other, and how many each bucket has, (32,); nothing can be added any more."""
        self._work()
        rarer = np.concatenate(self._rarer)
        self._rarer = []
        rarer.sort()
        first = rarer.searchsorted(_BASE)
        counts = np.diff(first, append=len(rarer))
        gaps = np.diff(rarer, prepend=np.int64(0))
        used = first[counts > 0]
        gaps[used] = rarer[used] - _BASE[counts > 0]
        # A gap beyond int32 is more than the code of the gaps takes, and stays so when it is cut.
        return np.minimum(gaps, np.iinfo(np.int32).max).astype(np.int32), counts

    def _work(self) -> None:
        """Find the rarer bits among the waiting decisions, so that only they are kept."""
        if not self._waiting:
            return
        buckets, what = (np.concatenate(arrays) for arrays in zip(*self._waiting, strict=True))
        self._waiting, self._n_waiting = [], 0
        library = loading.library()
        if library is not None:
            find = decisions.rarer_runs if self._runs else decisions.rarer_flags
            self._rarer.append(find(library, buckets, what, self._passed))
            return
        for begin in range(0, len(buckets), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            (self._work_runs if self._runs else self._work_flags)(buckets[block], what[block])

    def _work_flags(self, buckets: _Bytes, bits: _Bools) -> None:
        order, counts, first = _group(buckets)
        rare = (bits != (buckets >= _LOW_BUCKETS))[order].nonzero()[0]
        which = buckets[order[rare]]
        found = np.bincount(which, minlength=BUCKETS)
        self._rarer.append(rare - np.arange(len(rare)) + (self._passed - first + np.cumsum(found) - found)[which])
        self._passed += counts - found

    def _work_runs(self, buckets: _Bytes, values: _Int64s) -> None:
        order, counts, first = _group(buckets)
        values, which, low = values[order], buckets[order], int(first[_LOW_BUCKETS])
        # In the low buckets the zeros of a run are the likelier bits, and its end is the rarer one.
        sums = np.concatenate([[0], np.cumsum(values[:low])])
        before, after = sums[first[:_LOW_BUCKETS]], sums[(first + counts)[:_LOW_BUCKETS]]
        self._rarer.append(sums[1:] + (self._passed[:_LOW_BUCKETS] - before)[which[:low]])
        # In the high buckets every zero of a run is a rarer bit, and the ends of the runs before it are the likelier ones.
        run = np.arange(low, len(values)).repeat(values[low:])
        self._rarer.append(run + (self._passed - first)[which[run]])
        self._passed += np.concatenate([after - before, counts[_LOW_BUCKETS:]])


class Supply:
    """Decisions of one kind that wait to be taken.

    Parameters
    ----------
    gaps : int array (n,)
        Gaps of all buckets, one bucket after the other.
    counts : int64 array (32,)
        How many gaps each bucket has.
    """

    def __init__(self, gaps: _Int64s, counts: _Int64s) -> None:
        self._gaps, self._counts = gaps, counts
        self._runs: bool | None = None
        """Whether runs are taken; None before the first call."""
        ends = np.cumsum(counts)
        self._ends: list[int] = ends.tolist()
        """End of every bucket in the list of all gaps."""
        self._next: list[int] = (ends - counts).tolist()
        """Index of the next gap of every bucket."""
        self._at: list[int] = _BASE.tolist()
        """Place of the next decision of every bucket; in the high buckets of runs, the place counts runs."""
        self._places = np.zeros(1, np.int64)
        """Places of all rarer bits; in the high buckets of runs, the run that each lies in."""
        self._due: list[int] = [0] * BUCKETS
        """Place of the next rarer bit of every bucket."""
        self._compiled: decisions.Supply | None = None
        """The same in the compiled kernel, which then counts."""

    def used_up(self) -> bool:
        """Whether every gap was taken."""
        return (self._next if self._compiled is None else self._compiled.following.tolist()) == self._ends

    def flags(self, buckets: _Ints) -> _Bools:
        """The next flags, given their buckets (n,)."""
        buckets = _checked(buckets)
        self._prepare(False)
        if self._compiled is not None:
            return self._compiled.flags(buckets)
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
            out.append(rare != (b >= _LOW_BUCKETS))
        return np.array(out, np.bool_)

    def runs(self, buckets: _Ints) -> _Int64s:
        """The next runs, given their buckets (n,)."""
        buckets = _checked(buckets)
        self._prepare(True)
        if self._compiled is not None:
            found = self._compiled.runs(buckets)
            if found is None:
                raise FormatError(_NO_MORE_RUNS)
            values = found
        elif len(buckets) > _FEW:
            blocks = range(0, len(buckets), _BLOCK)
            values = np.concatenate([self._runs_of(buckets[begin : begin + _BLOCK]) for begin in blocks])
        else:
            values = np.array([self._run(b) for b in buckets.tolist()], np.int64)
        if values.size and values.max() > LARGEST_RUN:
            raise FormatError("A stream of decisions holds a run that is too long: the file is damaged.")
        return values

    def _prepare(self, runs: bool) -> None:
        """Find the places of all rarer bits, once it is known what the kind holds."""
        if self._runs is not None:
            if self._runs is not runs:
                raise ValueError("a kind holds flags or runs, not both.")
            return
        self._runs = runs
        first = np.array(self._next)
        sums = np.concatenate([[0], np.cumsum(self._gaps)])
        places = sums[1:] + (_BASE - sums[first]).repeat(self._counts)
        if not runs:
            # Flags are counted one by one: a rarer bit takes a place, too.
            places += np.arange(len(places)) - first.repeat(self._counts)
        if int(sums[-1]) + len(places) >= 1 << _PLACE_BITS:
            raise FormatError("A stream of decisions holds gaps too long to be counted: the file is damaged.")
        self._places = np.append(places, _NEVER)
        self._due = self._places[first].tolist()
        library = loading.library()
        if library is not None:
            self._compiled = decisions.Supply(library, self._gaps, self._places, self._at, self._next, self._ends)

    def _advance(self, b: int) -> None:
        """Go on to the next rarer bit of bucket ``b``."""
        self._next[b] += 1
        # After the last one comes a place of another bucket, which is never reached.
        self._due[b] = int(self._places[self._next[b]])

    def _run(self, b: int) -> int:
        """The next run of bucket ``b``."""
        if b < _LOW_BUCKETS:
            if self._next[b] >= self._ends[b]:
                raise FormatError(_NO_MORE_RUNS)
            gap = int(self._gaps[self._next[b]])
            self._advance(b)
            return gap
        value = 0
        while self._at[b] == self._due[b]:
            value += 1
            self._advance(b)
        self._at[b] += 1
        return value

    def _flags(self, buckets: _Bytes) -> _Bools:
        """The next flags of a block."""
        order, counts, first = _group(buckets)
        at, begin = np.array(self._at), np.array(self._next)
        out = buckets >= _LOW_BUCKETS
        end = self._places.searchsorted(at + counts)
        rare = order[_spread(self._places, begin, end, first - at)]
        out[rare] = ~out[rare]
        self._move(at + counts, end)
        return out

    def _runs_of(self, buckets: _Bytes) -> _Int64s:
        """The next runs of a block."""
        order, counts, first = _group(buckets)
        at, begin = np.array(self._at), np.array(self._next)
        end = self._places.searchsorted(at + counts)
        end[:_LOW_BUCKETS] = (begin + counts)[:_LOW_BUCKETS]
        if (end > self._ends).any():
            raise FormatError(_NO_MORE_RUNS)
        low, none = slice(_LOW_BUCKETS), np.zeros(_LOW_BUCKETS, np.int64)
        split = int(first[_LOW_BUCKETS])
        within = _spread(self._places, begin[_LOW_BUCKETS:], end[_LOW_BUCKETS:], (first - at)[_LOW_BUCKETS:])
        values = np.bincount(order[within], minlength=len(order)).astype(np.int64)
        values[order[:split]] = _spread(self._gaps, begin[low], end[low], none)
        self._move(at + counts, end)
        return values

    def _move(self, at: _Int64s, following: _Int64s) -> None:
        """Go on to decisions at places ``at`` (32,), and to the gaps at indices ``following`` (32,)."""
        self._at, self._next, self._due = at.tolist(), following.tolist(), self._places[following].tolist()


def _checked(buckets: _Ints) -> _Bytes:
    """The same buckets, or a ValueError."""
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

"""Many binary decisions in few bytes: the probabilities come from a model, and no coder runs while the model does.

The model gives every decision a *bucket*, its quantised logit: ``clip(floor(logit / 0.5) + 16, 0, 31)``. The decisions of
one bucket are like throws of one coin, so it is enough to store how many likelier bits come before each rarer one (a 1 in
buckets 0 to 15, a 0 in 16 to 31): the *gaps*. The gaps of all buckets are decoded at once by the range coder before the
first decision is asked for, and a decision then is a look into a list. This is the separation of model and coder of
Marpe et al. (IEEE TCSVT 2010, interval partitioning), with arithmetic coding in the place of their variable-length codes.

Decisions of several *kinds* keep their own buckets. A kind holds flags or *runs*: values >= 0, each the number of 0
decisions before a 1 where all these decisions have the bucket's probability. A run is coded as just these decisions.

The stream is ``head | range-coded gaps``. The head is a string of bits, filled up with zeros to whole bytes:

- log2 of the lanes;
- for every kind a bit (used or not), the first and the last used bucket in 5 bits each, for each bucket between the
  number of its gaps: its length in bits as the difference from the bucket before, then the bits below the highest;
- a bit, whether the real frequencies differ from the nominal ones; if so, for each bucket that has gaps its shift, in
  steps of a quarter logit, as the difference from the bucket before.

Lengths, shifts and lanes are in unary, signed ones zigzag: zeros, then a one. What follows the last gap of a bucket is
likelier bits without end, so the number of decisions is not stored.

A gap has the geometric distribution of its rarer bit's probability ``p``. Its low bits, as many as keep
``p << bits <= 0.15``, are almost uniform and stored raw. The rest is a symbol of a fixed table; the last one says "at
least this many" and another symbol of the same table follows, which is exact, as the distribution has no memory. After
three such symbols come 30 raw bits. Batches: first symbols of all gaps, kind by kind and bucket by bucket; second;
third; lower and upper half of the 30 bits; then the raw low bits, 1 bit wide first. A gap is below 2**30.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding import varint
from microfield.coding.range_coder import PRECISION, Decoder, Encoder, lanes_for
from microfield.coding.tables import Tables, cumulate, frequencies
from microfield.errors import FormatError

__all__ = ["BUCKETS", "COSTS", "LARGEST_RUN", "DecisionReader", "DecisionWriter", "ideal_bits"]

BUCKETS = 32
LARGEST_RUN = 1 << 24
_HALF = BUCKETS // 2
_STEPS = 8
"""Largest shift, in quarter logits."""

_ROWS = 42
"""Tables: rarer bits of logit -9.75, -9.5, ... 0.5. From 0.5 on a gap could cost next to nothing."""

_NOMINAL = 39 - np.abs(2 * np.arange(BUCKETS) - 31)
"""Table of each bucket; the centre of bucket b is the logit (2 b - 31) / 4."""

_BASE = np.arange(BUCKETS, dtype=np.int64) << 48
"""Places in the lists of all buckets in one sorted array: bucket b counts from b << 48."""

_BLOCK = 1 << 14
"""Decisions handled at a time: sorting is several times faster while all fits the processor's cache."""

_FEW = 100
"""Up to this many decisions plain Python is faster than NumPy calls."""

_ESCAPES, _REST = 3, 15
_GAPS = 1 << 2 * _REST
"""Gaps are below this, so that no sum of them overflows."""

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
        text, all_gaps, all_rows = "", [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for collector in self._kinds:
            gaps, counts = collector.gaps()
            head, shifts = _write_kind(counts, gaps)
            text += head
            all_gaps.append(gaps)
            all_rows.append(np.repeat(np.clip(_NOMINAL + shifts, 0, _ROWS - 1), counts))
        batches = _intervals(np.concatenate(all_gaps), np.concatenate(all_rows))
        # Lanes go by what the batches really take, which the reader can check against the length of the stream.
        lanes = _lanes_for(sum(float(np.sum(PRECISION - np.log2(freq))) for _, freq in batches) / 8)
        encoder = Encoder(lanes)
        for start, freq in batches:
            encoder.put(start, freq)
        text = _unary(lanes.bit_length() - 1) + text
        size = (len(text) + 7) // 8
        return int(text.ljust(8 * size, "0"), 2).to_bytes(size, "big") + encoder.finish()


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
        bits = _Bits(data[: 8 + 600 * kinds])
        lanes = 1 << bits.unary(8)
        lists = [_read_kind(bits) for _ in range(kinds)]
        counts = np.array([numbers for numbers, _ in lists], np.int64).reshape(kinds, BUCKETS)
        rows = np.clip(_NOMINAL + np.array([shifts for _, shifts in lists], np.int64).reshape(kinds, BUCKETS), 0, _ROWS - 1)
        rest = data[bits.finish() :]
        # A rarer bit of the low buckets is a flag or ends a run, and no gap is cheaper than the commonest symbol. The
        # same symbol again and again can take 3 per cent less than its cost, and with one lane (below 9600 bytes) nothing.
        least = float((counts * _code().least[rows]).sum())
        _refuse(int(counts[:, :_HALF].sum()) > limit or least > max(9 * len(rest), 76_800) + 64)
        _refuse(lanes < _lanes_for(len(rest) / 2))  # Few lanes on many bytes are slow, and no writer does that.
        decoder = Decoder(rest, lanes)
        gaps = _decode_gaps(decoder, np.repeat(rows.ravel(), counts.ravel()))
        decoder.finish()
        parts = np.split(gaps, np.cumsum(counts.sum(1))[:-1]) if kinds else []
        self._kinds = [_Supply(part, numbers) for part, numbers in zip(parts, counts, strict=True)]

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

    def gaps(self) -> tuple[_Int64s, _Int64s]:
        """Gaps of all buckets one after the other, and how many each bucket has, (32,)."""
        self._work()
        places = np.sort(np.concatenate(self._places), kind="stable")
        first = places.searchsorted(_BASE)
        counts = np.diff(first, append=len(places))
        gaps = np.diff(places, prepend=np.int64(0))
        used = first[counts > 0]
        gaps[used] = places[used] - _BASE[counts > 0]
        return gaps, counts

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
        _refuse(bool(values.size and values.max() > LARGEST_RUN))
        return values

    def _prepare(self, runs: bool) -> None:
        if self._runs is None:
            self._runs = runs
            first = np.array(self._next)
            sums = np.concatenate([[0], np.cumsum(self._gaps)])
            places = sums[1:] + (_BASE - sums[first]).repeat(self._counts)
            if not runs:
                places += np.arange(len(places)) - first.repeat(self._counts)
            _refuse(int(sums[-1]) + len(places) >= 1 << 48)
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
            _refuse(self._next[b] >= self._ends[b])
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
        _refuse(bool((end > self._ends).any()))
        low, none = slice(_HALF), np.zeros(_HALF, np.int64)
        split = int(first[_HALF])
        within = _spread(self._places, begin[_HALF:], end[_HALF:], (first - at)[_HALF:])
        values = np.bincount(order[within], minlength=len(order)).astype(np.int64)
        values[order[:split]] = _spread(self._gaps, begin[low], end[low], none)
        self._move(at + counts, end)
        return values

    def _move(self, at: _Int64s, following: _Int64s) -> None:
        self._at, self._next, self._due = at.tolist(), following.tolist(), self._places[following].tolist()


class _Bits:
    """Reads the head."""

    def __init__(self, data: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def number(self, n: int) -> int:
        """An unsigned number of ``n`` bits."""
        self._at += n
        _refuse(self._at > len(self._text))
        return int("0" + self._text[self._at - n : self._at], 2)

    def unary(self, largest: int) -> int:
        value = self._text.find("1", self._at, self._at + largest + 1) - self._at
        _refuse(value < 0)
        self._at += value + 1
        return value

    def signed(self) -> int:
        code = self.unary(64)
        return code >> 1 ^ -(code & 1)

    def finish(self) -> int:
        """Bytes of the head."""
        _refuse(self.number(-self._at % 8) != 0)
        return self._at // 8


def _unary(value: int) -> str:
    return "0" * value + "1"


def _signed(value: int) -> str:
    return _unary(int(varint.zigzag([value])[0]))


_SHIFTS = np.arange(-_STEPS, _STEPS + 1)
_CHANGES = varint.zigzag(_SHIFTS - _SHIFTS[:, None]) + 1
"""Bits of a shift, given the one of the bucket before."""


def _write_kind(counts: _Int64s, gaps: _Int64s) -> tuple[str, _Int64s]:
    """Head of one kind, and the shift of each of its buckets."""
    shifts = np.zeros(BUCKETS, np.int64)
    used = counts.nonzero()[0]
    if not used.size:
        return "0", shifts
    text, last = f"1{used[0]:05b}{used[-1]:05b}", 0
    for count in counts[used[0] : used[-1] + 1].tolist():
        length = count.bit_length()
        text += _signed(length - last) + f"{count:b}"[1:] * (count > 0)
        last = length
    # The cheapest path through the shifts of all buckets: what the gaps cost with a shift, and what the shift costs.
    likelier = np.add.reduceat(gaps, (np.cumsum(counts) - counts)[used])
    rows = np.clip(_NOMINAL[used, None] + _SHIFTS, 0, _ROWS - 1)
    costs = counts[used, None] * _code().rarer[rows] + likelier[:, None] * _code().likelier[rows]
    best, origins = np.where(_SHIFTS == 0, 0.0, np.inf), []
    for cost in costs:
        paths = best[:, None] + _CHANGES
        origins.append(paths.argmin(0))
        best = paths.min(0) + cost
    if best.min() >= costs[:, _STEPS].sum():
        return text + "0", shifts
    at = int(best.argmin())
    for bucket, origin in zip(used[::-1].tolist(), origins[::-1], strict=True):
        shifts[bucket] = at - _STEPS
        at = int(origin[at])
    return text + "1" + "".join(_signed(change) for change in np.diff(shifts[used], prepend=0).tolist()), shifts


def _read_kind(bits: _Bits) -> tuple[list[int], list[int]]:
    """Numbers of gaps and shifts of the 32 buckets of one kind."""
    counts, shifts = [0] * BUCKETS, [0] * BUCKETS
    if not bits.number(1):
        return counts, shifts
    first, last = bits.number(5), bits.number(5)
    length = shift = 0
    for b in range(first, last + 1):
        length += bits.signed()
        _refuse(not 0 <= length <= 32)
        counts[b] = 1 << (length - 1) | bits.number(length - 1) if length else 0
    _refuse(not (counts[first] and counts[last]))
    for b in range(first, last + 1) if bits.number(1) else ():
        if counts[b]:
            shift += bits.signed()
            _refuse(abs(shift) > _STEPS)
            shifts[b] = shift
    return counts, shifts


class _Code(NamedTuple):
    """Codes of gaps, one for each logit of the rarer bit; arrays of shape (42,)."""

    tables: Tables
    low: _Int64s
    """Raw bits."""
    escape: _Int64s
    """The symbol "at least this many"."""
    rarer: npt.NDArray[np.float64]
    """Cost of a rarer and of a likelier bit, for the choice of shifts."""
    likelier: npt.NDArray[np.float64]
    least: npt.NDArray[np.float64]
    """A gap costs at least this many bits."""


@cache
def _code() -> _Code:
    """The tables, in whole numbers after one rounding each, which is nowhere near a tie (tested)."""
    logits = (np.arange(_ROWS) - 39) / 4
    p = 1 / (1 + np.exp(-logits))
    low = np.maximum(np.floor(np.log2(0.15 / p)), 0).astype(np.int64)
    weights = np.zeros((_ROWS, 64), np.int64)
    escape = np.full(_ROWS, 63)
    for row, ratio in enumerate(_ratios(p, low).round().astype(int).tolist()):
        weight = 1 << 30
        for symbol in range(64):
            if symbol == 63 or weight <= 1 << 18:  # Rarer symbols would only waste frequencies of 1.
                weights[row, symbol] = (weight << 24) // ((1 << 24) - ratio)
                escape[row] = symbol
                break
            weights[row, symbol] = weight
            weight = weight * ratio >> 24
    freq = frequencies(weights)
    least = low + PRECISION - np.log2(freq.max(1))
    return _Code(Tables(cumulate(freq)), low, escape, np.logaddexp2(0, -logits / np.log(2)),
                 np.logaddexp2(0, logits / np.log(2)), least)


def _ratios(p: npt.NDArray[np.float64], low: _Int64s) -> npt.NDArray[np.float64]:
    """Probability of a symbol over that of the one before, times 2**24."""
    return (1 - p) ** (1 << low) * 2.0**24


def _intervals(gaps: _Int64s, rows: _Int64s) -> list[tuple[_Ints, _Ints]]:
    """The batches of the range coder for all ``gaps`` (n,), each with code ``rows`` (n,)."""
    code, batches = _code(), []
    if gaps.size and gaps.max() >= _GAPS:
        raise ValueError("too many decisions of one bucket between two rarer bits.")
    low = code.low[rows]
    high, left = gaps >> low, rows
    for _ in range(_ESCAPES):
        most = code.escape[left]
        batches.append(code.tables.intervals(np.minimum(high, most), left))
        more = high >= most
        high, left = (high - most)[more], left[more]
    raw = [(high & ((1 << _REST) - 1), _REST), (high >> _REST, _REST)]
    raw += [(gaps[low == k] & ((1 << k) - 1), k) for k in range(1, int(code.low.max()) + 1)]
    return [*batches, *((bits << (PRECISION - k), np.full(len(bits), 1 << (PRECISION - k))) for bits, k in raw)]


def _decode_gaps(decoder: Decoder, rows: _Int64s) -> _Int64s:
    """Inverse of `_intervals`."""
    code = _code()
    gaps, left = np.zeros(len(rows), np.int64), np.arange(len(rows))
    for _ in range(_ESCAPES):
        symbols = decoder.get(code.tables, rows[left])
        gaps[left] += symbols
        left = left[symbols == code.escape[rows[left]]]
    for shift in (0, _REST):
        gaps[left] += decoder.get_bits(len(left), _REST).astype(np.int64) << shift
    low = code.low[rows]
    for k in range(1, int(code.low.max()) + 1):
        which = (low == k).nonzero()[0]
        gaps[which] = gaps[which] << k | decoder.get_bits(len(which), k)
    _refuse(bool(gaps.size and gaps.max() >= _GAPS))
    return gaps


def _lanes_for(n_bytes: float) -> int:
    """Lanes for about ``n_bytes``: 2 to 8 of them would cost bytes and yet be no faster than one."""
    lanes = lanes_for(n_bytes)
    return lanes if lanes > 8 else 1


def _refuse(wrong: bool) -> None:
    if wrong:
        raise FormatError("A stream of decisions is impossible: the file is damaged or truncated.")


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

"""The entropy coder of every microfield stream: interleaved rANS with integer tables and 32-bit arithmetic.

rANS (range variant of asymmetric numeral systems; Duda 2013, arXiv:1311.2540, section 3.3) keeps one whole number, the
state, per lane. Symbol ``j`` of a batch belongs to lane ``j % lanes``, so NumPy moves all lanes at once. Probabilities
are integers that sum to 2**15, a state lies in [2**16, 2**32) and spills words of 16 bits: no product exceeds 32 bits.

The stream is ``states | words``. In every step the lanes that need a word take the next ones in lane order, so no
lengths are stored. With several lanes every state starts (in the encoder) at 2**16 and is stored as 4 bytes, little
endian. With one lane the state starts at 0, which wastes no bits: while it has not yet reached 2**16 nothing has been
spilled, hence a decoder whose words are used up just lets the state sink below 2**16. It is stored in the fewest bytes
(0 to 4), and the length of the stream tells how many: all of it if that is at most 2, else 3 or 4, whichever leaves
whole words. Loss against the entropy: 1 to 3 bytes with one lane, about 3 bytes a lane otherwise.

A decoder ends with every state where the encoder's began and no words left; anything else is a damaged stream. One lane
has only about 12 bits of such a check, so it is the checksums of the container that guard a file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.tables import PRECISION, Tables, cumulate, frequencies
from microfield.errors import FormatError

__all__ = ["MAX_LANES", "PRECISION", "Decoder", "Encoder", "Tables", "cumulate", "decode", "encode", "frequencies",
           "lanes_for"]

MAX_LANES = 256
"""Lanes of a stream at most."""

_WORD_BITS = 16
_WORD_MASK = (1 << _WORD_BITS) - 1
_LOW = 1 << _WORD_BITS
"""States lie from this to below 2**32: a lower one takes a word."""

_SPILL_SHIFT = 32 - PRECISION
"""A state of ``freq << _SPILL_SHIFT`` and more would leave 32 bits with the next symbol, and spills a word first."""

_SLOT_MASK = (1 << PRECISION) - 1
"""The low bits of a state are the slot among 2**15 that names the next symbol."""

_BYTES_A_LANE = 600
"""A stream has another lane for so many bytes: its state then costs under half a per cent."""

_SCALAR_LANES = 12
"""Below this many lanes plain Python integers are faster than NumPy calls."""

_U32 = npt.NDArray[np.uint32]
_Ints = npt.NDArray[Any]
_Split = Callable[[_U32, int], tuple[_U32 | np.uint32, _U32]]
"""(slots, position in the batch) to (frequency, slot - start) of the symbols at these slots."""


def lanes_for(n_bytes: float) -> int:
    """Lanes for a stream of about ``n_bytes``: a power of two up to 256 whose overhead stays under half a per cent."""
    lanes = 1
    while lanes < MAX_LANES and n_bytes >= 2 * lanes * _BYTES_A_LANE:
        lanes *= 2
    return lanes


class Encoder:
    """Collects batches in the order they will be decoded, and codes them in `finish`.

    Parameters
    ----------
    lanes : int
        1 to 256; the decoder must be given the same number.
    """

    def __init__(self, lanes: int) -> None:
        _check_lanes(lanes)
        self._lanes = lanes
        self._batches: list[tuple[_U32, _U32]] = []

    def put(self, start: _Ints, freq: _Ints) -> None:
        """Add a batch of symbols, given as intervals of [0, 2**15): integer arrays of shape (n,); it begins at lane 0.

        Raises
        ------
        ValueError
            If an interval is empty or leaves the range.
        """
        start, freq = np.asarray(start), np.asarray(freq)
        if start.shape != freq.shape or start.ndim != 1:
            raise ValueError("start and freq must be one-dimensional and of equal length.")
        apart = start.size and (start.min() < 0 or freq.min() < 1 or max(start.max(), freq.max()) > 1 << PRECISION)
        if apart or (start.size and np.add(start, freq, dtype=np.uint32, casting="unsafe").max() > 1 << PRECISION):
            raise ValueError("a symbol has no probability in its table, or an interval leaves 0..2**15.")
        self._batches.append((start.astype(np.uint32), freq.astype(np.uint32)))

    def put_symbols(self, symbols: _Ints, tables: Tables, table: _Ints) -> None:
        """Add a batch of ``symbols`` (n,), each coded with row ``table`` (n,) of ``tables``."""
        self.put(*tables.intervals(symbols, table))

    def put_bits(self, values: _Ints, k: int) -> None:
        """Add a batch of raw ``k``-bit values (0 <= k <= 15)."""
        values = np.asarray(values, np.int64)
        if not 0 <= k <= PRECISION or (values.size and not 0 <= values.min() <= values.max() < 1 << k):
            raise ValueError(f"raw values must fit in {k} bits, at most {PRECISION}.")
        self.put(values << (PRECISION - k), np.full(values.shape, 1 << (PRECISION - k)))

    def finish(self) -> bytes:
        """Bytes of everything added so far."""
        return self._finish_few() if self._lanes < _SCALAR_LANES else self._finish_many()

    def _finish_few(self) -> bytes:
        """`finish` for few lanes, with plain integers."""
        states = [_first_state(self._lanes)] * self._lanes
        words: list[int] = []
        for start, freq in reversed(self._batches):
            pairs = list(zip(start.tolist(), freq.tolist(), strict=True))
            for j in reversed(range(len(pairs))):
                c, f = pairs[j]
                state = states[j % self._lanes]
                if state >> _SPILL_SHIFT >= f:
                    words.append(state & _WORD_MASK)
                    state >>= _WORD_BITS
                states[j % self._lanes] = (state // f << PRECISION) + state % f + c
        size = 4 if self._lanes > 1 else (states[0].bit_length() + 7) // 8
        return b"".join(s.to_bytes(size, "little") for s in states) + np.array(words[::-1], "<u2").tobytes()

    def _finish_many(self) -> bytes:
        """`finish` for many lanes, all of them at once."""
        state = np.full(self._lanes, _LOW, np.uint32)
        words: list[_U32] = []
        for start, freq in reversed(self._batches):
            for begin in reversed(range(0, len(start), self._lanes)):
                c, f = start[begin : begin + self._lanes], freq[begin : begin + self._lanes]
                x = state[: len(c)]
                spill = x >> np.uint32(_SPILL_SHIFT) >= f
                words.append(x[spill] & np.uint32(_WORD_MASK))
                x[spill] >>= np.uint32(_WORD_BITS)
                whole, rest = np.divmod(x, f)
                x[:] = (whole << np.uint32(PRECISION)) + rest + c
        stream = np.concatenate([*words[::-1], np.zeros(0, np.uint32)])
        return state.astype("<u4").tobytes() + stream.astype("<u2").tobytes()


class Decoder:
    """Reads batches back in the order they were put.

    Parameters
    ----------
    data : bytes
        What `Encoder.finish` gave.
    lanes : int
        As given to the encoder.

    Raises
    ------
    FormatError
        If the data cannot be such a stream.
    """

    def __init__(self, data: bytes, lanes: int) -> None:
        _check_lanes(lanes)
        self._lanes = lanes
        head = _bytes_of_states(len(data), lanes)
        if len(data) < head or (len(data) - head) % 2:
            raise FormatError("A coded stream has an impossible length: the file is damaged or truncated.")
        self._words = np.frombuffer(data, "<u2", offset=head).astype(np.uint32)
        self._taken = 0
        if lanes == 1:
            states = [int.from_bytes(data[:head], "little")]
            bad = head > 0 and data[head - 1] == 0
        else:
            states = np.frombuffer(data, "<u4", count=lanes).tolist()
            bad = min(states) < _LOW
        if bad:
            raise FormatError("A coded stream begins with an impossible state: the file is damaged.")
        self._scalar = lanes < _SCALAR_LANES
        self._states: list[int] = states
        self._state = np.array(states, np.uint32)
        self._word_list: list[int] = self._words.tolist() if self._scalar else []

    def get(self, cumulative: Tables | _Ints, table: _Ints) -> npt.NDArray[np.int32]:
        """Decode a batch.

        Parameters
        ----------
        cumulative : Tables or int array of shape (n_tables, n_symbols + 1)
            Row t holds the sums of the frequencies before each symbol, from 0 to 2**15. Give a `Tables` where the same
            array serves several batches, so that it is checked and prepared once.
        table : int array of shape (n,)
            Which row each symbol uses.

        Returns
        -------
        symbols : int32 array of shape (n,)

        Raises
        ------
        FormatError
            If the stream ends too early, or a table is not one.
        """
        tables = cumulative if isinstance(cumulative, Tables) else Tables(cumulative)
        rows = tables.rows(table)
        if self._scalar:
            return self._get_scalar(tables, rows.tolist())
        found = np.empty(len(rows), np.uint32)
        lookup = tables.lookup(len(rows))
        base = rows.astype(np.uint32) << PRECISION

        def search(slots: _U32, begin: int) -> tuple[_U32, _U32]:
            index = tables.first.searchsorted(base[begin : begin + len(slots)] | slots, side="right") - 1
            found[begin : begin + len(slots)] = index
            return tables.freq[index], slots - tables.start[index]

        def look(slots: _U32, begin: int) -> tuple[_U32, _U32]:
            assert lookup is not None
            index = found[begin : begin + len(slots)]
            np.bitwise_or(base[begin : begin + len(slots)], slots, out=index)
            return lookup.freq.take(index), lookup.rest.take(index)

        self._steps(len(rows), search if lookup is None else look)
        if lookup is not None:
            return lookup.symbol[found.astype(np.int64)]
        return np.asarray(found.astype(np.int64) - rows * tables.n_symbols, np.int32)

    def get_bits(self, n: int, k: int) -> npt.NDArray[np.int32]:
        """Decode ``n`` raw values of ``k`` bits (0 <= k <= 15)."""
        if not 0 <= k <= PRECISION:
            raise ValueError(f"raw values have at most {PRECISION} bits.")
        shift = PRECISION - k
        if self._scalar:
            return np.array([self._pull(lambda slot: (slot >> shift, 1 << shift, slot & ((1 << shift) - 1)), j)
                             for j in range(n)], np.int32)
        found = np.empty(n, np.uint32)

        def split(slots: _U32, begin: int) -> tuple[np.uint32, _U32]:
            np.right_shift(slots, shift, out=found[begin : begin + len(slots)])
            return np.uint32(1 << shift), slots & np.uint32((1 << shift) - 1)

        self._steps(n, split)
        return found.astype(np.int32)

    def finish(self) -> None:
        """Check that the stream ended exactly here.

        Raises
        ------
        FormatError
            If words are left or a state is not back where the encoder started: the stream is damaged.
        """
        first = _first_state(self._lanes)
        states = self._states if self._scalar else self._state.tolist()
        if self._taken != len(self._words) or any(state != first for state in states):
            raise FormatError("A coded stream does not end where it should: the file is damaged or truncated.")

    def _steps(self, n: int, split: _Split) -> None:
        """Move all lanes until ``n`` symbols are done; ``split`` finds the symbols."""
        for begin in range(0, n, self._lanes):
            state = self._state[: n - begin]
            freq, rest = split(state & np.uint32(_SLOT_MASK), begin)
            state >>= np.uint32(PRECISION)
            state *= freq
            state += rest
            hungry = (state < np.uint32(_LOW)).nonzero()[0]
            if hungry.size:
                words = self._words[self._taken : self._taken + hungry.size]
                if words.size < hungry.size:
                    raise FormatError("A coded stream ends too early: the file is damaged or truncated.")
                state[hungry] = (state[hungry] << np.uint32(_WORD_BITS)) | words
                self._taken += hungry.size

    def _get_scalar(self, tables: Tables, rows: list[int]) -> npt.NDArray[np.int32]:
        """`get` for few lanes: symbols of these rows of the tables, one by one."""
        first, start, freq = tables.lists
        width, base = tables.n_symbols, 0

        def split(slot: int) -> tuple[int, int, int]:
            index = bisect_right(first, base | slot) - 1
            return index, freq[index], slot - start[index]

        symbols: list[int] = []
        for j, row in enumerate(rows):
            base = row << PRECISION
            symbols.append(self._pull(split, j) - row * width)
        return np.array(symbols, np.int32)

    def _pull(self, split: Callable[[int], tuple[int, int, int]], j: int) -> int:
        """Decode symbol ``j`` of a batch with plain integers; ``split`` gives (symbol, frequency, slot - start) of a slot."""
        lane = j % self._lanes
        state = self._states[lane]
        symbol, freq, rest = split(state & _SLOT_MASK)
        state = freq * (state >> PRECISION) + rest
        if state < _LOW:
            if self._taken < len(self._word_list):
                state = state << _WORD_BITS | self._word_list[self._taken]
                self._taken += 1
            elif self._lanes > 1:
                raise FormatError("A coded stream ends too early: the file is damaged or truncated.")
        self._states[lane] = state
        return symbol


def encode(symbols: _Ints, table: _Ints, cumulative: Tables | _Ints, lanes: int) -> bytes:
    """A batch ``symbols`` (n,) to bytes, each coded with row ``table`` (n,) of ``cumulative``: see `Decoder.get`."""
    encoder = Encoder(lanes)
    encoder.put_symbols(symbols, cumulative if isinstance(cumulative, Tables) else Tables(cumulative), table)
    return encoder.finish()


def decode(data: bytes, table: _Ints, cumulative: Tables | _Ints, lanes: int) -> npt.NDArray[np.int32]:
    """Inverse of `encode`: int32 symbols of shape (n,). Raises FormatError where the data is damaged."""
    decoder = Decoder(data, lanes)
    symbols = decoder.get(cumulative, table)
    decoder.finish()
    return symbols


def _bytes_of_states(n_bytes: int, lanes: int) -> int:
    """Bytes that the states take at the beginning of a stream of ``n_bytes``."""
    if lanes > 1:
        return 4 * lanes
    return n_bytes if n_bytes <= 2 else 4 - n_bytes % 2


def _first_state(lanes: int) -> int:
    """The state that the encoder starts with, and that every lane of the decoder must end with."""
    return 0 if lanes == 1 else _LOW


def _check_lanes(lanes: int) -> None:
    """ValueError for a number of lanes that cannot be."""
    if not 1 <= lanes <= MAX_LANES:
        raise ValueError(f"lanes must lie between 1 and {MAX_LANES}, not {lanes}.")

"""Latents to bytes: integer tables, values beyond a table's ends with raw bits, one range-coded stream.

All tables come with the network. Latents with a scale have one for every quarter of an octave of scales: scales are computed
exactly, so both ends choose alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.range_coder import Decoder, Encoder
from microfield.coding.tables import Tables, cumulate
from microfield.coding.weights import step_size
from microfield.errors import FormatError

Ints = npt.NDArray[np.int64]

SPREADS = 41
"""Tables of latents with a scale: row r is for scales of about 2**(r / 4 - 4), up to 2**6."""
RAW_BITS = 15
"""A value beyond the end of its table is stored as its distance to the end, in so many bits."""

LONGEST = 1 << 10
"""Values of a table at most."""


@dataclass(frozen=True)
class ValueTables:
    """Frequency tables of whole numbers.

    Attributes
    ----------
    tables : Tables
    low : int64 array (rows,), the value of each table's first symbol; that symbol stands for it and all below it
    high : int64 array (rows,), the value of its last symbol, which stands for all above it, too
    """

    tables: Tables
    low: Ints
    high: Ints

    @classmethod
    def of(cls, frequencies: npt.NDArray[Any], low: npt.NDArray[Any], counts: npt.NDArray[Any]) -> ValueTables:
        """Tables from frequencies, one row behind the other, of which row r has ``counts[r]`` that sum to 2**15.

        Raises
        ------
        FormatError
            They are no such tables.
        """
        flat, starts, used = (np.asarray(a, np.int64) for a in (frequencies, low, counts))
        fits = flat.ndim == used.ndim == 1 and starts.shape == used.shape and used.size and used.min() >= 2
        if not fits or used.max() > LONGEST or int(used.sum()) != len(flat) or np.abs(starts).max() > 1 << RAW_BITS:
            raise FormatError("a learned codec has tables that cannot be used.")
        freq = np.zeros((len(used), int(used.max())), np.int64)
        freq[np.arange(freq.shape[1]) < used[:, None]] = flat
        return cls(Tables(cumulate(freq)), starts, starts + used - 1)

    def clipped(self, values: Ints, rows: Ints) -> Ints:
        """Values as near as they can be coded."""
        room = (1 << RAW_BITS) - 1
        return np.clip(values, self.low[rows] - room, self.high[rows] + room)

    def put(self, encoder: Encoder, values: Ints, rows: Ints) -> None:
        """Code values (n,), which `clipped` leaves as they are, with these rows of the tables."""
        low, high = self.low[rows], self.high[rows]
        inside = np.clip(values, low, high)
        encoder.put_symbols(inside - low, self.tables, rows)
        ends = (inside == low) | (inside == high)
        encoder.put_bits(np.abs(values - inside)[ends], RAW_BITS)

    def get(self, decoder: Decoder, rows: Ints) -> Ints:
        """Values (n,) coded with these rows."""
        low, high = self.low[rows], self.high[rows]
        values = decoder.get(self.tables, rows) + low
        above, below = values == high, values == low
        ends = above | below
        values[ends] += np.where(above[ends], 1, -1) * decoder.get_bits(int(ends.sum()), RAW_BITS)
        return values

    def bits(self, values: Ints, rows: Ints) -> npt.NDArray[np.float64]:
        """What each value takes, in bits."""
        low, high = self.low[rows], self.high[rows]
        inside = np.clip(values, low, high)
        freq = self.tables.freq[rows * self.tables.n_symbols + inside - low]
        return np.asarray(15 - np.log2(freq) + np.where((inside == low) | (inside == high), RAW_BITS, 0), np.float64)


_BORDERS = np.array([step_size(16 * 14 + 4 * spread + 2 - 64) for spread in range(SPREADS - 1)], np.float64)
"""Scales between one table and the next: 2**((spread + 0.5) / 4 - 4)."""


def rows_of(scales: npt.NDArray[np.float64]) -> Ints:
    """The table of every scale."""
    return np.searchsorted(_BORDERS, scales).astype(np.int64)

"""Frequency tables of the range coder: quantising weights, checking tables, finding symbols."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError

PRECISION = 15
"""Frequencies of every table sum to 2**PRECISION."""

_TOTAL = 1 << PRECISION

_MAX_ROWS = 1 << 16
"""Tables in a set at most, so that ``row << 15 | slot`` fits into 32 bits."""

_WEIGHT_LIMIT = 1 << 47
"""Weights and their sums are below this: times 2**15 they still fit into 63 bits."""

_LOOKUP_ROWS = 64
"""More tables than this are searched: their lookup would leave the processor's cache."""

_LOOKUP_SYMBOLS = 1 << 12
"""Symbols per table from which on building its lookup pays."""

_U32 = npt.NDArray[np.uint32]
_Int64s = npt.NDArray[np.int64]
_Ints = npt.NDArray[Any]


class Lookup(NamedTuple):
    """For ``row << 15 | slot``: the symbol there, its frequency, and ``slot - start``; each of shape (rows << 15,)."""

    symbol: npt.NDArray[np.int32]
    freq: _U32
    rest: _U32


class Tables:
    """A checked set of tables, prepared for coding; safe to share between threads.

    Parameters
    ----------
    cumulative : int array of shape (n_tables, n_symbols + 1) or (n_symbols + 1,)
        Sums of the frequencies before each symbol: every row rises from 0 to 2**15. A symbol of frequency 0 cannot be
        coded and is never decoded, so short rows are padded with 2**15 at the end.

    Raises
    ------
    FormatError
        If a row is not such a table.
    """

    def __init__(self, cumulative: _Ints) -> None:
        rows = np.atleast_2d(np.asarray(cumulative))
        if rows.ndim != 2 or rows.shape[1] < 2 or not 0 < len(rows) <= _MAX_ROWS or rows.dtype.kind not in "iu":
            raise FormatError(f"Frequency tables of shape {rows.shape} and type {rows.dtype} cannot be used.")
        wide = rows.astype(np.int64)
        if bool((wide[:, 0] != 0).any() or (wide[:, -1] != _TOTAL).any() or (np.diff(wide, axis=1) < 0).any()):
            raise FormatError(f"A frequency table does not rise from 0 to {_TOTAL}.")
        self.n_tables, self.n_symbols = len(wide), wide.shape[1] - 1
        self.start: _U32 = wide[:, :-1].astype(np.uint32).ravel()
        self.freq: _U32 = np.diff(wide, axis=1).astype(np.uint32).ravel()
        # One sorted list over all tables: the last entry not above ``row << 15 | slot`` is the symbol. Empty symbols
        # share their start with the next one, which the search takes.
        bases = (np.arange(self.n_tables) << PRECISION).astype(np.uint32)
        self.first: _U32 = bases.repeat(self.n_symbols) + self.start
        self._decoded = 0

    def rows(self, table: _Ints) -> _Int64s:
        """Row numbers (n,), checked.

        Raises
        ------
        FormatError
            If one does not exist.
        """
        rows = np.asarray(table).astype(np.int64)
        if rows.ndim != 1:
            raise ValueError("the table of every symbol must be a one-dimensional array.")
        if rows.size and not 0 <= int(rows.min()) <= int(rows.max()) < self.n_tables:
            raise FormatError(f"A coded stream names a frequency table outside 0..{self.n_tables - 1}.")
        return rows

    def intervals(self, symbols: _Ints, table: _Ints) -> tuple[_U32, _U32]:
        """Start and frequency of each of ``symbols`` (n,) in row ``table`` (n,)."""
        values, rows = np.asarray(symbols).astype(np.int64), self.rows(table)
        if values.shape != rows.shape:
            raise ValueError("symbols and table must be of equal length.")
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < self.n_symbols:
            raise ValueError(f"a symbol is outside 0..{self.n_symbols - 1}.")
        index = rows * self.n_symbols + values
        return self.start[index], self.freq[index]

    def lookup(self, n: int) -> Lookup | None:
        """The lookup, or None while ``n`` further symbols do not make it worth building."""
        self._decoded += n
        if self.n_tables > _LOOKUP_ROWS or self._decoded < self.n_tables * _LOOKUP_SYMBOLS:
            return None
        return self._lookup

    @cached_property
    def _lookup(self) -> Lookup:
        """The lookup of all tables."""
        index = np.arange(len(self.freq)).repeat(self.freq)
        slots = np.tile(np.arange(_TOTAL, dtype=np.uint32), self.n_tables)
        return Lookup((index % self.n_symbols).astype(np.int32), self.freq[index], slots - self.start[index])

    @cached_property
    def lists(self) -> tuple[list[int], list[int], list[int]]:
        """The arrays ``first``, ``start`` and ``freq`` as lists of plain integers."""
        return self.first.tolist(), self.start.tolist(), self.freq.tolist()


def frequencies(weights: _Ints) -> _Int64s:
    """Frequencies in proportion to whole-number weights, in integer arithmetic only: the same on every machine.

    Parameters
    ----------
    weights : int array of shape (..., n_symbols)
        Counts or any other weights >= 0, not all zero, the sum of a row below 2**47. Zero means never used.

    Returns
    -------
    frequencies : int64 array of the same shape
        Every row sums to 2**15; a used symbol has at least 1.

    Raises
    ------
    FormatError
        If the weights are not of this kind: they may come from a file.

    Notes
    -----
    ``max(1, floor(2**15 w / total))``. What is then missing goes, one each, to the largest remainders among the
    symbols not raised to 1 (ties: the first). What is too much, ``s``, is taken from the parts above 1, ``g = f - 1``:
    ``floor(s g / sum(g))`` each, and the rest one each from the largest ``g`` (ties: the first).
    """
    rows = np.asarray(weights)
    if rows.ndim == 0 or rows.shape[-1] == 0 or rows.dtype.kind not in "iu":
        raise FormatError(f"Weights of shape {rows.shape} and type {rows.dtype} give no frequency table.")
    flat = rows.reshape(-1, rows.shape[-1])
    if flat.size and (int(flat.min()) < 0 or int(flat.max()) >= _WEIGHT_LIMIT):
        raise FormatError("The weights of a frequency table must lie between 0 and 2**47.")
    return np.array([_frequencies(row.astype(np.int64)) for row in flat], np.int64).reshape(rows.shape)


def cumulate(freq: _Ints) -> _Int64s:
    """Cumulative frequencies, shape (..., n_symbols + 1), of frequencies (..., n_symbols)."""
    sums = np.cumsum(np.asarray(freq, np.int64), axis=-1)
    return np.concatenate([np.zeros_like(sums[..., :1]), sums], axis=-1)


def _frequencies(weights: _Int64s) -> _Int64s:
    """`frequencies` of one row."""
    used = weights > 0
    # A float sum is enough to see an overflow, and the exact one is safe once there is none.
    if not used.any() or int(used.sum()) > _TOTAL or float(weights.sum(dtype=np.float64)) >= _WEIGHT_LIMIT:
        raise FormatError(f"A frequency table needs 1 to {_TOTAL} used symbols with weights that sum below 2**47.")
    scaled, total = weights << PRECISION, weights.sum()
    share = scaled // total
    freq = np.where(used, np.maximum(share, 1), 0)
    gap = _TOTAL - int(freq.sum())
    if gap > 0:
        remainder = np.where(share > 0, scaled - share * total, -1)
        freq[np.argsort(-remainder, kind="stable")[:gap]] += 1
    elif gap < 0:
        above = np.maximum(freq - 1, 0)
        taken = -gap * above // above.sum()
        taken[np.argsort(-above, kind="stable")[: -gap - int(taken.sum())]] += 1
        freq -= taken
    return freq

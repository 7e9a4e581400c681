"""The adaptive filter of `field` on some rows of a plane, by the compiled kernel.

``source/filter.c`` computes what `microfield.methods.field.adaptive_filter` and `microfield.methods.field.taps` do.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

REACH, _NEAR, _DIRECTIONS, SORTS = 4, 3, 4, 10


class _Rows(ctypes.Structure):
    _fields_ = (("padded", ctypes.c_void_p), ("along", ctypes.c_void_p * 4), ("rows", ctypes.c_int64), ("columns", ctypes.c_int64),
                ("pairs", ctypes.c_void_p), ("n_pairs", ctypes.c_int32), ("n_clipped", ctypes.c_int32), ("n_along", ctypes.c_int32),
                ("sorted", ctypes.c_int32), ("weights", ctypes.c_void_p), ("limit", ctypes.c_float), ("lively", ctypes.c_float),
                ("space", ctypes.c_void_p), ("out", ctypes.c_void_p))


class Taps(NamedTuple):
    """What a filter is made of.

    Attributes
    ----------
    pairs : int32 array (pairs, 2)
        Rows and columns from a voxel to one neighbour of each pair, at most `REACH`.
    clipped : int
        How many of them, from the first on, come clipped, too.
    sorted : bool
        Whether weights differ by the sort of a place.
    weights : float32 array (features, `SORTS`)
        Of pairs, clipped pairs, and neighbours along other axes.
    limit, lively : float
        Where differences are cut; from which sum of second differences on a place is lively.
    """

    pairs: npt.NDArray[np.int32]
    clipped: int
    sorted: bool
    weights: Floats
    limit: float
    lively: float


def filtered(library: ctypes.CDLL, taps: Taps, padded: Floats, along: Sequence[Floats]) -> Floats:
    """What a filter adds to rows of a plane: float32 of shape (rows, columns).

    Parameters
    ----------
    library : the kernel
    taps : Taps
    padded : float32 array (rows + 2 `REACH`, columns + 2 `REACH`)
        The rows with their border.
    along : sequence of float32 arrays (rows, columns)
        Neighbours before and after along z, and along the batch, where there are any.
    """
    rows, columns = (n - 2 * REACH for n in padded.shape)
    n = len(taps.pairs) + taps.clipped + len(along) // 2
    fits = len(along) in (0, 2, 4) and all(a.shape == (rows, columns) for a in along) and np.abs(taps.pairs).max() <= REACH
    if min(rows, columns) < 1 or taps.weights.shape != (n, SORTS) or taps.clipped > len(taps.pairs) or not fits:
        raise ValueError("rows do not have their border, or the weights are not those of the features.")
    padded, pairs = np.ascontiguousarray(padded, np.float32), np.ascontiguousarray(taps.pairs, np.int32)
    weights, neighbours = np.ascontiguousarray(taps.weights, np.float32), [np.ascontiguousarray(a, np.float32) for a in along]
    out = np.empty((rows, columns), np.float32)
    space = np.empty((2 + _DIRECTIONS) * (rows + 2 * _NEAR) * (columns + 2 * _NEAR), np.float32)
    pointers = (ctypes.c_void_p * 4)(*(a.ctypes.data for a in neighbours))
    library.mf_filter(ctypes.byref(_Rows(
        padded.ctypes.data, pointers, rows, columns, pairs.ctypes.data, len(pairs), taps.clipped, len(along) // 2,
        int(taps.sorted), weights.ctypes.data, taps.limit, taps.lively, space.ctypes.data, out.ctypes.data)))
    return out

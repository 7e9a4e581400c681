"""The 9/7 wavelet along one axis, rounding of its coefficients and their logarithms, by the compiled kernel.

``source/lifting.c``, ``source/quantise.c`` and ``source/pictures.c`` compute what modules of `microfield.methods.field` do.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

MOST_AXES = 4
"""Of arrays that are transformed."""
_WIDTH = 64
"""Columns that are lifted together."""


def lift(library: ctypes.CDLL, values: Floats, extents: tuple[int, ...], axis: int, factors: Floats, gain: float,
         forward: bool) -> None:
    """One level along an axis of the corner of an array, in place.

    Parameters
    ----------
    library : the kernel
    values : float32 array, up to 4-D, in C order
    extents : tuple of int
        Of the corner.
    axis : int
        Its extent is at least 2.
    factors : float32 array (4,)
        Of the lifting steps.
    gain : float
        Approximations are multiplied and details divided by this.
    forward : bool
        Or the inverse.
    """
    fits = len(extents) == values.ndim <= MOST_AXES and all(0 < n <= m for n, m in zip(extents, values.shape, strict=False))
    if not fits or values.dtype != np.float32 or not values.flags.c_contiguous or extents[axis] < 2 or factors.shape != (4,):
        raise ValueError("the corner does not lie in its array, or cannot be split along this axis.")
    missing = MOST_AXES - values.ndim
    shape = np.array((1,) * missing + extents, np.int64)
    strides = np.array((0,) * missing + values.strides, np.int64) // values.itemsize
    steps = np.ascontiguousarray(factors, np.float32)
    space = np.empty(extents[axis] * _WIDTH, np.float32)
    library.mf_lift(_of(values), _of(shape), _of(strides), axis + missing, _of(steps), ctypes.c_float(gain),
                    ctypes.c_float(1 / gain), int(forward), _of(space))


def quantise(library: ctypes.CDLL, scaled: Floats, buckets: tuple[Bytes, Bytes, Bytes], costs: Floats, typical: Floats,
             rdo: float) -> npt.NDArray[np.int32]:
    """Magnitudes (n,) as `microfield.methods.field.quantise.quantise` chooses them without weights.

    Parameters
    ----------
    library : the kernel
    scaled : float32 array (n,)
        From 0 to below 2**23.
    buckets : three uint8 arrays (n,), below the length of the costs
    costs : float32 array (buckets, 2)
    typical : float32 array (4,)
    rdo : float
    """
    values, kept = np.ascontiguousarray(scaled, np.float32), [np.ascontiguousarray(b, np.uint8) for b in buckets]
    if values.ndim != 1 or any(b.shape != values.shape for b in kept) or typical.shape != (4,):
        raise ValueError("magnitudes and buckets must be of equal length.")
    if any(b.size and int(b.max()) >= len(costs) for b in kept):
        raise ValueError("a bucket is beyond the costs.")
    out = np.empty(len(scaled), np.int32)
    tables = np.ascontiguousarray(costs, np.float32), np.ascontiguousarray(typical, np.float32)
    library.mf_quantise(_of(values), ctypes.c_int64(len(values)), *map(_of, kept), *map(_of, tables), ctypes.c_float(rdo),
                        _of(out))
    return out


def logarithm(library: ctypes.CDLL, values: npt.NDArray[np.integer[Any]], bits: int) -> Bytes:
    """`microfield.methods.field.features.logarithm` of values from 0 to below 2**24, uint8 of their shape."""
    kept = np.ascontiguousarray(values, np.int32)
    out = np.empty(kept.shape, np.uint8)
    library.mf_logarithm(_of(kept), ctypes.c_int64(kept.size), bits, _of(out))
    return out


def reconstruct(library: ctypes.CDLL, quantised: npt.NDArray[np.int32], table: Floats) -> Floats:
    """Values of quantised ones, float32 of their shape: ``table``, float32 (7,), holds those of -3 to 3, others stay."""
    kept, centroids = np.ascontiguousarray(quantised, np.int32), np.ascontiguousarray(table, np.float32)
    if centroids.shape != (7,):
        raise ValueError("the table has values of -3 to 3.")
    out = np.empty(kept.shape, np.float32)
    library.mf_reconstruct(_of(kept), ctypes.c_int64(kept.size), _of(centroids), _of(out))
    return out


def _of(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)

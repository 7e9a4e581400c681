"""Decisions by bucket and the gaps between the rarer ones, by the compiled kernel.

``source/decisions.c`` computes what `microfield.coding.decision_places` does.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

BUCKETS = 32


class Supply:
    """Decisions of one kind that wait to be taken.

    Parameters
    ----------
    library : the kernel
    gaps, places : int64 arrays (n,), (n + 1,)
        Of all buckets, one after the other; the last place is never reached.
    at, following, ends : sequences of 32 int
        Place of the next decision of every bucket, index of its next rarer bit, and the end of its rarer bits.
    """

    def __init__(self, library: ctypes.CDLL, gaps: Int64s, places: Int64s, at: list[int], following: list[int],
                 ends: list[int]) -> None:
        self._library = library
        self._gaps, self._places = np.ascontiguousarray(gaps, np.int64), np.ascontiguousarray(places, np.int64)
        self._at, self.following, self._ends = (np.array(values, np.int64) for values in (at, following, ends))
        if len(self._places) != len(self._gaps) + 1 or not (self._ends <= len(self._gaps)).all():
            raise ValueError("gaps and places do not belong together.")

    def flags(self, buckets: Bytes) -> npt.NDArray[np.bool_]:
        """The next flags (n,), given their buckets, all below 32."""
        out = np.empty(len(buckets), np.bool_)
        kept = np.ascontiguousarray(buckets)
        self._library.mf_flags(_of(kept), ctypes.c_int64(len(kept)), _of(self._places), _of(self._at), _of(self.following),
                               _of(out))
        return out

    def runs(self, buckets: Bytes) -> Int64s | None:
        """The next runs (n,), given their buckets, all below 32; None where there are no more."""
        out = np.empty(len(buckets), np.int64)
        kept = np.ascontiguousarray(buckets)
        ended = self._library.mf_runs(_of(kept), ctypes.c_int64(len(kept)), _of(self._gaps), _of(self._places), _of(self._ends),
                                      _of(self._at), _of(self.following), _of(out))
        return None if ended else out


def rarer_flags(library: ctypes.CDLL, buckets: Bytes, bits: npt.NDArray[np.bool_], passed: Int64s) -> Int64s:
    """Places of the rarer bits among flags ``bits`` (n,) of ``buckets`` (n,), all below 32.

    ``passed``, int64 (32,), is the first place of every bucket plus the likelier bits so far, and follows.
    """
    rarer = np.empty(len(buckets), np.int64)
    buckets, bits = np.ascontiguousarray(buckets), np.ascontiguousarray(bits, np.bool_)
    library.mf_rarer_flags.restype = ctypes.c_int64
    count = library.mf_rarer_flags(_of(buckets), _of(bits), ctypes.c_int64(len(buckets)), _of(passed), _of(rarer))
    return rarer[:count].copy()


def rarer_runs(library: ctypes.CDLL, buckets: Bytes, values: Int64s, passed: Int64s) -> Int64s:
    """Places of the rarer bits among runs ``values`` (n,), at least 0; see `rarer_flags`."""
    room = len(buckets) + int(values[buckets >= BUCKETS // 2].sum())
    rarer = np.empty(room, np.int64)
    buckets, values = np.ascontiguousarray(buckets), np.ascontiguousarray(values, np.int64)
    library.mf_rarer_runs.restype = ctypes.c_int64
    count = library.mf_rarer_runs(_of(buckets), _of(values), ctypes.c_int64(len(buckets)), _of(passed), _of(rarer))
    return rarer[:count].copy()


def _of(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)

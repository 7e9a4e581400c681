"""Many binary decisions in few bytes: the probabilities come from a model, and no coder runs while the model does.

The model gives every decision a *bucket*, its quantised logit: ``clip(floor(logit / 0.5) + 16, 0, 31)``. The decisions of
one bucket are like throws of one coin, so it is enough to store how many likelier bits come before each rarer one (a 1 in
the low buckets, 0 to 15; a 0 in the high ones, 16 to 31): the *gaps*. The gaps of all buckets are decoded at once by the
range coder before the first decision is asked for, and a decision then is a look into a list. This is the separation of
model and coder of Marpe et al. (Picture Coding Symposium 2010, interval partitioning), with arithmetic coding in the place
of their variable-length codes.

Decisions of several *kinds* keep their own buckets. A kind holds *flags*, single decisions, or *runs*: values >= 0, each
the number of 0 decisions before a 1 where all these decisions have the bucket's probability. A run is coded as just these
decisions.

How gaps become bytes is told in `microfield.coding.gap_code`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.decision_places import LARGEST_RUN, Collector, Supply
from microfield.coding.gap_code import BUCKETS, Kind, read_gaps, write_gaps
from microfield.errors import FormatError

__all__ = ["BUCKETS", "COSTS", "LARGEST_RUN", "DecisionReader", "DecisionWriter", "ideal_bits"]

_Bools = npt.NDArray[np.bool_]
_Int64s = npt.NDArray[np.int64]
_Ints = npt.NDArray[Any]

_CENTRES = (np.arange(BUCKETS) - BUCKETS // 2 + 0.5) / 2
"""Logits in the middle of the buckets."""

COSTS = np.stack([np.logaddexp2(0, s * _CENTRES / np.log(2)) for s in (1, -1)], 1).astype(np.float32)
"""Bits of a 0 and of a 1 in each bucket, float32 of shape (32, 2): for estimates, the bitstream does not depend on it."""


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
        self._kinds = [Collector() for _ in range(kinds)]

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
        self._kinds = [Supply(*found) for found in read_gaps(data, kinds, limit)]

    def take(self, kind: int, buckets: _Ints) -> _Bools:
        """The next flags of a kind, bool (n,), given their ``buckets`` (n,)."""
        return self._kinds[kind].flags(buckets)

    def take_runs(self, kind: int, buckets: _Ints) -> _Int64s:
        """The next runs of a kind, int64 (n,), given their ``buckets`` (n,).

        Raises
        ------
        FormatError
            If there are no more, or one is above 2**24.
        """
        return self._kinds[kind].runs(buckets)

    def finish(self) -> None:
        """Check that everything was taken.

        Raises
        ------
        FormatError
            If a list of gaps is not used up: the stream is damaged.
        """
        if not all(supply.used_up() for supply in self._kinds):
            raise FormatError("A stream of decisions holds more than the image needs: the file is damaged.")

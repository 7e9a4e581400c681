"""The symbols of coefficients: binary decisions by bucket, and signs.

A coefficient is coded as a *significance flag* (its magnitude is not 0), an *above-one flag* where it is significant, and a
*tail*, the magnitude beyond 2, where it is above one. The context network gives each of these its bucket. Signs are raw bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding.decisions import DecisionReader, DecisionWriter
from microfield.errors import FormatError
from microfield.methods.field.network import ABOVE_ONE, LOGITS, SIGNIFICANCE, TAIL

BucketArray = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int32]

LARGEST_MAGNITUDE = 1 << 22
"""Magnitudes beyond this are not coded."""
SYMBOLS_A_COEFFICIENT = 4
"""More flags and tails than so many per coefficient are refused."""


class Buckets(NamedTuple):
    """Buckets of the decisions of n coefficients, each uint8 of shape (n,)."""

    significance: BucketArray
    above_one: BucketArray
    tail: BucketArray

    def of(self, which: Flags) -> Buckets:
        """Those of some of the coefficients."""
        return Buckets(*(buckets[which] for buckets in self))


class SymbolWriter:
    """Collects the symbols of all coefficients in coding order."""

    def __init__(self) -> None:
        self._decisions = DecisionWriter(LOGITS)
        self._signs: list[Flags] = [np.zeros(0, np.bool_)]

    def put_significance(self, buckets: BucketArray, flags: Flags) -> None:
        """Significance flags (n,) of a slab."""
        self._decisions.put(SIGNIFICANCE, buckets, flags)

    def put_values(self, buckets: Buckets, magnitudes: Ints, negative: Flags) -> None:
        """Magnitudes (n,), at least 1, and signs of the significant coefficients of the slab."""
        above_one = magnitudes > 1
        self._decisions.put(ABOVE_ONE, buckets.above_one, above_one)
        self._decisions.put_runs(TAIL, buckets.tail[above_one], magnitudes[above_one] - 2)
        self._signs.append(negative)

    def finish(self) -> tuple[bytes, bytes]:
        """All decisions, and all signs, as bytes."""
        return self._decisions.finish(), np.packbits(np.concatenate(self._signs)).tobytes()


class SymbolReader:
    """Gives the symbols back in coding order.

    Parameters
    ----------
    decisions, signs : bytes
        What `SymbolWriter.finish` gave.
    coefficients : int
        How many coefficients there are in all.

    Raises
    ------
    FormatError
        From every method, where the bytes are damaged.
    """

    def __init__(self, decisions: bytes, signs: bytes, coefficients: int) -> None:
        self._decisions = DecisionReader(decisions, LOGITS, SYMBOLS_A_COEFFICIENT * coefficients)
        self._signs = np.unpackbits(np.frombuffer(signs, np.uint8)).astype(np.bool_)
        self._signs_taken = 0

    def significance(self, buckets: BucketArray) -> Flags:
        """The next significance flags (n,)."""
        return self._decisions.take(SIGNIFICANCE, buckets)

    def above_one(self, buckets: BucketArray) -> Flags:
        """The next above-one flags (n,)."""
        return self._decisions.take(ABOVE_ONE, buckets)

    def tails(self, buckets: BucketArray) -> Ints:
        """The next tails (n,), int32."""
        return np.minimum(self._decisions.take_runs(TAIL, buckets), LARGEST_MAGNITUDE).astype(np.int32)

    def negative(self, n: int) -> Flags:
        """The next ``n`` signs, True for values below 0."""
        self._signs_taken += n
        if self._signs_taken > len(self._signs):
            raise FormatError("A part ends inside its signs.")
        return self._signs[self._signs_taken - n : self._signs_taken]

    def finish(self) -> None:
        """Check that every symbol was taken and that nothing but filling is left."""
        self._decisions.finish()
        if len(self._signs) - self._signs_taken > 7 or self._signs[self._signs_taken :].any():
            raise FormatError("A part holds more signs than values: it is damaged.")

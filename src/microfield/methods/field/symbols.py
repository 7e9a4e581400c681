"""The symbols of coefficients: binary decisions by bucket, and signs.

A coefficient is coded as a *significance flag* (its magnitude is not 0), an *above-one flag* where it is significant, and a
*tail*, the magnitude beyond 2, where it is above one. The context network gives each of these its bucket. So does the sign network
with the sign; where there is none, as in bitstream versions 1 to 4, signs are raw bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding.decisions import DecisionReader, DecisionWriter
from microfield.errors import FormatError
from microfield.methods.field.network import ABOVE_ONE, LOGITS, SIGNIFICANCE, TAIL
from microfield.methods.field.sign_scales import Kind, LikelySigns, Sums, buckets

BucketArray = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int32]

LARGEST_MAGNITUDE = 1 << 22
"""Magnitudes beyond this are not coded."""
SYMBOLS_A_COEFFICIENT = 4
"""More flags and tails than so many per coefficient are refused."""
SIGN = LOGITS
"""The kind of decision after those of the logits: a value is below 0."""


class Buckets(NamedTuple):
    """Buckets of the decisions of n coefficients, each uint8 of shape (n,)."""

    significance: BucketArray
    above_one: BucketArray
    tail: BucketArray

    def of(self, which: Flags) -> Buckets:
        """Those of some of the coefficients."""
        return Buckets(*(some[which] for some in self))


class SymbolWriter:
    """Collects the symbols of all coefficients in coding order.

    Parameters
    ----------
    likely_signs : bool
        Whether there is a network of signs.
    """

    def __init__(self, likely_signs: bool = False) -> None:
        self._decisions = DecisionWriter(LOGITS + likely_signs)
        self._signs: list[Flags] = [np.zeros(0, np.bool_)]
        self._likely = LikelySigns()

    def put_significance(self, buckets: BucketArray, flags: Flags) -> None:
        """Significance flags (n,) of a slab."""
        self._decisions.put(SIGNIFICANCE, buckets, flags)

    def put_magnitudes(self, buckets: Buckets, magnitudes: Ints) -> None:
        """Magnitudes (n,), at least 1, of the significant coefficients of the slab."""
        above_one = magnitudes > 1
        self._decisions.put(ABOVE_ONE, buckets.above_one, above_one)
        self._decisions.put_runs(TAIL, buckets.tail[above_one], magnitudes[above_one] - 2)

    def put_signs(self, negative: Flags) -> None:
        """Their signs, as raw bits."""
        self._signs.append(negative)

    def put_likely_signs(self, kind: Kind, sums: Sums, negative: Flags) -> None:
        """Their signs, with what the sign network says; the slab is one of a band of this kind."""
        self._likely.add(kind, sums, negative)

    def finish_signs(self, kinds: Sequence[Kind]) -> dict[Kind, int]:
        """The scales of the sign network by kind, chosen now that all signs are there."""
        scales = self._likely.scales(kinds)
        for kind, sums, negative in zip(self._likely.kinds, self._likely.sums, self._likely.negative, strict=True):
            self._decisions.put(SIGN, buckets(sums, scales[kind]), negative)
        return scales

    def finish(self) -> tuple[bytes, bytes]:
        """All decisions, and all signs that are raw bits, as bytes."""
        return self._decisions.finish(), np.packbits(np.concatenate(self._signs)).tobytes()


class SymbolReader:
    """Gives the symbols back in coding order.

    Parameters
    ----------
    decisions, signs : bytes
        What `SymbolWriter.finish` gave.
    coefficients : int
        How many coefficients there are in all.
    scales : mapping, optional
        Of the sign network, by kind of band; without it signs are raw bits.

    Raises
    ------
    FormatError
        From every method, where the bytes are damaged.
    """

    def __init__(self, decisions: bytes, signs: bytes, coefficients: int, scales: Mapping[Kind, int] | None = None) -> None:
        self._decisions = DecisionReader(decisions, LOGITS + (scales is not None), SYMBOLS_A_COEFFICIENT * coefficients)
        self._scales = scales or {}
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
        """The next ``n`` signs that are raw bits, True for values below 0."""
        self._signs_taken += n
        if self._signs_taken > len(self._signs):
            raise FormatError("A part ends inside its signs.")
        return self._signs[self._signs_taken - n : self._signs_taken]

    def likely_negative(self, kind: Kind, sums: Sums) -> Flags:
        """The next signs (n,) of a slab of a band of this kind, given what the sign network says."""
        return self._decisions.take(SIGN, buckets(sums, self._scales[kind]))

    def finish(self) -> None:
        """Check that every symbol was taken and that nothing but filling is left."""
        self._decisions.finish()
        if len(self._signs) - self._signs_taken > 7 or self._signs[self._signs_taken :].any():
            raise FormatError("A part holds more signs than values: it is damaged.")

"""Fitted weights of all groups to integers and bytes: one set of quantiser steps, found by coding, that fits a byte limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.weights import STEP_CODES, step_code, step_size
from microfield.methods.sincs.ancestry import Ancestors, order
from microfield.methods.sincs.residual import Codes, Ints, encode, estimated

Float32 = npt.NDArray[np.float32]
Tensors = list[Float32]
"""Weights of a group: a float32 array of (rows, columns) per tensor."""

FINEST_FACTOR, COARSEST_FACTOR = -18 * 16, 6 * 16
"""Range of the common factor's base-2 logarithm, in sixteenths, which is the spacing of step codes."""

FINEST_BITS = 12.0
"""Weights of more than this many bits on average no longer change the picture."""

ROUNDS = 8
"""How often every tensor is offered a finer step, to use up what the common factor leaves."""

DEAD = 0.06
"""A difference is rounded towards 0 where it exceeds a whole number and a half by less than this: the bits saved are worth more."""


@dataclass(frozen=True)
class Forest:
    """Fitted weights of all groups and what each is coded against.

    Attributes
    ----------
    weights : sequence of Tensors, per group
    ancestors : tuple
        See `microfield.methods.sincs.ancestry`.
    root : callable (step codes) -> list of int arrays, per tensor
        What roots are differences to.
    alone : bool
        Code every group as if it were a root, for comparison.
    """

    weights: Sequence[Tensors]
    ancestors: Ancestors
    root: Callable[[Sequence[int]], list[Ints]]
    alone: bool = False

    def differences(self, codes: Sequence[int]) -> list[tuple[int, int | None, list[Ints]]]:
        """For every group, in the order of decoding: its number, that of its ancestor, and its differences."""
        steps = [float(step_size(c)) for c in codes]
        known: dict[int, list[Ints]] = {}
        found = []
        for group in order(self.ancestors):
            above = None if self.alone else self.ancestors[group]
            base = self.root(codes) if above is None else known[above]
            differences = [rounded(w / s - b) for w, s, b in zip(self.weights[group], steps, base, strict=True)]
            found.append((group, above, differences))
            known[group] = [b + d for b, d in zip(base, differences, strict=True)]
        return found

    def bits(self, codes: Sequence[int]) -> float:
        """About the bits that all groups take at these steps; infinite where a difference is too large to code."""
        try:
            return sum(estimated(differences, above is None)[1] for _, above, differences in self.differences(codes))
        except OverflowError:
            return float("inf")

    def encode(self, codes: Sequence[int]) -> list[bytes]:
        """Bytes of every group."""
        out, tables = [b""] * len(self.weights), dict[int, Codes]()
        for group, above, differences in self.differences(codes):
            out[group], tables[group] = encode(differences, None if above is None else tables[above])
        return out


def rounded(differences: npt.NDArray[Any]) -> Ints:
    """Differences in steps as whole numbers, drawn a little towards 0."""
    return np.asarray(np.sign(differences) * np.floor(np.abs(differences) + (0.5 - DEAD)), np.int64)


@dataclass(frozen=True)
class StepSearch:
    """Finds the finest quantiser steps that fit.

    Attributes
    ----------
    forest : Forest
    relative : float64 array (tensors,)
        Step of every tensor in relation to the others (`microfield.methods.coordinate.quantise.group_steps`).
    size : callable (step codes, bytes of every group) -> int
        Bytes of the part.
    around : int
        Bytes of the part beside the groups, about: for estimates.
    """

    forest: Forest
    relative: npt.NDArray[np.float64]
    size: Callable[[Sequence[int], Sequence[bytes]], int]
    around: int

    def codes(self, factor: float) -> tuple[int, ...]:
        """Step codes at a common factor."""
        return tuple(step_code(float(factor * r)) for r in self.relative)

    def search(self, limit: int) -> tuple[tuple[int, ...], list[bytes]] | None:
        """Steps and bytes of every group, of at most ``limit`` bytes in all; None where even the coarsest steps need more."""
        low, high = FINEST_FACTOR, COARSEST_FACTOR
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._seems(self.codes(2.0 ** (middle / 16)), limit) else (middle, high)
        while (found := self._fitting(self.codes(2.0 ** (high / 16)), limit)) is None:
            high += 1
            if high > COARSEST_FACTOR:
                return None
        return self._filled(self.codes(2.0 ** (high / 16)), found, limit)

    def planned(self, bits: float) -> tuple[int, ...]:
        """The finest steps at which weights take at most so many bits on average."""
        n = sum(w.size for tensors in self.forest.weights for w in tensors)
        low, high = FINEST_FACTOR, COARSEST_FACTOR
        while high - low > 1:
            middle = (low + high) // 2
            enough = self.forest.bits(self.codes(2.0 ** (middle / 16))) <= bits * n
            low, high = (low, middle) if enough else (middle, high)
        return self.codes(2.0 ** (high / 16))

    def _seems(self, codes: Sequence[int], limit: int) -> bool:
        """Whether steps fit by an estimate, and are not finer than is of use."""
        bits = self.forest.bits(codes)
        n = sum(w.size for tensors in self.forest.weights for w in tensors)
        return bits <= FINEST_BITS * n and bits / 8 + self.around <= limit

    def _fitting(self, codes: Sequence[int], limit: int) -> list[bytes] | None:
        """Bytes of every group at these steps, where they fit."""
        try:
            data = self.forest.encode(codes)
        except OverflowError:
            return None
        return data if self.size(codes, data) <= limit else None

    def _filled(self, codes: tuple[int, ...], data: list[bytes], limit: int) -> tuple[tuple[int, ...], list[bytes]]:
        """Make single tensors finer, large ones first, while there is room."""
        sizes = [w.size for w in self.forest.weights[0]]
        if self.forest.bits(codes) >= FINEST_BITS * sum(sizes) * len(self.forest.weights):
            return codes, data
        for _ in range(ROUNDS):
            before = codes
            for tensor in np.argsort(sizes)[::-1].tolist():
                finer = tuple(c - (i == tensor) for i, c in enumerate(codes))
                if 0 <= finer[tensor] < STEP_CODES and self._seems(finer, limit + 8):
                    better = self._fitting(finer, limit)
                    if better is not None:
                        codes, data = finer, better
            if codes == before or self.size(codes, data) > limit - 1 - limit // 1000:
                break
        return codes, data

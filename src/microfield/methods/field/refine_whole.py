"""The refinement network in whole numbers: its corrections are the same on every machine.

Features, activations and weights are rounded to multiples of powers of two, so coarse that all sums stay below 2**24: float32 holds
these exactly, so a BLAS may add them up in any order. Logarithms are a polynomial between powers of two. What else is computed is
elementwise. Corrections differ from those in floating point by some 0.002 quantiser steps, which costs at most 0.01 dB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from microfield.kernel import loading, refinement
from microfield.kernel.networks import Layer, WholeNetwork
from microfield.methods.field.exact import EXACT
from microfield.methods.field.lifting import Floats
from microfield.methods.field.refine import LARGEST_CORRECTION, LEAST_LIVELINESS, SOFT, Refinement, Workspace
from microfield.methods.field.refine_cells import FEATURES, MEANS, WINDOW, Slab

FEATURE_ONE = 1024
"""A feature of 1 as a whole number."""
LARGEST_BRIGHTNESS, LARGEST_LIVELINESS = 14, 5
"""Brightness and liveliness, which are logarithms, are at most so large."""
LIVELY_ONE, LIVELY_CAP = 16, 128
"""Differences enter the liveliness in so many parts of a step, and are cut at so many steps."""
ACTIVATION_ONE, LARGEST_ACTIVATION = 128, 2047
"""An activation of 1 as a whole number, and the largest one."""
FINEST = 12
"""Weights are whole multiples of 2**-12 or coarser."""
ROUNDED = 1 << 16
"""Room below `EXACT` for what the rounding of weights adds to sums."""
CURVE = np.float32(0.344)
"""The binary logarithm of 1 + t, t of 0 to 1, is about t + CURVE t (1 - t): to within 0.008."""
LN2 = np.float32(0.6931472)


@dataclass(frozen=True)
class WholeRefinement(Refinement):
    """A refinement network whose weights and biases are whole numbers.

    Attributes
    ----------
    factors : tuple of float32 arrays (out, 1)
        Powers of two by which sums are multiplied: those of hidden layers to units of 1 / `ACTIVATION_ONE`, those of the last to
        quantiser steps.
    """

    factors: tuple[Floats, ...] = ()

    @classmethod
    def of(cls, name: bytes, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """A network from the arrays that `Refinement.of` takes, rounded. Raises FormatError as that does."""
        net = Refinement.of(name, arrays)
        largest, one = _largest_features(), FEATURE_ONE
        weights, biases, factors = [], [], []
        for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
            doubles, offsets = w.astype(np.float64), b.astype(np.float64)
            bound = np.abs(doubles) @ largest[:, None] + np.abs(offsets) * one
            octaves = np.frexp((EXACT - ROUNDED) / np.maximum(bound, 1))[1] - 1
            scale = np.ldexp(1.0, np.minimum(FINEST, octaves))
            weights.append(np.rint(doubles * scale).astype(np.float32))
            biases.append(np.rint(offsets * scale * one).astype(np.float32))
            last = i == len(net.weights) - 1
            factors.append(((1 if last else ACTIVATION_ONE) / (scale * one)).astype(np.float32))
            largest, one = np.full(len(w), float(LARGEST_ACTIVATION)), ACTIVATION_ONE
        return cls(name, tuple(weights), tuple(biases), tuple(factors))

    def largest_sums(self) -> list[float]:
        """Bounds on every partial sum of each layer."""
        largest, found = _largest_features(), []
        for w, b in zip(self.weights, self.biases, strict=True):
            found.append(float((np.abs(w.astype(np.float64)) @ largest[:, None] + np.abs(b)).max()))
            largest = np.full(len(w), float(LARGEST_ACTIVATION))
        return found

    @cached_property
    def compiled(self) -> WholeNetwork | None:
        """The network for the compiled kernel; None where its numbers are too large for that, or its scales differ from those."""
        layers = [Layer(w, b.reshape(-1), f.reshape(-1), LARGEST_ACTIVATION)
                  for w, b, f in zip(self.weights, self.biases, self.factors, strict=True)]
        last = Layer(self.weights[-1], self.biases[-1].reshape(-1))
        return WholeNetwork.of([*layers[:-1], last], LARGEST_BRIGHTNESS * FEATURE_ONE)

    def _refine(self, volume: Floats, slab: Slab, size: np.float32, dark: np.float32, out: Floats, space: Workspace) -> None:
        library = loading.library()
        compiled = None if library is None else self.compiled
        if library is None or compiled is None:
            super()._refine(volume, slab, size, dark, out, space)
        else:
            refinement.correct(library, compiled, self.factors[-1], volume, slab.whole, float(size), float(dark), out)

    def _squash(self, space: Workspace) -> None:
        values, bright, lively = space.inputs[: WINDOW + MEANS], space.inputs[-2], space.inputs[-1]
        np.abs(values, out=space.scratch)
        bright += 1
        bright[...] = _feature(logarithm(bright), LARGEST_BRIGHTNESS)
        parts: Floats = np.rint(np.minimum(space.scratch[:WINDOW], LIVELY_CAP) * np.float32(LIVELY_ONE)).sum(axis=0)
        parts *= np.float32(1 / (LIVELY_ONE * WINDOW))
        parts += LEAST_LIVELINESS
        lively[...] = _feature(logarithm(parts), LARGEST_LIVELINESS)
        space.scratch += SOFT
        values /= space.scratch
        values *= np.float32(FEATURE_ONE)
        np.rint(values, out=values)

    def _run(self, space: Workspace) -> Floats:
        values = space.inputs
        for i, (weights, biases, factors) in enumerate(zip(self.weights, self.biases, self.factors, strict=True)):
            sums = space.sums[i]
            np.matmul(weights, values, out=sums)
            sums += biases
            sums *= factors
            if i < len(self.weights) - 1:
                np.rint(sums, out=sums)
                np.maximum(sums, 0, out=sums)
                np.minimum(sums, LARGEST_ACTIVATION, out=sums)
            values = sums
        return np.clip(values, -LARGEST_CORRECTION, LARGEST_CORRECTION, out=values)


def logarithm(values: Floats) -> Floats:
    """About the natural logarithm of float32 values above 0, by elementwise operations that all machines round alike."""
    mantissas, exponents = np.frexp(values)
    t: Floats = mantissas * np.float32(2) - np.float32(1)
    t += CURVE * (t * (np.float32(1) - t))
    t += (exponents - 1).astype(np.float32)
    t *= LN2
    return t


def _feature(values: Floats, largest: int) -> Floats:
    """Values as whole numbers."""
    whole: Floats = np.rint(values * np.float32(FEATURE_ONE))
    return np.clip(whole, -largest * FEATURE_ONE, largest * FEATURE_ONE, out=whole)


def _largest_features() -> npt.NDArray[np.float64]:
    """The largest absolute value of every feature, as a whole number."""
    largest = np.full(FEATURES, float(FEATURE_ONE))
    largest[-2:] *= LARGEST_BRIGHTNESS, LARGEST_LIVELINESS
    return largest

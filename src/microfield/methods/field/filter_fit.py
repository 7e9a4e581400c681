"""Fits the adaptive filter of a channel: least squares for every sort of place, joined into the classes of a kind of filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microfield.methods.field.adaptive_filter import CLIP, CLIPPED, KINDS, PAIRS, PLACES, Filter, order_of, sorts
from microfield.methods.field.least_squares import Normal
from microfield.methods.field.lifting import Floats
from microfield.methods.field.taps import beside, features, places

EXCHANGE = 1.6
"""A byte in a thousand lessens the squared error of a part by so many thousandths, at most: some 7 dB where bytes are e-fold."""
SAMPLE = 1 << 19
"""Voxels that a filter is fitted to, about, in strips from all over the channel."""
LEAST_BYTES = (1200, 5000, 24000)
"""Bytes of a part per channel from which each kind of filter may pay."""
LEAST_VOXELS = 4096
"""A channel of fewer voxels is not filtered."""


def room(nbytes: int, channels: int, shape: tuple[int, ...]) -> int:
    """The number of the largest kind of filter that a channel may have where the part takes so many bytes; 0 for none.

    ``shape`` is that of a channel (batch, z, y, x).
    """
    if np.prod(shape) < LEAST_VOXELS:
        return 0
    return sum(nbytes >= channels * least for least in LEAST_BYTES)


class Fit:
    """Normal equations of one channel, for all kinds of filters.

    Parameters
    ----------
    volume : float32 array (batch, z, y, x)
        As decoded.
    wanted : float32 array of the same shape
        What it should be.
    weights : float32 array of the same shape, optional
        Of the squared errors.
    step : float
        Quantiser step.
    """

    def __init__(self, volume: Floats, wanted: Floats, weights: Floats | None, step: float) -> None:
        self.extra = beside(volume.shape)
        n = len(PAIRS) + CLIPPED + self.extra
        self.sums = [Normal(n) for _ in range(PLACES)]
        every = list(places(volume.shape))
        # In no order: with even distances all strips could lie at the same place of their planes.
        chosen = [every[i] for i in np.random.default_rng(0).permutation(len(every))[: -(-len(every) * SAMPLE // volume.size)]]
        self.share = len(chosen) / len(every)
        for place in chosen:
            at = place.batch, place.plane, place.rows
            lacking = (wanted[at] - volume[at]).reshape(-1)
            rows = features(volume, place, PAIRS, PAIRS[:CLIPPED], CLIP * step).reshape(n, -1)
            if weights is not None:
                root = np.sqrt(weights[at]).reshape(-1)
                lacking, rows = lacking * root, rows * root
            sort = sorts(volume, place, step).reshape(-1)
            for number in np.unique(sort):
                where = np.flatnonzero(sort == number)
                self.sums[number].add(rows[:, where], lacking[where])

    def best(self, number: int) -> tuple[Filter, float]:
        """The filter of a kind, by its number, in whole codes, and by how much it lessens the squared error."""
        kind = KINDS[number - 1]
        which = np.array([*range(kind.pairs), *range(len(PAIRS), len(PAIRS) + kind.clipped),
                          *range(len(PAIRS) + CLIPPED, len(PAIRS) + CLIPPED + self.extra)])
        exponents, codes, removed = [], [], 0.0
        everything = np.arange(len(which))
        for class_ in range(kind.classes):
            joined = Normal(len(which))
            for sort in np.flatnonzero(kind.class_of() == class_):
                _join(joined, self.sums[sort], which[order_of(int(sort), kind, self.extra)])
            exponent, found = joined.whole(everything)
            exponents.append(exponent)
            codes.append(found)
            removed += joined.removed(everything, np.asarray(found) * 2.0**-exponent)
        return Filter(number, tuple(exponents), tuple(codes)), removed / self.share

    @property
    def energy(self) -> float:
        """The squared error as it is, about."""
        return sum(one.energy for one in self.sums) / self.share


def _join(joined: Normal, more: Normal, which: npt.NDArray[np.intp]) -> None:
    """Add some of the features of other equations."""
    joined.products += more.products[np.ix_(which, which)]
    joined.along += more.along[which]
    joined.energy += more.energy
    joined.voxels += more.voxels


def chosen_filters(fits: Sequence[Fit | None], most: Sequence[int], nbytes: int, shape: tuple[int, ...]) -> tuple[Filter, ...]:
    """The filter of every channel that pays where the part takes so many bytes.

    Parameters
    ----------
    fits : sequence of Fit or None
        None for channels without a filter.
    most : sequence of int
        The largest number of a kind that every channel may have.
    nbytes : int
    shape : tuple of int
        Of a channel (batch, z, y, x).
    """
    price = EXCHANGE * sum(fit.energy for fit in fits if fit is not None) / max(1, nbytes)
    found = []
    for fit, largest in zip(fits, most, strict=True):
        best, gain = Filter(), 0.0
        for number in range(1, largest + 1):
            if fit is None:
                break
            one, removed = fit.best(number)
            worth = removed - price * (KINDS[number - 1].size(shape) - 1)
            if worth > gain:
                best, gain = one, worth
        found.append(best)
    return tuple(found)

"""What is decided about the filter of a part before it is fitted: its kind in every channel, and the units of the map.

Parameters and bits pay where they take away more error than the prior would with the same bytes. Both are measured on a piece of
the part, at the quality of an attempt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microfield.image import Layout
from microfield.methods.base import Context
from microfield.methods.hybrid.filters import KINDS, Filter, Kind, considered, fitted
from microfield.methods.hybrid.head import FILTER, HASH, Head
from microfield.methods.hybrid.recipe import Recipe
from microfield.methods.hybrid.units import FIRST_TILE, LAST_TILE, NAMES, SLICE, Units
from microfield.methods.hybrid.volumes import Array, Floats, Scale, volume_shape

EXCHANGE = 1.6
"""A byte in a thousand of the prior lessens its squared error by so many thousandths, at most: some 7 dB where bytes are e-fold."""
SAMPLE, LEAST_SAMPLE = 1 << 20, 1 << 15
"""Voxels of a piece over all channels, about, and of one channel at least."""


@dataclass(frozen=True)
class Design:
    """What a part's filter is made of.

    Attributes
    ----------
    kinds : tuple of Kind
        Of every channel.
    units : Units, optional
        None where the corrected result is kept everywhere.
    head : Head
        The head with filters fitted to the piece: of the size that the final one has.
    """

    kinds: tuple[Kind, ...]
    units: Units | None
    head: Head

    @property
    def corrects(self) -> bool:
        """Whether any channel has a filter."""
        return any(kind != KINDS[0] for kind in self.kinds)


def piece(shape: tuple[int, ...], most: int) -> tuple[slice, ...]:
    """The middle of a volume (batch, z, y, x): as many planes as ``most`` voxels allow, or as many rows of one."""
    batch, planes, rows, columns = shape
    depth = max(1, min(planes, most // (rows * columns)))
    times = max(1, min(batch, most // (depth * rows * columns)))
    high = max(8, min(rows, most // columns))
    return (*(slice((n - m) // 2, (n - m) // 2 + m) for n, m in ((batch, times), (planes, depth), (rows, min(rows, high)))),
            slice(None))


def designed(recipe: Recipe, plain: Array, original: Array, layout: Layout, scale: Scale, head: Head, nbytes: int,
             context: Context) -> Design:
    """Decide on the filter of a part.

    Parameters
    ----------
    plain, original : arrays of shape (channels, frames, Y, X)
        Grey levels as the prior decodes, and those of the part.
    head : Head
        With prior and version.
    nbytes : int
        That the prior takes.
    """
    trial = _Trial(recipe, scale, volume_shape(layout), layout.channels, context)
    for channel in scale.coded:
        trial.learn(channel, plain[channel], original[channel])
    kinds, filters = trial.decided(nbytes)
    if not any(kind != KINDS[0] for kind in kinds):
        return Design(kinds, None, head)
    units = trial.units(filters, plain.shape, nbytes)
    chosen = Head(head.prior, head.version, FILTER, filters, recipe.network, units=units,
                  kept=np.ones(units.size if units else 0, np.bool_))
    return Design(kinds, units, chosen)


class _Trial:
    """A piece of every channel, with its normal equations."""

    def __init__(self, recipe: Recipe, scale: Scale, shape: tuple[int, ...], channels: int, context: Context) -> None:
        self.recipe, self.scale, self.shape, self.channels = recipe, scale, shape, channels
        self.box = piece(shape, max(LEAST_SAMPLE, SAMPLE // channels))
        span = scale.high - scale.low
        with np.errstate(over="ignore", under="ignore"):
            self.worth = (span / context.unit) ** 2 * context.channel_weights
        self.pieces: dict[int, tuple[Floats, Floats]] = {}

    def learn(self, channel: int, plain: Array, original: Array) -> None:
        """Cut out a piece."""
        volume, wanted = (self.scale.stretched(a.reshape(self.shape)[self.box], channel) for a in (plain, original))
        self.pieces[channel] = volume, wanted - volume

    def decided(self, nbytes: int) -> tuple[tuple[Kind, ...], tuple[Filter, ...]]:
        """The kind of filter of every channel that pays, and such filters."""
        source = self.recipe.source if self.recipe.refines else None
        fits = {c: fitted(volume, lacking, source) for c, (volume, lacking) in self.pieces.items()}
        error = sum(float(self.worth[c]) * fit.normal.energy for c, fit in fits.items())
        price = EXCHANGE * error / max(1, nbytes)
        kinds, filters, gained = [KINDS[0]] * self.channels, [Filter()] * self.channels, 0.0
        for c, fit in fits.items():
            gain, kind = max(((self.worth[c] * removed - price * (kind.size(self.shape) - 1), kind)
                              for kind, removed in considered(fit)), key=lambda found: found[0])
            kinds[c], filters[c], gained = kind, fit.best(kind)[0], gained + float(gain)
        common = self.channels + (1 + HASH if self.recipe.network else 0)
        if gained <= price * common:
            return (KINDS[0],) * self.channels, ()
        return tuple(kinds), tuple(filters)

    def units(self, filters: tuple[Filter, ...], shape: tuple[int, ...], nbytes: int) -> Units | None:
        """The units whose map pays; for criteria other than the squared error those asked for, or slices."""
        if self.recipe.units != "auto":
            return Units(NAMES[self.recipe.units], shape)
        if not self.recipe.criterion.by_error:
            return Units(SLICE, shape)
        error, worse = 0.0, dict.fromkeys((SLICE, *range(FIRST_TILE, LAST_TILE + 1)), 0.0)
        for c, (volume, lacking) in self.pieces.items():
            left = lacking - filters[c].correction(volume, self.recipe.source)
            before, after = np.square(lacking), np.square(left)
            error += float(self.worth[c]) * float(before.sum(dtype=np.float64))
            for code in worse:
                worse[code] += float(self.worth[c]) * _spoilt(before, after, Units(code, shape).edge)
        price = EXCHANGE * error / max(1, nbytes)
        gains = {code: found - price * (1 + Units(code, shape).nbytes) for code, found in worse.items()}
        best = max(gains, key=lambda code: gains[code])
        return Units(best, shape) if gains[best] > 0 else None


def _spoilt(before: Floats, after: Floats, edge: int) -> float:
    """By how much the squared error rises in the tiles where it does, summed over them."""
    worse = (after - before).astype(np.float64)
    for axis in (2, 3):
        worse = np.add.reduceat(worse, np.arange(0, worse.shape[axis], edge), axis=axis)
    return float(np.maximum(worse, 0).sum())

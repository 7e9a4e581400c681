"""The last steps of an encode: what is added to the decoded channels, a share of the refinement and filters fitted to the image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from microfield.methods.field.adaptive_filter import Filter
from microfield.methods.field.channels import slabs
from microfield.methods.field.decoder import add_refinement, filtered, refinement
from microfield.methods.field.filter_fit import Fit, chosen_filters, room
from microfield.methods.field.groups import Groups
from microfield.methods.field.head import ALPHA, Head, step_of
from microfield.methods.field.lifting import Floats

NOTICED = 0.001
"""The least share of the squared error that a refinement must take away to be worth its time."""


@dataclass(frozen=True)
class Wanted:
    """What decoded channels should be.

    Attributes
    ----------
    values : float32 array (channels, batch, z, y, x)
    weights : float32 array of the same shape, optional
        Of their squared errors.
    """

    values: Floats
    weights: Floats | None

    @classmethod
    def of(cls, channels: npt.NDArray[Any], weights: Floats | None, head: Head, groups: Groups) -> Self:
        """From grey levels of the original (channels, frames, Y, X), and weights (coded channels, frames, Y, X)."""
        values = groups.volumes(groups.rolled(head.channels.forward(channels)))
        return cls(values, None if weights is None else groups.volumes(groups.rolled(weights)))

    def of_channel(self, channel: int) -> tuple[Floats, Floats | None]:
        """Values and weights of one channel."""
        return self.values[channel], None if self.weights is None else self.weights[channel]


def with_room(head: Head, groups: Groups, nbytes: int, known: tuple[int, ...] | None = None) -> Head:
    """The head of a part of so many bytes with filters that do nothing, of the sizes that it may have when it is finished.

    Where it is known which filters pay, there is room for these only.
    """
    most = room(nbytes, groups.channels, groups.volume)
    numbers = [min(most, number) for number in known or (most,) * groups.channels]
    return replace(head, filters=tuple(Filter.blank(number, groups.volume) for number in numbers) if any(numbers) else ())


def paying(values: Floats, wanted: Wanted, head: Head, groups: Groups, nbytes: int) -> tuple[int, ...]:
    """Numbers of the filters that pay in every channel of a part of so many bytes; reconstructed channels are used up."""
    head = _refined(values, wanted, with_room(head, groups, nbytes))
    return tuple(one.number for one in _filters(values, wanted, head, nbytes)) or (0,) * groups.channels


def corrected(values: Floats, wanted: Wanted, head: Head, nbytes: int) -> Head:
    """Refine and filter reconstructed channels of shape (channels, batch, z, y, x), in place, as the decoder will.

    Returns
    -------
    head : Head
        With the share of the refinement and the filters that take away most of the error, none of them larger than those of the
        given head.
    """
    head = _refined(values, wanted, head)
    head = replace(head, filters=_filters(values, wanted, head, nbytes))
    filtered(values, head)
    return head


def _filters(values: Floats, wanted: Wanted, head: Head, nbytes: int) -> tuple[Filter, ...]:
    """The filters that pay, none of them larger than those of the head; empty where there is none."""
    step, most = step_of(head.step), [one.number for one in head.filters]
    if not any(most):
        return ()
    fits = [Fit(channel, *wanted.of_channel(k), step) if most[k] else None for k, channel in enumerate(values)]
    found = chosen_filters(fits, most, nbytes, values.shape[1:])
    return found if any(one.number for one in found) else ()


def _refined(values: Floats, wanted: Wanted, head: Head) -> Head:
    """Add the share of the refinement that takes away most of the error; none where that is next to nothing."""
    network, step = refinement(head), step_of(head.step)
    along = power = error = 0.0
    corrections = []
    for k, found in enumerate(values):
        target, weights = wanted.of_channel(k)
        correction = network.correction(found, step, 0.0)
        lacking = target - found
        along += _inner(correction, lacking, weights)
        power += _inner(correction, correction, weights)
        error += _inner(lacking, lacking, weights)
        corrections.append(correction)
    alpha = min(255, round(ALPHA * along / power)) if power > 0 and along > 0 else 0
    saved = 2 * alpha / ALPHA * along - (alpha / ALPHA) ** 2 * power
    if saved <= NOTICED * error:
        return replace(head, alpha=0)
    for found, correction in zip(values, corrections, strict=True):
        add_refinement(found, correction, alpha)
    return replace(head, alpha=alpha)


def _inner(first: Floats, second: Floats, weights: Floats | None) -> float:
    """Sum of products of two arrays of shape (batch, z, y, x), weighed, in double precision."""
    total = 0.0
    for plane in np.ndindex(first.shape[:2]):
        products = first[plane] * second[plane]
        if weights is not None:
            products *= weights[plane]
        total += float(np.sum(products, dtype=np.float64))
    return total


def square_error(found: npt.NDArray[Any], original: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Mean squared error of every channel, both of shape (channels, frames, Y, X)."""
    total = np.zeros(len(found))
    for rows in slabs(found.shape):
        for c in range(len(found)):
            total[c] += float(np.sum((found[c, rows].astype(np.float64) - original[c, rows]) ** 2))
    return np.asarray(total / found[0].size)

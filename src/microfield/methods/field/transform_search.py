"""What the encoder tries before it codes: schedules, what becomes of time, alignment; on a window of the part."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import numpy as np

from microfield.deadline import Deadline
from microfield.methods.field import coefficients, importance
from microfield.methods.field.align import estimate
from microfield.methods.field.coefficients import Beforehand
from microfield.methods.field.film import best_share
from microfield.methods.field.film_search import FilmPredictor
from microfield.methods.field.groups import Groups, most_times
from microfield.methods.field.lifting import Floats
from microfield.methods.field.network import ContextNet
from microfield.methods.field.quantise import Worth, usual_codes
from microfield.methods.field.refine_whole import WholeRefinement
from microfield.methods.field.schedules import NAMES, schedule
from microfield.methods.field.structure import Lattice, cheapest, price

Scalar = TypeVar("Scalar", bound=np.generic)

PIECE_CHANNELS = 2
"""Channels of the window, at most."""
WINDOW, LEAST_WINDOW = 1 << 20, 1 << 18
"""Voxels of a channel of the window that arrangements are tried on, about: a quarter of them, but at most and at least so many."""
WIDEST, NARROWEST = 160, 64
"""Most and fewest rows and columns of the window."""
FEWEST_TIMES = 4
"""With fewer time points of volumes T is split as usual, or not at all."""
LONGEST = 1024
"""Most time points and planes of the window."""
CODED = 3
"""So many schedules are coded to choose from: that of the least estimate, and the best of those with a name."""
SMALL, CODED_OF_SMALL = 1 << 18, 2
"""In windows of at most so many coefficients only so many are coded: there a trial takes as long as coding."""
ROLLED_COST = 0.995
"""Planes are rolled where the cost falls below this share of the cost without."""
TRIAL_RDO = 0.1
"""Squared steps of error that a bit is worth in trials, as by default."""


@dataclass(frozen=True)
class Trial:
    """What arrangements are tried with.

    Attributes
    ----------
    step : float
        Quantiser step.
    contexts : ContextNet
    weights : float32 array (channels, frames, Y, X), optional
        Weights of the values' squared errors; all 1 without it.
    deadline : Deadline
        No trial begins after it.
    network : WholeRefinement, optional
        Refines what is decoded before its error is taken, as it will refine the part.
    """

    step: float
    contexts: ContextNet
    weights: Floats | None = None
    deadline: Deadline = field(default_factory=Deadline)
    network: WholeRefinement | None = None


@dataclass(frozen=True)
class Window:
    """The piece of the values that arrangements are tried on: all of T and Z, as far as that is bounded, and some of Y and X.

    Attributes
    ----------
    box : slices of T, Z, Y, X
    """

    box: tuple[slice, slice, slice, slice]

    @classmethod
    def of(cls, extents: tuple[int, int, int, int], corner: bool = False) -> Window:
        """A window in the middle of extents of T, Z, Y, X; or with the first rows and columns."""
        t, z = (min(n, LONGEST) for n in extents[:2])
        voxels = max(1, min(WINDOW, max(LEAST_WINDOW, math.prod(extents) // 4)))
        side = min(WIDEST, max(NARROWEST, math.isqrt(voxels // (t * z))))
        sizes = (t, z, *(min(n, side) for n in extents[2:]))
        starts = [0 if corner and axis > 1 else (n - size) // 2 for axis, (n, size) in enumerate(zip(extents, sizes, strict=True))]
        t_box, z_box, y_box, x_box = (slice(a, a + n) for a, n in zip(starts, sizes, strict=True))
        return cls((t_box, z_box, y_box, x_box))

    @property
    def extents(self) -> tuple[int, int, int, int]:
        """Of T, Z, Y, X."""
        t, z, y, x = (s.stop - s.start for s in self.box)
        return t, z, y, x

    def cut(self, values: Floats, groups: Groups) -> Floats:
        """The values in the window, of shape (channels, frames, y, x), their planes rolled as those of ``groups``."""
        t, z = groups.extents[:2]
        frames = np.arange(t * z).reshape(t, z)[self.box[:2]].reshape(-1)
        return np.ascontiguousarray(groups.rolled(values[:PIECE_CHANNELS], frames)[:, :, self.box[2], self.box[3]])


def arrangement(values: Floats, groups: Groups, trial: Trial) -> Groups:
    """The same groups with the schedule, the axis of time, and the planes rolled or not, that code a window at the least cost.

    What was tried when the deadline of the trial passes is what is chosen from.

    Parameters
    ----------
    values : float32 array (channels, frames, Y, X)
    groups : Groups
        What is used where there is nothing to try.
    trial : Trial
    """
    if max(groups.extents[:2]) == 1:
        return groups
    window = Window.of(groups.extents)
    best, least = _along_one_axis(values, groups, trial, window)
    for other in _other_times(groups, best):
        if trial.deadline.passed:
            return best
        found, cost = other, math.inf
        if other.along_time:
            found, cost = _along_one_axis(values, other, trial, window)
        else:
            cost = _cost(values, other, trial, window)
        if cost < least:
            best, least = found, cost
    return best if trial.deadline.passed else _aligned(values, best, least, trial)


def _other_times(groups: Groups, best: Groups) -> list[Groups]:
    """Other ways to see time points of volumes: apart, split until one is left, and as the axis of the wavelet."""
    most = most_times(groups.extents)
    if not most:
        return []
    if groups.extents[0] < FEWEST_TIMES:
        return [replace(best, times=0)]
    splits = sorted({0, most} - {best.times})
    return [*(replace(best, times=n) for n in splits), replace(groups, times=0, along_time=True)]


def _along_one_axis(values: Floats, groups: Groups, trial: Trial, window: Window) -> tuple[Groups, float]:
    """The groups with the schedule of the least cost, and the cost: the best by an estimate are coded."""
    small = of_window(values, groups, window)
    if trial.deadline.passed:
        return groups, math.inf
    if small.volume[1] == 1:
        return groups, _cost(values, groups, trial, window)
    volumes = small.volumes(window.cut(values, groups))
    lattice = Lattice(np.ascontiguousarray(volumes.reshape(-1, *volumes.shape[2:])), trial.step)
    prices = {name: price(lattice, schedule(name, lattice.shape)) for name in NAMES}
    prices[cheapest(lattice)] = -math.inf
    candidates = sorted(prices, key=lambda name: prices[name])[: CODED if small.size > SMALL else CODED_OF_SMALL]
    best, least = groups, math.inf
    for name in candidates:
        if trial.deadline.passed:
            break
        found = replace(groups, transform=name)
        cost = _cost(values, found, trial, window)
        if cost < least:
            best, least = found, cost
    return best, least


def _aligned(values: Floats, groups: Groups, straight: float, trial: Trial) -> Groups:
    """The groups with their planes rolled, and a schedule for that, where it pays; what is rolled in at the border is charged.

    ``straight`` is the cost of the groups as they are.
    """
    shifts = estimate(_one_by_plane(values, groups))
    if shifts is None:
        return groups
    rolled, moved = _along_one_axis(values, replace(groups, shifts=shifts), trial, Window.of(groups.extents))
    if trial.deadline.passed:
        return groups
    split = schedule(rolled.transform, rolled.volume)
    if not rolled.times and not any(1 in split.split(k) for k in range(len(split.levels))):
        return groups
    corner = Window.of(groups.extents, corner=True)
    share = min(1.0, float((np.abs(shifts) / np.array(groups.extents[2:])).sum(axis=1).mean()))
    as_they_are, rolled_in = ((1 - share) * cost + share * _cost(values, g, trial, corner)
                              for g, cost in ((groups, straight), (rolled, moved)))
    return rolled if rolled_in < ROLLED_COST * as_they_are else groups


def _one_by_plane(values: Floats, groups: Groups) -> Floats:
    """One picture per plane to align by, float32 (planes, y, x): channels are added; where planes are those of T, Z is averaged."""
    t, z, y, x = groups.extents
    total = values.sum(axis=0)
    return np.asarray(total.reshape(t, z, y, x).mean(axis=1) if t > 1 else total.reshape(z, y, x))


def of_window(values: Floats, groups: Groups, window: Window) -> Groups:
    """The groups of a window; its planes are rolled already."""
    t = window.extents[0]
    film = None if groups.film is None else replace(groups.film, length=t, segment=min(groups.film.segment, t))
    return replace(groups, channels=min(len(values), PIECE_CHANNELS), extents=window.extents, shifts=None,
                   times=min(groups.times, most_times(window.extents)), film=film)


def _cost(values: Floats, groups: Groups, trial: Trial, window: Window) -> float:
    """What the quantiser minimises, for a window of the values: squared error plus bits times what a bit is worth."""
    found = outcome(values, groups, trial, window)
    return found.error + TRIAL_RDO * trial.step**2 * 8 * found.nbytes


class Outcome(NamedTuple):
    """Weighted squared error and bytes of a window."""

    error: float
    nbytes: int

    def over(self, other: Outcome, slope: float) -> float:
        """How many times the error of another outcome this one has in as many bytes, of which the error is the power ``-slope``."""
        return self.error / other.error * math.exp(slope * math.log(self.nbytes / other.nbytes))


def outcome(values: Floats, groups: Groups, trial: Trial, window: Window) -> Outcome:
    """What becomes of a window of the values when it is coded, as a film or not."""
    small = of_window(values, groups, window)
    taken = window.cut(values, groups)
    shares = None if trial.weights is None else window.cut(trial.weights, groups)
    weights = None if shares is None else importance.of_coefficients(shares, small)
    pieces, worth = small.forward(taken), Worth(TRIAL_RDO, weights)
    if small.film is None:
        coded = coefficients.encode(pieces, small.order, trial.step, trial.contexts, worth)
        found, nbytes = small.inverse(coded.values), len(coded.data)
        if trial.network is not None:
            for channel, wanted in zip(found, small.volumes(taken), strict=True):
                correction = trial.network.correction(channel, trial.step, 0.0)
                channel += np.float32(best_share(correction, wanted - channel)) * correction
    else:
        predictor = FilmPredictor(small, pieces, trial.step, network=trial.network)
        beforehand = Beforehand(predictor, usual_codes())
        coded = coefficients.encode(pieces, small.order, trial.step, trial.contexts, worth, beforehand=beforehand)
        found, nbytes = predictor.assembled(), len(coded.data) + len(predictor.finish())
    taken -= small.frames(found)
    return Outcome(importance.square(taken, shares), nbytes)

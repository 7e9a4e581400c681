"""Whether the time points of a part are better predicted from one another than transformed along T, and how: tried on a window."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from microfield.methods.field import motion_code, motion_search
from microfield.methods.field.film import boxes, field_shape, seen_from, weighed
from microfield.methods.field.film_order import Film, Generation, segment_of
from microfield.methods.field.film_search import BIT, gains_of, weights_of
from microfield.methods.field.groups import Groups
from microfield.methods.field.lifting import Floats, forward
from microfield.methods.field.motion import blocks
from microfield.methods.field.schedules import schedule
from microfield.methods.field.structure import Lattice, cheapest, estimate
from microfield.methods.field.transform_search import Outcome, Trial, Window, of_window, outcome

TIMES = 16
"""Time points of the window, at most. With 9 the key frame weighs so much that films of cells lose against the wavelet."""
VOXELS = 3 << 17
"""Voxels of a channel of the window, about, at most."""
WIDEST, NARROWEST = 320, 64
"""Most and fewest rows and columns of the window."""
PAIRS = 3
"""So many time points are predicted from the ones before them to see whether a trial is worth its time."""
PROMISING = 1.0
"""A trial is made where the estimate for a film is below so many times that for the transform; 0.95 leaves out E. coli in phase
contrast at 64x, where a film gains 0.3 dB."""
HOPELESS = 1.05
"""No other film is tried where the first one has so many times the error of the transform in as many bytes."""
BETTER = 0.95
"""Time points are predicted where that leaves less than this share of the error."""
APPROACHES, CLOSE = 3, 0.12
"""So often at most the step is moved to bring the bytes of a film within so many of those of the transform (natural logarithm)."""
USUAL_SLOPE, STEEPEST = 0.5, 1.5
"""The error falls with this power of the bytes where it was not measured, and with none larger."""
GROUPED, IN_TURN = (4, 3), (1, 2)
"""Group and offset of two kinds of films that are tried, see `film_order.Film`; twice the first group is tried after it."""
BLOCK, SMALLER, LARGER = 32, 16, 64
"""Rows and columns of blocks: those that are tried first, those that are tried then, and those where bytes are few."""
THIN = 10.0
"""With fewer bytes for a block of the first size it is larger, which leaves more of them for what is not predicted. In films of
cells larger blocks gain 0.2 to 1.2 dB with 3 to 7 bytes, and lose 0.2 dB with 16."""
CLEARLY = 0.95
"""Groups are taken where they leave less than this share of the error: a window has their gain, and all of their key frame."""


def predicted_or_not(values: Floats, groups: Groups, trial: Trial, was_film: bool = False) -> tuple[Groups, float]:
    """The groups as a film, where a window of it is coded with less error in as many bytes; else as they are.

    Parameters
    ----------
    values : float32 array (channels, frames, Y, X)
    groups : Groups
        The best without prediction.
    trial : Trial
    was_film : bool
        The step of the trial is one for a film. With the same step a film takes far fewer bytes than a transform, and has a bit
        more error.

    Returns
    -------
    groups : Groups
    step : float
        At which they take about as many bytes as what the step of the trial was meant for.
    """
    length = groups.extents[0]
    if length < 2 or trial.deadline.passed:
        return groups, trial.step
    window = _window(groups.extents)
    film = as_film(values, groups, trial, usual(length))
    if not _promising(values, groups, film, trial, window):
        return groups, trial.step
    straight = _Curve(groups, [trial.step], [outcome(values, groups, trial, window)])
    thin = straight.outcomes[0].nbytes < THIN * _blocks(window)
    if thin:
        film = replace(film, film=replace(usual(length), block=LARGER))
    curve = _Curve(film, [trial.step], [outcome(values, film, trial, window)])
    wanted, first = straight.outcomes[0], curve.outcomes[0]
    straight.approach(first.nbytes, values, trial, window, APPROACHES if was_film else 1)
    if straight.over(first) * HOPELESS < 1:
        return groups, straight.steps[-1] if was_film else trial.step
    if was_film:
        wanted = straight.outcomes[-1]
    else:
        curve.approach(wanted.nbytes, values, trial, window, APPROACHES)
    found = _best_film(curve, wanted, values, trial, window, [] if thin else [{"block": SMALLER}])
    if found.over(wanted) < BETTER:
        return found.groups, found.steps[-1]
    return groups, straight.steps[-1] if was_film else trial.step


def _best_film(curve: _Curve, wanted: Outcome, values: Floats, trial: Trial, window: Window, smaller: list[dict[str, int]],
               ) -> _Curve:
    """The curve of the film that leaves least error in as many bytes as ``wanted`` has: that of ``curve``, or with other blocks or
    with groups.

    At the same step groups take half of the bytes, or fewer: each is brought near ``wanted`` before it is judged.
    """
    found = curve
    for change in (*smaller, {"group": GROUPED[0], "offset": GROUPED[1]}, {"group": 2 * GROUPED[0]}):
        film = found.groups.film
        assert film is not None
        if trial.deadline.passed or (change.get("group", 0) > GROUPED[0] and film.group < GROUPED[0]):
            break
        groups = replace(found.groups, film=replace(film, **change))
        other = _Curve(groups, [found.steps[-1]], [outcome(values, groups, replace(trial, step=found.steps[-1]), window)])
        other.approach(wanted.nbytes, values, trial, window, APPROACHES)
        if other.over(wanted) < (CLEARLY if change.get("group") == GROUPED[0] else 1) * found.over(wanted):
            found = other
    return found


@dataclass(frozen=True)
class _Curve:
    """What becomes of a window with several steps, so that it can be judged at a size.

    Attributes
    ----------
    groups : Groups
    steps : list of float
    outcomes : list of Outcome
    """

    groups: Groups
    steps: list[float]
    outcomes: list[Outcome]

    @property
    def slope(self) -> float:
        """The error falls with this power of the bytes, as the last two outcomes say."""
        if len(self.outcomes) < 2 or self.outcomes[-1].nbytes == self.outcomes[-2].nbytes:
            return USUAL_SLOPE
        before, last = self.outcomes[-2:]
        return min(STEEPEST, max(0.0, math.log(before.error / last.error) / math.log(last.nbytes / before.nbytes)))

    def approach(self, nbytes: int, values: Floats, trial: Trial, window: Window, attempts: int) -> None:
        """Add outcomes with other steps until one takes about so many bytes."""
        power = 1.0
        for _ in range(attempts):
            away = nbytes / self.outcomes[-1].nbytes
            if abs(math.log(away)) < CLOSE:
                return
            self.steps.append(self.steps[-1] * min(2.0, max(0.25, away**-power)))
            self.outcomes.append(outcome(values, self.groups, replace(trial, step=self.steps[-1]), window))
            grown = self.outcomes[-1].nbytes / self.outcomes[-2].nbytes
            if grown != 1:
                power = min(2.0, max(0.3, -math.log(self.steps[-1] / self.steps[-2]) / math.log(grown)))

    def over(self, other: Outcome) -> float:
        """How many times the error of another outcome it has in as many bytes."""
        return self.outcomes[-1].over(other, self.slope)


def _window(extents: tuple[int, int, int, int]) -> Window:
    """A window in the middle of extents of T, Z, Y, X: few time points, many rows and columns."""
    t, z = min(extents[0], TIMES), extents[1]
    side = min(WIDEST, max(NARROWEST, math.isqrt(VOXELS // (t * z))))
    sizes = (t, z, *(min(n, side) for n in extents[2:]))
    t_box, z_box, y_box, x_box = (slice((n - size) // 2, (n - size) // 2 + size) for n, size in zip(extents, sizes, strict=True))
    return Window((t_box, z_box, y_box, x_box))


def _blocks(window: Window) -> int:
    """Blocks of the first size in the planes of a window; all channels move together."""
    t, z, y, x = window.extents
    return t * z * math.prod(blocks((y, x), BLOCK))


def usual(length: int) -> Film:
    """The film that is tried first, of so many time points."""
    return Film(length, segment_of(length), IN_TURN[0], BLOCK, IN_TURN[1])


def as_film(values: Floats, groups: Groups, trial: Trial, film: Film) -> Groups:
    """The groups as a film, with the schedule for volumes of one time point that an estimate finds in a window."""
    found = replace(groups, transform="flat", times=0, shifts=None, along_time=False, film=film)
    if groups.extents[1] == 1:
        return found
    window = _window(groups.extents)
    volumes = window.cut(values, found).reshape(-1, *window.extents[1:])
    return replace(found, transform=cheapest(Lattice(np.ascontiguousarray(volumes), trial.step)))


def _promising(values: Floats, groups: Groups, film: Groups, trial: Trial, window: Window) -> bool:
    """Whether original time points predict one another so well that the estimate comes near that of the transform."""
    small = of_window(values, groups, window)
    pieces = small.forward(window.cut(values, groups))
    schedules = small.order.schedules
    straight = sum(estimate(piece[box], trial.step) for piece, s in zip(pieces, schedules, strict=True) for box in boxes(s))
    series = window.cut(values, film).reshape(small.channels, *window.extents)
    t = window.extents[0]
    at = np.unique(np.linspace(1, t - 1, min(PAIRS, t - 1)).astype(int))
    alone = rest = 0.0
    for channel in series:
        small_film = replace(of_window(values, film, window), channels=1)
        for k in at:
            a, b = _pair(channel, int(k), small_film, trial.step)
            alone, rest = alone + a, rest + b
    return bool((alone + (t - 1) * rest) / len(at) < PROMISING * straight)


def _pair(channel: Floats, k: int, groups: Groups, step: float) -> tuple[float, float]:
    """Estimates for time point ``k`` of a channel (t, z, y, x), and for what the one before it leaves of it."""
    assert groups.film is not None
    split = schedule(groups.transform, (1, *channel.shape[1:]))
    shape = field_shape(groups)
    still = np.zeros((shape[0], 1, *shape[1:], 2), np.int32)
    motion = motion_search.searched(channel[k][:, None], channel[k - 1][:, None, None], groups.film.block, BIT * step**2, still)
    motion = motion_code.code_motion(motion_code.MotionWriter(), motion, still)
    wanted = forward(channel[k : k + 1], split)
    seen = forward(seen_from(channel, Generation(np.array([k]), np.array([[k - 1]]), 1), motion), split)
    gains = gains_of(wanted, seen, split, step)
    rest = wanted - weighed(seen, split, weights_of(wanted, seen, split, step, gains), gains)
    alone, left = (sum(estimate(a[box], step) for box in boxes(split)) for a in (wanted, rest))
    return alone, left

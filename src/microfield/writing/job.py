"""A job: one image that was looked at, with the method, the parts and the context that the settings make of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.errors import InputError, LabelsError, UsageError
from microfield.format.grid import Grid
from microfield.image import Image, filled
from microfield.label_images import looks_like_labels
from microfield.methods import get_method, names
from microfield.methods.base import Context, Exact, Method
from microfield.progress import Progress
from microfield.statistics import ChannelStatistics, boxes, channel_statistics, count_invalid
from microfield.wording import argument
from microfield.writing.budget import Budget
from microfield.writing.partition import Partition, tile_of
from microfield.writing.rate_control import BlockRateControl
from microfield.writing.settings import Settings

"""Called with the fraction done, 0 to 1, and what is being done."""


@dataclass(frozen=True)
class Job:
    """One image on its way into a file; made by `prepare`.

    Attributes
    ----------
    image : Image
        NaN and infinity replaced where the user asked for it.
    settings : Settings
    method : Method
    grid : Grid
        Of the parts.
    statistics : ChannelStatistics
        Of the image, or of a larger one that it was cut from.
    context : Context
        Of the whole image, errors counted in channel ranges.
    begin : float
        When it was taken up (``time.monotonic`` seconds).
    notes : tuple of str
        What the user should know of the preparation.
    budget : Budget, optional
        What is asked for, once that is known.
    """

    image: Image
    settings: Settings
    method: Method
    grid: Grid
    statistics: ChannelStatistics
    context: Context
    begin: float
    notes: tuple[str, ...] = ()
    budget: Budget | None = None

    @cached_property
    def parts(self) -> Partition:
        """The parts of the image."""
        return Partition(self.image, self.grid)

    def for_budget(self, budget: Budget) -> Job:
        """The same job with errors counted in what the budget is: noise sigmas for a noise factor, else channel ranges.

        Raises
        ------
        InputError
            A noise factor is asked for where no noise can be estimated.
        """
        if budget.kind != "noise_factor":
            return replace(self, budget=budget)
        noise = self.statistics.noise
        if not (noise > 0).all():
            raise InputError(
                f"no noise can be estimated in channel {int(np.argmin(noise))} of {self.image.name}; ask for "
                f"{argument('psnr')} or a size instead of {argument('noise_factor')}."
            )
        return replace(self, context=replace(self.context, noise=noise), budget=budget)


def prepare(image: Image, settings: Settings, deadline: Deadline, progress: Progress, statistics: ChannelStatistics | None = None,
            folder: Path | None = None) -> Job:
    """Check the image and the settings, and measure the image where ``statistics`` does not spare that.

    ``folder`` is where the file goes, where it goes into one.

    Raises
    ------
    UsageError
        A setting is wrong, or the method cannot use it.
    InputError
        The image holds NaN, or labels.
    """
    begin = time.monotonic()
    method = get_method(settings.method).with_options(settings.options or {})
    method = method if folder is None else method.in_folder(folder)
    grid = Grid(image.shape, tile_of(image, settings.tile))
    progress(0.0, "look at the image")
    exact = isinstance(method.quality, Exact)
    if exact and settings.nan_fill is not None:
        raise UsageError(f"{argument('nan_fill')} changes values, and method {method.name} keeps all of them; leave it out.")
    replaced = 0 if exact else _check_values(image, settings)
    image = filled(image, settings.nan_fill)
    _check_accepted(method, settings)
    weights = _channel_weights(image, settings)
    objective = settings.objective(image)
    if statistics is None:
        statistics = _statistics(image)
    if not exact:
        _check_magnitudes(image, statistics, method)
    context = Context(
        statistics.range, weights, seed=settings.seed, effort=settings.effort, deadline=deadline, progress=progress,
        objective=objective, optimiser=settings.optimiser, rate_control=BlockRateControl(),
    )
    notes = (f"{replaced} values that were NaN or infinite are now {settings.nan_fill:g}.",) if replaced else ()
    guided = objective.guidance.notes if objective.guidance is not None else ()
    return Job(image, settings, method, grid, statistics, context, begin, image.notes + notes + guided)


def _check_values(image: Image, settings: Settings) -> int:
    """Refuse what must not be compressed; how many values are to be replaced."""
    invalid = np.zeros(2, np.int64)
    if image.dtype.kind == "f":
        for box in boxes(image.layout):
            invalid += count_invalid(image.read(box))
    if invalid.any() and settings.nan_fill is None:
        raise InputError(
            f"{image.name} holds {invalid[0]} NaN and {invalid[1]} infinite values; "
            f"replace them, or give a value to put there with {argument('nan_fill')}."
        )
    if not settings.not_labels and looks_like_labels(image):
        raise LabelsError(
            f"{image.name} looks like object labels or a mask, whose values must not change; keep an exact copy with "
            f"{argument('lossless', True)}, or give {argument('not_labels', True)} if it is an image after all."
        )
    return int(invalid.sum())


def _statistics(image: Image) -> ChannelStatistics:
    """Statistics of an image, also of one whose values are too large or too small for them: those are refused afterwards."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return channel_statistics(image)


def _check_magnitudes(image: Image, statistics: ChannelStatistics, method: Method) -> None:
    """Refuse floats so large or small that squares of their errors leave the range of the numbers that are computed with."""
    (least, most), exactly = method.magnitudes, argument("lossless", True)
    if image.dtype.kind != "f":
        return
    for channel, (low, high) in enumerate(zip(statistics.minimum, statistics.maximum, strict=True)):
        largest = max(abs(low), abs(high))
        if not largest <= most:
            raise InputError(f"channel {channel} of {image.name} holds values up to {largest:.3g}, more than the {most:.0e} that "
                             f"method {method.name} can code; scale the image down, or keep an exact copy with {exactly}.")
        if low < high and not high - low >= least:
            raise InputError(f"the values of channel {channel} of {image.name} lie within {high - low:.3g}, less than the "
                             f"{least:.0e} that method {method.name} can code; scale the image up, or keep an exact copy with "
                             f"{exactly}.")


def _check_accepted(method: Method, settings: Settings) -> None:
    """Refuse settings that the method cannot use."""
    for name in sorted(settings.used() - method.usable):
        able = [other for other in names() if _accepts(other, name)]
        others = f"{', '.join(able)} can" if able else "no method can"
        here = " with these options" if name in method.accepts else ""
        raise UsageError(f"method {method.name} cannot use {name.replace('_', ' ')}{here}; {others}.")


def _accepts(method: str, name: str) -> bool:
    """Whether a method can use a setting; one of another package that cannot be imported can use nothing."""
    try:
        return name in get_method(method).accepts
    except InputError:
        return False


def _channel_weights(image: Image, settings: Settings) -> npt.NDArray[np.float64]:
    channels = image.layout.channels
    if settings.channel_weights is None:
        return np.ones(channels)
    weights = np.asarray(settings.channel_weights, np.float64)
    if weights.shape != (channels,) or not (weights >= 0).all() or not weights.any():
        raise UsageError(f"{argument('channel_weights')} must be {channels} numbers, none negative and one above 0, not "
                         f"{', '.join(f'{w:g}' for w in weights)}.")
    return np.asarray(weights / weights.max())

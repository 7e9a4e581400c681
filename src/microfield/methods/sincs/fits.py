"""The fits of the groups of a part: how long they run, where they begin, and what holds a group near its ancestor."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from microfield.coding.weights import step_size
from microfield.methods.base import Context
from microfield.methods.coordinate.effort import steps_for
from microfield.methods.coordinate.quantise import group_steps
from microfield.methods.sincs.bitstream import tensor_extents
from microfield.methods.sincs.coded import Coder
from microfield.methods.sincs.design import Design
from microfield.methods.sincs.grouping import undivided
from microfield.methods.sincs.published import RATE
from microfield.methods.sincs.quantiser import StepSearch
from microfield.methods.sincs.transfer import price_of_bits, quantiser_of, to_params, to_tensors
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.fit import FitSchedule, Hooks, Pull, evaluation_loss, fit, no_quantiser
from microfield.nn.network import Params, init_folded, init_rectified
from microfield.nn.optimisers import Optimiser, optimiser_and_rate
from microfield.nn.sampling import Target, evaluation_batch

FREQUENCIES = (0.08, 0.16, 0.04, 0.32)
"""Largest initial frequencies that are tried, in radians per voxel."""

TRIAL_SHARE = 0.05
"""Part of the work of the first fit that a trial of one frequency gets."""

WARM_SHARE = 0.35
"""Part of the steps of a first fit that a group gets which begins at another. It runs through the whole schedule of rates:
beginning late in it keeps weights nearer to the ancestor's, but costs more quality than the bytes that saves are worth."""

TUNING_SHARE, TUNING_START = 0.1, 0.85
"""The same for the last pass over all groups, with the quantiser steps of the file."""

SMALLEST_BATCH, LARGEST_BATCH = 256, 8192
"""Points per step, a power of two."""

FEWEST_STEPS = 32
"""Steps of a fit of a group at least."""

SENSITIVITY_POINTS = 1 << 12
"""Points on which is measured how much each tensor matters."""


class Fits:
    """The fits of one attempt at a part; counts what was begun of them, so that a deadline is shared out.

    Parameters
    ----------
    coder : Coder
        Of the part.
    context : Context
    """

    def __init__(self, coder: Coder, context: Context) -> None:
        self.coder, self.recipe, self.context = coder, coder.recipe, context
        self.spent = 0.0
        """What was begun, in units of a first fit."""
        self.shortened: set[str] = set()
        """What the deadline made the fits leave out."""

    def optimiser(self) -> tuple[Optimiser, float]:
        """The optimiser, and its largest rate."""
        optimiser, rate = optimiser_and_rate(self.recipe.optimiser)
        rate = RATE if self.recipe.paper else rate
        return (self.context.optimiser() if self.context.optimiser else optimiser), rate

    def schedule(self, design: Design, share: float, start: float, **more: Any) -> FitSchedule:
        """How the fit of a group runs that gets this share of the steps of a first one."""
        points = math.prod(design.groups.extents)
        batch = int(np.clip(1 << (points.bit_length() - 1), SMALLEST_BATCH, LARGEST_BATCH))
        whole = self.work(design)
        steps = steps_for(self.context.effort, self.coder.layout.size, design.shape.n_weights, batch, whole)
        left = max(share, whole - self.spent)
        self.spent += share
        return FitSchedule(max(FEWEST_STEPS, int(steps * share)), batch, self.optimiser()[1], start=start, seed=self.context.seed,
                           deadline=self.context.deadline.share(share / left), **more)

    def work(self, design: Design) -> float:
        """What all fits of a part come to, in units of a first one."""
        n = design.groups.n
        return 1 + (n - 1) * (WARM_SHARE if self.recipe.transfer else 1.0) + n * TUNING_SHARE * (n > 1)

    def initial(self, design: Design, frequency: float) -> Params:
        """Random weights of a network."""
        shape = design.shape
        if self.recipe.paper:
            return init_rectified(self.context.seed, shape.inputs, shape.width, shape.depth, shape.outputs)
        coordinates = CoordinateMap(self.coder.layout.with_shape(design.groups.extents), design.output_axes)
        voxels = np.asarray([n - 1 for n in coordinates.input_shape], np.float64) / 2
        return init_folded(self.context.seed, shape.inputs, shape.width, shape.depth, shape.outputs, voxels * frequency)

    def frequency(self, design: Design, target: Target) -> float:
        """The initial frequency of least loss in short fits."""
        if self.recipe.frequency or self.recipe.paper:
            return self.recipe.frequency
        losses = []
        for frequency in FREQUENCIES:
            self.context.progress(0.0, "trial")
            schedule = self.schedule(design, TRIAL_SHARE, 0.0)
            losses.append(fit(target, self.initial(design, frequency), self.optimiser()[0], schedule).loss)
        return FREQUENCIES[int(np.nanargmin(losses))]

    def pull(self, target: Target, begin: Params, centre: Params, quantiser: Params) -> Pull | None:
        """What holds a group near its ancestor."""
        if not self.recipe.pull:
            return None
        sample = evaluation_batch(target, SENSITIVITY_POINTS)
        rough, exact = (evaluation_loss(begin, sample, q) for q in (quantiser, no_quantiser(begin)))
        return Pull(centre, quantiser, self.recipe.pull * price_of_bits(rough, exact, sum(w.size for w in begin.weights)))

    def progress(self, done: int, n: int, what: str) -> Any:
        """Where a fit tells how far it is that is one of ``n``."""
        name = what if n == 1 else f"{what}, group {done + 1}/{n}"
        return lambda fraction: self.context.progress(min(1.0, (done + fraction) / n), name)


class FitsInTurn:
    """The fits of all groups in turn: the first one finds the quantiser steps and the quality that the others share.

    Parameters
    ----------
    fits : Fits
    design : Design
    target : Target
        Of the first group.
    limit : int
        Bytes that the first group may take with the head of the part.
    """

    def __init__(self, fits: Fits, design: Design, target: Target, limit: int) -> None:
        self.fits, self.design, self.target, self.limit = fits, design, target, limit
        self.relative = np.ones(len(tensor_extents(design.shape)))
        self.quantiser: Params | None = None
        self.goal = 0.0

    def fit(self, target: Target, begin: tuple[Params, Params | None], place: tuple[int, int]) -> Params:
        """Fit one group, number ``place[0]`` of ``place[1]``, from the first of two networks, held near the second."""
        fits, params, centre = self.fits, *begin
        progress, objective = fits.progress(*place, "fit"), fits.context.objective
        optimiser = fits.optimiser()[0]
        if self.quantiser is None:
            schedule = fits.schedule(self.design, 1.0, 0.0)
            done = fit(target, params, optimiser, schedule, objective=objective, hooks=Hooks(self._steps, progress))
            self.goal = done.loss
        else:
            quantiser = self.quantiser
            share = 1.0 if centre is None else WARM_SHARE
            schedule = fits.schedule(self.design, share, 0.0, quantise_at=(0.0,) if centre is not None else (0.75,),
                                     learn_frequency=False, goal=self.goal if fits.recipe.early else 0.0)
            pull = None if centre is None else fits.pull(target, centre, centre, quantiser)
            done = fit(target, params, optimiser, schedule, objective=objective, pull=pull,
                       hooks=Hooks(lambda _: quantiser, progress))
        if math.isfinite(schedule.deadline.end) and done.steps < schedule.steps and not done.loss <= schedule.goal:
            fits.shortened.add("some of the steps of a fit")
        return to_params(to_tensors(done.params, self.design.shape), fits.recipe.paper)

    def _steps(self, params: Params) -> Params:
        """Quantiser steps at which the first group takes its share of the limit."""
        coder, design = self.fits.coder, self.design
        sample = evaluation_batch(self.target, SENSITIVITY_POINTS)
        self.relative = group_steps(params, sample.x, sample.weight)
        tensors = to_tensors(params, design.shape)
        forest = coder.forest(design, [tensors], (None,))
        head = coder.head(replace(design, groups=undivided(coder.layout.shape)), (None,), (0,) * len(tensors))
        around = len(head.pack(coder.layout))
        search = StepSearch(forest, self.relative, lambda _, weights: around + len(weights[0]), around)
        found = search.search(self.limit)
        codes = found[0] if found is not None else search.codes(1.0)
        steps = [float(step_size(c)) for c in codes]
        self.quantiser = quantiser_of(steps, design.shape.depth, coder.recipe.paper)
        factor = float(params.frequency)
        hidden = [s / factor for s in steps[:-3]]
        return quantiser_of([*hidden, steps[-3], steps[-2] / factor, steps[-1]], design.shape.depth, coder.recipe.paper)

"""Fit a coordinate network to a part under a byte limit: design, short trials, fit, quantise, code."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding.weights import step_size
from microfield.image import CHANNELS, Layout
from microfield.methods.base import Context
from microfield.methods.coordinate.bitstream import Quantised, Shape, pack_quantised
from microfield.methods.coordinate.effort import steps_for
from microfield.methods.coordinate.mapping import Mapping, fit_mapping
from microfield.methods.coordinate.pyramid_encoder import code_pyramid, encode_pyramid, plan_pyramid
from microfield.methods.coordinate.quantise import Rate, as_params, group_steps, to_groups
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.fit import FitSchedule, Hooks, fit
from microfield.nn.network import Params, init_folded
from microfield.nn.optimisers import Optimiser, optimiser_and_rate
from microfield.nn.pyramid import Pyramid
from microfield.nn.sampling import Target, evaluation_batch

# -- design of the network --------------------------------------------------------------------------------------------

DEPTH_WEIGHTS = (40, 80, 160, 320)
"""A network has one sine layer, and one more above each of these numbers of weights: few weights are better spent on width."""

LEAST_WIDTH, MAX_WIDTH = 4, 1024
"""Width of the sine layers."""

COARSE_WIDTHS, FINE_STEP, COARSE_STEP = 32, 2, 8
"""From this width on widths are multiples of 8, which run fastest and are compiled once for many images; below, a tiny network
must use every byte, so widths grow by 2."""

MOST_OUTPUTS = 64
"""Axes do not become outputs where the network would have more of them: the last layer would take most of the weights."""

FREQUENCIES = (0.08, 0.16, 0.04, 0.32)
"""Largest initial frequencies that are tried, in radians per voxel; the one that is best most often comes first."""

# -- trials and fit ---------------------------------------------------------------------------------------------------

TRIAL_SHARE = 0.03
"""Part of the work of a fit that a trial of one choice gets."""

TRIALS_LEAVE = 0.8
"""Trials stop where less than this part of the time is left, so that the fit keeps most of it."""

SMALLEST_BATCH, LARGEST_BATCH = 256, 8192
"""Points per step, a power of two: gradients of fewer are too noisy, more do not pay for the longer step."""

BATCH_WEIGHTS = 2**30
"""Weights times points of a step are at most this, so that steps of large networks stay short and their schedule fine."""

SMALLEST_LARGE_BATCH = 2**10
"""That rule asks for no fewer points than this."""

FEWEST_STEPS = 64
"""Steps of a trial or of a fine-tuning, however small its share."""

REUSABLE = (0.4, 1.25)
"""A fitted network is tuned rather than fitted anew where the one that suits the new limit has from 0.4 to 1.25 times its weights:
quantisation makes up for the difference."""

TUNING_START = 0.85
"""Fine-tuning runs over the schedule from here to its end, where learning rates are low."""

TUNING_QUANTISES_AT = (0.0, 0.6)
"""Parts of a fine-tuning done when quantiser steps are chosen: at once, since the weights are fitted, and again later on."""

# -- quantisation -----------------------------------------------------------------------------------------------------

SENSITIVITY_WEIGHTS = 2**30
SENSITIVITY_POINTS = (1 << 10, 1 << 14)
"""How much each group of weights matters is measured on so many points that weights times points are `SENSITIVITY_WEIGHTS`,
within these limits."""

FILLED = 0.98
"""A part whose weights are all at their finest and that takes less than this share of its limit gains nothing from more bytes."""

ANY_STEP = 128
"""A step code for weights of 0, which are 0 at every step."""


@dataclass(frozen=True)
class Choice:
    """What short trials decide.

    Attributes
    ----------
    output_axes : str
        Axes that are outputs of the network instead of coordinates.
    frequency : float
        Largest initial frequency, in radians per voxel.
    """

    output_axes: str
    frequency: float


@dataclass(frozen=True)
class State:
    """A warm start: fitted weights, their shape, the choice they were fitted under, and a pyramid with its latents."""

    params: Params
    shape: Shape
    choice: Choice
    pyramid: Pyramid | None = None
    latents: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """Settings of a fit that come from the method's options; 0 and ``"auto"`` mean that the encoder chooses."""

    learn_frequency: bool
    optimiser: str = "soap"
    bits_per_weight: float = 7.0
    outputs: str = "auto"
    frequency: float = 0.0
    depth: int = 0
    velo: str = ""
    pyramid: bool = False


class Coded(NamedTuple):
    """Bytes of a part, a warm start for the next attempt (None for a part of constants), whether more bytes would not help, and
    what the deadline made the encoder leave out.
    """

    data: bytes
    state: State | None
    exhausted: bool
    shortened: tuple[str, ...] = ()


class PartEncoder:
    """Encodes one part; holds what several attempts at it share."""

    def __init__(self, block: npt.NDArray[Any], layout: Layout, recipe: Recipe, context: Context) -> None:
        self.block, self.layout, self.recipe, self.context = block, layout, recipe, context
        self.mapping: Mapping = fit_mapping(_per_channel(block, layout), context.unit)

    def encode(self, limit: int, state: State | None = None) -> Coded:
        """Encode into at most ``limit`` bytes; ``state`` of an earlier attempt is tuned where that is enough.

        A part of constants, or a limit too small for a network, gives one value per channel, whatever the limit.
        """
        constant = not np.any(self.mapping.maximum > self.mapping.minimum)
        if state is not None and state.pyramid is not None and self.context.reuse and not constant:
            return code_pyramid(self, limit, state)
        plan = None if constant or not self.recipe.pyramid else plan_pyramid(self, limit)
        if state is not None and not self.context.reuse and (state.pyramid is None) != (plan is None):
            state = None  # Fitted to so many other bytes that it was of the other kind.
        if plan is not None and (state is None or state.pyramid is not None):
            return encode_pyramid(self, limit, plan, state)
        shape = None if constant else self.design(limit, self._output_choices()[0])
        if shape is None:
            return Coded(self.constant(), None, constant)
        if state is not None and self.context.reuse:
            return self._code(limit, state)
        if state is not None:
            fewest, most = (factor * state.shape.n_weights for factor in REUSABLE)
            if fewest <= shape.n_weights <= most:
                return self._fit(limit, state, tune=True)
        choice = self._trials(limit)
        shape = self.design(limit, choice.output_axes) or shape
        return self._fit(limit, State(self.initial(shape, choice), shape, choice))

    # -- design ---------------------------------------------------------------------------------------------------

    def overhead(self, shape: Shape, output_axes: str) -> int:
        """Bytes of a part that are not weights."""
        zeros = tuple(np.zeros(n, np.int64) for n in shape.group_sizes)
        blank = Quantised(shape, zeros, (ANY_STEP,) * len(zeros))
        return len(pack_quantised(blank, output_axes, self.mapping, self.layout))

    def design(self, limit: int, output_axes: str) -> Shape | None:
        """The widest network whose weights fit ``limit`` bytes at the planned bits each; None where none does."""
        coordinates = CoordinateMap(self.layout, output_axes)
        inputs, outputs = len(coordinates.inputs), coordinates.n_outputs
        smallest = Shape(inputs, LEAST_WIDTH, 1, outputs)
        room = 8 * (limit - self.overhead(smallest, output_axes)) / self.recipe.bits_per_weight
        # Half the planned bits per weight still give a picture.
        if room < smallest.n_weights / 2:
            return None
        depth = self.recipe.depth or 1 + int(np.searchsorted(DEPTH_WEIGHTS, room))
        width = LEAST_WIDTH
        while width < MAX_WIDTH:
            wider = width + (COARSE_STEP if width >= COARSE_WIDTHS else FINE_STEP)
            if Shape(inputs, wider, depth, outputs).n_weights > room:
                break
            width = wider
        return Shape(inputs, width, depth, outputs)

    def _output_choices(self) -> list[str]:
        """Sets of axes worth trying as network outputs: channels first, then with time, then neither.

        Colour samples always are outputs.
        """
        axes, sizes = self.layout.axes, dict(zip(self.layout.axes, self.layout.shape, strict=True))
        if self.recipe.outputs != "auto":
            return ["".join(a for a in axes if a in self.recipe.outputs)]
        colour = "S" if "S" in axes else ""
        free = [a for a in "CT" if sizes.get(a, 1) > 1]
        sets = [colour + "".join(c) for r in range(len(free) + 1) for c in itertools.combinations(free, r)]
        allowed = [s for s in sets if np.prod([sizes[a] for a in s]) <= MOST_OUTPUTS]
        return sorted(allowed or [colour], key=lambda s: ("C" not in s, "T" in s))

    def initial(self, shape: Shape, choice: Choice) -> Params:
        """Random weights of a network."""
        coordinates = CoordinateMap(self.layout, choice.output_axes)
        # Coordinates run from -1 to 1, so that many voxels are one unit.
        voxels = np.asarray([n - 1 for n in coordinates.input_shape], np.float64) / 2
        return init_folded(self.context.seed, shape.inputs, shape.width, shape.depth, shape.outputs, voxels * choice.frequency)

    # -- fit ------------------------------------------------------------------------------------------------------

    def target(self, output_axes: str) -> Target:
        """What the network is fitted to: its loss is the weighted mean over channels of squared errors in `Context.unit`.

        Weights are scaled so that the loss of targets of unit variance is about 1, whatever the units.
        """
        relative = self.mapping.scale / self.context.unit
        typical = np.sqrt(np.mean(relative[relative > 0] ** 2))
        weight = (relative / typical) ** 2 * self.context.channel_weights / self.context.channel_weights.mean()
        return Target(
            CoordinateMap(self.layout, output_axes), self.block, self.mapping.scale, self.mapping.offset,
            weight.astype(np.float32), self.context.objective.weights,
        )

    def optimiser(self) -> tuple[Optimiser, float]:
        """The optimiser and its peak learning rate."""
        optimiser, rate = optimiser_and_rate(self.recipe.optimiser, self.recipe.velo)
        return (self.context.optimiser() if self.context.optimiser else optimiser), rate

    def schedule(self, shape: Shape, target: Target, share: float = 1.0) -> FitSchedule:
        """How a fit runs at the context's effort, or the given share of one."""
        points = target.coordinates.n_points
        most = 1 << int(np.log2(max(SMALLEST_LARGE_BATCH, BATCH_WEIGHTS / shape.n_weights)))
        batch = int(np.clip(1 << (points.bit_length() - 1), SMALLEST_BATCH, min(LARGEST_BATCH, most)))
        steps = steps_for(self.context.effort, self.layout.size, shape.n_weights, batch)
        _, rate = self.optimiser()
        return FitSchedule(
            max(FEWEST_STEPS, int(steps * share)), batch, rate, seed=self.context.seed,
            deadline=self.context.deadline.share(share), learn_frequency=self.recipe.learn_frequency,
        )

    def _trials(self, limit: int) -> Choice:
        """Try the sets of outputs, then, with the best of them, the frequencies; the lowest loss wins."""
        frequencies = (self.recipe.frequency,) if self.recipe.frequency else FREQUENCIES
        choices = [Choice(axes, frequencies[0]) for axes in self._output_choices()]
        enough = TRIALS_LEAVE * self.context.deadline.remaining
        best = self._best(limit, choices, enough)
        return self._best(limit, [Choice(best.output_axes, f) for f in frequencies], enough)

    def _best(self, limit: int, choices: list[Choice], enough: float) -> Choice:
        """The choice of lowest loss; none is tried after the first one that leaves less than ``enough`` seconds."""
        losses: list[float] = []
        for choice in choices if len(choices) > 1 else []:
            losses.append(self._trial_loss(limit, choice))
            if self.context.deadline.remaining < enough:
                break
        return choices[int(np.argmin(losses))] if losses else choices[0]

    def _trial_loss(self, limit: int, choice: Choice) -> float:
        """Loss of a short fit under a choice; infinite where it diverges or no network fits."""
        shape = self.design(limit, choice.output_axes)
        if shape is None:
            return float("inf")
        target = self.target(choice.output_axes)
        optimiser, _ = self.optimiser()
        self.context.progress(0.0, "trial")
        loss = fit(target, self.initial(shape, choice), optimiser, self.schedule(shape, target, TRIAL_SHARE)).loss
        return loss if np.isfinite(loss) else float("inf")

    def _fit(self, limit: int, begin: State, *, tune: bool = False) -> Coded:
        """Fit from the weights of ``begin``, towards the end with the quantiser in the loop, and code.

        With ``tune`` the weights are fitted already, and only the end of the schedule is run.
        """
        target = self.target(begin.choice.output_axes)
        optimiser, _ = self.optimiser()
        schedule = self.schedule(begin.shape, target, 1.0 - TUNING_START if tune else 1.0)
        if tune:
            schedule = replace(schedule, start=TUNING_START, quantise_at=TUNING_QUANTISES_AT)

        def requantise(params: Params) -> Params:
            """Steps at which the weights would fit the limit; zeros, which leave weights alone, where none do."""
            found = self._quantise(limit, replace(begin, params=params), target)
            steps = [0.0] * (len(begin.shape.fans) + 2) if found is None else [float(step_size(c)) for c in found.steps]
            return as_params(steps, params)

        fitted = fit(
            target, begin.params, optimiser, schedule, objective=self.context.objective,
            hooks=Hooks(requantise, lambda done: self.context.progress(done, "fit")),
        )
        coded = self._code(limit, replace(begin, params=fitted.params))
        planned = schedule.steps
        if math.isfinite(schedule.deadline.end) and fitted.steps < planned:
            coded = coded._replace(shortened=(f"{1 - fitted.steps / planned:.0%} of the steps of a fit",))
        return coded

    # -- code -----------------------------------------------------------------------------------------------------

    def _code(self, limit: int, state: State) -> Coded:
        """Quantise fitted weights to the limit and code them."""
        quantised = self._quantise(limit, state, self.target(state.choice.output_axes))
        if quantised is None:
            return Coded(self.constant(), None, False)
        data = pack_quantised(quantised, state.choice.output_axes, self.mapping, self.layout)
        return Coded(data, state, len(data) < FILLED * limit)

    def _quantise(self, limit: int, state: State, target: Target) -> Quantised | None:
        """The finest quantised weights that fit; None where none do."""
        sample = evaluation_batch(target, int(np.clip(SENSITIVITY_WEIGHTS / state.shape.n_weights, *SENSITIVITY_POINTS)))
        relative = group_steps(state.params, sample.x, sample.weight)

        def size(quantised: Quantised) -> int:
            return len(pack_quantised(quantised, state.choice.output_axes, self.mapping, self.layout))

        return Rate(state.shape, relative, size).search(to_groups(state.params), limit)

    def constant(self) -> bytes:
        """The smallest network: no sine layers, one value per channel."""
        output_axes = "".join(a for a in self.layout.axes if a in CHANNELS)
        outputs = CoordinateMap(self.layout, output_axes).n_outputs
        blank = Quantised(Shape(0, 0, 0, outputs), (np.zeros(outputs, np.int64),), (ANY_STEP,))
        return pack_quantised(blank, output_axes, self.mapping, self.layout)


def _per_channel(block: npt.NDArray[Any], layout: Layout) -> list[npt.NDArray[Any]]:
    """Values of every channel, flat; channels in C order of the axes C and S."""
    axes = layout.channel_axes
    moved = np.moveaxis(block, axes, range(len(axes))).reshape(layout.channels, -1)
    return list(moved)

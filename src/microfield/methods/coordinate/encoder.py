"""Fit a coordinate network to a part under a byte limit: design, short trial, fit, quantise, code."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.weights import step_size
from microfield.image import Layout
from microfield.methods.base import Context
from microfield.methods.coordinate.bitstream import Quantised, Shape, pack_quantised
from microfield.methods.coordinate.mapping import Mapping, fit_mapping
from microfield.methods.coordinate.quantise import Rate, as_params, group_steps, to_groups
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.fit import Plan, fit
from microfield.nn.network import Params, init_folded
from microfield.nn.optimisers import OPTIMISERS, Optimiser
from microfield.nn.sampling import Target, evaluation_batch

FREQUENCIES = (0.08, 0.16, 0.04, 0.32)
"""Largest initial frequency tried, in radians per voxel of the longest axis; the most often best one first."""

MAX_WIDTH = 1024


@dataclass(frozen=True)
class Choice:
    """What the short trial decides: outputs of the network and the initial frequency in radians per voxel."""

    output_axes: str
    frequency: float


@dataclass(frozen=True)
class State:
    """Warm start: fitted weights and the choice they were fitted under."""

    params: Params
    shape: Shape
    choice: Choice


@dataclass(frozen=True)
class Recipe:
    """Settings of a fit that come from the method's options."""

    learn_frequency: bool
    optimiser: str = "soap"
    bits_per_weight: float = 7.0
    outputs: str = "auto"
    frequency: float = 0.0
    depth: int = 0


class PartEncoder:
    """Encodes one part. Holds what several attempts at the same part share."""

    def __init__(self, block: npt.NDArray[Any], layout: Layout, recipe: Recipe, context: Context) -> None:
        self.block, self.layout, self.recipe, self.context = block, layout, recipe, context
        self.mapping: Mapping = fit_mapping(_per_channel(block, layout), context.unit)

    def encode(self, limit: int, state: State | None = None) -> tuple[bytes, State | None, bool]:
        """Bytes of at most ``limit``, a warm start for the next call, and whether more bytes would not help."""
        constant = not np.any(self.mapping.maximum > self.mapping.minimum)
        shape = None if constant else self.design(limit, self._output_choices()[0])
        if shape is None:
            return self._constant(), None, constant
        if state is not None and self.context.reuse:
            return self._code(limit, state)
        if state is not None and 0.4 * state.shape.n_weights <= shape.n_weights <= 1.25 * state.shape.n_weights:
            return self._finish(limit, state.params, state.shape, state.choice, start=0.85)
        choice = self._trial(limit)
        shape = self.design(limit, choice.output_axes) or shape
        params = self._initial(shape, choice)
        return self._finish(limit, params, shape, choice, start=0.0)

    # -- design ---------------------------------------------------------------------------------------------------

    def overhead(self, shape: Shape, output_axes: str) -> int:
        """Bytes of a part that are not weights."""
        zeros = tuple(np.zeros(n, np.int64) for n in shape.group_sizes)
        blank = Quantised(shape, zeros, (128,) * len(zeros))
        return len(pack_quantised(blank, output_axes, self.mapping, self.layout))

    def design(self, limit: int, output_axes: str) -> Shape | None:
        """The widest network whose weights fit ``limit`` bytes at the planned bits each; None where none does."""
        coordinates = CoordinateMap(self.layout, output_axes)
        inputs, outputs = len(coordinates.inputs), coordinates.n_outputs
        smallest = Shape(inputs, 4, 1, outputs)
        room = 8 * (limit - self.overhead(smallest, output_axes)) / self.recipe.bits_per_weight
        if room < smallest.n_weights / 2:
            return None
        depth = self.recipe.depth or 1 + int(np.searchsorted((40, 80, 160, 320), room))
        width = 4
        while width < MAX_WIDTH:
            # Multiples of 8 run fastest and are compiled once for many images; tiny networks must use every byte.
            wider = width + (8 if width >= 32 else 2)
            if Shape(inputs, wider, depth, outputs).n_weights > room:
                break
            width = wider
        return Shape(inputs, width, depth, outputs)

    def _output_choices(self) -> list[str]:
        """Sets of axes worth trying as network outputs: channels as outputs first, then time, then neither."""
        axes, sizes = self.layout.axes, dict(zip(self.layout.axes, self.layout.shape, strict=True))
        if self.recipe.outputs != "auto":
            return ["".join(a for a in axes if a in self.recipe.outputs)]
        colour = "S" if "S" in axes else ""
        free = [a for a in "CT" if sizes.get(a, 1) > 1]
        sets = [colour + "".join(c) for r in range(len(free) + 1) for c in itertools.combinations(free, r)]
        allowed = [s for s in sets if np.prod([sizes[a] for a in s]) <= 64]
        return sorted(allowed or [colour], key=lambda s: ("C" not in s, "T" in s))

    # -- fit ------------------------------------------------------------------------------------------------------

    def target(self, output_axes: str) -> Target:
        """What the network is fitted to. The loss is the mean over channels of square errors in `Context.unit`, rescaled."""
        relative = self.mapping.scale / self.context.unit
        typical = np.sqrt(np.mean(relative[relative > 0] ** 2))
        weight = (relative / typical) ** 2 * self.context.channel_weights / self.context.channel_weights.mean()
        return Target(
            CoordinateMap(self.layout, output_axes), self.block, self.mapping.scale, self.mapping.offset,
            weight.astype(np.float32), self.context.objective.weights,
        )

    def _optimiser(self) -> tuple[Optimiser, float]:
        factory, rate = OPTIMISERS[self.recipe.optimiser]
        return (self.context.optimiser or factory)(), rate

    def _initial(self, shape: Shape, choice: Choice) -> Params:
        coordinates = CoordinateMap(self.layout, choice.output_axes)
        half = np.asarray([n - 1 for n in coordinates.input_shape], np.float64) / 2
        return init_folded(self.context.seed, shape.inputs, shape.width, shape.depth, shape.outputs, half * choice.frequency)

    def plan(self, shape: Shape, target: Target, share: float = 1.0) -> Plan:
        """Steps for the effort: a number of multiplications, so that work is known beforehand and reproducible."""
        points = target.coordinates.n_points
        # Large networks see fewer points a step, so that a step stays short and the schedule fine.
        most = 1 << max(10, int(np.log2(2**30 / shape.n_weights)))
        batch = int(np.clip(1 << (points.bit_length() - 1), 256, min(8192, most)))
        flops = 1.25e11 * 2.0**self.context.effort * max(1.0, np.sqrt(self.layout.size / 4e6))
        # A step of the smallest network still costs what 5e7 weights times points do.
        steps = int(np.clip(flops / (6 * (shape.n_weights * batch + 5e7)), 320, 20000))
        _, rate = self._optimiser()
        deadline = self.context.deadline.share(share)
        return Plan(
            max(64, int(steps * share)), batch, rate, seed=self.context.seed, deadline=deadline,
            learn_frequency=self.recipe.learn_frequency,
        )

    def _trial(self, limit: int) -> Choice:
        """Try outputs, then frequencies, each for a few percent of the work; the lowest loss wins."""
        frequencies = (self.recipe.frequency,) if self.recipe.frequency else FREQUENCIES
        choices = [Choice(axes, frequencies[0]) for axes in self._output_choices()]
        allowed = self.context.deadline.remaining
        best = self._best(limit, choices, allowed)
        return self._best(limit, [Choice(best.output_axes, f) for f in frequencies], allowed)

    def _best(self, limit: int, choices: list[Choice], allowed: float) -> Choice:
        """The choice of lowest loss; those that time forbids to try (a fifth of what is allowed) are left out."""
        losses: list[float] = []
        for choice in choices if len(choices) > 1 else []:
            losses.append(self._trial_loss(limit, choice))
            if self.context.deadline.remaining < 0.8 * allowed:
                break
        return choices[int(np.argmin(losses))] if losses else choices[0]

    def _trial_loss(self, limit: int, choice: Choice) -> float:
        shape = self.design(limit, choice.output_axes)
        if shape is None:
            return float("inf")
        target = self.target(choice.output_axes)
        optimiser, _ = self._optimiser()
        self.context.progress(0.0, "trial")
        loss = fit(target, self._initial(shape, choice), optimiser, self.plan(shape, target, share=0.03)).loss
        return loss if np.isfinite(loss) else float("inf")

    def _finish(self, limit: int, params: Params, shape: Shape, choice: Choice, start: float,
                ) -> tuple[bytes, State | None, bool]:
        """Fit with the quantiser in the loop at the end, then code within the limit."""
        target = self.target(choice.output_axes)
        optimiser, _ = self._optimiser()
        plan = self.plan(shape, target, share=1.0 - start if start else 1.0)
        if start:
            plan = replace(plan, start=start, quantise_at=(0.0, 0.6))

        def requantise(params: Params) -> Params:
            found = self._quantise(limit, State(params, shape, choice), target)
            steps = [0.0] * (len(shape.fans) + 2) if found is None else [float(step_size(c)) for c in found.steps]
            return as_params(steps, params)

        fitted = fit(
            target, params, optimiser, plan, requantise=requantise, objective=self.context.objective,
            progress=lambda done: self.context.progress(done, "fit"),
        )
        return self._code(limit, State(fitted.params, shape, choice))

    # -- code -----------------------------------------------------------------------------------------------------

    def _code(self, limit: int, state: State) -> tuple[bytes, State | None, bool]:
        """Quantise fitted weights to the limit and code them."""
        quantised = self._quantise(limit, state, self.target(state.choice.output_axes))
        if quantised is None:
            return self._constant(), None, False
        data = pack_quantised(quantised, state.choice.output_axes, self.mapping, self.layout)
        # Weights at their finest and bytes left over: more bytes would only refine what no longer shows.
        return data, state, len(data) < 0.98 * limit

    def _quantise(self, limit: int, state: State, target: Target) -> Quantised | None:
        """The finest quantised weights that fit, None where none do."""
        sample = evaluation_batch(target, int(np.clip(2**30 / state.shape.n_weights, 1 << 10, 1 << 14)))
        relative = group_steps(state.params, sample.x, sample.weight)
        return Rate(state.shape, relative, self._size(state.choice)).search(to_groups(state.params), limit)

    def _size(self, choice: Choice) -> Callable[[Quantised], int]:
        return lambda q: len(pack_quantised(q, choice.output_axes, self.mapping, self.layout))

    def _constant(self) -> bytes:
        """The smallest network: no sine layers, one value per channel."""
        output_axes = "".join(a for a in self.layout.axes if a in "CS")
        outputs = CoordinateMap(self.layout, output_axes).n_outputs
        blank = Quantised(Shape(0, 0, 0, outputs), (np.zeros(outputs, np.int64),), (128,))
        return pack_quantised(blank, output_axes, self.mapping, self.layout)


def _per_channel(block: npt.NDArray[Any], layout: Layout) -> list[npt.NDArray[Any]]:
    """Values of every channel, C and S in C order."""
    axes = layout.channel_axes
    moved = np.moveaxis(block, axes, range(len(axes))).reshape(layout.channels, -1)
    return list(moved)

"""Fit the groups of a part one after another, each from its ancestor, and code them into a byte limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding.weights import step_size
from microfield.image import CHANNELS, Layout
from microfield.methods.base import Context
from microfield.methods.coordinate.bitstream import Shape
from microfield.methods.coordinate.effort import steps_for
from microfield.methods.coordinate.mapping import Mapping, fit_mapping
from microfield.methods.coordinate.quantise import group_steps
from microfield.methods.sincs import ancestry
from microfield.methods.sincs.bitstream import Head, pack, predicted, tensor_extents, values_of
from microfield.methods.sincs.decoder import SincsDecoder, channels_of
from microfield.methods.sincs.design import Design, Recipe, designed, smallest_share
from microfield.methods.sincs.grouping import undivided
from microfield.methods.sincs.published import RATE, EncodedTarget
from microfield.methods.sincs.quantiser import Forest, StepSearch, Tensors
from microfield.methods.sincs.transfer import price_of_bits, quantiser_of, to_params, to_tensors, transferred
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.fit import FitSchedule, Hooks, Pull, evaluation_loss, fit, no_quantiser
from microfield.nn.network import Params, init_folded, init_rectified
from microfield.nn.optimisers import Optimiser, optimiser_and_rate
from microfield.nn.sampling import Target, evaluation_batch
from microfield.saliency import FLOOR, structure_map

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

REUSABLE = (0.4, 1.25)
"""Fitted groups are tuned rather than fitted anew where the design for the new limit has from 0.4 to 1.25 times their weights."""

SENSITIVITY_POINTS = 1 << 12
"""Points on which is measured how much each tensor matters."""

FILLED = 0.98
"""A part that takes less than this share of its limit gains nothing from more bytes."""


@dataclass(frozen=True)
class State:
    """A warm start: the design of a part and the fitted weights of its groups."""

    design: Design
    tensors: tuple[Tensors, ...]
    relative: npt.NDArray[np.float64]
    ancestors: ancestry.Ancestors


class Coded(NamedTuple):
    """Bytes of a part, a warm start (None for a part of constants), whether more bytes would not help, whether the part builds on
    its parent, and what the deadline made the encoder leave out.
    """

    data: bytes
    state: State | None
    exhausted: bool
    continued: bool = False
    shortened: tuple[str, ...] = ()


class PartEncoder:
    """Encodes one part; holds what several attempts at it share."""

    def __init__(self, block: npt.NDArray[Any], layout: Layout, recipe: Recipe, context: Context) -> None:
        self.block, self.layout, self.recipe, self.context = block, layout, recipe, context
        moved = np.moveaxis(block, layout.channel_axes, range(len(layout.channel_axes))).reshape(layout.channels, -1)
        self.mapping: Mapping = fit_mapping(list(moved), context.unit)
        self.parent: SincsDecoder | None = None
        self.spent = 0.0
        """What was begun of the fits, in units of a first one."""
        self.shortened: set[str] = set()

    def encode(self, limit: int, state: State | None = None) -> Coded:
        """Encode into at most ``limit`` bytes; ``state`` of an earlier attempt is tuned where that is enough."""
        constant = not np.any(self.mapping.maximum > self.mapping.minimum)
        design = None if constant else designed(self.layout, self.recipe, self.mapping, limit)
        if design is None:
            return Coded(self._constant(), None, constant)
        self.parent = self._usable_parent(design)
        if self.parent is not None:
            design = replace(design, shape=self.parent.head.shape)
        if state is not None and self.parent is not None and self.parent.head.shape != state.design.shape:
            # The parent came out otherwise this time.
            self.parent = None
        if state is not None and self.context.reuse:
            return self._code(limit, state)
        if state is not None:
            fewest, most = (factor * state.design.shape.n_weights * state.design.groups.n for factor in REUSABLE)
            if fewest <= design.shape.n_weights * design.groups.n <= most:
                return self._code(limit, self._tuned(limit, state))
            self.parent = self._usable_parent(design)
        state = self._fitted(limit, design)
        if design.groups.n > 1:
            state = self._tuned(limit, state)
        return self._code(limit, state)

    def _usable_parent(self, design: Design) -> SincsDecoder | None:
        """The part that this one may build on, where its networks are about as large as the limit asks for."""
        parent = self.context.parent
        if parent is None or not isinstance(parent.decoder, SincsDecoder) or not self.recipe.transfer:
            return None
        shape = parent.decoder.head.shape
        alike = (shape.inputs, shape.outputs, shape.depth) == (design.shape.inputs, design.shape.outputs, design.shape.depth)
        alike &= parent.decoder.head.rectified == self.recipe.paper
        return parent.decoder if alike and REUSABLE[0] <= shape.n_weights / design.shape.n_weights <= 1 / REUSABLE[0] else None

    # -- what a group is fitted to --------------------------------------------------------------------------------------

    def target(self, design: Design, group: int) -> Target:
        """What the network of a group is fitted to, on the coordinates of a group of full extents."""
        full = self.layout.with_shape(design.groups.extents)
        box = design.groups.box(group)
        channels = channels_of(self.layout, box, full)
        relative = self.mapping.scale / self.context.unit
        typical = np.sqrt(np.mean(relative[relative > 0] ** 2))
        weight = (relative / typical) ** 2 * self.context.channel_weights / self.context.channel_weights.mean()
        probability = self._probability(box)
        return (EncodedTarget if self.recipe.paper else Target)(
            CoordinateMap(full, design.output_axes), _padded(self.block[box], full.shape), self.mapping.scale[channels],
            self.mapping.offset[channels], weight[channels].astype(np.float32), None,
            _present(self.block[box].shape, full.shape, probability),
        )

    def _probability(self, box: tuple[slice, ...]) -> npt.NDArray[np.float64] | None:
        """Relative frequency with which the voxels of a group are drawn; None where all are drawn equally often."""
        if self._drawn_from is None:
            return None
        return np.asarray(self._drawn_from[box], np.float64)

    @cached_property
    def _drawn_from(self) -> npt.NDArray[np.float32] | None:
        """What the user says matters, else the structure of the image, with a floor for the rest."""
        weights = self.context.objective.weights
        if weights is None and self.recipe.sampling == "structure":
            weights = structure_map(self.block, self.layout)
        if weights is None or weights.max() == weights.min():
            return None
        return weights + np.float32(FLOOR / (1 - FLOOR) * weights.mean(dtype=np.float64))

    # -- fits -------------------------------------------------------------------------------------------------------------

    def _optimiser(self) -> tuple[Optimiser, float]:
        optimiser, rate = optimiser_and_rate(self.recipe.optimiser)
        rate = RATE if self.recipe.paper else rate
        return (self.context.optimiser() if self.context.optimiser else optimiser), rate

    def schedule(self, design: Design, share: float, start: float, **more: Any) -> FitSchedule:
        """How the fit of a group runs that gets this share of the steps of a first one."""
        points = math.prod(design.groups.extents)
        batch = int(np.clip(1 << (points.bit_length() - 1), SMALLEST_BATCH, LARGEST_BATCH))
        whole = self._work(design)
        steps = steps_for(self.context.effort, self.layout.size, design.shape.n_weights, batch, whole)
        left = max(share, whole - self.spent)
        self.spent += share
        return FitSchedule(max(FEWEST_STEPS, int(steps * share)), batch, self._optimiser()[1], start=start, seed=self.context.seed,
                           deadline=self.context.deadline.share(share / left), **more)

    def _work(self, design: Design) -> float:
        """What all fits of a part come to, in units of a first one."""
        n = design.groups.n
        return 1 + (n - 1) * (WARM_SHARE if self.recipe.transfer else 1.0) + n * TUNING_SHARE * (n > 1)

    def _initial(self, design: Design, frequency: float) -> Params:
        """Random weights of a network."""
        shape = design.shape
        if self.recipe.paper:
            return init_rectified(self.context.seed, shape.inputs, shape.width, shape.depth, shape.outputs)
        coordinates = CoordinateMap(self.layout.with_shape(design.groups.extents), design.output_axes)
        voxels = np.asarray([n - 1 for n in coordinates.input_shape], np.float64) / 2
        return init_folded(self.context.seed, shape.inputs, shape.width, shape.depth, shape.outputs, voxels * frequency)

    def _frequency(self, design: Design, target: Target) -> float:
        """The initial frequency of least loss in short fits."""
        if self.recipe.frequency or self.recipe.paper:
            return self.recipe.frequency
        losses = []
        for frequency in FREQUENCIES:
            self.context.progress(0.0, "trial")
            schedule = self.schedule(design, TRIAL_SHARE, 0.0)
            losses.append(fit(target, self._initial(design, frequency), self._optimiser()[0], schedule).loss)
        return FREQUENCIES[int(np.nanargmin(losses))]

    def _fitted(self, limit: int, design: Design) -> State:
        """All groups fitted, each from its ancestor, with the quantiser that the first one found."""
        ancestors = self._ancestors(design)
        order = ancestry.order(ancestors)
        first = self.target(design, order[0])
        frequency = self._frequency(design, first)
        drawn = self._initial(design, frequency)
        share = smallest_share(design.groups.n, self.recipe)
        found = _First(self, design, first, limit if design.groups.n == 1 else int(limit * share))
        fitted: dict[int, Params] = {}
        for done, group in enumerate(order):
            target = first if not done else self.target(design, group)
            fitted[group] = found.fit(target, self._begin(fitted, ancestors[group], drawn), (done, design.groups.n))
        tensors = tuple(to_tensors(fitted[g], design.shape) for g in range(design.groups.n))
        return State(design, tensors, found.relative, ancestors)

    def _begin(self, fitted: dict[int, Params], above: int | None, drawn: Params) -> tuple[Params, Params | None]:
        """Where the fit of a group begins, and what it is held near."""
        before = fitted[above] if above is not None else None
        if before is None and self.parent is not None:
            head = self.parent.head
            before = to_params(values_of(self.parent.weights(0), head.steps), self.recipe.paper)
        if before is None or not self.recipe.transfer:
            return drawn, None
        return transferred(before, drawn, self.recipe.reset), before

    def _ancestors(self, design: Design) -> ancestry.Ancestors:
        """Which group builds on which."""
        boxes = [design.groups.box(g) for g in range(design.groups.n)]
        span = float(np.ptp(self.block)) or 1.0
        signatures = [ancestry.signature(self.block[box].astype(np.float64) / span) for box in boxes]
        return ancestry.chosen(signatures, self.recipe.chain, self.recipe.grouping)

    def _tuned(self, limit: int, state: State) -> State:
        """The groups after a short pass with the quantiser steps that fit the limit."""
        search = self._search(state).search(limit)
        if search is None:
            return state
        steps = [float(step_size(c)) for c in search[0]]
        design, n = state.design, state.design.groups.n
        quantiser = quantiser_of(steps, design.shape.depth, self.recipe.paper)
        share = TUNING_SHARE if n > 1 else WARM_SHARE / 2
        # Where nothing was fitted before it, all of the time is for this pass.
        self.spent = max(self.spent, self._work(design) - n * share)
        tuned: dict[int, Params] = {}
        for done, group in enumerate(ancestry.order(state.ancestors)):
            target, begin = self.target(design, group), to_params(state.tensors[group], self.recipe.paper)
            above = state.ancestors[group]
            # A root is held near itself: what builds on it was fitted near where it was.
            pull = self._pull(target, begin, begin if above is None else tuned[above], quantiser) if n > 1 else None
            schedule = self.schedule(design, share, TUNING_START, quantise_at=(0.0,), learn_frequency=False)
            tuned[group] = fit(target, begin, self._optimiser()[0], schedule, objective=self.context.objective, pull=pull,
                               hooks=Hooks(lambda _: quantiser, self._progress(done, n, "tuning"))).params
        return replace(state, tensors=tuple(to_tensors(tuned[g], design.shape) for g in range(n)))

    def _pull(self, target: Target, begin: Params, centre: Params, quantiser: Params) -> Pull | None:
        """What holds a group near its ancestor."""
        if not self.recipe.pull:
            return None
        sample = evaluation_batch(target, SENSITIVITY_POINTS)
        rough, exact = (evaluation_loss(begin, sample, q) for q in (quantiser, no_quantiser(begin)))
        return Pull(centre, quantiser, self.recipe.pull * price_of_bits(rough, exact, sum(w.size for w in begin.weights)))

    def _progress(self, done: int, n: int, what: str) -> Any:
        name = what if n == 1 else f"{what}, group {done + 1}/{n}"
        return lambda fraction: self.context.progress(min(1.0, (done + fraction) / n), name)

    # -- code -----------------------------------------------------------------------------------------------------------

    def forest(self, design: Design, tensors: Sequence[Tensors], ancestors: ancestry.Ancestors) -> Forest:
        """The weights of groups and what they are coded against."""
        return Forest(tensors, ancestors, lambda codes: self._root(design, codes), not self.recipe.residual)

    def _root(self, design: Design, codes: Sequence[int]) -> list[npt.NDArray[np.int64]]:
        if self.parent is None:
            return [np.zeros(size, np.int64) for size in tensor_extents(design.shape)]
        return predicted(self.parent.weights(0), self.parent.head.steps, codes)

    def head(self, design: Design, ancestors: ancestry.Ancestors, steps: Sequence[int]) -> Head:
        """The head of the part."""
        coded = ancestors if self.recipe.residual else (None,) * len(ancestors)
        return Head(design.shape, design.output_axes, self.mapping, design.groups, coded, tuple(steps),
                    rectified=self.recipe.paper, continued=self.parent is not None)

    def _search(self, state: State) -> StepSearch:
        design = state.design

        def size(codes: Sequence[int], weights: Sequence[bytes]) -> int:
            return len(pack(self.head(design, state.ancestors, codes), self.layout, weights))

        around = size((0,) * len(tensor_extents(design.shape)), [b""] * design.groups.n)
        return StepSearch(self.forest(design, state.tensors, state.ancestors), state.relative, size, around)

    def _code(self, limit: int, state: State) -> Coded:
        """Quantise fitted weights to the limit and code them."""
        found = self._search(state).search(limit)
        if found is None:
            return Coded(self._constant(), None, False)
        data = pack(self.head(state.design, state.ancestors, found[0]), self.layout, found[1])
        return Coded(data, state, len(data) < FILLED * limit, self.parent is not None, tuple(sorted(self.shortened)))

    def _constant(self) -> bytes:
        """A part of one value per channel."""
        output_axes = "".join(a for a in self.layout.axes if a in CHANNELS)
        outputs = CoordinateMap(self.layout, output_axes).n_outputs
        return Head(Shape(0, 0, 0, outputs), output_axes, self.mapping, undivided(self.layout.shape)).pack(self.layout)


class _First:
    """The fits of all groups in turn: the first one finds the quantiser steps and the quality that the others share."""

    def __init__(self, encoder: PartEncoder, design: Design, target: Target, limit: int) -> None:
        self.encoder, self.design, self.target, self.limit = encoder, design, target, limit
        self.relative = np.ones(len(tensor_extents(design.shape)))
        self.quantiser: Params | None = None
        self.goal = 0.0

    def fit(self, target: Target, begin: tuple[Params, Params | None], place: tuple[int, int]) -> Params:
        """Fit one group."""
        encoder, params, centre = self.encoder, *begin
        progress = encoder._progress(*place, "fit")
        optimiser = encoder._optimiser()[0]
        if self.quantiser is None:
            schedule = encoder.schedule(self.design, 1.0, 0.0)
            done = fit(target, params, optimiser, schedule, objective=encoder.context.objective, hooks=Hooks(self._steps, progress))
            self.goal = done.loss
        else:
            quantiser = self.quantiser
            share = 1.0 if centre is None else WARM_SHARE
            schedule = encoder.schedule(self.design, share, 0.0, quantise_at=(0.0,) if centre is not None else (0.75,),
                                        learn_frequency=False, goal=self.goal if encoder.recipe.early else 0.0)
            pull = None if centre is None else encoder._pull(target, centre, centre, quantiser)
            done = fit(target, params, optimiser, schedule, objective=encoder.context.objective, pull=pull,
                       hooks=Hooks(lambda _: quantiser, progress))
        if math.isfinite(schedule.deadline.end) and done.steps < schedule.steps and not done.loss <= schedule.goal:
            encoder.shortened.add("some of the steps of a fit")
        return to_params(to_tensors(done.params, self.design.shape), encoder.recipe.paper)

    def _steps(self, params: Params) -> Params:
        """Quantiser steps at which the first group takes its share of the limit."""
        encoder, design = self.encoder, self.design
        sample = evaluation_batch(self.target, SENSITIVITY_POINTS)
        self.relative = group_steps(params, sample.x, sample.weight)
        tensors = to_tensors(params, design.shape)
        forest = encoder.forest(design, [tensors], (None,))
        head = encoder.head(replace(design, groups=undivided(encoder.layout.shape)), (None,), (0,) * len(tensors))
        around = len(head.pack(encoder.layout))
        search = StepSearch(forest, self.relative, lambda _, weights: around + len(weights[0]), around)
        found = search.search(self.limit)
        codes = found[0] if found is not None else search.codes(1.0)
        steps = [float(step_size(c)) for c in codes]
        self.quantiser = quantiser_of(steps, design.shape.depth, encoder.recipe.paper)
        factor = float(params.frequency)
        hidden = [s / factor for s in steps[:-3]]
        return quantiser_of([*hidden, steps[-3], steps[-2] / factor, steps[-1]], design.shape.depth, encoder.recipe.paper)


def _padded(values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A group at the border, its last voxels repeated up to full extents; those are never drawn."""
    if values.shape == shape:
        return values
    return np.pad(values, [(0, n - m) for n, m in zip(shape, values.shape, strict=True)], mode="edge")


def _present(extents: tuple[int, ...], shape: tuple[int, ...], probability: npt.NDArray[np.float64] | None,
             ) -> npt.NDArray[np.float64] | None:
    """Frequencies of the voxels of a group in an array of full extents: 0 for those that are not there."""
    if extents == shape:
        return probability
    out = np.zeros(shape)
    out[tuple(slice(0, n) for n in extents)] = 1.0 if probability is None else probability
    return out

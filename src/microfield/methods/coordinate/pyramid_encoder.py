"""Encode a part as a small network that sees a pyramid of latents: design, fit, and code under a byte limit.

Latents take most of the bytes, and the network, which mixes their features with the coordinates, the rest. During the fit the price
of bits holds the latents at their share; the weights then get the finest steps for which the file is not too large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microfield.coding.latents import CLASSES, LARGEST_LATENT, estimate_bits, expected
from microfield.coding.weights import estimate_bits as bits_of_weights
from microfield.coding.weights import step_size
from microfield.image import CHANNELS
from microfield.methods.coordinate.bitstream import PYRAMID_AXES, Quantised, Shape, pack_pyramid, pack_quantised
from microfield.methods.coordinate.effort import steps_for
from microfield.methods.coordinate.pyramid_start import first_latents
from microfield.methods.coordinate.quantise import Rate, as_params, group_steps, to_groups
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.fit import FitSchedule
from microfield.nn.network import Params, scaled_features, with_features
from microfield.nn.pyramid import FINEST, MOST_FEATURES, MOST_LEVELS, Pyramid
from microfield.nn.pyramid_fit import Room, fit_pyramid
from microfield.nn.pyramid_points import positions_of_a_step
from microfield.nn.sampling import Target, evaluation_batch

if TYPE_CHECKING:
    from microfield.methods.coordinate.encoder import Coded, PartEncoder, State

Ints = npt.NDArray[np.int64]

LEAST_BYTES = 2000
"""Parts of fewer bytes are better served by a network of coordinates alone."""

NETWORK_SHARE = 0.1
"""Share of the bytes that the weights of the network take."""

WIDTHS, DEPTH = (8, 48), 2
"""Narrowest and widest sine layers, in steps of 4, and their number."""

LEAST_BITS_PER_LATENT = 0.5
"""Pyramids with less room for a latent of their finest level than this are coarser, first along the axes where they are finest."""

FINEST_EXPONENT, COARSEST_EXTENT = 1, 8
"""A latent of the finest level has 2^1 voxels along X and Y, at first; levels are added until an axis has this few latents."""

SMOOTHER = (0.4, 1.6)
"""An axis along which the image changes by less than the first times what it changes along X and Y begins one level coarser; above
the second, squared for every further level, it begins finer."""

FREQUENCY = 0.08
"""Largest initial frequency of the network, in radians per voxel."""

FACTORS, HALVINGS = (1 / 64, 4.0), 12
"""Latents are multiplied with a number between these, found in so many halvings, until they fill their room: the finer or coarser
steps of a quantiser.
"""

LEAST_BATCH, BATCH_SHARE = 8192, 40
"""Points of a step: at least the first number, and one in the second, so that every latent is seen often enough."""

MOST_POINTS = 1 << 24
"""Parts of more points are left to networks of coordinates alone: they would take too much memory."""

OPERATIONS_PER_LATENT = 700
"""A latent takes as long in a step as this many weights times points."""


@dataclass(frozen=True)
class Plan:
    """A pyramid with the network that sees it; ``output_axes`` are the axes of its outputs."""

    pyramid: Pyramid
    shape: Shape
    output_axes: str


def plan_pyramid(part: PartEncoder, limit: int) -> Plan | None:
    """The pyramid and network for this many bytes; None where a pyramid cannot serve the part, or has no room."""
    output_axes = "".join(a for a in part.layout.axes if a in CHANNELS)
    coordinates = CoordinateMap(part.layout, output_axes)
    axes = [part.layout.axes[i] for i in coordinates.inputs]
    if limit < LEAST_BYTES or coordinates.n_points > MOST_POINTS:
        return None
    if not axes or not set(axes) <= set(PYRAMID_AXES) or part.context.objective.guidance is not None:
        return None
    if coordinates.n_outputs > MOST_FEATURES or part.recipe.outputs not in ("auto", output_axes):
        return None
    room = 8 * limit * (1 - NETWORK_SHARE)
    pyramid = _pyramid(_exponents(part.block, coordinates), coordinates, room)
    width = max((w for w in range(WIDTHS[0], WIDTHS[1] + 1, 4)
                 if _shape(coordinates, pyramid, w).n_weights * part.recipe.bits_per_weight <= 8 * limit * NETWORK_SHARE),
                default=WIDTHS[0])
    plan = Plan(pyramid, _shape(coordinates, pyramid, width), output_axes)
    return plan if _room(part, limit, plan) > 8 * CLASSES * 4 else None


def _shape(coordinates: CoordinateMap, pyramid: Pyramid, width: int) -> Shape:
    """The network of this width."""
    return Shape(len(coordinates.inputs), width, DEPTH, coordinates.n_outputs, pyramid.n_features)


def _pyramid(finest: tuple[int, ...], coordinates: CoordinateMap, bits: float) -> Pyramid:
    """The finest pyramid that so many bits are enough for, of as many levels as make sense."""
    extents, features = coordinates.input_shape, coordinates.n_outputs
    while True:
        levels = 1
        while levels < MOST_LEVELS and max(Pyramid(extents, finest, levels, features).shapes[-1][1:]) > COARSEST_EXTENT:
            levels += 1
        pyramid = Pyramid(extents, finest, levels, features)
        if levels == 1 or max(finest) == FINEST[1] or math.prod(pyramid.shapes[0]) * LEAST_BITS_PER_LATENT <= bits:
            return pyramid
        coarser = finest.index(min(finest))
        finest = tuple(e + (k == coarser) for k, e in enumerate(finest))


def _exponents(block: npt.NDArray[Any], coordinates: CoordinateMap) -> tuple[int, ...]:
    """Exponents of the finest level: those of Z and T follow from how much the image changes along them.

    Changes are measured between means of 2 by 2 voxels, so that noise counts less.
    """
    axes = [coordinates.layout.axes[i] for i in coordinates.inputs]
    plane = [k for k, axis in enumerate(axes) if axis in "YX"]
    rest = tuple(i for i in range(block.ndim) if i not in coordinates.inputs)
    values: npt.NDArray[Any] = block.transpose(coordinates.inputs + rest).reshape(*coordinates.input_shape, -1).astype(np.float32)
    for k in plane:
        if values.shape[k] > 3:
            pairs = np.moveaxis(values, k, 0)[: values.shape[k] // 2 * 2]
            values = np.moveaxis((pairs[::2] + pairs[1::2]) / 2, 0, k)
    changes = [float(np.mean(np.diff(values, axis=k) ** 2)) if values.shape[k] > 1 else 0.0 for k in range(len(axes))]
    usual = float(np.mean([changes[k] for k in plane])) if plane else 0.0
    exponents = []
    for k in range(len(axes)):
        # Neighbours in a plane of means lie two voxels apart, those along another axis one.
        ratio = math.sqrt(changes[k] / usual) if k not in plane and usual > 0 else 1.0
        coarser = 1 if ratio < SMOOTHER[0] else 0
        finer = 0 if ratio <= SMOOTHER[0] else max(0, math.ceil(math.log2(ratio / SMOOTHER[0]) - 0.5))
        exponents.append(FINEST_EXPONENT + (0 if k in plane else coarser - min(finer, 8)))
    return tuple(exponents)


def _pack(part: PartEncoder, quantised: Quantised, output_axes: str, pyramid: bytes) -> bytes:
    return pack_quantised(quantised, output_axes, part.mapping, part.layout, pyramid)


def _overhead(part: PartEncoder, shape: Shape, output_axes: str, pyramid: Pyramid) -> int:
    """Bytes of a part that are neither weights nor latents."""
    zeros = tuple(np.zeros(n, np.int64) for n in shape.group_sizes)
    blank = [np.zeros(s, np.int64) for s in pyramid.shapes]
    return len(_pack(part, Quantised(shape, zeros, (128,) * len(zeros)), output_axes, pack_pyramid(pyramid, blank)))


def _room(part: PartEncoder, limit: int, plan: Plan) -> float:
    """Bits for latents beside weights of the planned size."""
    weights = plan.shape.n_weights * part.recipe.bits_per_weight
    return 8 * (limit - _overhead(part, plan.shape, plan.output_axes, plan.pyramid)) - weights


def encode_pyramid(part: PartEncoder, limit: int, plan: Plan, state: State | None) -> Coded:
    """Encode into at most ``limit`` bytes; a state, which has a pyramid, is tuned."""
    from microfield.methods.coordinate.encoder import TUNING_QUANTISES_AT, TUNING_START, Choice, State

    if state is not None and state.pyramid is not None:
        schedule = replace(_schedule(part, state.shape, state.pyramid, 1 - TUNING_START), start=TUNING_START,
                           quantise_at=TUNING_QUANTISES_AT)
        return _fit(part, limit, state, schedule)
    choice = Choice(plan.output_axes, part.recipe.frequency or FREQUENCY)
    plain = part.initial(replace(plan.shape, features=0), choice)
    latents, gain = first_latents(part.target(plan.output_axes), plan.pyramid, _room(part, limit, plan))
    params = with_features(plain, part.context.seed, plan.pyramid.levels, gain)
    begin = State(params, plan.shape, choice, plan.pyramid, latents)
    return _fit(part, limit, begin, _schedule(part, plan.shape, plan.pyramid, 1.0))


def _schedule(part: PartEncoder, shape: Shape, pyramid: Pyramid, share: float) -> FitSchedule:
    """How a fit runs at the context's effort, or the given share of one."""
    from microfield.methods.coordinate.encoder import FEWEST_STEPS

    batch = max(LEAST_BATCH, math.prod(pyramid.extents) // BATCH_SHARE)
    points = math.prod(positions_of_a_step(pyramid.extents, batch))
    weights = shape.n_weights + (OPERATIONS_PER_LATENT * pyramid.n_latents) // points
    steps = steps_for(part.context.effort, part.layout.size, weights, points)
    return FitSchedule(
        max(FEWEST_STEPS, int(steps * share)), batch, part.optimiser()[1], seed=part.context.seed,
        deadline=part.context.deadline.share(share), learn_frequency=part.recipe.learn_frequency)


def _fit(part: PartEncoder, limit: int, begin: State, schedule: FitSchedule) -> Coded:
    """Fit from ``begin`` and code."""
    pyramid = begin.pyramid
    assert pyramid is not None
    target = part.target(begin.choice.output_axes)
    sample = _Sample.of(target, pyramid)

    def requantise(params: Params, latents: list[Ints]) -> Params:
        """Steps at which the weights take the bytes that are planned for them."""
        relative = group_steps(params, sample.x, sample.weight, sample.features(latents))
        planned = int(part.recipe.bits_per_weight * begin.shape.n_weights / 8)
        found = Rate(begin.shape, relative, lambda q: int(bits_of_weights(q.groups) / 8)).search(to_groups(params), planned)
        steps = [0.0] * len(relative) if found is None else [float(step_size(c)) for c in found.steps]
        return as_params(steps, params)

    room = _room(part, limit, Plan(pyramid, begin.shape, begin.choice.output_axes))
    fitted = fit_pyramid(target, pyramid, (begin.params, begin.latents), part.optimiser()[0], schedule,
                         Room(max(room, 8.0), _measure), requantise, lambda done: part.context.progress(done, "fit"))
    coded = code_pyramid(part, limit, replace(begin, params=fitted.params, latents=fitted.latents))
    if math.isfinite(schedule.deadline.end) and fitted.steps < schedule.steps:
        coded = coded._replace(shortened=(f"{1 - fitted.steps / schedule.steps:.0%} of the steps of a fit",))
    return coded


def _measure(latents: list[Ints]) -> tuple[float, list[npt.NDArray[np.float32]]]:
    """`expected` of rounded latents, cut to the largest that the coder knows."""
    return expected([np.clip(z, -LARGEST_LATENT, LARGEST_LATENT) for z in latents])


@dataclass(frozen=True)
class _Sample:
    """Points by which weights are judged: coordinates, weights of errors, and positions along the axes of a pyramid."""

    x: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    pyramid: Pyramid
    index: tuple[npt.NDArray[np.intp], ...]

    @classmethod
    def of(cls, target: Target, pyramid: Pyramid, points: int = 1 << 12) -> _Sample:
        batch = evaluation_batch(target, points)
        extents = np.asarray(pyramid.extents)
        index = np.rint((batch.x.astype(np.float64) + 1) / 2 * (extents - 1)).astype(np.intp)
        return cls(batch.x, batch.weight, pyramid, tuple(index.T))

    def features(self, latents: Sequence[Any]) -> npt.NDArray[np.float32]:
        """Features of the points, (points, features)."""
        return self.pyramid.values(latents, self.index).T


def code_pyramid(part: PartEncoder, limit: int, state: State) -> Coded:
    """Round latents and weights of a fitted state, which has a pyramid, to the limit and code them."""
    from microfield.methods.coordinate.encoder import FILLED, Coded

    pyramid, axes = state.pyramid, state.choice.output_axes
    assert pyramid is not None
    rounded, factor = _to_bits(state.latents, _room(part, limit, Plan(pyramid, state.shape, axes)))
    params = scaled_features(state.params, 1 / factor)
    packed = pack_pyramid(pyramid, rounded)
    sample = _Sample.of(part.target(axes), pyramid)
    relative = group_steps(params, sample.x, sample.weight, sample.features(rounded))
    found = Rate(state.shape, relative, lambda q: len(_pack(part, q, axes, packed))).search(to_groups(params), limit)
    if found is None:
        return Coded(part.constant(), None, False)
    data = _pack(part, found, axes, packed)
    return Coded(data, state, len(data) < FILLED * limit)


def _to_bits(latents: Sequence[npt.NDArray[Any]], bits: float) -> tuple[list[Ints], float]:
    """Latents times a factor, rounded, and the factor: the largest with which they take no more than ``bits``, within `FACTORS`."""

    def rounded(factor: float) -> list[Ints]:
        return [np.clip(np.rint(z * factor), -LARGEST_LATENT, LARGEST_LATENT).astype(np.int64) for z in latents]

    low, high = FACTORS
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if estimate_bits(rounded(middle)) <= bits else (low, middle)
    return rounded(low), low

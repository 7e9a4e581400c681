"""The published configuration of INIF and of its SIREN baseline (`paper=true`), for comparison only.

Seven linear layers with sines between them, float32 weights, every axis a coordinate (channels and time too), grey
values 0..100 over the part's minimum and maximum, the largest width that fits (Dai et al. 2024; details from the authors'
public code). Their learned optimiser, VeLO, needs weights that cannot be shipped, so Adamax takes its place unless
``optimiser=velo`` names a checkpoint, as in the authors' own baseline. What this configuration reaches with Adamax is therefore not
what the paper reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microfield.image import Layout
from microfield.methods.base import Context
from microfield.methods.coordinate.bitstream import Published, Shape, pack_published, published_bytes
from microfield.methods.coordinate.effort import steps_for
from microfield.nn.coordinates import CoordinateMap

if TYPE_CHECKING:
    from microfield.nn.network import Params

SINE_LAYERS = 6

BATCH = 32768
"""Points per step, fewer for smaller parts."""

RATE = 2e-3
"""Peak learning rate."""

TARGET_SPAN = 100
"""The published targets run from 0 to this over the range of the grey values."""

MAX_WIDTH = 4095
"""Widest network that is tried."""


def published_shape(layout: Layout, limit: int) -> Shape | None:
    """The widest published network whose part takes at most ``limit`` bytes; None where not even width 1 does."""
    inputs = len(CoordinateMap(layout, "").inputs)
    best = None
    for width in range(1, MAX_WIDTH + 1):
        shape = Shape(inputs, width, SINE_LAYERS, 1)
        if published_bytes(shape) > limit:
            break
        best = shape
    return best


@dataclass(frozen=True)
class PublishedRecipe:
    """What tells the published INIF from its SIREN baseline: the frequency factor of all sines, and whether it is learned.

    ``optimiser`` is its name, and ``velo`` the path of a checkpoint for that of this name.
    """

    frequency: float
    learn_frequency: bool
    optimiser: str = "adamax"
    velo: str = ""


def fit_published(block: npt.NDArray[Any], layout: Layout, shape: Shape, recipe: PublishedRecipe, context: Context) -> bytes:
    """Fit the published configuration to a block and return the bytes of the part."""
    from microfield.nn.fit import FitSchedule, Hooks, fit
    from microfield.nn.network import init_published
    from microfield.nn.optimisers import optimiser_and_rate
    from microfield.nn.sampling import Target

    low, high = float(block.min()), float(block.max())
    scale = np.full(layout.channels, (high - low) / TARGET_SPAN or 1, np.float32)
    target = Target(
        CoordinateMap(layout, ""), block, scale, np.full(layout.channels, low, np.float32),
        np.ones(layout.channels, np.float32), context.objective.weights,
    )
    batch = int(min(BATCH, 1 << (layout.size.bit_length() - 1)))
    steps = steps_for(context.effort, layout.size, shape.n_weights, batch)
    schedule = FitSchedule(steps, batch, RATE, warmup=0.0, seed=context.seed, deadline=context.deadline,
                           learn_frequency=recipe.learn_frequency)
    params = init_published(context.seed, shape.inputs, shape.width, shape.depth, 1, recipe.frequency)
    optimiser, _ = optimiser_and_rate(recipe.optimiser, recipe.velo)
    best = fit(target, params, context.optimiser() if context.optimiser else optimiser, schedule, objective=context.objective,
               hooks=Hooks(progress=lambda done: context.progress(done, "fit"))).params
    return pack_published(_to_published(best, shape, scale[0], np.float32(low)), "")


def _to_published(params: Params, shape: Shape, scale: np.float32, offset: np.float32) -> Published:
    """Fitted parameters as the file stores them; ``scale`` and ``offset`` turn outputs into grey values."""
    return Published(
        shape, tuple(np.asarray(w) for w in params.weights), tuple(np.asarray(b) for b in params.biases),
        np.float32(params.frequency), scale, offset,
    )


def import_published(arrays: Mapping[str, Any]) -> tuple[Layout, bytes]:
    """A network that the authors of INIF published: the layout of its image, and the bytes of a part that decodes to it.

    Parameters
    ----------
    arrays : mapping
        As their program saves them (see the README of INIF): ``weight_0`` to ``weight_6``, ``bias_0`` to ``bias_6``,
        ``freq_adjust``, ``frequency``, ``shape``, ``axes``, ``minimum``, ``maximum`` and ``dtype``. Grey values are outputs times
        (maximum - minimum) / 100; the minimum is not added, as in their program.
    """
    shape = tuple(int(n) for n in arrays["shape"])
    layout = Layout(shape, str(arrays["axes"]), np.dtype(str(arrays["dtype"])))
    matrices = tuple(np.asarray(arrays[f"weight_{k}"], np.float32) for k in range(SINE_LAYERS + 1))
    biases = tuple(np.asarray(arrays[f"bias_{k}"], np.float32) for k in range(SINE_LAYERS + 1))
    frequency = np.float32(np.asarray(arrays["frequency"]).item() + np.asarray(arrays["freq_adjust"]).item())
    scale = np.float32((float(arrays["maximum"]) - float(arrays["minimum"])) / TARGET_SPAN)
    net = Shape(matrices[0].shape[0], matrices[0].shape[1], SINE_LAYERS, 1)
    return layout, pack_published(Published(net, matrices, biases, frequency, scale, np.float32(0)), "")

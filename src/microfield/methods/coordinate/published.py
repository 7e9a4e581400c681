"""The published configuration of INIF and of its SIREN baseline (`paper=true`), for comparison only.

Seven linear layers with sines between them, float32 weights, every axis a coordinate (channels and time too), grey
values 0..100 over the global minimum and maximum, the largest width that fits (Dai et al. 2024; details from the
authors' public code). Their learned optimiser needs weights that cannot be shipped, so Adamax takes its place, as in
the authors' own baseline. Results of this mode on a CPU are not the paper's results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microfield.image import Layout
from microfield.methods.base import Context
from microfield.methods.coordinate.bitstream import Published, Shape, pack_published
from microfield.nn.coordinates import CoordinateMap

if TYPE_CHECKING:
    from microfield.nn.network import Params

SINE_LAYERS = 6
BATCH = 32768
RATE = 2e-3


def published_shape(layout: Layout, limit: int) -> Shape | None:
    """The widest published network whose file part takes at most ``limit`` bytes; None where not even width 1 does."""
    inputs = len(CoordinateMap(layout, "").inputs)
    best = None
    for width in range(1, 4096):
        shape = Shape(inputs, width, SINE_LAYERS, 1)
        # depth, axes, width as a varint, scale, offset, frequency
        if 3 + (width > 127) + 4 * (shape.n_weights + 3) > limit:
            break
        best = shape
    return best


def fit_published(
    block: npt.NDArray[Any], layout: Layout, shape: Shape, w0: float, learn_frequency: bool, context: Context
) -> bytes:
    """Fit the published configuration and return the bytes of the part."""
    from microfield.nn.fit import Plan, fit
    from microfield.nn.network import init_published
    from microfield.nn.optimisers import adamax
    from microfield.nn.sampling import Target

    low, high = float(block.min()), float(block.max())
    scale = np.full(layout.channels, (high - low) / 100 or 1, np.float32)
    target = Target(
        CoordinateMap(layout, ""), block, scale, np.full(layout.channels, low, np.float32),
        np.ones(layout.channels, np.float32), context.objective.weights,
    )
    batch = int(min(BATCH, 1 << (layout.size.bit_length() - 1)))
    flops = 1.25e11 * 2.0**context.effort * max(1.0, np.sqrt(layout.size / 4e6))
    steps = int(np.clip(flops / (6 * (shape.n_weights * batch + 5e7)), 320, 20000))
    plan = Plan(steps, batch, RATE, warmup=0.0, seed=context.seed, deadline=context.deadline,
                learn_frequency=learn_frequency)
    params = init_published(context.seed, shape.inputs, shape.width, shape.depth, 1, w0)
    best = fit(target, params, context.optimiser() if context.optimiser else adamax(), plan,
               objective=context.objective, progress=lambda done: context.progress(done, "fit")).params
    return pack_published(_to_published(best, shape, scale[0], np.float32(low)), "")


def _to_published(params: Params, shape: Shape, scale: np.float32, offset: np.float32) -> Published:
    return Published(
        shape, tuple(np.asarray(w) for w in params.weights), tuple(np.asarray(b) for b in params.biases),
        np.float32(params.frequency), scale, offset,
    )


def import_published(arrays: Mapping[str, Any]) -> tuple[Layout, bytes]:
    """The layout and the part bytes of a network the authors published (their saved arrays, see the README of INIF).

    Parameters
    ----------
    arrays : mapping
        ``weight_0..6``, ``bias_0..6``, ``freq_adjust``, ``frequency``, ``shape``, ``axes``, ``minimum``, ``maximum``
        and ``dtype``. The authors scale by (maximum - minimum) / 100 without subtracting the minimum.
    """
    shape = tuple(int(n) for n in arrays["shape"])
    layout = Layout(shape, str(arrays["axes"]), np.dtype(str(arrays["dtype"])))
    matrices = tuple(np.asarray(arrays[f"weight_{k}"], np.float32) for k in range(SINE_LAYERS + 1))
    biases = tuple(np.asarray(arrays[f"bias_{k}"], np.float32) for k in range(SINE_LAYERS + 1))
    frequency = np.float32(np.asarray(arrays["frequency"]).item() + np.asarray(arrays["freq_adjust"]).item())
    scale = np.float32((float(arrays["maximum"]) - float(arrays["minimum"])) / 100)
    net = Shape(matrices[0].shape[0], matrices[0].shape[1], SINE_LAYERS, 1)
    return layout, pack_published(Published(net, matrices, biases, frequency, scale, np.float32(0)), "")


def import_file(source: str, destination: str) -> None:
    """Write a published network (an ``.npz`` of the authors' arrays) as a microfield file."""
    from pathlib import Path

    from microfield.format.assembler import write
    from microfield.format.header import Header
    from microfield.io.atomic import atomic_path

    with np.load(source, allow_pickle=False) as arrays:
        layout, part = import_published(arrays)
    data = write(Header(method="inif", bitstream_version=1, layout=layout), [(part,)])
    with atomic_path(Path(destination)) as temporary:
        temporary.write_bytes(data)


if __name__ == "__main__":
    import sys

    import_file(*sys.argv[1:3])

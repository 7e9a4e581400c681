"""A small U-Net in jax for planes or volumes, which predicts one image from another; trained on crops with Adam.

Two halvings, two convolutions a level, skip connections (O. Ronneberger, P. Fischer, T. Brox, MICCAI 2015), as label-free
prediction uses it (C. Ounkomol et al., Nat. Methods 15, 2018), with far fewer channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Params = list[tuple[Any, Any]]
"""Kernel and bias of every convolution, in the order in which they are applied."""

CHANNELS = (8, 16, 32)
"""Channels of the levels, the finest first."""
STRIDE = 2 ** (len(CHANNELS) - 1)
"""Extents are multiples of this inside the network; images are padded by their mirror image."""
WIDTH = 3
"""Extent of every kernel but the last, which is 1."""


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes
    ----------
    steps : int
    crop : extents of a crop along every axis, multiples of `STRIDE`, at most those of the images
    batch : crops a step
    rate : largest learning rate; it rises over the first tenth and falls to 0 along a cosine
    seed : of the weights and of the crops
    """

    steps: int
    crop: tuple[int, ...]
    batch: int = 4
    rate: float = 4e-3
    seed: int = 0


def started(ndim: int, seed: int) -> Params:
    """Random weights (K. He et al., ICCV 2015) of a network for images of ``ndim`` axes."""
    rng = np.random.default_rng(seed)
    a, b, c = CHANNELS
    shapes = [(1, a), (a, a), (a, b), (b, b), (b, c), (c, c), (c + b, b), (b, b), (b + a, a), (a, a)]
    found = []
    for before, after in shapes:
        kernel = rng.normal(0, np.sqrt(2 / (before * WIDTH**ndim)), (after, before, *[WIDTH] * ndim))
        found.append((kernel.astype(np.float32), np.zeros(after, np.float32)))
    last = rng.normal(0, np.sqrt(1 / a), (1, a, *[1] * ndim))
    return [*found, (last.astype(np.float32), np.zeros(1, np.float32))]


def applied(params: Params, images: Any) -> Any:
    """The network's output for images of shape ``(n, 1, ...)``, extents multiples of `STRIDE`; of the same shape."""
    import jax
    import jax.numpy as jnp

    ndim = images.ndim - 2
    letters = "DHW"[-ndim:]
    layout = (f"NC{letters}", f"OI{letters}", f"NC{letters}")
    layers = iter(params)

    def convolved(x: Any) -> Any:
        kernel, bias = next(layers)
        found = jax.lax.conv_general_dilated(x, kernel, (1,) * ndim, "SAME", dimension_numbers=layout)
        return found + bias.reshape(1, -1, *[1] * ndim)

    def level(x: Any) -> Any:
        return jax.nn.relu(convolved(jax.nn.relu(convolved(x))))

    def halved(x: Any) -> Any:
        window = (1, 1, *[2] * ndim)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")

    def doubled(x: Any) -> Any:
        for axis in range(2, 2 + ndim):
            x = jnp.repeat(x, 2, axis)
        return x

    fine = level(images)
    middle = level(halved(fine))
    coarse = level(halved(middle))
    middle = level(jnp.concatenate([doubled(coarse), middle], 1))
    fine = level(jnp.concatenate([doubled(middle), fine], 1))
    return convolved(fine)


def trained(pairs: Sequence[tuple[Float32, Float32]], how: Training, start: Params | None = None,
            progress: Callable[[float, str], None] | None = None) -> Params:
    """A network that predicts the second image of every pair from the first.

    Parameters
    ----------
    pairs : sequence of two arrays of one shape, mean about 0 and deviation about 1
    how : Training
    start : Params, optional
        Weights to go on from, instead of random ones.
    progress : callable (fraction in 0..1, message), optional
    """
    begin, step = _stepper(how.steps, how.rate)
    params: Any = started(len(how.crop), how.seed) if start is None else start
    state = begin(params)
    rng = np.random.default_rng(how.seed)
    loss = 0.0
    for number in range(how.steps):
        inputs, targets = _crops(pairs, how, rng)
        params, state, loss = step(params, state, inputs, targets)
        if progress is not None and number % 10 == 0:
            progress(number / how.steps, f"step {number} of {how.steps}, loss {float(loss):.3f}")
    return [(np.asarray(kernel), np.asarray(bias)) for kernel, bias in params]


@lru_cache(maxsize=4)
def _stepper(steps: int, rate: float) -> tuple[Callable[[Any], Any], Callable[..., Any]]:
    """The optimiser's first state, and one step: compiled once for all trainings of the same length."""
    import jax
    import jax.numpy as jnp
    import optax

    optimiser = optax.adam(optax.warmup_cosine_decay_schedule(0.0, rate, steps // 10, max(2, steps)))

    def step(params: Any, state: Any, inputs: Any, targets: Any) -> Any:
        loss, slope = jax.value_and_grad(lambda p: jnp.mean((applied(p, inputs) - targets) ** 2))(params)
        change, state = optimiser.update(slope, state, params)
        return optax.apply_updates(params, change), state, loss

    return optimiser.init, jax.jit(step)


def predicted(params: Params, image: Float32) -> Float32:
    """What a network makes of a whole image."""
    import jax

    padding = [(0, -n % STRIDE) for n in image.shape]
    padded = np.pad(image, padding, mode="reflect")
    found = np.asarray(jax.jit(applied)(params, padded[None, None]))[0, 0]
    return np.asarray(found[tuple(slice(0, n) for n in image.shape)])


def _crops(pairs: Sequence[tuple[Float32, Float32]], how: Training, rng: np.random.Generator) -> tuple[Float32, Float32]:
    """A batch of crops at random places, mirrored at random, of shape ``(batch, 1, *crop)`` each."""
    inputs, targets = [], []
    for _ in range(how.batch):
        first, second = pairs[int(rng.integers(len(pairs)))]
        corner = [int(rng.integers(n - c + 1)) for n, c in zip(first.shape, how.crop, strict=True)]
        box = tuple(slice(k, k + c) for k, c in zip(corner, how.crop, strict=True))
        mirror = tuple(slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in how.crop)
        inputs.append(first[box][mirror])
        targets.append(second[box][mirror])
    return np.stack(inputs)[:, None], np.stack(targets)[:, None]

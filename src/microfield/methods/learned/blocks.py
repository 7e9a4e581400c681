"""Transforms block by block, so that memory stays bounded: blocks overlap by what their layers see, and so leave no seam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from microfield.methods.learned.layers import Computed, Values, run

BLOCK = (4, 32, 32)
"""Latents of a block along z, y and x."""

Range = tuple[int, int]


def synthesised(layers: Sequence[Computed], latents: Values) -> Values:
    """The whole image of latents (batch, z, y, x, channels); the same values as in one piece, where layers are exact."""
    factors = _factors(layers)
    shape = [n * s for n, s in zip(latents.shape[1:4], factors, strict=True)]
    out = np.empty((len(latents), *shape, layers[-1].layer.outputs), latents.dtype)
    margins = _margins(layers)
    for block in _blocks(latents.shape[1:4]):
        wide = [(max(0, a - m), min(n, b + m)) for (a, b), m, n in zip(block, margins, latents.shape[1:4], strict=True)]
        for b in range(len(latents)):
            found = run(layers, latents[(slice(b, b + 1), *(slice(*r) for r in wide))])
            inner = [slice((a - w) * s, (e - w) * s) for (a, e), (w, _), s in zip(block, wide, factors, strict=True)]
            here = [slice(a * s, e * s) for (a, e), s in zip(block, factors, strict=True)]
            out[(slice(b, b + 1), *here)] = found[(slice(None), *inner)]
    return out


def analysed(layers: Sequence[Computed], images: Values) -> Values:
    """The latents of images (batch, z, y, x, channels) whose extents are whole multiples of the strides."""
    factors = _factors(layers)
    shape = [n // s for n, s in zip(images.shape[1:4], factors, strict=True)]
    out = np.empty((len(images), *shape, layers[-1].layer.outputs), images.dtype)
    margins = _margins(layers)
    for block in _blocks(shape):
        wide = [(max(0, a - m), min(n, b + m)) for (a, b), m, n in zip(block, margins, shape, strict=True)]
        for b in range(len(images)):
            box = [slice(a * s, e * s) for (a, e), s in zip(wide, factors, strict=True)]
            found = run(layers, images[(slice(b, b + 1), *box)])
            inner = [slice(a - w, e - w) for (a, e), (w, _) in zip(block, wide, strict=True)]
            out[(slice(b, b + 1), *(slice(*r) for r in block))] = found[(slice(None), *inner)]
    return out


def _blocks(shape: Sequence[int]) -> Iterator[list[Range]]:
    ranges = [[(a, min(a + size, n)) for a in range(0, n, size)] for n, size in zip(shape, BLOCK, strict=True)]
    for block in product(*ranges):
        yield list(block)


def _factors(layers: Sequence[Computed]) -> list[int]:
    return [int(np.prod([one.layer.stride[axis] for one in layers])) for axis in range(3)]


def _margins(layers: Sequence[Computed]) -> list[int]:
    """How many latents beyond a block its voxels, or latents, depend on, along each axis: at most."""
    found = []
    for axis in range(3):
        ordered = [one.layer for one in (layers if layers[0].layer.transposed or len(layers) == 1 else reversed(layers))]
        reach, cell = 0.0, 1.0
        for layer in ordered:
            # In units of latents: a tap reaches so far among cells of this size.
            cell /= layer.stride[axis]
            reach += (layer.kernel[axis] // 2) * cell + (cell if layer.stride[axis] > 1 else 0)
        found.append(int(np.ceil(reach)) if reach else 0)
    return found

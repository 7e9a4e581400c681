"""Where the structure of an image is: energy of detail above the noise, at several scales, as one map of weights.

The image is halved again and again by means of blocks. At every scale, what a block differs from the wider mean around it by is
detail; its square, above what noise of the estimated deviation would give, is structure. SINCS (Ma et al. 2024) draws the points of
a fit from a blurred map of structure; the map here needs no threshold and no look at the image.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from microfield.image import Layout
from microfield.noise import noise_sigma

Float32 = npt.NDArray[np.float32]

FLOOR = 0.25
"""Part of the points of a fit that is drawn from the whole image, whatever the map says."""

SCALES = 3
"""How often planes are halved."""

ABOVE = 4.0
"""Detail is structure where its energy is more than so many times that of noise."""

SAMPLED_PLANES = 16
"""Planes that the noise of a channel is estimated on."""


def structure_map(values: npt.NDArray[np.generic], layout: Layout) -> Float32:
    """Structure of every voxel, 0 to 1: float32 of the image's shape; all zeros where there is nothing but noise.

    Every channel is judged by its own noise and its own range, so that a dim marker counts as much as a bright one.
    """
    order = [layout.axes.index(a) for a in layout.axes if a in "CS"] + [layout.axes.index(a) for a in layout.axes if a in "TZ"]
    order += [layout.axes.index("Y"), layout.axes.index("X")]
    view = np.asarray(values).transpose(order)
    height, width = view.shape[-2:]
    channels = view.reshape(layout.channels, -1, height, width)
    out = np.stack([_channel(planes) for planes in channels]).reshape(view.shape)
    return np.ascontiguousarray(out.transpose(np.argsort(order)))


def _channel(planes: npt.NDArray[np.generic]) -> Float32:
    """Structure of the planes (n, Y, X) of a channel."""
    spread = np.linspace(0, len(planes) - 1, min(SAMPLED_PLANES, len(planes))).astype(int)
    low, high = float(planes.min()), float(planes.max())
    out = np.zeros(planes.shape, np.float32)
    # Planes without any noise, such as drawn ones, still need something to be above.
    sigma = max(noise_sigma(planes[spread]), 1e-4 * (high - low))
    if not sigma > 0:
        return out
    for k, plane in enumerate(planes):
        out[k] = _plane(((plane.astype(np.float64) - low) / sigma).astype(np.float32))
    largest = float(np.quantile(out[spread], 0.995))
    return np.asarray(np.clip(out / np.float32(largest), 0, 1) if largest > 0 else np.zeros_like(out), np.float32)


def _plane(plane: Float32) -> Float32:
    """Root of the structure energy over all scales of a plane whose noise has a deviation of 1."""
    total = np.zeros(plane.shape, np.float32)
    level, noise = plane, 1.0
    for _ in range(SCALES):
        if min(level.shape) < 4:
            break
        level, noise = _halved(level), noise / 4
        detail = level - _blurred(level)
        # A mean of 9 takes 1/9 of the noise's energy from its middle: 8/9 are left.
        energy = _blurred(detail * detail) / np.float32(noise * 8 / 9)
        total += _grown(np.maximum(energy - np.float32(ABOVE), 0) * np.float32(noise), plane.shape)
    return np.asarray(np.sqrt(total), np.float32)


def _halved(plane: Float32) -> Float32:
    """Means of 2 x 2 voxels; an odd last row or column is repeated."""
    padded = np.pad(plane, [(0, n % 2) for n in plane.shape], mode="edge")
    return np.asarray((padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]) * np.float32(0.25))


def _blurred(plane: Float32) -> Float32:
    """Means of 3 x 3 voxels."""
    padded = np.pad(plane, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) * np.float32(1 / 9))


def _grown(plane: Float32, shape: tuple[int, ...]) -> Float32:
    """Every value repeated until there are as many as ``shape`` has."""
    steps = [-(-n // m) for n, m in zip(shape, plane.shape, strict=True)]
    power = 1 << (max(steps) - 1).bit_length()
    return np.asarray(np.repeat(np.repeat(plane, power, 0), power, 1)[: shape[0], : shape[1]])

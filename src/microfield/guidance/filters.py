"""The filters of segmentations, differentiable by jax: smoothing, lines from the Hessian, spots from the Laplacian.

A field is one plane (y, x) or volume (z, y, x) of one channel. Widths are in voxels of the finest axis; ``steps`` says how many of
these one voxel of every axis is long. Beyond the edges the outermost value is repeated. All responses are proportional to the
contrast of the field, so that a threshold is a grey level.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Steps = tuple[float, ...]

CUT = 3.0
"""A Gaussian is cut off at so many standard deviations."""
_TINY = 1e-30
"""Keeps divisions finite where a Hessian is zero."""


def smoothed(field: Any, sigma: float, steps: Steps) -> Any:
    """Gaussian smoothing with a standard deviation ``sigma``."""
    for axis, step in enumerate(steps):
        if int(CUT * sigma / step + 0.5):
            # As a matrix product, which compiles much faster than a sum of shifted arrays and runs as fast.
            field = jnp.moveaxis(jnp.tensordot(_gaussian(field.shape[axis], sigma / step), field, ((1,), (axis,))), 0, axis)
    return field


@lru_cache(maxsize=64)
def _gaussian(extent: int, sigma: float) -> Floats:
    """The matrix that smooths an axis, its edges repeated: float32 of shape (extent, extent)."""
    reach = int(CUT * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    taps = np.exp(-0.5 * (offsets / sigma) ** 2)
    matrix = np.zeros((extent, extent))
    rows = np.arange(extent)
    for offset, tap in zip(offsets, taps / taps.sum(), strict=True):
        np.add.at(matrix, (rows, np.clip(rows + offset, 0, extent - 1)), tap)
    return matrix.astype(np.float32)


def line_strength(field: Any, sigma: float, steps: Steps) -> Any:
    """How strongly every voxel belongs to a bright line, tube or sheet of scale ``sigma``; negative in dark ones.

    The Hessian of the smoothed field, times sigma squared, has a strongly negative eigenvalue across a line and one near 0 along
    it: the response is minus the lowest less the magnitude of the highest, 0 in round blobs. Hessians at several scales find lines
    in Y. Sato et al., "Three-dimensional multi-scale line filter", Medical Image Analysis 2 (1998), section 2.
    """
    axes = range(len(steps))
    smooth = smoothed(field, sigma, steps)
    hessian = tuple(_second_difference(smooth, i, j, steps) for i in axes for j in axes if i <= j)
    lowest, highest = _eigenvalues_of_2(hessian) if len(steps) == 2 else extreme_eigenvalues(hessian)
    return sigma**2 * (-lowest - jnp.abs(highest))


def spot_strength(field: Any, sigma: float, steps: Steps) -> Any:
    """Minus the Laplacian of the smoothed field times sigma squared, large in bright spots of radius sigma sqrt(ndim).

    T. Lindeberg, "Feature detection with automatic scale selection", International Journal of Computer Vision 30 (1998), section 4.
    """
    smooth = smoothed(field, sigma, steps)
    return -(sigma**2) * sum(_second_difference(smooth, axis, axis, steps) for axis in range(len(steps)))


def _neighbours(field: Any, axis: int) -> tuple[Any, Any]:
    """The values before and behind every value along an axis."""
    first, last = (jax.lax.slice_in_dim(field, k, k + 1, axis=axis) for k in (0, field.shape[axis] - 1))
    padded = jnp.concatenate([first, field, last], axis)
    return tuple(jax.lax.slice_in_dim(padded, k, k + field.shape[axis], axis=axis) for k in (0, 2))  # type: ignore[return-value]


def _second_difference(field: Any, i: int, j: int, steps: Steps) -> Any:
    """Second derivative along axes ``i`` and ``j``, from central differences."""
    before, behind = _neighbours(field, i)
    if i == j:
        return (before + behind - 2 * field) / steps[i] ** 2
    before, behind = _neighbours(behind - before, j)
    return (behind - before) / (4 * steps[i] * steps[j])


def _eigenvalues_of_2(hessian: tuple[Any, ...]) -> tuple[Any, Any]:
    """Lowest and highest eigenvalue of symmetric 2 x 2 matrices, given as upper triangles."""
    a, b, d = hessian
    middle = (a + d) / 2
    # The root of 0 has no derivative.
    root = jnp.sqrt(((a - d) / 2) ** 2 + b * b + _TINY)
    return middle - root, middle + root


@jax.custom_vjp
def extreme_eigenvalues(hessian: tuple[Any, ...]) -> tuple[Any, Any]:
    """Lowest and highest eigenvalue of symmetric 3 x 3 matrices, given as upper triangles, row by row.

    O. K. Smith, "Eigenvalues of a symmetric 3 x 3 matrix", Communications of the ACM 4 (1961). The formula's own derivative is
    infinite where two eigenvalues are equal, so it is replaced: that of an eigenvalue is the outer product of its eigenvector.
    """
    a, b, c, d, e, f = hessian
    mean = (a + d + f) / 3
    a, d, f = a - mean, d - mean, f - mean
    p = jnp.sqrt((a * a + d * d + f * f + 2 * (b * b + c * c + e * e)) / 6 + _TINY)
    # Divided first: cubes of small numbers are not float32.
    a, b, c, d, e, f = (value / p for value in (a, b, c, d, e, f))
    determinant = a * (d * f - e * e) - b * (b * f - c * e) + c * (b * e - c * d)
    angle = jnp.arccos(jnp.clip(determinant / 2, -1, 1)) / 3
    return mean + 2 * p * jnp.cos(angle + 2 * np.pi / 3), mean + 2 * p * jnp.cos(angle)


def _forward(hessian: tuple[Any, ...]) -> tuple[tuple[Any, Any], Any]:
    found = extreme_eigenvalues(hessian)
    return found, (hessian, found)


def _backward(kept: Any, gradients: tuple[Any, Any]) -> tuple[tuple[Any, ...]]:
    """The outer product of an eigenvector is the adjugate of the matrix less its eigenvalue, over the adjugate's trace.

    Where an eigenvalue is double both are 0 and there is no one eigenvector: the derivative is taken to be 0.
    """
    (a, b, c, d, e, f), eigenvalues = kept
    size = jnp.sqrt(a * a + d * d + f * f + 2 * (b * b + c * c + e * e)) + _TINY
    total = [jnp.zeros_like(a)] * 6
    for eigenvalue, gradient in zip(eigenvalues, gradients, strict=True):
        i, j, k = ((value - eigenvalue) / size for value in (a, d, f))
        u, v, w = b / size, c / size, e / size
        adjugate = (j * k - w * w, v * w - u * k, u * w - v * j, i * k - v * v, u * v - i * w, i * j - u * u)
        trace = adjugate[0] + adjugate[3] + adjugate[5]
        weight = gradient * trace / (trace * trace + 1e-8)
        # An element beside the diagonal stands for two.
        total = [t + m * weight * x for t, m, x in zip(total, (1, 2, 2, 1, 2, 1), adjugate, strict=True)]
    return (tuple(total),)


extreme_eigenvalues.defvjp(_forward, _backward)

"""Prediction of planes from earlier ones by the motion of blocks: overlapped blocks, quarters of a pixel.

Every value is made by elementwise float32 operations in a fixed order, so that all machines predict the same, and no error of one
machine grows over a film. Overlapped blocks: M. T. Orchard, G. J. Sullivan, "Overlapped block motion compensation: an
estimation-theoretic approach", IEEE Trans. Image Processing 3 (1994). Interpolation: the eight taps of ITU-T H.265, table 8-11.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from microfield.methods.field.lifting import Floats

TAPS = np.array([[0, 0, 0, 64, 0, 0, 0, 0], [-1, 4, -10, 58, 17, -5, 1, 0], [-1, 4, -11, 40, 40, -11, 4, -1],
                 [0, 1, -5, 17, 58, -10, 4, -1]], np.float32) / np.float32(64)
"""Filter taps by quarters of a pixel; the fourth tap stands at the pixel itself."""
BEFORE = 3
"""Taps before the pixel."""
FIRST, SECOND, MEAN, NONE = range(4)
"""Modes of a block: predicted from the first or the second reference, from the mean of both, or to be 0."""
MODES = (0, 1, 3)
"""How many questions tell the mode of a block with so many references."""

Vectors = npt.NDArray[np.int32]
Modes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Motion:
    """How blocks of planes move.

    Attributes
    ----------
    block : int
        Rows and columns of a block.
    vectors : int32 array (planes, references, rows, columns, 2)
        Displacements along y and x in quarters of a pixel: the block is found there in the reference.
    modes : uint8 array (planes, rows, columns)
    """

    block: int
    vectors: Vectors
    modes: Modes


def blocks(extents: tuple[int, ...], block: int) -> tuple[int, ...]:
    """How many blocks cover extents."""
    return tuple(-(-n // block) for n in extents)


@cache
def ramp(block: int) -> Floats:
    """Weights of the rows of a block's window, twice ``block``: they rise and fall, and those of neighbours add up to 1.

    Two parabolas, close to a squared sine, in whole 1/64, so that no machine computes others.
    """
    at = 2 * np.arange(block) + 1
    rise = np.where(at < block, 32 * at**2 // block**2, 64 - 32 * (2 * block - at) ** 2 // block**2)
    return (np.concatenate([rise, 64 - rise]) / 64).astype(np.float32)


def predicted(references: npt.NDArray[np.float32], motion: Motion) -> Floats:
    """Planes as their references say, float32 (planes, y, x).

    Parameters
    ----------
    references : float32 array (planes, references, y, x)
    motion : Motion
    """
    return np.stack([_plane(r, v, m, motion.block) for r, v, m in zip(references, motion.vectors, motion.modes, strict=True)])


def _plane(references: Floats, vectors: Vectors, modes: Modes, block: int) -> Floats:
    """One plane (y, x)."""
    windows = np.zeros((*modes.shape, 2 * block, 2 * block), np.float32)
    for k, (reference, field) in enumerate(zip(references, vectors, strict=True)):
        used = (modes == k) | (modes == MEAN)
        part = taken(reference, np.argwhere(used) * block - block // 2, field[used], 2 * block)
        part *= np.where(modes[used] == MEAN, np.float32(0.5), np.float32(1))[:, None, None]
        windows[used] += part
    return overlapped(windows, references.shape[1:])


def taken(reference: Floats, corners: npt.NDArray[np.intp], vectors: Vectors, side: int) -> Floats:
    """Squares of a plane at corners (n, 2) moved by vectors (n, 2) in quarters of a pixel: float32 (n, side, side).

    Beyond the borders the edge is repeated.
    """
    out = np.empty((len(vectors), side, side), np.float32)
    whole, part = vectors >> 2, vectors & 3
    straight = ~part.any(axis=1)
    for which, margin, reach in ((straight, 0, side), (~straight, BEFORE, side + 7)):
        if not which.any():
            continue
        at = corners[which] + whole[which] - margin
        y, x = (np.clip(at[:, a, None] + np.arange(reach), 0, reference.shape[a] - 1) for a in (0, 1))
        found = reference[y[:, :, None], x[:, None, :]]
        if margin:
            for axis in (0, 1):
                found = _filtered(found, TAPS[part[which, axis]], side).swapaxes(1, 2)
        out[which] = found
    return out


def _filtered(squares: Floats, taps: Floats, side: int) -> Floats:
    """Squares (n, side + 7, ...) filtered along their second axis with taps (n, 8)."""
    out = taps[:, BEFORE, None, None] * squares[:, BEFORE : BEFORE + side]
    for k in (2, 4, 1, 5, 0, 6, 7):
        out += taps[:, k, None, None] * squares[:, k : k + side]
    return out


def overlapped(windows: Floats, shape: tuple[int, ...]) -> Floats:
    """The plane that overlapping windows (rows, columns, 2 x block, 2 x block) of blocks make."""
    rows, columns, side, _ = windows.shape
    block = side // 2
    weights = ramp(block)
    total: Floats = np.zeros(((rows + 1) * block, (columns + 1) * block), np.float32)
    norm: Floats = np.zeros_like(total)
    for i in (0, 1):
        for j in (0, 1):
            y, x = slice(i * block, (i + 1) * block), slice(j * block, (j + 1) * block)
            weight = weights[y, None] * weights[None, x]
            corner = slice(i * block, (i + rows) * block), slice(j * block, (j + columns) * block)
            total[corner] += (windows[:, :, y, x] * weight).swapaxes(1, 2).reshape(rows * block, columns * block)
            norm[corner] += np.tile(weight, (rows, columns))
    half = block // 2
    inner = slice(half, half + shape[0]), slice(half, half + shape[1])
    out: Floats = np.divide(total[inner], norm[inner], dtype=np.float32)
    return out

"""How the blocks of planes move, as the encoder finds it: coarse to fine, weighing errors against bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from microfield.methods.field.lifting import Floats
from microfield.methods.field.motion import BEFORE, MEAN, NONE, TAPS, Modes, Motion, Vectors

COARSE = 4
"""Planes are first compared at so many times less resolution."""
REACH = 8
"""Displacements, in pixels of the coarse planes, along y and x."""
STEPS = (8, 4, 2, 1)
"""Then all directions are tried, so many quarters of a pixel from the best."""
EXPECTED_BITS, CANDIDATE_BITS, NEW_BITS = 0.2, 3.0, 5.0
"""About the bits of saying that a vector is as expected, as one of those around, and another."""
MODE_BITS = np.array([5.0, 2.5, 1.5, 0.7, 0.2])
"""About the bits of a mode that so many of the four neighbours have."""
MODE_SWEEPS = 3
"""How often modes are chosen again, given those of the neighbours."""

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def searched(planes: Floats, references: Floats, block: int, bit: float, before: Vectors, near: Vectors | None = None) -> Motion:
    """The motion that predicts planes best.

    Parameters
    ----------
    planes : float32 array (planes, channels, y, x)
        Channels move together.
    references : float32 array (planes, references, channels, y, x)
    block : int
        Rows and columns of a block.
    bit : float
        Squared error that a bit is worth.
    before : int32 array (planes, references, rows, columns, 2)
        Vectors that earlier time points lead one to expect.
    near : int32 array like before, optional
        Vectors that were found in almost the same references; the search begins there, and ends sooner.
    """
    vectors, modes = [], []
    for i, (plane, some, expected) in enumerate(zip(planes, references, before, strict=True)):
        fields = [_Field(plane, reference, block, bit, vector) for reference, vector in zip(some, expected, strict=True)]
        for k, field in enumerate(fields):
            field.search(None if near is None else near[i, k])
        vectors.append(np.stack([field.vectors for field in fields]))
        modes.append(_modes(fields))
    return Motion(block, np.stack(vectors).astype(np.int32), np.stack(modes))


def _modes(fields: list[_Field]) -> Modes:
    """Modes of the blocks of a plane, by error and by the bits of the modes and of the vectors that they need."""
    target, bit = fields[0].target, fields[0].bit
    parts = [field.everywhere() for field in fields]
    bits = [field.bits(field.vectors[None])[0] for field in fields]
    names = [*range(len(parts)), *([MEAN] if len(parts) == 2 else []), NONE]
    costs = [_cost(part - target, bit) / bit + b for part, b in zip(parts, bits, strict=True)]
    if len(parts) == 2:
        costs.append(_cost((parts[0] + parts[1]) * np.float32(0.5) - target, bit) / bit + sum(bits))
    cost = np.stack([*costs, _cost(target.copy(), bit) / bit])
    chosen = np.argmin(cost, axis=0)
    for _ in range(MODE_SWEEPS):
        for turn in _turns(chosen.shape):
            same = np.stack([_around((chosen == k)[..., None]).sum(axis=0)[..., 0] for k in range(len(names))])
            chosen = np.where(turn, np.argmin(cost + MODE_BITS[same], axis=0), chosen)
    found: Modes = np.array(names, np.uint8)[chosen]
    return found


class _Field:
    """The search of the blocks of one plane in one reference.

    Parameters
    ----------
    plane, reference : float32 arrays (channels, y, x)
    block, bit, before
        As in `searched`, ``before`` of shape (rows, columns, 2).

    Attributes
    ----------
    target : float32 array (rows, columns, channels, block, block)
        The plane as blocks.
    vectors : int32 array (rows, columns, 2)
    """

    def __init__(self, plane: Floats, reference: Floats, block: int, bit: float, before: Vectors) -> None:
        self.block, self.bit, self.before = block, bit, before
        self.target = _cut(plane, block)
        self.vectors: Vectors = np.zeros(before.shape, np.int32)
        self._planes = plane.sum(axis=0), reference.sum(axis=0)
        self._margin = block + 8
        self._phases = _phases(reference, self._margin)
        self._errors = np.full(before.shape[:2], np.inf)

    def everywhere(self) -> Floats:
        """All blocks at their vectors, of the shape of `target`."""
        rows, columns = np.indices(self.vectors.shape[:2]).reshape(2, -1)
        return self._blocks(rows, columns, self.vectors.reshape(-1, 2)).reshape(self.target.shape)

    def search(self, near: Vectors | None) -> None:
        """Find the vectors, from some that are nearly right if there are any."""
        for candidate in (np.zeros_like(self.vectors), *(self._coarse() if near is None else (near,)), self.before):
            self._try(candidate, np.ones(self._errors.shape, bool), self._errors.copy(), np.zeros(self._errors.shape))
        for step in STEPS if near is None else STEPS[-1:]:
            self._sweep(step)
            self._sweep()
        self._sweep()

    def bits(self, candidates: Vectors) -> Doubles:
        """About the bits of vectors (candidates, rows, columns, 2), given those that the neighbours have now, per block."""
        near = _around(self.vectors)
        away = candidates - _expected(near)
        bits = NEW_BITS + 2 * np.log2(1 + np.abs(away)).sum(axis=-1)
        merged = (candidates[:, None] == np.concatenate([near, self.before[None]])).all(axis=-1).any(axis=1)
        return np.where(away.any(axis=-1), np.where(merged, CANDIDATE_BITS, bits), EXPECTED_BITS)

    def _sweep(self, step: int = 0) -> None:
        """Try what is expected and what neighbours have, or a step in every direction, in turn for every other block."""
        for turn in _turns(self._errors.shape):
            if step:
                around = [(dy, dx) for dy in (-step, 0, step) for dx in (-step, 0, step) if dy or dx]
                candidates = self.vectors + np.array(around, np.int32)[:, None, None]
            else:
                near = _around(self.vectors)
                candidates = np.stack([_expected(near), self.before, *near])
            bits = self.bit * self.bits(np.concatenate([candidates, self.vectors[None]]))
            costs = self._errors + bits[-1]
            for candidate, price in zip(candidates, bits[:-1], strict=True):
                asked = turn & (candidate != self.vectors).any(axis=-1) & (price < costs)
                self._try(candidate, asked, costs, price)

    def _try(self, candidate: Vectors, asked: Flags, costs: Doubles, bits: Doubles) -> None:
        """Take a candidate where it is asked for and costs less than ``costs``, which follow."""
        rows, columns = np.nonzero(asked)
        if not len(rows):
            return
        errors = _cost(self._blocks(rows, columns, candidate[asked]) - self.target[rows, columns], self.bit)
        better = errors + bits[asked] < costs[asked]
        rows, columns = rows[better], columns[better]
        self.vectors[rows, columns] = candidate[rows, columns]
        self._errors[rows, columns] = errors[better]
        costs[rows, columns] = errors[better] + bits[rows, columns]

    def _blocks(self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], vectors: Vectors) -> Floats:
        """Blocks (n,) at vectors (n, 2): float32 (n, channels, block, block)."""
        offsets = np.arange(self.block)
        height, width = self._phases.shape[2:]
        y = np.clip(self._margin + (rows * self.block + (vectors[:, 0] >> 2))[:, None] + offsets, 0, height - 1)
        x = np.clip(self._margin + (columns * self.block + (vectors[:, 1] >> 2))[:, None] + offsets, 0, width - 1)
        phase = (vectors[:, 0] & 3) * 4 + (vectors[:, 1] & 3)
        # One index into the flat planes takes half the time of three.
        at = (phase[:, None] * height + y)[:, :, None] * width + x[:, None, :]
        return np.stack([channel.reshape(-1)[at] for channel in self._phases], axis=1)

    def _coarse(self) -> tuple[Vectors, Vectors]:
        """Vectors of the whole plane and of every block, by coarse planes: each block with some of what surrounds it."""
        plane, reference = _coarser(self._planes[0]), _coarser(self._planes[1])
        rows, columns = self.vectors.shape[:2]
        side = self.block // COARSE
        wide = np.pad(plane, ((0, rows * side - plane.shape[0]), (0, columns * side - plane.shape[1])), mode="edge")
        grown = [(REACH, REACH + w - n) for w, n in zip(wide.shape, plane.shape, strict=True)]
        shifted = sliding_window_view(np.pad(reference, grown, mode="edge"), wide.shape)
        shape = (2 * REACH + 1, rows, side, columns, side)
        costs = np.stack([np.square(wide - row).reshape(shape).sum(axis=(2, 4)) for row in shifted]).reshape(-1, rows, columns)
        whole = int(np.argmin(costs.sum(axis=(1, 2))))
        own = np.argmin(costs + 0.25 * _around(np.moveaxis(costs, 0, -1)).sum(axis=0).transpose(2, 0, 1), axis=0)
        return _displacements(np.full((rows, columns), whole)), _displacements(own)


def _displacements(numbers: npt.NDArray[np.intp]) -> Vectors:
    """Vectors of numbers of coarse displacements."""
    places = np.stack(np.divmod(numbers, 2 * REACH + 1), axis=-1)
    found: Vectors = (4 * COARSE * (places - REACH)).astype(np.int32)
    return found


def _turns(shape: tuple[int, ...]) -> tuple[Flags, Flags]:
    """The black and the white fields of a chessboard."""
    black = (np.add.outer(np.arange(shape[0]), np.arange(shape[1])) & 1).astype(bool)
    return black, ~black


def _around(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What the four neighbours of blocks (rows, columns, k) have, (4, rows, columns, k); at the borders the block itself."""
    up, down = np.concatenate([values[:1], values[:-1]]), np.concatenate([values[1:], values[-1:]])
    left = np.concatenate([values[:, :1], values[:, :-1]], axis=1)
    return np.stack([up, down, left, np.concatenate([values[:, 1:], values[:, -1:]], axis=1)])


def _expected(near: Vectors) -> Vectors:
    """The mean of the middle two of four neighbours (4, rows, columns, 2), as most blocks are coded."""
    middle: Vectors = (near.sum(axis=0) - near.max(axis=0) - near.min(axis=0)) >> 1
    return middle


def _coarser(plane: Floats) -> Floats:
    """Means of squares of `COARSE` pixels."""
    padded = np.pad(plane, [(0, -n % COARSE) for n in plane.shape], mode="edge")
    means: Floats = padded.reshape(padded.shape[0] // COARSE, COARSE, -1, COARSE).mean(axis=(1, 3))
    return means


def _cut(plane: Floats, block: int) -> Floats:
    """A plane (channels, y, x) as blocks (rows, columns, channels, block, block)."""
    _, h, w = plane.shape
    padded = np.pad(plane, ((0, 0), (0, -h % block), (0, -w % block)), mode="edge")
    return padded.reshape(len(plane), -1, block, padded.shape[2] // block, block).transpose(1, 3, 0, 2, 4)


def _cost(errors: Floats, bit: float) -> Doubles:
    """Sums over blocks (..., channels, block, block) of what errors cost, in squares; the blocks are used up.

    A pixel costs its square where that is small, and else about the bits that coding it takes, half the logarithm of the square:
    what no reference holds, as beyond the border of a film that moves, must not decide where the rest of a block comes from.
    """
    k = 2 * math.log(2) / bit
    errors *= errors
    errors *= np.float32(k)
    np.log1p(errors, out=errors)
    sums: Doubles = np.einsum("...kyx->...", errors).astype(np.float64)
    return sums / k


def _phases(reference: Floats, margin: int) -> Floats:
    """Planes (channels, y, x) at all quarters of a pixel, with a margin: (channels, 16, y, x)."""
    wide = np.pad(reference, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    out = np.empty((len(wide), 16, *wide.shape[1:]), np.float32)
    for y in range(4):
        rows = _shifted(wide, y, 1)
        for x in range(4):
            out[:, 4 * y + x] = _shifted(rows, x, 2)
    return out


def _shifted(planes: Floats, quarters: int, axis: int) -> Floats:
    """Planes at so many quarters of a pixel along an axis; what comes round at the ends is part of the margin."""
    if not quarters:
        return planes
    parts = (tap * np.roll(planes, BEFORE - k, axis) for k, tap in enumerate(TAPS[quarters]) if tap)
    return np.asarray(sum(parts), np.float32)

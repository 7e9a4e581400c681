"""Prediction of planes of unsigned numbers from their neighbours, and the way back.

All arithmetic is that of whole numbers modulo 2 to the power of the bits of a number. In the first row of a plane the number to
the left predicts, in the first column the one above, and the first number of all is predicted as 0.

`MEDIAN` is the predictor of JPEG-LS: M. J. Weinberger, G. Seroussi and G. Sapiro, "The LOCO-I lossless image compression
algorithm", IEEE Transactions on Image Processing 9 (2000).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.methods.lossless.values import Unsigned

NOTHING, LEFT, MEDIAN, MEAN, BEFORE, MEAN_BEFORE = range(6)
"""Predictors: nothing; the number to the left; the median of left, above and left + above - corner; the mean of left and above; the
same place in the plane before; the mean of that and of `MEAN`, but in the first row and column the plane before alone."""

LINEAR = (NOTHING, LEFT, BEFORE)
"""Those that need no sums: the only ones for numbers of 64 bits."""

SLAB = 1 << 21
"""Numbers that are predicted at once, about."""


def predictors(shape: tuple[int, int, int], itemsize: int) -> tuple[int, ...]:
    """The predictors that suit planes of this shape and numbers of so many bytes."""
    planes = shape[0]
    found = LINEAR if itemsize == 8 else (NOTHING, LEFT, MEDIAN, MEAN, BEFORE, MEAN_BEFORE)
    return tuple(p for p in found if planes > 1 or p not in (BEFORE, MEAN_BEFORE))


def residuals(planes: Unsigned, predictor: int) -> Unsigned:
    """What a predictor leaves, folded so that small numbers of either sign become small: 0, -1, 1, -2, ... become 0, 1, 2, 3."""
    if predictor == NOTHING:
        return planes
    out = np.empty_like(planes)
    step = max(1, SLAB // planes[0].size)
    for start in range(0, len(planes), step):
        stop = min(len(planes), start + step)
        # The plane before is needed, too.
        some = planes[max(0, start - 1) : stop]
        out[start:stop] = _folded(some, _predicted(some, predictor, start == 0))[-(stop - start) :]
    return out


def restored(left: Unsigned, predictor: int) -> Unsigned:
    """The planes that a predictor left these folded residuals of: the inverse of `residuals`."""
    if predictor == NOTHING:
        return left
    wrapped = _unfolded(left)
    if predictor == LEFT:
        return _along_rows(wrapped)
    if predictor == BEFORE:
        first = _along_rows(wrapped[:1])
        return np.add.accumulate(np.concatenate([first, wrapped[1:]]), axis=0, dtype=left.dtype)
    if predictor == MEAN_BEFORE:
        out = np.empty_like(left)
        for i, plane in enumerate(wrapped):
            out[i] = _by_diagonals(plane[None], MEAN if i == 0 else MEAN_BEFORE, None if i == 0 else out[i - 1])[0]
        return out
    return _by_diagonals(wrapped, predictor)


# -- forwards -------------------------------------------------------------------------------------------------------------------


def _wide(numbers: Unsigned) -> npt.NDArray[Any]:
    """Signed numbers in which sums of two or three do not overflow."""
    return numbers.astype(np.int32 if numbers.dtype.itemsize < 4 else np.int64)


def _predicted(planes: Unsigned, predictor: int, is_first: bool) -> npt.NDArray[Any]:
    """Predictions of all planes, in `_wide` numbers, or those of the planes where none are summed.

    With ``is_first`` the first plane is the first of all, else only those after it count.
    """
    values = planes if predictor in LINEAR else _wide(planes)
    left = np.zeros_like(values)
    left[..., 1:] = values[..., :-1]
    left[:, 1:, 0] = values[:, :-1, 0]
    if predictor == LEFT:
        return left
    if predictor == BEFORE:
        out = np.concatenate([left[:1] if is_first else values[:1], values[:-1]])
        return out
    inner = (slice(None), slice(1, None), slice(1, None))
    above, corner = values[:, :-1, 1:], values[:, :-1, :-1]
    out = left.copy()
    out[inner] = _combined(left[inner], above, corner, predictor)
    if predictor == MEAN_BEFORE:
        out[1:, 0], out[1:, :, 0] = values[:-1, 0], values[:-1, :, 0]
        out[1:, 1:, 1:] = (out[1:, 1:, 1:] + values[:-1, 1:, 1:] + 1) >> 1
    return out


def _combined(left: npt.NDArray[Any], above: npt.NDArray[Any], corner: npt.NDArray[Any], predictor: int) -> npt.NDArray[Any]:
    """What numbers to the left, above and in the corner between them predict."""
    if predictor == MEDIAN:
        low, high = np.minimum(left, above), np.maximum(left, above)
        # Between the two, and one of them where the corner says that there is an edge.
        return np.asarray(np.minimum(np.maximum(left + above - corner, low), high))
    return np.asarray((left + above) >> 1)


def _folded(planes: Unsigned, predicted: npt.NDArray[Any]) -> Unsigned:
    """Differences modulo the range of the numbers, folded."""
    difference = planes - predicted.astype(planes.dtype)
    bits = 8 * planes.dtype.itemsize
    negative = difference >> planes.dtype.type(bits - 1)
    # As in signed arithmetic (d << 1) ^ (d >> (bits - 1)).
    return np.asarray((difference << planes.dtype.type(1)) ^ (planes.dtype.type(0) - negative))


# -- backwards ------------------------------------------------------------------------------------------------------------------


def _unfolded(left: Unsigned) -> Unsigned:
    """Differences modulo the range of the numbers: the inverse of folding."""
    one = left.dtype.type(1)
    return np.asarray((left >> one) ^ (left.dtype.type(0) - (left & one)))


def _along_rows(differences: Unsigned) -> Unsigned:
    """Planes from differences to the number on the left, and of the first column to the one above."""
    out = differences.copy()
    out[..., 0] = np.add.accumulate(out[..., 0], axis=1, dtype=out.dtype)
    return np.add.accumulate(out, axis=2, dtype=out.dtype)


def _by_diagonals(differences: Unsigned, predictor: int, before: Unsigned | None = None) -> Unsigned:
    """Planes whose numbers are predicted from those to the left and above: all numbers of an anti-diagonal at once.

    With the plane ``before`` there is one plane, which its numbers predict, too.
    """
    count, y, x = differences.shape
    mask = (1 << (8 * differences.dtype.itemsize)) - 1
    # Numbers of one place in all planes lie together: a diagonal is then every (x - 1)-th row of this.
    wide = np.ascontiguousarray(_wide(differences).transpose(1, 2, 0)).reshape(y * x, count)
    past = None if before is None else _wide(before).reshape(y * x, 1)
    for line in (slice(0, x), slice(0, x * y, x)):
        if past is None:
            wide[line] = np.add.accumulate(wide[line], axis=0) & mask
        else:
            # The corner is in both lines.
            own = line if line.step is None else slice(x, x * y, x)
            wide[own] = (wide[own] + past[own]) & mask
    for where in _diagonals(y, x):
        left, above, corner = (wide[where.start - d : where.stop - d : where.step] for d in (1, x, x + 1))
        guess = _combined(left, above, corner, predictor)
        if past is not None:
            guess = (guess + past[where] + 1) >> 1
        wide[where] += guess
        wide[where] &= mask
    return np.ascontiguousarray(wide.reshape(y, x, count).transpose(2, 0, 1)).astype(differences.dtype)


def _diagonals(y: int, x: int) -> Iterator[slice]:
    """The anti-diagonals of a plane of y rows and x columns without its first row and column, as slices of its flat numbers."""
    for d in range(2, y + x - 1):
        first, last = max(1, d - x + 1), min(y - 1, d - 1)
        if first > last:
            continue
        start = first * x + d - first
        yield slice(start, start + (last - first) * (x - 1) + 1, max(1, x - 1))

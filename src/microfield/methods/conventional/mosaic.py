"""Many planes as one picture, a mosaic, so that a codec of still pictures stores its header once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError

LONGEST = 16000
"""Longest side of a mosaic in pixels: some formats end at 16,383."""


def columns(planes: int, y: int, x: int) -> int:
    """How many of ``planes`` planes of ``y`` times ``x`` pixels stand side by side in a mosaic.

    One, where the mosaic is then no taller than `LONGEST`; else the fewest that divide the number of planes and keep both sides
    short enough; where no number does, the fewest that keep its height.
    """
    rows = max(1, LONGEST // y)
    if planes * y <= LONGEST:
        return 1
    fitting = [n for n in range(-(-planes // rows), max(1, LONGEST // x) + 1) if planes % n == 0]
    return fitting[0] if fitting else -(-planes // rows)


def to_mosaic(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Planes of shape (n, Y, X) as one picture, column by column; places that are left over repeat the last plane.

    Every second plane of a column is upside down, so that the same rows of neighbouring planes meet at the seams.
    """
    n, y, x = planes.shape
    across = columns(n, y, x)
    down = -(-n // across)
    filled = np.concatenate([planes, *([planes[-1:]] * (across * down - n))]) if across * down > n else planes
    grid = _turned(filled.reshape(across, down, y, x)).reshape(across, down * y, x)
    return np.ascontiguousarray(np.concatenate(list(grid), axis=1))


def from_mosaic(picture: npt.NDArray[Any], n: int, y: int, x: int) -> npt.NDArray[Any]:
    """The ``n`` planes of a mosaic, shape (n, Y, X); FormatError where the mosaic has another size."""
    across = columns(n, y, x)
    down = -(-n // across)
    if picture.shape[:2] != (down * y, across * x):
        raise FormatError(f"a mosaic is {picture.shape[:2]} pixels instead of {(down * y, across * x)}.")
    grid = np.stack([picture[:, i * x : (i + 1) * x] for i in range(across)]).reshape(across, down, y, x)
    return _turned(grid).reshape(across * down, y, x)[:n]


def mosaic_shape(n: int, y: int, x: int) -> tuple[int, int]:
    """Rows and columns of the mosaic of ``n`` planes."""
    across = columns(n, y, x)
    return -(-n // across) * y, across * x


def _turned(grid: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Columns of planes (across, down, Y, X) with every second plane upside down; its own inverse."""
    turned = grid.copy()
    turned[:, 1::2] = grid[:, 1::2, ::-1]
    return turned

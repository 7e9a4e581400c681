"""Block edges: how much larger grey-level steps are across the borders of a grid of blocks than beside them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError

Floats = npt.NDArray[np.float64]

GRIDS = (8, 16, 32, 64)
"""Sides of the blocks that are looked for, in pixels; the first block begins at the first row and column."""
_MIN_BORDERS = 3
"""Grids with fewer borders along an axis are not looked for: their mean would rest on single edges of objects."""
_BESIDE = (-2, -1, 1, 2)
"""Pairs of neighbours that a border is compared with, counted from the pair across it."""


def blocking(original: npt.ArrayLike, reconstruction: npt.ArrayLike) -> float | None:
    """Strength of the block edges that a reconstruction has beyond its original: 0 none, 1 a picture of flat squares.

    Parameters
    ----------
    original, reconstruction : arrays of shape ``(..., Y, X)``
        One plane or several, which are pooled.

    Returns
    -------
    float or None
        0 to 1; None where Y and X are too short for three borders of the smallest grid.

    Raises
    ------
    InputError
        If the shapes differ, or a value is NaN or infinite.

    Notes
    -----
    Z. Wang, H. R. Sheikh, A. C. Bovik, "No-reference perceptual quality assessment of JPEG compressed images",
    International Conference on Image Processing (2002), section 2, compares the mean absolute difference across block
    borders, B, with the mean of those inside, A. Here A is taken from the two pairs of neighbours on either side of each
    border, since edges of objects raise these as much as B, and the two are put into ``(B - A) / (B + A)``, which is
    averaged over Y and X. Blocks of 8, 16, 32 and 64 pixels are tried (grids with fewer than three borders are not);
    the value is the largest increase from original to reconstruction, or 0.
    """
    a, b = np.asarray(original), np.asarray(reconstruction)
    if a.shape != b.shape or a.ndim < 2:
        raise InputError(f"block edges are compared in planes of one shape, not {a.shape} and {b.shape}.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("block edges need finite values; replace NaN and infinity first.")
    steps = Steps(a.shape[-2:])
    for x, y in zip(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *a.shape[-2:]), strict=True):
        steps.add(x.astype(np.float64), y.astype(np.float64), 0, 0)
    return steps.value


class Steps:
    """Running sums of the absolute differences between neighbours, for every pair of rows and of columns.

    Parameters
    ----------
    shape : tuple
        ``(Y, X)`` of a whole plane.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        # Original and reconstruction; one sum for every row (column) and the next.
        self.rows, self.columns = np.zeros((2, shape[0] - 1)), np.zeros((2, shape[1] - 1))

    def add(self, x: Floats, y: Floats, start: int, lead: int) -> None:
        """Count rows of a plane from row ``start`` on, the first ``lead`` of which were counted before."""
        for which, plane in enumerate((x, y)):
            down = np.diff(plane[max(lead - 1, 0) :], axis=0)
            first = start + max(lead - 1, 0)
            self.rows[which, first : first + len(down)] += np.abs(down, out=down).sum(axis=1)
            across = np.diff(plane[lead:], axis=1)
            self.columns[which] += np.abs(across, out=across).sum(axis=0)

    @property
    def value(self) -> float | None:
        """The largest increase of block edges over all grids, 0 to 1; None where no grid fits."""
        increases = []
        for grid in GRIDS:
            edges = [found for steps in (self.rows, self.columns) if (found := _edges(steps, grid)) is not None]
            if edges:
                before, after = np.mean(edges, axis=0)
                increases.append(float(after - before))
        return max(0.0, *increases) if increases else None


def _edges(steps: Floats, grid: int) -> Floats | None:
    """``(B - A) / (B + A)`` (see `blocking`) of original and reconstruction along one axis; None with too few borders."""
    borders = np.arange(grid - 1, steps.shape[1] - 2, grid)
    if len(borders) < _MIN_BORDERS:
        return None
    across = steps[:, borders].mean(axis=1)
    beside = np.mean([steps[:, borders + shift].mean(axis=1) for shift in _BESIDE], axis=0)
    total = across + beside
    return np.asarray((across - beside) / np.where(total > 0, total, 1.0))

"""Least squares over the voxels of an image, summed up strip by strip."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
RIDGE = 1e-7
"""Added to the diagonal of normal equations whose features have unit length."""
MOST_EXPONENT = 31
"""Weights are whole multiples of 2**-exponent, at most 2**-this."""
LARGEST_CODE = 127
"""Of a weight as a whole number."""


class Normal:
    """Normal equations of features against what is lacking, summed in double precision.

    Attributes
    ----------
    products : float64 array of shape (features, features)
    along : float64 array of shape (features,)
        Products of the features with what is lacking.
    energy : float
        Squared sum of what is lacking.
    voxels : int
        How many there were.
    """

    def __init__(self, n: int) -> None:
        self.products, self.along = np.zeros((n, n)), np.zeros(n)
        self.energy, self.voxels = 0.0, 0

    def add(self, rows: npt.NDArray[np.floating], lacking: npt.NDArray[np.floating]) -> None:
        """Learn some voxels: features of shape (features, voxels), and what is lacking there."""
        wide, wanted = rows.astype(np.float64), lacking.reshape(-1).astype(np.float64)
        self.products += wide @ wide.T
        self.along += wide @ wanted
        self.energy += float(wanted @ wanted)
        self.voxels += wanted.size

    def solved(self, which: npt.NDArray[np.intp], along: Doubles | None = None) -> Doubles:
        """Least-squares weights of some of the features; features that say the same share their weight.

        ``along`` replaces the products of all features with what is lacking, where others have taken away some of it.
        """
        along = self.along if along is None else along
        products = self.products[np.ix_(which, which)]
        size = np.sqrt(np.maximum(np.diag(products), 1e-300))
        relative = products / np.outer(size, size)
        relative[np.diag_indices_from(relative)] += RIDGE
        return np.asarray(np.linalg.solve(relative, along[which] / size) / size)

    def removed(self, which: npt.NDArray[np.intp], weights: Doubles) -> float:
        """By how much such a correction lessens the energy; negative where it makes it larger."""
        products = self.products[np.ix_(which, which)]
        return float(2 * weights @ self.along[which] - weights @ products @ weights)

    def whole(self, which: npt.NDArray[np.intp], left: Doubles | None = None) -> tuple[int, tuple[int, ...]]:
        """The finest exponent with which the weights of some features are codes of a byte, and the codes.

        Weights are rounded one by one, and those that are not rounded yet make up for it. ``left`` replaces the products of all
        features with what is lacking, as in `solved`.
        """
        left = self.along if left is None else left
        exponent, codes = 0, np.zeros(len(which), np.int64)
        for k in range(len(which)):
            weights = self.solved(which[k:], left)
            if not k:
                largest = float(np.max(np.abs(weights), initial=0.0))
                exponent = MOST_EXPONENT if largest <= 0 else int(np.clip(math.floor(math.log2(120 / largest)), 0, MOST_EXPONENT))
            codes[k] = np.clip(np.rint(weights[0] * 2.0**exponent), -LARGEST_CODE, LARGEST_CODE)
            left = left - codes[k] * 2.0**-exponent * self.products[:, which[k]]
        return exponent, tuple(codes.tolist())

"""Arrays that are mostly zeros, kept in memory by what they hold: states of attempts would take several times the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.methods.field.lifting import Floats

DENSE = 0.45
"""From this share of values that are not zero on an array is kept as it is: a value takes 4 bytes, and 8 with its place."""


@dataclass(frozen=True)
class Sparse:
    """A float32 array.

    Attributes
    ----------
    shape : tuple of int
    where : uint32 array, optional
        Places in C order of the values that are not zero; None where all values are kept.
    values : float32 array
        Those values, or all of them.
    """

    shape: tuple[int, ...]
    where: npt.NDArray[np.uint32] | None
    values: Floats

    @classmethod
    def of(cls, array: Floats) -> Sparse:
        """Keep an array."""
        flat = array.reshape(-1)
        if flat.size > np.iinfo(np.uint32).max or np.count_nonzero(flat) > DENSE * flat.size:
            return cls(array.shape, None, flat)
        where = np.flatnonzero(flat)
        return cls(array.shape, where.astype(np.uint32), flat[where])

    def full(self) -> Floats:
        """The array."""
        if self.where is None:
            return self.values.reshape(self.shape)
        found = np.zeros(self.shape, np.float32)
        found.reshape(-1)[self.where] = self.values
        return found

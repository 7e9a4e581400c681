"""The decoder of methods that cannot read a voxel alone: the part is decoded whole when first read, and kept."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import Layout
from microfield.methods.base import Box, Cost


class WholeDecoder(ABC):
    """Reads one part, of ``nbytes`` in the file; safe to call from several threads."""

    def __init__(self, layout: Layout, nbytes: int) -> None:
        self.layout, self.nbytes = layout, nbytes
        self._values: npt.NDArray[Any] | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def _decode(self) -> npt.NDArray[Any]:
        """All values, in the part's shape and dtype."""

    def cost(self, box: Box) -> Cost:
        """The whole part and all of its bytes, whatever is asked."""
        del box
        return Cost(self.layout.size, self.nbytes)

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Values of the outer product of ``box``, in the part's dtype."""
        values: npt.NDArray[Any] = self.values()[np.ix_(*box)]
        return values

    def at(self, points: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Values at integer points of shape (n, ndim)."""
        values: npt.NDArray[Any] = self.values()[tuple(points.T)]
        return values

    def values(self) -> npt.NDArray[Any]:
        """The whole part."""
        with self._lock:
            if self._values is None:
                self._values = self._decode()
            return self._values

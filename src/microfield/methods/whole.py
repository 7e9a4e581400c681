"""The decoder of methods that cannot read a voxel alone: the part is decoded whole when first read, and kept."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.format.grid import Box, as_slice
from microfield.image import Layout
from microfield.methods.base import Cost, Decoder


class WholeDecoder(Decoder):
    """Reads one part, of ``nbytes`` in the file, and, where it builds on one, its ``parent``; safe to use from several threads."""

    bytes_per_voxel: ClassVar[int] = 0
    """Memory that `_decode` takes for every voxel, beside the part itself, about."""
    bytes_per_byte: ClassVar[int] = 1
    """The same for every byte of the part in the file."""

    def __init__(self, layout: Layout, nbytes: int, parent: Decoder | None = None) -> None:
        super().__init__(layout)
        self.nbytes, self.parent = nbytes, parent
        self._values: npt.NDArray[Any] | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def _decode(self) -> npt.NDArray[Any]:
        """All values, in the part's shape and dtype."""

    def cost(self, box: Box) -> Cost:
        """The whole part and all of its bytes, whatever is asked, and what its parent costs as a whole."""
        del box
        memory = self.decoding_bytes + self.layout.nbytes
        if self.parent is None:
            return Cost(self.layout.size, self.nbytes, memory)
        before = self.parent.cost(tuple(range(n) for n in self.parent.layout.shape))
        return Cost(self.layout.size + before.voxels, self.nbytes + before.nbytes, memory + before.memory)

    @property
    def decoding_bytes(self) -> int:
        """Memory that `_decode` takes beside the part itself, about."""
        return self.layout.size * self.bytes_per_voxel + self.nbytes * self.bytes_per_byte

    @property
    def held(self) -> int:
        """Bytes of the decoded part, which is kept, and of what it is decoded from."""
        return self.layout.nbytes + self.nbytes

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Values of the outer product of ``box``, in the part's dtype; a view that cannot be written to."""
        values: npt.NDArray[Any] = self.values()[tuple(as_slice(r) for r in box)]
        return values

    def at(self, points: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Values at integer points of shape (n, ndim)."""
        values: npt.NDArray[Any] = self.values()[tuple(points.T)]
        return values

    def values(self) -> npt.NDArray[Any]:
        """The whole part."""
        with self._lock:
            if self._values is None:
                values = self._decode()
                values.flags.writeable = False  # Reads are views of it.
                self._values = values
            return self._values

"""The simplest method there is, for tests of everything around methods: it stores a part's bytes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.format.grid import Box
from microfield.image import Layout
from microfield.methods import register
from microfield.methods.base import Context, Cost, Decoder, Encoded, Method, PartData


class RawDecoder(Decoder):
    def __init__(self, values: npt.NDArray[Any], layout: Layout) -> None:
        super().__init__(layout)
        self.values = values

    def read(self, box: Box) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = self.values[np.ix_(*box)]
        return values

    def at(self, points: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = self.values[tuple(points.T)]
        return values

    def cost(self, box: Box) -> Cost:
        voxels = math.prod(len(r) for r in box)
        return Cost(voxels, voxels * self.values.itemsize)


@register
class Raw(Method):
    name: ClassVar[str] = "raw-for-tests"
    summary: ClassVar[str] = "Stores every voxel."
    experimental: ClassVar[bool] = True

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context,
               state: Any = None) -> Encoded:
        del quality, context, state
        return Encoded((block.tobytes(),), np.zeros(layout.channels), exhausted=True)

    def smallest(self, layout: Layout) -> int:
        return layout.nbytes

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> RawDecoder:
        if bitstream_version != cls.bitstream_version or len(data.own) != 1:
            raise FormatError("these are not the sections of a raw part.")
        return RawDecoder(np.frombuffer(data.own[0], layout.dtype).reshape(layout.shape), layout)

"""The simplest method there is, for tests of everything around methods: it stores a part's bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.methods import register
from microfield.methods.base import Box, Context, Cost, Encoded, Sections

if TYPE_CHECKING:
    from microfield.image import Layout


@dataclass(frozen=True)
class RawOptions:
    """Raw has no options."""


class RawDecoder:
    def __init__(self, values: npt.NDArray[Any]) -> None:
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
class Raw:
    name: ClassVar[str] = "raw-for-tests"
    summary: ClassVar[str] = "Stores every voxel."
    bitstream_version: ClassVar[int] = 1
    experimental: ClassVar[bool] = True
    Options: ClassVar[type[Any]] = RawOptions
    quality_is_bytes: ClassVar[bool] = True
    accepts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: Any) -> None:
        self.options = options

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context,
               state: Any = None) -> Encoded:
        del quality, context, state
        return Encoded((block.tobytes(),), block.nbytes, np.zeros(layout.channels), exhausted=True)

    def smallest(self, layout: Layout) -> int:
        return layout.nbytes

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, sections: Sections) -> RawDecoder:
        if bitstream_version != cls.bitstream_version or len(sections) != 1:
            raise FormatError("these are not the sections of a raw part.")
        return RawDecoder(np.frombuffer(sections[0], layout.dtype).reshape(layout.shape))

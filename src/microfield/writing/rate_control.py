"""The searches for one block, given to methods that consist of other methods, and the one block as a request of one part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import Layout
from microfield.methods.base import ByteLimit, Context, Encoded, Method, Surroundings
from microfield.writing.request import Request
from microfield.writing.to_a_quality import encode_to_quality
from microfield.writing.to_a_size import encode_to_size


@dataclass(frozen=True)
class BlockPart:
    """A block in memory as the only part of an image."""

    block: npt.NDArray[Any]
    layout: Layout

    @property
    def box(self) -> tuple[slice, ...]:
        """All of it."""
        return tuple(slice(0, n) for n in self.layout.shape)

    @property
    def channels(self) -> npt.NDArray[np.intp]:
        """All of its channels."""
        return np.arange(self.layout.channels)

    def read(self) -> npt.NDArray[Any]:
        """The block."""
        return self.block

    def read_with_margin(self, margin: tuple[int, ...]) -> Surroundings:
        """The block: nothing is known of what lies around it."""
        del margin
        return Surroundings(self.block, self.box)


class BlockRateControl:
    """`microfield.methods.base.RateControl`: the searches of this package over a single block; sizes count sections only."""

    def to_size(self, method: Method, block: npt.NDArray[Any], layout: Layout, nbytes: int, context: Context,
                state: Any = None) -> Encoded:
        """The best the method makes of the block in sections of at most ``nbytes`` together."""
        request = _request(method, block, layout, context)
        return encode_to_size(request, nbytes, None if state is None else [state])[0]

    def to_quality(self, method: Method, block: npt.NDArray[Any], layout: Layout, error: float, nbytes: int, context: Context,
                   ) -> Encoded:
        """The smallest sections, of at most ``nbytes`` together, whose mean squared error in `Context.unit` is ``error``."""
        return encode_to_quality(_request(method, block, layout, context), error, nbytes, lambda psnr: f"{psnr:.2f} dB")[0]


def _request(method: Method, block: npt.NDArray[Any], layout: Layout, context: Context) -> Request:
    request = Request(method, [BlockPart(block, layout)], context, framed=False)
    return request.with_curves() if isinstance(method.quality, ByteLimit) else request

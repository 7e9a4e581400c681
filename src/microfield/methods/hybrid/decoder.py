"""A part back to grey levels: its prior decoded, corrected, and set back to the prior where a unit keeps the plain result."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.format.grid import Box
from microfield.image import Layout
from microfield.methods import get_method
from microfield.methods.base import Cost, Decoder, PartData
from microfield.methods.field.refine import Refinement
from microfield.methods.hybrid.head import NETWORKS, NONE, Head
from microfield.methods.hybrid.volumes import Scale, block_of, frames_of, volume_shape
from microfield.methods.whole import WholeDecoder

PINNED = bytes.fromhex("f20a4af3")
"""Hash of the refinement network that a part need not name."""


@lru_cache(maxsize=8)
def network_of(name: bytes) -> Refinement:
    """The refinement network of a hash."""
    return Refinement.load(name or PINNED)


def whole(layout: Layout) -> Box:
    """All of a part."""
    return tuple(range(n) for n in layout.shape)


def residual_layout(layout: Layout) -> Layout:
    """The layout of a residual that a network codes: grey levels that may be negative."""
    return Layout(layout.shape, layout.axes, np.dtype(np.float32))


def opened_prior(layout: Layout, head: Head, section: bytes, data: PartData) -> tuple[Decoder, Scale]:
    """The decoder of a prior, and the extremes of its channels."""
    decoder = get_method(head.prior).decoder(layout, head.version, PartData((section,), working=data.working, trusted=data.trusted))
    extremes = decoder.extremes
    if extremes is None:
        raise FormatError(f"a part of {head.prior} does not say its extremes.")
    return decoder, Scale(*extremes)


def opened_residual(layout: Layout, head: Head, working: int | None = None) -> Decoder | None:
    """The decoder of a network that is the residual; None where the residual is none."""
    if head.residual not in NETWORKS:
        return None
    data = PartData((head.part,), working=working)
    return get_method(head.residual).decoder(residual_layout(layout), head.part_version, data)


def corrected(plain: npt.NDArray[Any], layout: Layout, head: Head, scale: Scale, network: Decoder | None = None,
              ) -> npt.NDArray[Any]:
    """What the residual makes of the prior's frames of shape (channels, frames, Y, X), in every unit alike.

    ``network`` is the decoder of `opened_residual`, where it gives one.
    """
    if network is None:
        return _filtered(plain, layout, head, scale)
    residual = frames_of(network.read(whole(layout)), layout)
    out = plain.copy()
    for channel in scale.coded:
        span = scale.high[channel] - scale.low[channel]
        with np.errstate(over="ignore"):
            share = (residual[channel].astype(np.float64) / span).astype(np.float32)
        out[channel] = scale.added(plain[channel], np.nan_to_num(share), channel)
    return out


def _filtered(plain: npt.NDArray[Any], layout: Layout, head: Head, scale: Scale) -> npt.NDArray[Any]:
    """The frames with the filter of every channel."""
    out, shape = plain.copy(), volume_shape(layout)
    network: Callable[[], Refinement] = partial(network_of, head.network)
    for channel in scale.coded:
        chosen = head.filters[channel]
        if chosen.step or chosen.taps:
            volume = scale.stretched(plain[channel], channel).reshape(shape)
            correction = chosen.correction(volume, network).reshape(plain.shape[1:])
            out[channel] = scale.added(plain[channel], correction, channel)
    return out


class HybridDecoder(WholeDecoder):
    """Reads one part."""

    bytes_per_voxel: ClassVar[int] = 40

    def __init__(self, layout: Layout, section: bytes, data: PartData) -> None:
        super().__init__(layout, len(section))
        self.head, rest = Head.unpack(section, layout)
        self.prior, self.scale = opened_prior(layout, self.head, rest, data)
        self.network = opened_residual(layout, self.head, data.working)

    @property
    def extremes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Extremes of the channels, which are those of the prior."""
        return self.scale.low, self.scale.high

    def cost(self, box: Box) -> Cost:
        """The whole part with its prior; where nothing is corrected, what the prior costs."""
        prior = self.prior.cost(box)
        if self.head.residual == NONE:
            return Cost(prior.voxels, self.nbytes, prior.memory)
        own, network = super().cost(box), 0
        if self.network is not None:
            network = self.network.cost(whole(self.layout)).memory
        return Cost(own.voxels, own.nbytes, own.memory + prior.memory + network)

    @property
    def held(self) -> int:
        """Bytes of the decoded part, of its decoded prior, and of a network."""
        return super().held + self.prior.held + (0 if self.network is None else self.network.held)

    def averaged(self, steps: tuple[int, ...]) -> npt.NDArray[np.float64] | None:
        """Those of the prior: what corrects it moves values between neighbours."""
        return self.prior.averaged(steps)

    def _decode(self) -> npt.NDArray[Any]:
        block = self.prior.read(whole(self.layout))
        if self.head.residual == NONE:
            return block
        plain = frames_of(block, self.layout)
        out = corrected(plain, self.layout, self.head, self.scale, self.network)
        if self.head.units is not None:
            self.head.units.put(out, plain, self.head.kept)
        return block_of(out, self.layout)

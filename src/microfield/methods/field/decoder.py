"""A part back to grey levels, whole; previews decode coarse levels only."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.format.grid import Box
from microfield.image import Layout
from microfield.methods import get_method
from microfield.methods.base import Cost, Decoder, PartData
from microfield.methods.field import coefficients, film
from microfield.methods.field.groups import Groups, gathered, scattered
from microfield.methods.field.head import ALPHA, ORIENTED_CONTEXTS, WHOLE_REFINEMENT, Head, Prior, step_of
from microfield.methods.field.lifting import Floats, Schedule, gain, inverse
from microfield.methods.field.network import ContextNet
from microfield.methods.field.refine import Refinement
from microfield.methods.field.refine_whole import WholeRefinement
from microfield.methods.whole import WholeDecoder


@lru_cache(maxsize=8)
def contexts_of(name: bytes) -> ContextNet:
    """The context network of a hash."""
    return ContextNet.load(name)


@lru_cache(maxsize=8)
def refinement_of(name: bytes) -> WholeRefinement:
    """The refinement network of a hash, in whole numbers."""
    return WholeRefinement.load(name)


@lru_cache(maxsize=8)
def floating_refinement_of(name: bytes) -> Refinement:
    """The refinement network of a hash in floating point, as bitstream versions before 4 have it."""
    return Refinement.load(name)


def opened(prior: Prior, layout: Layout, stream: bytes, data: PartData) -> Decoder:
    """The decoder of the stream of a codec, which follows the head of a part."""
    if not stream:
        raise FormatError("a part ends before the stream of its codec.")
    return get_method(prior.name).decoder(layout, prior.version, PartData((stream,), working=data.working, trusted=data.trusted))


def decoded_by(prior: Decoder, head: Head, layout: Layout) -> Floats:
    """What a codec decodes, as values of shape (channels, batch, z, y, x)."""
    block = prior.read(tuple(range(n) for n in layout.shape))
    return head.groups(layout).volumes(head.channels.forward(gathered(block, layout)))


def refined(values: Floats, head: Head) -> Floats:
    """Reconstructed channels of shape (channels, batch, z, y, x) with their refinement added and then filtered, in place."""
    if head.alpha:
        network = refinement(head)
        for channel in values:
            add_refinement(channel, network.correction(channel, step_of(head.step), 0.0), head.alpha)
    return filtered(values, head)


def add_refinement(channel: Floats, correction: Floats, alpha: int) -> None:
    """Add so many parts of `ALPHA` of a correction to a channel; both are changed."""
    correction *= np.float32(alpha / ALPHA)
    channel += correction


def filtered(values: Floats, head: Head) -> Floats:
    """Refined channels with what their filters add, in place."""
    for channel, one in zip(values, head.filters, strict=False):
        if one.number:
            channel += one.correction(channel, step_of(head.step))
    return values


def refinement(head: Head) -> Refinement:
    """The refinement network of a part."""
    name = head.networks[1]
    return refinement_of(name) if head.version >= WHOLE_REFINEMENT else floating_refinement_of(name)


def restored(values: Floats, head: Head, groups: Groups, layout: Layout) -> npt.NDArray[Any]:
    """Grey levels of shape (channels, frames, Y, X) from refined channels (channels, batch, z, y, x), which are used up."""
    frames = groups.unrolled(groups.frames(values))
    return head.channels.inverse(frames, layout.dtype)


class FieldDecoder(WholeDecoder):
    """Reads one part."""

    bytes_per_voxel: ClassVar[int] = 28
    bytes_per_byte: ClassVar[int] = 200  # Decisions are decoded into lists before the walk takes them.

    def __init__(self, layout: Layout, section: bytes, version: int, data: PartData | None = None) -> None:
        super().__init__(layout, len(section))
        self.head, self.data = Head.unpack(section, layout, version)
        self.prior = None if self.head.prior is None else opened(self.head.prior, layout, self.data, data or PartData(()))
        self.groups: Groups | None = None
        if self.head.channels.coded.any():
            self.groups = self.head.groups(layout)
        elif self.data:
            raise FormatError("a constant part is followed by more.")

    def cost(self, box: Box) -> Cost:
        """The whole part, but for a constant one."""
        if self.groups is None:
            return Cost(math.prod(map(len, box)), self.nbytes)
        own = super().cost(box)
        return own if self.prior is None else Cost(own.voxels, own.nbytes, own.memory + self.prior.cost(box).memory)

    @property
    def held(self) -> int:
        """Bytes of the decoded part; a constant one holds a value per channel."""
        if self.groups is None:
            return 16 * self.layout.channels
        return super().held + (0 if self.prior is None else self.prior.held)

    @property
    def extremes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Extremes of the channels, which the head holds."""
        return self.head.channels.low, self.head.channels.high

    def _decode(self) -> npt.NDArray[Any]:
        if self.groups is None:
            shape = [self.layout.shape[i] for i in self.layout.channel_axes]
            shape += [1] * (len(self.layout.shape) - len(shape))
            order = (*self.layout.channel_axes, *(i for i, a in enumerate(self.layout.axes) if a not in "CS"))
            low = self.head.channels.low.astype(self.layout.dtype).reshape(shape).transpose(np.argsort(order))
            return np.broadcast_to(low, self.layout.shape)
        if self.prior is not None:
            values = decoded_by(self.prior, self.head, self.layout)
        elif self.groups.film is not None:
            in_loop = self.head.version >= WHOLE_REFINEMENT
            decided, rest = film.unpacked(self.data, self.groups, in_loop)
            refiner = film.Refiner(refinement_of(self.head.networks[1]), step_of(self.head.step)) if in_loop else None
            values = film.assembled(self.groups, decided, self._coefficients(self.groups, 0, rest), refiner)
        else:
            values = self.groups.inverse(self._coefficients(self.groups, 0, self.data))
        return scattered(restored(refined(values, self.head), self.head, self.groups, self.layout), self.layout)

    def _coefficients(self, groups: Groups, level: int, data: bytes) -> list[Floats]:
        contexts = contexts_of(self.head.networks[0])
        if contexts.features.oriented != (self.head.version >= ORIENTED_CONTEXTS):
            raise FormatError("a part names a context network that its bitstream version does not have.")
        return coefficients.decode(data, groups.order, step_of(self.head.step), contexts, level)

    # -- previews -------------------------------------------------------------------------------------------------

    def averaged(self, steps: tuple[int, ...]) -> npt.NDArray[np.float64] | None:
        """About the means of blocks of ``steps`` voxels, from coarse levels only; None where those do not suffice.

        From the approximations of the wavelet one level finer than asked, as if finer details and the refinement were zero.
        The tests hold them within 1 % of the range (root mean square) of the means of the decoded voxels.
        """
        if self.prior is not None:
            return self.prior.averaged(steps)
        groups = self.groups
        sizes = dict(zip(self.layout.axes, steps, strict=True))
        wanted = (sizes.get("T", 1), sizes.get("Z", 1), sizes["Y"], sizes["X"])
        if groups is None or wanted[2] != wanted[3] or wanted[2] & (wanted[2] - 1) or any(sizes.get(a, 1) > 1 for a in "CS"):
            return None
        level = self._level(groups, wanted)
        if not level:
            return None
        values = groups.inverse(self._coefficients(groups, level, self.data), level)
        frames = values.reshape(len(values), -1, *values.shape[3:])
        split = groups.order.schedules[0]
        halved = [sum(axis in split.split(k) for k in range(level)) for axis in (1, 2, 3)]
        pooled = _pooled_channels(self.head, frames, groups, halved, wanted)
        shape = tuple(-(-n // step) for n, step in zip(self.layout.shape, steps, strict=True))
        return scattered(pooled, self.layout, shape)

    def _level(self, groups: Groups, wanted: tuple[int, int, int, int]) -> int:
        """The coarsest level whose approximations are fine enough, 0 where that is none but the voxels themselves."""
        # Rolled planes have other blocks, where Z is the batch it would have to be averaged plane by plane, and films are predicted
        # at full resolution.
        if groups.shifts is not None or groups.along_time or groups.film is not None:
            return 0
        t, z, y, _ = wanted
        # Frames that are not averaged must be there: those of T, which may be the wavelet's first axis.
        depth = t if groups.extents[1] == 1 < groups.extents[0] else z
        split = groups.order.schedules[0]
        level = along = 0
        while level < min(len(split.levels), y.bit_length() - 2):
            along += 1 in split.split(level)
            if depth % (1 << along):
                break
            level += 1
        return level


def _pooled_channels(head: Head, frames: Floats, groups: Groups, halved: list[int], wanted: tuple[int, int, int, int],
                     ) -> npt.NDArray[np.float64]:
    """Channels of shape (channels, frames, y, x) from approximations, averaged along frames (Z), y and x."""
    batch, *extents = groups.volume
    # T is never averaged; where there is no Z it is the wavelet's first axis.
    steps = (1 if groups.extents[1] == 1 else wanted[1], wanted[2], wanted[3])
    pooled = []
    for c, grey in head.channels.grey(frames):
        grey = grey.reshape(batch, -1, *grey.shape[1:])
        for axis in range(3):
            grey = _pooled(grey, axis + 1, halved[axis], steps[axis], extents[axis])
        # Weights below 0 overshoot, which would wrap around in whole numbers.
        pooled.append(np.clip(grey.reshape(-1, *grey.shape[2:]), head.channels.low[c], head.channels.high[c]))
    return np.stack(pooled)


def _pooled(values: npt.NDArray[np.float64], axis: int, halved: int, step: int, extent: int) -> npt.NDArray[np.float64]:
    """Means of blocks of ``step`` voxels along an axis of which there is every ``2**halved``-th grid point.

    They are those of the voxels that the wavelet makes of these points without any details.
    """
    front = np.moveaxis(values, axis, 0)
    ratio, blocks, last, rest = step >> halved, -(-extent // step), len(front) - 1, extent % step
    out = np.zeros((blocks, *front.shape[1:]))
    for first, stop, voxels in ((0, extent // step, step), (extent // step, blocks, rest)):
        for offset, weight in _weights(halved, voxels) if first < stop else ():
            # Beyond the ends the points are their own mirror image.
            where = np.abs(np.arange(first, stop) * ratio + offset)
            where = np.where(where > last, np.maximum(2 * last - where, 0), where)
            out[first:stop] += weight * front[where]
    return np.moveaxis(out, 0, axis)


@lru_cache
def _weights(halved: int, voxels: int) -> tuple[tuple[int, float], ...]:
    """Offsets and weights of the grid points that make up the mean of so many voxels, the first of them at a grid point."""
    reach, ratio = 5 if halved else 0, -(-voxels // (1 << halved))
    split = Schedule(((0,),) * halved, ((ratio + 4 * reach) << halved,))
    block = slice(2 * reach << halved, (2 * reach << halved) + voxels)
    found = []
    for offset in range(-reach, ratio + reach):
        points = np.zeros(split.shape, np.float32)
        points[2 * reach + offset] = gain(split, halved)
        found.append((offset, float(inverse(points, split)[block].mean(dtype=np.float64))))
    total = sum(weight for _, weight in found)
    return tuple((offset, weight / total) for offset, weight in found if abs(weight) > 1e-7)

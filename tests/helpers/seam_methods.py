"""Methods that prove the seam: parts as differences to their predecessor, nested methods under one budget, shared sections.

Each is a whole method in a few lines; the contracts run over them as over every other one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.format.framing import Sections
from microfield.image import Layout
from microfield.methods import register
from microfield.methods.base import ByteLimit, Context, Decoder, Encoded, KnobTraits, Method, Part, PartData, Usable
from microfield.methods.whole import WholeDecoder


class Steps(WholeDecoder):
    """Grey levels as whole steps above the least of their channel, or above the parent where there is one.

    ``own`` holds least, largest and step of every channel as doubles, then a zlib stream of codes.
    """

    def __init__(self, layout: Layout, own: bytes, parent: Decoder | None = None, dictionary: bytes = b"") -> None:
        super().__init__(layout, len(own), parent)
        if len(own) < 24 * layout.channels:
            raise FormatError("a part ends before its codes.")
        levels = np.frombuffer(own[: 24 * layout.channels], "<f8").reshape(3, -1)
        if not (np.abs(levels) < 1e300).all():
            raise FormatError("the levels of a part are no numbers.")
        self.low, self.high, self.step = (spread(row, layout) for row in levels)
        self.codes, self.dictionary = own[24 * layout.channels :], dictionary

    def _decode(self) -> npt.NDArray[Any]:
        stream = zlib.decompressobj(zdict=self.dictionary)
        try:
            raw = stream.decompress(self.codes, 4 * self.layout.size + 1)
        except zlib.error:
            raise FormatError("a part is no zlib stream.") from None
        if len(raw) != 4 * self.layout.size or not stream.eof or stream.unused_data:
            raise FormatError("a part does not hold as many values as it should.")
        base = self.low if self.parent is None else self.parent.read(whole(self.layout))
        grey = np.clip(np.frombuffer(raw, "<i4").reshape(self.layout.shape) * self.step + base, self.low, self.high)
        kind = self.layout.dtype
        if kind.kind == "f":
            return np.clip(grey, np.finfo(kind).min, np.finfo(kind).max).astype(kind)
        return np.rint(np.clip(grey, np.iinfo(kind).min, np.iinfo(kind).max)).astype(kind)


class Corrected(WholeDecoder):
    """Coarse steps, corrected by what was left of them."""

    def __init__(self, layout: Layout, coarse: Steps, rest: Steps) -> None:
        super().__init__(layout, coarse.nbytes + rest.nbytes)
        self.coarse, self.rest = coarse, rest

    def _decode(self) -> npt.NDArray[Any]:
        grey = np.clip(self.coarse.values() + self.rest.values(), self.coarse.low, self.coarse.high)
        return np.asarray((grey if self.layout.dtype.kind == "f" else np.rint(grey)).astype(self.layout.dtype))


def whole(layout: Layout) -> tuple[range, ...]:
    return tuple(range(n) for n in layout.shape)


def spread(per_channel: npt.NDArray[np.float64], layout: Layout) -> npt.NDArray[np.float64]:
    return per_channel.reshape([n if i in layout.channel_axes else 1 for i, n in enumerate(layout.shape)])


def in_steps(block: npt.NDArray[Any], layout: Layout, quality: float, context: Context) -> tuple[bytes, bytes]:
    """Levels and codes of a block; at quality 0 all codes are 0."""
    others = tuple(i for i in range(block.ndim) if i not in layout.channel_axes)
    low, high = (found.reshape(-1).astype(np.float64) for found in (block.min(axis=others), block.max(axis=others)))
    step = 4 * context.reach * context.unit / np.sqrt(np.maximum(context.channel_weights, 1e-6)) * 2.0 ** (-25 * quality / 1000)
    base = spread(low, layout) if context.parent is None else context.parent.decoder.read(whole(layout))
    codes = np.rint((block.astype(np.float64) - base) / spread(step, layout)).clip(-(2**31), 2**31 - 1).astype("<i4")
    return np.concatenate([low, high, step]).tobytes(), codes.tobytes()


class Rounded(Method):
    """Rounds grey levels. Not registered: what the others stand on."""

    name: ClassVar[str] = "rounded-for-tests"
    summary: ClassVar[str] = "Grey levels in steps."
    experimental: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Usable]] = frozenset({"channel_weights"})

    @property
    def quality(self) -> KnobTraits:
        return KnobTraits(step=0.2, slope=0.008)

    def smallest(self, layout: Layout) -> int:
        return 24 * layout.channels + len(zlib.compress(bytes(4 * layout.size), 9))

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        levels, codes = in_steps(block, layout, quality, context)
        reference = None if context.parent is None else context.parent.number
        encoded = Encoded((levels + zlib.compress(codes, 9),), None, reference=reference)
        return self.finish(encoded, block, layout, context) if context.measure else encoded

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> Decoder:
        return Steps(layout, data.own[0], data.parent)


@register
class Differences(Rounded):
    """Parts as differences to their predecessor, in chains of four."""

    name: ClassVar[str] = "differences-for-tests"
    longest_chain: ClassVar[int] = 3

    def references(self, parts: Sequence[Part], context: Context) -> Sequence[int | None]:
        # A predecessor of another shape, at the edge of the grid, is no use.
        fits = [i > 0 and i % 4 and parts[i].layout == parts[i - 1].layout for i in range(len(parts))]
        return [i - 1 if fit else None for i, fit in enumerate(fits)]


@register
class Nested(Method):
    """Two methods under one byte limit: coarse steps in two thirds of it, the rest of the error in what they leave."""

    name: ClassVar[str] = "nested-for-tests"
    summary: ClassVar[str] = "Coarse steps, then fine steps of what is left."
    experimental: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Usable]] = frozenset({"channel_weights"})
    sections: ClassVar[int] = 2

    @property
    def quality(self) -> ByteLimit:
        return ByteLimit(fills=False)

    def smallest(self, layout: Layout) -> int:
        return 2 * Rounded().smallest(layout)

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        assert context.rate_control is not None
        inner, search, whole_error = Rounded(), context.rate_control, replace(context, measure=True)
        first = min(int(quality) * 2 // 3, int(quality) - inner.smallest(layout))
        coarse = search.to_size(inner, block, layout, first, whole_error)
        left = block - inner.decoder(layout, 1, PartData(coarse.sections)).read(whole(layout)).astype(np.float64)
        rest = search.to_size(inner, left, signed(layout), int(quality) - coarse.payload, whole_error)
        return self.finish(Encoded(coarse.sections + rest.sections, None), block, layout, context)

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> Decoder:
        if len(data.own) != 2:
            raise FormatError("these are not two sections.")
        return Corrected(layout, Steps(layout, data.own[0]), Steps(signed(layout), data.own[1]))


def signed(layout: Layout) -> Layout:
    """The layout of what is left: it may be negative."""
    return Layout(layout.shape, layout.axes, np.dtype(np.float64))


@register
class Shared(Rounded):
    """Codes are compressed against a dictionary that all parts share."""

    name: ClassVar[str] = "shared-for-tests"

    def share(self, parts: Sequence[Part], context: Context, nbytes: int | None) -> Sections:
        part = parts[len(parts) // 2]
        values = part.read().astype(np.float64)
        low = values.min()
        return (np.rint((values - low) / max(np.ptp(values), 1e-9) * 4).astype("<i4").tobytes()[-64:], b"second")

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        levels, codes = in_steps(block, layout, quality, context)
        packer = zlib.compressobj(9, zdict=context.shared[0])
        encoded = Encoded((levels + packer.compress(codes) + packer.flush(),), None)
        return self.finish(encoded, block, layout, context) if context.measure else encoded

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> Decoder:
        if len(data.shared) != 2 or data.shared[1] != b"second":
            raise FormatError("the shared dictionary is missing.")
        return Steps(layout, data.own[0], data.parent, data.shared[0])

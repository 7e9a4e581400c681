"""The method `lossless`: how a part is predicted and packed is found by trying, and every part is decoded again and compared."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.errors import FormatError
from microfield.image import Layout
from microfield.methods.base import Context, Encoded, Exact, Method, PartData
from microfield.methods.lossless import values
from microfield.methods.lossless.predict import NOTHING, predictors, residuals, restored
from microfield.methods.lossless.streams import BZIP2, DEFLATE, LZMA2, pack, unpack
from microfield.methods.lossless.values import Unsigned
from microfield.methods.whole import WholeDecoder

SAMPLE = 1 << 18
"""Numbers of the piece that ways to code are tried on, about; a part that is no larger is tried whole."""
SAMPLE_ROWS = 256
"""Rows and columns of the piece, at most, where there are several planes."""
FINALISTS = 3
"""Predictors that are tried with all compressors, and ways that all of a part is coded in, at most."""
CLOSE = 1.004
"""Ways whose bytes for a piece are within this factor of the fewest are all tried on the whole part."""
FOR_CODING = 0.6
"""The share of the time left that coding may take; decoding and comparing follow."""

_INTEGERS, _INTERLEAVED, _COLOUR = 8, 16, 32


@dataclass(frozen=True)
class Way:
    """How a part is coded; one byte of the file: predictor, three flags, compressor in the high two bits.

    Attributes
    ----------
    predictor : one of `predict`
    codec : one of `streams`
    interleaved : whether the bytes of a number follow each other
    integers : whether floats are whole numbers, stored as such
    colour : whether red and blue are differences to green
    """

    predictor: int
    codec: int
    interleaved: bool = False
    integers: bool = False
    colour: bool = False

    def code(self) -> int:
        """The byte."""
        flags = self.integers * _INTEGERS | self.interleaved * _INTERLEAVED | self.colour * _COLOUR
        return self.predictor | flags | self.codec << 6

    @classmethod
    def of(cls, code: int, layout: Layout) -> Way:
        """The way that a byte stands for; FormatError where a part of this layout cannot be coded so."""
        found = cls(code & 7, code >> 6, bool(code & _INTERLEAVED), bool(code & _INTEGERS), bool(code & _COLOUR))
        known = predictors(values.planes_shape(layout), layout.dtype.itemsize)
        if found.predictor not in known or found.codec > LZMA2 or (found.integers and layout.dtype.kind != "f") or (
                found.colour and not is_colour(layout)):
            raise FormatError(f"a part of lossless is coded in an unknown way ({code}).")
        return found


class Lossless(Method):
    """Exact copies of anything: images, labels, masks, floats with NaN. A part takes what it takes."""

    name: ClassVar[str] = "lossless"
    summary: ClassVar[str] = "an exact copy, also of labels and masks (prediction; deflate, bzip2 or LZMA2)"

    @property
    def quality(self) -> Exact:
        """There is none to choose."""
        return Exact()

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        """Code the block exactly, in the best of the ways that were tried on a piece of it."""
        del quality, state
        integers = values.are_integers(block)
        planes = values.integers_to_planes(block, layout) if integers else values.to_planes(block, layout)
        context.progress(0.0, "try ways to code")
        ranked = best_ways(planes, layout, integers, context.effort)
        ways, shortened = in_time(ranked, planes.size, context.deadline)
        context.progress(0.3, "code")
        section = min((packed_as(planes, way, layout, context.effort) for way in ways), key=len)
        encoded = Encoded((section,), None, None, True, shortened=shortened)
        return self.finish(encoded, block, layout, context) if context.measure else encoded

    def finish(self, encoded: Encoded, block: npt.NDArray[Any], layout: Layout, context: Context) -> Encoded:
        """The same part, decoded and compared bit for bit."""
        context.progress(0.9, "decode and compare")
        decoded = LosslessDecoder(layout, encoded.sections[0]).values()
        if decoded.tobytes() != np.ascontiguousarray(block).tobytes():
            raise AssertionError("a part of lossless does not decode to what it was; nothing was written.")
        return Encoded(encoded.sections, np.zeros(layout.channels), None, True, shortened=encoded.shortened)

    def smallest(self, layout: Layout) -> int:
        """Bytes of a constant part, about: what it takes is known when it is coded."""
        del layout
        return 2

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> LosslessDecoder:
        """Open a part; nothing is unpacked yet."""
        if bitstream_version != cls.bitstream_version or len(data.own) != 1:
            raise FormatError("these are not the sections of a part of lossless.")
        return LosslessDecoder(layout, data.own[0])


class LosslessDecoder(WholeDecoder):
    """Reads one part, which is unpacked whole."""

    def __init__(self, layout: Layout, section: bytes) -> None:
        super().__init__(layout, len(section))
        if not section:
            raise FormatError("a part of lossless is empty.")
        self.way, self.data = Way.of(section[0], layout), section[1:]

    @property
    def decoding_bytes(self) -> int:
        """The unpacked bytes, numbers and planes, each a copy, and what the predictors take."""
        return 4 * self.layout.nbytes + 6 * self.layout.size + self.nbytes

    def _decode(self) -> npt.NDArray[Any]:
        """All values of the part."""
        way, layout = self.way, self.layout
        left = unpack(self.data, way.codec, way.interleaved, values.planes_shape(layout), layout.dtype.itemsize)
        planes = restored(left, way.predictor)
        if way.colour:
            planes = _with_colours(planes, layout, back=True)
        return values.integers_from_planes(planes, layout) if way.integers else values.from_planes(planes, layout)


# -- trials ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """A way to code, the bytes it made of a piece, and the seconds a number took."""

    way: Way
    nbytes: int
    seconds: float


def best_ways(planes: Unsigned, layout: Layout, integers: bool, effort: int) -> list[Tried]:
    """Ways to code, tried on a piece of the planes, fewest bytes first.

    bzip2, which is fast, ranks the predictors; the best of them, and no prediction at all, are tried with all compressors.
    """
    pieces = {False: piece(planes)}
    if is_colour(layout):
        # Colours are planes far apart, which a piece does not hold together: differences are taken before it is cut.
        pieces[True] = piece(_with_colours(planes, layout))
    left = {(predictor, colour): residuals(one, predictor)
            for colour, one in pieces.items() for predictor in predictors(planes.shape, planes.dtype.itemsize)}
    sizes = {key: len(pack(one, BZIP2, False, 0)) for key, one in left.items()}
    ranked = sorted(sizes, key=lambda key: sizes[key])
    kept = ranked[: FINALISTS if effort > 2 else 1]
    found = []
    for predictor, colour in [*kept, *({(NOTHING, False)} - set(kept))]:
        for codec, interleaved in _streams(planes.dtype.itemsize, effort):
            begin = time.monotonic()
            nbytes = len(pack(left[predictor, colour], codec, interleaved, effort))
            seconds = (time.monotonic() - begin) / pieces[colour].size
            found.append(Tried(Way(predictor, codec, interleaved, integers, colour), nbytes, seconds))
    return sorted(found, key=lambda tried: tried.nbytes)


def in_time(ranked: Sequence[Tried], numbers: int, deadline: Deadline) -> tuple[list[Way], tuple[str, ...]]:
    """The ways that are worth coding all of a part in, few enough to end in time, and what was left out for that.

    The piece says little where it is all of the part, and where the best ways are alike: then several are made, and the best kept.
    """
    close = [t for t in ranked[:FINALISTS] if t.nbytes <= CLOSE * ranked[0].nbytes]
    if math.isinf(deadline.end):
        return [t.way for t in close], ()
    fast = [t for t in ranked if t.seconds * numbers < FOR_CODING * deadline.remaining]
    best = fast[0] if fast else min(ranked, key=lambda t: t.seconds)
    return [best.way], () if best is ranked[0] else ("slower compressors",)


def _streams(itemsize: int, effort: int) -> Iterator[tuple[int, bool]]:
    """Compressors, each with whether bytes are interleaved, worth a try."""
    yield DEFLATE, False
    yield BZIP2, False
    if effort > 0:
        yield LZMA2, False
        yield LZMA2, True
    if itemsize > 1:
        yield DEFLATE, True


def piece(planes: Unsigned) -> Unsigned:
    """Successive planes, rows and columns from the middle of a part, `SAMPLE` numbers or fewer; all of it where it is no larger."""
    if planes.size <= SAMPLE:
        return planes
    count, y, x = planes.shape
    columns = min(x, 2 * SAMPLE_ROWS) if count > 1 else x
    rows = min(y, max(16, SAMPLE // columns)) if count == 1 else min(y, SAMPLE_ROWS)
    depth = min(count, max(2, SAMPLE // (rows * columns)))
    begin = [(n - m) // 2 for n, m in zip(planes.shape, (depth, rows, columns), strict=True)]
    return planes[tuple(slice(b, b + m) for b, m in zip(begin, (depth, rows, columns), strict=True))]


def packed_as(planes: Unsigned, way: Way, layout: Layout, effort: int) -> bytes:
    """The section of a part."""
    if way.colour:
        planes = _with_colours(planes, layout)
    return bytes([way.code()]) + pack(residuals(planes, way.predictor), way.codec, way.interleaved, effort)


def is_colour(layout: Layout) -> bool:
    """Whether there are three colour samples."""
    return "S" in layout.axes and layout.shape[layout.axes.index("S")] == 3


def _with_colours(planes: Unsigned, layout: Layout, back: bool = False) -> Unsigned:
    """Planes with red and blue as differences to green, half of the range added; or ``back`` again."""
    channels = layout.shape[layout.axes.index("C")] if "C" in layout.axes else 1
    out = planes.copy()
    red, green, blue = np.moveaxis(out.reshape(channels, 3, -1), 1, 0)
    half = out.dtype.type(1 << (8 * out.dtype.itemsize - 1))
    for other in (red, blue):
        # The same both ways where half the range is its own negative.
        other += green + half if back else half - green
    return out

"""The Method that every conventional codec specialises: stretch, arrange, code whole; decode whole, once, and cache."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError, InputError, MicrofieldError, MissingExtraError
from microfield.image import Layout
from microfield.methods.base import Context, Encoded, KnobTraits, Method, PartData, Usable
from microfield.methods.conventional.intensities import Intensities
from microfield.methods.conventional.sheets import ORDERS, Floats, Sheets, from_opponent, is_colour, orders, to_opponent
from microfield.methods.options import option
from microfield.methods.whole import WholeDecoder

PLANES, COLOUR = 0, 1
"""Packings: every sheet as grey planes; the three sheets of a colour image as one colour picture a frame."""


@dataclass(frozen=True)
class CodecOptions:
    """Options of every codec."""

    frames: str = option("auto", "the axis that successive frames follow where there are both; auto tries them",
                         choices=("auto", "Z", "T"))


@dataclass(frozen=True)
class Arrangement:
    """How a part is laid out for its codec; one byte of the file.

    Attributes
    ----------
    order : str
        ``"Z"`` or ``"T"`` (see `Sheets`).
    opponent : bool
        The three sheets are lightness and two colour differences.
    packing : int
        A codec's own way to pack the sheets, 0 to 15.
    """

    order: str = "Z"
    opponent: bool = False
    packing: int = 0

    def code(self) -> int:
        """The byte."""
        return ORDERS.index(self.order) | self.opponent << 1 | self.packing << 4

    @classmethod
    def of(cls, code: int, layout: Layout, packings: int) -> Arrangement:
        """From the byte; FormatError where it makes no sense for such a part."""
        found = cls(ORDERS[code & 1], bool(code & 2), code >> 4)
        if code & 12 or found.packing >= packings or (found.opponent and not is_colour(layout)):
            raise FormatError(f"a part is laid out in an unknown way ({code}).")
        return found


@dataclass(frozen=True)
class Prepared:
    """A part ready for its codec, kept from one attempt to the next."""

    intensities: Intensities
    arrangement: Arrangement
    sheets: Floats


_CHECKSUM = 4
"""Bytes of a part's checksum, which packings are compared with."""


class ConventionalMethod(Method):
    """A codec as a method. Quality runs from 0, the ``coarse`` end of the codec's knob, to 1000, its ``fine`` end.

    A codec codes sheets: float32 of shape (channels, frames, Y, X) in 0..1.
    """

    experimental: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Usable]] = frozenset({"channel_weights"})
    requires: ClassVar[Mapping[str, str]] = {"imagecodecs": "codecs"}
    Options: ClassVar[type[Any]] = CodecOptions
    coarse: ClassVar[float]
    fine: ClassVar[float]
    step: ClassVar[float] = 0.02
    """The smallest change of the knob worth an attempt."""
    packings: ClassVar[int] = 1
    """How many ways to pack the sheets the codec knows."""

    @property
    def quality(self) -> KnobTraits:
        """The codec's knob, stretched to 0..1000."""
        return KnobTraits(step=1000 * self.step / abs(self.fine - self.coarse))

    # -- what a codec adds ----------------------------------------------------------------------------------------

    @abstractmethod
    def compress(self, sheets: Floats, arrangement: Arrangement, knob: float, effort: int) -> bytes:
        """Code sheets of shape (channels, frames, Y, X)."""

    @classmethod
    @abstractmethod
    def expand(cls, data: bytes, shape: tuple[int, int, int, int], arrangement: Arrangement) -> Floats:
        """The sheets of this shape; any exception is taken for a damaged stream."""

    def packings_for(self, opponent: bool) -> tuple[int, ...]:
        """Which packings to try, for a colour image (``opponent``) or any other."""
        del opponent
        return (PLANES,)

    # -- the Method seam ------------------------------------------------------------------------------------------

    def smallest(self, layout: Layout) -> int:
        """Fewest bytes of a part: a constant one."""
        return 2 + layout.channels * layout.dtype.itemsize

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context,
               state: Any = None) -> Encoded:
        """Code the block at ``quality`` 0..1000."""
        prepared = state if isinstance(state, Prepared) else None
        with _codecs_installed(self.name, "Compressing"):
            if prepared is None:
                prepared = self._prepare(block, layout, quality, context)
            try:
                section = self._section(prepared, layout, quality, context)
            except (MicrofieldError, ImportError, MemoryError):
                raise
            except Exception as refusal:
                raise InputError(
                    f"{self.name} cannot code a part of shape {layout.shape} ({type(refusal).__name__}: {refusal}); cut the image "
                    "into smaller parts (--tile), or take another method."
                ) from refusal
        encoded = Encoded((section,), None, prepared, not len(prepared.sheets))
        return self.finish(encoded, block, layout, context) if context.measure else encoded

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> ConventionalDecoder:
        """Open a part; nothing is decoded yet."""
        if bitstream_version != cls.bitstream_version or len(data.own) != 1:
            raise FormatError(f"these are not the sections of a part of {cls.name}.")
        return ConventionalDecoder(cls, layout, data.own[0])

    # -- encode ---------------------------------------------------------------------------------------------------

    def _section(self, prepared: Prepared, layout: Layout, quality: float, context: Context) -> bytes:
        head = prepared.intensities.pack(layout.dtype)
        if not len(prepared.sheets):
            return head
        knob = self.coarse + (self.fine - self.coarse) * quality / 1000
        data = self.compress(prepared.sheets, prepared.arrangement, knob, context.effort)
        return head + bytes([prepared.arrangement.code()]) + data

    def _prepare(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context) -> Prepared:
        """Stretch the block and choose its arrangement."""
        candidates = list(self._candidates(block, layout, context))
        if len(candidates) == 1:
            return candidates[0]
        curves = [self._curve(c, block, layout, quality, context) for c in candidates]
        # At equal knobs sizes and errors both differ a little: compare the errors where the sizes meet.
        middle = float(np.mean([x for curve in curves for x, _ in curve]))
        at = [_line(curve, middle) for curve in curves]
        return candidates[int(np.argmax(at))]

    def _candidates(self, block: npt.NDArray[Any], layout: Layout, context: Context) -> Iterator[Prepared]:
        asked = self.options.frames
        for order in orders(layout) if asked == "auto" else (asked,):
            values = Sheets(layout, order).gather(block)
            flat = values.reshape(layout.channels, -1)
            intensities = Intensities.of(flat, context.unit, context.channel_weights, context.reach)
            sheets = intensities.stretch(flat).reshape(-1, *values.shape[1:])
            opponent = is_colour(layout) and bool(intensities.coded.all())
            if opponent:
                sheets = to_opponent(sheets)
            for packing in self.packings_for(opponent):
                yield Prepared(intensities, Arrangement(order, opponent, packing), sheets)

    def _curve(self, prepared: Prepared, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context,
               ) -> list[tuple[float, float]]:
        """Two points (logarithm of bytes, PSNR) of a candidate."""
        points = []
        for q in (quality, max(0.0, quality - 60)):
            encoded = self.encode(block, layout, q, replace(context, measure=True), prepared)
            error = float(np.mean(context.channel_weights * encoded.measured / context.unit**2))
            points.append((math.log(encoded.payload + _CHECKSUM), -10 * math.log10(max(error, 1e-30))))
        return points


def _line(points: list[tuple[float, float]], x: float) -> float:
    (x0, y0), (x1, y1) = points
    return y0 if abs(x1 - x0) < 1e-3 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)


class ConventionalDecoder(WholeDecoder):
    """Reads one part: these codecs have no random access worth the name."""

    def __init__(self, method: type[ConventionalMethod], layout: Layout, section: bytes) -> None:
        super().__init__(layout, len(section))
        self.method = method
        self.intensities, rest = Intensities.unpack(section, layout)
        self.arrangement, self.data = Arrangement(), b""
        if self.intensities.coded.any():
            if not rest:
                raise FormatError("a part ends before its stream.")
            self.arrangement = Arrangement.of(rest[0], layout, method.packings)
            self.data = rest[1:]
        elif rest:
            raise FormatError("a constant part is followed by a stream.")

    def _decode(self) -> npt.NDArray[Any]:
        arranged = Sheets(self.layout, self.arrangement.order)
        shape = (int(self.intensities.coded.sum()), *arranged.shape[1:])
        sheets = np.empty((0, *shape[1:]), np.float32)
        if shape[0]:
            sheets = self._expand(shape)
        if self.arrangement.opponent:
            sheets = from_opponent(sheets)
        values = self.intensities.restore(sheets.reshape(shape[0], math.prod(shape[1:])), self.layout.dtype)
        return arranged.scatter(values.reshape(arranged.shape))

    def _expand(self, shape: tuple[int, int, int, int]) -> Floats:
        name = self.method.name
        with _codecs_installed(name, "Decoding"):
            try:
                sheets = self.method.expand(self.data, shape, self.arrangement)
            except (MicrofieldError, ImportError, MemoryError):
                raise
            except Exception as damage:
                raise FormatError(f"the {name} stream of a part cannot be decoded ({type(damage).__name__}).") from damage
        if sheets.shape != shape:
            raise FormatError(f"the {name} stream of a part has shape {sheets.shape} instead of {shape}.")
        # A damaged stream of floats may hold anything.
        np.nan_to_num(sheets, copy=False, nan=0.0)
        return np.clip(sheets, -4, 4, out=sheets)


@contextmanager
def _codecs_installed(name: str, doing: str) -> Iterator[None]:
    try:
        yield
    except ImportError as missing:
        raise MissingExtraError(f"{doing} with {name}", "codecs") from missing

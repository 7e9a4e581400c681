"""The Method that every conventional codec specialises.

Encoding stretches the part's grey levels to 0..1 (`intensities`), orders its axes into *sheets* (`sheets`) and gives all of it to
the codec. Decoding decodes the part whole when it is first read, and keeps it.
"""

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
from microfield.format.framing import CRC_BYTES
from microfield.image import Layout
from microfield.methods.base import Context, Encoded, KnobTraits, Method, PartData, Usable
from microfield.methods.conventional.intensities import Intensities
from microfield.methods.conventional.sheets import ORDERS, Floats, Sheets, from_opponent, is_colour, orders, to_opponent
from microfield.methods.options import option
from microfield.methods.whole import WholeDecoder
from microfield.wording import argument

PLANES, COLOUR = 0, 1
"""Packings: every sheet is a series of grey planes; or the three sheets of a colour image are a series of colour pictures."""

SLOPE_STEP = 60.0
"""How much coarser a candidate's second attempt is, on the scale of quality 0 to 1000: enough to tell the slope of its curve."""

LEAST_ERROR = 1e-30
"""Squared errors count as no smaller than this, so that their logarithm stays finite."""

SAME_SIZE = 1e-3
"""Logarithms of sizes closer than this say nothing about the slope between them."""

VALUE_LIMIT = 4.0
"""Decoded values, which lie in 0..1 or a little outside, are clipped to this on either side: a damaged stream may hold anything."""


@dataclass(frozen=True)
class CodecOptions:
    """Options of every codec."""

    frames: str = option("auto", "the axis that successive frames follow where there are both; auto tries them",
                         choices=("auto", "Z", "T"))


@dataclass(frozen=True)
class Arrangement:
    """How a part is laid out for its codec; one byte of the file: the order, bit 1 for opponent colour, the packing in the high
    four bits.

    Attributes
    ----------
    order : str
        ``"Z"`` or ``"T"`` (see `Sheets`).
    opponent : bool
        The three sheets are lightness and two colour differences.
    packing : int
        `PLANES` or `COLOUR`.
    """

    order: str = "Z"
    opponent: bool = False
    packing: int = 0

    def code(self) -> int:
        """The byte."""
        return ORDERS.index(self.order) | self.opponent << 1 | self.packing << 4

    @classmethod
    def of(cls, code: int, layout: Layout, packings: int) -> Arrangement:
        """The arrangement that a byte stands for; FormatError where it cannot be that of a part of this layout."""
        found = cls(ORDERS[code & 1], bool(code & 2), code >> 4)
        if code & 12 or found.packing >= packings or (found.opponent and not is_colour(layout)):
            raise FormatError(f"a part is laid out in an unknown way ({code}).")
        return found


@dataclass(frozen=True)
class Prepared:
    """A part ready for its codec, kept from one attempt to the next.

    ``sheets`` has the shape (coded channels, frames, Y, X); constant channels are left out, and with all of them constant it is
    empty.
    """

    intensities: Intensities
    arrangement: Arrangement
    sheets: Floats


class ConventionalMethod(Method):
    """A codec as a method. Its knob is the codec's own number for quality; 0..1000 maps linearly to ``coarse``..``fine``.

    A codec specialises `compress` and `expand`, which code and decode sheets: float32 of shape (channels, frames, Y, X) in 0..1.
    """

    experimental: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Usable]] = frozenset({"channel_weights"})
    requires: ClassVar[Mapping[str, str]] = {"imagecodecs": "codecs"}
    Options: ClassVar[type[Any]] = CodecOptions
    coarse: ClassVar[float]
    """The knob's coarsest setting; it may be the larger number."""
    fine: ClassVar[float]
    """The knob's finest setting."""
    step: ClassVar[float] = 0.02
    """The smallest change of the knob worth an attempt."""
    packings: ClassVar[int] = 1
    """How many packings the codec can decode: 1 means `PLANES` only."""
    fragile: ClassVar[bool] = False
    """Whether streams are known that end the process that decodes them: those of others are decoded in a process of their own."""

    @property
    def quality(self) -> KnobTraits:
        """A knob of 0..1000 whose smallest useful change is that of the codec's own knob."""
        return KnobTraits(step=1000 * self.step / abs(self.fine - self.coarse))

    # -- what a codec adds ----------------------------------------------------------------------------------------

    @abstractmethod
    def compress(self, sheets: Floats, arrangement: Arrangement, knob: float, effort: int) -> bytes:
        """Code sheets of shape (channels, frames, Y, X) at a setting of the codec's knob and an effort of 0 to 9."""

    @classmethod
    @abstractmethod
    def expand(cls, data: bytes, shape: tuple[int, int, int, int], arrangement: Arrangement) -> Floats:
        """The sheets of this shape, float32; any exception is taken for a damaged stream."""

    def packings_for(self, opponent: bool) -> tuple[int, ...]:
        """The packings to try; ``opponent`` is True for a colour image."""
        del opponent
        return (PLANES,)

    # -- the Method seam ------------------------------------------------------------------------------------------

    def smallest(self, layout: Layout) -> int:
        """Bytes of a constant part: its flags, which channels are constant, and their values."""
        return 2 + layout.channels * layout.dtype.itemsize

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context,
               state: Any = None) -> Encoded:
        """Code the block at ``quality`` 0..1000; the state is the block as it was prepared.

        Raises
        ------
        InputError
            The codec cannot code such a part, for instance since it is too large for it.
        MissingExtraError
            The codec is not installed.
        """
        prepared = state if isinstance(state, Prepared) else None
        with _codecs_needed(self.name, "Compressing"):
            if prepared is None:
                prepared = self._prepare(block, layout, quality, context)
            try:
                section = self._section(prepared, layout, quality, context)
            except (MicrofieldError, ImportError, MemoryError):
                raise
            except Exception as refusal:
                raise InputError(
                    f"{self.name} cannot code a part of shape {layout.shape} ({type(refusal).__name__}: {refusal}); cut the image "
                    f"into smaller parts ({argument('tile')}), or take another method."
                ) from refusal
        encoded = Encoded((section,), None, prepared, not len(prepared.sheets))
        return self.finish(encoded, block, layout, context) if context.measure else encoded

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> ConventionalDecoder:
        """Open a part; nothing is decoded yet."""
        if bitstream_version != cls.bitstream_version or len(data.own) != 1:
            raise FormatError(f"these are not the sections of a part of {cls.name}.")
        return ConventionalDecoder(cls, layout, data.own[0], data.trusted)

    # -- encode ---------------------------------------------------------------------------------------------------

    def _section(self, prepared: Prepared, layout: Layout, quality: float, context: Context) -> bytes:
        """The bytes of a part: intensities, then, unless all of it is constant, arrangement and stream."""
        head = prepared.intensities.pack(layout.dtype)
        if not len(prepared.sheets):
            return head
        knob = self.coarse + (self.fine - self.coarse) * quality / 1000
        data = self.compress(prepared.sheets, prepared.arrangement, knob, context.effort)
        return head + bytes([prepared.arrangement.code()]) + data

    def _prepare(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context) -> Prepared:
        """Stretch the block, and choose the arrangement that gives the higher PSNR at about equal bytes."""
        candidates = list(self._candidates(block, layout, context))
        if len(candidates) == 1:
            return candidates[0]
        curves = [self._curve(c, block, layout, quality, context) for c in candidates]
        # At the same setting of the knob sizes and errors both differ a little, so PSNRs are compared at one size.
        size = float(np.mean([x for curve in curves for x, _ in curve]))
        return candidates[int(np.argmax([_on_line(curve, size) for curve in curves]))]

    def _candidates(self, block: npt.NDArray[Any], layout: Layout, context: Context) -> Iterator[Prepared]:
        """The block in every arrangement that is worth a try."""
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
        """Two points (natural logarithm of bytes, PSNR in dB) of a candidate: at ``quality`` and at a coarser one."""
        points = []
        for q in (quality, max(0.0, quality - SLOPE_STEP)):
            encoded = self.encode(block, layout, q, replace(context, measure=True), prepared)
            error = float(np.mean(context.channel_weights * encoded.measured / context.unit**2))
            points.append((math.log(encoded.payload + CRC_BYTES), -10 * math.log10(max(error, LEAST_ERROR))))
        return points


def _on_line(points: list[tuple[float, float]], x: float) -> float:
    """The height at ``x`` of the line through two points."""
    (x0, y0), (x1, y1) = points
    return y0 if abs(x1 - x0) < SAME_SIZE else y0 + (y1 - y0) * (x - x0) / (x1 - x0)


class ConventionalDecoder(WholeDecoder):
    """Reads one part, which is decoded whole: these codecs cannot decode a region alone."""

    bytes_per_voxel: ClassVar[int] = 16

    def __init__(self, method: type[ConventionalMethod], layout: Layout, section: bytes, trusted: bool = True) -> None:
        super().__init__(layout, len(section))
        self.method, self.alone = method, method.fragile and not trusted
        self.intensities, rest = Intensities.unpack(section, layout)
        self.arrangement, self.data = Arrangement(), b""
        if self.intensities.coded.any():
            if not rest:
                raise FormatError("a part ends before its stream.")
            self.arrangement = Arrangement.of(rest[0], layout, method.packings)
            self.data = rest[1:]
        elif rest:
            raise FormatError("a constant part is followed by a stream.")

    @property
    def extremes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Extremes of the channels, which the intensity mapping holds."""
        return self.intensities.low, self.intensities.high

    def _decode(self) -> npt.NDArray[Any]:
        """All values of the part."""
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
        """The sheets of this shape, all values finite and within `VALUE_LIMIT`; FormatError where the stream is damaged."""
        name = self.method.name
        with _codecs_needed(name, "Decoding"):
            try:
                sheets = self._alone(shape) if self.alone else self.method.expand(self.data, shape, self.arrangement)
            except (MicrofieldError, ImportError, MemoryError):
                raise
            except Exception as damage:
                raise FormatError(f"the {name} stream of a part cannot be decoded ({type(damage).__name__}).") from damage
        if sheets.shape != shape:
            raise FormatError(f"the {name} stream of a part has shape {sheets.shape} instead of {shape}.")
        np.nan_to_num(sheets, copy=False, nan=0.0)
        return np.clip(sheets, -VALUE_LIMIT, VALUE_LIMIT, out=sheets)


    def _alone(self, shape: tuple[int, int, int, int]) -> Floats:
        """The sheets, decoded in another process."""
        from microfield.methods.conventional.isolated import Request, expand

        part = (self.layout.shape, self.layout.axes, self.layout.dtype.name)
        return expand(Request(self.method.name, self.arrangement.code(), shape, part, self.data))


@contextmanager
def _codecs_needed(name: str, doing: str) -> Iterator[None]:
    """Turn an ImportError into the sentence that names the optional part of microfield to install."""
    try:
        yield
    except ImportError as missing:
        raise MissingExtraError(f"{doing} with {name}", "codecs") from missing

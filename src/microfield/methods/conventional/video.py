"""hevc and av1: the frames of a part as a film of grey or colour pictures, through PyAV.

x265 is tuned for PSNR: no psycho-visual terms, no adaptive quantisation, constant quality across frames. SVT-AV1 runs without
temporal filtering. Grey levels are stretched over all of the code range or a little less. The smaller range reaches sizes between
those of two rate factors, and beyond that of the coarsest.
"""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.coding.varint import decode_one, encode_one
from microfield.errors import FormatError
from microfield.methods.base import KnobTraits
from microfield.methods.conventional.base import COLOUR, PLANES, Arrangement, CodecOptions, ConventionalMethod
from microfield.methods.conventional.sheets import Floats
from microfield.methods.options import option
from microfield.threads import scheduling

Codes = npt.NDArray[np.uint16]

LEAST = 16
"""Smallest width and height that the encoders take, in pixels; smaller pictures are continued by their last row and column."""

SHRINKS = 192
"""A film stores how much its code range was reduced as a number of steps, of which this many halve it."""

MOST_SHRINKING = 16 * SHRINKS
"""No film reduces its code range further: one that says so is damaged."""

AT_ONE = 164.0
"""The quality at which the error of a film is about a channel's whole range, from ten images at ratios of 30 and 200."""

DECODER_MARGIN = 64
"""A decoder may make pictures that are this much wider and higher than asked for, since codecs round extents up."""

FLAT_CHROMA = 512
"""The middle of 10 bits: chroma of a grey picture in a format that has no grey."""


@dataclass(frozen=True)
class HevcOptions(CodecOptions):
    """Options of hevc."""

    preset: str = option("auto", "x265 preset; auto follows the effort (5: slow)",
                         choices=("auto", "ultrafast", "veryfast", "fast", "medium", "slow", "slower", "veryslow", "placebo"))


@dataclass(frozen=True)
class Av1Options(CodecOptions):
    """Options of av1."""

    preset: int = option(-1, "SVT-AV1 preset 0 (slowest) to 13; -1 follows the effort (5: preset 4)", low=-1, high=13)


class Video(ConventionalMethod):
    """What hevc and av1 share. The knob is the encoder's constant rate factor, beyond ``last`` continued as if there were more.

    The bytes of a part are the steps of `SHRINKS` as a varint, then the stream of the film.
    """

    step: ClassVar[float] = 0.03
    fine: ClassVar[float] = 0.0
    last: ClassVar[float]
    """The coarsest rate factor of the encoder; beyond it the code range is reduced."""
    steps_per_octave: ClassVar[float]
    """How much the rate factor grows when the quantiser's step doubles, at the coarse end."""
    cuts_below: ClassVar[int] = 0
    """At rate factors below this every channel begins with a key frame, which is not predicted from the channel before."""
    depth: ClassVar[int]
    """Bits of a code."""
    decoders: ClassVar[tuple[str, ...]]
    """FFmpeg's names of decoders; the first that is there is used."""
    grey_format: ClassVar[str]
    """FFmpeg's name of the pixel format of grey pictures."""
    colour_format: ClassVar[str]
    """FFmpeg's name of the pixel format of colour pictures."""
    subsampling: ClassVar[int]
    """Pixels per chroma sample along Y and X, in colour pictures: 1 or 2."""
    packings: ClassVar[int] = 2
    requires: ClassVar[Mapping[str, str]] = {"av": "codecs"}

    @property
    def quality(self) -> KnobTraits:
        """The knob of every codec, and where it stands at an error."""
        return replace(super().quality, octaves=(AT_ONE, 1000 * self.steps_per_octave / abs(self.fine - self.coarse)))

    def compress(self, sheets: Floats, arrangement: Arrangement, knob: float, effort: int) -> bytes:
        """Code all sheets as one film."""
        crf, shrink = self._crf(knob)
        frames = self._frames(sheets, arrangement, 2 ** (-shrink / SHRINKS))
        run = sheets.shape[1] if crf < self.cuts_below and len(frames[0]) == 1 else len(frames)
        colour = len(frames[0]) == 3
        stream = _encode(frames, self.encoder(crf, effort), self.colour_format if colour else self.grey_format, run)
        return encode_one(shrink) + stream

    def _crf(self, knob: float) -> tuple[int, int]:
        """The encoder's rate factor for a setting of the knob, and how many steps of `SHRINKS` the code range is reduced by.

        Encoders round rate factors (x265 nearly does). Settings between two whole ones, or beyond the last, are reached by a
        smaller code range, which makes the quantiser coarser relative to it.
        """
        crf = math.floor(min(max(knob, self.fine), self.last))
        return crf, round(SHRINKS * (knob - crf) / self.steps_per_octave)

    @abstractmethod
    def encoder(self, crf: int, effort: int) -> tuple[str, dict[str, str]]:
        """FFmpeg's name of the encoder, and its options, at a rate factor and an effort of 0 to 9."""

    def _frames(self, sheets: Floats, arrangement: Arrangement, gain: float) -> list[list[Codes]]:
        """Frames, each a list of its planes; ``gain``, above 0 and at most 1, is the part of the code range that is used."""
        peak = (1 << self.depth) - 1
        # Around the middle of the code range, since encoders predict the first samples of a picture from that value.
        codes = np.clip(np.rint((sheets - np.float32(0.5)) * np.float32(peak * gain) + np.float32(0.5 * peak)), 0, peak)
        codes = codes.astype(np.uint16)
        pad = [(0, padded - n) for padded, n in zip(self.padded(*codes.shape[2:]), codes.shape[2:], strict=True)]
        codes = np.pad(codes, [(0, 0), (0, 0), *pad], mode="edge")
        if arrangement.packing == COLOUR:
            return [[self._chroma(plane) if i else plane for i, plane in enumerate(frame)] for frame in codes.swapaxes(0, 1)]
        return [[plane] for sheet in codes for plane in sheet]

    @classmethod
    def padded(cls, y: int, x: int) -> tuple[int, int]:
        """Rows and columns of the pictures of a film: even, and at least `LEAST`."""
        return max(y + y % 2, LEAST), max(x + x % 2, LEAST)

    @classmethod
    def decodable(cls, y: int, x: int) -> tuple[tuple[int, int], ...]:
        """Rows and columns that pictures of a film may have, this version's first."""
        return (cls.padded(y, x),)

    @classmethod
    def _chroma(cls, plane: Codes) -> Codes:
        """A colour difference at the resolution of the chroma planes."""
        if cls.subsampling == 1:
            return plane
        quads = plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2)
        return np.asarray(np.rint(quads.mean(axis=(1, 3)))).astype(np.uint16)

    def packings_for(self, opponent: bool) -> tuple[int, ...]:
        """Colour images are tried as colour pictures and, where these halve the resolution of the chroma, as three grey series."""
        if not opponent:
            return (PLANES,)
        return (COLOUR,) if self.subsampling == 1 else (PLANES, COLOUR)

    @classmethod
    def expand(cls, data: bytes, shape: tuple[int, int, int, int], arrangement: Arrangement) -> Floats:
        """Decode the film.

        Raises
        ------
        FormatError
            The film has another number or size of frames.
        """
        channels, frames, y, x = shape
        colour = arrangement.packing == COLOUR
        count = frames if colour else channels * frames
        shrink, at = decode_one(data)
        peak, growth = (1 << cls.depth) - 1, np.float32(2 ** (min(shrink, MOST_SHRINKING) / SHRINKS))
        film = cls._decoded(data[at:], (count, channels if colour else 1, y, x))
        film -= np.float32(0.5 * peak)
        film *= growth / np.float32(peak)
        film += np.float32(0.5)
        return np.asarray(film.swapaxes(0, 1) if colour else film.reshape(shape))

    @classmethod
    def _decoded(cls, stream: bytes, shape: tuple[int, int, int, int]) -> Floats:
        """Codes of a film of shape (frames, planes, Y, X); FormatError where it has other frames."""
        count, _, y, x = shape
        film = np.empty(shape, np.float32)
        number = -1
        for number, picture in enumerate(_decode(stream, cls.decoders, (y, x))):
            if number >= count:
                raise FormatError(f"a film of {cls.name} has more than its {count} frames.")
            if (picture.height, picture.width) not in cls.decodable(y, x):
                raise FormatError(f"a film of {cls.name} is {picture.height} x {picture.width} pixels instead of {y} x {x}.")
            planes = _planes(picture, film.shape[1])
            film[number, 0] = planes[0][:y, :x]
            for i, plane in enumerate(planes[1:], 1):
                film[number, i] = (plane if plane.shape == planes[0].shape else _double(plane))[:y, :x]
        if number + 1 != count:
            raise FormatError(f"a film of {cls.name} has {number + 1} frames instead of {count}.")
        return film


class Hevc(Video):
    """x265 at 12 bits."""

    name: ClassVar[str] = "hevc"
    summary: ClassVar[str] = "HEVC (x265, 12 bits, frames along Z or T)"
    experimental: ClassVar[bool] = False
    Options: ClassVar[type[Any]] = HevcOptions
    coarse: ClassVar[float] = 75.0
    last: ClassVar[float] = 48.0  # From 50 on x265 leaves whole pictures grey.
    steps_per_octave: ClassVar[float] = 6.0
    depth: ClassVar[int] = 12
    decoders: ClassVar[tuple[str, ...]] = ("hevc",)
    grey_format: ClassVar[str] = "gray12le"
    colour_format: ClassVar[str] = "yuv444p12le"
    subsampling: ClassVar[int] = 1

    @classmethod
    def padded(cls, y: int, x: int) -> tuple[int, int]:
        """As for any film, but no picture is 34 to 48 pixels wide, nor 16, 32 or 64, nor 16 or 32 high.

        x265 ends the process over several frames of the former, and makes another stream each time of the others.
        """
        height, width = super().padded(y, x)
        height, width = height + 2 * (height in (16, 32)), width + 2 * (width in (16, 32, 64))
        return height, 50 if 32 < width < 50 else width

    @classmethod
    def decodable(cls, y: int, x: int) -> tuple[tuple[int, int], ...]:
        """Also pictures with sides of 16, 32 or 64, which earlier versions made."""
        height, width = Video.padded(y, x)
        return cls.padded(y, x), (height, 50 if 32 < width < 50 else width)

    def encoder(self, crf: int, effort: int) -> tuple[str, dict[str, str]]:
        """x265 without what serves the eye rather than the squared error."""
        by_effort = ("ultrafast", "veryfast", "fast", "medium", "medium", "slow", "slow", "slower", "veryslow", "veryslow")
        preset = by_effort[effort] if self.options.preset == "auto" else self.options.preset
        tuned = "log-level=none:info=0:psy-rd=0:psy-rdoq=0:aq-mode=0:qcomp=1:wpp=0:frame-threads=1"
        return "libx265", {"preset": preset, "crf": str(crf), "x265-params": tuned}


class Av1(Video):
    """SVT-AV1 at 10 bits."""

    name: ClassVar[str] = "av1"
    summary: ClassVar[str] = "AV1 (SVT-AV1, 10 bits, frames along Z or T)"
    experimental: ClassVar[bool] = False
    Options: ClassVar[type[Any]] = Av1Options
    coarse: ClassVar[float] = 95.0
    fine: ClassVar[float] = 1.0  # FFmpeg takes 0 for none given.
    last: ClassVar[float] = 63.0
    steps_per_octave: ClassVar[float] = 8.0
    # A channel that SVT-AV1 predicts from an unlike one comes out badly, the more so the finer it quantises.
    cuts_below: ClassVar[int] = 50
    depth: ClassVar[int] = 10
    decoders: ClassVar[tuple[str, ...]] = ("libdav1d", "av1")
    grey_format: ClassVar[str] = "yuv420p10le"
    colour_format: ClassVar[str] = "yuv420p10le"
    subsampling: ClassVar[int] = 2

    @classmethod
    def padded(cls, y: int, x: int) -> tuple[int, int]:
        """As for any film, but beside a side of more than 64 pixels the other has 26 or more.

        SVT-AV1, which codes blocks of 64 pixels, stands still for ever over pictures of several blocks that are narrower.
        """
        height, width = super().padded(y, x)
        least = 26 if max(height, width) > 64 else LEAST
        return max(height, least), max(width, least)

    @classmethod
    def decodable(cls, y: int, x: int) -> tuple[tuple[int, int], ...]:
        """Also pictures as narrow as they are: versions of SVT-AV1 that can code these have made files."""
        return cls.padded(y, x), Video.padded(y, x)

    def encoder(self, crf: int, effort: int) -> tuple[str, dict[str, str]]:
        """SVT-AV1 without temporal filtering, which would change frames before they are coded."""
        by_effort = (10, 9, 8, 6, 5, 4, 3, 2, 1, 0)
        preset = by_effort[effort] if self.options.preset < 0 else self.options.preset
        os.environ.setdefault("SVT_LOG", "0")  # Else it prints a banner on standard error.
        # scm=0: SVT-AV1 must not take a sparse image for the content of a computer screen.
        return "libsvtav1", {"preset": str(preset), "crf": str(crf), "svtav1-params": "enable-tf=0:tune=1:scm=0"}


# -- PyAV -----------------------------------------------------------------------------------------------------------------


def _encode(frames: list[list[Codes]], encoder: tuple[str, dict[str, str]], pixel_format: str, run: int) -> bytes:
    """The stream of a film; ``encoder`` is a name and options, and every ``run``-th frame is a key frame."""
    import av

    name, options = encoder
    context: Any = av.CodecContext.create(name, "w")
    context.height, context.width = frames[0][0].shape
    context.pix_fmt = pixel_format
    context.time_base, context.framerate = Fraction(1, 25), 25
    context.options = options
    restore = scheduling()
    packets = []
    for number, planes in enumerate(frames):
        picture = _picture(planes, pixel_format)
        picture.pts = number
        if number and number % run == 0:
            picture.pict_type = av.video.frame.PictureType.I
        try:
            packets += context.encode(picture)
        finally:
            if not number:  # The first frame starts the encoder and its threads.
                restore()
    packets += context.encode(None)
    restore()
    return b"".join(bytes(packet) for packet in packets)


def _picture(planes: list[Codes], pixel_format: str) -> Any:
    """A frame for PyAV; chroma planes that are not given are flat."""
    import av

    height, width = planes[0].shape
    picture: Any = av.VideoFrame(width, height, pixel_format)
    for i, target in enumerate(picture.planes):
        values = planes[i] if i < len(planes) else np.full((target.height, target.width), FLAT_CHROMA, np.uint16)
        line = np.zeros((target.height, target.line_size // 2), np.uint16)
        line[:, : target.width] = values
        target.update(line.tobytes())
    return picture


def _decode(data: bytes, decoders: tuple[str, ...], extent: tuple[int, int]) -> Iterator[Any]:
    """Pictures of a stream in order of display, none much larger than ``extent`` (rows, columns)."""
    import av

    context: Any = None
    for name in decoders:
        try:
            context = av.CodecContext.create(name, "r")
            break
        except av.error.FFmpegError:  # This build of FFmpeg lacks it.
            continue
    if context is None:
        raise ModuleNotFoundError(f"PyAV has none of the decoders {', '.join(decoders)}")
    y, x = (max(n, LEAST) + DECODER_MARGIN for n in extent)
    context.options = {"max_pixels": str(y * x)}
    # dav1d's threads wait for each other for ever over some damaged streams; one thread of either decoder is as fast for one part.
    context.thread_count = 1
    if context.name == "hevc":
        for packet in context.parse(data) + context.parse(b""):
            yield from context.decode(packet)
    else:
        yield from context.decode(av.Packet(data))
    yield from context.decode(None)


def _planes(picture: Any, count: int) -> list[Codes]:
    """The first ``count`` planes of a decoded picture; FormatError where it has fewer, or codes of 8 bits."""
    found = []
    for plane in picture.planes[:count]:
        if plane.line_size < 2 * plane.width:
            raise FormatError("a film has fewer bits than it should.")
        rows = np.frombuffer(plane, np.uint16).reshape(plane.height, plane.line_size // 2)
        found.append(rows[:, : plane.width])
    if len(found) != count:
        raise FormatError("a film has fewer colour planes than it should.")
    return found


def _double(plane: Codes) -> Floats:
    """A plane at twice the resolution, bilinear; each sample lies in the middle of the four that it becomes."""
    out = plane.astype(np.float32)
    for axis in (0, 1):
        before = np.concatenate([out.take([0], axis), out.take(range(out.shape[axis] - 1), axis)], axis)
        after = np.concatenate([out.take(range(1, out.shape[axis]), axis), out.take([-1], axis)], axis)
        out = np.stack([0.75 * out + 0.25 * before, 0.75 * out + 0.25 * after], axis + 1)
        out = out.reshape(_merged(out.shape, axis))
    return out


def _merged(shape: tuple[int, ...], axis: int) -> list[int]:
    """A shape with two successive axes made one."""
    return [*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]]

"""Codecs of still pictures, through imagecodecs: all planes of a part make one mosaic, so that its header is stored once.

A mosaic also lets JPEG 2000 share its bytes over all planes. The usual way, one stream per plane, cannot reach high ratios.

A new codec is one class that says which functions of imagecodecs code it, over which range of its knob, and what the encoder is
told; its name in `microfield.methods` makes it a method.
"""

from __future__ import annotations

import math
import struct
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.methods.conventional.base import COLOUR, PLANES, Arrangement, ConventionalMethod
from microfield.methods.conventional.mosaic import from_mosaic, mosaic_shape, to_mosaic
from microfield.methods.conventional.sheets import Floats, from_opponent, to_opponent

Picture = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""Codes of shape (Y, X), or (Y, X, 3) for red, green and blue."""

SOC_SIZ = 0xFF4FFF51
"""The first four bytes of a JPEG 2000 codestream: the markers SOC and SIZ."""

SIZ = struct.Struct(">IHH8IH")
"""These markers; length and capabilities; extents of the picture, its offset, extents of a tile, its offset, each along x and y;
number of components."""

GREEN = 1
"""The sample that is read back where a grey picture was stored as three equal samples."""


class StillCodec(ConventionalMethod):
    """A codec of pictures. A sheet's values 0..1 become codes 0..``peak``."""

    functions: ClassVar[str]
    """How imagecodecs calls the codec: ``jpeg2k`` for its ``jpeg2k_encode`` and ``jpeg2k_decode``."""
    peak: ClassVar[int] = 65535
    """The code of a value of 1; codes are 8-bit where it is at most 255, else 16-bit."""
    grey: ClassVar[bool] = True
    """Whether the codec takes grey pictures. Else a grey one is stored as red, green and blue alike: its chroma costs next to
    nothing."""
    colour: ClassVar[bool] = False
    """Whether the codec takes red, green and blue pictures and decorrelates them itself."""
    packings: ClassVar[int] = 2

    @staticmethod
    @abstractmethod
    def encoder_arguments(picture: Picture, knob: float, effort: int) -> Mapping[str, Any]:
        """What the encoder is given beside the picture, at a setting of the knob and an effort of 0 to 9."""

    def compress(self, sheets: Floats, arrangement: Arrangement, knob: float, effort: int) -> bytes:
        """Code all planes as one mosaic."""
        if arrangement.packing == COLOUR:
            picture = np.stack([to_mosaic(self._codes(sample)) for sample in from_opponent(sheets)], axis=-1)
        else:
            picture = to_mosaic(self._codes(sheets.reshape(-1, *sheets.shape[2:])))
            if not self.grey:
                picture = np.repeat(picture[..., None], 3, axis=2)
        return bytes(self._function("encode")(picture, **self.encoder_arguments(picture, knob, effort)))

    @classmethod
    def expand(cls, data: bytes, shape: tuple[int, int, int, int], arrangement: Arrangement) -> Floats:
        """Decode the mosaic and take it apart."""
        channels, frames, y, x = shape
        colour = arrangement.packing == COLOUR
        if colour and not (cls.colour and arrangement.opponent):
            raise FormatError(f"a part of {cls.name} cannot be a colour picture.")
        count = frames if colour else channels * frames
        extents = mosaic_shape(count, y, x)
        cls.check_extents(data, extents)
        # Into an array of the right shape: a stream of a larger picture is refused before it takes memory.
        picture = np.empty(extents if cls.grey and not colour else (*extents, 3), cls._code_type())
        decoded = np.asarray(cls._function("decode")(data, out=picture))
        if colour:
            planes = np.stack([from_mosaic(decoded[..., k], count, y, x) for k in range(3)])
            return to_opponent(planes.astype(np.float32) * np.float32(1 / cls.peak))
        planes = from_mosaic(decoded if cls.grey else decoded[..., GREEN], count, y, x)
        return np.asarray(planes.reshape(shape).astype(np.float32) * np.float32(1 / cls.peak))

    @classmethod
    def check_extents(cls, data: bytes, extents: tuple[int, int]) -> None:
        """Refuse a stream of a picture of another size (rows, columns), where its decoder would take memory for it first."""
        del data, extents

    def packings_for(self, opponent: bool) -> tuple[int, ...]:
        """Colour images are tried as colour pictures, where the codec takes these, and as three grey ones."""
        return (PLANES, COLOUR) if opponent and self.colour else (PLANES,)

    @classmethod
    def _function(cls, what: str) -> Callable[..., Any]:
        """The codec's function ``encode`` or ``decode``; ImportError where imagecodecs is not installed."""
        import imagecodecs

        function: Callable[..., Any] = getattr(imagecodecs, f"{cls.functions}_{what}")
        return function

    @classmethod
    def _code_type(cls) -> type[np.uint8 | np.uint16]:
        return np.uint8 if cls.peak <= np.iinfo(np.uint8).max else np.uint16

    @classmethod
    def _codes(cls, planes: Floats) -> Picture:
        """Values 0..1 as codes."""
        codes: Picture = np.clip(np.rint(planes * np.float32(cls.peak)), 0, cls.peak).astype(cls._code_type())
        return codes


class Jpeg2000(StillCodec):
    """OpenJPEG, a bare codestream; the knob is the PSNR it aims at."""

    name: ClassVar[str] = "jpeg2000"
    summary: ClassVar[str] = "JPEG 2000 (OpenJPEG, irreversible 9/7 wavelet, planes as one mosaic)"
    functions: ClassVar[str] = "jpeg2k"
    coarse: ClassVar[float] = 8.0
    fine: ClassVar[float] = 90.0

    @classmethod
    def check_extents(cls, data: bytes, extents: tuple[int, int]) -> None:
        """By the marker SIZ at the start of the codestream: OpenJPEG takes memory for the picture, and for a tile, that it names.

        Raises
        ------
        FormatError
            It names another size, an offset, more than one component, or several tiles, as no encoder of microfield did.
        """
        rows, columns = extents
        if len(data) < SIZ.size:
            raise FormatError("a codestream of jpeg2000 ends before its size.")
        start, _, _, *sizes, components = SIZ.unpack_from(data)
        if start != SOC_SIZ or sizes != [columns, rows, 0, 0, columns, rows, 0, 0] or components != 1:
            raise FormatError(f"a codestream of jpeg2000 is not one tile of {rows} x {columns} pixels.")

    @staticmethod
    def encoder_arguments(picture: Picture, knob: float, effort: int) -> Mapping[str, Any]:
        """As many wavelet levels as halve the mosaic's shorter side to a few samples, six at most."""
        del effort
        levels = int(np.clip(math.log2(max(1, min(picture.shape))) - 1, 1, 6))
        return {"level": knob, "codecformat": "j2k", "resolutions": levels}


class HtJpeg2000(StillCodec):
    """OpenJPH, a bare codestream; the knob is the base-2 logarithm of the quantiser's step."""

    name: ClassVar[str] = "htj2k"
    fragile: ClassVar[bool] = True
    summary: ClassVar[str] = "High-throughput JPEG 2000 (OpenJPH, planes as one mosaic)"
    functions: ClassVar[str] = "htj2k"
    coarse: ClassVar[float] = 1.0
    fine: ClassVar[float] = -14.0

    @staticmethod
    def encoder_arguments(picture: Picture, knob: float, effort: int) -> Mapping[str, Any]:
        """The irreversible wavelet: the reversible one takes no step."""
        del picture, effort
        return {"level": 2.0**knob, "reversible": False}


class JpegXl(StillCodec):
    """libjxl in its lossy mode, a bare codestream; the knob is the distance, of which 25 is the coarsest.

    libjxl takes codes for light that an eye sees. The lowest sixteenth of its code range is nearly linear: that much of it gave
    more PSNR than all of it on most images tried, and reaches far higher ratios.
    """

    name: ClassVar[str] = "jpegxl"
    summary: ClassVar[str] = "JPEG XL (libjxl, lossy, planes as one mosaic)"
    functions: ClassVar[str] = "jpegxl"
    colour: ClassVar[bool] = True
    peak: ClassVar[int] = 4095
    coarse: ClassVar[float] = 25.0
    fine: ClassVar[float] = 0.05

    @staticmethod
    def encoder_arguments(picture: Picture, knob: float, effort: int) -> Mapping[str, Any]:
        """An effort of 1 to 9: 7, which is libjxl's default, at our default of 5."""
        del picture
        return {"distance": knob, "effort": min(max(effort + 2, 1), 9), "usecontainer": False}


class JpegXr(StillCodec):
    """jxrlib; the knob is the base-2 logarithm of its quality, 0 to 1."""

    name: ClassVar[str] = "jpegxr"
    fragile: ClassVar[bool] = True
    summary: ClassVar[str] = "JPEG XR (jxrlib, planes as one mosaic)"
    functions: ClassVar[str] = "jpegxr"
    coarse: ClassVar[float] = -12.0
    fine: ClassVar[float] = -0.05

    @staticmethod
    def encoder_arguments(picture: Picture, knob: float, effort: int) -> Mapping[str, Any]:
        """The quality alone."""
        del picture, effort
        return {"level": 2.0**knob}


class Lerc(StillCodec):
    """LERC with Zstandard behind it; the knob is the base-2 logarithm of the largest error, relative to the code range."""

    name: ClassVar[str] = "lerc"
    summary: ClassVar[str] = "LERC (bounded error, Zstandard, planes as one mosaic)"
    functions: ClassVar[str] = "lerc"
    coarse: ClassVar[float] = 0.0
    fine: ClassVar[float] = -14.0

    @staticmethod
    def encoder_arguments(picture: Picture, knob: float, effort: int) -> Mapping[str, Any]:
        """The largest error in codes, and Zstandard at a high level."""
        del picture, effort
        return {"level": Lerc.peak * 2.0**knob, "compression": "zstd", "compressionargs": {"level": 19}}


class Avif(StillCodec):
    """AV1 stills of 10 bits; the knob is the quality 0 to 99."""

    name: ClassVar[str] = "avif"
    summary: ClassVar[str] = "AVIF (10 bits, planes as one mosaic)"
    functions: ClassVar[str] = "avif"
    grey: ClassVar[bool] = False
    colour: ClassVar[bool] = True
    peak: ClassVar[int] = 1023
    coarse: ClassVar[float] = 0.0
    fine: ClassVar[float] = 99.0
    step: ClassVar[float] = 1.0

    @staticmethod
    def encoder_arguments(picture: Picture, knob: float, effort: int) -> Mapping[str, Any]:
        """Quality in whole numbers, and a speed of 0 to 9: 4 at our default effort of 5."""
        del picture
        return {"level": round(knob), "speed": min(10, max(0, 9 - effort)), "bitspersample": 10, "pixelformat": "420"}


class WebP(StillCodec):
    """Lossy WebP, which has 8 bits at most; the knob is the quality 0 to 100."""

    name: ClassVar[str] = "webp"
    summary: ClassVar[str] = "WebP (8 bits, planes as one mosaic)"
    functions: ClassVar[str] = "webp"
    grey: ClassVar[bool] = False
    colour: ClassVar[bool] = True
    peak: ClassVar[int] = 255
    coarse: ClassVar[float] = 0.0
    fine: ClassVar[float] = 100.0
    step: ClassVar[float] = 0.5

    @staticmethod
    def encoder_arguments(picture: Picture, knob: float, effort: int) -> Mapping[str, Any]:
        """WebP's method of 1 to 6: 6, the slowest, from our default effort of 5 on."""
        del picture
        return {"level": knob, "method": min(6, effort + 1), "lossless": False}

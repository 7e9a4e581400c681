"""Codecs of still pictures, through imagecodecs: all planes of a part as one mosaic, so that its header is paid once.

A mosaic also lets JPEG 2000 share its bytes over all planes. The usual way, one stream per plane, cannot reach high ratios.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.methods.conventional.base import COLOUR, PLANES, Arrangement, ConventionalMethod
from microfield.methods.conventional.mosaic import from_mosaic, mosaic_shape, to_mosaic
from microfield.methods.conventional.sheets import Floats, from_opponent, to_opponent


class Still(ConventionalMethod):
    """A codec of pictures of ``depth`` bits."""

    depth: ClassVar[int] = 16
    peak: ClassVar[int] = 65535
    """The code of a value of 1."""
    grey: ClassVar[bool] = True
    """Whether it takes grey pictures; else each is given as red, green and blue alike, whose chroma costs next to nothing."""
    colour: ClassVar[bool] = False
    """Whether it takes red, green and blue and decorrelates them its own way."""
    packings: ClassVar[int] = 2

    def compress(self, sheets: Floats, arrangement: Arrangement, knob: float, effort: int) -> bytes:
        """Code the mosaic."""
        if arrangement.packing == COLOUR:
            picture = np.stack([to_mosaic(self._codes(sample)) for sample in from_opponent(sheets)], axis=-1)
        else:
            picture = to_mosaic(self._codes(sheets.reshape(-1, *sheets.shape[2:])))
            if not self.grey:
                picture = np.repeat(picture[..., None], 3, axis=2)
        return bytes(self.write(picture, knob, effort))

    def _codes(self, planes: Floats) -> npt.NDArray[Any]:
        codes = np.clip(np.rint(planes * np.float32(self.peak)), 0, self.peak)
        return np.asarray(codes, np.uint8 if self.depth == 8 else np.uint16)

    def packings_for(self, opponent: bool) -> tuple[int, ...]:
        """Colour images: as such, where the codec knows them, and as three grey ones."""
        return (PLANES, COLOUR) if opponent and self.colour else (PLANES,)

    @classmethod
    def expand(cls, data: bytes, shape: tuple[int, int, int, int], arrangement: Arrangement) -> Floats:
        """Decode the mosaic."""
        channels, frames, y, x = shape
        colour = arrangement.packing == COLOUR
        if colour and not (cls.colour and arrangement.opponent):
            raise FormatError(f"a part of {cls.name} cannot be a colour picture.")
        count = frames if colour else channels * frames
        extents = mosaic_shape(count, y, x)
        picture = np.empty(extents if cls.grey and not colour else (*extents, 3), np.uint8 if cls.depth == 8 else np.uint16)
        decoded = cls.read(data, picture)
        if colour:
            planes = np.stack([from_mosaic(decoded[..., k], count, y, x) for k in range(3)])
            return to_opponent(planes.astype(np.float32) * np.float32(1 / cls.peak))
        planes = from_mosaic(decoded if cls.grey else decoded[..., 1], count, y, x)
        scaled: Floats = planes.reshape(shape).astype(np.float32) * np.float32(1 / cls.peak)
        return scaled

    def write(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """A picture of shape (Y, X), or (Y, X, 3) in colour, to bytes."""
        raise NotImplementedError

    @classmethod
    def read(cls, data: bytes, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bytes to the picture, into ``out``: a stream of another shape is refused before it takes memory."""
        raise NotImplementedError


class Jpeg2000(Still):
    """OpenJPEG; the knob is the PSNR it aims at."""

    name: ClassVar[str] = "jpeg2000"
    summary: ClassVar[str] = "JPEG 2000 (OpenJPEG, irreversible 9/7 wavelet, planes as one mosaic)"
    coarse: ClassVar[float] = 8.0
    fine: ClassVar[float] = 90.0

    def write(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """The bare codestream."""
        import imagecodecs

        del effort
        # As many levels as halve the mosaic's shorter side to a few samples, six at most.
        levels = int(np.clip(math.log2(max(1, min(picture.shape))) - 1, 1, 6))
        encode: Any = imagecodecs.jpeg2k_encode  # Its stubs know whole levels only.
        return bytes(encode(picture, level=knob, codecformat="j2k", resolutions=levels))

    @classmethod
    def read(cls, data: bytes, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.jpeg2k_decode(data, out=out))


class HtJpeg2000(Still):
    """OpenJPH; the knob is the logarithm of the quantiser's step."""

    name: ClassVar[str] = "htj2k"
    summary: ClassVar[str] = "High-throughput JPEG 2000 (OpenJPH, planes as one mosaic)"
    coarse: ClassVar[float] = 1.0
    fine: ClassVar[float] = -14.0

    def write(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """The bare codestream."""
        import imagecodecs

        del effort
        return bytes(imagecodecs.htj2k_encode(picture, level=2.0**knob, reversible=False))

    @classmethod
    def read(cls, data: bytes, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.htj2k_decode(data, out=out))


class JpegXl(Still):
    """libjxl in its lossy mode; the knob is the distance, whose coarsest is 25.

    It takes codes for light seen by an eye. A sixteenth of its code range is nearly linear, which gave more PSNR than all
    of it on most images tried and reaches far higher ratios.
    """

    name: ClassVar[str] = "jpegxl"
    summary: ClassVar[str] = "JPEG XL (libjxl, lossy, planes as one mosaic)"
    colour: ClassVar[bool] = True
    peak: ClassVar[int] = 4095
    coarse: ClassVar[float] = 25.0
    fine: ClassVar[float] = 0.05

    def write(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """The bare codestream."""
        import imagecodecs

        return bytes(imagecodecs.jpegxl_encode(picture, distance=knob, effort=min(max(effort + 2, 1), 9), usecontainer=False))

    @classmethod
    def read(cls, data: bytes, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.jpegxl_decode(data, out=out))


class JpegXr(Still):
    """jxrlib; the knob is the logarithm of its quality."""

    name: ClassVar[str] = "jpegxr"
    summary: ClassVar[str] = "JPEG XR (jxrlib, planes as one mosaic)"
    coarse: ClassVar[float] = -12.0
    fine: ClassVar[float] = -0.05

    def write(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """One file."""
        import imagecodecs

        del effort
        return bytes(imagecodecs.jpegxr_encode(picture, level=2.0**knob))

    @classmethod
    def read(cls, data: bytes, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.jpegxr_decode(data, out=out))


class Lerc(Still):
    """LERC with Zstandard behind it; the knob is the logarithm of the largest error."""

    name: ClassVar[str] = "lerc"
    summary: ClassVar[str] = "LERC (bounded error, Zstandard, planes as one mosaic)"
    coarse: ClassVar[float] = 0.0
    fine: ClassVar[float] = -14.0

    def write(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """Codes of 16 bits, at most ``2**knob`` of the range wrong."""
        import imagecodecs

        del effort
        return bytes(imagecodecs.lerc_encode(picture, 65535 * 2.0**knob, compression="zstd", compressionargs={"level": 19}))

    @classmethod
    def read(cls, data: bytes, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.lerc_decode(data, out=out))


class Avif(Still):
    """AV1 stills; the knob is the quality 0..99."""

    name: ClassVar[str] = "avif"
    summary: ClassVar[str] = "AVIF (10 bits, planes as one mosaic)"
    grey: ClassVar[bool] = False
    colour: ClassVar[bool] = True
    depth: ClassVar[int] = 10
    peak: ClassVar[int] = 1023
    coarse: ClassVar[float] = 0.0
    fine: ClassVar[float] = 99.0
    step: ClassVar[float] = 1.0

    def write(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """One file."""
        import imagecodecs

        return bytes(imagecodecs.avif_encode(picture, level=round(knob), speed=min(10, max(0, 9 - effort)), bitspersample=10,
                                             pixelformat="420"))

    @classmethod
    def read(cls, data: bytes, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.avif_decode(data, out=out))


class WebP(Still):
    """Lossy WebP; 8 bits are all it has. The knob is the quality 0..100."""

    name: ClassVar[str] = "webp"
    summary: ClassVar[str] = "WebP (8 bits, planes as one mosaic)"
    grey: ClassVar[bool] = False
    colour: ClassVar[bool] = True
    depth: ClassVar[int] = 8
    peak: ClassVar[int] = 255
    coarse: ClassVar[float] = 0.0
    fine: ClassVar[float] = 100.0
    step: ClassVar[float] = 0.5

    def write(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """One file."""
        import imagecodecs

        return bytes(imagecodecs.webp_encode(picture, level=knob, method=min(6, effort + 1), lossless=False))

    @classmethod
    def read(cls, data: bytes, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.webp_decode(data, out=out))

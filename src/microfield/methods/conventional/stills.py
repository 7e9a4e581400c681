"""Codecs of still pictures, through imagecodecs: all planes of a part as one mosaic, so that its header is paid once.

A mosaic also lets JPEG 2000 share its bytes over all planes. The usual way, one stream per plane, cannot reach high ratios.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.methods.conventional.base import Arrangement, ConventionalMethod
from microfield.methods.conventional.sheets import Floats

LONGEST = 16000
"""Sides of a mosaic: some formats end at 16,383 pixels."""


def columns(planes: int, y: int, x: int) -> int:
    """How many planes stand side by side in a mosaic: one, where that does not make it too tall."""
    rows = max(1, LONGEST // y)
    if planes * y <= LONGEST:
        return 1
    fitting = [n for n in range(-(-planes // rows), max(1, LONGEST // x) + 1) if planes % n == 0]
    return fitting[0] if fitting else -(-planes // rows)


def to_mosaic(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Planes of shape (n, Y, X) as one picture, column by column; the last plane fills what is left.

    Every second plane of a column stands on its head, so that like meets like at the seams.
    """
    n, y, x = planes.shape
    across = columns(n, y, x)
    down = -(-n // across)
    filled = np.concatenate([planes, *([planes[-1:]] * (across * down - n))]) if across * down > n else planes
    grid = _turned(filled.reshape(across, down, y, x)).reshape(across, down * y, x)
    return np.ascontiguousarray(np.concatenate(list(grid), axis=1))


def from_mosaic(picture: npt.NDArray[Any], n: int, y: int, x: int) -> npt.NDArray[Any]:
    """The inverse of `to_mosaic`."""
    across = columns(n, y, x)
    down = -(-n // across)
    if picture.shape[:2] != (down * y, across * x):
        raise FormatError(f"a mosaic is {picture.shape[:2]} pixels instead of {(down * y, across * x)}.")
    grid = np.stack([picture[:, i * x : (i + 1) * x] for i in range(across)]).reshape(across, down, y, x)
    return _turned(grid).reshape(across * down, y, x)[:n]


def mosaic_shape(n: int, y: int, x: int) -> tuple[int, int]:
    """Extents of the mosaic of n planes."""
    across = columns(n, y, x)
    return -(-n // across) * y, across * x


def _turned(grid: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Columns of planes (across, down, Y, X) with every second plane upside down; its own inverse."""
    turned = grid.copy()
    turned[:, 1::2] = grid[:, 1::2, ::-1]
    return turned


class Still(ConventionalMethod):
    """A codec of grey pictures of ``depth`` bits."""

    depth: ClassVar[int] = 16
    peak: ClassVar[int] = 65535
    """The code of a value of 1."""

    def compress(self, sheets: Floats, arrangement: Arrangement, knob: float, effort: int) -> bytes:
        """Code the mosaic."""
        del arrangement
        planes = sheets.reshape(-1, *sheets.shape[2:])
        codes = np.clip(np.rint(planes * np.float32(self.peak)), 0, self.peak)
        codes = codes.astype(np.uint8 if self.depth == 8 else np.uint16)
        return bytes(self.write(to_mosaic(codes), knob, effort))

    @classmethod
    def expand(cls, data: bytes, shape: tuple[int, int, int, int], arrangement: Arrangement) -> Floats:
        """Decode the mosaic."""
        del arrangement
        channels, frames, y, x = shape
        planes = from_mosaic(cls.read(data, mosaic_shape(channels * frames, y, x)), channels * frames, y, x)
        scaled: Floats = planes.reshape(shape).astype(np.float32) * np.float32(1 / cls.peak)
        return scaled

    def write(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """One picture to bytes."""
        raise NotImplementedError

    @classmethod
    def read(cls, data: bytes, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Bytes to a picture of this shape, which takes no more memory than that."""
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
    def read(cls, data: bytes, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.jpeg2k_decode(data, out=np.empty(shape, np.uint16)))


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
    def read(cls, data: bytes, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.htj2k_decode(data, out=np.empty(shape, np.uint16)))


class JpegXl(Still):
    """libjxl in its lossy mode; the knob is the distance, whose coarsest is 25.

    It takes codes for light seen by an eye. A sixteenth of its code range is nearly linear, which gains 0.2 to 1.5 dB over
    all of it and reaches far higher ratios.
    """

    name: ClassVar[str] = "jpegxl"
    summary: ClassVar[str] = "JPEG XL (libjxl, lossy, planes as one mosaic)"
    peak: ClassVar[int] = 4095
    coarse: ClassVar[float] = 25.0
    fine: ClassVar[float] = 0.05

    def write(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """The bare codestream."""
        import imagecodecs

        return bytes(imagecodecs.jpegxl_encode(picture, distance=knob, effort=min(max(effort + 2, 1), 9), usecontainer=False))

    @classmethod
    def read(cls, data: bytes, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.jpegxl_decode(data, out=np.empty(shape, np.uint16)))


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
    def read(cls, data: bytes, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.jpegxr_decode(data, out=np.empty(shape, np.uint16)))


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
    def read(cls, data: bytes, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.lerc_decode(data, out=np.empty(shape, np.uint16)))


class Colour8(Still):
    """A codec that knows 8-bit (or 10-bit) red, green and blue only: grey planes are given three times."""

    def write(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """Grey as colour: the chroma costs next to nothing."""
        return self.write_colour(np.repeat(picture[..., None], 3, axis=2), knob, effort)

    def write_colour(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """One colour picture to bytes."""
        raise NotImplementedError


class Avif(Colour8):
    """AV1 stills; the knob is the quality 0..99."""

    name: ClassVar[str] = "avif"
    summary: ClassVar[str] = "AVIF (10 bits, planes as one mosaic)"
    depth: ClassVar[int] = 10
    peak: ClassVar[int] = 1023
    coarse: ClassVar[float] = 0.0
    fine: ClassVar[float] = 99.0
    step: ClassVar[float] = 1.0

    def write_colour(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """One file."""
        import imagecodecs

        return bytes(imagecodecs.avif_encode(picture, level=round(knob), speed=min(10, max(0, 9 - effort)), bitspersample=10,
                                             pixelformat="420"))

    @classmethod
    def read(cls, data: bytes, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """The green samples."""
        import imagecodecs

        return np.asarray(imagecodecs.avif_decode(data, out=np.empty((*shape, 3), np.uint16)))[..., 1]


class WebP(Colour8):
    """Lossy WebP; 8 bits are all it has. The knob is the quality 0..100."""

    name: ClassVar[str] = "webp"
    summary: ClassVar[str] = "WebP (8 bits, planes as one mosaic)"
    depth: ClassVar[int] = 8
    peak: ClassVar[int] = 255
    coarse: ClassVar[float] = 0.0
    fine: ClassVar[float] = 100.0
    step: ClassVar[float] = 0.5

    def write_colour(self, picture: npt.NDArray[Any], knob: float, effort: int) -> bytes:
        """One file."""
        import imagecodecs

        return bytes(imagecodecs.webp_encode(picture, level=knob, method=min(6, effort + 1), lossless=False))

    @classmethod
    def read(cls, data: bytes, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """The green samples."""
        import imagecodecs

        return np.asarray(imagecodecs.webp_decode(data, out=np.empty((*shape, 3), np.uint8)))[..., 1]

"""Codecs of floating-point arrays, through imagecodecs: every channel as a volume of frames, Y and X."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.coding.varint import decode_one, encode_one
from microfield.errors import FormatError
from microfield.methods.conventional.base import Arrangement, ConventionalMethod
from microfield.methods.conventional.sheets import Floats


class VolumeCodec(ConventionalMethod):
    """A codec of one floating-point array at a time.

    The bytes of a part are the lengths of all streams but the last as varints, then one stream per channel.
    """

    def compress(self, sheets: Floats, arrangement: Arrangement, knob: float, effort: int) -> bytes:
        """Code one channel after the other."""
        del arrangement, effort
        streams = [self.write(np.ascontiguousarray(sheet).reshape(_extents(sheet.shape)), knob) for sheet in sheets]
        lengths = b"".join(encode_one(len(s)) for s in streams[:-1])  # The last stream ends with the part.
        return lengths + b"".join(streams)

    @classmethod
    def expand(cls, data: bytes, shape: tuple[int, int, int, int], arrangement: Arrangement) -> Floats:
        """Decode one channel after the other."""
        del arrangement
        at, lengths = 0, []
        for _ in range(shape[0] - 1):
            length, at = decode_one(data, at)
            lengths.append(length)
        lengths.append(len(data) - at - sum(lengths))
        if lengths[-1] < 0:
            raise FormatError("the streams of a part are longer than the part.")
        one = _extents(shape[1:])
        sheets = np.empty((shape[0], *one), np.float32)
        for sheet, length in zip(sheets, lengths, strict=True):
            values = cls.read(data[at : at + length], one)
            if values.shape != one:
                raise FormatError(f"a stream holds an array of shape {values.shape} instead of {one}.")
            sheet[:] = values
            at += length
        return sheets.reshape(shape)

    @abstractmethod
    def write(self, values: Floats, knob: float) -> bytes:
        """The stream of one array of two or three axes."""

    @classmethod
    @abstractmethod
    def read(cls, data: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """The array of this shape that a stream holds."""


def _extents(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Extents of a volume without those of 1, which some codecs refuse, but at least two of them."""
    longer = tuple(n for n in shape if n > 1)
    return (1,) * (2 - len(longer)) + longer


class Sperr(VolumeCodec):
    """SPERR; the knob is the PSNR in dB of values on the scale 0..1.

    Coded to a PSNR, the stream says how many bits per voxel that takes; coded to that many, it has the same size and less error.
    """

    name: ClassVar[str] = "sperr"
    fragile: ClassVar[bool] = True
    summary: ClassVar[str] = "SPERR (3-D wavelet, embedded bit planes)"
    coarse: ClassVar[float] = -20.0
    fine: ClassVar[float] = 100.0
    step: ClassVar[float] = 0.01

    def write(self, values: Floats, knob: float) -> bytes:
        """Code to the PSNR, then to as many bits per voxel."""
        import imagecodecs

        # SPERR counts PSNR from the range of what it is given; here the same error is wanted in all channels.
        span = float(values.max() - values.min())
        target = max(0.5, knob + 20 * math.log10(span)) if span else 1.0
        first = bytes(imagecodecs.sperr_encode(values, target, "psnr", header=False))
        return bytes(imagecodecs.sperr_encode(values, 8 * len(first) / values.size, "bpp", header=False))

    @classmethod
    def read(cls, data: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Decode one stream."""
        import imagecodecs

        return np.asarray(imagecodecs.sperr_decode(data, shape=shape, dtype=np.dtype(np.float32), header=False))


class Sz3(VolumeCodec):
    """SZ3; the knob is the base-2 logarithm of the largest error of values on the scale 0..1."""

    name: ClassVar[str] = "sz3"
    fragile: ClassVar[bool] = True
    summary: ClassVar[str] = "SZ3 (bounded error, interpolation and Huffman)"
    coarse: ClassVar[float] = 0.0
    fine: ClassVar[float] = -16.0

    def write(self, values: Floats, knob: float) -> bytes:
        """Code within the largest error."""
        import imagecodecs

        return bytes(imagecodecs.sz3_encode(values, mode="abs", abs=2.0**knob))

    @classmethod
    def read(cls, data: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Decode one stream."""
        import imagecodecs

        return np.asarray(imagecodecs.sz3_decode(data, shape, np.dtype(np.float32)))


class Zfp(VolumeCodec):
    """ZFP in its fixed-accuracy mode, the best of its modes; the knob is the base-2 logarithm of the tolerance.

    ZFP rounds the tolerance to a power of two. For what lies between, the values are scaled: the first byte of a stream says by
    how many sixty-fourths of an octave.
    """

    name: ClassVar[str] = "zfp"
    fragile: ClassVar[bool] = True
    summary: ClassVar[str] = "ZFP (block transform, fixed accuracy)"
    coarse: ClassVar[float] = 4.0
    fine: ClassVar[float] = -20.0

    def write(self, values: Floats, knob: float) -> bytes:
        """Scale the values, and code them to the whole power of two."""
        import imagecodecs

        sixty_fourths = round(64 * knob)
        whole, part = sixty_fourths // 64, sixty_fourths % 64
        encode: Any = imagecodecs.zfp_encode  # Typed as if the tolerance were a whole number.
        return bytes([part]) + bytes(encode(values * np.float32(2 ** (-part / 64)), level=2.0**whole, mode="a"))

    @classmethod
    def read(cls, data: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Decode one stream."""
        import imagecodecs

        values = imagecodecs.zfp_decode(data[1:], out=np.empty(shape, np.float32))
        return np.asarray(values) * np.float32(2 ** (min(data[0], 63) / 64))

"""Codecs of floating-point arrays, through imagecodecs: every channel as a volume of frames, Y and X."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.coding.varint import decode_one, encode_one
from microfield.errors import FormatError
from microfield.methods.conventional.base import Arrangement, ConventionalMethod
from microfield.methods.conventional.sheets import Floats


class Volumes(ConventionalMethod):
    """A codec of one array at a time; the streams of a part's channels follow one another, each after its length."""

    def compress(self, sheets: Floats, arrangement: Arrangement, knob: float, effort: int) -> bytes:
        """Code channel after channel."""
        del arrangement, effort
        streams = [self.write(np.ascontiguousarray(sheet).reshape(_extents(sheet.shape)), knob) for sheet in sheets]
        lengths = b"".join(encode_one(len(s)) for s in streams[:-1])  # The last one ends with the part.
        return lengths + b"".join(streams)

    @classmethod
    def expand(cls, data: bytes, shape: tuple[int, int, int, int], arrangement: Arrangement) -> Floats:
        """Decode channel after channel."""
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

    def write(self, values: Floats, knob: float) -> bytes:
        """One array of two or three axes to bytes."""
        raise NotImplementedError

    @classmethod
    def read(cls, data: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Bytes to the array of this shape."""
        raise NotImplementedError


def _extents(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A volume's axes without those of extent 1, which some codecs refuse; two at least."""
    longer = tuple(n for n in shape if n > 1)
    return (1,) * (2 - len(longer)) + longer


class Sperr(Volumes):
    """SPERR; the knob is the PSNR. Its bits-per-voxel mode makes better use of bytes, so it gets what the PSNR took."""

    name: ClassVar[str] = "sperr"
    summary: ClassVar[str] = "SPERR (3-D wavelet, embedded bit planes)"
    coarse: ClassVar[float] = -20.0
    fine: ClassVar[float] = 100.0
    step: ClassVar[float] = 0.01

    def write(self, values: Floats, knob: float) -> bytes:
        """One stream."""
        import imagecodecs

        # Its PSNR counts from the range of what it is given; the same error in all channels is wanted.
        span = float(values.max() - values.min())
        target = max(0.5, knob + 20 * math.log10(span)) if span else 1.0
        first = bytes(imagecodecs.sperr_encode(values, target, "psnr", header=False))
        return bytes(imagecodecs.sperr_encode(values, 8 * len(first) / values.size, "bpp", header=False))

    @classmethod
    def read(cls, data: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.sperr_decode(data, shape=shape, dtype=np.dtype(np.float32), header=False))


class Sz3(Volumes):
    """SZ3; the knob is the logarithm of the largest error."""

    name: ClassVar[str] = "sz3"
    summary: ClassVar[str] = "SZ3 (bounded error, interpolation and Huffman)"
    coarse: ClassVar[float] = 0.0
    fine: ClassVar[float] = -16.0

    def write(self, values: Floats, knob: float) -> bytes:
        """One stream."""
        import imagecodecs

        return bytes(imagecodecs.sz3_encode(values, mode="abs", abs=2.0**knob))

    @classmethod
    def read(cls, data: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        return np.asarray(imagecodecs.sz3_decode(data, shape, np.dtype(np.float32)))


class Zfp(Volumes):
    """ZFP in its fixed-accuracy mode, the best of its modes; the knob is the logarithm of the tolerance.

    Tolerances count in whole powers of two only, so values are scaled by what lies between; a byte tells by how much.
    """

    name: ClassVar[str] = "zfp"
    summary: ClassVar[str] = "ZFP (block transform, fixed accuracy)"
    coarse: ClassVar[float] = 4.0
    fine: ClassVar[float] = -20.0

    def write(self, values: Floats, knob: float) -> bytes:
        """Sixty-fourths of an octave, then one stream."""
        import imagecodecs

        sixty_fourths = round(64 * knob)
        whole, part = sixty_fourths // 64, sixty_fourths % 64
        encode: Any = imagecodecs.zfp_encode  # Its stubs know whole levels only.
        return bytes([part]) + bytes(encode(values * np.float32(2 ** (-part / 64)), level=2.0**whole, mode="a"))

    @classmethod
    def read(cls, data: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Decode."""
        import imagecodecs

        values = imagecodecs.zfp_decode(data[1:], out=np.empty(shape, np.float32))
        return np.asarray(values) * np.float32(2 ** (min(data[0], 63) / 64))

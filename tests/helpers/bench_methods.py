"""A small lossy method for tests of the bench: block means, fast, with a crash or an error on demand."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from helpers.raw_method import RawDecoder
from microfield.bench.measures import Known
from microfield.errors import FormatError
from microfield.image import Image, Layout
from microfield.methods import register
from microfield.methods.base import Context, Encoded, Method, PartData
from microfield.methods.options import option


@dataclass(frozen=True)
class MeansOptions:
    crash_below: int = option(0, "bytes under which the process dies")
    fail_below: int = option(0, "bytes under which there is an error nobody foresaw")


@register
class Means(Method):
    name: ClassVar[str] = "means-for-tests"
    summary: ClassVar[str] = "Means of square blocks of a uint8 YX image."
    experimental: ClassVar[bool] = True
    options: MeansOptions
    Options: ClassVar[type[Any]] = MeansOptions

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        if quality < self.options.crash_below:
            os.kill(os.getpid(), signal.SIGKILL)
        if quality < self.options.fail_below:
            raise RuntimeError("nobody foresaw this\nsecond line")
        side = next(n for n in range(1, 999) if 1 + means(block, n).size <= quality)
        section = bytes([side]) + means(block, side).tobytes()
        decoded = self.decoder(layout, 1, PartData((section,))).values
        return Encoded((section,), np.array([np.mean((decoded.astype(float) - block) ** 2)]))

    def smallest(self, layout: Layout) -> int:
        return 2

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> RawDecoder:
        sections = data.own
        if len(sections) != 1 or not sections[0]:
            raise FormatError("these are not block means.")
        side, (height, width) = sections[0][0], layout.shape
        small = np.frombuffer(sections[0][1:], np.uint8).reshape(-(-height // side), -(-width // side))
        return RawDecoder(small.repeat(side, 0).repeat(side, 1)[:height, :width], layout)


def means(block: npt.NDArray[Any], side: int) -> npt.NDArray[np.uint8]:
    rows, columns = (np.arange(0, n, side) for n in block.shape)
    sums = np.add.reduceat(np.add.reduceat(block.astype(float), rows, 0), columns, 1)
    counts = np.outer(np.diff([*rows, block.shape[0]]), np.diff([*columns, block.shape[1]]))
    return np.asarray(np.rint(sums / counts), np.uint8)


def brightest(original: Image, reconstruction: npt.NDArray[Any], known: Known) -> Mapping[str, float | None]:
    """A measure with a known answer."""
    labels = -1.0 if known.labels is None else float(known.labels.read().max())
    return {"brightest": float(reconstruction.max()), "label": labels, "nothing": None}


def broken(original: Image, reconstruction: npt.NDArray[Any], known: Known) -> Mapping[str, float | None]:
    raise ValueError("this measure is broken")

"""Job: one image on its way into a file: checks, parts, budget, assembly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import BudgetError, InputError, UsageError
from microfield.format.container import Header, checksum, file_size, write
from microfield.format.grid import Grid
from microfield.image import Image, Layout, filled
from microfield.methods import get_method
from microfield.methods.base import Context, Deadline, Encoded, Method, parse_options
from microfield.statistics import ChannelStatistics, channel_statistics, count_invalid, looks_like_labels
from microfield.writing.budget import Budget
from microfield.writing.prediction import Spectrum, spectrum
from microfield.writing.settings import Report, Settings, decibel
from microfield.writing.to_a_quality import encode_quality
from microfield.writing.to_a_size import Request, Shortage, channel_errors, encode_bytes

METADATA_SHARE = 0.02
"""Vendor metadata is kept unasked where it takes at most this share of the budget."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class ImagePart:
    """One part of the grid: where it lies and how to get its values."""

    job: Job
    box: tuple[slice, ...]

    @property
    def layout(self) -> Layout:
        """Shape of the part."""
        return self.job.image.layout.with_shape(tuple(s.stop - s.start for s in self.box))

    @cached_property
    def channels(self) -> npt.NDArray[np.intp]:
        """Which channels of the image the part holds, in its own channel order."""
        layout = self.job.image.layout
        numbers = np.arange(layout.channels).reshape([layout.shape[i] for i in layout.channel_axes])
        return np.asarray(numbers[tuple(self.box[i] for i in layout.channel_axes)].reshape(-1))

    def read(self) -> npt.NDArray[Any]:
        """Values of the part, NaN and infinity replaced where the user asked for it."""
        block = self.job.image.read(self.box)
        fill = self.job.settings.nan_fill
        if fill is not None and block.dtype.kind == "f":
            block = np.where(np.isfinite(block), block, block.dtype.type(fill))
        return block


class Job:
    """One image on its way into a file: checks, parts, budget and assembly.

    ``statistics`` spares measuring them where they are known; those of a whole image serve a crop of it.
    """

    def __init__(self, image: Image, settings: Settings, deadline: Deadline, progress: Progress,
                 statistics: ChannelStatistics | None = None) -> None:
        self.begin = time.monotonic()
        self.image, self.settings, self.progress = image, settings, progress
        if statistics is not None:
            self.__dict__["statistics"] = statistics
        self.method_class: type[Method] = get_method(settings.method)
        self.method: Method = self.method_class(parse_options(self.method_class, settings.options or {}))
        self.grid = Grid(image.shape, _tile(image, settings.tile))
        self.parts = [ImagePart(self, self.grid.box(i)) for i in range(self.grid.n)]
        self.notes: list[str] = []
        progress(0.0, "look at the image")
        self._check()
        self.context = self._context(deadline)
        if self.filled:
            self.notes.append(f"{self.filled} values that were NaN or infinite are now {settings.nan_fill:g}.")

    def _check(self) -> None:
        invalid = np.sum([count_invalid(self.image.read(p.box)) for p in self.parts], axis=0) \
            if self.image.dtype.kind == "f" else (0, 0)
        self.filled = int(sum(invalid))
        if self.filled and self.settings.nan_fill is None:
            raise InputError(
                f"{self.image.name} holds {invalid[0]} NaN and {invalid[1]} infinite values; "
                f"replace them, or give a value to put there with --nan-fill."
            )
        if self.settings.not_labels:
            return
        if self.image.labels or (self.image.labels is None and looks_like_labels(self.image)):
            raise InputError(
                f"{self.image.name} looks like object labels or a mask, whose values must not change; keep it in a "
                f"lossless format, or give --not-labels if it is an image after all."
            )

    @cached_property
    def statistics(self) -> ChannelStatistics:
        """Range, percentiles and noise of every channel, after filling."""
        return channel_statistics(filled(self.image, self.settings.nan_fill))

    def _context(self, deadline: Deadline) -> Context:
        weights = np.ones(self.image.layout.channels)
        if self.settings.channel_weights is not None:
            weights = np.asarray(self.settings.channel_weights, np.float64)
            if weights.shape != (self.image.layout.channels,) or not (weights >= 0).all() or not weights.any():
                raise UsageError(
                    f"channel weights must be {self.image.layout.channels} numbers, none negative and one above 0, not "
                    f"{', '.join(f'{w:g}' for w in weights)}."
                )
            weights = weights / weights.max()
        s = self.settings
        for name in ("channel_weights", "voxel_weights", "guidance", "optimiser"):
            if getattr(s, name) is not None and name not in self.method.accepts:
                others = "field, inif and siren" if name == "channel_weights" else "the networks (inif, siren)"
                raise UsageError(f"method {self.method.name} cannot use {name}; {others} can.")
        if s.voxel_weights is not None and s.voxel_weights.shape != self.image.shape:
            raise InputError(
                f"the voxel weights have shape {s.voxel_weights.shape}, the image {self.image.shape}; they must be the same."
            )
        return Context(
            self.statistics.range, weights, s.seed, s.effort, deadline, self.progress,
            s.voxel_weights, s.guidance, s.optimiser,
        )

    @cached_property
    def spectra(self) -> list[Spectrum]:
        """Predicted rate-distortion curve of every part."""
        return [spectrum(p.read(), p.layout, self.context.channel_range[p.channels]) for p in self.parts]

    @cached_property
    def header(self) -> Header:
        """The file's header; vendor metadata is decided by `_with_metadata`."""
        layout = self.image.layout
        return Header(
            method=self.method.name, bitstream_version=self.method.bitstream_version, layout=layout,
            voxel_size={a: float(v) for a, v in self.image.voxel_size.items() if a in layout.axes},
            units={a: u for a, u in self.image.units.items() if a in self.image.voxel_size and a in layout.axes},
            channel_names=self.image.channel_names, checksum=checksum(self.image.read(p.box) for p in self.rows()),
            tile=None if self.grid.n == 1 else self.grid.tile, references=None,
            experimental=self.method.experimental, metadata=None,
        )

    def rows(self) -> list[ImagePart]:
        """The image cut along its first axis only, in array order: what a checksum reads."""
        first = max(1, (1 << 24) * self.image.shape[0] // self.image.layout.size)
        grid = Grid(self.image.shape, (first, *self.image.shape[1:]))
        return [ImagePart(self, grid.box(i)) for i in range(grid.n)]

    # -- encode ---------------------------------------------------------------------------------------------------

    def encode(self, budget: Budget) -> list[Encoded]:
        """Encode all parts to the budget."""
        limit = budget.byte_limit(self.image.layout)
        spectra = self.spectra if self.method.quality_is_bytes else []
        request = Request(self.method, self.parts, spectra, self.context, self.image.layout.size)
        self._decide_metadata(limit)
        if limit is not None:
            return self._encode_bytes(request, limit)
        error, say = 10 ** (-budget.value / 10), _say_psnr
        if budget.kind == "noise_factor":
            noise = self._noise()
            request = replace(request, context=replace(self.context, channel_range=noise))
            if self.method.quality_is_bytes:
                request = replace(request, spectra=[spectrum(p.read(), p.layout, noise[p.channels]) for p in self.parts])
            error, say = budget.value**2, _say_noise
        quarter = self.image.nbytes // 4
        try:
            return encode_quality(request, error, quarter - self._overhead(quarter), say)
        except Shortage as short:
            raise BudgetError(
                f"{self.image.name} takes at least {short.smallest + self._overhead(short.smallest)} bytes with method "
                f"{self.method.name}, more than a quarter of its raw {self.image.nbytes} bytes; store it without loss."
            ) from None

    def _encode_bytes(self, request: Request, limit: int) -> list[Encoded]:
        try:
            return encode_bytes(request, max(0, limit - self._overhead(limit)))
        except Shortage as short:
            smallest = limit
            # What the index is allowed grows with the file, so the named size is one that holds its own overhead.
            while (needed := short.smallest + self._overhead(smallest)) > smallest:
                smallest = needed
            raise BudgetError(
                f"{limit} bytes are too few: {self.image.name} takes at least {smallest} bytes with method "
                f"{self.method.name} (ratio {self.image.nbytes / smallest:.0f})."
            ) from None

    def _overhead(self, limit: int) -> int:
        """Bytes of the file that are not parts, at most: index entries are sized for parts of uneven lengths."""
        n = self.grid.n
        uneven = [1 if i % 2 else max(1, min(limit, 8 * limit // n)) for i in range(n)]
        return file_size(self.header, uneven) - sum(uneven)

    def _noise(self) -> npt.NDArray[np.float64]:
        noise = self.statistics.noise
        if not (noise > 0).all():
            raise InputError(
                f"no noise can be estimated in channel {int(np.argmin(noise))} of {self.image.name}; ask for a psnr or a "
                f"size instead of a noise factor."
            )
        return noise

    def _decide_metadata(self, limit: int | None) -> None:
        """Keep vendor metadata where it is cheap or asked for; say so where it is dropped."""
        if not self.image.metadata:
            return
        kept = replace(self.header, metadata=self.image.metadata)
        cost = file_size(kept, [1] * self.grid.n) - file_size(self.header, [1] * self.grid.n)
        if self.settings.keep_metadata or cost <= METADATA_SHARE * (limit or 0):
            self.__dict__["header"] = kept
        else:
            self.notes.append(
                f"vendor metadata left out ({cost} bytes, more than {METADATA_SHARE:.0%} of the budget); "
                f"--keep-metadata keeps it."
            )

    def pack(self, budget: Budget) -> tuple[bytes, Report]:
        """The whole file for the budget, and the report."""
        encoded = self.encode(budget)
        data = self.write(encoded)
        return data, self.report(budget, encoded, data, time.monotonic() - self.begin)

    # -- write ----------------------------------------------------------------------------------------------------

    def write(self, encoded: list[Encoded]) -> bytes:
        """The whole file."""
        return write(self.header, [e.sections for e in encoded])

    def report(self, budget: Budget, encoded: list[Encoded], data: bytes, seconds: float) -> Report:
        """What it cost."""
        limit = budget.byte_limit(self.image.layout)
        if limit is not None and len(data) > limit:
            raise AssertionError(f"{len(data)} bytes were written for a budget of {limit}")
        errors = channel_errors(encoded, self.parts, self.image.layout.channels)
        relative = errors / self.statistics.range**2
        noise = self.statistics.noise
        return Report(
            method=self.method.name, raw_bytes=self.image.nbytes, file_bytes=len(data),
            ratio=self.image.nbytes / len(data), source_bytes=self.image.source_bytes,
            psnr=decibel(float(relative.mean())), channel_psnr=tuple(decibel(float(r)) for r in relative),
            noise_factor=float(np.sqrt(np.mean(errors / noise**2))) if (noise > 0).all() else None,
            used=None if limit is None else len(data) / limit, parts=self.grid.n, seconds=seconds,
            notes=tuple(self.notes),
        )


def _tile(image: Image, tile: Mapping[str, int] | None) -> tuple[int, ...]:
    """Part extents over all axes from those the user named."""
    wanted = {axis.upper(): n for axis, n in (tile or {}).items()}
    unknown = sorted(set(wanted) - set(image.axes))
    if unknown or any(n < 1 for n in wanted.values()):
        raise UsageError(f"tile {dict(tile or {})} must name axes of {image.axes} with extents of at least 1.")
    return tuple(min(n, wanted.get(axis, n)) for axis, n in image.sizes.items())


def _say_psnr(psnr: float) -> str:
    return f"{psnr:.2f} dB"


def _say_noise(psnr: float) -> str:
    return f"{10 ** (-psnr / 20):.2f} times the noise"

"""The compress path: image -> parts -> Method.encode -> sections -> container -> .mfield, and a report of what it cost."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.budget import (
    Budget,
    Request,
    Shortage,
    channel_errors,
    encode_bytes,
    encode_quality,
)
from microfield.container import Header, checksum, file_size, write
from microfield.errors import BudgetError, InputError
from microfield.image import Image, Layout, as_image
from microfield.methods import get_method
from microfield.methods.base import Context, Deadline, Encoded, Method, parse_options
from microfield.rates import Spectrum, predicted_psnr, spectrum
from microfield.statistics import ChannelStatistics, channel_statistics, count_invalid, looks_like_labels
from microfield.tiles import Grid

DEFAULT_METHOD = "inif"
METADATA_SHARE = 0.02
"""Vendor metadata is kept unasked where it takes at most this share of the budget."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Settings:
    """How to compress, apart from the budget.

    Attributes
    ----------
    method : str
        Name of a registered method.
    options : mapping
        Options of the method (text or Python values).
    effort : int, 0 to 9
        How much work: each step doubles it.
    time_limit : float, optional
        Seconds the fit may take.
    tile : mapping, optional
        Axis letter to extent: cuts the image into a regular grid of parts.
    channel_weights : sequence of float, optional
        Relative importance of every channel's error.
    nan_fill : float, optional
        Value that replaces NaN and infinity; without it they are refused.
    not_labels : bool
        Compress even what looks like object labels.
    keep_metadata : bool
        Keep vendor metadata whatever it costs.
    """

    method: str = DEFAULT_METHOD
    options: Mapping[str, Any] | None = None
    effort: int = 5
    time_limit: float | None = None
    seed: int = 0
    threads: int | None = None
    tile: Mapping[str, int] | None = None
    channel_weights: tuple[float, ...] | None = None
    nan_fill: float | None = None
    not_labels: bool = False
    keep_metadata: bool = False
    guidance: Any = None
    voxel_weights: npt.NDArray[np.float32] | None = None
    optimiser: Any = None

    def __post_init__(self) -> None:
        if not 0 <= self.effort <= 9:
            raise InputError(f"effort must be 0 to 9, not {self.effort}.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise InputError(f"the time limit must be a positive number of seconds, not {self.time_limit}.")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads must be at least 1, not {self.threads}.")


@dataclass(frozen=True)
class Report:
    """What a compression cost, all measured on the file as it decodes.

    ``psnr`` is the overall PSNR in dB (infinite for an exact copy), ``channel_psnr`` that of every channel, ``used`` the
    share of the byte budget that the file takes (None for quality requests).
    """

    method: str
    raw_bytes: int
    file_bytes: int
    ratio: float
    source_bytes: int | None
    psnr: float
    channel_psnr: tuple[float, ...]
    noise_factor: float | None
    used: float | None
    parts: int
    seconds: float
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready mapping; infinite values become None."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}


def compress(
    source: Any, destination: str | os.PathLike[str] | None = None, *, ratio: float | None = None,
    bits_per_voxel: float | None = None, max_bytes: float | str | None = None, psnr: float | None = None,
    noise_factor: float | None = None, axes: str | None = None, scene: str | int | None = None,
    channel: str | int | None = None, progress: Progress | None = None, **settings: Any,
) -> Report:
    """Compress an image into a microfield file.

    Parameters
    ----------
    source : path, Image, array, xarray.DataArray or dask array
        A 2-D to 5-D image.
    destination : path
        The ``.mfield`` file; it appears complete or not at all.
    ratio, bits_per_voxel, max_bytes, psnr, noise_factor : exactly one
        Raw bytes over file bytes; bits per array element; bytes of the file (number or text such as ``"300kB"``); least
        PSNR in dB; largest root mean square error in units of the estimated noise sigma.
    axes, scene, channel : optional
        How to read the source: its axes, which series of a file, one channel only.
    progress : callable (fraction, message), optional
        Called during long steps.
    **settings
        Fields of `Settings`: ``method``, ``options``, ``effort``, ``time_limit``, ``seed``, ``threads``, ``tile``, ...

    Returns
    -------
    Report

    Raises
    ------
    InputError
        If the image or a setting cannot be used.
    BudgetError
        If the budget cannot be met; the message says what can.
    """
    budget = Budget.of(ratio=ratio, bits_per_voxel=bits_per_voxel, max_bytes=max_bytes, psnr=psnr,
                       noise_factor=noise_factor)
    try:
        chosen = Settings(**settings)
    except TypeError as wrong:
        raise InputError(f"unknown setting: {wrong}.") from None
    if destination is None:
        raise InputError("give the path of the file to write.")
    path = Path(destination)
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist.")
    data, report = compress_to_bytes(load(source, axes, scene, channel), budget, chosen, progress)
    from microfield.io.atomic import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return report


def load(source: Any, axes: str | None = None, scene: str | int | None = None, channel: str | int | None = None) -> Image:
    """An Image from a path or from anything array-like."""
    if isinstance(source, (str, os.PathLike)):
        from microfield.io import open_image

        return open_image(source, axes=axes, scene=scene, channel=channel)
    if scene is not None or channel is not None:
        raise InputError("scene and channel choose within a file; index the array instead.")
    return as_image(source, axes)


def compress_to_bytes(
    image: Image, budget: Budget, settings: Settings, progress: Progress | None = None
) -> tuple[bytes, Report]:
    """The bytes of a microfield file and the report (see `compress`)."""
    begin = time.monotonic()
    deadline = Deadline.after(settings.time_limit)
    job = Job(image, settings, deadline, progress or (lambda _done, _what: None))
    encoded = job.encode(budget)
    data = job.write(encoded)
    return data, job.report(budget, encoded, data, time.monotonic() - begin)


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
    """One image on its way into a file: checks, parts, budget and assembly."""

    def __init__(self, image: Image, settings: Settings, deadline: Deadline, progress: Progress) -> None:
        self.image, self.settings, self.progress = image, settings, progress
        self.method_class: type[Method] = get_method(settings.method)
        self.method: Method = self.method_class(parse_options(self.method_class, settings.options or {}))
        self.grid = Grid(image.shape, _tile(image, settings.tile))
        self.parts = [ImagePart(self, self.grid.box(i)) for i in range(self.grid.n)]
        self.notes: list[str] = []
        progress(0.0, "look at the image")
        self._check()
        self.context = self._context(deadline)

    def _check(self) -> None:
        invalid = np.sum([count_invalid(self.image.read(p.box)) for p in self.parts], axis=0) \
            if self.image.dtype.kind == "f" else (0, 0)
        if sum(invalid) and self.settings.nan_fill is None:
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
        fill = self.settings.nan_fill
        if fill is None or self.image.dtype.kind != "f":
            return channel_statistics(self.image)
        return channel_statistics(replace(self.image, data=_Filled(self.image, fill)))

    def _context(self, deadline: Deadline) -> Context:
        weights = np.ones(self.image.layout.channels)
        if self.settings.channel_weights is not None:
            weights = np.asarray(self.settings.channel_weights, np.float64)
            if weights.shape != (self.image.layout.channels,) or not (weights >= 0).all() or not weights.any():
                raise InputError(
                    f"channel weights must be {self.image.layout.channels} numbers, none negative and one above 0, not "
                    f"{', '.join(f'{w:g}' for w in weights)}."
                )
        s = self.settings
        return Context(
            self.statistics.range, self.statistics.minimum, weights, s.seed, s.effort, s.threads, deadline,
            self.progress, s.voxel_weights, s.guidance, s.optimiser,
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
        request = Request(self.method, self.parts, self.spectra, self.context, self.image.layout.size)
        self._decide_metadata(limit)
        if limit is not None:
            return self._encode_bytes(request, limit)
        error = 10 ** (-budget.value / 10)
        if budget.kind == "noise_factor":
            noise = self._noise()
            request = replace(request, context=replace(self.context, channel_range=noise))
            request = replace(request, spectra=[spectrum(p.read(), p.layout, noise[p.channels]) for p in self.parts])
            error = budget.value**2
        return encode_quality(request, error, self.image.nbytes // 4 - self._overhead(self.image.nbytes // 4))

    def _encode_bytes(self, request: Request, limit: int) -> list[Encoded]:
        room = limit - self._overhead(limit)
        try:
            encoded = encode_bytes(request, room) if room > 0 else []
        except Shortage:
            encoded = []
        if not encoded:
            smallest = sum(self.method.smallest(p.layout) for p in self.parts)
            smallest += self._overhead(limit)
            raise BudgetError(
                f"{limit} bytes are too few: {self.image.name} takes at least {smallest} bytes with method "
                f"{self.method.name} (ratio {self.image.nbytes / smallest:.0f})."
            )
        return encoded

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
            psnr=_decibel(float(relative.mean())), channel_psnr=tuple(_decibel(float(r)) for r in relative),
            noise_factor=float(np.sqrt(np.mean(errors / noise**2))) if (noise > 0).all() else None,
            used=None if limit is None else len(data) / limit, parts=self.grid.n, seconds=seconds,
            notes=tuple(self.notes),
        )


def predictions(image: Image, settings: Settings) -> list[tuple[float, int, float]]:
    """Ratio, bytes and PSNR that a good transform codec would reach: what the command line shows without a budget."""
    job = Job(image, settings, Deadline(), lambda _done, _what: None)
    rows = []
    for ratio in (16, 32, 64, 128, 256, 512, 1024, 2048):
        size = image.nbytes / ratio
        rows.append((float(ratio), int(size), predicted_psnr(job.spectra, image.layout.size, size)))
    return rows


@dataclass(frozen=True)
class _Filled:
    """An image's data with NaN and infinity replaced."""

    image: Image
    fill: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.image.dtype

    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]:
        block = self.image.read(key)
        return np.where(np.isfinite(block), block, block.dtype.type(self.fill))


def _tile(image: Image, tile: Mapping[str, int] | None) -> tuple[int, ...]:
    """Part extents over all axes from those the user named."""
    wanted = {axis.upper(): n for axis, n in (tile or {}).items()}
    unknown = sorted(set(wanted) - set(image.axes))
    if unknown or any(n < 1 for n in wanted.values()):
        raise InputError(f"tile {dict(tile or {})} must name axes of {image.axes} with extents of at least 1.")
    return tuple(min(n, wanted.get(axis, n)) for axis, n in image.sizes.items())


def _decibel(error: float) -> float:
    return math.inf if error <= 0 else -10 * math.log10(error)



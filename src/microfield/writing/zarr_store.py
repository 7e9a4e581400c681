"""From an image and a budget to an OME-Zarr 0.5 store whose chunks the codec ``microfield`` encodes.

One quality is solved for, and all chunks of all resolutions are encoded at it, so that bytes go where they are worth most. The size
is that of all files: chunks, indices of shards, metadata. Zarr itself writes and reads the store, so what is measured is what users
get.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.errors import BudgetError, MissingExtraError, UsageError
from microfield.format.grid import Grid
from microfield.image import Image
from microfield.io.atomic import GUARD, atomic_directory
from microfield.io.blocks import Output
from microfield.io.destination import is_node
from microfield.io.zarr_attributes import group_attributes
from microfield.io.zarr_writer import level_shapes, level_steps
from microfield.methods import AUTO
from microfield.methods.base import Exact, KnobTraits
from microfield.progress import Progress
from microfield.statistics import as_planes, channel_numbers
from microfield.threads import default_threads
from microfield.wording import argument, listed
from microfield.writing.assemble import plan_file, report_of
from microfield.writing.budget import LOSSLESS, TOLERANCE_DB, Budget
from microfield.writing.chunk import ChunkSettings, Quality
from microfield.writing.envelope import METADATA_SHARE
from microfield.writing.job import Job, prepare
from microfield.writing.knob import END, largest
from microfield.writing.pace import Pace
from microfield.writing.plan import ByteShares, JobPlan
from microfield.writing.planned import FILLED, PASSES
from microfield.writing.report import Report
from microfield.writing.sentences import emptied, inexact
from microfield.writing.settings import Settings
from microfield.writing.zarr_layout import SMALLEST, UNKNOWN_RATIO, arranged, chunk_shape, even, resolution, shard_shape

METADATA_BYTES = 2500
"""What the metadata of a store take, about: for the first guess only."""

Float64 = npt.NDArray[np.float64]


def compress_to_zarr(image: Image, destination: Path, budget: Budget, settings: Settings, overwrite: bool = False,
                     progress: Progress | None = None) -> Report:
    """Write a store of microfield chunks; parameters and errors are those of `microfield.writing.compress.compress`.

    ``settings.tile`` gives the extents of a chunk. A budget in bytes is that of all files together, and a ratio that of the raw
    array over all of them.
    """
    try:
        import zarr
    except ImportError:
        raise MissingExtraError("Writing OME-Zarr", "zarr") from None
    _check(settings)
    if budget.task is not None:
        raise UsageError(f"{argument('safe_for', budget.task.name)} makes .mfield files; for a Zarr store ask for the PSNR that "
                         "such a file has.")
    say = progress or (lambda _done, _what: None)
    laid = arranged(image)
    chunk = chunk_shape(laid, settings.tile)
    tile = dict(zip(laid.axes, chunk, strict=True))
    job = prepare(laid, replace(settings, tile=tile), Deadline.after(settings.time_limit), say)
    limit = budget.byte_limit(image.layout)
    with atomic_directory(destination, overwrite) as folder, zarr.config.set(
            {"json_indent": None, "async.concurrency": default_threads(), "threading.max_workers": default_threads()}):
        store = _Store(job, image, folder, destination.name, chunk, limit)
        _fill(store, budget)
        errors, size = store.errors(), store.size
    report = report_of(job, errors, size, limit, (*store.notes, *emptied(job, errors)))
    return replace(report, axes=image.axes, shape=image.shape)


def _check(settings: Settings) -> None:
    """Refuse what chunks that are encoded one by one cannot use."""
    if settings.method == AUTO:
        raise UsageError(f"a Zarr store is written with one method; name it instead of {argument('method', AUTO)}.")
    held = [name for name in ("saliency", "guide", "optimiser", "guide_arrays") if getattr(settings, name) is not None
            and (name != "guide_arrays" or settings.guide_arrays)]
    if held:
        raise UsageError(f"the chunks of a Zarr store are encoded one by one, without {listed([argument(h) for h in held])}; "
                         "leave it out, or write a .mfield file.")


@dataclass
class _Store:
    """A store that is written at one quality after another.

    Attributes
    ----------
    job : Job
        Of the arranged image.
    source : Image
        As it was given, for its metadata.
    folder : Path
        Where the store is built.
    name : str
        What it will be called.
    chunk : tuple of int
        Extents of a chunk of the full resolution.
    limit : int, optional
        Bytes that all files may take.
    size : int
        Bytes of all files at the quality that was written last.
    notes : tuple of str
        What was left out.
    written : Quality, optional
        The quality that was written last.
    """

    job: Job
    source: Image
    folder: Path
    name: str
    chunk: tuple[int, ...]
    limit: int | None
    size: int = 0
    notes: tuple[str, ...] = ()
    written: Quality | None = None
    _arrays: list[Any] = field(default_factory=list)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of all resolutions."""
        return level_shapes(self.job.image.shape, SMALLEST)

    def write(self, chunk: ChunkSettings) -> int:
        """Write everything anew; the bytes of all files."""
        import zarr

        image = self.job.image
        voxels = [math.prod(shape) for shape in self.shapes]
        # What Zarr fills chunks up with at the edges should not stand out from the image.
        darkest = image.dtype.type(self.job.statistics.minimum.min())
        self._arrays = []
        for level, shape in enumerate(self.shapes):
            own = tuple(c if level == 0 else even(n, c) for c, n in zip(self.chunk, shape, strict=True))
            expected = (self.limit or image.nbytes / UNKNOWN_RATIO) * math.prod(own) / sum(voxels)
            shards = shard_shape(shape, own, expected)
            array = zarr.create_array(
                store=str(self.folder / str(level)), shape=shape, dtype=image.dtype, zarr_format=3, chunks=own, shards=shards,
                serializer={"name": "microfield", "configuration": {"axes": image.axes, **chunk.to_dict()}}, compressors=None,
                dimension_names=[a.lower() for a in image.axes], overwrite=True, fill_value=darkest,
            )  # fmt: skip
            self._arrays.append(array)
            # Several chunks at once, which Zarr encodes in parallel.
            region = shards or shard_shape(shape, own, 0.0) or own
            grid = Grid(shape, tuple(min(r, n) for r, n in zip(region, shape, strict=True)))
            for part in range(grid.n):
                box = grid.box(part)
                array[box] = resolution(image, level, box)
                done = sum(voxels[:level]) + voxels[level] * (part + 1) / grid.n
                self.job.context.progress(done / sum(voxels), f"resolution {level}: {part + 1}/{grid.n}")
        if not is_node(self.folder):
            zarr.create_group(store=str(self.folder), attributes=self._attributes(), zarr_format=3)
        self.size = sum(f.stat().st_size for f in self.folder.rglob("*") if f.is_file() and f.name != GUARD)
        return self.size

    def errors(self) -> Float64:
        """Mean squared error of every channel in squared grey levels, of what Zarr reads at full resolution."""
        image = self.job.image
        total, count = np.zeros(image.layout.channels), np.zeros(image.layout.channels)
        grid = Grid(image.shape, self.chunk)
        for part in range(grid.n):
            box = grid.box(part)
            planes = as_planes((self._arrays[0][box].astype(np.float64) - image.read(box)) ** 2, image.axes)
            for number, values in zip(channel_numbers(image.layout, box), planes, strict=True):
                total[number] += values.sum()
                count[number] += values.size
        return np.asarray(total / count)

    def _attributes(self) -> dict[str, Any]:
        """Those of the group, with metadata of the source where they are small or asked for."""
        image, source = self.job.image, self.source
        text, room = source.metadata, METADATA_SHARE * (self.limit or image.nbytes / UNKNOWN_RATIO)
        if text is not None and len(text.encode()) > room and not self.job.settings.keep_metadata:
            self.notes = (f"vendor metadata ({len(text.encode())} bytes) left out to keep the bytes for the image; "
                          f"{argument('keep_metadata', True)} keeps it.",)
            text = None
        output = Output(source.layout, source.read, dict(source.voxel_size), dict(source.units), source.channel_names, text,
                        source.display, acquisition=source.acquisition).consistent()
        statistics = self.job.statistics
        ends = zip(statistics.minimum.tolist(), statistics.maximum.tolist(), strict=True)
        ranges = dict(enumerate(ends))
        return group_attributes(self.name, output, image.axes, level_steps(len(self.shapes)), ranges)


def _fill(store: _Store, budget: Budget) -> None:
    """Write a store at the quality that meets the budget.

    Raises
    ------
    BudgetError
        None does.
    """
    job, limit = store.job, store.limit
    if isinstance(job.method.quality, Exact):
        store.write(ChunkSettings(Budget(LOSSLESS, 1.0), _per_chunk(job, None)))
        if limit is not None and store.size > limit:
            raise inexact(job, limit, store.size)
        return
    if budget.kind == LOSSLESS:
        raise UsageError(f"method {job.method.name} makes no exact copies; leave {argument('method')} out, or give a budget.")
    plan = _plan(store, budget)

    def write(quality: Quality) -> float:
        return _excess(store, budget, plan, quality)

    if isinstance(plan.setting, ByteShares):
        _to_shares(store, budget, plan.setting, write)
    else:
        _to_setting(store, budget, plan.setting, write)


def _plan(store: _Store, budget: Budget) -> JobPlan:
    """Where the search begins, from sampled chunks of the full resolution, and what errors count in."""
    job = store.job
    if store.limit is None:
        return plan_file(job, budget)[0]
    voxels = [math.prod(shape) for shape in store.shapes]
    room = max(1, int((store.limit - METADATA_BYTES) * voxels[0] / sum(voxels)))
    try:
        return plan_file(job, Budget("max_bytes", room))[0]
    except BudgetError:  # The smallest store may still fit, or else its size is what to say.
        method = job.method
        shares = 0.0 if isinstance(method.quality, KnobTraits) else ByteShares(1.0, 0.0)
        return JobPlan.of(method, job.context, job.grid, job.image.layout, shares, {})


def _excess(store: _Store, budget: Budget, plan: JobPlan, quality: Quality) -> float:
    """Write a store at a quality: the logarithm of its size over the limit, or of its error over the one that is allowed."""
    job = store.job
    noise = None if plan.noise is None else tuple(float(n) for n in plan.noise)
    ranges = tuple(float(n) for n in plan.channel_range)
    store.write(ChunkSettings(None, _per_chunk(job, plan), ranges, noise, quality))
    store.written = quality
    if store.limit is not None:
        return math.log(store.size / max(1, store.limit))
    unit = np.asarray(plan.noise or plan.channel_range)
    relative = store.errors() / unit**2
    error = float(relative.max() if budget.kind == "least_psnr" else relative.mean())
    return math.log(max(error, 1e-300) / _allowed(budget))


def _allowed(budget: Budget) -> float:
    """The mean squared error in units that a quality stands for."""
    return budget.value**2 if budget.kind == "noise_factor" else 10 ** (-budget.value / 10)


def _to_setting(store: _Store, budget: Budget, first: float, write: Callable[[Quality], float]) -> None:
    """The knob: its finest setting that fits, or its coarsest that is good enough; the store is left as that has it."""
    traits = store.job.method.quality
    assert isinstance(traits, KnobTraits)
    pace = Pace(store.job.context.deadline)
    if store.limit is not None:
        best = largest(lambda x, _cheaply: (write(x), x), traits.step, 1 - FILLED, pace, PASSES, first, slope=traits.slope)
        if best is None:
            raise _too_small(store, store.limit)
    else:
        tolerance = TOLERANCE_DB * math.log(10) / 10
        best = largest(lambda x, _cheaply: (write(END - x), END - x), traits.step, tolerance, pace, PASSES, END - first)
    if best is not None and best != store.written:
        write(best)
    _check_quality(store, budget, best is not None)


def _to_shares(store: _Store, budget: Budget, first: ByteShares, write: Callable[[Quality], float]) -> None:
    """Methods that take a number of bytes: shares are scaled until the store fits, or is good enough."""
    shares = first
    for _ in range(PASSES + 2):
        excess = write(shares)
        if excess <= 0 and (store.limit is None or excess > -0.1 or shares.bytes_per_bit == 0):
            break
        # Some 1.5 dB a doubling is what bytes usually bring.
        grow = math.exp(-excess) * 0.99 if store.limit is not None else 1.05 * math.exp(excess / 2)
        shares = replace(shares, bytes_per_bit=shares.bytes_per_bit * grow)
    if excess > 0 and store.limit is not None:
        raise _too_small(store, store.limit)
    _check_quality(store, budget, excess <= 0)


def _too_small(store: _Store, limit: int) -> BudgetError:
    job = store.job
    return BudgetError(f"{limit} bytes are too few: {job.image.name} takes at least {store.size} bytes as a Zarr store with method "
                       f"{job.method.name} (ratio {job.image.nbytes / store.size:.0f}).")


def _check_quality(store: _Store, budget: Budget, reached: bool) -> None:
    """Refuse a store that is not good enough, or takes more than a quarter of the raw size for it."""
    if store.limit is None and (not reached or store.size > store.job.image.nbytes // 4):
        raise BudgetError(f"the asked quality ({argument(budget.kind, f'{budget.value:g}')}) needs more than a quarter of the raw "
                          f"size, or is beyond what {store.job.method.name} reaches on this image. Ask for less, or keep an exact "
                          f"copy with {argument('lossless', True)}.")


def _per_chunk(job: Job, plan: JobPlan | None) -> Settings:
    """How chunks are encoded: without what was settled for the whole image."""
    weights = None if plan is None or len(set(plan.channel_weights)) == 1 else plan.channel_weights
    return replace(job.settings, tile=None, time_limit=None, nan_fill=None, not_labels=False, keep_metadata=False,
                   channel_weights=weights)

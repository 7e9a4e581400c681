"""Chunks of an array that somebody else keeps (a Zarr store): each a stream in the embedded profile, encoded by itself.

A chunk is encoded to a budget of its own or, so that all chunks together fill one, at a quality that they have in common.
The host keeps shape, axes and type; a stream has a checksum for its front and for every part, and
`microfield.reading.file.open_file` opens it over any `microfield.format.source.GetterSource`, fetching the parts it needs only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from microfield import checks
from microfield.deadline import Deadline
from microfield.errors import UsageError
from microfield.image import Image, Layout
from microfield.statistics import ChannelStatistics, channel_statistics
from microfield.writing.assemble import write_file
from microfield.writing.budget import KINDS, LOSSLESS, Budget
from microfield.writing.envelope import envelope
from microfield.writing.job import Job, prepare
from microfield.writing.knob import END
from microfield.writing.plan import ByteShares
from microfield.writing.planned import encode_all
from microfield.writing.request import Request
from microfield.writing.settings import Settings

Quality: TypeAlias = float | ByteShares
"""A setting of the method's knob, from 0, coarsest, to 1000; or how methods whose quality is a byte limit share bytes."""


@dataclass(frozen=True)
class ChunkSettings:
    """How the chunks of one array are encoded: to a budget, or at a quality.

    Raises UsageError where there are both or neither.

    Attributes
    ----------
    budget : Budget, optional
        Of every chunk. A PSNR or noise factor is the same in all of them; a size gives every chunk as many bits a voxel.
    settings : Settings
        Method, options, effort, ...; ``tile`` cuts a chunk into parts that can be fetched one by one.
    channel_range : tuple of float, optional
        max - min of every channel in the whole array, which PSNR and the weights of channels count in; a chunk's own where it
        is not given.
    noise : tuple of float, optional
        Standard deviation of every channel's noise, in grey levels, for a noise factor; estimated in every chunk where it is not
        given. With a quality, errors count in it instead of in ranges.
    quality : float or ByteShares, optional
        What all chunks have in common instead of a budget (see `Quality`): bytes go where they are worth most.
    """

    budget: Budget | None
    settings: Settings = field(default_factory=Settings)
    channel_range: tuple[float, ...] | None = None
    noise: tuple[float, ...] | None = None
    quality: Quality | None = None

    def __post_init__(self) -> None:
        if (self.budget is None) == (self.quality is None):
            raise UsageError("chunks take exactly one of a budget, such as ratio or psnr, and a quality.")
        if isinstance(self.quality, float) and not 0 <= self.quality <= END:
            raise UsageError(f"the quality of chunks must be 0 to {END:g}, not {self.quality:g}.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping, such as the configuration of a Zarr codec."""
        found: dict[str, Any] = {}
        if self.budget is not None:
            found[self.budget.kind] = True if self.budget.kind == LOSSLESS else self.budget.value
        if self.quality is not None:
            shares = self.quality
            found["quality"] = [shares.theta, shares.bytes_per_bit] if isinstance(shares, ByteShares) else shares
        found |= self.settings.to_dict()
        for name, values in (("channel_range", self.channel_range), ("noise", self.noise)):
            if values is not None:
                found[name] = list(values)
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ChunkSettings:
        """The inverse of `to_dict`.

        Raises
        ------
        UsageError
            There is not exactly one budget or quality, or a setting is unknown or wrong.
        """
        left = dict(values)
        quality = _quality(left.pop("quality", None))
        known = {name: left.pop(name, None) for name in ("channel_range", "noise")}
        budgets = {name: left.pop(name) for name in KINDS if name in left}
        ranges, noise = (None if v is None else tuple(float(n) for n in v) for v in known.values())
        budget = Budget.of(**budgets) if budgets or quality is None else None
        return cls(budget, Settings.from_dict(left), ranges, noise, quality)


def _quality(value: Any) -> Quality | None:
    """A quality as JSON has it: a number, or two for byte shares."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)) and len(value) == 2:
        theta, per_bit = (checks.number("quality", n) for n in value)
        return ByteShares(float(theta), float(per_bit))
    return float(checks.number("quality", value))


def encode_chunk(block: npt.NDArray[Any], layout: Layout, chunk: ChunkSettings) -> bytes:
    """A chunk as a stream in the embedded profile.

    Parameters
    ----------
    block : array
        Values of the chunk.
    layout : Layout
        Shape, axes and dtype of the chunk; the host must give the same to open the stream.

    Raises
    ------
    BudgetError
        The budget cannot be met.
    InputError
        The chunk holds NaN, or a setting does not fit it.
    """
    if chunk.settings.method == "auto":
        raise UsageError("chunks are encoded with one method; name it instead of auto.")
    image = Image(block, layout.axes, name="the chunk")
    # Whether an array holds labels is a question for the whole of it.
    settings = replace(chunk.settings, not_labels=True)
    statistics = _statistics(image, chunk) if block.dtype.kind != "f" or np.isfinite(block).all() else None
    stream = BytesIO()
    job = prepare(image, settings, Deadline.after(settings.time_limit), lambda _done, _what: None, statistics)
    if chunk.budget is not None:
        write_file(job, chunk.budget, stream, embedded=True)
    elif chunk.quality is not None:
        _write_at(chunk.quality, job, chunk.noise is not None, stream)
    return stream.getvalue()


def _write_at(quality: Quality, job: Job, in_noise: bool, stream: IO[bytes]) -> None:
    """Encode every part at a quality, errors counted in noise sigmas or in channel ranges."""
    around = envelope(job, None, embedded=True)
    context = replace(job.context, shared=around.shared, noise=job.statistics.noise if in_noise else None)
    request = Request(job.method, job.parts, context, around.references)
    with encode_all(request, around, quality).assembler as done:
        done.write(stream)


def _statistics(image: Image, chunk: ChunkSettings) -> ChannelStatistics:
    """Those of the chunk, with what is known of the whole array."""
    found = channel_statistics(image)
    for name, values in (("range", chunk.channel_range), ("noise", chunk.noise)):
        if values is None:
            continue
        known = np.asarray(values, np.float64)
        if known.shape != (image.layout.channels,) or not (known > 0).all() or not np.isfinite(known).all():
            raise UsageError(f"the {name} of a chunk must be {image.layout.channels} positive numbers, one a channel.")
        found = replace(found, **{name: known})
    return found

"""Chunks of an array that somebody else keeps (a Zarr store): each a stream in the embedded profile, encoded by itself.

The host keeps shape, axes and type; a stream has a checksum for its front and for every part, and
`microfield.reading.file.open_file` opens it over any `microfield.format.source.GetterSource`, fetching the parts it needs only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.errors import UsageError
from microfield.image import Image, Layout
from microfield.statistics import ChannelStatistics, channel_statistics
from microfield.writing.assemble import write_file
from microfield.writing.budget import KINDS, Budget
from microfield.writing.job import prepare
from microfield.writing.settings import Settings


@dataclass(frozen=True)
class ChunkSettings:
    """How the chunks of one array are encoded.

    Attributes
    ----------
    budget : Budget
        Of every chunk. A quality is the same in all of them; a size gives every chunk as many bits a voxel.
    settings : Settings
        Method, options, effort, ...; ``tile`` cuts a chunk into parts that can be fetched one by one.
    channel_range : tuple of float, optional
        max - min of every channel in the whole array, which PSNR and the weights of channels count in; a chunk's own where it
        is not given.
    noise : tuple of float, optional
        Standard deviation of every channel's noise, in grey levels, for a noise factor; estimated in every chunk where it is not
        given.
    """

    budget: Budget
    settings: Settings = field(default_factory=Settings)
    channel_range: tuple[float, ...] | None = None
    noise: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping, such as the configuration of a Zarr codec."""
        found: dict[str, Any] = {self.budget.kind: self.budget.value, **self.settings.to_dict()}
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
            There is not exactly one budget, or a setting is unknown or wrong.
        """
        left = dict(values)
        known = {name: left.pop(name, None) for name in ("channel_range", "noise")}
        budgets = {name: left.pop(name) for name in KINDS if name in left}
        ranges, noise = (None if v is None else tuple(float(n) for n in v) for v in known.values())
        return cls(Budget.of(**budgets), Settings.from_dict(left), ranges, noise)


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
    write_file(job, chunk.budget, stream, embedded=True)
    return stream.getvalue()


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

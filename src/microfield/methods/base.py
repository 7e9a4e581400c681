"""The seam every method stands on: Encoded, Context, Decoder, Method and the options machinery."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from microfield.errors import UsageError
from microfield.image import Layout

Box = tuple[range, ...]
"""One `range` per axis: the outer product of the ranges is what is read."""

Sections = tuple[bytes, ...]
"""What a method stores for one part; how many and what they hold is the method's own business."""


@dataclass(frozen=True)
class Cost:
    """What a read must touch: ``voxels`` to evaluate and ``nbytes`` of the file to fetch."""

    voxels: int
    nbytes: int


@dataclass(frozen=True)
class Encoded:
    """One part, encoded.

    Attributes
    ----------
    sections : tuple of bytes
        What goes into the file.
    nbytes : int
        Bytes of the part as stored, section framing included.
    square_error : float64 array of shape (channels,)
        Mean squared error of every channel of the part, in squared grey levels, as it decodes; NaN where the context
        asked not to measure it.
    state : object
        Warm start for the next call on the same or a similar part; never stored.
    exhausted : bool
        True when more bytes would not improve the quality.
    """

    sections: Sections
    nbytes: int
    square_error: npt.NDArray[np.float64]
    state: Any = None
    exhausted: bool = False


@dataclass(frozen=True)
class Deadline:
    """A point in time (``time.monotonic`` seconds) that a fit must not pass; infinity means none."""

    end: float = float("inf")

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """The deadline ``seconds`` from now; none for None."""
        return cls() if seconds is None else cls(time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.end - time.monotonic())

    def share(self, fraction: float) -> Deadline:
        """A deadline that leaves only ``fraction`` of the remaining time."""
        return self if self.end == float("inf") else Deadline(time.monotonic() + self.remaining * fraction)


def _silent(done: float, message: str) -> None:
    del done, message


@dataclass(frozen=True)
class Context:
    """What an encode may use besides the block and the quality.

    Attributes
    ----------
    channel_range : float64 array of shape (channels,)
        max - min of every channel in the whole image (1 where a channel is constant).
    channel_weights : float64 array of shape (channels,)
        Relative weight of every channel's normalised error: 1 for the weightiest channel of the image, ones unless the user
        says otherwise.
    progress : callable (fraction in 0..1, message)
        Called now and then during long steps.
    voxel_weights : float32 array of the block's shape, optional
        Relative weight of every voxel's error (saliency, regions of interest).
    guidance : object, optional
        A `microfield.nn.guidance.Guidance` added to the loss on blocks.
    optimiser : object, optional
        A factory of `microfield.nn.optimisers.Optimiser` that replaces the method's own choice.
    reuse : bool
        True asks a method that is given a ``state`` to code what the state holds at the new quality, without improving
        it: quality then follows bytes smoothly, which a search for a quality needs at its end.
    measure : bool
        False: the error of this attempt is not needed, a method may leave out the decoding that measures it.
    shared : mapping
        What parts of one file share.
    """

    channel_range: npt.NDArray[np.float64]
    channel_weights: npt.NDArray[np.float64]
    seed: int = 0
    effort: int = 5
    deadline: Deadline = field(default_factory=Deadline)
    progress: Callable[[float, str], None] = _silent
    voxel_weights: npt.NDArray[np.float32] | None = None
    guidance: Any = None
    optimiser: Any = None
    reuse: bool = False
    measure: bool = True
    shared: Mapping[str, Any] = field(default_factory=dict)

    def with_deadline(self, deadline: Deadline) -> Context:
        """The same context with another deadline."""
        return dataclasses.replace(self, deadline=deadline)


class Decoder(Protocol):
    """Reads one part. Safe to call from several threads."""

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Values of the outer product of ``box`` (part coordinates), in the part's dtype."""
        ...

    def at(self, points: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Values at integer ``points`` of shape (n, ndim), part coordinates already checked to be inside."""
        ...

    def cost(self, box: Box) -> Cost:
        """What `read` of the same box must touch."""
        ...


class Method(Protocol):
    """One way to compress."""

    name: ClassVar[str]
    summary: ClassVar[str]
    bitstream_version: ClassVar[int]
    experimental: ClassVar[bool]
    Options: ClassVar[type[Any]]
    quality_is_bytes: ClassVar[bool]
    """True: ``quality`` is the byte limit of the part, met from below. False: a knob from 0, coarsest, to 1000, finest."""

    accepts: ClassVar[tuple[str, ...]]
    """Which of ``channel_weights``, ``voxel_weights``, ``guidance`` and ``optimiser`` the method can use; others are refused."""

    def __init__(self, options: Any) -> None: ...

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context,
               state: Any = None) -> Encoded:
        """Encode one part at ``quality``; ``state`` of an earlier call speeds it up."""
        ...

    def smallest(self, layout: Layout) -> int:
        """Fewest bytes a part of this layout can take."""
        ...

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, sections: Sections) -> Decoder:
        """Open one part. Raises FormatError where the sections do not describe such a part."""
        ...


def option(default: Any, help: str, *, low: float | None = None, high: float | None = None,  # noqa: A002
           choices: tuple[str, ...] | None = None) -> Any:
    """A dataclass field that `methods`, ``--option`` and the checks are generated from."""
    return field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


def parse_options(method: type[Method], given: Mapping[str, Any]) -> Any:
    """Build ``method.Options`` from text or Python values.

    Raises
    ------
    UsageError
        If an option is unknown, of the wrong type or out of bounds; the message names what is allowed.
    """
    fields = {f.name: f for f in dataclasses.fields(method.Options)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in fields:
            known = ", ".join(sorted(fields)) or "none"
            raise UsageError(f"method {method.name!r} has no option {key!r}; its options: {known}.")
        values[key] = _parse_one(method.name, fields[key], value)
    return method.Options(**values)


def _parse_one(method: str, spec: dataclasses.Field[Any], value: Any) -> Any:
    kind: type[Any] = type(spec.default)
    what = f"option {spec.name}={value!r} of method {method!r}"
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in words:
            raise UsageError(f"{what} must be true or false.")
        return words[str(value).lower()]
    try:
        parsed = kind(value)
    except (TypeError, ValueError):
        raise UsageError(f"{what} must be of type {kind.__name__}.") from None
    low, high, choices = (spec.metadata[k] for k in ("low", "high", "choices"))
    if choices is not None and parsed not in choices:
        raise UsageError(f"{what} must be one of {', '.join(choices)}.")
    if (low is not None and not parsed >= low) or (high is not None and not parsed <= high):
        raise UsageError(f"{what} must lie between {low} and {high}.")
    return parsed


def finish(method: Method, encoded: Encoded, block: npt.NDArray[Any], layout: Layout) -> Encoded:
    """A part whose setting is found, with its error.

    A method that leaves work for this moment while the context asks it not to measure has a method
    ``finish(encoded, block, layout)``; the sections must not grow. Others have their error measured as the part decodes.
    """
    own: Callable[[Encoded, npt.NDArray[Any], Layout], Encoded] | None = getattr(method, "finish", None)
    if own is not None:
        return own(encoded, block, layout)
    decoder = method.decoder(layout, method.bitstream_version, encoded.sections)
    return replace(encoded, square_error=measure_error(decoder, block, layout))


def measure_error(
    decoder: Decoder, block: npt.NDArray[Any], layout: Layout, voxels: int = 1 << 22
) -> npt.NDArray[np.float64]:
    """`Encoded.square_error` of a part as it decodes, slab by slab so that memory stays bounded."""
    rows = max(1, voxels * block.shape[0] // block.size)
    axes = layout.channel_axes
    others = tuple(i for i in range(block.ndim) if i not in axes)
    total = np.zeros([layout.shape[i] for i in axes])
    for start in range(0, block.shape[0], rows):
        taken = range(start, min(start + rows, block.shape[0]))
        decoded = decoder.read((taken, *(range(n) for n in block.shape[1:])))
        square = (decoded.astype(np.float64) - block[start : taken.stop]) ** 2
        # Where the slabs cut the channel axis itself, each slab holds other channels.
        target = total[start : taken.stop] if 0 in axes else total
        target += square.sum(axis=others)
    return np.asarray(total.reshape(-1) / (layout.size / layout.channels))

"""The seam every method stands on: what a method is given (`Context`), what it gives back (`Encoded`), and how its parts are read.

A *method* turns a block of an image into sections of bytes at a quality, and opens them again. How a budget is met, what is
stored beside the sections, and which parts are fetched is the business of `microfield.writing` and `microfield.reading`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.format.framing import Sections
from microfield.format.grid import Box
from microfield.format.header import LONGEST_CHAIN
from microfield.image import Layout
from microfield.methods.options import NoOptions, parse_options
from microfield.objective import Objective

Floats = npt.NDArray[np.float64]

__all__ = [
    "LONGEST_CHAIN", "Box", "ByteLimit", "Context", "Cost", "Decoder", "Encoded", "Exact", "KnobTraits", "Method", "Parent", "Part",
    "PartData", "RateControl", "RateCurve", "Sections", "Surroundings", "measure_error",
]

# -- reading --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What a read must touch.

    Attributes
    ----------
    voxels : int
        To evaluate.
    nbytes : int
        Of the file, to fetch.
    memory : int
        Bytes that decoding takes beside the values asked for, about. Parts are decoded one after another, so that a sum of costs
        has the largest.
    groups : tuple of int
        Where a part consists of groups that decode apart: the numbers of those that must be decoded, part after part.
    """

    voxels: int
    nbytes: int
    memory: int = 0
    groups: tuple[int, ...] = ()

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.voxels + other.voxels, self.nbytes + other.nbytes, max(self.memory, other.memory),
                    self.groups + other.groups)


class Decoder(ABC):
    """Reads one part. Safe to call from several threads.

    Attributes
    ----------
    layout : Layout
        Of the part.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @abstractmethod
    def read(self, box: Box) -> npt.NDArray[Any]:
        """Values of the outer product of ``box`` (part coordinates), in the part's dtype."""

    @abstractmethod
    def at(self, points: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Values at integer ``points`` of shape (n, ndim), part coordinates already checked to be inside."""

    @abstractmethod
    def cost(self, box: Box) -> Cost:
        """What `read` of the same box must touch; a part that builds on another one counts that one, too."""

    @property
    def held(self) -> int:
        """Bytes that the decoder keeps from one read to the next, about."""
        return 0

    @property
    def extremes(self) -> tuple[Floats, Floats] | None:
        """Least and largest grey level of every channel, float64 of shape (channels,) each, where the part's bytes hold them."""
        return None

    def averaged(self, steps: tuple[int, ...]) -> Floats | None:
        """About the means of blocks of ``steps`` voxels, where the part holds coarse levels that tell them quickly; else None."""
        del steps
        return None


@dataclass(frozen=True)
class PartData:
    """What a decoder is made from.

    Attributes
    ----------
    own : tuple of bytes
        Sections of the part.
    shared : tuple of bytes
        Sections that all parts of the file share.
    parent : Decoder, optional
        Of the earlier part that this one builds on.
    working : int, optional
        Bytes of memory that the part may take before and beside what is read; None where nobody said. The reader looks at
        `Decoder.cost`, so that only a method must look here that takes much memory before there is a decoder.
    trusted : bool
        The part was made by this program, or by somebody whom the user trusts: a decoder that does not withstand harm may decode
        it in this process.
    companions : tuple of bytes
        Contents of the files that `Method.companions` names.
    """

    own: Sections
    shared: Sections = ()
    parent: Decoder | None = None
    working: int | None = None
    trusted: bool = True
    companions: tuple[bytes, ...] = ()


# -- encoding -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ByteLimit:
    """Quality is a number of bytes that the sections of a part may take; it is met from below.

    ``fills`` is True where at least 98 % of a budget can be used (unless quality stops improving).
    """

    fills: bool = True


@dataclass(frozen=True)
class KnobTraits:
    """Quality is a knob from 0, coarsest, to 1000, finest; one setting for all parts is equal slope.

    Attributes
    ----------
    step : smallest change of quality worth an attempt
    first : where a search begins
    slope : nats of bytes per unit of quality, about
    fills : True where at least 98 % of a budget can be used (unless quality stops improving)
    learns : True where later attempts know more, so that the same setting may come out smaller
    finish : time that `Method.finish` takes, relative to an attempt, about: what a time limit must leave for it
    octaves : (quality, quality per octave), where the knob is a quantiser's step: the quality at which the predicted error is
        one unit, and by how much it rises where that error is halved. Searches with a time limit begin there
    """

    step: float = 1.0
    first: float = 500.0
    slope: float = 0.012
    fills: bool = False
    learns: bool = False
    finish: float = 0.3
    octaves: tuple[float, float] | None = None


@dataclass(frozen=True)
class Exact:
    """Quality is not asked for: a part decodes to exactly what it was, NaN included, and takes what that takes.

    Such a method codes labels, too, and its files are written without a budget, or refused where one is too small.
    """

    fills: ClassVar[bool] = False


class RateCurve(Protocol):
    """How many bits a part takes at a squared error, and the other way round; for sharing a budget before anything is encoded."""

    def bits(self, theta: float) -> float:
        """Bits at a mean squared error of ``theta`` per coefficient, in squared units of `Context.unit`."""
        ...

    def error(self, theta: float) -> float:
        """Summed squared error at that level, in squared units."""
        ...


class Part(Protocol):
    """A part to encode: its layout, where it lies, which channels it holds, and how to get its values."""

    @property
    def layout(self) -> Layout:
        """Shape, axes and dtype of the part."""
        ...

    @property
    def box(self) -> tuple[slice, ...]:
        """Where it lies in the image."""
        ...

    @property
    def channels(self) -> npt.NDArray[np.intp]:
        """Numbers of its channels in the image, in the part's own channel order."""
        ...

    def read(self) -> npt.NDArray[Any]:
        """Values of the part."""
        ...

    def read_with_margin(self, margin: tuple[int, ...]) -> Surroundings:
        """Values of the part and of up to ``margin`` voxels on either side of every axis."""
        ...


@dataclass(frozen=True)
class Surroundings:
    """A part with a margin of its neighbours' voxels.

    Attributes
    ----------
    values : array
        The part and what lies around it, cut off at the borders of the image.
    inside : tuple of slice
        Where the part lies in ``values``.
    """

    values: npt.NDArray[Any]
    inside: tuple[slice, ...]


@dataclass(frozen=True)
class Parent:
    """The earlier part that a part may build on: its number and its decoder, which gives what readers will see."""

    number: int
    decoder: Decoder


@dataclass(frozen=True)
class Encoded:
    """One part, encoded.

    Attributes
    ----------
    sections : tuple of bytes
        What goes into the file; how many there are is the method's trait `Method.sections`.
    square_error : float64 array of shape (channels,), optional
        Mean squared error of every channel of the part, in squared grey levels, as it decodes; None where the context asked
        not to measure it.
    state : object
        Warm start for the next call on the same or a similar part; never stored.
    exhausted : bool
        True when more bytes would not improve the quality.
    reference : int, optional
        Number of the part that this one builds on: that of `Context.parent`, or None where the parent was of no use.
    scores : mapping of name to float
        Further measures of this part as it decodes (such as the overlap of a segmentation); the report shows their means over
        parts, weighed by voxels.
    shortened : tuple of str
        What the deadline made the method leave out, each in a few words such as "the refinement"; the user is told.
    """

    sections: Sections
    square_error: Floats | None
    state: Any = None
    exhausted: bool = False
    reference: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    shortened: tuple[str, ...] = ()

    @property
    def payload(self) -> int:
        """Bytes of all sections, without what the file adds (`microfield.format.framing.part_size`)."""
        return sum(len(s) for s in self.sections)

    @property
    def measured(self) -> Floats:
        """`square_error`, which must have been measured."""
        if self.square_error is None:
            raise ValueError("the error of this part was not measured.")
        return self.square_error


class RateControl(Protocol):
    """The search for a size or a quality of one block with any method: what a method that consists of others shares bytes with."""

    def to_size(self, method: Method, block: npt.NDArray[Any], layout: Layout, nbytes: int, context: Context,
                state: Any = None) -> Encoded:
        """The best the method makes of the block in sections of at most ``nbytes`` together.

        Raises
        ------
        Shortage (a BudgetError)
            Not even the smallest part fits.
        """
        ...

    def to_quality(self, method: Method, block: npt.NDArray[Any], layout: Layout, error: float, nbytes: int, context: Context,
                   ) -> Encoded:
        """The smallest sections, of at most ``nbytes`` together, whose mean squared error in `Context.unit` is at most ``error``.

        Raises
        ------
        BudgetError
            More bytes would be needed.
        """
        ...


def _silent(done: float, message: str) -> None:
    del done, message


@dataclass(frozen=True)
class Context:
    """What an encode may use besides the block and the quality.

    Attributes
    ----------
    channel_range : float64 array of shape (channels,)
        max - min of every channel in the whole image, in grey levels (1 where a channel is constant).
    channel_weights : float64 array of shape (channels,)
        Relative weight of every channel's error: 1 for the weightiest channel of the image, ones unless the user says
        otherwise.
    noise : float64 array of shape (channels,), optional
        Standard deviation of every channel's noise in grey levels, where errors are counted in it.
    progress : callable (fraction in 0..1, message)
        Called now and then during long steps.
    objective : Objective
        Weights of voxels, auxiliary arrays and the user's function, cut to the block.
    optimiser : callable () -> `microfield.nn.optimisers.Optimiser`, optional
        Replaces the method's own choice.
    shared : tuple of bytes
        The sections that all parts share, from `Method.share`.
    parent : Parent, optional
        The earlier part that this one may build on, where `Method.references` named one.
    surroundings : Surroundings, optional
        The block with its margin, where `Method.margin` asks for one.
    rate_control : RateControl, optional
        The search, for methods that consist of other methods; `microfield.writing` always gives it.
    reuse : bool
        True asks a method that is given a ``state`` to code what the state holds at the new quality, without improving
        it: quality then follows bytes smoothly, which a search for a quality needs at its end.
    measure : bool
        False: the error of this attempt is not needed, a method may leave out the decoding that measures it.
    image_reach : float, optional
        `reach` of the whole image, in the context of a part.
    """

    channel_range: Floats
    channel_weights: Floats
    noise: Floats | None = None
    seed: int = 0
    effort: int = 5
    deadline: Deadline = field(default_factory=Deadline)
    progress: Callable[[float, str], None] = _silent
    objective: Objective = field(default_factory=Objective)
    optimiser: Callable[[], Any] | None = None
    shared: Sections = ()
    parent: Parent | None = None
    surroundings: Surroundings | None = None
    rate_control: RateControl | None = None
    reuse: bool = False
    measure: bool = True
    image_reach: float | None = None

    @property
    def error_unit(self) -> Literal["range", "noise"]:
        """What errors are counted in: the channel's range in the whole image, or its noise."""
        return "range" if self.noise is None else "noise"

    @property
    def unit(self) -> Floats:
        """Grey levels that an error of one unit is in every channel, float64 of shape (channels,)."""
        return self.channel_range if self.noise is None else self.noise

    @property
    def reach(self) -> float:
        """The largest range of a channel of the whole image, in units and times the root of its weight; at least 1."""
        if self.image_reach is not None:
            return self.image_reach
        return max(1.0, float(np.max(self.channel_range / self.unit * np.sqrt(self.channel_weights))))

    def with_deadline(self, deadline: Deadline) -> Context:
        """The same context with another deadline."""
        return replace(self, deadline=deadline)


# -- the method -----------------------------------------------------------------------------------------------------------------

Usable = Literal["channel_weights", "saliency", "guide", "optimiser"]
"""Settings that only some methods can use; the others refuse them."""


class Method(ABC):
    """One way to compress.

    A method names itself, encodes blocks and opens them again (`encode`, `smallest`, `decoder`); everything else has a
    default. ``options`` is an instance of the class attribute ``Options``.
    """

    name: ClassVar[str]
    """What users write."""
    summary: ClassVar[str]
    """One line for ``microfield methods``."""
    bitstream_version: ClassVar[int] = 1
    """The version that `encode` writes; `decoder` reads all that ever were."""
    experimental: ClassVar[bool] = False
    """True: the bitstream may change without notice, and files say so."""
    Options: ClassVar[type[Any]] = NoOptions
    accepts: ClassVar[frozenset[Usable]] = frozenset()
    """Which of the settings that not every method can use this one can."""
    requires: ClassVar[Mapping[str, str]] = {}
    """Modules that compressing needs beyond NumPy, each with the extra of the package that installs it."""
    magnitudes: ClassVar[tuple[float, float]] = (1e-150, 1e150)
    """The least range of a channel of floats, and the largest magnitude of a value, that it can code; others are refused."""
    sections: ClassVar[int] = 1
    """How many sections every part has."""
    longest_chain: ClassVar[int] = 0
    """How many earlier parts, one behind the other, a part may build on; at most `LONGEST_CHAIN`."""

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    @property
    def usable(self) -> frozenset[Usable]:
        """Which of `accepts` can be used with the options of this method."""
        return self.accepts

    @property
    def needed(self) -> Mapping[str, str]:
        """What `requires` names, and what the options of this method need beside."""
        return self.requires

    @classmethod
    def with_options(cls, given: Mapping[str, Any]) -> Self:
        """The method with options from text or Python values; UsageError where one is wrong (see `parse_options`)."""
        return cls(parse_options(cls.name, cls.Options, given))

    @property
    def quality(self) -> ByteLimit | KnobTraits | Exact:
        """What the ``quality`` of `encode` means."""
        return ByteLimit()

    # -- a part -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        """Encode one part at ``quality``; ``state`` of an earlier call on the same part speeds it up."""

    @abstractmethod
    def smallest(self, layout: Layout) -> int:
        """Fewest bytes that the sections of a part of this layout can take together."""

    @classmethod
    def companions(cls, shared: Sections) -> tuple[str, ...]:
        """Names of the files that lie beside a file which shares these sections, and without which it cannot be decoded."""
        del shared
        return ()

    @classmethod
    @abstractmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> Decoder:
        """Open one part.

        Raises
        ------
        FormatError
            The sections do not describe such a part.
        """

    # -- around a part: all of these have a default -------------------------------------------------------------------

    def finish(self, encoded: Encoded, block: npt.NDArray[Any], layout: Layout, context: Context) -> Encoded:
        """A part whose setting is found, with its error measured as it decodes.

        A method may leave work for this moment while the context asks it not to measure; the sections must not grow.
        """
        data = PartData(encoded.sections, context.shared, _parent_of(encoded, context))
        decoder = self.decoder(layout, self.bitstream_version, data)
        return replace(encoded, square_error=measure_error(decoder, block, layout))

    def guess(self, block: npt.NDArray[Any], layout: Layout, nbytes: float, context: Context) -> float:
        """About the setting of the knob at which a part takes ``nbytes``: where the search for a size begins."""
        del block, layout, nbytes, context
        traits = self.quality
        return traits.first if isinstance(traits, KnobTraits) else 0.0

    def rate_curve(self, block: npt.NDArray[Any], layout: Layout, context: Context) -> RateCurve | None:
        """The method's own prediction for a part; None leaves it to `microfield.writing.prediction`."""
        del block, layout, context
        return None

    def margin(self, layout: Layout) -> tuple[int, ...]:
        """How many voxels beyond the part, along every axis, `encode` wants to see in `Context.surroundings`."""
        return (0,) * len(layout.shape)

    # -- files beside the file ----------------------------------------------------------------------------------------

    @property
    def alone(self) -> bool:
        """Whether files can be decoded without any file beside them."""
        return True

    def in_folder(self, folder: Path) -> Self:
        """The method for a file that goes into this folder, with options that mean a file beside it settled."""
        del folder
        return self

    def leave(self, path: Path) -> None:
        """Put beside a file that was just written what belongs there."""
        del path

    # -- around all parts of an image ---------------------------------------------------------------------------------

    def share(self, parts: Sequence[Part], context: Context, nbytes: int | None) -> Sections:
        """Sections that all parts of the file share, made before any part is encoded.

        Parameters
        ----------
        parts : sequence of Part
            All parts of the image; reading a few of them must do where there are many.
        nbytes : int, optional
            Bytes that the whole file may take; None where a quality is asked for.
        """
        del parts, context, nbytes
        return ()

    def references(self, parts: Sequence[Part], context: Context) -> Sequence[int | None] | None:
        """For every part the number of an earlier part that it may build on, or None; None for all where no part does."""
        del parts, context
        return None


def _parent_of(encoded: Encoded, context: Context) -> Decoder | None:
    return None if encoded.reference is None or context.parent is None else context.parent.decoder


def measure_error(decoder: Decoder, block: npt.NDArray[Any], layout: Layout, voxels: int = 1 << 22) -> Floats:
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

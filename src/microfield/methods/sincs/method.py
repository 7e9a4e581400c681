"""The Method `sincs`: options and the seam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy.typing as npt

from microfield.errors import FormatError, MissingExtraError
from microfield.image import Layout
from microfield.methods.base import ByteLimit, Context, Encoded, Method, Part, PartData, Sections, Usable, measure_error
from microfield.methods.options import option
from microfield.methods.sincs.ancestor import Ancestor, file_name, of_folder, open_ancestor, put_beside, taken_from
from microfield.methods.sincs.decoder import SincsDecoder
from microfield.methods.sincs.design import Recipe
from microfield.methods.sincs.grouping import KINDS
from microfield.methods.sincs.published import CHAIN, GROUPS
from microfield.models import HASH

if TYPE_CHECKING:
    from microfield.methods.sincs.coded import Coded

SHARED = "shared"
"""Option ``ancestor``: the ancestor that lies in the folder of the output."""

PARTS_IN_A_CHAIN = 16
"""Parts that build on one another, where the image is cut into several: reading one voxel of the last one opens all of them."""


@dataclass(frozen=True)
class SincsOptions:
    """Options of sincs."""

    paper: bool = option(False, "the published network, groups and transfer, for comparison only")
    grouping: str = option("auto", "how a part is cut into groups", choices=KINDS)
    groups: int = option(0, "number of groups of a part; 0 chooses by size", low=0, high=4096)
    chain: int = option(64, "groups that build on one another before one begins anew", low=1, high=64)
    sampling: str = option("uniform", "points are drawn everywhere alike, or where the structure of the image is",
                           choices=("uniform", "structure"))
    reset: str = option("none", "layers that a group does not take from the one it begins at",
                        choices=("none", "output", "published"))
    transfer: bool = option(True, "groups begin at the weights of another")
    residual: bool = option(True, "groups are coded as differences to the one they begin at")
    pull: float = option(1.0, "how much bits weigh in a fit beside the error; 0 leaves them out", low=0, high=100)
    early: bool = option(True, "a group's fit ends once it is as good as the first one's")
    frequency: float = option(0.0, "largest initial frequency in radians per voxel; 0 tries several", low=0, high=10)
    depth: int = option(0, "layers of a network before its last; 0 chooses by size", low=0, high=12)
    bits_per_weight: float = option(7.0, "planned size of a weight that is not a difference", low=3, high=12)
    optimiser: str = option("auto", "optimiser of the fits; auto is soap", choices=("auto", "soap", "learned", "adam", "adamax"),
                            also=("optimizer",))
    ancestor: str = option("", "a file ancestor-*.npz whose network the first groups begin at and are differences to; or "
                               "shared: the one in the folder of the output, which the first file leaves there")


class Sincs(Method):
    """Groups of a part as networks that begin at one another and are stored as differences."""

    name: ClassVar[str] = "sincs"
    summary: ClassVar[str] = "groups as coordinate networks, each begun at a similar one and stored as the difference"
    experimental: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Usable]] = frozenset({"channel_weights", "saliency", "optimiser"})
    requires: ClassVar[Mapping[str, str]] = {"jax": "compress", "optax": "compress"}
    options: SincsOptions
    Options: ClassVar[type[Any]] = SincsOptions
    magnitudes: ClassVar[tuple[float, float]] = (1e-37, 1e37)
    longest_chain: ClassVar[int] = PARTS_IN_A_CHAIN - 1

    @property
    def quality(self) -> ByteLimit:
        """A number of bytes."""
        return ByteLimit()

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context,
               state: Any = None) -> Encoded:
        """Fit networks to the groups of the block so that they take at most ``quality`` bytes.

        Raises
        ------
        MissingExtraError
            jax or optax is not installed.
        """
        try:
            ancestor = self._ancestor()
            coded = self._coded(block, layout, int(quality), context, state, ancestor)
        except ModuleNotFoundError as missing:
            raise MissingExtraError(f"Compressing with {self.name}", "compress") from missing
        parent = context.parent if coded.continued else None
        decoder = SincsDecoder(layout, (coded.data,), None if parent is None else parent.decoder, ancestor=ancestor)
        return Encoded((coded.data,), measure_error(decoder, block, layout), coded.state, coded.exhausted,
                       reference=None if parent is None else parent.number, shortened=coded.shortened)

    def _coded(self, block: npt.NDArray[Any], layout: Layout, limit: int, context: Context, state: Any,
               ancestor: Ancestor | None) -> Coded:
        from microfield.methods.sincs.encoder import PartEncoder

        o = self.options
        if o.paper:
            recipe = Recipe("slices", o.groups or GROUPS, CHAIN, "structure", "published", pull=0.0, early=False, depth=o.depth,
                            bits_per_weight=o.bits_per_weight, optimiser="adam", paper=True)
            return PartEncoder(block, layout, recipe, context, ancestor).encode(limit, state)
        recipe = Recipe(o.grouping, o.groups, o.chain, o.sampling, o.reset, o.transfer, o.residual, o.pull, o.early, o.frequency,
                        o.depth, o.bits_per_weight, "soap" if o.optimiser == "auto" else o.optimiser)
        return PartEncoder(block, layout, recipe, context, ancestor).encode(limit, state)

    def smallest(self, layout: Layout) -> int:
        """Fewest bytes of a part: a constant per channel."""
        itemsize = layout.dtype.itemsize
        extremes = 2 * itemsize if layout.dtype.kind == "f" else 2 * itemsize + 2  # Integers as varints.
        return 2 + layout.channels * (extremes + 2)  # And a byte each for zero and unit.

    def references(self, parts: Sequence[Part], context: Context) -> Sequence[int | None] | None:
        """Parts of one size build on the part before them, in chains of `PARTS_IN_A_CHAIN`."""
        del context
        if len(parts) < 2 or not self.options.transfer or not self.options.residual:
            return None
        alike = [i % PARTS_IN_A_CHAIN and parts[i].layout == parts[i - 1].layout for i in range(len(parts))]
        return [i - 1 if like else None for i, like in enumerate(alike)]

    # -- the ancestor that files share --------------------------------------------------------------------------------

    def _ancestor(self) -> Ancestor | None:
        """The network that the options name."""
        return open_ancestor(self.options.ancestor) if self.options.ancestor not in ("", SHARED) else None

    def share(self, parts: Sequence[Part], context: Context, nbytes: int | None) -> Sections:
        """The hash of the ancestor."""
        del parts, context, nbytes
        ancestor = self._ancestor()
        return () if ancestor is None else (ancestor.key,)

    @classmethod
    def companions(cls, shared: Sections) -> tuple[str, ...]:
        """The file of the ancestor that the shared block names."""
        if not shared:
            return ()
        if len(shared) != 1 or len(shared[0]) != HASH:
            raise FormatError("what the parts of the file share does not name an ancestor: the file is damaged.")
        return (file_name(shared[0]),)

    @property
    def alone(self) -> bool:
        """Whether no ancestor is asked for."""
        return not self.options.ancestor

    def in_folder(self, folder: Path) -> Self:
        """``ancestor=shared`` means the one in the folder; before there is one, files stand for themselves."""
        if self.options.ancestor != SHARED:
            return self
        found = of_folder(folder)
        return self if found is None else type(self)(replace(self.options, ancestor=str(found)))

    def leave(self, path: Path) -> None:
        """Put the ancestor beside the file: the one that it builds on, or its own first network where it is to be shared."""
        ancestor = self._ancestor()
        if self.options.ancestor == SHARED and of_folder(path.parent) is None:
            ancestor = taken_from(path)
        if ancestor is not None:
            put_beside(ancestor, path)

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> SincsDecoder:
        """Open a part."""
        if bitstream_version != cls.bitstream_version:
            raise FormatError(f"bitstream version {bitstream_version} of {cls.name} is not known: update microfield to open it.")
        names = cls.companions(data.shared)
        if len(names) != len(data.companions):
            raise FormatError(f"the file needs {', '.join(names) or 'no file'} beside it, and {len(data.companions)} were given.")
        found = [Ancestor.unpack(file, data.shared[0], name) for name, file in zip(names, data.companions, strict=True)]
        return SincsDecoder(layout, data.own, data.parent, data.working, found[0] if found else None)

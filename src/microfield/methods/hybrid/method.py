"""The method `hybrid`: options, the seam, and which of its two ways of encoding the residual asks for.

With a filter as residual the quality of a part is that of its prior, a knob; the filter takes a few bytes (`filtered`). With a
network as residual it is a number of bytes, which prior and network share (`shared_bytes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy.typing as npt

from microfield.errors import FormatError
from microfield.image import Layout
from microfield.methods import get_method
from microfield.methods.base import ByteLimit, Context, Encoded, KnobTraits, Method, PartData, Usable
from microfield.methods.hybrid import filtered, shared_bytes
from microfield.methods.hybrid.criteria import criterion
from microfield.methods.hybrid.decoder import PINNED, HybridDecoder
from microfield.methods.hybrid.head import FILTER, NETWORKS, PRIORS
from microfield.methods.hybrid.recipe import Recipe
from microfield.methods.hybrid.units import NAMES
from microfield.methods.options import option
from microfield.models import named

FINISH = 2.0
"""Time of finishing a part with a filter relative to an attempt, about."""


@dataclass(frozen=True)
class HybridOptions:
    """Options of the method."""

    prior: str = option("field", "the method that codes the image first", choices=PRIORS)
    residual: str = option("filter", "what corrects it: filter, fitted to the image together with a network that ships; or inif or "
                                     "siren, a network fitted to what is lacking", choices=(FILTER, *NETWORKS))
    share: float = option(0.9, "part of the bytes that the prior takes, with a network fitted to what is lacking; 0 tries several",
                          low=0, high=0.99)
    keep: str = option("psnr", "by what the corrected or the plain result is kept: psnr, ssim, spots, or MODULE:FUNC, your "
                               "function of (original, reconstruction) planes that is higher for the better")
    units: str = option("auto", "where one of them is kept: channel, slice, or tiles of so many pixels; auto: as small as pays",
                        choices=("auto", *NAMES))
    nets: str = option("all", "which shipped networks: all, or those trained on one half of the training images",
                       choices=("all", "a", "b"))


class Hybrid(Method):
    """A codec prior with a residual stage."""

    name: ClassVar[str] = "hybrid"
    summary: ClassVar[str] = "field, hevc or av1, corrected by a fitted filter or by a network fitted to what is lacking"
    experimental: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Usable]] = frozenset({"channel_weights"})
    magnitudes: ClassVar[tuple[float, float]] = (1e-37, 1e37)  # Of float32, which networks compute in.
    options: HybridOptions
    Options: ClassVar[type[Any]] = HybridOptions

    @classmethod
    def with_options(cls, given: Mapping[str, Any]) -> Self:
        """The method with options; UsageError where one is wrong, the criterion included."""
        method = super().with_options(given)
        criterion(method.options.keep)  # A wrong one is named before the work begins.
        return method

    @property
    def prior(self) -> Method:
        """The method that codes the image first."""
        options = {"nets": self.options.nets} if self.options.prior == "field" else {}
        return get_method(self.options.prior).with_options(options)

    @property
    def quality(self) -> KnobTraits | ByteLimit:
        """That of the prior; with a network as residual a number of bytes."""
        traits = self.prior.quality
        assert isinstance(traits, KnobTraits)
        if self.options.residual != FILTER:
            return ByteLimit(fills=False)
        return replace(traits, finish=FINISH)

    def _recipe(self) -> Recipe:
        o = self.options
        network = named("refinement", o.nets)
        network = b"" if network == PINNED else network
        return Recipe(self.prior, o.residual, o.share, criterion(o.keep), o.units, network)

    def smallest(self, layout: Layout) -> int:
        """Fewest bytes of a part: the prior's, and one that says that nothing corrects it."""
        return 1 + self.prior.smallest(layout)

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        """Code the block at a quality that is a setting of the prior's knob, or a number of bytes.

        Raises
        ------
        BudgetError
            The bytes are too few for the prior.
        InputError
            The user's criterion fails.
        """
        if self.options.residual == FILTER:
            encoded = filtered.encode(self._recipe(), block, layout, quality, context, state)
            return self.finish(encoded, block, layout, context) if context.measure else encoded
        return shared_bytes.encode(self._recipe(), block, layout, int(quality), context, state)

    def guess(self, block: npt.NDArray[Any], layout: Layout, nbytes: float, context: Context) -> float:
        """What the prior guesses."""
        return self.prior.guess(block, layout, nbytes, context)

    def finish(self, encoded: Encoded, block: npt.NDArray[Any], layout: Layout, context: Context) -> Encoded:
        """The same part with its filter fitted, in no more bytes, and with its error."""
        if isinstance(encoded.state, filtered.Attempt):
            return filtered.finish(self._recipe(), encoded, block, layout, context)
        return super().finish(encoded, block, layout, context)

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> HybridDecoder:
        """Open a part with its prior."""
        if bitstream_version != cls.bitstream_version or len(data.own) != 1:
            raise FormatError("these are not the sections of a part of hybrid.")
        return HybridDecoder(layout, data.own[0], data)

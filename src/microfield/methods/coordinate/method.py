"""The Method that `siren` and `inif` specialise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy.typing as npt

from microfield.errors import BudgetError, FormatError, MissingExtraError, UsageError
from microfield.image import Layout
from microfield.methods.base import ByteLimit, Context, Encoded, Method, PartData, Usable, measure_error
from microfield.methods.coordinate.bitstream import Shape, published_bytes
from microfield.methods.coordinate.decoder import CoordinateDecoder
from microfield.methods.coordinate.published import SINE_LAYERS, PublishedRecipe, fit_published, published_shape
from microfield.methods.options import option
from microfield.nn.coordinates import CoordinateMap

if TYPE_CHECKING:
    from microfield.methods.coordinate.encoder import Coded

HEAD_BYTES, CODER_BYTES = 2, 8
"""What a part of constants takes beside its channels: layers and output axes; the step and the head of the coded weights."""


@dataclass(frozen=True)
class CoordinateOptions:
    """Options of siren and inif."""

    paper: bool = option(False, "the published configuration (float32 weights, 7 layers), for comparison only")
    outputs: str = option("auto", "axes that are network outputs instead of coordinates, such as C or CT; "
                                  "auto tries them, none makes every axis a coordinate")
    depth: int = option(0, "sine layers; 0 chooses by size", low=0, high=12)
    frequency: float = option(0.0, "largest initial frequency in radians per voxel; 0 tries several", low=0, high=10)
    bits_per_weight: float = option(7.0, "planned size of a weight: fewer bits make a wider network", low=3, high=12)
    grids: str = option("auto", "latent grids, whose features the network sees beside coordinates; auto takes them where there are "
                                "bytes for them (inif only), none leaves them out", choices=("auto", "none"))
    optimiser: str = option("auto", "optimiser of the fit; auto is soap, or adamax with paper=true",
                            choices=("auto", "soap", "learned", "velo", "adam", "adamax"), also=("optimizer",))
    velo: str = option("", "for optimiser=velo: folder or file of a VeLO checkpoint in the published layout")


class CoordinateMethod(Method):
    """A coordinate network whose weights are the file."""

    accepts: ClassVar[frozenset[Usable]] = frozenset({"channel_weights", "saliency", "guide", "optimiser"})
    requires: ClassVar[Mapping[str, str]] = {"jax": "compress", "optax": "compress", "scipy": "compress", "skimage": "compress"}
    options: CoordinateOptions
    Options: ClassVar[type[Any]] = CoordinateOptions
    magnitudes: ClassVar[tuple[float, float]] = (1e-37, 1e37)  # Of float32, which the fit computes in.
    pyramids: ClassVar[bool] = False
    """Whether networks may see the features of latent grids."""
    learn_frequency: ClassVar[bool]
    """Whether the frequency factor of the sines is fitted with the weights."""
    published_frequency: ClassVar[float]
    """The frequency factor (w0) of the published configuration, with which its fit begins."""

    @classmethod
    def with_options(cls, given: Mapping[str, Any]) -> Self:
        """The method with options from text or Python values; UsageError where one is wrong, or velo lacks its checkpoint."""
        method = super().with_options(given)
        if method.options.optimiser == "velo" and not method.options.velo:
            raise UsageError(f"option optimiser='velo' of method {cls.name!r} needs the path of a checkpoint in option velo.")
        if method.options.velo and method.options.optimiser != "velo":
            raise UsageError(f"option velo={method.options.velo!r} of method {cls.name!r} needs option optimiser='velo'.")
        return method

    @property
    def quality(self) -> ByteLimit:
        """A number of bytes, which the published configuration cannot fill: float32 networks come in whole widths only."""
        return ByteLimit(fills=not self.options.paper)

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context,
               state: Any = None) -> Encoded:
        """Fit a network to the block so that it takes at most ``quality`` bytes.

        Raises
        ------
        BudgetError
            The published configuration does not fit.
        MissingExtraError
            jax or optax is not installed.
        """
        try:
            from microfield.methods.coordinate.encoder import Coded

            if self.options.paper:
                coded = Coded(self._published(block, layout, int(quality), context), None, False)
            else:
                coded = self._fitted(block, layout, int(quality), context, state)
        except ModuleNotFoundError as missing:
            raise MissingExtraError(f"Compressing with {self.name}", "compress") from missing
        error = measure_error(CoordinateDecoder(layout, (coded.data,), self.bitstream_version), block, layout)
        return Encoded((coded.data,), error, coded.state, coded.exhausted, shortened=coded.shortened)

    def _fitted(self, block: npt.NDArray[Any], layout: Layout, limit: int, context: Context, state: Any,
                ) -> Coded:
        """The part in the default configuration."""
        from microfield.methods.coordinate.encoder import PartEncoder, Recipe

        o = self.options
        recipe = Recipe(self.learn_frequency, self._optimiser("soap"), o.bits_per_weight, o.outputs, o.frequency, o.depth, o.velo,
                        self.pyramids and o.grids == "auto")
        return PartEncoder(block, layout, recipe, context).encode(limit, state)

    def _published(self, block: npt.NDArray[Any], layout: Layout, limit: int, context: Context) -> bytes:
        """Bytes of the part in the published configuration."""
        shape = published_shape(layout, limit)
        if shape is None:
            raise BudgetError(f"{limit} bytes are too few for the published configuration of {self.name}.")
        recipe = PublishedRecipe(self.published_frequency, self.learn_frequency, self._optimiser("adamax"), self.options.velo)
        return fit_published(block, layout, shape, recipe, context)

    def _optimiser(self, usual: str) -> str:
        """The name of the optimiser; ``usual`` is what ``auto`` means."""
        return usual if self.options.optimiser == "auto" else str(self.options.optimiser)

    def smallest(self, layout: Layout) -> int:
        """Fewest bytes of a part: a constant per channel, or a published network of width 1."""
        if self.options.paper:
            return published_bytes(Shape(len(CoordinateMap(layout, "").inputs), 1, SINE_LAYERS, 1))
        itemsize = layout.dtype.itemsize
        extremes = 2 * itemsize if layout.dtype.kind == "f" else 2 * itemsize + 2  # Integers as varints.
        mapping = extremes + 2  # And a byte each for zero and unit.
        weight = 1
        return HEAD_BYTES + layout.channels * (mapping + weight) + CODER_BYTES

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> CoordinateDecoder:
        """Open a part."""
        if not 1 <= bitstream_version <= cls.bitstream_version:
            raise FormatError(f"bitstream version {bitstream_version} of {cls.name} is not known: update microfield to open it.")
        return CoordinateDecoder(layout, data.own, bitstream_version, data.working)

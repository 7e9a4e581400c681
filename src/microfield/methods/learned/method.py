"""The methods `factorized` and `hyperprior`: options and the seam.

Quality is the step that the channels are divided by before the codec sees them: a codec learns one exchange of error for bits at
steps of many sizes, so that the rate is continuous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError, InputError
from microfield.image import Layout
from microfield.methods.base import Context, Encoded, KnobTraits, Method, Part, PartData, Sections, Usable
from microfield.methods.conventional.intensities import Intensities
from microfield.methods.conventional.sheets import Sheets, is_colour, orders
from microfield.methods.learned.blocks import analysed
from microfield.methods.learned.decoder import LearnedDecoder
from microfield.methods.learned.layers import Values, run
from microfield.methods.learned.model import Model, carried, shipped, shipped_name
from microfield.methods.learned.part import CENTRES, Head
from microfield.methods.learned.stream import code
from microfield.methods.options import option
from microfield.methods.whole import WholeDecoder

OCTAVES, COARSEST = 13.0, 2.0
"""Octaves from the coarsest step to the finest, and the coarsest one, in parts of the largest range."""


@dataclass(frozen=True)
class LearnedOptions:
    """Options of learned codecs."""

    frames: str = option("auto", "the axis that successive frames follow where there are both; auto is Z",
                         choices=("auto", "Z", "T"))
    model: str = option("", "a file of weights, which the compressed file then carries; none: those that ship")


@dataclass(frozen=True)
class Prepared:
    """A part ready to be coded at any step: intensities, arrangement, and values 0..1 (coded, frames, y, x)."""

    intensities: Intensities
    order: str
    opponent: bool
    centres: npt.NDArray[np.float64]
    units: npt.NDArray[np.float64]
    values: npt.NDArray[np.float32]


class LearnedMethod(Method):
    """An autoencoder with an entropy model, both trained on microscopy."""

    experimental: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Usable]] = frozenset({"channel_weights"})
    magnitudes: ClassVar[tuple[float, float]] = (1e-37, 1e37)  # Of float32.
    options: LearnedOptions
    Options: ClassVar[type[Any]] = LearnedOptions
    hyperprior: ClassVar[bool]

    @property
    def quality(self) -> KnobTraits:
        """A knob from 0 to 1000, logarithmic in the step."""
        return KnobTraits(step=0.5, first=400.0, slope=0.009, finish=1.0, octaves=(1000 / OCTAVES, 1000 / OCTAVES))

    def smallest(self, layout: Layout) -> int:
        """Bytes of a constant part: its flags, which channels are constant, and their values."""
        return 2 + layout.channels * layout.dtype.itemsize

    def share(self, parts: Sequence[Part], context: Context, nbytes: int | None) -> Sections:
        """The weights of a model of the user's own: files of it need nothing else.

        Raises
        ------
        InputError
            There is no such file, or it holds no codec of this method.
        """
        del parts, context, nbytes
        return (self._given(),) if self.options.model else ()

    def _given(self) -> bytes:
        """The bytes of the user's file of weights, checked."""
        path = Path(self.options.model)
        try:
            data = path.read_bytes()
            hyperprior = carried(data).form.hyperprior
        except OSError as error:
            raise InputError(f"the weights {path} cannot be read ({error.strerror}).") from None
        except FormatError as wrong:
            raise InputError(f"{path} holds no weights of a learned codec: {wrong}") from None
        if hyperprior != self.hyperprior:
            raise InputError(f"{path} holds weights of {(Factorized, Hyperprior)[hyperprior].name}, not of {self.name}.")
        return data

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        """Code the block at ``quality`` 0..1000; the state is the block as it was prepared."""
        prepared = state if isinstance(state, Prepared) else self._prepare(block, layout, context)
        section = prepared.intensities.pack(layout.dtype)
        if len(prepared.values):
            step = context.reach * COARSEST * 2 ** (-OCTAVES * quality / 1000)
            section += self._coded(prepared, _model(self.name, context.shared), step)
        encoded = Encoded((section,), None, prepared, not len(prepared.values))
        return self.finish(encoded, block, layout, context) if context.measure else encoded

    def _prepare(self, block: npt.NDArray[Any], layout: Layout, context: Context) -> Prepared:
        asked = self.options.frames
        order = orders(layout)[0] if asked == "auto" else asked
        sheets = Sheets(layout, order).gather(block)
        flat = sheets.reshape(layout.channels, -1)
        spans = np.maximum(flat.max(1).astype(np.float64) - flat.min(1), 1e-300)
        intensities = Intensities.of(flat, spans, np.ones(layout.channels), 1.0)
        values = intensities.stretch(flat).reshape(-1, *sheets.shape[1:])
        which = intensities.coded
        medians = np.array([np.median(channel) for channel in values], np.float64)
        centres = np.rint(medians * CENTRES) / CENTRES
        units = (context.unit / np.sqrt(context.channel_weights) / spans)[which]
        return Prepared(intensities, order, is_colour(layout) and bool(which.all()), centres, units, values)

    def _coded(self, prepared: Prepared, model: Model, step: float) -> bytes:
        """Head and latents at a step, in units of `Context.unit`."""
        scales = np.clip(prepared.units * step, 1e-8, 1e8).astype(np.float32).astype(np.float64)
        head = Head(model.key, prepared.order, prepared.opponent, prepared.centres, scales)
        inputs = padded(head.inputs(prepared.values), model.form.reduction())[..., None]
        latents = analysed(model.analysis, np.repeat(inputs, model.form.inputs, -1))
        hyper: Values | None = None
        if model.form.hyperprior:
            hyper = run(model.hyper_analysis, np.abs(latents) if model.form.absolute else latents)
        return head.pack() + code(model, latents, hyper).data

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> WholeDecoder:
        """Open a part; nothing is decoded yet."""
        if bitstream_version != cls.bitstream_version or len(data.own) != 1 or len(data.shared) > 1:
            raise FormatError(f"these are not the sections of a part of {cls.name}.")
        return LearnedDecoder(layout, data.own[0], cls.hyperprior, carried(data.shared[0]) if data.shared else None)


def _model(method: str, shared: Sections) -> Model:
    """The codec that the parts of a file are coded with: the one that it carries, or the one that ships."""
    return carried(shared[0]) if shared else shipped(shipped_name(f"{method}-2d"))


def padded(volumes: npt.NDArray[np.float32], factors: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Volumes (batch, z, y, x) whose borders are repeated, until extents are multiples of ``factors``, and for the margin."""
    more = [(s, s + -n % s) if s > 1 else (0, 0) for n, s in zip(volumes.shape[1:], factors, strict=True)]
    return np.pad(volumes, [(0, 0), *more], mode="edge")


class Factorized(LearnedMethod):
    """Latents with a factorised prior (Balle et al. 2018)."""

    name: ClassVar[str] = "factorized"
    summary: ClassVar[str] = "learned autoencoder with a factorised prior, after Balle et al. 2018"
    hyperprior: ClassVar[bool] = False


class Hyperprior(LearnedMethod):
    """Latents whose means and scales are coded beside them (Minnen et al. 2018)."""

    name: ClassVar[str] = "hyperprior"
    summary: ClassVar[str] = "learned autoencoder whose latents' means and scales are coded beside them, after Minnen et al. 2018"
    hyperprior: ClassVar[bool] = True

"""The decoder of learned codecs: NumPy and exact sums, hence the same grey levels on every machine."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.image import Layout
from microfield.methods.conventional.intensities import Intensities
from microfield.methods.conventional.sheets import Sheets
from microfield.methods.learned.blocks import synthesised
from microfield.methods.learned.layers import Values
from microfield.methods.learned.model import Model, shipped
from microfield.methods.learned.part import Head
from microfield.methods.learned.stream import decode
from microfield.methods.whole import WholeDecoder


def latent_shape(model: Model, batch: int, extents: tuple[int, int, int]) -> tuple[int, ...]:
    """The shape (batch, z, y, x, channels) of the latents of volumes of these extents, with a margin of one latent all around.

    Layers pad with zeros: without a margin voxels at the borders, and between parts, would be coded badly, and seams show.
    """
    sizes = (-(-n // s) + 2 * (s > 1) for n, s in zip(extents, model.form.reduction(), strict=True))
    return (batch, *sizes, model.form.latents)


def volumes_of(model: Model, latents: Values, extents: tuple[int, int, int]) -> Values:
    """Volumes (batch, z, y, x), float64, that latents decode to."""
    starts = [s if s > 1 else 0 for s in model.form.reduction()]
    z, y, x = (slice(start, start + n) for start, n in zip(starts, extents, strict=True))
    whole = synthesised(model.synthesis, latents)[:, z, y, x]
    return np.asarray(whole.mean(-1) if whole.shape[-1] > 1 else whole[..., 0])


class LearnedDecoder(WholeDecoder):
    """Reads one part, which is decoded whole."""

    bytes_per_voxel: ClassVar[int] = 60

    def __init__(self, layout: Layout, section: bytes, hyperprior: bool, weights: Model | None = None) -> None:
        super().__init__(layout, len(section))
        self.intensities, rest = Intensities.unpack(section, layout)
        self.head: Head | None = None
        self.data = b""
        if not self.intensities.coded.any():
            if rest:
                raise FormatError("a constant part is followed by a stream.")
            return
        self.head, self.data = Head.unpack(rest, self.intensities, layout)
        self.model = shipped(self.head.key) if weights is None else weights
        if self.model.key != self.head.key:
            raise FormatError("a part names another codec than the one that the file carries.")
        if self.model.form.hyperprior != hyperprior:
            raise FormatError("a part names a codec of another method.")

    @property
    def extremes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Extremes of the channels, to which values are clipped."""
        return self.intensities.low, self.intensities.high

    def _decode(self) -> npt.NDArray[Any]:
        sheets = Sheets(self.layout, self.head.order if self.head else "Z")
        _, *extents = sheets.shape
        size = (extents[0], extents[1], extents[2])
        values = np.empty((0, *size), np.float32)
        if self.head is not None:
            shape = latent_shape(self.model, len(self.head.scales), size)
            values = self.head.stretched(volumes_of(self.model, decode(self.model, self.data, shape), size))
        grey = self.intensities.restore(values.reshape(len(values), np.prod(size, dtype=int)), self.layout.dtype)
        return sheets.scatter(grey.reshape(sheets.shape))

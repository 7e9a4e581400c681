"""Perceptual guidance: a copy is drawn towards what the original would look like without its noise.

INIF (Dai et al. 2024) adds LPIPS between a random block of the reconstruction and a random block of a clean image of other fields.
These show different things, so that, place by place, every feature is drawn to the mean of the reference. Here the reference says
how a clean image looks, and so how much the original has to be blurred (`look.best_blur`); LPIPS is then taken between a block of
the copy and *the same* block of the blurred original. No voxel of the reference gets into the copy. The published form is there
for comparison; docs/studies/perceptual.md measures both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.guidance.look import DEPTH, SIZE, blurred, drawn_block
from microfield.guidance.reference import Reference
from microfield.image import Layout
from microfield.labelled import DENOISED
from microfield.objective import Guidance, GuidedBlock
from microfield.perceptual import alexnet

HELD = 2.0
"""A further blur in pixels: detail that is finer no copy of some hundredth of the size can hold, and asking for it does harm."""
DRAWN = 2
"""Blocks of the reference that one block of the copy is compared with in the published form."""


@dataclass(frozen=True)
class Perceptual(Guidance):
    """The guidance ``perceptual``.

    Attributes
    ----------
    reference : Reference
        Not part of what is compiled, and so not of what makes two guidances equal.
    published : bool
        LPIPS between random blocks of the copy and of the reference, as INIF has it.
    """

    reference: Reference = field(compare=False, repr=False)
    published: bool = False

    share: ClassVar[float] = 0.15  # Twice as much gains no more, and may cost much PSNR.
    notes: ClassVar[tuple[str, ...]] = (DENOISED,)

    def block_shape(self, axes: str, extents: tuple[int, ...]) -> tuple[int, ...]:
        """Squares of one plane, or what there is of them."""
        return tuple(min(n, SIZE) if axis in "YX" else 1 for axis, n in zip(axes, extents, strict=True))

    def arrays(self, block: npt.NDArray[Any], layout: Layout) -> Mapping[str, npt.NDArray[Any]]:
        """The part without its noise: every plane blurred; nothing in the published form."""
        if self.published:
            return {}
        y, x = layout.axes.index("Y"), layout.axes.index("X")
        planes = blurred(np.moveaxis(block, (y, x), (-2, -1)), math.hypot(self.reference.blur, HELD))
        return {"denoised": np.moveaxis(planes, (-2, -1), (y, x))}

    def beside(self, rng: np.random.Generator, channels: npt.NDArray[np.intp]) -> Mapping[str, npt.NDArray[Any]]:
        """The grey levels of black and white of every field, and in the published form blocks of the reference."""
        known = self.reference
        levels = {"low": known.low[channels].astype(np.float32), "span": known.span[channels].astype(np.float32)}
        if not self.published:
            return levels
        drawn = [[drawn_block(known.planes[channel], rng) for _ in range(DRAWN)] for channel in channels]
        return levels | {"reference": np.asarray(drawn, np.float32)}

    def loss(self, block: GuidedBlock) -> Any:
        """LPIPS of the block, mean over its fields; of the first layers only, but in the published form."""
        import jax.numpy as jnp

        low, span = (jnp.asarray(block.beside[name])[:, None, None] for name in ("low", "span"))

        def shown(grey: Any) -> Any:
            """Fields of grey levels as the network sees them."""
            return _enlarged(2 * (block.fields(grey) - low) / span - 1)

        known, seen = alexnet.weights(), shown(block.prediction * block.scale + block.offset)
        if not self.published:
            return jnp.mean(alexnet.lpips(seen, shown(block.arrays["denoised"]), known, DEPTH))
        theirs = jnp.asarray(block.beside["reference"])[:, :, : seen.shape[1], : seen.shape[2]]
        ours, shape = jnp.broadcast_to(seen[:, None], theirs.shape), (-1, *theirs.shape[2:])
        return jnp.mean(alexnet.lpips(ours.reshape(shape), theirs.reshape(shape), known))


def _enlarged(planes: Any) -> Any:
    """Planes (n, y, x) continued by their mirror images until they are as large as the features need."""
    import jax.numpy as jnp

    lacking = [(0, max(0, alexnet.LEAST - n)) for n in planes.shape[1:]]
    return jnp.pad(planes, [(0, 0), *lacking], mode="symmetric") if any(more for _, more in lacking) else planes

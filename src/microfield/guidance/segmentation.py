"""The recipes `filament`, `spots` and `nuclei`: how far the segmentation of a copy agrees with that of the original.

Steps as those of the Allen Cell and Structure Segmenter (J. Chen et al., bioRxiv 491035, 2018): contrast normalised, smoothed, a
multi-scale filter of lines or spots, a threshold. The original's mask is sharp, the copy's is soft, a logistic function of how far
the filter's response is above the threshold, so that there is a gradient. The loss is 1 - intersection / union of the two.

As pipelines do, every image has its threshold found on itself: on each plane or volume of the original, and, where the whole copy
is known, of the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import Layout
from microfield.objective import Guidance, GuidedBlock

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

LINE_SIGMAS = (1.0, 2.0)
"""Scales of the line filter in voxels; the larger response counts."""
SPOT_SIGMA = 1.5
NUCLEUS_SIGMA = 1.0
"""Scales of the spot filter, and of the smoothing of nuclei."""
SOFTNESS = 0.15
"""The mask is soft over so many of the threshold's own height above the background."""
OTSU_SHARE = 0.9
"""The threshold of lines and nuclei is this share of Otsu's, counted from the background."""
SPOT_NOISE, SPOT_TOP, SPOT_CONTRAST = 5.0, 0.9995, 0.12
"""That of spots is so many robust standard deviations of the response, but at least this quantile of it times the contrast."""
BACKGROUND = 0.01
"""The background of nuclei is this quantile."""
REACH = 9
"""Voxels beyond a voxel that its response depends on, at most."""
EMPTY = 0.01
"""What is added to the union of a block, as a share of its voxels, so that blocks without objects have a gradient, too."""
LEAST_HEIGHT = 1e-3
"""Least height of a threshold in units of the fit, where a field holds nothing to be found."""
_MAD = 1.482602218505602  # standard deviation of a normal distribution / its median absolute deviation
_SAMPLE = 1 << 20


@dataclass(frozen=True)
class Segmentation(Guidance):
    """A recipe.

    Attributes
    ----------
    kind : str
        ``filament`` for lines, tubes and membranes, ``spots`` for puncta, ``nuclei`` for separate bright objects.
    steps : tuple of float
        Relative length of a voxel along z, y and x; the smallest is 1.
    """

    kind: str
    steps: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def response(self, field: Any) -> Any:
        """What is thresholded, of a plane (y, x) or volume (z, y, x) of grey levels; a jax function."""
        import jax.numpy as jnp

        from microfield.guidance import filters

        steps = self.steps[3 - field.ndim :]
        if self.kind == "filament":
            return jnp.maximum(*(filters.line_strength(field, sigma, steps) for sigma in LINE_SIGMAS))
        if self.kind == "spots":
            return filters.spot_strength(field, SPOT_SIGMA, steps)
        return filters.smoothed(field, NUCLEUS_SIGMA, steps)

    def levels(self, response: Floats) -> tuple[float, float]:
        """Background and height of the threshold above it, found on a response; the height is 0 where nothing is to be found."""
        sample = response.reshape(-1)[:: max(1, response.size // _SAMPLE) | 1]
        if self.kind == "spots":
            middle = float(np.median(sample))
            noise = _MAD * float(np.median(np.abs(sample - middle)))
            return 0.0, max(0.0, SPOT_NOISE * noise, SPOT_CONTRAST * float(np.quantile(sample, SPOT_TOP)))
        if self.kind == "filament":
            return 0.0, OTSU_SHARE * otsu(np.maximum(sample, 0))
        background = float(np.quantile(sample, BACKGROUND))
        return background, max(0.0, OTSU_SHARE * (otsu(sample) - background))

    def arrays(self, block: Array, layout: Layout) -> Mapping[str, Array]:
        """Background and height of the threshold of every channel and time point, as arrays of the part's shape."""
        spatial = tuple(i for i, axis in enumerate(layout.axes) if axis in "ZYX")
        fields = fields_of(block, layout)
        found = np.empty((len(fields), 2), np.float64)
        for number, field in enumerate(fields):
            low, high = float(field.min()), float(field.max())
            span = high - low or 1.0
            response = compiled_response(self)(((field.astype(np.float64) - low) / span).astype(np.float32))
            background, height = self.levels(np.asarray(response))
            found[number] = background * span + (low if self.kind == "nuclei" else 0), height * span
        own = [1 if i in spatial else n for i, n in enumerate(layout.shape)]
        return {name: np.broadcast_to(found[:, k].reshape(own), layout.shape) for k, name in enumerate(("background", "height"))}

    def loss(self, block: GuidedBlock) -> Any:
        """1 - intersection / union of the soft mask of a block with the original's; mean over the fields of the block."""
        import jax
        import jax.numpy as jnp

        def one(target: Any, prediction: Any, background: Any, height: Any) -> Any:
            mask = (self.response(target) - background > height).astype(jnp.float32)
            soft = jax.nn.sigmoid(((self.response(prediction) - background) / height - 1) / SOFTNESS)
            both = jnp.sum(mask * soft)
            # A block without objects counts for what is wrongly found in it, as if it held one of a hundredth of its size.
            return 1 - both / (jnp.sum(mask + soft) - both + EMPTY * mask.size)

        # In units of the fit, whose contrast is normalised; responses of lines and spots are differences.
        origin = block.offset if self.kind == "nuclei" else 0.0
        background = (block.arrays["background"] - origin) / block.scale
        height = jnp.maximum(block.arrays["height"] / block.scale, LEAST_HEIGHT)
        return jnp.mean(jax.vmap(one)(*(block.fields(a) for a in (block.target, block.prediction, background, height))))


def soft_mask(response: Floats, background: float, height: float) -> Floats:
    """The soft mask of a response, 0..1."""
    return np.asarray(0.5 + 0.5 * np.tanh(((response - background) / height - 1) * (0.5 / SOFTNESS)), np.float32)


def otsu(values: Floats) -> float:
    """The threshold that maximises the variance between the classes below and above it.

    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on Systems, Man, and Cybernetics 9
    (1979), on 256 bins up to the 99.99 percentile.
    """
    low, high = float(values.min()), float(np.quantile(values, 0.9999))
    if not high > low:
        return high
    counts, edges = np.histogram(np.minimum(values, high), 256, (low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    below, mass = np.cumsum(counts)[:-1].astype(np.float64), np.cumsum(counts * centres)
    above = values.size - below
    apart = mass[:-1] / np.maximum(below, 1) - (mass[-1] - mass[:-1]) / np.maximum(above, 1)
    return float(edges[1 + int(np.argmax(below * above * apart**2))])


def fields_of(block: Array, layout: Layout) -> Array:
    """A part as fields: all planes (n, y, x) or volumes (n, z, y, x) of one channel and time, in C order of the other axes.

    Volumes where Z has an extent above 1.
    """
    spatial = tuple(layout.axes.index(axis) for axis in "ZYX" if axis in layout.axes)
    others = tuple(i for i in range(len(layout.axes)) if i not in spatial)
    extents = [layout.shape[i] for i in spatial if layout.axes[i] != "Z" or layout.shape[i] > 1]
    return block.transpose(*others, *spatial).reshape(-1, *extents)


@lru_cache(maxsize=16)
def compiled_response(recipe: Segmentation) -> Callable[[Any], Any]:
    """The compiled response of a recipe, kept for later calls."""
    import jax

    return jax.jit(recipe.response)

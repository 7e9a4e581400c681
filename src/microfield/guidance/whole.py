"""The gradient of a guidance with respect to all voxels of a decoded part, for methods that are not fitted point by point.

Parts are cut into boxes, since filters and their derivatives take many times the memory of what they work on. All boxes of a part
have one shape, so that one function is compiled.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.guidance.segmentation import REACH, SOFTNESS, Segmentation, compiled_response, soft_mask
from microfield.objective import Guidance, GuidedBlock

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

VOLUME_BOX, PLANE_BOX = (40, 256, 256), (1024, 1024)
"""Largest extents of a box, its margins included."""


class Gradient(NamedTuple):
    """Loss of a decoded part, 0 where it is as good as the original, and its gradient with respect to every voxel (fields)."""

    loss: float
    slope: Floats


class WholePart(ABC):
    """The guidance of one part, whose fields are planes (n, y, x) or volumes (n, z, y, x) of one channel and time.

    They are normalised: 0 is the least grey level of the channel in the part, 1 the largest.
    """

    @abstractmethod
    def gradient(self, decoded: Floats, *, slope: bool = True) -> Gradient:
        """Loss and gradient of a decoded part, given as normalised fields; with ``slope=False`` zeros stand for the gradient."""


def whole_part(guidance: Guidance, original: Floats, seen: Seen) -> WholePart:
    """The guidance of a part.

    Parameters
    ----------
    guidance : Guidance
    original : float32 array (n, y, x) or (n, z, y, x)
        Normalised fields of the original.
    seen : Seen
        What a guidance that is no recipe sees beside them.
    """
    return SegmentedPart(guidance, original) if isinstance(guidance, Segmentation) else GuidedPart(guidance, original, seen)


@dataclass(frozen=True)
class Seen:
    """What belongs to the fields of a part.

    Attributes
    ----------
    low, span : float arrays, one value per field
        Normalised values are (grey - low) / span.
    arrays : mapping of name to array of the shape of the fields
        Auxiliary arrays.
    origin : tuple of int
        Index of the part's first voxel in the whole image, along the axes of a field.
    channels : int array, one value per field
        Number of its channel.
    """

    low: npt.NDArray[Any]
    span: npt.NDArray[Any]
    arrays: Mapping[str, Array]
    origin: tuple[int, ...]
    channels: npt.NDArray[np.intp]


class Box(NamedTuple):
    """A box of a field: all of it, and the part of it that no other box covers."""

    whole: tuple[slice, ...]
    own: tuple[slice, ...]

    @property
    def inner(self) -> tuple[slice, ...]:
        """`own` in coordinates of the box."""
        return tuple(slice(o.start - w.start, o.stop - w.start) for w, o in zip(self.whole, self.own, strict=True))


def boxes(shape: tuple[int, ...], largest: tuple[int, ...], margin: int) -> Iterator[Box]:
    """Boxes of one shape whose own parts cover a field once, each with a margin around it as far as the field goes."""
    ranges = []
    for extent, most in zip(shape, largest, strict=True):
        size = min(extent, max(most, 2 * margin + 1))
        inner = size if size == extent else size - 2 * margin
        ranges.append([(min(max(0, start - margin), extent - size), size, start, min(start + inner, extent))
                       for start in range(0, extent, inner)])
    for cell in itertools.product(*ranges):
        yield Box(tuple(slice(at, at + size) for at, size, _, _ in cell), tuple(slice(first, end) for _, _, first, end in cell))


class SegmentedPart(WholePart):
    """A recipe: the loss is 1 - intersection / union over all fields, thresholds found on every field of either image."""

    def __init__(self, recipe: Segmentation, original: Floats) -> None:
        self.recipe = recipe
        self.masks = []
        for field in original:
            response = self._response(field)
            background, height = recipe.levels(response)
            self.masks.append(response > background + height if height > 0 else np.zeros(field.shape, np.bool_))

    def gradient(self, decoded: Floats, *, slope: bool = True) -> Gradient:
        """See `WholePart.gradient`; thresholds are held where they are found."""
        size = float(sum(mask.sum() for mask in self.masks))
        both, soft, heights = 0.0, [], []
        for field, mask in zip(decoded, self.masks, strict=True):
            response = self._response(field)
            background, height = self.recipe.levels(response)
            found = soft_mask(response, background, height) if height > 0 else np.zeros(field.shape, np.float32)
            both += float(found[mask].sum(dtype=np.float64))
            size += float(found.sum(dtype=np.float64))
            soft.append(found)
            heights.append(height)
        union = max(size - both, 1e-9)
        loss = 1 - both / union if size else 0.0
        out = np.zeros_like(decoded)
        if slope and loss:
            for k, (field, mask) in enumerate(zip(decoded, self.masks, strict=True)):
                if heights[k] > 0:
                    # What another voxel of the soft mask changes: it adds to the intersection where the original's mask is, else to
                    # the union.
                    worth = np.where(mask, np.float32(-1 / union), np.float32(both / union**2))
                    worth *= soft[k] * (1 - soft[k]) * np.float32(1 / (SOFTNESS * heights[k]))
                    self._add(field, worth, out[k])
        return Gradient(loss, out)

    def _response(self, field: Floats) -> Floats:
        """The response of a field, box by box."""
        out = np.empty(field.shape, np.float32)
        for box in boxes(field.shape, _largest(field), REACH):
            out[box.own] = np.asarray(compiled_response(self.recipe)(np.ascontiguousarray(field[box.whole])))[box.inner]
        return out

    def _add(self, field: Floats, worth: Floats, out: Floats) -> None:
        """Add the gradient with respect to a field, given that with respect to its response."""
        for box in boxes(field.shape, _largest(field), REACH):
            own = np.zeros(tuple(s.stop - s.start for s in box.whole), np.float32)
            own[box.inner] = worth[box.own]
            if own.any():
                out[box.whole] += np.asarray(_pull(self.recipe)(np.ascontiguousarray(field[box.whole]), own))


@lru_cache(maxsize=16)
def _pull(recipe: Segmentation) -> Callable[[Any, Any], Any]:
    """The compiled function of a field and the gradient with respect to its response: the gradient with respect to the field."""
    import jax

    return jax.jit(lambda field, worth: jax.vjp(recipe.response, field)[1](worth)[0])


def _largest(field: Floats) -> tuple[int, ...]:
    return VOLUME_BOX if field.ndim == 3 else PLANE_BOX


class GuidedPart(WholePart):
    """Any other guidance: the mean of its loss over blocks that cover the part."""

    def __init__(self, guidance: Guidance, original: Floats, seen: Seen) -> None:
        self.guidance, self.original, self.seen = guidance, original, seen
        self.axes = "ZYX"[3 - (original.ndim - 1) :]
        self.shape = guidance.block_shape(self.axes, original.shape[1:])
        if len(self.shape) != len(self.axes) or not all(1 <= b <= n for b, n in zip(self.shape, original.shape[1:], strict=True)):
            raise InputError(f"the guidance wants blocks of shape {self.shape}, which do not fit the axes {self.axes} of shape "
                             f"{original.shape[1:]}.")

    def gradient(self, decoded: Floats, *, slope: bool = True) -> Gradient:
        """See `WholePart.gradient`.

        Raises
        ------
        InputError
            The loss or its gradient is NaN or infinite.
        """
        cells = list(boxes(decoded.shape[1:], self.shape, 0))
        count = len(cells) * len(decoded)
        total, out = 0.0, np.zeros_like(decoded)
        for k, (number, cell) in itertools.product(range(len(decoded)), enumerate(cells)):
            box = cell.whole
            # A block is always given the same beside it, so that losses of two decoded parts can be compared.
            beside = self.guidance.beside(np.random.default_rng((k, number)), self.seen.channels[k : k + 1])
            loss, found = _value_and_slope(self.guidance, self.axes)(decoded[k][box], self._block(k, box) | {"beside": beside})
            total += float(loss)
            out[k][box] += np.asarray(found)
        if not (math.isfinite(total) and np.isfinite(out).all()):
            raise InputError("the guidance gives a loss or a gradient that is NaN or infinite; it must be finite for every block.")
        out *= np.float32(1 / count) if slope else 0
        return Gradient(total / count, out)

    def _block(self, k: int, box: tuple[slice, ...]) -> dict[str, Any]:
        """What the guidance sees of a block beside its decoded values."""
        ranges = (np.arange(s.start, s.stop) + first for s, first in zip(box, self.seen.origin, strict=True))
        places = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).astype(np.float32)
        low, span = (np.float32(values[k]) for values in (self.seen.low, self.seen.span))
        return {"target": self.original[k][box], "coordinates": places, "scale": span, "offset": low,
                "arrays": {name: array[k][box].astype(np.float32) for name, array in self.seen.arrays.items()}}


@lru_cache(maxsize=16)
def _value_and_slope(guidance: Guidance, axes: str) -> Callable[[Any, dict[str, Any]], tuple[Any, Any]]:
    """The compiled loss of a block and its gradient."""
    import jax
    import jax.numpy as jnp

    def loss(prediction: Any, seen: dict[str, Any]) -> Any:
        level = jnp.ones_like(prediction)[..., None]
        arrays = {name: array[..., None] for name, array in seen["arrays"].items()}
        return guidance.loss(GuidedBlock(prediction[..., None], seen["target"][..., None], seen["coordinates"], arrays,
                                         seen["scale"] * level, seen["offset"] * level, axes, seen["beside"]))

    return jax.jit(jax.value_and_grad(loss))

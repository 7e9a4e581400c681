"""What the networks of a part are fitted to: the voxels of a group, how errors count, and where points are drawn."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import Layout
from microfield.methods.base import Context
from microfield.methods.coordinate.mapping import Mapping, fit_mapping
from microfield.methods.sincs.decoder import channels_of
from microfield.methods.sincs.design import Design, Recipe
from microfield.methods.sincs.published import EncodedTarget
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.sampling import Target
from microfield.saliency import FLOOR, structure_map


class Targets:
    """The targets of all groups of a part.

    Parameters
    ----------
    block : array
        Values of the part.
    layout : Layout
    recipe : Recipe
    context : Context
    """

    def __init__(self, block: npt.NDArray[Any], layout: Layout, recipe: Recipe, context: Context) -> None:
        self.block, self.layout, self.recipe, self.context = block, layout, recipe, context
        moved = np.moveaxis(block, layout.channel_axes, range(len(layout.channel_axes))).reshape(layout.channels, -1)
        self.mapping: Mapping = fit_mapping(list(moved), context.unit)

    def of(self, design: Design, group: int) -> Target:
        """What the network of a group is fitted to, on the coordinates of a group of full extents."""
        full = self.layout.with_shape(design.groups.extents)
        box = design.groups.box(group)
        channels = channels_of(self.layout, box, full)
        relative = self.mapping.scale / self.context.unit
        typical = np.sqrt(np.mean(relative[relative > 0] ** 2))
        weight = (relative / typical) ** 2 * self.context.channel_weights / self.context.channel_weights.mean()
        probability = None if self._drawn_from is None else np.asarray(self._drawn_from[box], np.float64)
        return (EncodedTarget if self.recipe.paper else Target)(
            CoordinateMap(full, design.output_axes), _padded(self.block[box], full.shape), self.mapping.scale[channels],
            self.mapping.offset[channels], weight[channels].astype(np.float32), None,
            _present(self.block[box].shape, full.shape, probability),
        )

    @cached_property
    def _drawn_from(self) -> npt.NDArray[np.float32] | None:
        """Relative frequency with which voxels are drawn: what the user says matters, else the structure of the image, with a floor
        for the rest; None where all are drawn equally often.
        """
        weights = self.context.objective.weights
        if weights is None and self.recipe.sampling == "structure":
            weights = structure_map(self.block, self.layout)
        if weights is None or weights.max() == weights.min():
            return None
        return weights + np.float32(FLOOR / (1 - FLOOR) * weights.mean(dtype=np.float64))


def _padded(values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A group at the border, its last voxels repeated up to full extents; those are never drawn."""
    if values.shape == shape:
        return values
    return np.pad(values, [(0, n - m) for n, m in zip(shape, values.shape, strict=True)], mode="edge")


def _present(extents: tuple[int, ...], shape: tuple[int, ...], probability: npt.NDArray[np.float64] | None,
             ) -> npt.NDArray[np.float64] | None:
    """Frequencies of the voxels of a group in an array of full extents: 0 for those that are not there."""
    if extents == shape:
        return probability
    out = np.zeros(shape)
    out[tuple(slice(0, n) for n in extents)] = 1.0 if probability is None else probability
    return out

"""How many groups a part gets, and the network that all of them share the shape of, under a byte limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microfield.image import Layout
from microfield.methods.coordinate.bitstream import Shape
from microfield.methods.coordinate.mapping import Mapping
from microfield.methods.sincs.bitstream import Head, inputs_of
from microfield.methods.sincs.grouping import Groups, grouped, undivided
from microfield.methods.sincs.published import LAYERS
from microfield.nn.coordinates import CoordinateMap

DEPTH_WEIGHTS = (40, 80, 160, 320)
"""A network has one sine layer, and one more above each of these numbers of weights."""

LEAST_WIDTH, MAX_WIDTH = 4, 1024
"""Width of the layers."""

MAX_RECTIFIED_WIDTH = 448
"""Width of layers of rectified sums, whose sums are exact up to 512 terms."""

COARSE_WIDTHS, FINE_STEP, COARSE_STEP = 32, 2, 4
"""From this width on widths are multiples of 4; below, a tiny network must use every byte."""

WEIGHTS_PER_GROUP = 4000
"""Where nobody says how many groups there are, each gets about so many weights."""

USUAL_GROUPS = 32
"""Groups of a part at most, where nobody says how many."""

RESIDUAL_SHARE = 0.7
"""Planned bits of a weight that is coded against another, in relation to one that is not."""

BYTES_PER_GROUP = 6
"""What a group takes beside its weights: its length, its tables and the end of its coder."""

MOST_OUTPUTS = 64
"""Axes do not become outputs where the network would have more of them."""


@dataclass(frozen=True)
class Recipe:
    """Settings that come from the method's options; 0 and ``"auto"`` mean that the encoder chooses."""

    grouping: str = "auto"
    groups: int = 0
    chain: int = 64
    sampling: str = "uniform"
    reset: str = "none"
    transfer: bool = True
    residual: bool = True
    pull: float = 1.0
    early: bool = True
    frequency: float = 0.0
    depth: int = 0
    bits_per_weight: float = 7.0
    optimiser: str = "soap"
    paper: bool = False


@dataclass(frozen=True)
class Design:
    """The groups of a part, which of its axes are outputs, and the shape of every group's network."""

    groups: Groups
    output_axes: str
    shape: Shape


def smallest_share(n: int, recipe: Recipe) -> float:
    """Part of the bytes of all groups that the first one gets."""
    return 1 / (1 + (n - 1) * (RESIDUAL_SHARE if recipe.residual else 1.0))


def designed(layout: Layout, recipe: Recipe, mapping: Mapping, limit: int) -> Design | None:
    """Groups and networks that fit ``limit`` bytes at the planned bits per weight; None where no network does.

    There are fewer groups than asked for where their networks would become too small.
    """
    single = _with_groups(layout, recipe, mapping, limit, undivided(layout.shape))
    if single is None:
        return None
    wanted = recipe.groups or int(np.clip(8 * limit / recipe.bits_per_weight / RESIDUAL_SHARE / WEIGHTS_PER_GROUP, 1, USUAL_GROUPS))
    while wanted > 1:
        groups = grouped(layout, recipe.grouping, wanted)
        found = _with_groups(layout, recipe, mapping, limit, groups) if groups.n > 1 else None
        if found is not None:
            return found
        wanted //= 2
    return single


def _with_groups(layout: Layout, recipe: Recipe, mapping: Mapping, limit: int, groups: Groups) -> Design | None:
    """The widest networks of these groups that fit; None where none do."""
    full = layout.with_shape(groups.extents)
    output_axes = _output_axes(full)
    coordinates = CoordinateMap(full, output_axes)
    inputs, outputs = inputs_of(coordinates, recipe.paper), coordinates.n_outputs
    smallest = Shape(inputs, LEAST_WIDTH, 1, outputs)
    head = Head(smallest, output_axes, mapping, groups, (None,) * groups.n, (0,) * len(smallest.group_sizes))
    room = limit - len(head.pack(layout)) - BYTES_PER_GROUP * groups.n
    weights = 8 * room / recipe.bits_per_weight * smallest_share(groups.n, recipe)
    if weights < smallest.n_weights / 2 or not coordinates.inputs:
        return None
    depth = recipe.depth or LAYERS if recipe.paper else recipe.depth or 1 + int(np.searchsorted(DEPTH_WEIGHTS, weights))
    width = LEAST_WIDTH
    while width < (MAX_RECTIFIED_WIDTH if recipe.paper else MAX_WIDTH):
        wider = width + (COARSE_STEP if width >= COARSE_WIDTHS else FINE_STEP)
        if Shape(inputs, wider, depth, outputs).n_weights > weights:
            break
        width = wider
    return Design(groups, output_axes, Shape(inputs, width, depth, outputs))


def _output_axes(layout: Layout) -> str:
    """Axes of a group that are outputs of its network: colours, and channels where there are not too many."""
    sizes = dict(zip(layout.axes, layout.shape, strict=True))
    found = "S" if "S" in sizes else ""
    if sizes.get("C", 1) > 1 and sizes["C"] * sizes.get("S", 1) <= MOST_OUTPUTS:
        found += "C"
    return "".join(a for a in layout.axes if a in found)

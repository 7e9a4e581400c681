"""From fitted weights to the bytes of a part within a byte limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.image import CHANNELS, Layout
from microfield.methods.coordinate.bitstream import Shape
from microfield.methods.coordinate.mapping import Mapping
from microfield.methods.sincs import ancestry
from microfield.methods.sincs.ancestor import Ancestor
from microfield.methods.sincs.bitstream import Head, Root, pack, tensor_extents
from microfield.methods.sincs.design import Design, Recipe
from microfield.methods.sincs.grouping import undivided
from microfield.methods.sincs.quantiser import Forest, StepSearch, Tensors
from microfield.nn.coordinates import CoordinateMap

FILLED = 0.98
"""A part that takes less than this share of its limit gains nothing from more bytes."""


@dataclass(frozen=True)
class State:
    """A warm start: the design of a part and the fitted weights of its groups."""

    design: Design
    tensors: tuple[Tensors, ...]
    relative: npt.NDArray[np.float64]
    ancestors: ancestry.Ancestors


class Coded(NamedTuple):
    """Bytes of a part, a warm start (None for a part of constants), whether more bytes would not help, whether the part builds on
    its parent, and what the deadline made the encoder leave out.
    """

    data: bytes
    state: State | None
    exhausted: bool
    continued: bool = False
    shortened: tuple[str, ...] = ()


@dataclass(frozen=True)
class Coder:
    """Codes the fitted groups of a part.

    Attributes
    ----------
    layout : Layout
    mapping : Mapping
    recipe : Recipe
    root : Root
        What the part builds on.
    before : Ancestor, optional
        The network that roots are differences to; None where the part builds on nothing.
    """

    layout: Layout
    mapping: Mapping
    recipe: Recipe
    root: Root = Root.NOTHING
    before: Ancestor | None = None

    def forest(self, design: Design, tensors: Sequence[Tensors], ancestors: ancestry.Ancestors) -> Forest:
        """The weights of groups and what they are coded against."""
        return Forest(tensors, ancestors, lambda codes: self._base(design, codes), not self.recipe.residual)

    def _base(self, design: Design, codes: Sequence[int]) -> list[npt.NDArray[np.int64]]:
        if self.before is None:
            return [np.zeros(size, np.int64) for size in tensor_extents(design.shape)]
        return self.before.predicted(codes)

    def head(self, design: Design, ancestors: ancestry.Ancestors, steps: Sequence[int]) -> Head:
        """The head of the part."""
        coded = ancestors if self.recipe.residual else (None,) * len(ancestors)
        return Head(design.shape, design.output_axes, self.mapping, design.groups, coded, tuple(steps),
                    rectified=self.recipe.paper, root=self.root)

    def search(self, state: State) -> StepSearch:
        """The search for the finest quantiser steps that fit a limit."""
        design = state.design

        def size(codes: Sequence[int], weights: Sequence[bytes]) -> int:
            return len(pack(self.head(design, state.ancestors, codes), self.layout, weights))

        around = size((0,) * len(tensor_extents(design.shape)), [b""] * design.groups.n)
        return StepSearch(self.forest(design, state.tensors, state.ancestors), state.relative, size, around)

    def code(self, limit: int, state: State) -> Coded:
        """Quantise fitted weights to the limit and code them; a part of constants where they do not fit."""
        found = self.search(state).search(limit)
        if found is None:
            return Coded(self.constant(), None, False)
        data = pack(self.head(state.design, state.ancestors, found[0]), self.layout, found[1])
        return Coded(data, state, len(data) < FILLED * limit, self.root is Root.PART)

    def constant(self) -> bytes:
        """A part of one value per channel."""
        output_axes = "".join(a for a in self.layout.axes if a in CHANNELS)
        outputs = CoordinateMap(self.layout, output_axes).n_outputs
        return Head(Shape(0, 0, 0, outputs), output_axes, self.mapping, undivided(self.layout.shape)).pack(self.layout)

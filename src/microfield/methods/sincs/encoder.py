"""Fit the groups of a part one after another, each from its ancestor, and code them into a byte limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.weights import step_size
from microfield.image import Layout
from microfield.methods.base import Context
from microfield.methods.sincs import ancestry
from microfield.methods.sincs.ancestor import Ancestor
from microfield.methods.sincs.bitstream import Root
from microfield.methods.sincs.coded import Coded, Coder, State
from microfield.methods.sincs.decoder import SincsDecoder
from microfield.methods.sincs.design import Design, Recipe, designed, smallest_share
from microfield.methods.sincs.fits import TUNING_SHARE, TUNING_START, WARM_SHARE, Fits, FitsInTurn
from microfield.methods.sincs.targets import Targets
from microfield.methods.sincs.transfer import quantiser_of, to_params, to_tensors, transferred
from microfield.nn.fit import Hooks, fit
from microfield.nn.network import Params

REUSABLE = (0.4, 1.25)
"""Fitted groups are tuned rather than fitted anew where the design for the new limit has from 0.4 to 1.25 times their weights."""


class PartEncoder:
    """Encodes one part; holds what several attempts at it share.

    Parameters
    ----------
    block : array
        Values of the part.
    layout : Layout
    recipe : Recipe
    context : Context
    ancestor : Ancestor, optional
        What the part may build on where it has no parent to build on.
    """

    def __init__(self, block: npt.NDArray[Any], layout: Layout, recipe: Recipe, context: Context,
                 ancestor: Ancestor | None = None) -> None:
        self.block, self.layout, self.recipe, self.context = block, layout, recipe, context
        self.ancestor = ancestor
        self.targets = Targets(block, layout, recipe, context)
        self.use(Root.NOTHING, None)

    def use(self, root: Root, before: Ancestor | None) -> None:
        """Let the part build on this network."""
        self.coder = Coder(self.layout, self.targets.mapping, self.recipe, root, before)
        self.fits = Fits(self.coder, self.context)

    def encode(self, limit: int, state: State | None = None) -> Coded:
        """Encode into at most ``limit`` bytes; ``state`` of an earlier attempt is tuned where that is enough."""
        mapping = self.targets.mapping
        constant = not np.any(mapping.maximum > mapping.minimum)
        design = None if constant else designed(self.layout, self.recipe, mapping, limit)
        if design is None:
            return Coded(self.coder.constant(), None, constant)
        root, before = self._usable(design)
        if before is not None:
            design = replace(design, shape=before.shape)
        if state is not None and before is not None and before.shape != state.design.shape:
            # What the part builds on came out otherwise this time.
            self.use(Root.NOTHING, None)
        else:
            self.use(root, before)
        if state is not None and self.context.reuse:
            return self._coded(limit, state)
        if state is not None:
            fewest, most = (factor * state.design.shape.n_weights * state.design.groups.n for factor in REUSABLE)
            if fewest <= design.shape.n_weights * design.groups.n <= most:
                return self._coded(limit, self._tuned(limit, state))
            self.use(root, before)
        state = self._fitted(limit, design)
        if design.groups.n > 1:
            state = self._tuned(limit, state)
        return self._coded(limit, state)

    def _coded(self, limit: int, state: State) -> Coded:
        return self.coder.code(limit, state)._replace(shortened=tuple(sorted(self.fits.shortened)))

    def _usable(self, design: Design) -> tuple[Root, Ancestor | None]:
        """What the part may build on: the first group of its parent, else the ancestor, where that is about as large as the limit
        asks for.
        """
        parent = self.context.parent
        root, found = Root.FILE, self.ancestor
        if parent is not None and isinstance(parent.decoder, SincsDecoder) and parent.decoder.head.shape.depth:
            root, found = Root.PART, Ancestor.of(parent.decoder.head, parent.decoder.weights(0))
        if found is None or not self.recipe.transfer or not self.recipe.residual:
            return Root.NOTHING, None
        shape, wanted = found.shape, design.shape
        alike = (shape.inputs, shape.outputs, shape.depth) == (wanted.inputs, wanted.outputs, wanted.depth)
        alike &= found.rectified == self.recipe.paper
        alike &= REUSABLE[0] <= shape.n_weights / wanted.n_weights <= 1 / REUSABLE[0]
        return (root, found) if alike else (Root.NOTHING, None)

    def _fitted(self, limit: int, design: Design) -> State:
        """All groups fitted, each from its ancestor, with the quantiser that the first one found."""
        ancestors = self._ancestors(design)
        order = ancestry.order(ancestors)
        first = self.targets.of(design, order[0])
        frequency = self.fits.frequency(design, first)
        drawn = self.fits.initial(design, frequency)
        share = smallest_share(design.groups.n, self.recipe)
        found = FitsInTurn(self.fits, design, first, limit if design.groups.n == 1 else int(limit * share))
        fitted: dict[int, Params] = {}
        for done, group in enumerate(order):
            target = first if not done else self.targets.of(design, group)
            fitted[group] = found.fit(target, self._begin(fitted, ancestors[group], drawn), (done, design.groups.n))
        tensors = tuple(to_tensors(fitted[g], design.shape) for g in range(design.groups.n))
        return State(design, tensors, found.relative, ancestors)

    def _begin(self, fitted: dict[int, Params], above: int | None, drawn: Params) -> tuple[Params, Params | None]:
        """Where the fit of a group begins, and what it is held near."""
        before = fitted[above] if above is not None else None
        if before is None and self.coder.before is not None:
            before = to_params(self.coder.before.values(), self.recipe.paper)
        if before is None or not self.recipe.transfer:
            return drawn, None
        return transferred(before, drawn, self.recipe.reset), before

    def _ancestors(self, design: Design) -> ancestry.Ancestors:
        """Which group builds on which."""
        boxes = [design.groups.box(g) for g in range(design.groups.n)]
        span = float(np.ptp(self.block)) or 1.0
        signatures = [ancestry.signature(self.block[box].astype(np.float64) / span) for box in boxes]
        return ancestry.chosen(signatures, self.recipe.chain, self.recipe.grouping)

    def _tuned(self, limit: int, state: State) -> State:
        """The groups after a short pass with the quantiser steps that fit the limit."""
        search = self.coder.search(state).search(limit)
        if search is None:
            return state
        fits, design, n = self.fits, state.design, state.design.groups.n
        quantiser = quantiser_of([float(step_size(c)) for c in search[0]], design.shape.depth, self.recipe.paper)
        share = TUNING_SHARE if n > 1 else WARM_SHARE / 2
        # Where nothing was fitted before it, all of the time is for this pass.
        fits.spent = max(fits.spent, fits.work(design) - n * share)
        tuned: dict[int, Params] = {}
        for done, group in enumerate(ancestry.order(state.ancestors)):
            target, begin = self.targets.of(design, group), to_params(state.tensors[group], self.recipe.paper)
            above = state.ancestors[group]
            # A root is held near itself: what builds on it was fitted near where it was.
            pull = fits.pull(target, begin, begin if above is None else tuned[above], quantiser) if n > 1 else None
            schedule = fits.schedule(design, share, TUNING_START, quantise_at=(0.0,), learn_frequency=False)
            tuned[group] = fit(target, begin, fits.optimiser()[0], schedule, objective=self.context.objective, pull=pull,
                               hooks=Hooks(lambda _: quantiser, fits.progress(done, n, "tuning"))).params
        return replace(state, tensors=tuple(to_tensors(tuned[g], design.shape) for g in range(n)))

"""A prior and a network fitted to what it lacks: the quality is a number of bytes, of which the prior takes a share.

As in the INIF paper (Dai et al. 2024, "codec prior"), where HEVC takes 90 % of the bits. The prior alone with all the bytes is
always tried, too, and makes the file where the two together are no better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from microfield.coding.varint import encode_one
from microfield.errors import BudgetError
from microfield.image import Layout
from microfield.methods import get_method
from microfield.methods.base import Context, Encoded, RateControl
from microfield.methods.hybrid.decoder import corrected, opened_residual, residual_layout
from microfield.methods.hybrid.filtered import decoded, plain_head, with_kept
from microfield.methods.hybrid.head import Head
from microfield.methods.hybrid.recipe import Recipe
from microfield.methods.hybrid.units import NAMES, SLICE, Units, finest
from microfield.methods.hybrid.volumes import Array, Doubles, block_of, channel_errors, frames_of, frames_shape

SHARES = (0.97, 0.9, 0.75)
"""Shares of the prior that are tried where none is given."""
MAP_SHARE = 0.002
"""The map of units takes at most this share of the bytes, unless the user says what units there are."""
LESS_EFFORT = 3
"""The network is fitted with so many steps less of effort than a whole image would be: it has a tenth of the bytes."""
PLAIN_TIME = 0.25
"""Share of the time left that the prior alone may take."""


@dataclass(frozen=True)
class State:
    """A warm start: the share that was best, and what the network was fitted to; None where the prior alone was."""

    share: float | None
    network: Any = None


def encode(recipe: Recipe, block: Array, layout: Layout, limit: int, context: Context, state: Any) -> Encoded:
    """Code the block in at most ``limit`` bytes, and measure its error.

    Raises
    ------
    BudgetError
        The prior takes more than all of them.
    """
    search = context.rate_control
    assert search is not None
    known = state if isinstance(state, State) and context.reuse else None
    plain: Encoded | None = None
    missing = ""
    try:
        plain = _alone(recipe, search, block, layout, limit, context)
    except BudgetError as refused:
        missing = str(refused)
    shares: tuple[float, ...] = (recipe.share,) if recipe.share else SHARES
    if known is not None:
        shares = () if known.share is None else (known.share,)
    found = [] if plain is None else [plain]
    for i, share in enumerate(shares):
        own = replace(context, deadline=context.deadline.share(1 / (len(shares) - i)))
        warm = state.network if isinstance(state, State) else None
        try:
            found.append(_Together(recipe, block, layout, own).encode(search, limit, share, warm))
        except BudgetError as refused:
            missing = missing or str(refused)
    if not found:
        raise BudgetError(f"the prior {recipe.prior.name} cannot reach its share of {limit} bytes: {missing} "
                          f"Ask for a larger file, or take another prior.")
    worth = context.channel_weights / context.unit**2
    return min(found, key=lambda one: float(np.mean(worth * one.measured)))


def _alone(recipe: Recipe, search: RateControl, block: Array, layout: Layout, limit: int, context: Context) -> Encoded:
    """The prior with all the bytes."""
    head = plain_head(recipe).pack()
    own = replace(context, measure=True, reuse=False, deadline=context.deadline.share(PLAIN_TIME))
    coded = search.to_size(recipe.prior, block, layout, limit - len(head), own)
    return replace(coded, sections=(head + coded.sections[0],), state=State(None), scores={"corrected": 0.0})


class _Together:
    """Encodes a part as a prior and a network."""

    def __init__(self, recipe: Recipe, block: Array, layout: Layout, context: Context) -> None:
        self.recipe, self.block, self.layout = recipe, block, layout
        self.context = replace(context, measure=True)

    def encode(self, search: RateControl, limit: int, share: float, warm: Any) -> Encoded:
        """The part in at most ``limit`` bytes, the prior in its share of them; BudgetError where it cannot reach that."""
        half = replace(self.context, reuse=False, deadline=self.context.deadline.share(0.5))
        prior = search.to_size(self.recipe.prior, self.block, self.layout, int(share * limit), half)
        plain, scale = decoded(self.recipe, prior, self.layout)
        original = frames_of(self.block, self.layout)
        method = get_method(self.recipe.residual).with_options({})
        units = self._units(limit)
        blank = Head(self.recipe.prior.name, self.recipe.prior.bitstream_version, method.name,
                     part_version=method.bitstream_version, units=units, kept=np.ones(units.size, np.bool_))
        room = limit - prior.payload - len(blank.pack()) - len(encode_one(limit)) + 1
        residual = block_of((original.astype(np.float64) - plain).astype(np.float32), self.layout)
        layout = residual_layout(self.layout)
        if room < method.smallest(layout):
            raise BudgetError(f"{room} bytes are left for the network.")
        fit = replace(self.context, effort=max(0, self.context.effort - LESS_EFFORT))
        coded = search.to_size(method, residual, layout, room, fit, warm)
        head = replace(blank, part=coded.sections[0])
        out = corrected(plain, self.layout, head, scale, opened_residual(self.layout, head))
        head, corrects = with_kept(self.recipe, head, out, plain, original, units)
        section = head.pack() + prior.sections[0]
        errors: Doubles = channel_errors(out, original)
        return Encoded((section,), errors, State(share, coded.state), scores={"corrected": corrects},
                       shortened=prior.shortened + coded.shortened)

    def _units(self, limit: int) -> Units:
        """The units that the user asks for; else slices, or the finest ones whose map takes few of the bytes."""
        shape = frames_shape(self.layout)
        if self.recipe.units != "auto":
            return Units(NAMES[self.recipe.units], shape)
        return finest(shape, MAP_SHARE * limit) if self.recipe.criterion.by_error else Units(SLICE, shape)

"""A prior and a filter: the quality is the prior's; the filter takes the few bytes that were decided on, and is fitted last."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from microfield.image import Layout
from microfield.methods.base import Context, Encoded, PartData
from microfield.methods.hybrid.decoder import corrected, opened_prior, whole
from microfield.methods.hybrid.design import Design, designed
from microfield.methods.hybrid.filters import KINDS, Filter, fitted
from microfield.methods.hybrid.head import NONE, Head
from microfield.methods.hybrid.recipe import Recipe
from microfield.methods.hybrid.units import Units
from microfield.methods.hybrid.volumes import Array, Scale, channel_errors, frames_of, volume_shape

MOVED = 60.0
"""How far the quality may move before the filter is decided on anew."""
DECISIONS = 3
"""How often that happens at most."""
STRENGTHS = (1.0, 1.33, 1.66, 1.95)
"""Strengths of the filters that a criterion other than the squared error chooses from."""
LEAST_SPAN = 1e-30
"""Ranges of channels count as no smaller than this where errors are divided by them."""
LEFT_OUT = "the correction of the prior"
"""What a deadline may make the encoder leave out."""


@dataclass(frozen=True)
class Attempt:
    """The state of an encoded part.

    Attributes
    ----------
    prior : Encoded
        By the prior.
    design : Design, optional
        None before one was made.
    quality : float
        At which that was.
    decisions : int
        How often.
    seconds : float
        How long the last one took.
    plain : bool
        Whether this attempt leaves the prior as it is, whatever the design.
    shortened : tuple of str
        What the deadline made the encoder leave out.
    """

    prior: Encoded
    design: Design | None = None
    quality: float = 0.0
    decisions: int = 0
    seconds: float = 0.0
    plain: bool = False
    shortened: tuple[str, ...] = ()


def encode(recipe: Recipe, block: Array, layout: Layout, quality: float, context: Context, state: Any) -> Encoded:
    """Code the block at a setting of the prior's knob; the error is left to `finish`."""
    before = state if isinstance(state, Attempt) else None
    begin = time.monotonic()
    coded = recipe.prior.encode(block, layout, quality, replace(context, measure=False), before.prior.state if before else None)
    now = replace(before, prior=coded, plain=False) if before else Attempt(coded)
    if coded.exhausted or not quality:
        # The coarsest setting says how small a file can be: nothing is added to it.
        now = replace(now, plain=True)
    elif now.design is None or (abs(quality - now.quality) > MOVED and now.decisions < DECISIONS and not context.reuse):
        now = _decided(recipe, now, block, layout, quality, context, time.monotonic() - begin)
    head = plain_head(recipe) if now.plain or now.design is None else now.design.head
    return Encoded((head.pack() + coded.sections[0],), None, now, coded.exhausted, shortened=coded.shortened + now.shortened)


def plain_head(recipe: Recipe) -> Head:
    """The head of a part that is its prior alone."""
    return Head(recipe.prior.name, recipe.prior.bitstream_version)


def _decided(recipe: Recipe, now: Attempt, block: Array, layout: Layout, quality: float, context: Context, seconds: float,
             ) -> Attempt:
    """The attempt with a new design, or without one where an attempt of the prior took so long that there is no time for it."""
    if context.deadline.remaining < 3 * seconds:
        return replace(now, shortened=(LEFT_OUT,), plain=now.design is None)
    begin = time.monotonic()
    prior = recipe.prior.finish(now.prior, block, layout, replace(context, measure=False))
    plain, scale = decoded(recipe, prior, layout)
    design = designed(recipe, plain, frames_of(block, layout), layout, scale, plain_head(recipe), prior.payload, context)
    return replace(now, design=design, quality=quality, decisions=now.decisions + 1, seconds=time.monotonic() - begin)


def decoded(recipe: Recipe, prior: Encoded, layout: Layout) -> tuple[Array, Scale]:
    """Frames of a prior as it decodes, and its scale."""
    decoder, scale = opened_prior(layout, plain_head(recipe), prior.sections[0], PartData(()))
    return frames_of(decoder.read(whole(layout)), layout), scale


def finish(recipe: Recipe, encoded: Encoded, block: Array, layout: Layout, context: Context) -> Encoded:
    """The same part with its filter fitted to all of it, and with its error."""
    now: Attempt = encoded.state
    prior = recipe.prior.finish(now.prior, block, layout, context)
    shortened = prior.shortened + now.shortened
    design = None if now.plain or now.design is None or not now.design.corrects else now.design
    if design is not None and context.deadline.remaining < now.seconds:
        design, shortened = None, (*shortened, LEFT_OUT)
    if design is None:
        section = plain_head(recipe).pack() + prior.sections[0]
        return replace(encoded, sections=(section,), square_error=prior.square_error, scores={"corrected": 0.0},
                       shortened=shortened)
    context.progress(0.9, "correct the prior")
    plain, scale = decoded(recipe, prior, layout)
    original = frames_of(block, layout)
    filters = _filters(recipe, design, plain, original, layout, scale)
    head, out, share = _strongest(recipe, replace(design.head, filters=filters), plain, original, layout, scale)
    section = head.pack() + prior.sections[0]
    return replace(encoded, sections=(section,), square_error=channel_errors(out, original), scores={"corrected": share},
                   shortened=shortened)


def _strongest(recipe: Recipe, head: Head, plain: Array, original: Array, layout: Layout, scale: Scale,
               ) -> tuple[Head, Array, float]:
    """The head with the filters as strong as the criterion likes best, what the part decodes to, and the share that is corrected.

    As fitted, the filters make the squared error least; up to twice as strong, none larger than the prior's. A criterion other than
    the squared error chooses among such strengths and the prior alone; the squared error decides between equal scores.
    """
    judge, span = recipe.criterion, np.maximum(scale.high - scale.low, LEAST_SPAN)
    found: list[tuple[float, float, Head, Array, float]] = []

    def judged(kept: Head, out: Array, share: float) -> None:
        error = float(np.sum(channel_errors(out, original) / span**2))
        found.append((0.0 if judge.by_error else judge.of_all(original, out), -error, kept, out, share))

    for strength in (1.0,) if judge.by_error else STRENGTHS:
        stronger = replace(head, filters=tuple(f.times(strength) for f in head.filters))
        out = corrected(plain, layout, stronger, scale)
        kept, share = with_kept(recipe, stronger, out, plain, original, head.units)
        judged(kept, out, share)
    if not judge.by_error:
        judged(Head(head.prior, head.version, NONE), plain, 0.0)
    _, _, chosen, out, share = max(found, key=lambda one: one[:2])
    return chosen, out, share


def _filters(recipe: Recipe, design: Design, plain: Array, original: Array, layout: Layout, scale: Scale) -> tuple[Filter, ...]:
    """The filters of all channels, of the kinds that were decided on, fitted to the whole part."""
    found, shape = [Filter()] * layout.channels, volume_shape(layout)
    for channel in scale.coded:
        kind = design.kinds[channel]
        if kind != KINDS[0]:
            volume = scale.stretched(plain[channel], channel).reshape(shape)
            lacking = scale.stretched(original[channel], channel).reshape(shape) - volume
            best, removed = fitted(volume, lacking, recipe.source if kind.network else None).best(kind)
            found[channel] = best if removed > 0 else Filter()
    return tuple(found)


def with_kept(recipe: Recipe, head: Head, out: Array, plain: Array, original: Array, units: Units | None) -> tuple[Head, float]:
    """The head with its map, and the share of the units that are corrected; what is not kept is set back in ``out``.

    Without units all of it is kept.
    """
    if units is None:
        return replace(head, units=None), 1.0
    kept = recipe.criterion.kept(original, out, plain, units)
    units.put(out, plain, kept)
    if not kept.any():
        return Head(head.prior, head.version, NONE), 0.0
    share = float(np.mean(kept))
    return replace(head, units=None if kept.all() else units, kept=kept), share

"""The method `field`: what the encoder decides, the sections of a part, and the seam."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError, InputError
from microfield.image import Layout
from microfield.methods import get_method
from microfield.methods.base import Context, Encoded, KnobTraits, Method, PartData, Usable
from microfield.methods.field import channel_search, finishing, guiding, prior, transform_search
from microfield.methods.field.attempt import Attempt, Prepared, coded_by
from microfield.methods.field.channels import measured
from microfield.methods.field.decoder import FieldDecoder, contexts_of, refined, refinement_of, restored
from microfield.methods.field.film_trial import as_film, predicted_or_not, usual
from microfield.methods.field.groups import Groups, extents_of, gathered, times
from microfield.methods.field.head import LARGEST_STEP_CODE, LATEST, PRIORS, Head, step_of
from microfield.methods.field.importance import END, Importance, of_coefficients
from microfield.methods.field.lifting import Floats
from microfield.methods.field.prior import FINISH, PriorAttempt
from microfield.methods.field.quantise import Worth
from microfield.methods.field.schedules import NAMES, OCTAVES
from microfield.methods.field.sparse import Sparse
from microfield.methods.field.transform_search import Trial
from microfield.methods.field.tuning import Seen, tuned
from microfield.methods.options import option
from microfield.models import named
from microfield.threads import single_threaded_blas

FIRST = 300.0
"""The quality where a search begins that nothing is known for."""
FILM = "film"
"""The choice of the option `transform` that predicts time points from one another."""
TRIALS_FROM = 3
"""The effort from which transforms are tried."""
MOVED = 60.0
"""How far the quality may move before what was decided on a piece of the part is decided anew."""
FILM_MOVED = 100.0
"""The same for films, whose first attempt takes far fewer bytes than asked: the second is far off, too."""
DECISIONS = 3
"""How often that happens at most."""
TUNED = 15.0
"""How far the quality may move before the context network is fitted anew."""
TUNINGS = 3
"""How often that happens at most."""
TUNED_FROM = 2500
"""Bytes from which that may pay."""
GUESSED = 1 << 24
"""The first quality is guessed from all of a part of at most so many voxels, else from a piece."""
GUIDING_TIME = 0.5
"""The share of the time left that the rounds of a guidance may take at one quality."""
TRIALS_TIME = 0.35
"""The share of the time left, where there is a limit, that trials of transforms and alignment may take."""
LEAST_RDO = 0.05
"""Squared steps of error that a bit is worth, at least, where a guidance is weighed."""
GUIDED, GUIDINGS = 40.0, 2
"""How far the quality may move before what a guidance wants is found anew, and how often it is found at most: sizes jump with it,
which misleads a search."""


@dataclass(frozen=True)
class FieldOptions:
    """Options of the method."""

    transform: str = option("auto", "which axes the wavelet splits at which level; film: time points predicted from one another; "
                            "auto tries all, and aligning, from effort 3",
                            choices=("auto", FILM, *NAMES))
    refine: bool = option(True, "add what a network expects between the reconstruction and the original, and filter the "
                                "result with weights fitted to the image")
    nets: str = option("all", "which networks: all, or those trained on one half of the training images",
                       choices=("all", "a", "b"))
    prior: str = option("none", "a codec that makes the values in the place of the wavelet, refined and filtered as ours are: for "
                                "sharp images; its files need the extra codecs to be read", choices=("none", *PRIORS))
    emphasis: float = option(2.0, "a squared error counts its saliency to this power", low=0.5, high=4.0)
    rdo: float = option(0.1, "squared quantiser steps of error that a bit is worth", low=0.0, high=0.4)


class FieldMethod(Method):
    """The lattice of wavelet levels. Quality runs from 0, a step of twice a channel's range, to 1000, 2**-16 of it."""

    name: ClassVar[str] = "field"
    summary: ClassVar[str] = "multi-resolution lattice with neural contexts and neural refinement"
    bitstream_version: ClassVar[int] = LATEST
    accepts: ClassVar[frozenset[Usable]] = frozenset({"channel_weights", "saliency", "guide"})
    options: FieldOptions
    Options: ClassVar[type[Any]] = FieldOptions

    @property
    def quality(self) -> KnobTraits:
        """The logarithm of the quantiser step. A search begins at a step of some 6 % of the range, usual at ratios around 100."""
        if self.codec is not None:
            traits = self.codec.quality
            assert isinstance(traits, KnobTraits)
            return replace(traits, finish=FINISH)
        return KnobTraits(step=0.05, first=FIRST, slope=0.019, fills=True, learns=True, finish=1.0 if self.options.refine else 0.1)

    @property
    def codec(self) -> Method | None:
        """The method whose stream stands in the place of coefficients."""
        return None if self.options.prior == "none" else get_method(self.options.prior).with_options({})

    @property
    def usable(self) -> frozenset[Usable]:
        """A codec does not know what counts more."""
        return self.accepts if self.codec is None else self.accepts - {"saliency", "guide"}

    @property
    def needed(self) -> Mapping[str, str]:
        """What the codec needs."""
        return self.requires if self.codec is None else self.codec.requires

    def smallest(self, layout: Layout) -> int:
        """Fewest bytes of a part: a constant one."""
        return 1 + -(-layout.channels // 8) + layout.channels * layout.dtype.itemsize

    @single_threaded_blas()
    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context,
               state: Any = None) -> Encoded:
        """Code the block at ``quality`` 0..1000; the refinement is left to `finish` where the error is not asked for."""
        if self.codec is not None:
            return self._encode_prior(self.codec, block, layout, quality, context, state)
        prepared = state.prepared if isinstance(state, Attempt) else None
        step = self._step_code(quality, context)
        del state
        if prepared is None or self._outdated(prepared, quality, layout, context):
            prepared = self._prepare(block, layout, quality, context, prepared)
        head = replace(prepared.head, step=step)
        if not prepared.coefficients:
            section = head.pack(layout)
            return Encoded((section,), np.zeros(layout.channels), Attempt(prepared, head, []), True)
        contexts = contexts_of(named("contexts", self.options.nets))
        tune = context.effort >= TRIALS_FROM and not context.reuse and prepared.tunings < TUNINGS
        tune = tune and (prepared.tuned_at is None or abs(prepared.tuned_at - quality) > TUNED)
        worth = Worth(self.options.rdo, prepared.weights)
        coded, begin = None, time.monotonic()
        if tune:
            # At once, not for the next attempt: with exact costs the quantiser keeps more, and sizes would jump.
            seen = Seen(prepared.groups.size)
            coded = coded_by(prepared, worth, step, contexts, seen=seen)
            prepared = replace(prepared, found=coded.found)
            pays = len(coded.data) > TUNED_FROM
            # Fitting and coding once more take about as long as coding did, and so does the refinement.
            late = pays and context.deadline.remaining < 3 * (time.monotonic() - begin)
            found = tuned(contexts, seen) if pays and not late else None
            prepared = replace(prepared, tuned_at=quality, tunings=prepared.tunings + 1, changes=found and found[0])
            if late:
                prepared = prepared.without("the tuning of the context network")
            if found is not None:
                coded, begin = None, time.monotonic()
        if self._guides(prepared, quality, context):
            prepared = self._guided(prepared, step, block, layout, replace(context, deadline=context.deadline.share(GUIDING_TIME)))
            prepared = replace(prepared, guided_at=quality, guidings=prepared.guidings + 1)
            coded, begin = None, time.monotonic()
        if coded is None:
            coded = coded_by(prepared, worth, step, contexts, prepared.changes)
        prepared = replace(prepared, found=coded.found)
        attempt = Attempt(prepared, head, [Sparse.of(values) for values in coded.values], time.monotonic() - begin)
        if self.options.refine:
            attempt = self._with_room(attempt, len(coded.data), tune, block, layout, context)
        section, prepared = attempt.head.pack(layout) + coded.data, attempt.prepared
        encoded = Encoded((section,), None, attempt, shortened=prepared.shortened)
        return self.finish(encoded, block, layout, context) if context.measure else encoded

    def _with_room(self, attempt: Attempt, nbytes: int, anew: bool, block: npt.NDArray[Any], layout: Layout, context: Context,
                   ) -> Attempt:
        """The attempt, whose coefficients take so many bytes, with room for the filters that pay, which may be found out anew."""
        prepared, head = attempt.prepared, attempt.head
        groups, room = prepared.groups, finishing.with_room(head, prepared.groups, nbytes)
        # Finding out takes as long as finishing does, and so does the finishing that follows.
        if anew and room.filters and context.deadline.remaining > 3 * attempt.seconds:
            channels = gathered(block, layout)
            wanted = finishing.Wanted.of(channels, self._importance(context).of_channels(layout, head.channels), head, groups)
            prepared = replace(prepared, filters=finishing.paying(attempt.reconstructed(), wanted, head, groups, nbytes))
        return replace(attempt, prepared=prepared, head=finishing.with_room(head, groups, nbytes, prepared.filters))

    def _encode_prior(self, codec: Method, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any,
                      ) -> Encoded:
        """Code the block by a codec."""
        head = state.head if isinstance(state, PriorAttempt) else prior.plain_head(codec, block, layout, context, self._nets)
        if not head.channels.coded.any():
            return Encoded((replace(head, prior=None).pack(layout),), np.zeros(layout.channels), None, True)
        encoded = prior.encode(codec, head, block, layout, quality, context, state)
        return self.finish(encoded, block, layout, context) if context.measure else encoded

    @property
    def _nets(self) -> tuple[bytes, bytes]:
        """Names of the networks."""
        return named("contexts", self.options.nets), named("refinement", self.options.nets)

    def guess(self, block: npt.NDArray[Any], layout: Layout, nbytes: float, context: Context) -> float:
        """About the quality at which the block takes so many bytes, from its coefficients."""
        if self.codec is not None:
            return self.codec.guess(block, layout, nbytes, context)
        channels = gathered(block, layout)
        known = measured(channels, context.unit, context.channel_weights, context.error_unit == "noise")
        if not known.coded.any():
            return FIRST
        important = self._importance(context)
        weights = important.of_channels(layout, known)
        some = channels if channels.size <= GUESSED else channel_search.piece(channels)
        shares = weights if weights is None or channels.size <= GUESSED else channel_search.piece(weights)
        found = channel_search.quality_for(known.forward(some), 8 * nbytes / layout.size, shares)
        return important.back(found)

    @single_threaded_blas()
    def finish(self, encoded: Encoded, block: npt.NDArray[Any], layout: Layout, context: Context) -> Encoded:
        """The same part with its refinement weighed, in as many bytes, and with its error."""
        attempt = encoded.state
        if self.codec is not None and isinstance(attempt, PriorAttempt):
            return prior.finish(self.codec, encoded, attempt, block, layout, context, self.options.refine)
        if not isinstance(attempt, Attempt) or not attempt.values:
            return encoded
        channels = gathered(block, layout)
        values, groups, head = attempt.reconstructed(), attempt.prepared.groups, attempt.head
        weights = self._importance(context).of_channels(layout, head.channels)
        coefficients = encoded.sections[0][len(head.pack(layout)) :]
        # The refinement takes about as long as coding does.
        late = self.options.refine and context.deadline.remaining < attempt.seconds
        if late or not self.options.refine:
            head = replace(head, filters=())
        else:
            head = finishing.corrected(values, finishing.Wanted.of(channels, weights, head, groups), head, encoded.payload)
        error = finishing.square_error(restored(values, head, groups, layout), channels)
        left_out = (*attempt.prepared.shortened, "the refinement") if late else attempt.prepared.shortened
        return replace(encoded, sections=(head.pack(layout) + coefficients,), square_error=error, shortened=left_out)

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> FieldDecoder:
        """Open a part; nothing but its head is read yet."""
        if not 1 <= bitstream_version <= cls.bitstream_version or len(data.own) != 1:
            raise FormatError("these are not the sections of a part of field.")
        return FieldDecoder(layout, data.own[0], bitstream_version, data)

    def _importance(self, context: Context) -> Importance:
        return Importance(context.objective.weights, self.options.emphasis)

    def _step_code(self, quality: float, context: Context) -> int:
        """Code of the quantiser step: that of the quality, finer where the part's weights are large."""
        return round(self._importance(context).moved(quality) * LARGEST_STEP_CODE / END)

    def _guides(self, prepared: Prepared, quality: float, context: Context) -> bool:
        """Whether what a guidance wants is to be found, for the first time or anew."""
        if context.objective.guidance is None or prepared.guidings >= GUIDINGS or (context.reuse and prepared.guidings):
            return False
        return prepared.guided_at is None or abs(prepared.guided_at - quality) > GUIDED

    def _guided(self, prepared: Prepared, step: int, block: npt.NDArray[Any], layout: Layout, context: Context) -> Prepared:
        """The part with coefficients that a guidance wants in the place of those of the original."""
        groups, channels, rdo = prepared.groups, gathered(block, layout), self.options.rdo
        head, contexts = replace(prepared.head, step=step), contexts_of(named("contexts", self.options.nets))
        original = head.channels.forward(channels)

        def code(values: Floats) -> guiding.Coded:
            nonlocal head
            moved = replace(prepared, coefficients=groups.forward(values))
            coded = coded_by(moved, Worth(rdo, prepared.weights), step, contexts, prepared.changes)
            attempt = Attempt(replace(moved, found=coded.found), head, [Sparse.of(group) for group in coded.values])
            found = attempt.reconstructed()
            if values is original and self.options.refine:
                wanted = finishing.Wanted.of(channels, None, head, groups)
                head = finishing.corrected(found, wanted, finishing.with_room(head, groups, len(coded.data)), len(coded.data))
            else:
                found = refined(found, head)
            return guiding.Coded(len(coded.data), groups.unrolled(groups.frames(found)))

        byte_price = 8 * max(rdo, LEAST_RDO) * step_of(step) ** 2
        seen = guiding.part_of(context.objective, block, layout, head.channels)
        found = guiding.guided(original, code, seen, byte_price, guiding.ROUNDS[context.effort], context.deadline)
        prepared = replace(prepared, coefficients=groups.forward(found.values))
        return prepared.without("some rounds of the guidance") if found.late else prepared

    # -- decisions ------------------------------------------------------------------------------------------------

    def _outdated(self, prepared: Prepared, quality: float, layout: Layout, context: Context) -> bool:
        """Whether something was decided for another quality, and it is worth deciding again."""
        limit = MOVED if prepared.groups.film is None else FILM_MOVED
        moved = abs(quality - prepared.quality) > limit and prepared.decisions < DECISIONS and not context.reuse
        tried = self._tries(context) and max(prepared.groups.extents[:2]) > 1
        return moved and bool(prepared.coefficients) and (tried or layout.channels > 1)

    def _tries(self, context: Context) -> bool:
        return self.options.transform == "auto" and context.effort >= TRIALS_FROM

    def _prepare(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, before: Prepared | None,
                 ) -> Prepared:
        """Stretch, rotate and transform."""
        nets = self._nets
        channels = gathered(block, layout)
        known = measured(channels, context.unit, context.channel_weights, context.error_unit == "noise")
        coded = int(known.coded.sum())
        with np.errstate(over="ignore"):
            if not np.isfinite(known.high - known.low).all():
                raise InputError("the range of a channel is beyond what float64 holds; scale the image down.")
        name = self.options.transform if self.options.transform in NAMES else "STD"
        groups = Groups(coded, extents_of(layout), name, times(layout))
        head = Head(known, nets=nets)
        if not coded:
            return Prepared(head, groups, [], quality)
        step = step_of(self._step_code(quality, context))
        known = channel_search.with_darks(channel_search.with_rotation(known, channels, step), channels)
        values = known.forward(channels)
        weights = self._importance(context).of_channels(layout, known)
        shortened: tuple[str, ...] = ()
        if self.options.transform == FILM and groups.extents[0] > 1:
            groups = as_film(values, groups, Trial(step, contexts_of(nets[0]), weights), usual(groups.extents[0]))
        elif self._tries(context):
            for_trials = context.deadline.share(TRIALS_TIME)
            trial = Trial(step, contexts_of(nets[0]), weights, for_trials)
            was_film = before is not None and before.groups.film is not None
            arranged = transform_search.arrangement(values, groups, trial)
            network = refinement_of(nets[1]) if self.options.refine else None
            groups, meant = predicted_or_not(values, arranged, replace(trial, network=network), was_film)
            # The search goes on where what was chosen takes as many bytes, and need not decide anew there.
            quality += END / OCTAVES * math.log2(step / meant)
            shortened = ("some trials of transforms",) if for_trials.passed else ()
        head = replace(head, channels=known, transform=groups.transform, times=groups.times, shifts=groups.shifts,
                       along_time=groups.along_time, film=groups.film)
        counts = None if weights is None else of_coefficients(weights, groups)
        decisions = 1 if before is None else before.decisions + 1
        network = refinement_of(nets[1]) if self.options.refine and groups.film is not None else None
        return Prepared(head, groups, groups.forward(values), quality, decisions, weights=counts, shortened=shortened,
                        network=network)

"""What an exact copy would take: said where a lossy file is refused, or is no smaller than that."""

from __future__ import annotations

from dataclasses import replace

from microfield.errors import BudgetError
from microfield.methods import get_method
from microfield.wording import argument
from microfield.writing.budget import LOSSLESS
from microfield.writing.envelope import Envelope
from microfield.writing.job import Job
from microfield.writing.planned import exactly
from microfield.writing.request import Request

MOST_VOXELS = 1 << 22
"""Larger images are not coded for a sentence."""
SMALL_RATIO = 8
"""At ratios below this an exact copy may be no larger than what was asked for."""
EFFORT = 2
"""How much work the sentence is worth."""


def exact_size(job: Job, around: Envelope) -> int | None:
    """About the bytes of an exact copy, which more effort makes smaller; None where finding out takes too long."""
    if job.image.layout.size > MOST_VOXELS or job.context.deadline.passed or around.embedded:
        return None
    method = get_method(LOSSLESS)()
    context = replace(job.context, effort=EFFORT, progress=lambda _done, _what: None, noise=None)
    own = replace(around, header=replace(around.header, method=method.name, bitstream_version=method.bitstream_version,
                                         sections=method.sections, experimental=method.experimental), shared=(), references={})
    done = exactly(Request(method, job.parts, context), own)
    done.assembler.close()
    return done.size


def with_exact_copy(refused: BudgetError, job: Job, around: Envelope) -> BudgetError:
    """A refusal of a quality, with what an exact copy takes."""
    size = exact_size(job, around)
    return refused if size is None else BudgetError(f"{refused} That takes {size} bytes.")


def exact_note(job: Job, around: Envelope, limit: int) -> str | None:
    """What to say of a file where an exact copy by `lossless` takes at most ``limit`` bytes; None where it does not, or that is
    not known.
    """
    if limit * SMALL_RATIO < job.image.nbytes:
        return None
    size = exact_size(job, around)
    if size is None or size > limit:
        return None
    return f"an exact copy of this image takes {size} bytes, less than the budget: {argument('lossless', True)}."

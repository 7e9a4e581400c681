"""A part whose values come from a video codec instead of the wavelet: only the refinement and the filter are ours.

Block prediction from decoded neighbours along an angle is what video codecs have on sharp images, and a wavelet has not. The part
holds the codec's stream as it is and says which codec it is; what the refinement and the filter add is fitted to what it decodes.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import Layout
from microfield.methods.base import Context, Encoded, Method, PartData
from microfield.methods.field import finishing
from microfield.methods.field.channel_search import with_darks
from microfield.methods.field.channels import measured
from microfield.methods.field.decoder import decoded_by, opened, restored
from microfield.methods.field.groups import Groups, gathered
from microfield.methods.field.head import LARGEST_STEP_CODE, Head, Prior, step_of
from microfield.methods.field.lifting import Floats
from microfield.methods.field.schedules import OCTAVES

STEP_OF_ERROR = 8.0
"""The refinement takes the quantiser step for so many times the root mean square error of what the codec decodes."""
FINISH = 2.0
"""Time of finishing a part relative to an attempt, about."""


@dataclass(frozen=True)
class PriorAttempt:
    """The state of a part that a codec encoded.

    Attributes
    ----------
    head : Head
        With room for filters, its step that of no error yet.
    coded : Encoded
        By the codec.
    seconds : float
        How long that took.
    """

    head: Head
    coded: Encoded
    seconds: float


def encode(codec: Method, head: Head, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any,
           ) -> Encoded:
    """Code the block at a setting of the codec's knob; refinement and filter are left to `finish`.

    Parameters
    ----------
    codec : Method
    head : Head
        From `plain_head`, with some channel that is not constant.
    block, layout, quality, context, state
        As `Method.encode` takes them.
    """
    begin = time.monotonic()
    known = state.coded.state if isinstance(state, PriorAttempt) else None
    coded = codec.encode(block, layout, quality, replace(context, measure=False), known)
    if quality:  # The coarsest setting says how small a file can be.
        head = finishing.with_room(head, head.groups(layout), coded.payload)
    section = head.pack(layout) + coded.sections[0]
    attempt = PriorAttempt(head, coded, time.monotonic() - begin)
    return Encoded((section,), None, attempt, coded.exhausted, shortened=coded.shortened)


def plain_head(codec: Method, block: npt.NDArray[Any], layout: Layout, context: Context, nets: tuple[bytes, bytes]) -> Head:
    """The head of a part that a codec will encode, without refinement and filters."""
    channels = gathered(block, layout)
    known = measured(channels, context.unit, context.channel_weights, context.error_unit == "noise")
    if known.coded.any():
        known = with_darks(known, channels)
    return Head(known, nets=nets, prior=Prior(codec.name, codec.bitstream_version))


def finish(codec: Method, encoded: Encoded, attempt: PriorAttempt, block: npt.NDArray[Any], layout: Layout, context: Context,
           refine: bool) -> Encoded:
    """The same part, refined and filtered in no more bytes, and with its error."""
    coded = codec.finish(attempt.coded, block, layout, replace(context, measure=False))
    head, channels = attempt.head, gathered(block, layout)
    assert head.prior is not None
    values = decoded_by(opened(head.prior, layout, coded.sections[0], PartData((), trusted=True)), head, layout)
    late = refine and context.deadline.remaining < attempt.seconds
    if refine and not late:
        groups: Groups = head.groups(layout)
        wanted = finishing.Wanted.of(channels, None, head, groups)
        head = replace(head, step=step_code(values, wanted.values))
        head = finishing.corrected(values, wanted, head, encoded.payload)
    else:
        head = replace(head, filters=())
    error = finishing.square_error(restored(values, head, head.groups(layout), layout), channels)
    left_out = (*encoded.shortened, "the refinement") if late else encoded.shortened
    return replace(encoded, sections=(head.pack(layout) + coded.sections[0],), square_error=error, shortened=left_out)


def step_code(values: Floats, wanted: Floats) -> int:
    """The code of the step that the refinement takes the error of decoded values for, both (channels, batch, z, y, x)."""
    total = sum(float(np.sum(np.square(a - b), dtype=np.float64)) for a, b in zip(values, wanted, strict=True))
    step = STEP_OF_ERROR * math.sqrt(total / values.size)
    octaves = math.log2(step_of(0) / step) if step > 0 else OCTAVES
    return int(np.clip(round(octaves * LARGEST_STEP_CODE / OCTAVES), 0, LARGEST_STEP_CODE))

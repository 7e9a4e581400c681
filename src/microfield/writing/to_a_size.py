"""Parts to a size: bytes shared at equal slope, or one common setting of a knob that fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.methods.base import Encoded, Exact, KnobTraits
from microfield.writing.knob import Knob
from microfield.writing.prediction import water_level
from microfield.writing.request import Lineage, Request, Shortage, attempt_context, encode_part


def encode_to_size(request: Request, limit: int, states: Sequence[Any] | None = None) -> list[Encoded]:
    """Encode all parts into at most ``limit`` bytes together, and measure their errors.

    Methods whose quality is a byte limit get shares of equal slope; what one part leaves goes to those after it. For
    others one common quality is searched: equal quantiser steps are equal slopes.

    Raises
    ------
    Shortage
        If not even the smallest parts fit.
    """
    if isinstance(request.method.quality, KnobTraits):
        # A size needs no decoding, so the errors are measured once, when the setting is found.
        knob = Knob(request, measure=False)
        found = knob.finest(limit)
        if found is None:
            raise Shortage(request.total(knob.at(0.0)))
        return knob.finished(found.encoded)
    if isinstance(request.method.quality, Exact):
        return encode_exactly(request, limit)
    smallest = sum(request.smallest(p) for p in request.parts)
    if smallest > limit:
        raise Shortage(smallest)
    return _encode_shares(request, limit, states)


def encode_exactly(request: Request, limit: int) -> list[Encoded]:
    """Encode all parts by a method that makes exact copies; Shortage where they take more than ``limit`` bytes."""
    lineage = Lineage(request.method, request.references, request.context.shared)
    encoded: list[Encoded] = []
    for i, part in enumerate(request.parts):
        encoded.append(encode_part(request.method, part, part.read(), 0.0, attempt_context(request, i, lineage.parent(i))))
        lineage.add(i, part, encoded[-1])
    if request.total(encoded) > limit:
        raise Shortage(request.total(encoded))
    return encoded


def shares(request: Request, limit: int) -> npt.NDArray[np.float64]:
    """Bytes for every part at equal slope, the smallest possible part included: float64, summing to ``limit``."""
    floor = np.asarray([request.smallest(p) for p in request.parts], np.float64)
    room = limit - floor.sum()
    theta = water_level(request.curves, 8 * room)
    bits = np.asarray([s.bits(theta) for s in request.curves])
    if bits.sum() <= 0:
        bits = np.ones(len(bits))
    return np.asarray(floor + room * bits / bits.sum())


def _encode_shares(request: Request, limit: int, states: Sequence[Any] | None) -> list[Encoded]:
    planned = shares(request, limit)
    floor = [request.smallest(p) for p in request.parts]
    behind = np.cumsum(planned[::-1])[::-1]
    reserved = np.cumsum(floor[::-1])[::-1]
    lineage = Lineage(request.method, request.references, request.context.shared)
    done: list[Encoded] = []
    left = limit
    for i, part in enumerate(request.parts):
        last = i + 1 == len(planned)
        mine = left if last else int(left * planned[i] / behind[i])
        mine = max(floor[i], min(mine, left if last else left - int(reserved[i + 1])))
        context = attempt_context(request, i, lineage.parent(i), planned[i] / behind[i])
        state = states[i] if states else None
        done.append(encode_part(request.method, part, part.read(), request.payload(mine), context, state))
        lineage.add(i, part, done[-1])
        left -= request.size(done[-1])
    return done

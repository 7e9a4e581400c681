"""Channels in their colours, and all of them in one picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.display import Colour, Display

DEFAULT_COLOURS: tuple[Colour, ...] = ((0, 220, 90), (235, 60, 235), (70, 150, 255), (255, 200, 40), (60, 220, 220), (255, 90, 60))
"""Colours of channels whose source names none, in order and over again; green and magenta can be told apart by everybody."""


TRANSMITTED: Colour = (130, 130, 130)
"""Colour of bright-field and the like, which are bright everywhere and would drown the others."""
_TRANSMITTED = re.compile(r"bright.?field|transmi|phase|\b(bf|dic|tl|td|pc)\b", re.IGNORECASE)


def channel_colours(display: Display, count: int, names: Sequence[str] = ()) -> tuple[Colour, ...]:
    """Red, green and blue (0 to 255) of ``count`` channels: those of the source where it names them; a single channel is grey.

    Of others the ``names`` tell those of transmitted light, which are a darker grey.
    """
    if count == 1:
        return ((255, 255, 255),)
    known = [channel.colour for channel in display.channels] if len(display.channels) == count else [None] * count
    if any(known) and len(set(known)) > 1:
        return tuple(colour or DEFAULT_COLOURS[i % len(DEFAULT_COLOURS)] for i, colour in enumerate(known))
    named = [*names, *[""] * count][:count]
    return tuple(TRANSMITTED if _TRANSMITTED.search(name) else DEFAULT_COLOURS[i % len(DEFAULT_COLOURS)]
                 for i, name in enumerate(named))


def composite(planes: Sequence[npt.NDArray[Any]], colours: Sequence[Colour], gamma: float = 1.0) -> npt.NDArray[np.uint8]:
    """Planes of shape ``(Y, X)``, 0 for black and 1 for full colour, as one picture of shape ``(Y, X, 3)``.

    A grey level v is shown as ``v ** gamma`` of its channel's colour, and colours add up.
    """
    total = np.zeros((*planes[0].shape, 3), np.float32)
    for plane, colour in zip(planes, colours, strict=True):
        total += (np.clip(plane, 0, 1).astype(np.float32) ** gamma)[..., None] * np.asarray(colour, np.float32)
    return np.asarray(np.clip(total + 0.5, 0, 255), np.uint8)


def stretched(plane: npt.NDArray[Any], low: float = 0.1, high: float = 99.8) -> npt.NDArray[np.float32]:
    """Finite grey levels of a plane from 0 (at the percentile ``low``) to 1 (at ``high``); zeros where it is constant."""
    values = plane.astype(np.float64)
    bottom, top = np.percentile(values, (low, high))
    if top <= bottom:
        bottom, top = values.min(), values.max()
    return np.asarray(np.clip((values - bottom) / (top - bottom or 1.0), 0, 1), np.float32)

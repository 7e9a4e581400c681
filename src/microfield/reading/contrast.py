"""Which grey levels to show as darkest and as brightest, for viewers that ask before anything was looked at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from microfield.reading.levels import Level

SIDE = 2048
"""Of the middle plane as much is looked at as so many voxels of the full resolution a side show."""

PERCENTILES = (0.5, 99.8)
"""Of the voxels that are looked at, what is shown as darkest and as brightest."""


def contrast(lowest: Level) -> tuple[tuple[float, float], ...]:
    """Grey levels to show as darkest and as brightest, one pair for every channel (C), one for all colour samples of it.

    Those that the file says, else percentiles of its middle plane. Colours of 8 bits are shown as they are. The first of a pair is
    always below the second.

    Parameters
    ----------
    lowest : Level
        The lowest resolution of the file: the last of `MicrofieldFile.levels`. Where the file does not say all, it is looked at.
    """
    f = lowest.file
    known = [channel.range for channel in f.display.channels] or [None] * f.sizes.get("C", 1)
    if "S" in f.axes and f.dtype == np.uint8:
        known = [shown or (0.0, 255.0) for shown in known]
    if any(shown is None for shown in known):
        found = _percentiles(lowest)
        known = [shown or there for shown, there in zip(known, found, strict=True)]
    return tuple((low, high if high > low else low + 1.0) for low, high in (shown for shown in known if shown is not None))


def _percentiles(level: Level) -> list[tuple[float, float]]:
    key: list[slice] = []
    for axis, n in level.sizes.items():
        if axis in "TZ":
            key.append(slice(n // 2, n // 2 + 1))
        elif axis in "YX":
            extent = min(n, max(1, SIDE // level.steps[axis]))
            key.append(slice((n - extent) // 2, (n - extent) // 2 + extent))
        else:
            key.append(slice(None))
    values = level[tuple(key)].astype(np.float64)
    if "C" in level.axes:
        values = np.moveaxis(values, level.axes.index("C"), 0)
    pairs = []
    for channel in values.reshape(level.sizes.get("C", 1), -1):
        finite = channel[np.isfinite(channel)]
        low, high = (float(v) for v in np.percentile(finite, PERCENTILES)) if finite.size else (0.0, 1.0)
        if not high > low and finite.size:
            low, high = float(finite.min()), float(finite.max())
        pairs.append((low, high) if math.isfinite(high - low) else (0.0, 1.0))
    return pairs

"""Which axes are split at which level: the transforms an encoder chooses from."""

from __future__ import annotations

from microfield.methods.field.lifting import Schedule, parse

TEXTS = {
    "STD": "yx zyx zyx zyx yx",
    "Z1": "zyx zyx zyx zyx yx",
    "Z2": "yx zyx zyx yx yx",
    "Z2late": "yx yx zyx zyx zyx",
    "Zfirst": "z z z yx yx yx yx yx",
    "flat": "yx yx yx yx yx",
}
"""Axes split at every level, finest level first; z stands for time where there is no Z.

STD: sharper in y and x than along z. Z1: z as well resolved as y and x. Z2: neighbours along z are alike over short
distances only. Z2late: alike along z in what is coarse only. Zfirst: planes almost the same, as in films of what stands still.
flat: planes with nothing in common.
"""
NAMES = tuple(TEXTS)
"""Names of the schedules; their index is what a file holds."""
OCTAVES = 17
"""Octaves from the coarsest quantiser step, 2, to the finest, 2**-16."""
COARSEST = 8
"""Levels along y and x are added until the approximation has at most so many rows and columns."""


def schedule(name: str, shape: tuple[int, ...]) -> Schedule:
    """The schedule of a name for an array of shape (batch, z, y, x); KeyError for a name that is not one of `NAMES`."""
    levels = list(parse(TEXTS[name], "bzyx"))
    while max(Schedule(tuple(levels), shape).extents[-1][2:]) > COARSEST:
        levels.append((2, 3))
    return Schedule(tuple(levels), shape)

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
"""Finest level first. z may be time. STD: pictures sharper than z is fine; Z1: z as well resolved as y and x; Z2 and Z2late: hardly
at all; Zfirst: planes almost the same, as in films of what stands still; flat: planes that have nothing in common."""
NAMES = tuple(TEXTS)
OCTAVES = 17
"""Step codes run from 0, a step of 2, over so many octaves."""
COARSEST = 8
"""Levels along y and x are added until the approximation is at most this wide and high."""


def schedule(name: str, shape: tuple[int, ...]) -> Schedule:
    """The schedule of this name for an array (batch, z, y, x)."""
    levels = list(parse(TEXTS[name], "bzyx"))
    while max(Schedule(tuple(levels), shape).extents[-1][2:]) > COARSEST:
        levels.append((2, 3))
    return Schedule(tuple(levels), shape)

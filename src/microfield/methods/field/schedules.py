"""Which axes are split at which level: the transforms an encoder chooses from."""

from __future__ import annotations

from microfield.transforms.lifting import Schedule, parse

TEXTS = {
    "STD": "yx zyx zyx zyx yx",
    "Z1": "zyx zyx zyx zyx yx",
    "Z2": "yx zyx zyx yx yx",
    "Z2late": "yx yx zyx zyx zyx",
}
"""Finest level first: sharp pictures at the front, or z as well resolved as y and x (Z1), or hardly at all (Z2)."""
NAMES = tuple(TEXTS)
COARSEST = 8
"""Levels along y and x are added until the approximation is at most this wide and high."""


def schedule(name: str, shape: tuple[int, ...]) -> Schedule:
    """The schedule of this name for an array (batch, z, y, x)."""
    levels = list(parse(TEXTS[name], "bzyx"))
    while max(Schedule(tuple(levels), shape).extents[-1][2:]) > COARSEST:
        levels.append((2, 3))
    return Schedule(tuple(levels), shape)

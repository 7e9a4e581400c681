"""Which axes are split at which level: six schedules with names, and any other as the words of its levels.

A *transform* is one of the names, or words such as ``"z z zyx zyx"``, finest level first.
"""

from __future__ import annotations

from microfield.coding.bits import BitWriter
from microfield.coding.bytes_reader import ByteReader
from microfield.errors import FormatError
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
WORDS = ("yx", "z", "zyx")
"""The axes that a level can split; in a file 1 plus the index, in two bits."""
MOST_LEVELS = 63
"""No schedule has more levels."""
OCTAVES = 17
"""Octaves from the coarsest quantiser step, 2, to the finest, 2**-16."""
COARSEST = 8
"""Levels along y and x are added until the approximation has at most so many rows and columns."""


def schedule(transform: str, shape: tuple[int, ...]) -> Schedule:
    """The schedule of a transform for an array of shape (batch, z, y, x)."""
    levels = list(parse(TEXTS.get(transform, transform), "bzyx"))
    while max(Schedule(tuple(levels), shape).extents[-1][2:]) > COARSEST:
        levels.append((2, 3))
    return Schedule(tuple(levels), shape)


def shortest(words: str, shape: tuple[int, ...]) -> str:
    """The transform that says the same for arrays of this shape in the fewest bytes: a name, or no words that are implied."""
    wanted = _splits(schedule(words, shape))
    name = next((name for name in NAMES if _splits(schedule(name, shape)) == wanted), None)
    if name is not None:
        return name
    needed = words.split()
    while needed and _splits(schedule(" ".join(needed[:-1]), shape)) == wanted:
        needed.pop()
    return " ".join(needed)


def _splits(found: Schedule) -> list[tuple[int, ...]]:
    """Axes that are really split, level by level."""
    return [split for k in range(len(found.levels)) if (split := found.split(k))]


def packed(words: str) -> bytes:
    """The words of a transform in two bits each, closed by two zero bits."""
    bits = BitWriter()
    for word in words.split():
        bits.number(1 + WORDS.index(word), 2)
    bits.number(0, 2)
    return bits.finish()


def unpacked(fields: ByteReader) -> str:
    """The inverse of `packed`.

    Raises
    ------
    FormatError
        Where the words do not end within `MOST_LEVELS`, or something follows them.
    """
    words: list[str] = []
    while len(words) <= MOST_LEVELS:
        byte = fields.next(1)[0]
        codes = [byte >> shift & 3 for shift in (6, 4, 2, 0)]
        for k, code in enumerate(codes):
            if not code:
                if any(codes[k:]):
                    raise FormatError("a part has levels behind the last one.")
                return " ".join(words)
            words.append(WORDS[code - 1])
    raise FormatError("a part has too many levels.")

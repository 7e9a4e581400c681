"""What names of files say of the planes in them: time point, channel and depth, in the habits of microscopes.

==================================================  ===========================================
``cells_t001_z002_c1.tif``, ``_ch00``, ``Z012``      letters with numbers, whatever stands around
``img_channel000_position000_time000000000_z000``    Micro-Manager 2: each position is a stack
``img_000000000_DAPI_000.tif``                       Micro-Manager 1: time, channel name, depth
``A01_s1_w2DAPI.tif``                                MetaMorph: ``w`` is the wavelength
``r01c01f01p03-ch2sk1fk1fl1.tiff``                   Opera: ``p`` is depth, ``sk`` is time
``plain_0001.tif``                                   a number alone: depth or time, as pages of a TIFF
==================================================  ===========================================

What is left of a name when these are taken out is the name of the stack: well, field, position.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from microfield.errors import InputError

WORDS = {"t": "T", "tp": "T", "time": "T", "timepoint": "T", "frame": "T", "sk": "T",
         "z": "Z", "zpos": "Z", "slice": "Z", "plane": "Z", "depth": "Z",
         "c": "C", "ch": "C", "chn": "C", "channel": "C"}  # fmt: skip
"""Words before a number to the axis that it counts along."""

TOKEN = re.compile(rf"(?<![A-Za-z])({'|'.join(sorted(WORDS, key=len, reverse=True))})[ =]?[-_]?(\d+)(?!\d)", re.IGNORECASE)
WAVELENGTH = re.compile(r"(?<![A-Za-z])w(\d)([A-Za-z][\w ]*?)?(?=_|$)")
OPERA = re.compile(r"(r\d+c\d+f\d+)p(?P<Z>\d+)-ch(?P<C>\d+)sk(?P<T>\d+)(.*)")
FIRST_MANAGER = re.compile(r"(.*_)?(?P<T>\d{9})_(?P<C>.+)_(?P<Z>\d{3})")
NUMBER = re.compile(r"(\d+)(?=\D*$)")

BARE = "Q"
"""Axis of a number alone, which says nothing of what it counts; a letter of `microfield.io.found.UNNAMED`."""


@dataclass(frozen=True)
class PlaneName:
    """A name taken apart.

    Attributes
    ----------
    stack : str
        What is left of the name.
    positions : mapping of axis letter to number
    channel : str
        Name of the channel; empty where the file's name has none.
    """

    stack: str
    positions: dict[str, int]
    channel: str = ""


def take_apart(stem: str) -> PlaneName:
    """What the name of a file without suffix says; `positions` is empty where it says nothing."""
    opera = OPERA.fullmatch(stem)
    if opera:
        return PlaneName(opera[1] + opera[5], {a: int(opera[a]) for a in "TCZ"})
    old = FIRST_MANAGER.fullmatch(stem)
    if old:
        return PlaneName((old[1] or "").strip("_"), {a: int(old[a]) for a in "TZ"}, old["C"])
    # Of two numbers for one axis the last counts: what comes first is a column of a plate or the like.
    tokens = {WORDS[match[1].lower()]: match for match in TOKEN.finditer(stem)}
    channel = ""
    wave = WAVELENGTH.search(stem)
    if "C" not in tokens and wave is not None:
        tokens["C"], channel = wave, wave[2] or ""
    if not tokens and (number := NUMBER.search(stem)):
        tokens[BARE] = number
    positions = {axis: int(match[1] if match.re in (NUMBER, WAVELENGTH) else match[2]) for axis, match in tokens.items()}
    rest = stem
    for match in sorted(tokens.values(), key=lambda m: m.start(), reverse=True):
        rest = rest[: match.start()] + rest[match.end() :]
    return PlaneName(re.sub(r"[-_ .]{2,}", "_", rest).strip("-_ ."), positions, channel)


def by_stack(stems: Sequence[str]) -> dict[str, dict[str, PlaneName]]:
    """Name of a stack to its files, each taken apart; a file that is alone, or whose name says nothing, keeps its whole name."""
    stacks: dict[str, dict[str, PlaneName]] = {}
    for stem in sorted(stems):
        plane = take_apart(stem)
        stacks.setdefault(plane.stack if plane.positions else stem, {})[stem] = plane
    alone = {name: min(planes) for name, planes in stacks.items() if len(planes) == 1}
    return {alone.get(name, name): {stem: PlaneName(stem, {}) for stem in planes} if name in alone else planes
            for name, planes in stacks.items()}


def arrange(planes: dict[str, PlaneName], name: str) -> tuple[dict[str, list[int | str]], dict[tuple[int, ...], str]]:
    """The axes along which the files of a stack are put together, and which file stands where.

    Returns
    -------
    axes : dict of axis letter to list of int or str
        Numbers (of named channels the names) along each axis that has more than one, slowest axis first.
    files : dict of position to str
        Index along each of these axes to the name of the file.

    Raises
    ------
    InputError
        A plane is missing or there twice, or names do not agree in what they say.
    """
    counted = {stem: set(plane.positions) | ({"C"} if plane.channel else set()) for stem, plane in planes.items()}
    one = min(planes)
    if other := next((stem for stem in sorted(planes) if counted[stem] != counted[one]), None):
        raise InputError(f"{name}: the names {one!r} and {other!r} do not count along the same axes, so they are no one stack; "
                         "keep the files of one image in a folder of their own.")
    values: dict[str, list[int | str]] = {}
    for axis in (a for a in f"{BARE}TCZ" if a in counted[one]):
        found = {_at(plane, axis): plane.positions.get(axis, 0) for plane in planes.values()}
        if len(found) > 1:
            values[axis] = sorted(found, key=lambda value, numbers=found: (numbers[value], str(value)))  # type: ignore[misc]
            if axis != "C":
                _check_steps(values[axis], axis, name)
    places: dict[tuple[int, ...], str] = {}
    for stem in sorted(planes):
        place = tuple(numbers.index(_at(planes[stem], axis)) for axis, numbers in values.items())
        if place in places:
            raise InputError(f"{name}: {places[place]!r} and {stem!r} are both {_words(values, place)}; remove one, or keep the "
                             "files of one image in a folder of their own.")
        places[place] = stem
    _check_complete(values, places, name)
    return values, places


def _at(plane: PlaneName, axis: str) -> int | str:
    """Where a plane stands along an axis that its name counts along."""
    return plane.channel if axis == "C" and plane.channel else plane.positions[axis]


MILLISECONDS = 10
"""Times that go up by at least this may be milliseconds rather than numbers of time points."""


def _check_steps(numbers: Sequence[int | str], axis: str, name: str) -> None:
    """Refuse numbers that do not go up in equal steps; times in milliseconds only where most steps are equal."""
    whole = [int(n) for n in numbers]
    steps = [b - a for a, b in itertools.pairwise(whole)]
    counts = axis != "T" or min(steps) < MILLISECONDS
    usual = min(steps) if counts else max(set(steps), key=steps.count)
    gaps = [i for i, step in enumerate(steps) if step > usual and (counts or step % usual == 0)]
    if gaps and (counts or 2 * steps.count(usual) > len(steps)):
        at = whole[gaps[0]]
        letter = "" if axis == BARE else axis.lower()
        raise InputError(f"{name}: between {letter}{at} and {letter}{whole[gaps[0] + 1]} a plane is missing ({len(gaps)} gaps in "
                         f"{len(whole)} numbers); copy all files, or renumber them.")


def _check_complete(values: dict[str, list[int | str]], places: dict[tuple[int, ...], str], name: str) -> None:
    """Refuse a stack with holes."""
    every = itertools.product(*(range(len(numbers)) for numbers in values.values()))
    missing = [place for place in every if place not in places]
    if missing:
        raise InputError(f"{name}: {len(missing)} of {len(missing) + len(places)} planes are missing, the first of them "
                         f"{_words(values, missing[0])}; copy all files, or move those of incomplete positions elsewhere.")


def _words(values: dict[str, list[int | str]], place: tuple[int, ...]) -> str:
    """A position in words, such as ``t=1, z=12``."""
    words = [f"{'number' if axis == BARE else axis.lower()}={numbers[i]}"
             for (axis, numbers), i in zip(values.items(), place, strict=True)]
    return ", ".join(words) or "the only plane"

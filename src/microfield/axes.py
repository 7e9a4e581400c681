"""Axes that a source does not name: which are assumed, which are asked for, and what an image was read as, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.wording import argument, listed

FEW = 4
"""A first axis of at most so many planes is taken for channels. Channels taken for depth would be compressed by the range of the
brightest one, which ruins the dim ones; depth taken for channels costs a few bytes."""

MOST_CHANNELS = 8
"""More than so many channels are not assumed where a source does not say that they are channels."""

NARROW = 8
"""How many times shorter than the two before it a last axis is that is no width."""

PICTURE = 32
"""Sides in voxels from which on something is surely a plane; what is smaller is taken as the order of the axes says."""

WORDS = {"T": ("time point", "time points"), "C": ("channel", "channels"), "Z": ("plane", "planes"),
         "S": ("colour sample", "colour samples")}  # fmt: skip
"""What the positions along an axis are called, one and several."""


def guess_axes(shape: tuple[int, ...], dtype: npt.DTypeLike, name: str = "the array") -> str:
    """Axes assumed for an array that does not name them.

    Two dimensions are YX. Three are ZYX, but CYX where the first has 2 to 4 planes of at least 32 by 32 voxels, and YXS for uint8
    values whose last axis has 3 or 4 samples. Four are CZYX with at most 8 channels, TCYX or ZCYX where the other of two axes has
    an extent of 1, or ZYXS for uint8 with 3 or 4 samples. Five are TCZYX with at most 8 channels. A last axis of 1 is S.

    Parameters
    ----------
    shape : tuple of int
        Extent of every axis.
    dtype : dtype
        Of the values.
    name : str
        What messages call the array.

    Raises
    ------
    InputError
        The array has fewer than 2 or more than 5 dimensions, or what would be assumed is unlikely: the message names likely axes.
    """
    if not 2 <= len(shape) <= 5:
        raise InputError(f"{name} has shape {shape}, which is {len(shape)} dimensions; microfield takes 2 to 5.")
    if len(shape) == 2:
        return "YX"
    colour = shape[-1] in (3, 4) and np.dtype(dtype) == np.uint8
    if colour and len(shape) == 3 and min(shape[:2]) > 4:
        return "YXS"
    if _is_narrow(shape):
        if shape[-1] == 1 or (colour and len(shape) == 4):
            return guess_leading(shape[:-3], shape[-3:-1], name, taken="C") + "YXS"
        lead = ("", "Z", "TZ")[len(shape) - 3]
        last = "SCZ" if shape[-1] in (3, 4) else "CZ"
        raise _ask(name, shape, [f"{lead}YX{a}" for a in last if a not in lead])
    return guess_leading(shape[:-2], shape[-2:], name) + "YX"


def _is_narrow(shape: tuple[int, ...]) -> bool:
    """Whether the last of three axes or more is too short beside the two before it to be a width."""
    sides = min(shape[-3:-1])
    return sides >= PICTURE and (shape[-1] <= MOST_CHANNELS or (shape[-1] < PICTURE and NARROW * shape[-1] <= sides))


def guess_leading(lead: tuple[int, ...], plane: tuple[int, ...], name: str, taken: str = "") -> str:
    """Axes assumed for those before Y and X (see `guess_axes`).

    Parameters
    ----------
    lead : tuple of int
        Their extents, 0 to 3 of them.
    plane : (int, int)
        Extents of Y and X.
    name : str
        What messages call the array.
    taken : str
        ``"C"`` where a single axis must not be channels.

    Raises
    ------
    InputError
        What would be assumed is unlikely.
    """
    large = min(plane) >= PICTURE
    shape = (*lead, *plane)
    if len(lead) < 2:
        return ("C" if large and 2 <= lead[0] <= FEW and not taken else "Z") if lead else ""
    if len(lead) == 2:
        if lead[0] == 1 and large and 2 <= lead[1] <= FEW:
            return "TC"
        if lead[1] == 1 and lead[0] > MOST_CHANNELS:
            return "ZC"
        if lead[0] > MOST_CHANNELS:
            raise _ask(name, shape, ["TZYX", "ZTYX"] if lead[1] > MOST_CHANNELS else ["TZYX", "TCYX", "ZCYX"])
        if large and 2 <= lead[1] <= FEW and lead[0] > 1:
            raise _ask(name, shape, ["CZYX", "ZCYX", "TCYX"])
        return "CZ"
    if len(lead) == 3:
        if lead[1] > MOST_CHANNELS:
            raise _ask(name, shape, ["TZCYX", "CTZYX", "CZTYX"])
        return "TCZ"
    raise InputError(f"{name} has shape {shape}, which is {len(shape)} dimensions; microfield takes 2 to 5.")


def in_words(axes: str, shape: Sequence[int]) -> str:
    """What an image was read as, such as ``TCYX: 3 time points, 2 channels, 170 x 240``."""
    counts = dict(zip(axes, shape, strict=True))
    parts = [f"{n} {WORDS[a][n != 1]}" for a, n in counts.items() if a in WORDS and a != "S"]
    parts.append(f"{counts['Y']} x {counts['X']}")
    if "S" in counts:
        parts.append("colour" if counts["S"] in (3, 4) else f"{counts['S']} {WORDS['S'][counts['S'] != 1]}")
    return f"{axes}: {', '.join(parts)}"


def said_sizes(voxel_size: Mapping[str, float], units: Mapping[str, str]) -> str:
    """Steps along axes in words, such as ``Z 0.5 micrometer, Y 0.1 micrometer``; empty where none is known."""
    return ", ".join(f"{axis} {step:g} {units.get(axis, '')}".strip() for axis, step in voxel_size.items())


def read_as(axes: str, shape: Sequence[int], guessed: bool) -> str:
    """How an image was read, as the results of commands say it."""
    words = f"read as {in_words(axes, shape)}"
    return f"{words} (axes guessed; {argument('axes')} to change)" if guessed else words


def _ask(name: str, shape: Sequence[int], likely: Sequence[str]) -> InputError:
    """What to say where axes are not stated and none is likely enough to be assumed."""
    return InputError(f"{name} has shape {' x '.join(map(str, shape))} and does not say what its axes are; "
                      f"say it with {argument('axes')}, such as {listed(likely, 'or')}.")

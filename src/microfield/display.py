"""How an image is meant to be seen: colours and shown ranges of channels, labels of planes, what grey levels mean."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError

Colour = tuple[int, int, int]
"""Red, green and blue, each 0 to 255."""

WHITE: Colour = (255, 255, 255)

TABLE_BYTES = 768
"""A lookup table: the red of 256 entries from dark to bright, then their green, then their blue."""

MODES = ("composite", "color", "grayscale")
"""How several channels are shown: all together in their colours, one at a time in its colour, one at a time in grey. The
words are ImageJ's."""

TABLE_TOLERANCE = 1
"""A lookup table is a plain colour where no entry is further than this from the ramp that runs from black to the colour."""

DARK = 64
"""A colour with no component above this is too dark to stand for a lookup table."""


@dataclass(frozen=True)
class ChannelDisplay:
    """How one channel is shown. None where the source does not say.

    Raises InputError where a value is not as described.

    Parameters
    ----------
    colour : (int, int, int), optional
        Red, green and blue (0 to 255) of the brightest grey level; grey levels run from black to it.
    range : (float, float), optional
        Grey levels that are shown as darkest and as brightest; the first is not above the second.
    table : bytes, optional
        Lookup table (see `TABLE_BYTES`) where the colours are no ramp from black to ``colour``.
    hidden : bool
        Whether the channel is switched off.
    """

    colour: Colour | None = None
    range: tuple[float, float] | None = None
    table: bytes | None = None
    hidden: bool = False

    def __post_init__(self) -> None:
        if self.colour is not None and (len(self.colour) != 3 or not all(0 <= v <= 255 for v in self.colour)):
            raise InputError(f"a colour is red, green and blue from 0 to 255, not {self.colour}.")
        if self.range is not None and not (all(map(math.isfinite, self.range)) and self.range[0] <= self.range[1]):
            raise InputError(f"a display range goes from a lower to a higher grey level, not {self.range}.")
        if self.table is not None and len(self.table) != TABLE_BYTES:
            raise InputError(f"a lookup table has {TABLE_BYTES} bytes, not {len(self.table)}.")

    @classmethod
    def of_table(cls, table: npt.ArrayLike, shown: tuple[float, float] | None = None) -> ChannelDisplay:
        """A channel shown by a lookup table of shape (3, 256); one that is a ramp from black becomes a plain colour.

        Parameters
        ----------
        table : array-like of int
            Red, green, blue (0 to 255) by entry.
        shown : (float, float), optional
            The display range.
        """
        entries = np.asarray(table, np.uint8).reshape(3, -1)
        brightest = entries[:, -1] if entries[:, -1].max() > DARK else entries[:, entries.sum(0, dtype=np.int64).argmax()]
        colour = (int(brightest[0]), int(brightest[1]), int(brightest[2]))
        ramp = np.outer(entries[:, -1], np.linspace(0, 1, entries.shape[1]))
        plain = bool((np.abs(ramp - entries) <= TABLE_TOLERANCE).all()) and entries[:, -1].any()
        return cls(colour, shown, None if plain or entries.size != TABLE_BYTES else entries.tobytes())

    @property
    def entries(self) -> npt.NDArray[np.uint8]:
        """The lookup table of shape (3, 256), made from the colour (white where none is known) where there is none."""
        if self.table is not None:
            return np.frombuffer(self.table, np.uint8).reshape(3, 256)
        return np.rint(np.outer(self.colour or WHITE, np.arange(256)) / 255).astype(np.uint8)


@dataclass(frozen=True)
class Calibration:
    """What a grey level g means: ``coefficients[0] + coefficients[1] * g + coefficients[2] * g**2 ...`` in a unit.

    Raises InputError where the coefficients are not 2 to 9 finite numbers.

    Parameters
    ----------
    coefficients : tuple of float
        Of a polynomial, the constant first.
    unit : str
        Such as ``"Hounsfield"``; empty where unknown.
    """

    coefficients: tuple[float, ...]
    unit: str = ""

    def __post_init__(self) -> None:
        if not 2 <= len(self.coefficients) <= 9 or not all(map(math.isfinite, self.coefficients)):
            raise InputError(f"a calibration has 2 to 9 finite coefficients, not {self.coefficients}.")

    def __call__(self, grey: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """What grey levels mean, in the unit, as float64 of the same shape."""
        return np.asarray(np.polynomial.polynomial.polyval(np.asarray(grey, np.float64), self.coefficients), np.float64)


@dataclass(frozen=True)
class Display:
    """How an image is meant to be seen.

    Raises InputError for an unknown mode or a label with a NUL character.

    Parameters
    ----------
    channels : tuple of ChannelDisplay
        One per element of axis C (one where the image has none), or empty where nothing is known.
    plane_labels : tuple of str
        One per plane, or empty. Planes are the positions along all axes but Y, X and S, in array order.
    calibration : Calibration, optional
        What grey levels mean.
    mode : str, optional
        One of `MODES`.
    """

    channels: tuple[ChannelDisplay, ...] = ()
    plane_labels: tuple[str, ...] = ()
    calibration: Calibration | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        if self.mode is not None and self.mode not in MODES:
            raise InputError(f"the display mode {self.mode!r} is not one of {', '.join(MODES)}.")
        if any("\0" in label for label in self.plane_labels):
            raise InputError("a plane label must not hold a NUL character.")
        if all(channel == ChannelDisplay() for channel in self.channels):
            object.__setattr__(self, "channels", ())
        if not any(self.plane_labels):
            object.__setattr__(self, "plane_labels", ())

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return self != Display()

    def fitting(self, sizes: Mapping[str, int]) -> Display:
        """The same without channels and labels that are not as many as an array with these axes and extents has."""
        return replace(
            self, channels=self.channels if len(self.channels) == sizes.get("C", 1) else (),
            plane_labels=self.plane_labels if len(self.plane_labels) == _planes(sizes) else (),
            mode=self.mode if sizes.get("C", 1) > 1 else None,
        )

    def cut(self, sizes: Mapping[str, int], taken: Mapping[str, Sequence[int]]) -> Display:
        """The display of a selection.

        Parameters
        ----------
        sizes : mapping of str to int
            Axis letter to extent of the whole image, in array order.
        taken : mapping of str to sequence of int
            Axis letter to the positions that are selected; axes left out are taken whole.
        """
        whole = self.fitting(sizes)
        rows = {a: taken.get(a, range(n)) for a, n in sizes.items()}
        labels: tuple[str, ...] = ()
        if whole.plane_labels:
            lead = [a for a in sizes if a not in "YXS"]
            strides = [math.prod(sizes[b] for b in lead[i + 1 :]) for i in range(len(lead))]
            labels = tuple(
                whole.plane_labels[sum(i * s for i, s in zip(at, strides, strict=True))]
                for at in itertools.product(*(rows[a] for a in lead))
            )
        chosen = tuple(whole.channels[i] for i in rows["C"]) if "C" in sizes and whole.channels else whole.channels
        mode = whole.mode if len(rows.get("C", ())) > 1 else None
        return replace(whole, channels=chosen, plane_labels=labels, mode=mode)

    def facts(self) -> list[str]:
        """What is known, in words, such as ``["colours", "plane labels"]``."""
        known = {
            "colours": any(c.colour is not None for c in self.channels),
            "lookup tables": any(c.table is not None for c in self.channels),
            "display ranges": any(c.range is not None for c in self.channels),
            "hidden channels": any(c.hidden for c in self.channels),
            "plane labels": bool(self.plane_labels),
            "value calibration": self.calibration is not None,
            "display mode": self.mode is not None,
        }
        return [words for words, there in known.items() if there]


NOTHING_KNOWN = Display()
"""Of an image of which nobody says how it is meant to be seen."""


def rearranged(labels: Sequence[str], axes: str, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Labels of planes in the order of another array: an axis that the labels lack repeats them.

    Parameters
    ----------
    labels : sequence of str
        One per plane, in C order along ``axes``.
    axes : str
        Axes that the labels count along; those that ``sizes`` lacks have an extent of 1.
    sizes : mapping of str to int
        Axis letter to extent of the array that the labels are for, in its order.

    Returns
    -------
    tuple of str
        One per plane of the array; empty where the labels are not as many as its axes say.
    """
    shape = [sizes.get(a, 1) for a in axes]
    if math.prod(shape) != len(labels):
        return ()
    lead = [a for a in sizes if a not in "YXS"]
    numbers = np.arange(len(labels)).reshape(shape)
    kept = [a for a in axes if a in lead]
    numbers = numbers.reshape([sizes[a] for a in kept]).transpose([kept.index(a) for a in lead if a in kept])
    numbers = numbers[tuple(slice(None) if a in kept else None for a in lead)]
    return tuple(labels[int(i)] for i in np.broadcast_to(numbers, [sizes[a] for a in lead]).flat)


def _planes(sizes: Mapping[str, int]) -> int:
    """Number of planes: the product of all extents but those of Y, X and S."""
    return math.prod(n for a, n in sizes.items() if a not in "YXS")

"""How an image is meant to be seen, as coordinates of an `xarray.DataArray`, which follow when it is indexed.

`COLOUR` (``#RRGGBB``), `DARKEST` and `BRIGHTEST` (grey levels) lie along C, `LABEL` along all axes but Y, X and S. Lookup tables
and hidden channels have no coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.display import Calibration, ChannelDisplay, Colour, Display

COLOUR, DARKEST, BRIGHTEST, LABEL = "channel_colour", "display_low", "display_high", "plane_label"
"""Names of the coordinates."""

CALIBRATION, UNIT = "value_calibration", "value_unit"
"""Names of the attributes that say what grey levels mean."""


def coordinates_of(display: Display, sizes: Mapping[str, int]) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Name to dimensions and values of the coordinates that say what is known.

    Parameters
    ----------
    display : Display
        Of an array.
    sizes : mapping of str to int
        Axis letter to extent of the array, in its order.
    """
    along: tuple[str, ...] = ("C",) if "C" in sizes else ()
    channels = display.channels
    found: dict[str, tuple[tuple[str, ...], list[Any]]] = {}
    if any(c.colour is not None for c in channels):
        found[COLOUR] = along, ["" if c.colour is None else "#" + bytes(c.colour).hex().upper() for c in channels]
    if any(c.range is not None for c in channels):
        for name, end in ((DARKEST, 0), (BRIGHTEST, 1)):
            found[name] = along, [math.nan if c.range is None else c.range[end] for c in channels]
    lead = tuple(a for a in sizes if a not in "YXS")
    if display.plane_labels:
        found[LABEL] = lead, list(display.plane_labels)
    return {name: (dims, np.reshape(values, [sizes[a] for a in dims])) for name, (dims, values) in found.items()}


def attributes_of(display: Display) -> dict[str, Any]:
    """Attributes that say what grey levels mean, where it is known."""
    known = display.calibration
    return {} if known is None else {CALIBRATION: list(known.coefficients), UNIT: known.unit}


def display_of(coordinates: Mapping[str, Any], attributes: Mapping[str, Any], sizes: Mapping[str, int]) -> Display:
    """The display that coordinates and attributes of an array say; what cannot be understood is left out.

    Parameters
    ----------
    coordinates : mapping of str to array-like
        Values of the coordinates by name.
    attributes : mapping
        Of the array.
    sizes : mapping of str to int
        Axis letter to extent of the array, in its order.
    """
    count = sizes.get("C", 1)
    colours, low, high = (_values(coordinates, name, count) for name in (COLOUR, DARKEST, BRIGHTEST))
    ends = len(low) == len(high) > 0
    channels = tuple(
        ChannelDisplay(_colour(colours[i]) if len(colours) else None, _range(low[i], high[i]) if ends else None)
        for i in range(count)
    )
    labels = _values(coordinates, LABEL, math.prod(n for a, n in sizes.items() if a not in "YXS"))
    return Display(channels, tuple(str(label).replace("\0", " ") for label in labels), _calibration(attributes))


def _values(coordinates: Mapping[str, Any], name: str, count: int) -> npt.NDArray[Any]:
    """The values of a coordinate in C order, or none where there are not ``count`` of them."""
    values = np.atleast_1d(np.asarray(coordinates.get(name, []))).reshape(-1)
    return values if len(values) == count else values[:0]


def _colour(text: Any) -> Colour | None:
    """A colour such as ``#FF8000``."""
    try:
        red, green, blue = bytes.fromhex(str(text).removeprefix("#"))
    except ValueError:
        return None
    return red, green, blue


def _range(low: Any, high: Any) -> tuple[float, float] | None:
    try:
        ends = float(low), float(high)
    except (TypeError, ValueError):
        return None
    return ends if all(map(math.isfinite, ends)) and ends[0] <= ends[1] else None


def _calibration(attributes: Mapping[str, Any]) -> Calibration | None:
    stated: Sequence[Any] | Any = attributes.get(CALIBRATION)
    try:
        coefficients = tuple(float(c) for c in stated or ())
    except (TypeError, ValueError):
        return None
    fits = 2 <= len(coefficients) <= 9 and all(map(math.isfinite, coefficients))
    return Calibration(coefficients, str(attributes.get(UNIT, ""))) if fits else None

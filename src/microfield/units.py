"""Physical units: the many spellings in files, and the two units of images, micrometer and second."""

from __future__ import annotations

import math

LENGTHS = {
    "picometer": 1e-6,
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "inch": 25400.0,
    "meter": 1e6,
}
"""OME-Zarr's name of a unit of length to its size in micrometers."""

TIMES = {
    "nanosecond": 1e-9,
    "microsecond": 1e-6,
    "millisecond": 1e-3,
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
}
"""OME-Zarr's name of a unit of time to its size in seconds."""

SYMBOLS = {
    "picometer": "pm",
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "inch": "in",
    "meter": "m",
    "nanosecond": "ns",
    "microsecond": "µs",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
}
"""OME-Zarr's name of a unit to OME-XML's symbol."""

SPELLINGS = {symbol: name for name, symbol in SYMBOLS.items()} | {
    "micron": "micrometer",
    "microns": "micrometer",
    "um": "micrometer",
    "\u03bcm": "micrometer",  # Greek mu; SYMBOLS has the micro sign.
    "\\u00b5m": "micrometer",  # ImageJ writes the escape, not the character.
    "\u212b": "angstrom",  # The angstrom sign; SYMBOLS has the letter.
    "å": "angstrom",
    "us": "microsecond",
    "\u03bcs": "microsecond",
    "msec": "millisecond",
    "sec": "second",
    "hr": "hour",
}
"""Other spellings of units to OME-Zarr's names."""


def unit_name(text: str) -> str | None:
    """OME-Zarr's name of a unit in any usual spelling; None for pixels and for what is not known."""
    for spelling in (text.strip(), text.strip().lower()):
        name = SPELLINGS.get(spelling, spelling)
        for known in (name, name.removesuffix("s"), name.replace("metre", "meter").removesuffix("s")):
            if known in LENGTHS or known in TIMES:
                return known
    return None


def to_standard(value: float, unit: str, axis: str) -> tuple[float, str] | None:
    """A step along an axis in micrometers (seconds for T).

    Parameters
    ----------
    value : float
        The step; zero, negative and infinite steps mean "unknown" in files.
    unit : str
        Any usual spelling.
    axis : str
        A letter of ``TZYX``; a length along T, or a time along another axis, cannot be.

    Returns
    -------
    (float, str) or None
        The step with ``"micrometer"`` or ``"second"``; None where the file does not tell it.
    """
    name = unit_name(unit)
    table, standard = (TIMES, "second") if axis == "T" else (LENGTHS, "micrometer")
    if name not in table or not math.isfinite(value) or value <= 0:
        return None
    return (value if name == standard else value * table[name]), standard

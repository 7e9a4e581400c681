"""Settings as a person writes them, in Python and on the command line: ``2min``, ``y=512,x=512``, ``1,1,4``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from microfield.errors import UsageError
from microfield.wording import argument

SECONDS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
"""Unit of a time to seconds."""


def seconds(given: float | str | None, name: str = "time_limit") -> float | None:
    """Seconds of a number or of a time such as ``90``, ``60s``, ``5min`` or ``1h``; None for None.

    Parameters
    ----------
    given : float or str, optional
    name : str
        The argument that messages name.

    Raises
    ------
    UsageError
        A text is no such time.
    """
    if not isinstance(given, str):
        return given
    match = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*(s|sec|m|min|h|)", given.strip().lower())
    if not match:
        raise UsageError(f"{argument(name, repr(given))} must be a time such as 60s, 5min or 1h.")
    return float(match[1]) * SECONDS[match[2]]


def extents(given: Mapping[str, int] | str | None, name: str = "tile") -> Mapping[str, int] | None:
    """Axis letter to number of voxels, of a mapping or of a text such as ``y=512,x=512``; None for None.

    Raises
    ------
    UsageError
        A text is not of this form.
    """
    if not isinstance(given, str):
        return given
    found = [re.fullmatch(r"\s*([A-Za-z])\s*=\s*([0-9]+)\s*", item) for item in given.split(",")]
    if not all(found):
        raise UsageError(f"{argument(name, repr(given))} must look like y=512,x=512.")
    return {match[1]: int(match[2]) for match in found if match}


def numbers(given: Iterable[float] | str | None, name: str = "channel_weights") -> tuple[float, ...] | None:
    """Several numbers, or a text such as ``1,1,4``; None for None.

    Raises
    ------
    UsageError
        Something in it is no number.
    """
    if given is None:
        return None
    try:
        return tuple(float(item) for item in (given.split(",") if isinstance(given, str) else given))
    except (TypeError, ValueError):
        raise UsageError(f"{argument(name, repr(given))} must be numbers, such as 1,1,4.") from None

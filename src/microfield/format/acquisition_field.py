"""Field 22 of the header: how an image was taken, as CBOR values and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microfield.acquisition import NOTHING_SAID, Acquisition
from microfield.errors import FormatError

TYPES: tuple[type, ...] = (str, str, float, float, float, float, float)
"""Of the entries: date, objective, magnification, aperture, position along X, Y and Z."""


def are_facts(value: Any) -> bool:
    """Whether a CBOR value has the type of the field."""
    return type(value) is list and 0 < len(value) <= len(TYPES) and value[-1] is not None \
        and all(v is None or type(v) is kind for v, kind in zip(value, TYPES, strict=False))


def pack_acquisition(acquisition: Acquisition) -> list[Any] | None:
    """The value of the field; None where nothing is known."""
    numbers = (acquisition.magnification, acquisition.aperture, *(acquisition.position.get(axis) for axis in "XYZ"))
    packed: list[Any] = [acquisition.date, acquisition.objective, *(None if n is None else float(n) for n in numbers)]
    while packed and packed[-1] is None:
        packed.pop()
    return packed or None


def unpack_acquisition(value: Sequence[Any] | None) -> Acquisition:
    """What the field says.

    Raises
    ------
    InputError, FormatError
        It breaks a rule of the format.
    """
    if value is None:
        return NOTHING_SAID
    filled: list[Any] = [*value, *[None] * (len(TYPES) - len(value))]
    position = {axis: v for axis, v in zip("XYZ", filled[4:], strict=True) if v is not None}
    found = Acquisition(filled[0], filled[1], filled[2], filled[3], position)
    if not found:
        raise FormatError("The file says in a field of its own that nothing is known of how the image was taken: it is damaged.")
    return found

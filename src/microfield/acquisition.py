"""When, where on the stage and with which objective an image was taken, as far as its file says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from microfield.errors import InputError

LONGEST = 200
"""Characters of a date or of the name of an objective, at most."""


@dataclass(frozen=True)
class Acquisition:
    """How an image was taken.

    Raises InputError where a text is too long or a number is not finite, or not positive where it must be.

    Parameters
    ----------
    date : str, optional
        When it was taken, as the source writes it, mostly ISO 8601: ``"2024-05-06T12:30:00"``.
    objective : str, optional
        Model of the objective in words, such as ``"Plan-Apochromat 20x/0.8"``.
    magnification, aperture : float, optional
        Nominal magnification and numerical aperture of the objective.
    position : mapping of str to float
        Where the first voxel lies on the stage, in micrometers, for any of ``X``, ``Y`` and ``Z``.
    """

    date: str | None = None
    objective: str | None = None
    magnification: float | None = None
    aperture: float | None = None
    position: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for text in (self.date, self.objective):
            if text is not None and not (isinstance(text, str) and 0 < len(text) <= LONGEST and "\0" not in text):
                raise InputError(f"the date and the objective of an image are texts of 1 to {LONGEST} characters, not "
                                 f"{str(text)[:50]!r}.")
        for number in (self.magnification, self.aperture):
            if number is not None and not 0 < number < math.inf:
                raise InputError(f"the magnification and the aperture of an objective are positive numbers, not {number}.")
        if not set(self.position) <= set("XYZ") or not all(math.isfinite(v) for v in self.position.values()):
            raise InputError("the position of an image on the stage is finite numbers along X, Y and Z, not "
                             f"{dict(self.position)}.")
        object.__setattr__(self, "position", {a: float(self.position[a]) for a in "XYZ" if a in self.position})

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return self != Acquisition()

    @property
    def lens(self) -> str:
        """The objective in words: its model, and magnification and aperture where the model does not say them."""
        facts = [f"{self.magnification:g}x" if self.magnification else "", f"NA {self.aperture:g}" if self.aperture else ""]
        return ", ".join(filter(None, [self.objective or "", *facts]))

    def facts(self) -> list[str]:
        """What is known, in words, such as ``["the acquisition date", "the objective"]``."""
        known = {"the acquisition date": self.date, "the objective": self.lens, "the stage position": self.position}
        return [words for words, there in known.items() if there]

    def shifted(self, starts: Mapping[str, float]) -> Acquisition:
        """That of a part of the image which begins so many micrometers further along axes."""
        return replace(self, position={a: v + starts.get(a, 0.0) for a, v in self.position.items()})

    def as_dict(self) -> dict[str, Any]:
        """What is known, JSON-ready."""
        named = {"date": self.date, "objective": self.objective, "magnification": self.magnification, "aperture": self.aperture,
                 "position": dict(self.position) or None}
        return {name: value for name, value in named.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Any) -> Acquisition:
        """The inverse of `as_dict`; what cannot be understood is left out."""
        given = values if isinstance(values, Mapping) else {}
        position = given.get("position")
        places = {str(a): v for a, v in position.items()} if isinstance(position, Mapping) else {}
        found = cls()
        for name in ("date", "objective", "magnification", "aperture", "position"):
            known: dict[str, Any] = {name: places if name == "position" else given.get(name)}
            try:
                found = replace(found, **known)
            except (InputError, TypeError, ValueError):
                continue
        return found


NOTHING_SAID = Acquisition()
"""Of an image of which nobody says how it was taken."""

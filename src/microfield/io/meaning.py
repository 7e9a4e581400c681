"""What a file says about its array beside the values: the part that all readers of TIFF share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from microfield.acquisition import NOTHING_SAID, Acquisition
from microfield.display import NOTHING_KNOWN, Display
from microfield.units import to_standard

PLAUSIBLE_PIXEL = (1e-3, 20.0)
"""Micrometers: resolutions outside say what a printer should do (72 per inch is 353 micrometers), not what was seen."""


@dataclass
class Meaning:
    """What an array means; attributes are those of `microfield.io.found.Found` of the same names."""

    voxel_size: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    metadata: str | None = None
    display: Display = NOTHING_KNOWN
    not_kept: tuple[str, ...] = ()
    doubt: str | None = None
    acquisition: Acquisition = NOTHING_SAID

    def set_step(self, axis: str, value: Any, unit: str) -> None:
        """Note the step along an axis in micrometers or seconds; a step that is no positive length or time is left out."""
        try:
            step = to_standard(float(value), unit, axis)
        except (TypeError, ValueError):
            return
        if step is not None:
            self.voxel_size[axis], self.units[axis] = step

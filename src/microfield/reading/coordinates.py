"""What a file says beside its values, as coordinates and attributes of xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microfield.display_coordinates import attributes_of, coordinates_of
from microfield.labelled import EXACT, METHOD, acquisition_attributes

if TYPE_CHECKING:
    from microfield.reading.file import MicrofieldFile

Coordinates = dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]]
"""Name to dimensions, values and attributes."""


def coordinates_and_attributes(f: MicrofieldFile) -> tuple[Coordinates, dict[str, Any]]:
    """Positions along the axes whose steps are known, channel names and how the image is meant to be seen; attributes of the array.

    A unit is the attribute ``units``, and ``step`` the step of an axis of one position.
    """
    sizes, units = f.sizes, f.units
    found: Coordinates = {
        axis: ((axis,), np.arange(sizes[axis]) * step,
               ({"units": units[axis]} if axis in units else {}) | ({"step": step} if sizes[axis] == 1 else {}))
        for axis, step in f.voxel_size.items() if axis in sizes
    }
    if "C" in sizes and len(f.channel_names) == sizes["C"]:
        found["C"] = ("C",), list(f.channel_names), {}
    found |= {name: (dims, values, {}) for name, (dims, values) in coordinates_of(f.display, sizes).items()}
    return found, {METHOD: f.method, EXACT: int(f.exact), "compression_ratio": f.ratio, **attributes_of(f.display),
                   **acquisition_attributes(f.acquisition)}

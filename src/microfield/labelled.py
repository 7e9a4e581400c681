"""Arrays that say what they mean: what the dimensions and coordinates of an `xarray.DataArray` tell of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from microfield.acquisition import NOTHING_SAID, Acquisition
from microfield.display import NOTHING_KNOWN, Display
from microfield.display_coordinates import display_of
from microfield.errors import InputError
from microfield.units import to_standard
from microfield.wording import argument

DIMENSIONS = {
    "T": ("time", "times", "frame", "frames"),
    "C": ("channel", "channels", "ch", "band", "bands", "wavelength"),
    "Z": ("depth", "plane", "planes", "slice", "slices"),
    "Y": ("height", "row", "rows", "lat", "latitude"),
    "X": ("width", "col", "cols", "column", "columns", "lon", "longitude"),
    "S": ("rgb", "rgba", "sample", "samples", "colour", "color"),
}
"""Axis to the names that dimensions have besides its letter, in lower case."""

METHOD, EXACT = "microfield_method", "microfield_exact"
"""Attributes of the arrays that `MicrofieldFile.to_xarray` makes: the method, and whether the values are exact (1 or 0)."""

DATE, OBJECTIVE, MAGNIFICATION, APERTURE, POSITION = (
    "acquisition_date", "objective", "magnification", "numerical_aperture", "stage_position_")
"""Attributes that say how the image was taken; to the last one the axis is appended, and its values are micrometers."""

EVEN = 0.01
"""Positions are evenly spaced where no two steps differ by more than this share of the mean step."""


@runtime_checkable
class Labelled(Protocol):
    """An array that names its dimensions and may have coordinates, such as `xarray.DataArray`."""

    dims: tuple[Any, ...]
    data: Any
    coords: Any
    attrs: Any
    name: Any


@dataclass(frozen=True)
class Meaning:
    """What a labelled array tells of an image.

    Attributes
    ----------
    axes : str, optional
        A letter per dimension; None where the dimensions have no names of their own (``dim_0``).
    voxel_size, units : mapping
        Axis letter to step and to its unit, micrometer or second; a coordinate without a unit gives a step without one.
    channel_names : tuple of str
        One per channel; one where a single channel was taken out of several.
    name : str
        What the array is called.
    notes : tuple of str
        What the user should know.
    display : Display
        How the image is meant to be seen, where coordinates say it (`microfield.display_coordinates`).
    """

    axes: str | None
    voxel_size: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    name: str = "array"
    notes: tuple[str, ...] = ()
    display: Display = NOTHING_KNOWN
    acquisition: Acquisition = NOTHING_SAID


DENOISED = ("a clean reference says how much of the original is noise, and the copy was drawn towards the original without it, so "
            "it is denoised, not only compressed; what is left out counts as error here, and faint detail may have gone with the "
            "noise: measure in the original.")
"""What is said of a copy that a perceptual guidance has made."""


def of_a_copy(name: str, method: str) -> str:
    """What to say where an image is not an original but what a lossy file makes of one."""
    return (f"{name} is itself a lossy copy (method {method}): quality and errors are measured against it, not against the image "
            "that it was made from.")


def acquisition_attributes(acquisition: Acquisition) -> dict[str, Any]:
    """Attributes that say how an image was taken, as far as it is known."""
    known = {DATE: acquisition.date, OBJECTIVE: acquisition.objective, MAGNIFICATION: acquisition.magnification,
             APERTURE: acquisition.aperture, **{POSITION + axis.lower(): v for axis, v in acquisition.position.items()}}
    return {name: value for name, value in known.items() if value is not None}


def acquisition_of(attributes: Mapping[Any, Any]) -> Acquisition:
    """The inverse of `acquisition_attributes`; what cannot be understood is left out."""
    position = {axis: attributes[POSITION + axis.lower()] for axis in "XYZ" if POSITION + axis.lower() in attributes}
    return Acquisition.from_dict({"date": attributes.get(DATE), "objective": attributes.get(OBJECTIVE), "position": position,
                                  "magnification": attributes.get(MAGNIFICATION), "aperture": attributes.get(APERTURE)})


def meaning(source: Labelled, axes: str | None = None) -> Meaning:
    """What the dimensions and coordinates of a labelled array say.

    A dimension is an axis by its letter or one of `DIMENSIONS`, in any case. Coordinates with numbers give the step of T, Z, Y
    and X where they are evenly spaced, in the unit of their attribute ``units``; those of times (`numpy.datetime64`) give seconds.
    Whole positions 0, 1, 2, ... without a unit are taken as numbers of voxels and say nothing. An axis of one position takes the
    attribute ``step``.

    Parameters
    ----------
    source : xarray.DataArray or the like
    axes : str, optional
        What the dimensions are, where the caller knows better than their names.

    Raises
    ------
    InputError
        A dimension has a name that is no axis.
    """
    named = axes is not None or any(str(dim) != f"dim_{i}" for i, dim in enumerate(source.dims))
    letters = list(axes) if axes is not None and len(axes) == len(source.dims) else [_letter(str(dim)) for dim in source.dims]
    sizes: dict[str, float] = {}
    units: dict[str, str] = {}
    notes = []
    for dim, letter in zip(source.dims, letters, strict=True):
        if letter not in tuple("TZYX") or dim not in source.coords:
            continue
        coordinate = source.coords[dim]
        step, unit = _step(np.asarray(coordinate.values), dict(coordinate.attrs))
        if step is None:
            notes.append(f"the positions along {dim} are not evenly spaced, so their step is not kept.")
        elif (standard := _standard(step, unit, letter)) is not None:
            sizes[letter] = standard[0]
            if standard[1]:
                units[letter] = standard[1]
    called = str(source.name or "array")
    if METHOD in source.attrs and not source.attrs.get(EXACT, 0):
        notes.append(of_a_copy(called, str(source.attrs[METHOD])))
    if named and "" in letters:
        unknown = source.dims[letters.index("")]
        raise InputError(f"{called} has a dimension {str(unknown)!r}, which is no axis that microfield knows; choose a position "
                         f"along it, or name the dimensions with {argument('axes')}, one letter of {''.join(DIMENSIONS)} each.")
    found = axes or "".join(letters)
    shown = NOTHING_KNOWN
    if named and len(found) == len(source.dims):
        extents = dict(zip(found, (int(n) for n in source.data.shape), strict=True))
        shown = display_of({str(name): source.coords[name].values for name in source.coords}, dict(source.attrs), extents)
    return Meaning(found if named else None, sizes, units, _channel_names(source), called, tuple(notes), shown,
                   acquisition_of(source.attrs))


def _letter(dim: str) -> str:
    """The axis that a dimension is; an empty text where it is none."""
    lower = dim.lower()
    return next((axis for axis, names in DIMENSIONS.items() if lower == axis.lower() or lower in names), "")


def _step(positions: npt.NDArray[Any], attributes: Mapping[str, Any]) -> tuple[float | None, str]:
    """Step and unit of a coordinate: None where it is not even, 0 where nothing is known."""
    unit = str(attributes.get("units", ""))
    if len(positions) < 2 or positions.dtype.kind not in "iufmM":
        step = attributes.get("step", 0.0)
        return (float(step) if isinstance(step, (int, float)) else 0.0), unit
    if positions.dtype.kind in "mM":
        positions, unit = (positions - positions[0]) / np.timedelta64(1, "s"), "second"
    steps = np.diff(positions.astype(np.float64))
    mean = float(steps.mean())
    if not np.isfinite(mean) or np.abs(steps - mean).max() > EVEN * abs(mean):
        return None, unit
    return abs(mean), unit


def _standard(step: float, unit: str, axis: str) -> tuple[float, str] | None:
    """A step in micrometers or seconds; without a unit as it is, but for a step of 1; None where nothing is known."""
    if not unit:
        return (step, "") if step not in (0.0, 1.0) else None
    return to_standard(step, unit, axis)


def _channel_names(source: Labelled) -> tuple[str, ...]:
    """Names of the channels, where a coordinate of channels holds text."""
    for dim in source.coords:
        if _letter(str(dim)) == "C":
            values = np.atleast_1d(np.asarray(source.coords[dim].values))
            if values.dtype.kind in "UO" and all(isinstance(v, str) for v in values.tolist()):
                return tuple(values.tolist())
    return ()

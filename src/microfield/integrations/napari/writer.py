"""Saving image layers of napari: layers of equal shape become the channels of one file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from microfield.display import ChannelDisplay, Display
from microfield.errors import InputError
from microfield.image import Image, as_image
from microfield.integrations.napari.reader import LayerData
from microfield.units import to_standard
from microfield.writing.compress import compress

RATIO = 50.0
"""How many times smaller napari's *Save* makes files: the widget offers every other ratio."""

AXES = {2: "YX", 3: "ZYX", 4: "TZYX"}
"""Number of dimensions of a layer to its axes, where its labels do not say them."""


def write_small(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Save layers `RATIO` times smaller; the paths that were written."""
    report = compress(image_of(layers), path, ratio=RATIO, overwrite=True)
    _tell(str(report).splitlines()[0])
    return [path]


def write_exact(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Save layers as an exact copy, labels and masks, too; the paths that were written."""
    report = compress(image_of(layers), path, lossless=True, overwrite=True)
    _tell(str(report).splitlines()[0])
    return [path]


def image_of(layers: Sequence[LayerData]) -> Image:
    """The image that layers show: each is a channel, with its name, colour and range; a multiscale layer is its full resolution.

    Raises
    ------
    InputError
        The layers differ in shape, dtype or scale, or one has more dimensions than an image.
    """
    arrays = [_full(data, meta) for data, meta, _ in layers]
    first, known = arrays[0], layers[0][1]
    for array, (_, meta, _) in zip(arrays, layers, strict=True):
        if array.shape != first.shape or array.dtype != first.dtype or _scale(meta) != _scale(known):
            raise InputError("layers that are saved together become channels of one image and must have the same shape, type of "
                             f"values and scale, but {meta.get('name')!r} and {known.get('name')!r} do not; save them one by one.")
    axes = _axes(first, known)
    sizes, units = _sizes(axes, known)
    display = Display() if known.get("rgb") else Display(tuple(_channel(meta) for _, meta, _ in layers))
    names = tuple(str(meta.get("name", "")) for _, meta, _ in layers)
    if len(layers) > 1:
        first, axes = _Stacked(arrays), f"C{axes}"
    elif known.get("rgb"):
        names = ()
    return replace(as_image(first, axes), voxel_size=sizes, units=units, channel_names=names, display=display,
                   name=str(known.get("name") or "layer"))


class _Stacked:
    """Arrays one after the other along a first axis, none of which is read before it is asked for."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        self.arrays = arrays
        self.shape = (len(arrays), *arrays[0].shape)
        self.dtype = np.dtype(arrays[0].dtype)

    def __getitem__(self, key: Any) -> Any:
        first, *rest = key
        return np.stack([np.asarray(array[tuple(rest)]) for array in self.arrays[first]])


def _full(data: Any, meta: Mapping[str, Any]) -> Any:
    """The values of a layer at full resolution."""
    multiscale = meta.get("multiscale", isinstance(data, (list, tuple)))
    return data[0] if multiscale else data


def _axes(array: Any, meta: Mapping[str, Any]) -> str:
    """A letter per dimension: from the layer's labels where these are axes, else the usual ones."""
    colours = "S" if meta.get("rgb") else ""
    count = len(array.shape) - len(colours)
    labels = "".join(str(label) for label in meta.get("axis_labels") or ()).upper()
    if len(labels) == count and len(set(labels)) == count and set(labels) <= set("TCZYX") and {"Y", "X"} <= set(labels):
        return labels + colours
    if count not in AXES:
        raise InputError(f"a layer with {count} dimensions cannot be saved, since only 2 to 4 are known to be t, z, y and x; name "
                         "the dimensions by letters of TCZYX in axis_labels.")
    return AXES[count] + colours


def _scale(meta: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(float(v) for v in meta.get("scale", ()))


def _sizes(axes: str, meta: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Steps along the axes and their units; a scale of 1 in pixels says nothing."""
    sizes, units = {}, {}
    letters = axes.removesuffix("S")
    given = [str(unit) for unit in meta.get("units") or ["pixel"] * len(letters)]
    for axis, step, unit in zip(letters, _scale(meta), given, strict=False):
        if axis != "C" and (standard := to_standard(step, unit, axis)) is not None:
            sizes[axis], units[axis] = standard
        elif axis != "C" and unit == "pixel" and step not in (0.0, 1.0):
            sizes[axis] = step
    return sizes, units


def _channel(meta: Mapping[str, Any]) -> ChannelDisplay:
    """Colour and range of a layer."""
    limits = meta.get("contrast_limits")
    shown = None if limits is None else (float(limits[0]), float(limits[1]))
    colours = meta["colormap"].get("colors") if isinstance(meta.get("colormap"), Mapping) else None
    if colours is None:
        return ChannelDisplay(None, shown, hidden=not meta.get("visible", True))
    points = np.asarray(colours, float)[:, :3]
    entries = np.stack([np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, len(points)), column) for column in points.T])
    found = ChannelDisplay.of_table(np.rint(entries * 255).astype(np.uint8), shown)
    return ChannelDisplay(found.colour, shown, found.table, not meta.get("visible", True))


def _tell(text: str) -> None:
    """Say in napari, where it runs, what was lost."""
    if "napari" in sys.modules:
        from napari.utils.notifications import show_info

        show_info(text)

"""What an OME-Zarr 0.5 image says of itself: axes, scales of the resolutions, how viewers show channels; and our own attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from microfield.display import ChannelDisplay
from microfield.io.annotations import annotation_of
from microfield.io.blocks import Output
from microfield.io.zarr import OWN_ATTRIBUTES

SAMPLE_NAMES = ("red", "green", "blue", "alpha")
SAMPLE_COLOURS = ("FF0000", "00FF00", "0000FF", "FFFFFF")
"""What viewers call colour samples and show them in, as RGB in hexadecimal."""

COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
"""What viewers show channels in, in turn: white, green, magenta, cyan, yellow, red, blue."""

TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
"""OME-Zarr's type of every axis."""


def group_attributes(name: str, output: Output, axes: str, steps: Sequence[Mapping[str, int]],
                     ranges: Mapping[int, tuple[float, float]]) -> dict[str, Any]:
    """The attributes of the group of an image.

    Parameters
    ----------
    name : str
        Of the image; ``.ome.zarr`` at its end is left out.
    output : Output
        What the image means; colour samples are channels (see ``axes``).
    axes : str
        Axes of the stored arrays, in the order ``TCZYX``, without ``S``.
    steps : sequence of mapping
        For every resolution axis letter to the voxels of the image in one of its voxels; 1 where an axis is left out.
    ranges : mapping of int to (float, float)
        Stored channel to its smallest and largest value, for viewers where the image has no display range.
    """
    attributes: dict[str, Any] = {"ome": _metadata(name, output, axes, steps, ranges)}
    own: dict[str, Any] = {"source_metadata": output.metadata} if output.metadata else {}
    kept = annotation_of(output.display, output.layout.axes, ranges=False)
    own |= {"display": kept} if kept else {}
    own |= {"acquisition": output.acquisition.as_dict()} if output.acquisition else {}
    return attributes | ({OWN_ATTRIBUTES: own} if own else {})


def _placed(output: Output, axes: str) -> list[float] | None:
    """The position as a translation along the stored axes; None where it is not known, or not in the unit of an axis."""
    position = output.acquisition.position
    placed = [a for a in position if a in axes and output.units.get(a) == "micrometer"]
    return [position[a] if a in placed else 0.0 for a in axes] if placed else None


def stored_sizes(output: Output) -> dict[str, int]:
    """Axis letter to extent of the stored arrays, in the order of OME-Zarr: colour samples become channels, three for every one."""
    sizes = dict(zip(output.layout.axes, output.layout.shape, strict=True))
    if samples := sizes.pop("S", 0):
        sizes["C"] = sizes.get("C", 1) * samples
    return {a: sizes[a] for a in "TCZYX" if a in sizes}


def _metadata(name: str, output: Output, axes: str, steps: Sequence[Mapping[str, int]], ranges: Mapping[int, tuple[float, float]],
              ) -> dict[str, Any]:
    """The ``ome`` attributes."""
    described = []
    for axis in axes:
        entry = {"name": axis.lower(), "type": TYPES[axis]}
        if axis != "C" and axis in output.units:
            entry["unit"] = output.units[axis]
        described.append(entry)
    datasets = []
    for i, step in enumerate(steps):
        scale = [float(output.voxel_size.get(a, 1.0)) * step.get(a, 1) for a in axes]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if (place := _placed(output, axes)) is not None:
            transformations.append({"type": "translation", "translation": place})
        datasets.append({"path": str(i), "coordinateTransformations": transformations})
    ome: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [{"name": name.removesuffix(".zarr").removesuffix(".ome"), "axes": described, "datasets": datasets,
                         "type": "mean"}],
    }
    if "C" in axes or output.channel_names or output.display.channels:
        model = "greyscale" if output.display.mode == "grayscale" else "color"
        ome["omero"] = {"channels": _channels(output, ranges), "rdefs": {"model": model}}
    return ome


def _channels(output: Output, ranges: Mapping[int, tuple[float, float]]) -> list[dict[str, Any]]:
    """Name, colour and range of every channel, for viewers: those of the image, or usual ones where it has none."""
    channels = []
    samples = dict(zip(output.layout.axes, output.layout.shape, strict=True)).get("S", 1)
    names, displays = output.channel_names, output.display.channels
    for i, (low, high) in sorted(ranges.items()):
        channel, sample = divmod(i, samples)
        label = names[channel] if names else ""
        shown = displays[channel] if displays else ChannelDisplay()
        colour = COLOURS[channel % len(COLOURS)] if shown.colour is None else bytes(shown.colour).hex().upper()
        if samples > 1:
            tint = SAMPLE_NAMES[sample] if sample < len(SAMPLE_NAMES) else f"sample {sample}"
            label = f"{label} {tint}".strip()
            colour = SAMPLE_COLOURS[min(sample, 3)]
        start, end = shown.range or (low, high)
        window = {"min": min(low, start), "max": max(high, end), "start": start, "end": end}
        channels.append({"label": label, "color": colour, "active": not shown.hidden, "window": window})
    return channels

"""Opening a microfield file in napari: one layer for each channel, of lazy arrays of several resolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from microfield.display import WHITE, ChannelDisplay
from microfield.io.zarr_attributes import SAMPLE_NAMES
from microfield.notebook.preview import PALETTE
from microfield.reading.contrast import contrast
from microfield.reading.file import MicrofieldFile, open_file

LayerData = tuple[Any, dict[str, Any], str]
"""What napari makes a layer of: the values, arguments, and the kind of layer."""

ORDER = "TCZYXS"
"""Axes as napari shows them: sliders, then the plane, then colour samples."""

PRIMARIES = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
"""Colours of samples that are shown as channels."""


def napari_get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """The function that opens these paths; None where one of them is no microfield file."""
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(str(one).lower().endswith(".mfield") for one in paths) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Layers of one file or several.

    Raises
    ------
    FormatError
        A file is damaged or none of microfield; napari shows the sentence.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [layer for one in paths for layer in layers_of(open_file(one))]


def layers_of(f: MicrofieldFile) -> list[LayerData]:
    """The layers of a file: one for each channel (C), colours of 8 bits (S) as one layer of colours.

    Every layer has the axes T, Z, Y and X in this order, as far as the image has them, as Dask arrays of one plane per chunk: of
    the image alone, or, where its planes are large, of all its resolutions (`MicrofieldFile.levels`). Scale, units, names,
    colours and display ranges are those of the file; where it says no range, percentiles of its middle plane are shown.
    """
    order = [axis for axis in ORDER if axis in f.axes]
    levels = f.levels()
    arrays = [level.to_dask().transpose([f.axes.index(axis) for axis in order]) for level in levels]
    shown = "".join(axis for axis in order if axis in "TZYX")
    common = {
        "scale": [f.voxel_size.get(axis, 1.0) for axis in shown], "units": [f.units.get(axis, "pixel") for axis in shown],
        "axis_labels": list(shown.lower()), "multiscale": len(levels) > 1,
        "metadata": {"microfield": {"method": f.method, "ratio": f.ratio, "quality": f.making.quality if f.making else ""}},
    }
    limits = contrast(levels[-1])
    rgb = "S" in f.axes and f.dtype == np.uint8 and f.sizes["S"] in (3, 4)
    layers: list[LayerData] = []
    for c in range(f.sizes.get("C", 1)):
        for s in range(1 if rgb else f.sizes.get("S", 1)):
            chosen = [_one(array, order, c, None if rgb else s) for array in arrays]
            how = {"rgb": True, "name": _name(f, c)} if rgb else _shown(f, c, s) | {"contrast_limits": list(limits[c])}
            layers.append((chosen if len(chosen) > 1 else chosen[0], {**common, **how}, "image"))
    return layers


def _one(array: Any, order: Sequence[str], channel: int, sample: int | None) -> Any:
    """A channel of a Dask array, and a sample of it unless all are shown together."""
    key = {"C": channel} | ({} if sample is None else {"S": sample})
    return array[tuple(key.get(axis, slice(None)) for axis in order)]


def _name(f: MicrofieldFile, channel: int, sample: int | None = None) -> str:
    """Name of a layer: that of the file, of the channel and of the sample."""
    words = [PurePath(f.name).name.removesuffix(".mfield")]
    if f.channel_names:
        words.append(f.channel_names[channel])
    elif f.sizes.get("C", 1) > 1:
        words.append(f"channel {channel}")
    if sample is not None:
        words.append(SAMPLE_NAMES[sample] if sample < len(SAMPLE_NAMES) else f"sample {sample}")
    return " ".join(words)


def _shown(f: MicrofieldFile, channel: int, sample: int) -> dict[str, Any]:
    """Name and colours of a layer of grey levels."""
    known = f.display.channels[channel] if f.display.channels else ChannelDisplay()
    count, samples = f.sizes.get("C", 1), f.sizes.get("S", 1)
    if samples > 1:
        known = ChannelDisplay(PRIMARIES[sample] if sample < len(PRIMARIES) else WHITE, known.range, None, known.hidden)
    elif known.colour is None:
        known = ChannelDisplay(WHITE if count == 1 else PALETTE[channel % len(PALETTE)], known.range, known.table, known.hidden)
    return {
        "name": _name(f, channel, sample if samples > 1 else None), "colormap": colormap(known),
        "blending": "additive" if count * samples > 1 else "translucent_no_depth",
        "visible": not known.hidden, "rgb": False,
    }


def colormap(channel: ChannelDisplay) -> dict[str, Any]:
    """A channel as a colormap of napari: red, green, blue and opacity from 0 to 1 at points from dark to bright."""
    entries = channel.entries.T / 255 if channel.table is not None else np.array([(0, 0, 0), channel.colour or WHITE]) / 255
    colours = np.concatenate([entries, np.ones((len(entries), 1))], axis=1)
    name = f"#{bytes(channel.colour or WHITE).hex()}" if channel.table is None else "lookup table"
    return {"name": name, "colors": colours.astype(np.float32)}

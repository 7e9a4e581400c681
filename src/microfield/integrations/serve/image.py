"""One file as a plain OME-Zarr image: the documents and chunks that a Zarr store would hold, made when they are asked for.

Zarr specification v2 and v3, OME-Zarr 0.4 and 0.5. Chunks are not compressed, so that each has a size that is known before it is
decoded: one plane, at most `SIDE` voxels a side, little endian, filled up with zeros at the far edges of the image.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from microfield.display import ChannelDisplay
from microfield.image import Layout
from microfield.io.blocks import Output
from microfield.io.zarr_attributes import group_attributes, stored_sizes
from microfield.reading.contrast import contrast
from microfield.reading.file import MicrofieldFile
from microfield.reading.levels import Level

SIDE = 512
"""Longest side of a chunk in Y and X; the other axes have chunks of 1."""

VERSIONS = ("0.4", "0.5")
"""Versions of OME-Zarr: the first is stored as Zarr 2, the second as Zarr 3."""


@dataclass(frozen=True)
class ChunkPlace:
    """Which chunk: the number of a resolution, and the chunk's position along every axis."""

    level: int
    index: tuple[int, ...]


class ServedImage:
    """A file as OME-Zarr.

    Parameters
    ----------
    file : MicrofieldFile
    """

    def __init__(self, file: MicrofieldFile) -> None:
        self.file = file
        self.levels: tuple[Level, ...] = file.levels()
        self.samples = file.sizes.get("S", 1)
        self.dtype = file.dtype.newbyteorder("<")
        self.shapes = [tuple(stored_sizes(self._output(level)).values()) for level in self.levels]
        self.axes = "".join(stored_sizes(self._output(self.levels[0])))

    def chunk_shape(self, level: int) -> tuple[int, ...]:
        """Extents of the chunks of a resolution."""
        return tuple(min(SIDE, n) if axis in "YX" else 1 for axis, n in zip(self.axes, self.shapes[level], strict=True))

    def chunk_bytes(self, level: int) -> int:
        """Bytes of every chunk of a resolution."""
        return math.prod(self.chunk_shape(level)) * self.dtype.itemsize

    def place(self, version: str, key: str) -> ChunkPlace | None:
        """Which chunk a key of a store is for, such as ``1/c/0/3/2`` (0.5) or ``1/0/3/2`` (0.4); None where it is for none."""
        pattern = r"(\d+)/c((?:/\d+)+)" if version == "0.5" else r"(\d+)((?:/\d+)+)"
        found = re.fullmatch(pattern, key, re.ASCII)
        if found is None or len(key) > 200:
            return None
        level, index = int(found[1]), tuple(map(int, found[2][1:].split("/")))
        if key != self._key(version, level, index) or level >= len(self.levels) or len(index) != len(self.axes):
            return None
        counts = (-(-n // c) for n, c in zip(self.shapes[level], self.chunk_shape(level), strict=True))
        return ChunkPlace(level, index) if all(i < n for i, n in zip(index, counts, strict=True)) else None

    @staticmethod
    def _key(version: str, level: int, index: tuple[int, ...]) -> str:
        return f"{level}/{'c/' if version == '0.5' else ''}{'/'.join(map(str, index))}"

    def chunk(self, place: ChunkPlace) -> bytes:
        """The bytes of a chunk, decoded now."""
        level, full = self.levels[place.level], self.chunk_shape(place.level)
        at = dict(zip(self.axes, place.index, strict=True))
        channel, sample = divmod(at.get("C", 0), self.samples)
        at |= {"C": channel, "S": sample}
        key = tuple(slice(at[axis] * SIDE, at[axis] * SIDE + SIDE) if axis in "YX" else slice(at[axis], at[axis] + 1)
                    for axis in level.axes)
        plane = level[key].transpose([i for i, axis in enumerate(level.axes) if axis not in "YX"]
                                     + [level.axes.index("Y"), level.axes.index("X")])
        plane = plane.reshape(plane.shape[-2:])
        out = np.zeros(full[-2:], self.dtype)
        out[: plane.shape[0], : plane.shape[1]] = plane
        return out.tobytes()

    # -- documents ------------------------------------------------------------------------------------------------------------

    def document(self, version: str, key: str) -> dict[str, Any] | None:
        """The metadata that a key of a store is for; None where there are none of that name."""
        return self._documents_2.get(key) if version == "0.4" else self._documents_3.get(key)

    @cached_property
    def _documents_3(self) -> dict[str, dict[str, Any]]:
        """Of Zarr 3: those of the arrays, and of the group, which repeats them for readers that want all at once."""
        arrays = {f"{i}/zarr.json": self._array_3(i) for i in range(len(self.levels))}
        consolidated = {"kind": "inline", "must_understand": False,
                        "metadata": {key.removesuffix("/zarr.json"): array for key, array in arrays.items()}}
        return {**arrays, "zarr.json": {"zarr_format": 3, "node_type": "group", "attributes": self._attributes,
                                        "consolidated_metadata": consolidated}}

    def _array_3(self, level: int) -> dict[str, Any]:
        order = {} if self.dtype.itemsize == 1 else {"configuration": {"endian": "little"}}
        return {
            "zarr_format": 3, "node_type": "array", "shape": list(self.shapes[level]), "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunk_shape(level))}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0, "codecs": [{"name": "bytes", **order}], "attributes": {},
            "dimension_names": list(self.axes.lower()),
        }

    @cached_property
    def _documents_2(self) -> dict[str, dict[str, Any]]:
        """Of Zarr 2, where attributes and arrays have documents of their own, and one repeats all."""
        ome = self._attributes["ome"]
        own = {key: value for key, value in {**self._attributes, **ome}.items() if key not in ("ome", "version")}
        own |= {"multiscales": [{"version": "0.4", **one} for one in ome["multiscales"]]}
        documents: dict[str, dict[str, Any]] = {".zgroup": {"zarr_format": 2}, ".zattrs": own}
        for i in range(len(self.levels)):
            documents[f"{i}/.zarray"] = {
                "zarr_format": 2, "shape": list(self.shapes[i]), "chunks": list(self.chunk_shape(i)), "dtype": self.dtype.str,
                "compressor": None, "fill_value": 0, "order": "C", "filters": None, "dimension_separator": "/",
            }
            documents[f"{i}/.zattrs"] = {"_ARRAY_DIMENSIONS": list(self.axes.lower())}  # For xarray.
        return {**documents, ".zmetadata": {"zarr_consolidated_format": 1, "metadata": documents}}

    @cached_property
    def _attributes(self) -> dict[str, Any]:
        """The attributes of the group of OME-Zarr 0.5, with a range for every channel: viewers would have to look for one."""
        pairs = contrast(self.levels[-1])
        ranges = {c * self.samples + s: pair for c, pair in enumerate(pairs) for s in range(self.samples)}
        output = self._output(self.levels[0])
        known = output.display.channels or (ChannelDisplay(),) * len(pairs)
        shown = tuple(replace(channel, range=pair) for channel, pair in zip(known, pairs, strict=True))
        output = replace(output, display=replace(output.display, channels=shown))
        steps = [level.steps for level in self.levels]
        return group_attributes(self.file.name.removesuffix(".mfield"), output, self.axes, steps, ranges)

    def _output(self, level: Level) -> Output:
        """A resolution as what a writer of OME-Zarr would write."""
        f = self.file
        return Output(Layout(level.shape, f.axes, f.dtype), level.__getitem__, f.voxel_size, f.units, f.channel_names, f.metadata,
                      f.display).consistent()

"""The reader of microfield files for bioio, found by the entry point group ``bioio.readers``.

Axes are TCZYX (and S), planes are read one by one, and lower resolutions are those of `MicrofieldFile.levels`, which the file
holds nothing for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from bioio_base import constants, exceptions, io, types
from bioio_base import reader as base
from bioio_base import reader_metadata as base_metadata
from bioio_base.dimensions import DEFAULT_DIMENSION_ORDER
from bioio_base.standard_metadata import StandardMetadata

from microfield.errors import MicrofieldError
from microfield.format.source import FileSource, FsspecSource
from microfield.reading.file import MicrofieldFile, open_file
from microfield.reading.levels import Level

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

LENGTHS, TIMES = "ZYX", "T"
"""Axes whose steps are lengths, and times."""


class ReaderMetadata(base_metadata.ReaderMetadata):  # type: ignore[misc]
    """What bioio asks before it loads the reader."""

    @staticmethod
    def get_supported_extensions() -> list[str]:
        """Suffixes of files."""
        return ["mfield"]

    @staticmethod
    def get_reader() -> type[Reader]:
        """The reader."""
        return Reader


class Reader(base.Reader):  # type: ignore[misc]
    """Reads one microfield file, which is one scene.

    Parameters
    ----------
    image : path or URL
        Of the file.
    fs_kwargs : mapping, optional
        Of the file system that fsspec opens the URL with.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnsupportedFileFormatError
        It is not a readable microfield file; the reason follows.
    """

    NAME = "microfield"

    def __init__(self, image: types.PathLike, fs_kwargs: Mapping[str, Any] | None = None, **_others: Any) -> None:
        self._fs, self._path = io.pathlike_to_fs(image, enforce_exists=True, fs_kwargs=dict(fs_kwargs or {}))
        self._file = _open(self._fs, self._path)

    @staticmethod
    def _is_supported_image(fs: AbstractFileSystem, path: str, **_others: Any) -> bool:
        _open(fs, path)
        return True

    @property
    def scenes(self) -> tuple[str, ...]:
        """The only scene."""
        return ("Image:0",)

    @property
    def resolution_levels(self) -> tuple[int, ...]:
        """Numbers of the resolutions, the full one first."""
        return tuple(range(len(self._file.levels())))

    @property
    def resolution_level_dims(self) -> dict[int, tuple[int, ...]]:
        """Number of a resolution to its shape."""
        return {i: self._shape(level) for i, level in enumerate(self._file.levels())}

    @property
    def channel_names(self) -> list[str]:
        """Names of the channels, which are numbered where the file has none."""
        names = self._file.channel_names
        return list(names) if names else [f"Channel:0:{i}" for i in range(self._file.sizes.get("C", 1))]

    @property
    def physical_pixel_sizes(self) -> types.PhysicalPixelSizes:
        """Steps along Z, Y and X at the current resolution, in the unit that `dimension_properties` gives."""
        steps = self._level.voxel_size
        return types.PhysicalPixelSizes(*(steps.get(axis) for axis in LENGTHS))

    @property
    def time_interval(self) -> timedelta | None:
        """Time between time points, where it is known."""
        step = self._file.voxel_size.get(TIMES)
        return timedelta(seconds=step) if step is not None and self._file.units.get(TIMES) == "second" else None

    @property
    def dimension_properties(self) -> types.DimensionProperties:
        """Kind and unit of every axis."""
        units = {axis: types.ureg.Unit(unit) for axis, unit in self._file.units.items() if unit in types.ureg}
        kinds = {"T": "time", "C": "channel", **dict.fromkeys(LENGTHS, "space")}
        return types.DimensionProperties(
            **{axis: types.DimensionProperty(type=kind, unit=units.get(axis)) for axis, kind in kinds.items()})

    @property
    def ome_metadata(self) -> Any:
        """The OME-XML that the file keeps of its source.

        Raises
        ------
        NotImplementedError
            It keeps none.
        """
        text = self._file.metadata
        if text is None or "<OME" not in text:
            raise NotImplementedError(f"{self._file.name} keeps no OME-XML of its source.")
        from ome_types import from_xml

        return from_xml(text)

    @property
    def standard_metadata(self) -> StandardMetadata:
        """What bioio calls standard: sizes, and how the image was taken as far as the file says it."""
        taken, found = self._file.acquisition, super().standard_metadata
        found.objective = taken.lens or found.objective
        found.stage_position_x, found.stage_position_y = (taken.position.get(axis) for axis in "XY")
        with contextlib.suppress(ValueError):
            found.imaging_datetime = datetime.fromisoformat(taken.date) if taken.date else found.imaging_datetime
        return found

    @property
    def _level(self) -> Level:
        return self._file.levels()[self._current_resolution_level]

    def _order(self) -> str:
        """Axes of what is read."""
        return f"{DEFAULT_DIMENSION_ORDER}S" if "S" in self._file.axes else str(DEFAULT_DIMENSION_ORDER)

    def _shape(self, level: Level) -> tuple[int, ...]:
        return tuple(level.sizes.get(axis, 1) for axis in self._order())

    def _read_delayed(self) -> xr.DataArray:
        level = self._level
        return self._labelled(level, level.to_dask(None if self._current_resolution_level else self._chunks()))

    def _read_immediate(self) -> xr.DataArray:
        return self._labelled(self._level, np.asarray(self._level[...]))

    def _read_indexed(self, given_dims: str, dim_specs: list[types.DimSpec]) -> npt.NDArray[Any]:
        """The values of integers, slices and lists along the axes, of which only those are decoded."""
        level, given = self._level, dict(zip(given_dims, dim_specs, strict=True))
        inner: dict[str, Any] = {}
        outer: list[Any] = []
        for axis, key in given.items():
            if isinstance(key, (int, slice)):
                inner[axis] = key
                outer += [] if isinstance(key, int) else [slice(None)]
            else:
                first, last = min(key, default=0), max(key, default=-1)
                inner[axis] = slice(first, last + 1)
                outer.append([k - first for k in key])
        values = self._in_order(level, np.asarray(level[tuple(_kept(inner[axis]) for axis in level.axes)]))
        values = values[tuple(inner[axis] if axis not in level.axes else 0 if isinstance(inner[axis], int) else slice(None)
                              for axis in given_dims)]
        for position, wanted in enumerate(outer):
            values = values[(slice(None),) * position + (wanted,)]
        return np.asarray(values)

    def _chunks(self) -> tuple[int, ...]:
        """A chunk is a plane, as bioio's users read; where parts are cut along Y and X, of one part."""
        tile = dict(zip(self._file.axes, self._file.header.tile or self._file.shape, strict=True))
        return tuple(tile[axis] if axis in "YXS" else 1 for axis in self._file.axes)

    def _in_order(self, level: Level, values: Any) -> Any:
        """An array with the axes of a file in the order of `_order`; axes that it lacks have an extent of 1."""
        order = [axis for axis in self._order() if axis in level.axes]
        moved = values.transpose([level.axes.index(axis) for axis in order])
        return moved[tuple(slice(None) if axis in level.axes else None for axis in self._order())]

    def _labelled(self, level: Level, values: Any) -> xr.DataArray:
        order = self._order()
        sizes = dict(zip(order, self._shape(level), strict=True))
        coordinates: dict[str, Any] = {"C": self.channel_names} if len(self.channel_names) == sizes["C"] else {}
        coordinates |= {axis: np.arange(sizes[axis]) * step for axis, step in level.voxel_size.items()}
        return xr.DataArray(self._in_order(level, values), dims=list(order), coords=coordinates,
                            attrs={constants.METADATA_UNPROCESSED: self._file.metadata})


def _kept(key: int | slice) -> slice:
    """An index as a slice, which keeps its axis."""
    return key if isinstance(key, slice) else slice(key, key + 1 or None)


def _open(fs: AbstractFileSystem, path: str) -> MicrofieldFile:
    """A file of a file system; what is wrong with it in bioio's own error."""
    from fsspec.implementations.local import LocalFileSystem

    try:
        return open_file(FileSource(path) if isinstance(fs, LocalFileSystem) else FsspecSource(fs, path, path))
    except MicrofieldError as error:
        raise exceptions.UnsupportedFileFormatError("microfield", path, str(error)) from error

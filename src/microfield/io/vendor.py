"""Reading CZI, ND2, LIF and whatever else the installed bioio plugins read."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.acquisition import NOTHING_SAID, Acquisition
from microfield.display import NOTHING_KNOWN
from microfield.errors import InputError, MissingExtraError
from microfield.image import AXES
from microfield.io.found import Found, choose_scene, left_out, scene_name
from microfield.io.lazy import LibraryArray, expand_key
from microfield.io.vendor_display import channel_colours, channel_names
from microfield.units import to_standard

KNOWN = (".czi", ".nd2", ".lif")
"""Formats that ``microfield[bioio]`` installs the plugins of."""


@dataclass(frozen=True)
class VendorArray(LibraryArray):
    """A plugin's lazy array; what it raises while decoding becomes one sentence."""

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Values of the part asked for."""
        try:
            return np.asarray(self.source[expand_key(key, len(self.shape))])
        except (IndexError, TypeError):
            raise
        except Exception as error:
            raise _unreadable(self.path, error) from error


def read(path: Path, scene: int | str | None = None) -> Found:
    """An image by bioio; mosaic tiles are stitched, axes of extent 1 dropped, and values read when they are asked for.

    Raises
    ------
    InputError
        No plugin reads the file, or it is damaged.
    UsageError
        There is no such scene.
    MissingExtraError
        bioio is not installed.
    """
    reader = _open(path)
    try:
        names = [str(name) for name in reader.scenes]
        index = choose_scene(scene, names, path.name)
        reader.set_scene(index)
        _refuse_spectral_lif(path, index)
        array = _array(reader)
        found = _found(path, reader, array, index)
    except InputError:
        raise
    except Exception as error:  # Plugins raise whatever their libraries do.
        raise _unreadable(path, error) from error
    return replace(found, name=scene_name(path.name, index, names), notes=found.notes + left_out(scene, index, names))


def scenes(path: Path) -> list[str]:
    """Names of the scenes of a file, as the plugin that reads it has them.

    Raises
    ------
    InputError
        No plugin reads the file, or it is damaged.
    MissingExtraError
        bioio is not installed.
    """
    reader = _open(path)
    try:
        return [str(name) for name in reader.scenes]
    except Exception as error:  # Plugins raise whatever their libraries do.
        raise _unreadable(path, error) from error


def _open(path: Path) -> Any:
    """The reader of the plugin that reads the file."""
    try:
        from bioio import BioImage

        unsupported = importlib.import_module("bioio_base.exceptions").UnsupportedFileFormatError
    except ImportError:
        if path.suffix.lower() in KNOWN:
            raise MissingExtraError(f"Reading {path.suffix[1:].upper()} files", "bioio") from None
        raise _unknown(path) from None
    try:
        return BioImage(path).reader
    except unsupported as error:
        if path.suffix.lower() in KNOWN:
            kind = path.suffix[1:].upper()
            raise InputError(
                f"{path.name} cannot be read as {kind}: it is damaged or incomplete, or the bioio plugin for {kind} is not "
                "installed (pip install 'microfield[bioio]')."
            ) from error
        raise _unknown(path) from error
    except Exception as error:
        raise _unreadable(path, error) from error


def _unknown(path: Path) -> InputError:
    """What to say of a file that no reader takes."""
    from microfield.io import READERS

    return InputError(
        f"{path.name} is of no kind that can be opened; what can: {', '.join(READERS)}, "
        "and with microfield[bioio] all that its plugins read."
    )


def _unreadable(path: Path, error: Exception) -> InputError:
    """What to say of a file over which a plugin raised ``error``."""
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return InputError(
        f"{path.name} cannot be read ({reason}); it may be damaged, or need another bioio plugin: save it as OME-TIFF instead."
    )


def _array(reader: Any) -> Any:
    """The image as an xarray over dask, mosaic tiles put together where the plugin can do that."""
    if dict(zip(reader.dims.order, reader.dims.shape, strict=True)).get("M", 1) > 1:
        try:
            return reader.mosaic_xarray_dask_data
        except NotImplementedError:
            pass  # `to_image` refuses the axis M and says what to do.
    return reader.xarray_dask_data


def _found(path: Path, reader: Any, array: Any, scene: int) -> Found:
    """Values and meaning, with axes of size 1 dropped (Y and X stay)."""
    letters = "".join(str(d) for d in array.dims)
    keep = [n > 1 or a in "YX" for a, n in zip(letters, array.shape, strict=True)]
    data = array.data[tuple(slice(None) if k else 0 for k in keep)]
    axes = "".join(a for a, k in zip(letters, keep, strict=True) if k)
    try:
        voxel_size, units = _steps(reader)
    except Exception:  # Sizes that a plugin cannot find must not keep the image from being read.
        voxel_size, units = {}, {}
    count = dict(zip(axes, data.shape, strict=True)).get("C", 1)
    names = channel_names(reader.channel_names, count)
    shown = channel_colours(reader, scene, path.suffix.lower(), names, count) if "S" not in axes else NOTHING_KNOWN
    return Found(VendorArray(data, path), axes, path.name, voxel_size, units, names, path.stat().st_size, _metadata(reader),
                 display=shown, acquisition=_acquisition(reader))


def _acquisition(reader: Any) -> Acquisition:
    """What a plugin knows of how the scene was taken, by bioio's standard metadata or by OME-XML made of its own."""
    try:
        known = reader.standard_metadata
        date, objective = known.imaging_datetime, known.objective
        places = {"X": known.stage_position_x, "Y": known.stage_position_y}
    except Exception:  # Metadata that a plugin cannot translate must not keep the image from being read.
        return NOTHING_SAID
    return Acquisition.from_dict({
        "date": date.isoformat() if isinstance(date, datetime) else None, "objective": objective or None,
        "position": {a: v for a, v in places.items() if v is not None},
    })


def _steps(reader: Any) -> tuple[dict[str, float], dict[str, str]]:
    """Voxel size and units; plugins give lengths in micrometers unless they say otherwise."""
    sizes: dict[str, Any] = dict(zip("ZYX", reader.physical_pixel_sizes, strict=True))
    interval = reader.time_interval
    sizes["T"] = interval.total_seconds() if isinstance(interval, timedelta) else None
    voxel_size: dict[str, float] = {}
    units: dict[str, str] = {}
    for axis, size in sizes.items():
        unit = "second" if axis == "T" else _length_unit(reader, axis)
        step = to_standard(float(size), unit, axis) if size is not None else None
        if step is not None:
            voxel_size[axis], units[axis] = step
    return voxel_size, units


def _length_unit(reader: Any, axis: str) -> str:
    """The unit of a plugin's lengths along an axis; micrometers where it names none."""
    try:
        stated = attrgetter(f"{axis}.unit")(reader.dimension_properties)
    except AttributeError:
        stated = None
    return "micrometer" if stated is None else str(stated)


def _metadata(reader: Any) -> str | None:
    """The vendor's XML as it is, or else OME-XML made by the plugin; None where there is neither."""
    try:
        stated = reader.metadata
        if isinstance(stated, ET.Element):
            return ET.tostring(stated, encoding="unicode")
        if isinstance(stated, str):
            return stated
        return str(reader.ome_metadata.to_xml())
    except Exception:  # Metadata that a plugin cannot translate must not keep the image from being read.
        return None


def _refuse_spectral_lif(path: Path, index: int) -> None:
    """Refuse a spectral scan, of which bioio-lif gives the first wavelength without a word."""
    if path.suffix.lower() != ".lif":
        return
    try:
        liffile = importlib.import_module("liffile")
    except ImportError:
        return
    with liffile.LifFile(path) as file:
        sizes = dict(file.images[index].sizes)
    extra = {str(a): n for a, n in sizes.items() if str(a) not in AXES + "M" and n > 1}
    if extra:
        listed = ", ".join(f"{a} ({n})" for a, n in extra.items())
        raise InputError(
            f"{path.name}: this scene has axes besides {AXES}: {listed}; export one position of them, or their sum, as OME-TIFF."
        )

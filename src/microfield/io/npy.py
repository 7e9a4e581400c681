"""NumPy's files: an NPY file is read when it is indexed, an NPZ file whole. Python objects, which could run code, are refused."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from microfield.errors import InputError
from microfield.image import ArrayLike
from microfield.io.atomic import atomic_path
from microfield.io.blocks import Output, contiguous_boxes
from microfield.io.found import UNNAMED, Found, choose_scene, left_out
from microfield.io.lazy import MappedArray
from microfield.wording import argument

WRITE_VOXELS = 1 << 23
"""Array elements that are asked for at once when writing (8 million)."""


def read(path: Path, scene: int | str | None = None) -> Found:
    """The array of an NPY file, or of an NPZ file: the one called ``data``, or the one ``scene`` names, or the only one.

    Nothing in it names the axes: `to_image` guesses them (see `microfield.axes.guess_axes`).

    Raises
    ------
    InputError
        The file is damaged, holds Python objects, or holds several arrays of which none is chosen.
    """
    try:
        if not zipfile.is_zipfile(path):
            choose_scene(scene, [path.name], path.name)
            return _found(_from_npy(path), path)
        return _from_npz(path, scene)
    except InputError:
        raise
    except (ValueError, OSError, EOFError, KeyError, SyntaxError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"{path.name} cannot be read as a NumPy file ({reason}); it may be damaged.") from error


def _found(data: ArrayLike, path: Path, notes: tuple[str, ...] = ()) -> Found:
    return Found(data, UNNAMED[0] * len(data.shape), path.name, source_bytes=path.stat().st_size, notes=notes)


def scenes(path: Path) -> list[str]:
    """Names of the arrays of an NPZ file; of an NPY file its own.

    Raises
    ------
    InputError
        The file is damaged.
    """
    if not zipfile.is_zipfile(path):
        return [path.name]
    try:
        with np.load(path, allow_pickle=False) as archive:
            return list(archive.files)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path.name} cannot be read as a NumPy file ({error}); it may be damaged.") from error


def _from_npy(path: Path) -> MappedArray:
    """The header of an NPY file; its values stay on disk."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise InputError(f"{path.name} is NPY version {version}, which is not read; save it again with numpy.save.")
        shape, fortran, dtype = readers[version](file)
        offset = file.tell()
    _refuse_objects(dtype, path)
    mapped = MappedArray(path.absolute(), tuple(shape), dtype, offset, "F" if fortran else "C")
    mapped.check()
    return mapped


def _from_npz(path: Path, scene: int | str | None) -> Found:
    """One array of an archive, in memory."""
    with np.load(path, allow_pickle=False) as archive:
        names = list(archive.files)
        if scene is not None:
            index = choose_scene(scene, names, path.name)
        elif "data" in names or len(names) == 1:
            index = names.index("data") if "data" in names else 0
        else:
            listed = ", ".join(names[:20]) or "nothing"
            raise InputError(f"{path.name} has {len(names)} arrays, none of them called 'data'; it holds {listed}: choose one with "
                             f"{argument('scene', 'NAME')}.")
        return _found(archive[names[index]], path, left_out(scene, index, names, "arrays"))


def _refuse_objects(dtype: np.dtype[Any], path: Path) -> None:
    """Refuse an array of Python objects: they are no image, and loading them could run code."""
    if dtype.hasobject:
        raise InputError(f"{path.name} holds Python objects, not numbers; save the image as a plain array.")


def write(path: Path, output: Output) -> tuple[str, ...]:
    """Write the values, block by block; an NPY file has no place for anything else, which is returned in words.

    Raises
    ------
    InputError
        The folder does not exist.
    """
    layout = output.layout
    header = {"descr": np.lib.format.dtype_to_descr(layout.dtype), "fortran_order": False, "shape": layout.shape}
    with atomic_path(path, output.overwrite) as temporary, open(os.fspath(temporary), "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        done = 0
        for box in contiguous_boxes(layout.shape, WRITE_VOXELS):
            block = np.ascontiguousarray(output.block(box))
            file.write(block.data)
            done += block.size
            output.advance(done, layout.size)
    return output.facts

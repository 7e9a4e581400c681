"""Microscopy files: `open_image` opens any of them, `save_image` writes one."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from microfield import checks
from microfield.acquisition import NOTHING_SAID, Acquisition
from microfield.display import NOTHING_KNOWN, Display
from microfield.errors import InputError, UsageError
from microfield.image import Image, Layout, check_axes
from microfield.io.blocks import Output, Read
from microfield.io.destination import check_file, check_folder, check_readable, check_space, is_node, reason
from microfield.io.found import Found, to_image
from microfield.io.remote import check_url, fetched, is_url, uploaded
from microfield.wording import argument, spoken

READERS = {
    ".tif": "tiff", ".tiff": "tiff", ".tf2": "tiff", ".tf8": "tiff", ".btf": "tiff", ".lsm": "tiff", ".stk": "tiff",
    ".npy": "npy", ".npz": "npy",
    ".png": "picture", ".jpg": "picture", ".jpeg": "picture", ".bmp": "picture", ".webp": "picture",
    ".zarr": "zarr",
    ".czi": "vendor", ".nd2": "vendor", ".lif": "vendor",
}  # fmt: skip
"""Suffix to the module of this package whose ``read`` opens such files."""

WRITERS = {
    ".tif": "tiff_writer", ".tiff": "tiff_writer", ".btf": "tiff_writer",
    ".npy": "npy", ".zarr": "zarr_writer",
}  # fmt: skip
"""Suffix to the module of this package whose ``write`` makes such files."""

IMAGEJ = (".imagej.tif", ".imagej.tiff")
"""Ends of names that ask for ImageJ's TIFF rather than OME-TIFF."""

SIGNATURES = {
    b"II*\0": "tiff", b"MM\0*": "tiff", b"II+\0": "tiff", b"MM\0+": "tiff", b"\x93NUMPY": "npy",
    b"\x89PNG": "picture", b"\xff\xd8\xff": "picture",
}  # fmt: skip
"""First bytes to the reader, for files whose suffix says nothing."""


def open_image(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    scene: str | int | None = None,
    channel: str | int | None = None,
    stack: bool = False,
    beside: Mapping[str, int] | None = None,
) -> Image:
    """Open a microscopy image; its values are read when they are asked for.

    Parameters
    ----------
    path : path or URL
        OME-TIFF, TIFF, LSM, STK, OME-Zarr, NPY, NPZ, PNG, JPEG; CZI, ND2, LIF and what else the installed bioio plugins
        read; with ``stack`` a folder of planes. What is at a URL of any kind that fsspec knows is fetched first, and kept until
        the program ends.
    axes : str, optional
        Letters of ``TCZYXS`` that replace what the file says, one per dimension, in array order.
    scene : str or int, optional
        Which image of a file that holds several, by name or index (`list_scenes` names them). By default the first;
        ``Image.notes`` then says what is not in it. Of a plate, or a folder of several stacks, one must be chosen.
    channel : str or int, optional
        Which element of C to take, by name or index; the image then has no C axis.
    stack : bool
        The path is a folder whose files are planes of one image, and their names say which, such as ``cell_t001_z012_c1.tif``.
    beside : mapping of str to int, optional
        Axis letter to extent of an image that the file belongs to, as a mask does. Where the file does not name its axes, they are
        those of the image that have its extents; otherwise they are guessed (see `microfield.axes.guess_axes`).

    Returns
    -------
    Image
        With voxel sizes in micrometers and seconds where the file gives them.

    Raises
    ------
    InputError
        There is no such file, or it is damaged or of an unknown kind, or holds axes or values that microfield does not take.
    UsageError
        There is no such scene or channel, or the letters are not as many as the dimensions.
    MissingExtraError
        The file needs an optional part of microfield.
    """
    letters, channel = checks.letters("axes", axes), checks.name_or_number("channel", channel)
    return to_image(read_found(path, scene, stack), letters, channel, beside)


def read_found(path: str | os.PathLike[str], scene: str | int | None = None, stack: bool = False) -> Found:
    """What the reader of a path finds there, before axes are guessed; parameters and errors are those of `open_image`."""
    found: Found = _ask(path, "read", stack, checks.name_or_number("scene", scene))
    return found


def list_scenes(path: str | os.PathLike[str], *, stack: bool = False) -> list[str]:
    """Names of the images that a file or folder holds: series, scenes, wells, arrays; `open_image` takes each as ``scene``.

    Parameters
    ----------
    path, stack :
        As in `open_image`.

    Returns
    -------
    list of str
        At least one name; names may occur twice, and the index in this list tells them apart.

    Raises
    ------
    InputError
        There is no such file, or it is damaged or of an unknown kind.
    MissingExtraError
        The file needs an optional part of microfield.
    """
    names: list[str] = _ask(path, "scenes", stack)
    return names


def _ask(path: str | os.PathLike[str], what: str, stack: bool, *arguments: Any) -> Any:
    """What a function of the reader of a path gives."""
    text = os.fspath(checks.path("path", path))
    where = fetched(text) if is_url(text) else Path(text)
    check_readable(where)
    try:
        return _function("stack" if stack else reader_of(where), what)(where, *arguments)
    except OSError as error:
        raise InputError(f"{text} cannot be read ({reason(error)}).") from error


def save_image(
    path: str | os.PathLike[str],
    layout: Layout,
    read: Read,
    *,
    voxel_size: Mapping[str, float] | None = None,
    units: Mapping[str, str] | None = None,
    channel_names: tuple[str, ...] = (),
    metadata: str | None = None,
    display: Display = NOTHING_KNOWN,
    acquisition: Acquisition = NOTHING_SAID,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> tuple[str, ...]:
    """Write an image, asking for it block by block. Either the whole new file appears, or what was there before stays.

    Parameters
    ----------
    path : path or URL
        ``.tif``/``.tiff`` (OME-TIFF; where the name ends in ``.imagej.tif``, a hyperstack of ImageJ and Fiji), ``.zarr`` (OME-Zarr
        0.5) or ``.npy``.
    layout : Layout
        Of the whole image.
    read : callable (tuple of slice) -> ndarray
        Gives the values of a box, one slice with start and stop per axis.
    voxel_size, units : mapping, optional
        Axis letter to step, and to unit in OME-Zarr spelling.
    channel_names : tuple of str, optional
        One name per element of C; one name where there is no C.
    metadata : str, optional
        Metadata of the image's source, kept as text.
    display : Display, optional
        Colours, shown ranges, labels of planes and what grey levels mean.
    acquisition : Acquisition, optional
        When, where on the stage and with which objective it was taken.
    overwrite : bool
        Replace a file, or a Zarr store, that exists.
    progress : callable (fraction in 0..1), optional
        Called after every block.

    Returns
    -------
    tuple of str
        What was given and the format has no place for, in words such as ``"channel names"``.

    Raises
    ------
    UsageError
        The suffix is none of these.
    InputError
        The path exists and is not to be replaced, or cannot be written, or has too little space (`check_output`).
    MissingExtraError
        The format needs an optional part of microfield.
    """
    check_output(path, layout, overwrite=overwrite)
    where = Path(os.fspath(path))
    check_axes(layout.axes, len(layout.shape), where.name)
    native = Layout(layout.shape, layout.axes, np.dtype(layout.dtype).newbyteorder("="))
    output = Output(native, read, dict(voxel_size or {}), dict(units or {}), channel_names, metadata, display, progress, overwrite,
                    acquisition)
    write = _function(_writer_of(where), "write")
    lost: tuple[str, ...]
    if is_url(path):
        with uploaded(os.fspath(path), overwrite) as local:
            lost = write(local, output.consistent())
    else:
        lost = write(where, output.consistent())
    return lost


def check_output(
    path: str | os.PathLike[str], layout: Layout | None = None, *, overwrite: bool = False,
    sources: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Check that `save_image` can write to a path, before the work that gives the values.

    Parameters
    ----------
    path : path
        As in `save_image`.
    layout : Layout, optional
        Of what is to be written, whose raw bytes must be free on the disk.
    overwrite : bool
        Whether a file, or a Zarr store, that exists may be replaced.
    sources : iterable of path
        Files that are read: none of them is ever replaced.

    Raises
    ------
    UsageError
        The suffix is not one of `WRITERS`, or the path leads to one of the sources.
    InputError
        The path exists and is not to be replaced, or cannot be written, or has too little space.
    """
    check = check_folder if _writer_of(Path(path)) == "zarr_writer" else check_file
    if is_url(path):
        check_url(os.fspath(path), overwrite=overwrite)
        return
    check(path, overwrite=overwrite, sources=sources)
    if layout is not None:
        check_space(path, layout.nbytes, f"select less at once ({argument('select')}), or write to another disk")


def _writer_of(path: Path) -> str:
    """Name of the module that writes files of this suffix."""
    if path.name.lower().endswith(IMAGEJ):
        return "imagej_writer"
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"cannot write {path.name}: its suffix is not one of {', '.join(WRITERS)}.")
    return WRITERS[path.suffix.lower()]


def is_image(path: Path) -> bool:
    """Whether a file or folder is an image by its name or, for Zarr, by what it holds; hidden files are not."""
    if path.name.startswith("."):
        return False
    return is_node(path) if path.is_dir() else path.suffix.lower() in READERS


def reader_of(path: Path) -> str:
    """Name of the module that reads a path, found by what a folder holds, by suffix, or by the first bytes."""
    if path.is_dir():
        if is_node(path):
            return "zarr"
        stacked = argument("stack", True)
        inside = spoken("give its files one by one", f"{argument('recursive', True)} takes every image in it")
        raise InputError(f"{path} is a folder without a Zarr image in it; {inside}, {stacked} takes its files as planes of one "
                         "image.")
    suffix = path.suffix.lower()
    if suffix == ".mfield":
        command = spoken("microfield.decompress", "`microfield decompress`")
        raise InputError(f"{path.name} is already a microfield file; compress the image that it was made from, or turn it into an "
                         f"image first with {command}.")
    if suffix in READERS:
        return READERS[suffix]
    with path.open("rb") as file:
        first = file.read(8)
    return next((name for mark, name in SIGNATURES.items() if first.startswith(mark)), "vendor")


def _function(module: str, name: str) -> Callable[..., Any]:
    """The function ``read`` or ``write`` of a module of this package, which is imported when it is needed."""
    function: Callable[..., Any] = getattr(importlib.import_module(f"microfield.io.{module}"), name)
    return function

"""Two images to compare, whatever each of them is: a path, an array, an Image, an open microfield file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from microfield import checks, metrics
from microfield.errors import InputError, MicrofieldError, MissingExtraError, NotFiniteError, UsageError
from microfield.image import ArrayLike, Image, as_image, filled
from microfield.io import open_image
from microfield.io.npy import read as read_numpy
from microfield.labelled import DENOISED, Labelled
from microfield.metrics.comparison import Comparison
from microfield.notebook.preview import Preview, like, look, preview
from microfield.progress import Progress, shown
from microfield.reading.file import MicrofieldFile, open_file
from microfield.reading.original import foreign
from microfield.wording import argument

if TYPE_CHECKING:
    from microfield.report.quick import QuickVerdict

WITHOUT_AXES = (".npy", ".npz")
"""Suffixes of files that name no axes."""


class Opened(NamedTuple):
    """Two images of one shape and with the same axes."""

    original: Image
    reconstruction: ArrayLike
    file: MicrofieldFile | None
    """The microfield file that the reconstruction is; None for other images."""
    same_original: bool | None = None
    """Whether that file was made from the original, by its checksum; None where there is no file, or it does not say."""


class Reading(NamedTuple):
    """How the original is read: what `microfield.open_image` takes, and what replaces NaN and infinity."""

    axes: str | None = None
    scene: str | int | None = None
    channel: str | int | None = None
    nan_fill: float | None = None
    stack: bool = False


def compare(
    original: Any, reconstruction: Any, *, axes: str | None = None, scene: str | int | None = None,
    channel: str | int | None = None, nan_fill: float | None = None, stack: bool = False, ssim: bool = True,
    full: bool = False, lpips: bool = False, file_bytes: int | None = None,
) -> Comparison:
    """Measure a reconstruction against its original.

    ``mf.compare("cells.ome.tif", "cells.mfield")``; either may also be an array, an `xarray.DataArray`, an Image, an open
    MicrofieldFile or any file that `open_image` reads. What names no axes, such as a plain array, has those of the other one.

    Parameters
    ----------
    original : path, array, Image, MicrofieldFile
        The image that was compressed.
    reconstruction : path, array, Image, MicrofieldFile
        What became of it, of the same shape. It is read once, block by block.
    axes, scene, channel : optional
        How to read the original, as in `microfield.compress`.
    nan_fill : float, optional
        Value that replaces NaN and infinity in the original, as in `microfield.compress`.
    stack : bool
        The original is a folder of planes, as in `microfield.compress`.
    ssim : bool
        False skips structural similarity in all its forms, which takes most of the time.
    full : bool
        True adds 3-D and multi-scale SSIM, the Fourier ring correlation, the histogram distance and block edges, for about four
        times the time.
    lpips : bool
        True adds LPIPS, how far the planes differ in the features of a network, with ``microfield[perceptual]``.
    file_bytes : int, optional
        Size of the compressed file, for the ratio, where the reconstruction is not the file itself.

    Returns
    -------
    Comparison
        A mapping of metrics, which prints as a table.

    Raises
    ------
    InputError
        The shapes or axes differ, an image cannot be read, or one holds NaN or infinity and the other is no exact copy of it.
    MissingExtraError
        LPIPS is asked for, and what it takes is not installed.
    """
    if file_bytes is not None:
        file_bytes = checks.number("file_bytes", file_bytes, whole=True, least=1)
    with opened(original, reconstruction, Reading(axes, scene, channel, nan_fill, stack)) as pair:
        size = pair.file.file_bytes if pair.file is not None and file_bytes is None else file_bytes
        found = metrics.compare(pair.original, pair.reconstruction, ssim=ssim, full=full, lpips=lpips, file_bytes=size)
        return replace(found, previews=_previews(pair), same_original=pair.same_original)


def verdict(
    original: Any, reconstruction: Any, *, axes: str | None = None, scene: str | int | None = None,
    channel: str | int | None = None, nan_fill: float | None = None, progress: bool | Progress | None = None,
) -> QuickVerdict:
    """Judge what a reconstruction is still good for: to look at, to count in, to find spots in, to measure in.

    Both images are segmented, counted and measured as an analysis would, on at most a million voxels of them; `print` shows the
    grades with their reasons, and what part was judged. It needs ``microfield[report]``.

    Parameters
    ----------
    original, reconstruction, axes, scene, channel, nan_fill
        As in `compare`.
    progress : bool or callable (fraction, message), optional
        True shows a line on standard error.

    Returns
    -------
    QuickVerdict

    Raises
    ------
    InputError
        The shapes or axes differ, an image cannot be read, or one holds NaN or infinity.
    MissingExtraError
        What it takes is not installed.
    """
    checks.listener("progress", progress)
    with opened(original, reconstruction, Reading(axes, scene, channel, nan_fill)) as pair, shown(progress, "verdict") as tell:
        try:
            from microfield.report.quick import QuickVerdict, quick_verdict
            from microfield.report.verdict import exact_verdicts

            try:
                return quick_verdict(pair.original, pair.reconstruction, progress=tell)
            except NotFiniteError:
                if not metrics.identical(pair.original, pair.reconstruction.__getitem__):
                    raise
                return QuickVerdict(exact_verdicts())
        except MicrofieldError:
            raise
        except ImportError:
            raise MissingExtraError("the verdict", "report") from None


@contextmanager
def opened(original: Any, reconstruction: Any, reading: Reading | None = None) -> Iterator[Opened]:
    """Both images, opened where they are given as paths, and known to belong together; what was opened is closed again.

    Raises
    ------
    InputError
        They cannot be read, or their shapes or axes differ.
    """
    how = reading or Reading()
    how = how._replace(axes=checks.letters("axes", how.axes))
    if how.nan_fill is not None:
        how = how._replace(nan_fill=checks.number("nan_fill", how.nan_fill))
    if _names_axes(reconstruction):
        second = _open(reconstruction)
        first = _open(original, how if how.axes or _names_axes(original) else how._replace(axes=second.axes), beside=second)
        if first.axes_guessed and first.shape == second.shape:
            first = replace(first, axes=second.axes, axes_guessed=False)
    else:
        first = _open(original, how)
        second = _open(reconstruction, Reading(axes=first.axes), first.shape)
    try:
        _check_match(first, second)
        file = second.data if isinstance(second.data, MicrofieldFile) else None
        known, same = filled(first, how.nan_fill), None
        if file is not None:
            same, told = foreign(known, file)
            known = replace(known, notes=told + ((DENOISED,) if file.denoised else ()) + known.notes)
        yield Opened(known, second.data, file, same)
    finally:
        for source, image in ((original, first), (reconstruction, second)):
            if isinstance(image.data, MicrofieldFile) and image.data is not source:
                image.data.close()


def _previews(pair: Opened) -> tuple[Preview, Preview]:
    """Small pictures of the same plane of both images, at the contrast of the original."""
    image, where = pair.original, look(pair.original.sizes)
    first = preview(np.asarray(image.data[where.key]), image.axes, image.display, where.where)
    return first, like(np.asarray(pair.reconstruction[where.key]), image.axes, first)


def _names_axes(source: Any) -> bool:
    """Whether a source says what its axes are, rather than leaving them to be guessed."""
    if isinstance(source, (str, os.PathLike)):
        return Path(source).suffix.lower() not in WITHOUT_AXES
    return isinstance(source, (bytes, MicrofieldFile)) or (isinstance(source, Image) and not source.axes_guessed) \
        or isinstance(source, Labelled)


def _open(source: Any, reading: Reading | None = None, shape: tuple[int, ...] | None = None, beside: Image | None = None) -> Image:
    """A source as an Image; an array that is to get the axes of another image is refused where it has not its ``shape``.

    A file that names no axes is taken to have those of the image ``beside`` it.
    """
    how = reading or Reading()
    if isinstance(source, bytes) or (isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() == ".mfield"):
        return as_image(open_file(source), how.axes)
    if isinstance(source, (str, os.PathLike)):
        if shape is not None and Path(source).exists():
            _check_shapes(shape, read_numpy(Path(source), None).shape)
        return open_image(source, axes=how.axes, scene=how.scene, channel=how.channel, stack=how.stack,
                          beside=None if beside is None else beside.sizes)
    if how.scene is not None or how.channel is not None or how.stack:
        raise UsageError("scene, channel and stack say how files are read; index the array instead.")
    if shape is not None:
        _check_shapes(shape, tuple(int(n) for n in np.shape(source)))
    return as_image(source, how.axes)


def _check_match(original: Image, reconstruction: Image) -> None:
    """Raise InputError where two images differ in their shapes or axes."""
    _check_shapes(original.shape, reconstruction.shape)
    if reconstruction.axes != original.axes:
        raise InputError(f"the original has axes {original.axes} and the reconstruction {reconstruction.axes}; "
                         f"give {argument('axes')} where the file of the original names them wrongly.")


def _check_shapes(original: tuple[int, ...], reconstruction: tuple[int, ...]) -> None:
    """Raise InputError where two shapes differ."""
    if original != reconstruction:
        raise InputError(f"the original has shape {original} and the reconstruction {reconstruction}; "
                         "only arrays of one shape can be compared.")

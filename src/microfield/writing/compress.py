"""The compress path, from a path or an array to a .mfield file and a report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Unpack

import numpy as np

from microfield import checks
from microfield.deadline import Deadline
from microfield.errors import InputError, UsageError
from microfield.image import Image, as_image
from microfield.io.atomic import atomic_path
from microfield.io.destination import check_ending, check_file, check_folder, check_space
from microfield.io.masks import Covered, read_saliency
from microfield.io.remote import check_url, is_url, uploaded
from microfield.methods import AUTO, get_method
from microfield.notebook.preview import look, preview
from microfield.progress import Progress, shown
from microfield.reading.file import MicrofieldFile
from microfield.wording import argument
from microfield.writing.assemble import write_file
from microfield.writing.auto import first, write_chosen
from microfield.writing.budget import LOSSLESS, Budget
from microfield.writing.job import prepare
from microfield.writing.prediction import predicted_psnr, spectrum
from microfield.writing.report import Report
from microfield.writing.settings import AUTO_SALIENCY, Given, Settings, show_settings
from microfield.writing.zarr_store import compress_to_zarr

if TYPE_CHECKING:
    from microfield.tasks.base import Task

__all__ = ["Report", "Settings", "compress", "compress_to_bytes", "compress_to_stream", "load", "predictions"]


@show_settings
def compress(
    source: Any, destination: str | os.PathLike[str] | None = None, *, ratio: float | None = None,
    bits_per_voxel: float | None = None, max_bytes: float | str | None = None, psnr: float | None = None,
    least_psnr: float | None = None, noise_factor: float | None = None, lossless: bool = False,
    safe_for: str | Callable[[Any], Any] | Task | None = None, tolerance: float | None = None, axes: str | None = None,
    scene: str | int | None = None,
    channel: str | int | None = None, stack: bool = False, overwrite: bool = False, progress: bool | Progress | None = None,
    **settings: Unpack[Given],
) -> Report:
    """Compress an image into a microfield file.

    Parameters
    ----------
    source : path, Image, array, xarray.DataArray or dask array
        A 2-D to 5-D image.
    destination : path
        The ``.mfield`` file to write, or an OME-Zarr 0.5 store (``.zarr``) whose chunks microfield encodes (``microfield[zarr]``);
        it appears complete or not at all. A URL of any kind that fsspec knows will do.
    ratio : float, optional
        Bytes of the raw array over bytes of the file, at least this. Exactly one of this and the next seven is given.
    bits_per_voxel : float, optional
        Bits of the file per array element, at most this.
    max_bytes : float or str, optional
        Bytes of the file, at most this: a number, or a text such as ``"300kB"``.
    psnr : float, optional
        PSNR in dB over all channels, at least this.
    least_psnr : float, optional
        PSNR in dB of every channel, at least this.
    noise_factor : float, optional
        Root mean square error in units of the image's estimated noise sigma, at most this.
    lossless : bool
        True for an exact copy, also of labels and masks.
    safe_for : str, callable or `microfield.tasks.base.Task`, optional
        The smallest file of a few attempts in which an analysis finds what it finds in the image: ``"look"``, ``"count"``,
        ``"spots"``, ``"measure"`` (each by the verdict of the report, which is then "fine"), ``"segment"``, ``"trace"``,
        ``"colocalise"``, ``"denoise"``, ``"MODULE:FUNC"`` or a function of an array that returns numbers or a mask. What was
        measured is kept in the file. Needs ``microfield[report]``.
    tolerance : float, optional
        How much the measure may lose, for the last five of these: 0.02 unless told.
    axes : str, optional
        One letter of ``TCZYXS`` per axis, where the source does not say it or says it wrongly.
    scene, channel : str or int, optional
        Which image of a file that holds several, and one channel only; as in `microfield.open_image`.
    stack : bool
        The source is a folder of planes that make one image.
    overwrite : bool
        Replace a file that exists. The source itself is never replaced.
    progress : bool or callable (fraction, message), optional
        True shows a line on standard error; a function is called during long steps.
    **settings
        How to compress: every attribute of `Settings`, such as ``method``, ``effort``, ``time_limit="2min"``, ``tile="y=512"``.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        If the image or a setting cannot be used, or the destination exists or cannot be written.
    BudgetError
        If the budget cannot be met; the message says what can.
    """
    checks.switch("overwrite", overwrite)
    sizes = {"ratio": ratio, "bits_per_voxel": bits_per_voxel, "max_bytes": max_bytes}
    qualities = {"psnr": psnr, "least_psnr": least_psnr, "noise_factor": noise_factor}
    kept = {"safe_for": safe_for, "tolerance": tolerance}
    budget, settings = _asked(lossless, {**sizes, **qualities, **kept}, settings)
    asked = settings.get("saliency")
    mask = asked if isinstance(asked, (str, os.PathLike)) and asked != AUTO_SALIENCY else None
    chosen = Settings.of(**(settings if mask is None else {**settings, "saliency": None}))
    if destination is None:
        raise UsageError("give the path of the file to write.")
    checks.path("destination", destination)
    checks.listener("progress", progress)
    axes = checks.letters("axes", axes)
    beside = [one for one in (mask, chosen.reference) if isinstance(one, (str, os.PathLike))]
    check_destination(destination, overwrite, [*_files_of(source), *beside])
    if is_url(destination) or is_store(destination):
        check_alone(chosen)
    image = load(source, axes, scene, channel, stack)
    if mask is not None:
        chosen = replace(chosen, saliency=read_saliency(mask, Covered(image.name, image.axes, image.shape), axes))
    with shown(progress, image.name) as tell:
        if is_url(destination):
            with uploaded(os.fspath(destination), overwrite) as local:
                report = _write(image, local, budget, chosen, overwrite, tell)
        else:
            report = _write(image, Path(destination), budget, chosen, overwrite, tell)
    where = look(image.sizes)
    original = preview(np.asarray(image.data[where.key]), image.axes, image.display, where.where)
    return replace(report, path=os.fspath(destination), original=original)


def _write(image: Image, destination: Path, budget: Budget, settings: Settings, overwrite: bool, progress: Progress | None,
           ) -> Report:
    """Write a file or a store under a local name."""
    if (limit := budget.byte_limit(image.layout)) is not None:
        check_space(destination, limit)
    if is_store(destination):
        return compress_to_zarr(image, destination, budget, settings, overwrite, progress)
    with atomic_path(destination, overwrite) as temporary, open(temporary, "w+b") as stream:
        report = compress_to_stream(image, stream, budget, settings, progress, destination.parent)
    if settings.method != AUTO:
        get_method(settings.method).with_options(settings.options or {}).leave(destination)
    return report


def _asked(lossless: bool, budgets: dict[str, Any], settings: Given) -> tuple[Budget, Given]:
    """The budget, and the settings with the method that makes exact copies where one is asked for by either name."""
    method = settings.get("method", LOSSLESS)
    checks.switch("lossless", lossless)
    if lossless and method != LOSSLESS:
        raise UsageError(f"{argument('lossless', True)} makes an exact copy by a method of its own; leave out "
                         f"{argument('method', method)}.")
    if not lossless and "method" in settings and method == LOSSLESS:
        # Named as a method, it needs no budget, but may have to meet one.
        lossless = not any(value is not None for value in budgets.values())
    if lossless:
        settings = {**settings, "method": LOSSLESS}
    return Budget.of(**budgets, lossless=lossless), settings


def check_destination(destination: str | os.PathLike[str], overwrite: bool = False,
                      sources: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Check where a microfield file goes, before any work is done; ``sources`` are the files that are read.

    Raises
    ------
    UsageError
        The name does not end in .mfield or .zarr, or is that of a source.
    InputError
        It exists and is not to be replaced, or cannot be written there.
    """
    check_ending(destination, ".mfield", ".zarr")
    if is_url(destination):
        check_url(os.fspath(destination), overwrite=overwrite)
        return
    check = check_folder if is_store(destination) else check_file
    check(destination, overwrite=overwrite, sources=sources)


def check_alone(settings: Settings) -> None:
    """Refuse settings whose files build on a file beside them, where nothing can be put beside them.

    Raises
    ------
    UsageError
        They are such settings.
    """
    if settings.method != AUTO and not get_method(settings.method).with_options(settings.options or {}).alone:
        raise UsageError("a file that builds on a network in another file must be a file in a folder of this machine; leave out "
                         "the option ancestor.")


def is_store(destination: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a Zarr store rather than of a microfield file."""
    return os.fspath(destination).lower().endswith(".zarr")


def _files_of(source: Any) -> list[str | os.PathLike[str]]:
    """The files that a source is read from, as far as it says."""
    if isinstance(source, np.memmap) and source.filename is not None:
        return [source.filename]
    if isinstance(source, Image):
        return _files_of(source.data)
    if isinstance(source, MicrofieldFile):
        return [] if source.path is None else [source.path]
    return [source] if isinstance(source, (str, os.PathLike)) else []


def load(source: Any, axes: str | None = None, scene: str | int | None = None, channel: str | int | None = None,
         stack: bool = False) -> Image:
    """An Image from a path or from anything array-like."""
    if isinstance(source, (str, os.PathLike)):
        from microfield.io import open_image

        return open_image(source, axes=axes, scene=scene, channel=channel, stack=stack)
    if scene is not None or channel is not None or stack:
        raise InputError("scene, channel and stack say how files are read; index the array instead.")
    return as_image(source, axes)


def compress_to_stream(image: Image, stream: IO[bytes], budget: Budget, settings: Settings, progress: Progress | None = None,
                       folder: Path | None = None) -> Report:
    """Write a microfield file to an empty binary stream that can be read and sought; the report (see `compress`).

    ``folder`` is where the file goes, for methods whose files build on one beside them.
    """
    deadline = Deadline.after(settings.time_limit)
    say = progress or (lambda _done, _what: None)
    if settings.method == AUTO:
        return write_chosen(image, budget, settings, deadline, say, stream)
    return write_file(prepare(image, settings, deadline, say, folder=folder), budget, stream)


def compress_to_bytes(image: Image, budget: Budget, settings: Settings, progress: Progress | None = None) -> tuple[bytes, Report]:
    """The bytes of a microfield file and the report (see `compress`)."""
    stream = BytesIO()
    report = compress_to_stream(image, stream, budget, settings, progress)
    return stream.getvalue(), report


def predictions(image: Image, settings: Settings) -> list[tuple[float, int, float]]:
    """Ratio, bytes and PSNR that a good transform codec would reach: what the command line shows without a budget."""
    if settings.method == AUTO:
        settings = replace(settings, method=first(settings))
    job = prepare(image, settings, Deadline(), lambda _done, _what: None)
    spectra = [spectrum(p.read(), p.layout, job.context.channel_range[p.channels]) for p in job.parts]
    rows = []
    for ratio in (16, 32, 64, 128, 256, 512, 1024, 2048):
        size = image.nbytes / ratio
        rows.append((float(ratio), int(size), predicted_psnr(spectra, image.layout.size, size)))
    return rows

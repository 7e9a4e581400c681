"""Compressing one image from the command line, its page, and what is printed of it."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from microfield.cli.request import BUDGETS, flag, input_of, reading, settings_of
from microfield.errors import UsageError
from microfield.progress import ProgressLine

if TYPE_CHECKING:
    from microfield.cli.inputs import Input
    from microfield.writing.report import Report


def compress_one(arguments: argparse.Namespace, budget: dict[str, Any], source: Input, destination: str | Path,
                 overwrite: bool) -> Report:
    """Compress one input into one file."""
    from microfield.writing.compress import compress, load

    line = ProgressLine(Path(source.title).name)
    try:
        image = load(input_of(source.source), **reading(arguments, source))
        return compress(image, destination, overwrite=overwrite, progress=line, tolerance=arguments.tolerance, **budget,
                        **settings_of(arguments, image))
    finally:
        line.close()


def write_page(arguments: argparse.Namespace, source: Input, destination: str) -> None:
    """The comparison of the image with what was written."""
    from microfield.image import filled
    from microfield.reading.file import open_file
    from microfield.report import write_report
    from microfield.writing.compress import is_store, load
    from microfield.writing.zarr_layout import arranged

    line = ProgressLine(Path(arguments.report).name)
    try:
        image = filled(load(source.source, **reading(arguments, source)), arguments.nan_fill)
        if is_store(destination):
            from microfield.io import open_image

            write_report(arranged(image), open_image(destination), arguments.report, not_labels=True, overwrite=arguments.overwrite,
                         progress=line)
            return
        with open_file(destination) as f:
            write_report(image, f, arguments.report, file=f, not_labels=True, overwrite=arguments.overwrite, progress=line)
    finally:
        line.close()


def decibels(psnr: float) -> str:
    """A PSNR as text; an infinite one is an exact copy."""
    return "exact" if math.isinf(psnr) else f"{psnr:.2f} dB"


def predict(arguments: argparse.Namespace, source: Input) -> NoReturn:
    """Print the qualities to expect at several sizes, and end as a call without a budget does: UsageError."""
    from microfield.axes import read_as
    from microfield.writing.compress import Settings, load, predictions

    image = load(input_of(source.source), **reading(arguments, source))
    how = read_as(image.axes, image.shape, image.axes_guessed)
    print(f"{image.name}: {image.dtype}, {image.nbytes} raw bytes, {how}", file=sys.stderr)
    print("ratio      bytes  predicted PSNR", file=sys.stderr)
    for ratio, size, psnr in predictions(image, Settings.of(**settings_of(arguments, image))):
        print(f"{ratio:5.0f} {size:10d}  about {psnr:.0f} dB", file=sys.stderr)
    raise UsageError(f"give a budget: one of {', '.join(map(flag, BUDGETS))} (predictions are those of a good transform codec).")

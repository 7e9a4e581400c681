"""What a copy that was just made is good for: the verdict and a small picture, from a bounded part of the image."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microfield.cli.inputs import Input
from microfield.cli.request import input_of, reading
from microfield.errors import MicrofieldError
from microfield.progress import ProgressLine

if TYPE_CHECKING:
    from microfield.image import Image
    from microfield.report.quick import QuickVerdict
    from microfield.writing.report import Report


@dataclass(frozen=True)
class Judged:
    """What was found out about a copy; None and empty where it was not to be, or could not be.

    Attributes
    ----------
    verdict : QuickVerdict, optional
    picture : ``data:`` address of a small picture
    missing : whether what it takes is not installed
    """

    verdict: QuickVerdict | None = None
    picture: str = ""
    missing: bool = False

    def lines(self) -> list[str]:
        """The verdict for the terminal."""
        if self.missing:
            return ["  not judged what the copy is good for: that needs an optional part, pip install 'microfield[report]'."]
        return [] if self.verdict is None else [f"  {line}" for line in self.verdict.lines()]

    def as_dict(self) -> dict[str, Any]:
        """The verdict for JSON."""
        return {"verdict": None if self.verdict is None else self.verdict.as_dict()}

    def grades(self) -> dict[str, str]:
        """Use to its grade in words."""
        return {} if self.verdict is None else {v.use: v.grade.words for v in self.verdict.verdicts}

    def columns(self) -> dict[str, str]:
        """The verdict for the summary of a batch."""
        return {} if self.verdict is None else dict(self.verdict.columns())


def judged(arguments: argparse.Namespace, source: Input, destination: str | Path, report: Report, picture: bool = False) -> Judged:
    """Judge a file that was just made. What stands in the way is a note: the file is there whatever becomes of the verdict.

    Standard input cannot be read again, so what came from there is not judged.
    """
    if arguments.no_verdict or source.source == "-":
        return Judged()
    line = ProgressLine(Path(source.title).name)
    try:
        return _judged(arguments, source, destination, report, picture, line)
    except ImportError:
        return Judged(missing=True)  # SciPy, scikit-image and Pillow come with an extra of the package.
    except (MicrofieldError, MemoryError) as error:
        line.close()
        print(f"note: no verdict on {source.title} ({error or 'not enough memory'})", file=sys.stderr)
        return Judged()
    finally:
        line.close()


def _judged(arguments: argparse.Namespace, source: Input, destination: str | Path, report: Report, picture: bool,
            line: ProgressLine) -> Judged:
    from microfield.image import filled
    from microfield.reading.file import open_file
    from microfield.report.folder_page import thumbnail
    from microfield.report.quick import QuickVerdict, quick_verdict
    from microfield.report.verdict import exact_verdicts
    from microfield.writing.compress import is_store, load

    def original() -> Image:
        return filled(load(input_of(source.source), **reading(arguments, source)), arguments.nan_fill)

    if is_store(destination):
        return Judged(_of_store(original(), destination, report, line))
    with open_file(destination) as f:
        verdict = QuickVerdict(exact_verdicts()) if math.isinf(report.psnr) else quick_verdict(original(), f, progress=line)
        return Judged(verdict, thumbnail(f) if picture else "")


def _of_store(image: Image, destination: str | Path, report: Report, line: ProgressLine) -> QuickVerdict:
    """The verdict on a Zarr store, whose axes are in an order of their own."""
    from microfield.io import open_image
    from microfield.report.quick import QuickVerdict, quick_verdict
    from microfield.report.verdict import exact_verdicts
    from microfield.writing.zarr_layout import arranged

    if math.isinf(report.psnr):
        return QuickVerdict(exact_verdicts())
    return quick_verdict(arranged(image), open_image(destination).data, progress=line)

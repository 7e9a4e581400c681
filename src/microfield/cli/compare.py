"""``microfield compare``: measure a reconstruction against its original, and write the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microfield.cli.require import HELP, Requirement, check
from microfield.cli.strict_json import strict_json
from microfield.errors import LabelsError, NotFiniteError, UsageError
from microfield.progress import ProgressLine

if TYPE_CHECKING:
    from microfield.analysis.result import AnalysisResult
    from microfield.image import Image
    from microfield.metrics.comparison import Comparison
    from microfield.report.quick import QuickVerdict


def add_to(commands: Any) -> None:
    """Declare the command."""
    p = commands.add_parser("compare", help="measure a reconstruction against its original")
    p.add_argument("original", metavar="ORIGINAL")
    p.add_argument("reconstruction", metavar="RECONSTRUCTION", help="a .mfield file or an image")
    p.add_argument("--report", metavar="OUT.html", help="write a page with pictures, curves, tables and a verdict")
    p.add_argument("--overwrite", action="store_true", help="replace the page where it exists")
    p.add_argument("--labels", metavar="LABELS", help="image of ground-truth labels to judge objects and traces by")
    p.add_argument("--full", action="store_true", help="all metrics, and the analysis of objects, traces and colocalisation")
    p.add_argument("--axes", help="axes of the original, as in compress; the reconstruction must have the same")
    p.add_argument("--scene")
    p.add_argument("--channel")
    p.add_argument("--stack", action="store_true", help="ORIGINAL is a folder of planes, as in compress")
    p.add_argument("--nan-fill", type=float, help="value that replaces NaN and infinity in the original, as in compress")
    p.add_argument("--not-labels", action="store_true", help="compare even what looks like object labels")
    p.add_argument("--no-ssim", action="store_true", help="skip SSIM, which takes most of the time of a plain comparison")
    p.add_argument("--lpips", action="store_true",
                   help="LPIPS, too: how far the planes differ in the features of a network (microfield[perceptual])")
    p.add_argument("--no-verdict", action="store_true", help="do not judge what the copy is good for")
    p.add_argument("--require", action="append", default=[], metavar="CONDITION", help=HELP)
    p.add_argument("--json", action="store_true", help="print everything as JSON")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison, and write the report where one is asked for; the exit status, 1 where a requirement is not met."""
    from dataclasses import replace

    from microfield.comparing import Reading, opened

    if arguments.no_ssim and (arguments.full or arguments.report):
        raise UsageError("--no-ssim is for a plain comparison; leave it out with --full or --report.")
    if arguments.lpips and arguments.report:
        raise UsageError("--lpips is for a comparison without a page; leave it out with --report.")
    requirements = [Requirement.parse(text) for text in arguments.require]
    check(requirements, ssim=not arguments.no_ssim, verdict=not arguments.no_verdict)
    if arguments.report:
        from microfield.report.page import check_destination

        sources = [arguments.original, arguments.reconstruction, *filter(None, [arguments.labels])]
        check_destination(arguments.report, arguments.overwrite, sources)
    reading = Reading(arguments.axes and arguments.axes.upper(), arguments.scene, arguments.channel, arguments.nan_fill,
                      arguments.stack)
    line = ProgressLine(Path(arguments.original).name)
    try:
        with opened(arguments.original, arguments.reconstruction, reading) as pair:
            labels = _labels(arguments, pair.original)
            comparison, downstream, verdict = _measure(arguments, pair.original, pair.reconstruction, pair.file, labels, line)
            comparison = replace(comparison, same_original=pair.same_original)
    finally:
        line.close()
    unmet = [why for one in requirements if (why := one.unmet(comparison, verdict))]
    if arguments.json:
        analysis = {} if downstream is None else {"downstream": downstream.as_dict()}
        judged = {"verdict": None if verdict is None else verdict.as_dict(), "unmet": unmet}
        print(strict_json(comparison.as_dict() | analysis | judged))
    else:
        parts: list[Comparison | AnalysisResult] = [comparison, *([] if downstream is None else [downstream])]
        print("\n\n".join([*(part.table() for part in parts), "\n".join(filter(None, (part.legend() for part in parts)))]))
        if verdict is not None:
            print("\n" + "\n".join(verdict.lines()))
    if unmet:
        print(f"microfield: what is required of {arguments.reconstruction} does not hold: {'; '.join(unmet)}.", file=sys.stderr)
    return 1 if unmet else 0


def _measure(
    arguments: argparse.Namespace, original: Image, reconstruction: Any, file: Any, labels: Any,
    progress: Callable[[float, str], None],
) -> tuple[Comparison, AnalysisResult | None, QuickVerdict | None]:
    """What `_measured` gives; of labels and of images with NaN, which it refuses, only whether the copy is exact.

    Raises
    ------
    InputError
        As `_measured`, where the copy is not exact.
    """
    from microfield.metrics import exact_comparison, identical

    try:
        return _measured(arguments, original, reconstruction, file, labels, progress)
    except (LabelsError, NotFiniteError):
        if arguments.report or not identical(original, reconstruction.__getitem__):
            raise
    comparison = exact_comparison(original, None if file is None else file.file_bytes)
    return comparison, None, None if arguments.no_verdict else _verdict(original, reconstruction, comparison, progress)


def _measured(
    arguments: argparse.Namespace, original: Image, reconstruction: Any, file: Any, labels: Any,
    progress: Callable[[float, str], None],
) -> tuple[Comparison, AnalysisResult | None, QuickVerdict | None]:
    """The metrics, what an analysis finds in both images, where the arguments ask for that, and what the copy is good for.

    ``reconstruction`` is anything that is indexed like an array; ``file`` is the microfield file behind it, or None.

    Raises
    ------
    InputError
        The original looks like labels, or the two images do not belong together.
    """
    if arguments.report:
        from microfield.report import write_report
        from microfield.report.quick import QuickVerdict
        from microfield.report.verdict import judge_uses

        evidence = write_report(original, reconstruction, arguments.report, labels=labels, file=file,
                                not_labels=arguments.not_labels, overwrite=arguments.overwrite, progress=progress)
        return evidence.comparison, evidence.analysis, QuickVerdict(judge_uses(evidence))
    from microfield.label_images import looks_like_labels
    from microfield.metrics import compare

    if not arguments.not_labels and looks_like_labels(original):
        raise LabelsError(f"{original.name} looks like object labels or a mask, for which these measures mean nothing; "
                          "give the image itself (labels go to --labels), or --not-labels if it is one.")
    size = None if file is None else file.file_bytes
    progress(0.0, "metrics")
    if not (arguments.full or labels is not None):
        comparison = compare(original, reconstruction, ssim=not arguments.no_ssim, lpips=arguments.lpips, file_bytes=size)
        return comparison, None, None if arguments.no_verdict else _verdict(original, reconstruction, comparison, progress)
    from microfield.analysis.judge import judge
    from microfield.report.pair import make_pair

    pair = make_pair(original, reconstruction, file)  # Metrics and analysis read the same arrays, which are decoded once.
    comparison = compare(pair.original, pair.reconstruction, ssim=not arguments.no_ssim, full=arguments.full,
                         lpips=arguments.lpips, statistics=pair.statistics, file_bytes=size)
    analysis = judge(pair.original, pair.reconstruction, labels=labels, not_labels=True,
                     progress=lambda fraction, message: progress(0.5 + 0.5 * fraction, message))
    verdict = None if arguments.no_verdict else _verdict(pair.original, pair.reconstruction, comparison, progress)
    return comparison, analysis, verdict


def _verdict(original: Image, reconstruction: Any, comparison: Comparison, progress: Callable[[float, str], None],
             ) -> QuickVerdict | None:
    """The verdict on a bounded part of the image; None where the libraries it takes are missing."""
    try:
        from microfield.report.quick import QuickVerdict, quick_verdict
        from microfield.report.verdict import exact_verdicts

        if comparison.max_error == 0:
            return QuickVerdict(exact_verdicts())
        progress(0.9, "verdict")
        return quick_verdict(original, reconstruction)
    except ImportError:
        return None


def _labels(arguments: argparse.Namespace, original: Image) -> Image | None:
    """The image of ground-truth labels, if one is given."""
    from microfield.io import open_image

    return None if arguments.labels is None else open_image(arguments.labels, beside=original.sizes)

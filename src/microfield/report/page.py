"""The page: its sections in order, and writing it as one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from microfield.errors import MissingExtraError
from microfield.io.atomic import atomic_path
from microfield.io.destination import check_ending, check_file
from microfield.report.drawing.markup import escape, side_by_side

if TYPE_CHECKING:
    from microfield.image import Image
    from microfield.report.evidence import Evidence

CONTENTS = {
    "verdict": "Verdict", "together": "Channels", "crops": "Close up", "views": "Whole planes", "profiles": "Profiles",
    "noise": "Noise",
    "detail": "Detail", "histograms": "Grey values", "segmentation": "Objects", "time": "Time",
    "colocalisation": "Colocalisation", "metrics": "Metrics", "thresholds": "Limits", "words": "Words",
}
"""Key of every section a page can have, in order, and its name in the table of contents."""

VIEWER = (
    '<div id="viewer" hidden><button id="flicker" type="button" aria-pressed="false" title="Original and reconstruction take '
    'turns (key F)">Flicker</button><label title="Below 1 the dark parts are brighter">Gamma <input id="gamma-slider" type="range" '
    'min="0.3" max="1.5" step="0.05" value="1"><output id="gamma-value">1.00</output></label></div>'
)
"""What the script of the page, without which it is hidden, does with the pictures."""
GAMMA = (
    '<svg width="0" height="0" aria-hidden="true" style="position: absolute"><filter id="gamma" color-interpolation-filters="sRGB">'
    "<feComponentTransfer>"
    + "".join(f'<feFunc{c} type="gamma" exponent="1"></feFunc{c}>' for c in "RGB") + "</feComponentTransfer></filter></svg>"
)


def write_report(
    original: Image,
    reconstruction: Any,
    destination: str | os.PathLike[str],
    *,
    labels: Any = None,
    title: str | None = None,
    file: Any = None,
    not_labels: bool = False,
    overwrite: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> Evidence:
    """Compare two images and write the report as one HTML file that needs nothing else.

    Parameters
    ----------
    original : Image
    reconstruction : MicrofieldFile, Image or array-like of the original's shape
    destination : path
        Ending in ``.html`` or ``.htm``; it appears whole or not at all.
    labels : array-like or Image, optional
        Ground-truth labels for the analysis of objects and traces.
    title : str, optional
        Heading of the page; the original's name by default.
    file : MicrofieldFile, optional
        The file behind the reconstruction, for method and size, where the reconstruction is an array.
    not_labels : bool
        Report even on what looks like object labels.
    overwrite : bool
        Replace a page that exists.
    progress : callable (fraction in 0..1, message), optional

    Returns
    -------
    Evidence
        Everything that was measured.

    Raises
    ------
    InputError
        The images cannot be compared, the labels do not fit or hold intensities, or the destination exists or
        cannot be written.
    UsageError
        The destination does not end in .html.
    MissingExtraError
        Pillow, SciPy or scikit-image is missing.
    """
    check_destination(destination, overwrite)
    evidence = measure(original, reconstruction, labels=labels, file=file, not_labels=not_labels, progress=progress)
    if progress is not None:
        progress(0.9, "page")
    text = render(evidence, title or original.name)
    with atomic_path(destination, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if progress is not None:
        progress(1.0, "done")
    return evidence


def check_destination(destination: str | os.PathLike[str], overwrite: bool = False, sources: Iterable[str] = ()) -> None:
    """Check where the page goes, before any work is done; ``sources`` are the files that are read.

    Raises
    ------
    UsageError
        The name does not end in .html, or is that of a source.
    InputError
        It exists and is not to be replaced, or cannot be written there.
    """
    check_ending(destination, ".html", ".htm")
    check_file(destination, overwrite=overwrite, sources=sources)


def measure(original: Image, reconstruction: Any, **options: Any) -> Evidence:
    """Run `microfield.report.evidence.gather` with its options.

    Raises
    ------
    MissingExtraError
        If an optional library is not installed.
    """
    try:
        import PIL
        import scipy
        import skimage
    except ImportError:
        raise MissingExtraError("the report", "report") from None
    del PIL, scipy, skimage
    from microfield.report.evidence import gather

    return gather(original, reconstruction, **options)


def render(evidence: Evidence, title: str) -> str:
    """The whole page as HTML."""
    from microfield.report.sections.analysis import colocalisation_section, objects_section, time_section
    from microfield.report.sections.composite import composite_section
    from microfield.report.sections.crops import crops_section, profiles_section
    from microfield.report.sections.distributions import detail_section, grey_section, noise_section
    from microfield.report.sections.glossary import glossary_section
    from microfield.report.sections.metrics_table import metrics_section
    from microfield.report.sections.planes import planes_section
    from microfield.report.sections.summary import summary_header, thresholds_section, verdict_section
    from microfield.report.verdict import judge_uses

    verdicts = judge_uses(evidence)
    curves = (profiles_section, noise_section, detail_section, grey_section)
    sections = [
        verdict_section(evidence, verdicts), composite_section(evidence), crops_section(evidence), planes_section(evidence),
        side_by_side((make(evidence) for make in curves), narrow=len(evidence.shown) == 1), objects_section(evidence),
        time_section(evidence), colocalisation_section(evidence), metrics_section(evidence), thresholds_section(verdicts),
        glossary_section(),
    ]
    body = "".join(sections)
    links = "".join(f'<a href="#{key}">{name}</a>' for key, name in CONTENTS.items() if f'<section id="{key}"' in body)
    style, script = (files("microfield.report").joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "viewer.js"))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)} – compression report</title><style>{style}</style></head>"
        f'<body><nav aria-label="Contents"><div>{links}</div></nav>{VIEWER}{GAMMA}<main>'
        f"{summary_header(evidence, title)}{body}{_foot(evidence)}</main>"
        f"<script>{script}</script></body></html>\n"
    )


def _foot(evidence: Evidence) -> str:
    """The footer: version, and which part of a large image was looked at."""
    from microfield import __version__

    seen, total = len(evidence.tiles.planes), evidence.tiles.total
    sampled = f" Crops, histograms and the verdicts on looking and intensities come from {seen} of {total} planes."
    sampled = sampled if seen < total else ""
    return (f"<footer><p>Written by microfield {__version__}.{sampled} This page is complete in itself and loads nothing "
            "from elsewhere.</p></footer>")

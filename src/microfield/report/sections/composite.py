"""The section with all channels in one picture, each in its colour."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from microfield.report.crop_choice import richest
from microfield.report.drawing.composite import channel_colours, composite
from microfield.report.drawing.markup import escape, figure, section
from microfield.report.drawing.pictures import framed, picture, shrink
from microfield.report.evidence import Evidence
from microfield.report.pair import Pair, Region
from microfield.report.sections.crops import view_pixels

SIDE = 512
"""Most pixels of a side of a picture."""
MOST = 6
"""Of more channels the first ones are shown: colours could not be told apart."""


def composite_section(evidence: Evidence) -> str:
    """Original and reconstruction with their channels in colour: a whole plane and a crop; empty for a single channel."""
    pair = evidence.pair
    views = [view for view in pair.views if not view.is_colour][:MOST]
    at = richest(evidence.shown[0][1]) if evidence.shown else None
    if len(views) < 2 or at is None:
        return ""
    colours = channel_colours(pair.original.display, len(pair.views), [view.name for view in pair.views])[: len(views)]
    full = slice(None)
    regions: list[tuple[str, Region]] = [
        ("whole plane", (at.region[0], at.region[1], full, full)), ("close up", at.region),
    ]
    rows = "".join(_row(pair, title, region, colours) for title, region in regions)
    keys = "".join(f'<span class="swatch"><i style="background: rgb{colour}"></i>{escape(view.name)}</span>'
                   for view, colour in zip(views, colours, strict=True))
    note = ("All channels in one picture, in the colours of the source where it names them. Every channel is shown from the 0.1 to "
            "the 99.9 percentile of the original, the same in both pictures.")
    if len(pair.views) > MOST:
        note += f" The first {MOST} of {len(pair.views)} channels."
    return section("together", "Channels together", f"<p>{keys}</p>{rows}", note)


def _row(pair: Pair, title: str, region: Region, colours: tuple[tuple[int, int, int], ...]) -> str:
    cells = []
    for which in ("original", "reconstruction"):
        made = _picture(pair, which, region, colours)
        image = picture(made, f"{which}, all channels, {title}", kind=which)
        pixels = len(range(*region[3].indices(pair.extents[3])))
        cells.append(figure(framed(image, pair.original.voxel_size, pair.original.units, "X", pixels), which))
    return f'<h4>{title.capitalize()}</h4><div class="pair">{"".join(cells)}</div>'


def _picture(pair: Pair, which: str, region: Region, colours: tuple[tuple[int, int, int], ...]) -> npt.NDArray[np.uint8]:
    planes = [shrink(view_pixels(pair, view, which, region)[0, 0], SIDE) for view in pair.views[: len(colours)]]
    return composite(planes, colours)

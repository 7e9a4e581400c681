"""The evidence: everything the page shows, measured once. Metrics, analysis, errors by tile, detail, choice of crops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microfield.analysis.judge import AnalysisResult, judge
from microfield.errors import LabelsError
from microfield.label_images import looks_like_labels
from microfield.metrics import compare
from microfield.report.crop_choice import Crop, choose_crops
from microfield.report.detail import Detail, measure_detail
from microfield.report.pair import SHOWN, Pair, View, make_pair
from microfield.report.tile_errors import TileErrors, measure_tiles
from microfield.wording import argument

if TYPE_CHECKING:
    from microfield.image import Image
    from microfield.metrics.comparison import Comparison

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Evidence:
    """What was measured about a pair.

    Attributes
    ----------
    pair : the images
    comparison : all metrics
    analysis : segmentation, objects, traces, colocalisation
    tiles : errors and structure, tile by tile
    details : Fourier ring correlation of every view; None where `measure_detail` gives none
    shown : the views that get pictures, with their crops
    """

    pair: Pair
    comparison: Comparison
    analysis: AnalysisResult
    tiles: TileErrors
    details: tuple[Detail | None, ...]
    shown: tuple[tuple[View, tuple[Crop, ...]], ...]

    def is_exact(self, view: View | None = None) -> bool:
        """Whether the reconstruction of a view (of the whole image without one) equals the original in every value."""
        if view is None:
            return self.comparison.max_error == 0
        return all(self.comparison.channels[c].max_error == 0 for c in view.channels)


def gather(
    original: Image,
    reconstruction: Any,
    *,
    labels: Any = None,
    file: Any = None,
    not_labels: bool = False,
    pictures: bool = True,
    progress: Progress | None = None,
    memo: dict[Any, Any] | None = None,
) -> Evidence:
    """Measure everything that the report needs.

    Parameters
    ----------
    original : Image
    reconstruction : array-like of the original's shape, Image or MicrofieldFile
        Decoded once where the array is at most `microfield.report.pair.KEEP_BYTES`.
    labels : array-like or Image, optional
        Ground truth for the downstream analysis (`microfield.analysis.judge.judge`).
    file : MicrofieldFile, optional
        The file the reconstruction came from, where that is not the reconstruction itself.
    not_labels : bool
        Compare even what looks like object labels.
    pictures : bool
        Whether the page is to be drawn, too. Without it only what the verdict needs is measured, which is much faster: the
        comparison lacks all metrics but those of the error, and no view is shown.
    progress : callable (fraction in 0..1, message), optional
    memo : dict, optional
        As `microfield.analysis.judge.judge` takes it.

    Raises
    ------
    InputError
        The shapes or axes differ, either image holds NaN or infinity, the original looks like labels, or the labels do not.
    """
    tell = progress or (lambda fraction, message: None)
    tell(0.0, "reading")
    pair = make_pair(original, reconstruction, file)
    if not not_labels and looks_like_labels(pair.original):
        refuse_labels(original)
    tell(0.15, "metrics")
    comparison = compare(pair.original, pair.reconstruction, full=pictures, ssim=pictures, statistics=pair.statistics,
                         file_bytes=None if pair.file is None else pair.file.file_bytes)
    tell(0.5, "downstream analysis")
    analysis = judge(pair.original, pair.reconstruction, labels=labels, not_labels=True, memo=memo)
    tell(0.8, "crops")
    tiles = measure_tiles(pair)
    details = tuple(measure_detail(pair, view) for view in pair.views)
    if not pictures:
        return Evidence(pair, comparison, analysis, tiles, details, ())
    shown = tuple((view, choose_crops(pair, tiles, view)) for view in select_views(pair, comparison))
    return Evidence(pair, comparison, analysis, tiles, details, shown)


def refuse_labels(original: Image) -> None:
    """Refuse to compare object labels as an image.

    Raises
    ------
    LabelsError
        Always.
    """
    raise LabelsError(f"{original.name} looks like object labels or a mask, for which these measures mean nothing; give the "
                     f"image itself (labels go to {argument('labels')}), or {argument('not_labels', True)} if it is one.")


def select_views(pair: Pair, comparison: Comparison) -> tuple[View, ...]:
    """The views that get pictures: all up to `SHOWN`, else the first, the best and the worst ones by NRMSE, in file order."""
    if len(pair.views) <= SHOWN:
        return pair.views
    errors = [max(comparison.channels[c].nrmse for c in view.channels) for view in pair.views]
    ranked = sorted(range(len(errors)), key=errors.__getitem__)
    chosen = [0]
    for index in (ranked[-1], ranked[0], *ranked[::-1]):
        if index not in chosen and len(chosen) < SHOWN:
            chosen.append(index)
    return tuple(pair.views[i] for i in sorted(chosen))

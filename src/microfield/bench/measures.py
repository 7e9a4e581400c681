"""The registry of measures. Each turns an original and its reconstruction into named numbers for one row of a bench."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from microfield.bench.task_measures import is_task, measure_of
from microfield.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from microfield.image import Image
    from microfield.statistics import ChannelStatistics

Numbers = dict[str, float | None]
"""Field of a row to its number; None where it could not be measured."""

ANALYSED = 1 << 21
"""Most voxels of an image that the measure ``downstream`` analyses: of larger images spread time points and their middle."""


@dataclass(frozen=True)
class Known:
    """What is known of an original before any reconstruction, measured once per image.

    Attributes
    ----------
    statistics : ranges, percentiles and noise of every channel
    labels : ground-truth object labels or a mask; None without
    memo : name of a measure to what it found in the original and keeps from one reconstruction to the next
    """

    statistics: ChannelStatistics
    labels: Image | None = None
    memo: dict[str, dict[Any, Any]] = field(default_factory=dict)


Measure = Callable[["Image", "npt.NDArray[Any]", Known], Mapping[str, float | None]]
"""Called with the original, the whole decoded array and what is known; gives fields of the row and their numbers.

What it cannot measure is None. Infinity (the PSNR of an exact copy) becomes None in the row; NaN is refused.
"""

_MEASURES: dict[str, str | Measure] = {
    "quality": "microfield.bench.measures:quality",
    "full": "microfield.bench.measures:full",
    "downstream": "microfield.bench.measures:downstream",
    "perceptual": "microfield.bench.measures:perceptual",
}
_INCLUDES = {"full": "quality"}
"""Name of a measure to the one whose numbers it contains."""


def names() -> tuple[str, ...]:
    """Names of all registered measures."""
    return tuple(_MEASURES)


def register(name: str, measure: Measure | str) -> None:
    """Add a measure, given as a function or as ``"module:function"``; one of the same name is replaced.

    The worker processes of a bench find a function again by its module and name, so it must be defined at the top of an
    importable module.
    """
    _MEASURES[name] = measure


def get(name: str) -> Measure:
    """The measure of this name.

    Raises
    ------
    UsageError
        There is none; the message lists those that are.
    """
    if is_task(name):
        return measure_of(name)
    entry = _MEASURES.get(name)
    if entry is None:
        raise UsageError(f"there is no measure {name!r}; choose of {', '.join(_MEASURES)}.")
    if isinstance(entry, str):
        module, _, attribute = entry.partition(":")
        measure: Measure = getattr(importlib.import_module(module), attribute)
        return measure
    return entry


def source(name: str) -> str:
    """Where a worker process finds the measure: ``"module:function"``; a task is found by its name."""
    if is_task(name):
        return name
    entry = _MEASURES[name]
    return entry if isinstance(entry, str) else f"{entry.__module__}:{entry.__name__}"


def without_repeats(wanted: Iterable[str]) -> tuple[str, ...]:
    """The wanted measures, each once, without those that another of them contains."""
    unique = tuple(dict.fromkeys(wanted))
    contained = {_INCLUDES[name] for name in unique if name in _INCLUDES}
    return tuple(name for name in unique if name not in contained)


def missing(wanted: Iterable[str], have: Iterable[str]) -> tuple[str, ...]:
    """The wanted measures that the measures ``have``, already taken, do not contain."""
    taken = set(have)
    taken |= {_INCLUDES[name] for name in taken if name in _INCLUDES}
    return tuple(name for name in without_repeats(wanted) if name not in taken)


def measure_all(wanted: Iterable[str], original: Image, reconstruction: npt.NDArray[Any], known: Known) -> Numbers:
    """All numbers of the wanted measures; infinity (the PSNR of an exact copy) becomes None.

    Raises
    ------
    ValueError
        If a measure gives NaN.
    """
    numbers: Numbers = {}
    for name in wanted:
        for field_name, value in get(name)(original, reconstruction, known).items():
            if value is not None and math.isnan(value):
                raise ValueError(f"measure {name} gave NaN as {field_name}; what cannot be measured is None.")
            numbers[field_name] = None if value is None or math.isinf(value) else float(value)
    return numbers


# -- the measures that come with microfield -----------------------------------------------------------------------------


def quality(original: Image, reconstruction: npt.NDArray[Any], known: Known) -> Numbers:
    """PSNR, SSIM and the other metrics of `microfield.compare`, and the PSNR of the worst channel (``psnr_lowest``)."""
    return _compared(original, reconstruction, known, full=False)


def full(original: Image, reconstruction: npt.NDArray[Any], known: Known) -> Numbers:
    """`quality` and the slower metrics: 3-D and multi-scale SSIM, Fourier correlation, histogram distance, blocking."""
    return _compared(original, reconstruction, known, full=True)


def _compared(original: Image, reconstruction: npt.NDArray[Any], known: Known, full: bool) -> Numbers:
    from microfield.metrics import compare

    result = compare(original, reconstruction, statistics=known.statistics, full=full)
    numbers: Numbers = {
        key: value for key, value in result.items()
        if isinstance(value, (int, float)) and key not in ("raw_bytes", "file_bytes", "source_bytes")
    }
    return numbers | {"psnr_lowest": min(channel.psnr for channel in result.channels)}


def downstream(original: Image, reconstruction: npt.NDArray[Any], known: Known) -> Numbers:
    """Agreement of segmentation, counts, spots, traces and colocalisation in both images (`microfield.analysis.judge`)."""
    from microfield.analysis.judge import judge

    memo = known.memo.setdefault("downstream", {})
    return dict(judge(original, reconstruction, labels=known.labels, not_labels=True, memo=memo, max_voxels=ANALYSED).numbers())


def perceptual(original: Image, reconstruction: npt.NDArray[Any], known: Known) -> Numbers:
    """LPIPS, the mean over channels; it takes the extra ``perceptual``."""
    from microfield.metrics import compare

    return {"lpips": compare(original, reconstruction, ssim=False, lpips=True, statistics=known.statistics).lpips}

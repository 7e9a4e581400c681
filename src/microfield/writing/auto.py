"""The method ``auto``: a few methods try the image, or a crop of it, and the best at what was asked makes the file.

Nothing of it is in the file, which is an ordinary one of the chosen method.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from io import BytesIO
from time import monotonic
from typing import IO

import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.errors import BudgetError, InputError, MicrofieldError, UsageError
from microfield.image import Image, Layout
from microfield.methods import AUTO, get_method, names
from microfield.methods.base import Method
from microfield.progress import Progress
from microfield.statistics import ChannelStatistics, as_planes
from microfield.writing.assemble import write_file
from microfield.writing.budget import QUALITIES, SAFE_FOR, Budget
from microfield.writing.job import prepare
from microfield.writing.report import Report
from microfield.writing.sentences import quality_excess
from microfield.writing.settings import Settings

SUMMARY = ("tries field alone and with hevc and av1 below it on the image, or on a crop of a large one, and takes the best at what "
           "was asked")

CANDIDATES = ("field", "field prior=hevc", "field prior=av1")
"""Who takes part where it is registered and installed: a method, and options of it. With a codec as prior `field` refines and
filters what the codec decodes: it is better than the codec alone."""
PREFERRED = "field"
"""Wins ties: its files open without the codecs."""
LIMIT = 1 << 22
"""Images of at most so many voxels are tried whole, larger ones on a crop of about so many."""
TIE_DB, TIE_BYTES = 0.02, 0.005
"""Differences of PSNR, and of bytes relative to the fewest, that do not count."""
OVERRUN = 1.5
"""Where a trial takes this many times what it is allowed, no other one is made."""
WELL_USED, EXCESS_DB = 0.9, 0.5
"""A trial that the time limit ended counts where it uses this share of the budget, or exceeds an asked PSNR by no more."""
LEAST_YX, LEAST_ZT, SMALLEST_YX = 128, 8, 16
"""A crop's extents: rows and columns give way down to the first, then planes and times to the second, then again rows
and columns to the third."""


@dataclass(frozen=True)
class Trial:
    """What one method made of the image or of the crop."""

    method: str
    data: bytes
    report: Report


@dataclass(frozen=True)
class Chosen:
    """The choice.

    Attributes
    ----------
    methods : names, best first: where one cannot code the whole image after all, the next is to be taken
    notes : sentences that say which method was chosen and why
    whole : the file and its report, where the whole image was tried
    statistics : of the whole image, for the jobs that follow
    share : of all the work, what the trial on a crop was
    """

    methods: tuple[str, ...]
    notes: tuple[str, ...]
    whole: Trial | None = None
    statistics: ChannelStatistics | None = None
    share: float = 0.0


def write_chosen(image: Image, budget: Budget, settings: Settings, deadline: Deadline, progress: Progress, stream: IO[bytes],
                 ) -> Report:
    """Write a file of the method that suits the image best; the report, whose notes say which it is and why."""
    begin = monotonic()
    chosen = choose(image, budget, settings, deadline, progress)
    if chosen.whole is not None:
        stream.write(chosen.whole.data)
        report = chosen.whole.report
        return replace(report, notes=chosen.notes + report.notes, seconds=monotonic() - begin)
    failed: list[tuple[str, MicrofieldError]] = []
    progress = _stretch(progress, chosen.share, 1.0)
    for name in chosen.methods:
        job = prepare(image, _settings(settings, name, chosen.statistics), deadline, progress, chosen.statistics)
        try:
            report = write_file(job, budget, stream)
        except MicrofieldError as error:
            failed.append((name, error))
            continue
        instead = tuple(f"auto took {name} instead: {_sentence(other, error)}" for other, error in failed)
        return replace(report, notes=chosen.notes + instead + report.notes, seconds=monotonic() - begin)
    raise _first(failed)


def choose(image: Image, budget: Budget, settings: Settings, deadline: Deadline, progress: Progress,
           candidates: Sequence[str] | None = None) -> Chosen:
    """Try the candidates (`CANDIDATES` unless told) and rank them.

    An image of at most `LIMIT` voxels in one part is tried whole, so that the best file is ready at once. Any other one
    is tried on a crop at as many bits per voxel, its PSNR on the channel ranges of the whole image.

    Raises
    ------
    UsageError
        Where options are given, or something that no candidate can use.
    MicrofieldError
        Where the whole image was tried and no candidate could code it: what the first refusal said.
    """
    able, notes = _able(settings, CANDIDATES if candidates is None else candidates)
    base = prepare(image, _settings(settings, able[0]), deadline, progress)  # refuses labels, NaN and wrong settings
    statistics = base.statistics
    if len(able) == 1:
        return Chosen(tuple(able), (f"auto chose {able[0]}: there was no other method to try.", *notes), None, statistics)
    box = tuple(slice(0, n) for n in image.shape)
    if image.layout.size > LIMIT or base.grid.n > 1:
        box = crop(image, base.grid.tile if base.grid.n > 1 else None, statistics, settings.nan_fill)
    sample, asked = _sample(image, box, budget)
    whole = sample.shape == image.shape
    settings = _cut(settings, base.context.objective.weights, box)
    work = [float(sample.layout.size)] * len(able) + [0.0 if whole else float(image.layout.size)]
    tried: list[Trial] = []
    failed: list[tuple[str, MicrofieldError]] = []
    late: list[str] = []
    for i, name in enumerate(able):
        share = work[i] / sum(work[i:])
        limited = deadline.share(share)
        allowed, clock = limited.remaining, monotonic()
        begin, end = sum(work[:i]) / sum(work), sum(work[: i + 1]) / sum(work)
        say = _stretch(progress, begin, end, f"try {name} ({i + 1} of {len(able)}): ")
        job = prepare(sample, _settings(settings, name, statistics), limited, say, statistics)
        try:
            stream = BytesIO()
            report = write_file(job, asked, stream)
            tried.append(Trial(name, stream.getvalue(), report))
        except MicrofieldError as error:
            failed.append((name, error))
        if tried and monotonic() - clock > OVERRUN * allowed:
            # The others would take as long, and there is a file already.
            late = able[i + 1 :]
            break
    if whole and not tried:
        raise _first(failed)
    finished = [t for t in tried if not unfinished(t.report, budget)]
    late = [t.method for t in tried if finished and t not in finished] + late
    ranked = ranking(finished or tried, budget)
    where = "the whole image" if whole else f"a crop of {' x '.join(map(str, sample.shape))}"
    notes = (_verdict(ranked, failed, budget, where, whole, able[0]), *notes,
             *(f"auto left out {name}: {_sentence(name, error)}" for name, error in failed
               if not isinstance(error, BudgetError)),
             *([f"the time limit was too short to judge {' and '.join(late)}."] if late else []))
    order = (*(t.method for t in ranked), *(t.method for t in tried if t not in ranked), *(name for name, _ in failed))
    return Chosen(order, notes, ranked[0] if whole else None, statistics, 1 - work[-1] / sum(work))


def unfinished(report: Report, budget: Budget) -> bool:
    """Whether the time limit ended a trial so early that it says little of the method: far from what was asked for."""
    if not report.cut_short:
        return False
    if report.used is not None:
        return report.used < WELL_USED
    excess = quality_excess(budget, report)
    return excess is not None and excess > EXCESS_DB


def ranking(tried: Sequence[Trial], budget: Budget) -> list[Trial]:
    """Best first: the highest PSNR where a size was asked, the fewest bytes where a quality was; ties go to `PREFERRED`."""
    if _is_size(budget):
        ranked = sorted(tried, key=lambda t: (-t.report.psnr, len(t.data)))
        tied = [t for t in ranked if t.report.psnr >= ranked[0].report.psnr - TIE_DB]
    else:
        ranked = sorted(tried, key=lambda t: (len(t.data), -t.report.psnr))
        tied = [t for t in ranked if len(t.data) <= len(ranked[0].data) * (1 + TIE_BYTES)]
    return sorted(ranked, key=lambda t: not (t.method == PREFERRED and t in tied))


def check_options(settings: Settings) -> None:
    """Refuse options of a method that is not known yet."""
    if settings.options:
        raise UsageError(f"method {AUTO} takes no options ({', '.join(settings.options)}); name the method that they are for.")


def first(settings: Settings) -> str:
    """A candidate that can do what the settings ask for, before anything is tried."""
    return _able(settings, CANDIDATES)[0][0]


def installed(name: str) -> bool:
    """Whether what a candidate needs is there."""
    return all(find_spec(module) is not None for module in made(name).needed)


def parted(candidate: str) -> tuple[str, dict[str, str]]:
    """The method of a candidate and the options it is given."""
    method, *options = candidate.split()
    return method, dict(option.split("=", 1) for option in options)


def made(candidate: str) -> Method:
    """The method of a candidate with its options."""
    method, options = parted(candidate)
    return get_method(method).with_options(options)


# -- who takes part -------------------------------------------------------------------------------------------------------------


def _able(settings: Settings, candidates: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The candidates that can take part, and why the others cannot."""
    check_options(settings)
    known = [name for name in candidates if parted(name)[0] in names()]
    missing = [name for name in known if not installed(name)]
    wanted = settings.used()
    unfit = {name: sorted(lacking) for name in known if (lacking := wanted - made(name).usable)}
    able = [name for name in known if name not in missing and name not in unfit]
    if not able and unfit:
        raise UsageError(f"method {AUTO} cannot use {' and '.join(sorted(wanted))}: none of {', '.join(known)} can; name one that "
                         "can.")
    if not able:
        raise InputError(f"method {AUTO} finds none of {', '.join(candidates)} installed; name another method.")
    notes = [f"auto left out {name}, which cannot use {' and '.join(lacking)}." for name, lacking in unfit.items()]
    if absent := sorted(name for name in missing if name not in unfit):
        notes.append(f"{' and '.join(absent)} {'are' if len(absent) > 1 else 'is'} not installed (microfield[codecs]).")
    return able, tuple(notes)


def _settings(settings: Settings, method: str, known: ChannelStatistics | None = None) -> Settings:
    """The settings for one method; an image whose statistics are known was looked at for labels already."""
    name, options = parted(method)
    return replace(settings, method=name, options={**(settings.options or {}), **options},
                   not_labels=settings.not_labels or known is not None)


def _cut(settings: Settings, weights: npt.NDArray[np.float32] | None, box: tuple[slice, ...]) -> Settings:
    """The settings for the part of the image at ``box``."""
    arrays = {name: array[box] for name, array in settings.guide_arrays.items()}
    # A crop without anything salient is tried as if nothing were.
    salient = None if weights is None or not weights[box].any() else weights[box]
    return replace(settings, saliency=salient, guide_arrays=arrays)


def _sample(image: Image, box: tuple[slice, ...], budget: Budget) -> tuple[Image, Budget]:
    """What the candidates try, and the budget for it: as many bits per voxel."""
    values = image.read(box)
    if values.shape == image.shape:
        return replace(image, data=values), budget
    if budget.kind == "max_bytes":
        budget = replace(budget, value=budget.value * values.size / image.layout.size)
    # Names and metadata are of the whole image; in the file of a crop they would weigh too much.
    return Image(values, image.axes, name=image.name), budget


# -- the crop -------------------------------------------------------------------------------------------------------------------


def crop(image: Image, tile: tuple[int, ...] | None, statistics: ChannelStatistics, nan_fill: float | None = None,
         ) -> tuple[slice, ...]:
    """A box of about `LIMIT` voxels, at most half of a tiled image, at a place where something is.

    Of five places, the middle and four around it, the one with the second largest variance (in channel ranges) is taken:
    the largest may be an artefact.
    """
    extents = crop_shape(image.layout, LIMIT if tile is None else min(LIMIT, image.layout.size // 2), tile)
    found = []
    for box in dict.fromkeys(_places(image.layout, extents)):
        at = tuple(slice(start, start + n) for start, n in zip(box, extents, strict=True))
        found.append((_variance(image, at, statistics, nan_fill), at))
    found.sort(key=lambda one: one[0])
    middle = found[max(0, len(found) - 2)]
    return (middle if middle[0] > 0 else found[-1])[1]


def crop_shape(layout: Layout, limit: int, tile: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Extents of a crop of at most about ``limit`` voxels: all channels, and all planes and times where they fit.

    Rows and columns keep their proportion. What is cut becomes a multiple of the tile, so that no sliver of a part weighs
    more than it does in the file; without tiles rows and columns become multiples of 16.
    """
    extents = dict(zip(layout.axes, layout.shape, strict=True))
    steps = dict(zip(layout.axes, tile, strict=True)) if tile else {"Y": 16, "X": 16}
    for axes, least in (("YX", LEAST_YX), ("ZT", LEAST_ZT), ("YX", SMALLEST_YX)):
        cut = sorted((a for a in axes if a in extents), key=lambda a: extents[a])
        room = limit / math.prod(n for a, n in extents.items() if a not in cut)
        for i, axis in enumerate(cut):  # the shortest first: what it cannot give, the longer ones do
            scale = (room / math.prod(extents[a] for a in cut[i:])) ** (1 / (len(cut) - i))
            wanted = max(extents[axis] * min(1.0, scale), min(extents[axis], least))
            room /= wanted
            n, step = int(wanted + 1e-9), steps.get(axis, 1)
            extents[axis] = n - n % step if step < n < extents[axis] else n
    return tuple(extents.values())


def _places(layout: Layout, extents: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Where the five crops begin: rows and columns vary, the other axes keep to the middle."""
    for y, x in ((0.5, 0.5), (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)):
        at = {"Y": y, "X": x}
        yield tuple(int(at.get(a, 0.5) * (n - m)) for a, n, m in zip(layout.axes, layout.shape, extents, strict=True))


def _variance(image: Image, box: tuple[slice, ...], statistics: ChannelStatistics, nan_fill: float | None) -> float:
    block: npt.NDArray[np.float64] = as_planes(image.read(box), image.axes).astype(np.float64)
    if nan_fill is not None:
        block = np.where(np.isfinite(block), block, nan_fill)
    return float(np.mean(block.reshape(len(block), -1).var(axis=1) / statistics.range**2))


# -- in words -------------------------------------------------------------------------------------------------------------------


def _is_size(budget: Budget) -> bool:
    return budget.kind not in (*QUALITIES, SAFE_FOR)


def _verdict(ranked: Sequence[Trial], failed: Sequence[tuple[str, MicrofieldError]], budget: Budget, where: str, whole: bool,
             otherwise: str) -> str:
    """The sentence that says what was chosen and why."""
    if not ranked:
        return f"auto chose {otherwise}: on {where} no method reached what was asked, so none could be compared."
    best, size = ranked[0], _is_size(budget)
    asked = ("at this size" if whole else "at as many bits per voxel") if size else "for this quality"
    others = [f"{t.method} {_figure(t, size)}" for t in ranked[1:]]
    others += [f"{name} cannot reach it" for name, error in failed if isinstance(error, BudgetError)]
    if len(ranked) > 1 and best.method == PREFERRED and _beaten(best, ranked[1], size):
        others[-1] += f"; {PREFERRED} wins ties within {f'{TIE_DB:g} dB' if size else f'{TIE_BYTES:.1%}'}"
    compared = f" ({', '.join(others)})" if others else ""
    return f"auto chose {best.method}: {_figure(best, size)} on {where} {asked}{compared}."


def _beaten(best: Trial, other: Trial, size: bool) -> bool:
    return other.report.psnr > best.report.psnr if size else len(other.data) < len(best.data)


def _figure(trial: Trial, size: bool) -> str:
    if not size:
        return f"{len(trial.data)} bytes"
    return "an exact copy" if math.isinf(trial.report.psnr) else f"{trial.report.psnr:.2f} dB"


def _sentence(name: str, error: MicrofieldError) -> str:
    """Why a candidate failed, one sentence that names it."""
    text = (str(error).strip().splitlines() or ["no reason given."])[0]
    return text if name in text else f"{name}: {text}"


def _first(failed: Sequence[tuple[str, MicrofieldError]]) -> MicrofieldError:
    """What to say where all failed: the first refusal of the budget, which another budget mends, else the first error."""
    return next((error for _, error in failed if isinstance(error, BudgetError)), failed[0][1])


def _stretch(progress: Progress, begin: float, end: float, prefix: str = "") -> Progress:
    """Progress of a piece of the work."""
    return lambda done, what: progress(begin + (end - begin) * done, prefix + what)

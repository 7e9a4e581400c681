"""What the user is told of a search: why a budget cannot be met, and what a time limit cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microfield.errors import BudgetError
from microfield.metrics import channel_names
from microfield.wording import argument, listed
from microfield.writing.budget import TOLERANCE_DB, Budget
from microfield.writing.envelope import Envelope
from microfield.writing.job import Job
from microfield.writing.pace import SearchLog
from microfield.writing.report import Report

EMPTY = 0.98
"""Of a channel whose mean squared error is this share of its variance hardly more than one grey level is left."""

OVERRUN = 1.5
"""Calls that take this many times their time limit are told why."""


def say_psnr(psnr: float) -> str:
    """A PSNR in dB."""
    return f"{psnr:.2f} dB"


def say_noise(psnr: float) -> str:
    """A PSNR in units of noise sigmas as a noise factor."""
    return f"{10 ** (-psnr / 20):.2f} times the noise"


def too_small(job: Job, around: Envelope, limit: int | None, parts: int) -> BudgetError:
    """What to say where the smallest parts, of ``parts`` bytes, are too large."""
    name = job.image.name
    if limit is None:
        return BudgetError(
            f"{name} takes at least {parts + around.overhead(parts)} bytes with method "
            f"{job.method.name}, more than a quarter of its raw {job.image.nbytes} bytes; keep an exact copy with "
            f"{argument('lossless', True)}."
        )
    smallest = limit
    # What the index is allowed grows with the file, so the named size is one that holds its own overhead.
    while (needed := parts + around.overhead(smallest)) > smallest:
        smallest = needed
    return BudgetError(
        f"{limit} bytes are too few: {name} takes at least {smallest} bytes with method "
        f"{job.method.name} (ratio {job.image.nbytes / smallest:.0f})."
    )


def inexact(job: Job, limit: int, size: int) -> BudgetError:
    """What to say where an exact copy, of ``size`` bytes, was to fit a limit."""
    return BudgetError(f"{limit} bytes are too few: an exact copy of {job.image.name} takes at least {size} bytes (ratio "
                       f"{job.image.nbytes / size:.2f}). Leave the budget out, or take a method that is not exact.")


def emptied(job: Job, square_error: npt.NDArray[np.float64]) -> tuple[str, ...]:
    """A sentence on the channels of which hardly anything is left, if there are any; ``square_error`` is that of every channel."""
    spread = job.statistics.deviation**2
    empty = [name for name, error, all_of_it in zip(channel_names(job.image), square_error, spread, strict=True)
             if 0 < EMPTY * all_of_it <= error]
    if not empty:
        return ()
    if job.image.layout.channels == 1:
        which = "the image: its error is as large as the spread of its values"
    else:
        which = f"channel{'s' * (len(empty) > 1)} {listed(empty)}: the error is as large as the spread of the values"
    return (f"hardly more than one grey level is left of {which}. Allow more bytes, or ask for a higher quality.",)


def time_note(limit: float | None, budget: Budget, report: Report, log: SearchLog, shortened: Sequence[str]) -> str | None:
    """What a time limit of ``limit`` seconds cost; None where it cost nothing.

    Parameters
    ----------
    report : Report
        Of the file, without this note.
    log : SearchLog
        What the search did.
    shortened : sequence of str
        What the method left out.
    """
    if limit is None or not (log.ended or shortened):
        return None
    text = f"the time limit of {limit:g} s"
    if log.ended:
        text += f" ended the search after {log.attempts} attempt{'s' if log.attempts > 1 else ''}; {_outcome(budget, report)}"
    if shortened:
        left, made = (f", and method {report.method} left out", f" made method {report.method} leave out")
        text += f"{left if log.ended else made} {_listed(shortened)}"
    text += ". More time makes a better file."
    if report.seconds > OVERRUN * limit:
        text += f" It took {report.seconds:.1f} s, since no attempt is cut off in its middle."
    return text


def _outcome(budget: Budget, report: Report) -> str:
    """What came out of a search that was not done."""
    if report.used is not None:
        return f"{report.used:.0%} of the budget is used"
    excess = quality_excess(budget, report)
    if excess is not None and excess > TOLERANCE_DB:
        return f"the quality asked for is exceeded by {excess:.1f} dB, which takes more bytes than needed"
    return "the quality asked for is met, perhaps in more bytes than needed"


def quality_excess(budget: Budget, report: Report) -> float | None:
    """By how many dB a file is better than was asked; None where no PSNR was asked for."""
    if budget.kind == "psnr":
        return report.psnr - budget.value
    return min(report.channel_psnr) - budget.value if budget.kind == "least_psnr" else None


def _listed(things: Sequence[str]) -> str:
    return " and ".join(things) if len(things) < 3 else f"{', '.join(things[:-1])} and {things[-1]}"

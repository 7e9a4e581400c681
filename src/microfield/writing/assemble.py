"""From a job and a budget to the file: small images are searched as a whole, large ones encoded from a plan, part by part."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import IO, TYPE_CHECKING

import numpy as np

from microfield.errors import BudgetError, UsageError
from microfield.format.framing import Sections
from microfield.format.task_evidence import TaskEvidence
from microfield.methods.base import ByteLimit, Encoded, Exact
from microfield.metrics.decibel import decibel
from microfield.reading.file import open_file
from microfield.statistics import as_planes, boxes, channel_numbers
from microfield.wording import argument
from microfield.writing.balance import encode_to_least
from microfield.writing.budget import LOSSLESS, SAFE_FOR, Budget
from microfield.writing.envelope import UNKNOWN_RATIO, Envelope, described, envelope, measured
from microfield.writing.exact_copy import exact_note, with_exact_copy
from microfield.writing.job import Job
from microfield.writing.plan import JobPlan
from microfield.writing.planned import UNLIMITED, Pass, Target, encode_planned_image, exactly, first_setting, with_balance
from microfield.writing.report import Report
from microfield.writing.request import ErrorTotals, Float64, Request, Shortage
from microfield.writing.sentences import emptied, inexact, say_noise, say_psnr, time_note, too_small
from microfield.writing.to_a_goal import encode_to_goal
from microfield.writing.to_a_quality import encode_to_quality
from microfield.writing.to_a_size import encode_to_size

if TYPE_CHECKING:
    from microfield.tasks.base import Goal, Outcome

WHOLE_VOXELS, WHOLE_PARTS = 1 << 26, 4096
"""Images of at most so many array elements and parts are searched as a whole: every attempt encodes all parts, whose states
are kept from one attempt to the next. Larger ones get a setting from sampled parts."""


def write_file(job: Job, budget: Budget, stream: IO[bytes], embedded: bool = False) -> Report:
    """Encode a job to a budget and write the file to ``stream``, which can be read and sought.

    ``embedded`` leaves out what the host of the stream knows (shape, axes, dtype, names, sizes).

    Raises
    ------
    BudgetError
        The budget cannot be met; the message says what can.
    """
    if budget.kind == LOSSLESS and not isinstance(job.method.quality, Exact):
        raise UsageError(f"method {job.method.name} makes no exact copies; leave {argument('method')} out, or give a budget.")
    if embedded and not job.method.alone:
        raise UsageError("a chunk of a store cannot build on a network in another file; leave out the option ancestor.")
    limit = budget.byte_limit(job.image.layout)
    job, request, around, target = _begin(job, budget, limit, embedded)
    try:
        done, around = _encoded(request, around, target)
    except Shortage as short:
        raise too_small(job, around, limit, short.smallest) from None
    except BudgetError as refused:
        raise with_exact_copy(refused, job, around) from None
    with done.assembler:
        if limit is None:
            around = _with_evidence(described(around, job, done.assembler.size), job, target, done)
            done.assembler.header = around.header
        elif done.assembler.size > limit and isinstance(job.method.quality, Exact):
            done.assembler.header = replace(around.header, making=None)
            if done.assembler.size > limit:
                raise inexact(job, limit, done.assembler.size)
        relative = _relative(job, done.errors.square_error)
        done.assembler.header = measured(done.assembler.header, decibel(float(relative.mean())))
        size = done.assembler.write(stream)
    if limit is not None and size > limit:
        raise AssertionError(f"{size} bytes were written for a budget of {limit}")
    if limit is not None and not isinstance(job.method.quality, Exact):
        # A lossy file may be as large as the limit; one that is exact already is worth a word only where it is larger.
        hint = exact_note(job, around, limit if done.errors.square_error.any() else size - 1)
        around = replace(around, notes=(*around.notes, *([hint] if hint else [])))
    inside, outside = _by_saliency(job, stream)
    report = report_of(job, done.errors.square_error, size, limit, (*around.notes, *emptied(job, done.errors.square_error)))
    report = replace(report, scores=done.errors.scores, evidence=around.header.evidence)
    if note := time_note(job.settings.time_limit, budget, report, request.log, done.errors.shortened):
        report = replace(report, notes=(*report.notes, note), cut_short=request.log.ended)
    return replace(report, psnr_inside=inside, psnr_outside=outside)


def _with_evidence(around: Envelope, job: Job, target: Target, done: Pass) -> Envelope:
    """The envelope with what the task of the budget measured, where there is one."""
    if job.budget is None or job.budget.task is None or target.goal is None:
        return around
    task, outcome = job.budget.task, done.outcome or target.goal.judge(job.image.read())
    evidence = TaskEvidence(task.name, task.version, outcome.measure, float(outcome.value), float(outcome.limit), outcome.rising,
                            float(target.goal.share))
    return replace(around, header=replace(around.header, evidence=evidence))


def _encoded(request: Request, around: Envelope, target: Target) -> tuple[Pass, Envelope]:
    """All parts, and what surrounds them: how the file was made is left out where there is room for nothing but the parts.

    Raises
    ------
    Shortage
        Not even the smallest parts fit.
    """
    layout, n = around.header.layout, around.header.n_parts
    try:
        if isinstance(request.method.quality, Exact):
            return exactly(request, around), around
        if target.goal is not None:
            return _to_goal(request, around, target, target.goal), around
        encode = _searched if layout.size <= WHOLE_VOXELS and n <= WHOLE_PARTS else _planned
        return encode(request, around, target), around
    except Shortage:
        if around.header.making is None:
            raise
    return _encoded(request, replace(around, header=replace(around.header, making=None)), target)


def plan_file(job: Job, budget: Budget) -> tuple[JobPlan, Envelope]:
    """The plan of a file whose parts are encoded elsewhere, with `plan.encode_planned`, and put together by `put_together`.

    The setting comes from sampled parts; the file meets the budget about, not exactly.

    Raises
    ------
    BudgetError
        The budget cannot be met.
    """
    limit = budget.byte_limit(job.image.layout)
    if budget.task is not None:
        raise UsageError(f"{argument(SAFE_FOR)} judges the whole file, which parts that are encoded elsewhere do not make; ask "
                         "for a quality or a size.")
    job, request, around, target = _begin(job, budget, limit)
    if limit is None:
        around = described(around, job, job.image.nbytes // UNKNOWN_RATIO)
    try:
        request = with_balance(request, target)
        setting = first_setting(request, around, target)
    except Shortage as short:
        raise too_small(job, around, limit, short.smallest) from None
    return JobPlan.of(job.method, request.context, job.grid, job.image.layout, setting, around.references), around


def put_together(around: Envelope, parts: Iterable[tuple[Sections, int | None]], stream: IO[bytes]) -> int:
    """Write the file of parts given one by one, in order, each with the number of the part it builds on; its size."""
    with around.assembler() as assembler:
        for sections, reference in parts:
            assembler.add(sections, reference)
        return assembler.write(stream)


def _begin(job: Job, budget: Budget, limit: int | None, embedded: bool = False) -> tuple[Job, Request, Envelope, Target]:
    """The job with errors in the unit of the budget, its parts as a request, what surrounds them, and the target."""
    job = job.for_budget(budget)
    around = envelope(job, limit, embedded)
    request = Request(job.method, job.parts, replace(job.context, shared=around.shared), around.references,
                      worst=budget.kind == "least_psnr")
    return job, request, around, _target(job, budget, limit)


def _target(job: Job, budget: Budget, limit: int | None) -> Target:
    if limit is not None:
        return Target(limit)
    exact = isinstance(job.method.quality, Exact)
    quarter = job.image.nbytes // 4
    if budget.task is not None:
        from microfield.tasks.steady import SteadyGoal

        return Target(UNLIMITED if exact else quarter, goal=SteadyGoal(budget.task, job.image))
    if exact:
        return Target(UNLIMITED)  # Whatever quality is asked for, it is met.
    if budget.kind == "noise_factor":
        return Target(quarter, budget.value**2, say_noise)
    return Target(quarter, 10 ** (-budget.value / 10), say_psnr)


def _planned(request: Request, around: Envelope, target: Target) -> Pass:
    """All parts of a large image."""
    return encode_planned_image(with_balance(request, target), around, target)


def _searched(request: Request, around: Envelope, target: Target) -> Pass:
    """All parts of a small image."""
    if isinstance(request.method.quality, ByteLimit):
        request = request.with_curves()
    room = target.limit - around.overhead(target.limit)
    if target.error is None:
        encoded = encode_to_size(request, max(0, room))
    else:
        search = encode_to_least if request.worst else encode_to_quality
        encoded = search(request, target.error, room, target.say)
    return _passed(request, around, encoded)


def _to_goal(request: Request, around: Envelope, target: Target, goal: Goal) -> Pass:
    """All parts, so that an analysis is kept."""
    layout = around.header.layout
    if layout.size > WHOLE_VOXELS or around.header.n_parts > WHOLE_PARTS:
        raise UsageError(f"{argument(SAFE_FOR)} tries images of up to {WHOLE_VOXELS} array elements in up to {WHOLE_PARTS} parts, "
                         f"which this one exceeds ({layout.size} in {around.header.n_parts}); try a crop of it, and ask for the "
                         "PSNR that its file has.")
    if isinstance(request.method.quality, ByteLimit):
        request = request.with_curves()
    found = encode_to_goal(request, goal, layout, target.limit - around.overhead(target.limit))
    return _passed(request, around, found.encoded, found.outcome)


def _passed(request: Request, around: Envelope, encoded: list[Encoded], outcome: Outcome | None = None) -> Pass:
    """Encoded parts as they go into the file."""
    errors = ErrorTotals(request.context.unit.size)
    assembler = around.assembler()
    for part, one in zip(request.parts, encoded, strict=True):
        errors.add(part, one)
        assembler.add(one.sections, one.reference)
    return Pass(assembler, errors, assembler.size, outcome=outcome)


def _relative(job: Job, errors: Float64) -> Float64:
    """Mean squared error of every channel on its own range, from that in squared grey levels."""
    # Ranges of what is kept exactly may be too large or too small for squares.
    return np.asarray(errors / job.statistics.range**2 if errors.any() else errors)


def report_of(job: Job, errors: Float64, size: int, limit: int | None, notes: tuple[str, ...]) -> Report:
    """What it cost.

    Parameters
    ----------
    errors : array of shape (channels,)
        Mean squared error of every channel in squared grey levels.
    size, limit : int
        Bytes of all that was written, and of the budget (None for a quality).
    """
    noise, raw = job.statistics.noise, job.image.nbytes
    exact = not errors.any()
    relative = _relative(job, errors)
    stretch = job.statistics.range / job.statistics.robust_range
    noise_factor = None
    if (noise > 0).all():
        noise_factor = 0.0 if exact else float(np.sqrt(np.mean(errors / noise**2)))
    return Report(
        method=job.method.name, raw_bytes=raw, file_bytes=size, ratio=raw / size, source_bytes=job.image.source_bytes,
        psnr=decibel(float(relative.mean())), psnr_robust=decibel(float((relative * stretch**2).mean())),
        channel_psnr=tuple(decibel(float(r)) for r in relative),
        noise_factor=noise_factor,
        used=None if limit is None else size / limit, parts=job.grid.n, seconds=time.monotonic() - job.begin,
        notes=job.notes + notes, axes=job.image.axes, shape=job.image.shape,
        axes_guessed=job.image.axes_guessed, exact=exact and job.settings.nan_fill is None,
    )


def _by_saliency(job: Job, stream: IO[bytes]) -> tuple[float | None, float | None]:
    """PSNR of the voxels that weigh more than the mean weight, and of the others.

    None where there is no saliency, or no such voxel.
    """
    weights = job.context.objective.weights
    if weights is None:
        return None, None
    layout, mean = job.image.layout, float(weights.mean(dtype=np.float64))
    total, count = np.zeros((2, layout.channels)), np.zeros((2, layout.channels))
    file = open_file(stream, max_read_bytes=UNLIMITED, trusted=True)
    for box in boxes(layout):
        square = (np.asarray(file[box]).astype(np.float64) - job.image.read(box)) ** 2
        values, marks = as_planes(square, layout.axes), as_planes(weights[box] > mean, layout.axes)
        for k, channel in enumerate(channel_numbers(layout, box)):
            for side, where in enumerate((marks[k], ~marks[k])):
                total[side, channel] += values[k][where].sum()
                count[side, channel] += where.sum()
    found: list[float | None] = []
    for sums, voxels in zip(total, count, strict=True):
        seen = voxels > 0
        relative = sums[seen] / voxels[seen] / job.statistics.range[seen] ** 2
        found.append(decibel(float(relative.mean())) if seen.any() else None)
    return found[0], found[1]

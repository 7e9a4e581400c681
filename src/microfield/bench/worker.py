"""The worker of a bench: a child process that encodes one image with one method at every budget, and measures each result.

A process of its own per image and method keeps the crash of a native codec, its memory and its threads away from the other
runs. The image is opened and its statistics are measured once for all budgets. The parent's side is `supervisor`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from microfield.bench import measures
from microfield.bench.machine import machine, peak_memory, reset_peak, versions
from microfield.bench.rows import Row
from microfield.errors import BudgetError, MicrofieldError, MissingExtraError
from microfield.image import Image, filled
from microfield.wording import command_line
from microfield.writing.budget import Budget
from microfield.writing.report import Report
from microfield.writing.settings import Settings

Send = Callable[[str, Any], None]
"""Sends the supervisor ``("begin", key of a run)``, ``("row", row)`` or ``("progress", (fraction, message))``."""


@dataclass(frozen=True)
class PendingRun:
    """A run that is not finished.

    Attributes
    ----------
    key : of its row (`microfield.bench.rows.key`)
    budget : what to ask of the method
    row : as far as it is known
    measures : names of the measures that are still to be taken
    encoded : whether its compressed file exists already, so that only measures are missing
    """

    key: str
    budget: Budget
    row: Row
    measures: tuple[str, ...]
    encoded: bool = False


@dataclass(frozen=True)
class Task:
    """What one worker process does: one image, one method, some budgets.

    Attributes
    ----------
    path, axes : how to open the image
    labels : file of ground-truth labels; None without
    settings : method, options, effort, seed, time limit
    runs : what to do, in this order
    modules : modules to import first, which register the method
    measures : name of every measure to where it is found, ``"module:function"``
    out : folder of the bench; compressed files go to ``out/files``
    log : file for what native codecs print
    """

    path: str
    axes: str | None
    labels: str | None
    settings: Settings
    runs: tuple[PendingRun, ...]
    modules: tuple[str, ...]
    measures: Mapping[str, str]
    out: Path
    log: Path


def run_worker(task: Task, connection: Any) -> None:
    """Entry point of the worker process: do the task, and send every row through the connection as it is finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor, which ends the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _own_output(task.log)
    try:
        for name in task.modules:
            importlib.import_module(name)
        for name, where in task.measures.items():
            measures.register(name, where)
        with command_line():  # Only the command line starts workers, and messages go into its rows.
            work(task, lambda kind, value: connection.send((kind, value)))
    except (BrokenPipeError, ConnectionError):
        pass
    finally:
        connection.close()


def _end_with_parent() -> None:
    """End this process when its parent ends: nobody would read its results."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _own_output(log: Path) -> None:
    """Send what native codecs print to the log, so that it does not mix with the lines of the bench."""
    with contextlib.suppress(OSError):
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)


def work(task: Task, send: Send) -> None:
    """Do all runs of a task; whatever goes wrong becomes the status and message of a row."""

    @functools.cache
    def original() -> tuple[Image, measures.Known]:
        """Opened at the first use, so that an image that cannot be opened gives rows that say so."""
        image = _open(task)
        return image, _known(image, task)

    for run in task.runs:
        send("begin", run.key)
        row = dict(run.row)
        try:
            for fields in _steps(task, run, original, lambda done, what: send("progress", (done, what))):
                row |= fields
        except (BrokenPipeError, ConnectionError):
            raise
        except Exception as error:
            row |= _ended(error)
        send("row", row | {"versions": versions(), "machine": machine(), "date": time.strftime("%Y-%m-%d")})


def _ended(error: Exception) -> Row:
    """Status and message of a run that ended with an error: unreachable, refused or failed."""
    if isinstance(error, MicrofieldError):
        status = "unreachable" if isinstance(error, BudgetError) else "refused"
        # What an installation lacks today may be there tomorrow, so such a run is tried again.
        return {"status": "failed" if isinstance(error, MissingExtraError) else status, "message": _first_line(error)}
    if isinstance(error, MemoryError):
        return {"status": "failed", "message": "not enough memory."}
    traceback.print_exception(error, file=sys.stderr)
    return {"status": "failed", "message": f"{type(error).__name__}: {_first_line(error)}"}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


def _open(task: Task) -> Image:
    from microfield.io import open_image

    # NaN and infinity are replaced here, so that the measures compare with the values that were compressed.
    return filled(open_image(task.path, axes=task.axes), task.settings.nan_fill)


def _known(image: Image, task: Task) -> measures.Known:
    from microfield.io import open_image
    from microfield.statistics import channel_statistics

    labels = None if task.labels is None else open_image(task.labels, beside=image.sizes)
    return measures.Known(channel_statistics(image), labels)


def _steps(task: Task, run: PendingRun, original: Callable[[], tuple[Image, measures.Known]],
           progress: Callable[[float, str], None]) -> Iterator[Row]:
    """Do one run; gives the fields of its row as they are found, so that an encode is not lost where a measure fails."""
    import numpy as np

    from microfield.reading.file import open_file
    from microfield.reading.limits import UNLIMITED

    image, known = original()
    yield describe(image)
    path = task.out / run.row["file"]
    if not run.encoded:
        yield {"limit": run.budget.byte_limit(image.layout)}
        yield _encode(image, run.budget, task.settings, path, progress)
    progress(1.0, "decode")
    reset_peak()
    begin = time.perf_counter()
    with open_file(path, max_read_bytes=UNLIMITED, trusted=True) as file:
        decoded = np.asarray(file[...])
    yield {"decode_seconds": round(time.perf_counter() - begin, 4), "decode_memory": peak_memory()}
    taken: tuple[str, ...] = tuple(run.row.get("measures", ())) if run.encoded else ()
    for name in run.measures:
        progress(1.0, f"measure {name}")
        numbers = measures.measure_all([name], image, decoded, known)
        taken = measures.without_repeats((*taken, name))
        yield numbers | {"measures": list(taken)}
    yield {"status": "ok", "message": ""}


def describe(image: Image) -> Row:
    """The fields of a row that describe the image itself."""
    return {"axes": image.axes, "shape": list(image.shape), "dtype": image.dtype.name, "raw_bytes": image.nbytes,
            "source_bytes": image.source_bytes}


def _encode(image: Image, budget: Budget, settings: Settings, path: Path, progress: Callable[[float, str], None]) -> Row:
    """Compress into a file; gives sizes, seconds and the peak of memory in bytes."""
    from microfield.io.atomic import atomic_path
    from microfield.writing.compress import compress_to_bytes

    reset_peak()
    begin = time.perf_counter()
    data, report = compress_to_bytes(image, budget, replace(settings), progress)
    seconds = time.perf_counter() - begin
    memory = peak_memory()
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_bytes(data)
    return _sizes(image, data, report) | {"encode_seconds": round(seconds, 3), "encode_memory": memory}


def _sizes(image: Image, data: bytes, report: Report) -> Row:
    return {
        "bytes": len(data),
        "ratio": image.nbytes / len(data),
        "bits_per_voxel": 8 * len(data) / image.layout.size,
        "used": report.used,
        "notes": list(report.notes),
    }

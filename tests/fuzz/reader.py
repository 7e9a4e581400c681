"""The child: reads one file after another as users would, and says how each ended.

    request   a line of JSON (``host``, ``length``), then the bytes of the file
    answer    a line of JSON: ``kind`` is "read", "refused", or an escape: "exception", "warning" or "memory"; ``detail`` says more
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from microfield.bench.machine import peak_memory, reset_peak
from microfield.errors import FormatError, InputError, MissingExtraError
from microfield.format.container import Container
from microfield.format.source import BytesSource
from microfield.image import Layout
from microfield.reading.file import MicrofieldFile, open_file

LIMIT = 4 << 20
"""`max_read_bytes` of every read."""

MOST_GROWTH = 192 << 20
"""Memory that a case may take beside what the process has: three times the limit, and buffers that nothing claims."""

DECODER_SECONDS = 3.0
"""What decoders in a process of their own are given here: one that stands still is ended before the parent loses patience."""

ADDRESS_SPACE = 3 << 30
"""Address space beside that of the process when it begins; threads and libraries reserve more than they use."""


def read(data: bytes, host: Layout | None) -> None:
    """Everything that opens, describes and decodes a file."""
    with open_file(data, max_read_bytes=LIMIT, host=host) as f:
        describe(f)
        corner = (0,) * f.ndim
        refused: FormatError | InputError | None = None
        for use in (lambda: f.cost(corner), lambda: f[corner], lambda: f.at([corner, [n - 1 for n in f.shape]]),
                    lambda: f[tuple(slice(None, 6, 2) for _ in f.shape)], lambda: f.preview(4, average=True),
                    lambda: checked(f, f.asarray()), lambda: Container.open(BytesSource(data), host).verify()):
            try:
                use()
            except (FormatError, InputError) as error:
                if "\n" in str(error):
                    raise AssertionError(f"not one line: {error}") from None
                if "not enough memory" in str(error):
                    raise MemoryError(str(error)) from None
                refused = refused or error  # The rest is tried all the same.
        if refused is not None:
            raise refused


def describe(f: MicrofieldFile) -> None:
    """What is told without decoding."""
    repr(f)
    _ = f.header.part_box(0), f.header.experimental, f.ratio, f.sizes, f.voxel_size, f.channel_names
    try:
        _ = f.metadata
    except FormatError:
        return


def checked(f: MicrofieldFile, whole: Any) -> None:
    """A read has the shape and type that the file says, and other reads agree with it."""
    assert whole.shape == f.shape
    assert whole.dtype == f.dtype
    key = tuple(slice(n // 3, n // 3 + 5) for n in f.shape)
    np.testing.assert_array_equal(f[key], whole[key])


def outcome(data: bytes, host: Layout | None) -> tuple[str, str]:
    """How reading a file ends."""
    measured = reset_peak()
    before = peak_memory() or 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            read(data, host)
        kind, detail = "read", ""
    except (FormatError, InputError, MissingExtraError) as error:
        kind, detail = "refused", str(error)
        if "\n" in detail:
            kind = "exception"
    except MemoryError as error:
        kind, detail = "memory", f"MemoryError: {error}"
    except RuntimeWarning as error:
        kind, detail = "warning", _where(error)
    except Exception as error:
        kind, detail = "exception", _where(error)
    growth = (peak_memory() or 0) - before
    if measured and growth > MOST_GROWTH and kind in ("read", "refused"):
        return "memory", f"took {growth >> 20} MiB"
    return kind, detail


def _where(error: BaseException) -> str:
    """An error and the last line of this package that it came through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "microfield" in f.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {place}: {str(error)[:200]}"


def limit_memory() -> None:
    """Hold this process to `ADDRESS_SPACE` more than it has, where the system can."""
    try:
        import resource

        now = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    except (ImportError, OSError, ValueError):
        return


def layout_of(given: list[Any] | None) -> Layout | None:
    """A layout as `__main__` sends it."""
    return None if given is None else Layout(tuple(given[0]), given[1], np.dtype(given[2]))


def main() -> None:
    """Answer requests until there are no more."""
    import helpers.seam_methods  # noqa: F401 (registers its methods)
    from microfield.methods.conventional import isolated

    isolated.SECONDS = DECODER_SECONDS
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    first = True
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        data = sys.stdin.buffer.read(request["length"])
        kind, detail = outcome(data, layout_of(request["host"]))
        if first:  # Only now, since libraries reserve address space when they are first used.
            limit_memory()
            first = False
        answers.write(json.dumps({"kind": kind, "detail": detail}).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()

"""One process at a time: a lock that several calls of the command line hold in turn, on every system and file system."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STALE_SECONDS = 10.0
"""A lock that is older belongs to a process that was killed: none is held longer than it takes to write a summary."""

REFUSED_SECONDS = 1.0
"""Where the file of the lock cannot be made for so long, such as in a folder that is write-protected, the work goes on without."""

PAUSE = 0.01


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on a file while the with block runs; others wait.

    The lock is a hidden file beside ``path`` that only one process can make. Where it cannot be made, nothing is held.
    """
    lock = path.with_name(f".{path.name}.lock")
    held = _taken(lock)
    try:
        yield
    finally:
        if held:
            with contextlib.suppress(OSError):
                lock.unlink()


def _taken(lock: Path) -> bool:
    """Wait for the lock and take it; False where that is not possible."""
    refused = time.monotonic() + REFUSED_SECONDS
    while True:
        try:
            os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            return True
        except FileExistsError:
            refused = time.monotonic() + REFUSED_SECONDS
            with contextlib.suppress(OSError):
                if time.time() - lock.stat().st_mtime > STALE_SECONDS:
                    lock.unlink()
        except PermissionError:  # On Windows also while the file is being removed.
            if time.monotonic() > refused:
                return False
        except OSError:
            return False
        time.sleep(PAUSE)

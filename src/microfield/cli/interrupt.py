"""Ctrl-C that ends a command within a second, whatever it is doing.

Python sees Ctrl-C in its main thread only, and there not before a call of a library returns: encoding a film or compiling a network
can take half a minute. So the work runs in a thread of its own, and the main thread waits. On Ctrl-C the work is asked to
stop, which a thread that runs Python does at once: it leaves its with blocks and removes what is half-written. One that is
inside a library is given `GRACE` seconds; then the main thread removes what is half-written itself and ends the process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from microfield.threads import raise_in

GRACE = 0.5
"""Seconds that the work has to stop by itself."""

POLL = 0.1
"""Seconds after which the waiting thread looks up: on Windows it could not be interrupted otherwise."""

INTERRUPTED = 130
"""Exit status after Ctrl-C: what shells report of a program that SIGINT has ended."""

SENTENCE = "interrupted; files that were complete stay, nothing half-written is left."

TERMINATED = 143
"""Exit status after SIGTERM, which batch systems send at the end of the time they allow."""

_last_words: list[Callable[[], None]] = []


@contextlib.contextmanager
def last_words(say: Callable[[], None]) -> Iterator[None]:
    """While this lasts, ``say`` is called should the process have to end without unwinding the thread of the work."""
    _last_words.append(say)
    try:
        yield
    finally:
        _last_words.remove(say)


def run_interruptibly(work: Callable[[], int], own_process: bool = True) -> int:
    """What ``work`` returns or raises, run in a thread that Ctrl-C and SIGTERM can leave behind.

    Parameters
    ----------
    work : callable () -> int
    own_process : bool
        Whether the process is ours alone and ends with the command. Then it ends at once, since libraries leave threads that
        would be waited for, or crash while Python is taken down.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C in a process that is not ours, where the work has stopped by itself.
    SystemExit
        The same after SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()  # Somebody else's thread: signals are not ours.
    outcome: list[int] = []
    failure: list[BaseException] = []
    done = threading.Event()  # Joining a thread is no use: interrupted, Python 3.11 takes the thread for ended.

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # Whatever it is, the caller gets it.
            failure.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, name="work", daemon=True)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        thread.start()
        while not done.wait(POLL):
            pass
    except (KeyboardInterrupt, SystemExit) as end:
        _stop(thread, done)
        if own_process or not done.is_set():
            leave(TERMINATED if isinstance(end, SystemExit) else INTERRUPTED)
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)  # None: a handler that is not Python's.
    if failure:
        raise failure[0]
    return outcome[0]


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def _stop(thread: threading.Thread, done: threading.Event) -> None:
    """Ask the work to stop, and wait a little for that."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second Ctrl-C must not disturb this, which takes a moment only.
    raise_in(thread, KeyboardInterrupt)
    done.wait(GRACE)
    signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)


def leave(status: int) -> None:
    """End the process, with last words and without half-written files, whatever its threads are doing at the moment."""
    from microfield.io.atomic import remove_unfinished

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for say in list(_last_words):
        with contextlib.suppress(Exception):
            say()
    remove_unfinished()
    with contextlib.suppress(OSError):
        line = "\n" if sys.stderr.isatty() else ""  # The progress may stand on the terminal's last line.
        print(f"{line}microfield: {SENTENCE}", file=sys.stderr, flush=True)
        sys.stdout.flush()
    os._exit(status)

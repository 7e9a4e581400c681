"""Long work beside a window: in a thread of its own, with progress that is looked at and a way to stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from microfield.progress import Progress
from microfield.threads import raise_in

Result = TypeVar("Result")

POLL = 0.1
"""Seconds between two looks at how far the work is."""


class CancelledError(BaseException):
    """The work was stopped because somebody asked for it; what catches errors lets it pass."""


class Task(Generic[Result]):
    """Work that is under way.

    Iterating gives the fraction that is done and what is being done, now and then, until the work ends; then `result` holds what it
    returned. After `cancel` the work stops within moments, as a command does on Ctrl-C: what it was writing is removed.

    Parameters
    ----------
    work : callable (progress) -> Result
        Calls ``progress(fraction, message)`` now and then.
    """

    def __init__(self, work: Callable[[Progress], Result]) -> None:
        self._work = work
        self._now = (0.0, "")
        self._results: list[Result] = []
        self._failure: BaseException | None = None
        self._cancelled = False
        self._thread = threading.Thread(target=self._run, name="microfield", daemon=True)

    def __iter__(self) -> Iterator[tuple[float, str]]:
        """Start, and report until the end.

        Raises
        ------
        CancelledError
            The work was cancelled.
        Exception
            What the work raised.
        """
        self._thread.start()
        while self._thread.is_alive():
            yield self._now
            self._thread.join(POLL)
        if self._failure is not None and not self._cancelled:
            raise self._failure
        if not self._results:
            raise CancelledError("stopped; nothing was written.")
        yield 1.0, "done"

    @property
    def result(self) -> Result:
        """What the work returned, once it has ended."""
        return self._results[0]

    def cancel(self) -> None:
        """Ask the work to stop; work that has just ended stays done."""
        self._cancelled = True
        raise_in(self._thread, CancelledError)

    def _run(self) -> None:
        try:
            if not self._cancelled:
                self._results.append(self._work(self._tell))
        except BaseException as error:  # Whatever it is, the one who looks gets it.
            self._failure = error

    def _tell(self, fraction: float, message: str) -> None:
        self._now = fraction, message

"""Progress on standard error: a line that is drawn anew on a terminal or in a notebook, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[float, str], None]
"""Is told the fraction 0..1 that is done, and what is being done."""

DRAW_SECONDS = 0.1
"""The line is drawn anew at most every so many seconds."""
LOG_SECONDS = 10.0
"""Where nothing can be drawn anew, such as in a log file, a line is written every so many seconds."""


class ProgressLine:
    """One line that every call draws anew, where standard error is a terminal or a notebook.

    Parameters
    ----------
    title : str
        What the line begins with.
    log : bool
        Elsewhere write a line of its own every `LOG_SECONDS` instead of nothing.
    """

    def __init__(self, title: str, log: bool = False) -> None:
        self.title = title
        self.active = sys.stderr.isatty() or _in_notebook()
        self.log = log
        self.begin = self.shown = time.monotonic()
        self.length = 0

    def __call__(self, fraction: float, message: str) -> None:
        """Show a fraction 0..1 and what is being done."""
        now = time.monotonic()
        pause = DRAW_SECONDS if self.active else LOG_SECONDS
        if not (self.active or self.log) or (now - self.shown < pause and (fraction < 1 or not self.active)):
            return
        self.shown = now
        filled = round(24 * min(max(fraction, 0), 1))
        line = f"{self.title} [{'#' * filled}{'.' * (24 - filled)}] {fraction:4.0%} {message} {now - self.begin:.0f} s"
        if self.active:
            self._draw(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Wipe the line."""
        if self.active and self.length:
            self._draw("")
            print("\r", end="", file=sys.stderr, flush=True)

    def _draw(self, line: str) -> None:
        """Put a line in the place of the last one, all of which is covered by spaces."""
        print("\r" + line.ljust(self.length), end="", file=sys.stderr, flush=True)
        self.length = len(line)


@contextmanager
def shown(progress: bool | Progress | None, title: str) -> Iterator[Progress | None]:
    """What a long step is to tell its progress to, by what the user gave: True is a line on standard error.

    Parameters
    ----------
    progress : bool or callable, optional
        True, a function of the user's (fraction, message), or nothing.
    title : str
        What the line begins with.
    """
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    line = ProgressLine(title, log=True)
    try:
        yield line
    finally:
        line.close()


def _in_notebook() -> bool:
    """Whether standard error belongs to Jupyter, which is no terminal but draws a line anew like one."""
    return type(sys.stderr).__module__.partition(".")[0] == "ipykernel"

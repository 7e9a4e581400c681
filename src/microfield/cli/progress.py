"""Progress on standard error, where that is a terminal."""

from __future__ import annotations

import sys
import time


class ProgressLine:
    """One line on the terminal that every call draws anew; draws nothing where standard error is no terminal."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.active = sys.stderr.isatty()
        self.begin = self.shown = time.monotonic()
        self.length = 0

    def __call__(self, fraction: float, message: str) -> None:
        """Show a fraction 0..1 and what is being done, at most ten times a second."""
        now = time.monotonic()
        if not self.active or (now - self.shown < 0.1 and fraction < 1):
            return
        self.shown = now
        filled = round(24 * min(max(fraction, 0), 1))
        line = f"{self.title} [{'#' * filled}{'.' * (24 - filled)}] {fraction:4.0%} {message} {now - self.begin:.0f} s"
        self._draw(line)

    def close(self) -> None:
        """Wipe the line."""
        if self.active and self.length:
            self._draw("")
            print("\r", end="", file=sys.stderr, flush=True)

    def _draw(self, line: str) -> None:
        """Put a line in the place of the last one, all of which is covered by spaces."""
        print("\r" + line.ljust(self.length), end="", file=sys.stderr, flush=True)
        self.length = len(line)

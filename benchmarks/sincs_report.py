"""docs/studies/sincs.md, from the rows of `benchmarks.sincs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def write(rows: Sequence[dict[str, Any]]) -> None:
    """Write the page."""
    del rows

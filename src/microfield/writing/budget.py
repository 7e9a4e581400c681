"""Budget: what the user asked for, checked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microfield import checks
from microfield.errors import MissingExtraError, UsageError
from microfield.image import Layout
from microfield.wording import argument

if TYPE_CHECKING:
    from microfield.tasks.base import Task

QUALITIES = ("psnr", "least_psnr", "noise_factor")
"""Kinds that ask for a quality: PSNR of the whole, of the worst channel, error in units of the noise."""

LOSSLESS = "lossless"
"""The kind that asks for an exact copy, and the name of the method that makes it."""

SAFE_FOR = "safe_for"
"""The kind that asks for an analysis to find the same in the copy."""

KINDS = ("ratio", "bits_per_voxel", "max_bytes", *QUALITIES, LOSSLESS, SAFE_FOR)

TOLERANCE_DB = 0.1
"""A quality target is met from above, within this many dB where the method's knob is continuous."""


@dataclass(frozen=True)
class Budget:
    """Exactly one request: a size (``ratio``, ``bits_per_voxel``, ``max_bytes``), a quality (`QUALITIES`), an exact copy, or an
    analysis that is to find the same (``safe_for``: ``task`` is it).
    """

    kind: str
    value: float
    task: Task | None = None

    @classmethod
    def of(cls, **requests: Any) -> Budget:
        """The one request that is not None, checked; ``tolerance`` belongs to ``safe_for`` (see `microfield.tasks.choose.task_of`).

        Raises
        ------
        UsageError
            If there is none, more than one, or one that makes no sense.
        """
        tolerance = requests.pop("tolerance", None)
        given = {k: v for k, v in requests.items() if v is not None and not (k == LOSSLESS and not v)}
        if len(given) != 1:
            named = " and ".join(map(argument, given)) or "none"
            raise UsageError(f"give exactly one of {', '.join(map(argument, KINDS))} (got {named}).")
        kind, raw = next(iter(given.items()))
        if kind != SAFE_FOR and tolerance is not None:
            raise UsageError(f"{argument('tolerance', tolerance)} says how much an analysis may lose; name it with "
                             f"{argument(SAFE_FOR)}.")
        if kind == LOSSLESS:
            return cls(kind, 1.0)
        if kind == SAFE_FOR:
            return cls(kind, 0.0, _task(raw, tolerance))
        if not isinstance(raw, str):
            raw = checks.number(kind, raw)
        value = parse_bytes(raw) if kind == "max_bytes" else _number(kind, raw)
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{argument(kind, raw)} must be a positive number.")
        return cls(kind, float(value))

    def byte_limit(self, layout: Layout) -> int | None:
        """Bytes the file may take at most; None for a quality or an exact copy."""
        if self.kind == "ratio":
            return int(layout.nbytes / self.value)
        if self.kind == "bits_per_voxel":
            return int(self.value * layout.size / 8)
        return int(self.value) if self.kind == "max_bytes" else None


def _task(name: Any, tolerance: float | None) -> Task:
    """The task of a name; what it analyses with is imported only now."""
    try:
        from microfield.tasks.choose import task_of
    except ImportError:
        raise MissingExtraError(f"{argument(SAFE_FOR, name)}", "report") from None
    return task_of(name, tolerance)


def _number(kind: str, raw: float | str) -> float:
    try:
        return float(raw)
    except ValueError:
        raise UsageError(f"{argument(kind, repr(raw))} must be a number.") from None


_UNITS = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_bytes(text: float | str) -> int:
    """Bytes from a number or text such as ``300kB`` or ``2MiB``."""
    if not isinstance(text, str):
        return int(text) if math.isfinite(text) else 0
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].lower() not in _UNITS or match[1].count(".") > 1 or match[1] == ".":
        raise UsageError(f"{text!r} is not a size; write for example 300kB, 2MB or 1500000.")
    return int(float(match[1]) * _UNITS[match[2].lower()])

"""The header's evidence: which analysis a file was made safe for, and what was measured in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TaskEvidence:
    """What a task measured in a file when it was written.

    Attributes
    ----------
    task : as the user named it, such as ``count`` or ``my_module:my_function``
    version : of the task; the same copy may be judged otherwise by another one; empty where unknown
    measure : what was measured, in words; of several measures the one that came nearest to its limit
    value : the number
    limit : the worst number that is still good enough
    rising : True where larger numbers are better
    share : part of the image's array elements that were looked at, above 0 and up to 1
    """

    task: str
    version: str
    measure: str
    value: float
    limit: float
    rising: bool
    share: float

    def __str__(self) -> str:
        version = f" (version {self.version})" if self.version else ""
        part = "" if self.share >= 1 else f", judged on {self.share:.2g} of the image"
        limit = f"{'at least' if self.rising else 'at most'} {self.limit:g}"
        return f"{self.task}{version}: {self.measure} {self.value:.4g}, {limit}{part}"

    def as_dict(self) -> dict[str, Any]:
        """The attributes, JSON-ready."""
        return {"task": self.task, "version": self.version, "measure": self.measure, "value": self.value, "limit": self.limit,
                "rising": self.rising, "share": self.share}


def pack_evidence(evidence: TaskEvidence | None) -> list[Any] | None:
    """The header's field, None for no evidence."""
    return None if evidence is None else list(evidence.as_dict().values())


def unpack_evidence(stored: list[Any] | None) -> TaskEvidence | None:
    """The inverse of `pack_evidence`."""
    return None if stored is None else TaskEvidence(*stored)


def is_evidence(value: Any) -> bool:
    """Whether a value of the header is an array as `pack_evidence` makes it."""
    if type(value) is not list or [type(v) for v in value] != [str, str, str, float, float, bool, float]:
        return False
    return bool(value[0]) and bool(value[2]) and all(map(math.isfinite, (value[3], value[4]))) and 0 < value[6] <= 1

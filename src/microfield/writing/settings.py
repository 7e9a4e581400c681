"""Settings of a compression and the report of what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import UsageError

DEFAULT_METHOD = "field"


@dataclass(frozen=True)
class Settings:
    """How to compress, apart from the budget.

    Attributes
    ----------
    method : str
        Name of a registered method, or ``"auto"`` to have one chosen (see `microfield.writing.auto`).
    options : mapping
        Options of the method (text or Python values).
    effort : int, 0 to 9
        How much work, 0 to 9; what a step means is the method's own.
    time_limit : float, optional
        Seconds the fit may take.
    tile : mapping, optional
        Axis letter to extent: cuts the image into a regular grid of parts.
    channel_weights : sequence of float, optional
        Relative importance of every channel's error.
    nan_fill : float, optional
        Value that replaces NaN and infinity; without it they are refused.
    not_labels : bool
        Compress even what looks like object labels.
    keep_metadata : bool
        Keep vendor metadata whatever it costs.
    voxel_weights : float32 array of the image's shape, optional
        Relative weight of every voxel's error.
    guidance : `microfield.nn.guidance.Guidance`, optional
        Extra loss on blocks.
    optimiser : callable () -> `microfield.nn.optimisers.Optimiser`, optional
        Replaces the method's own optimiser.
    """

    method: str = DEFAULT_METHOD
    options: Mapping[str, Any] | None = None
    effort: int = 5
    time_limit: float | None = None
    seed: int = 0
    tile: Mapping[str, int] | None = None
    channel_weights: tuple[float, ...] | None = None
    nan_fill: float | None = None
    not_labels: bool = False
    keep_metadata: bool = False
    guidance: Any = None
    voxel_weights: npt.NDArray[np.float32] | None = None
    optimiser: Any = None

    def __post_init__(self) -> None:
        if not 0 <= self.effort <= 9:
            raise UsageError(f"effort must be 0 to 9, not {self.effort}.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UsageError(f"the time limit must be a positive number of seconds, not {self.time_limit}.")


@dataclass(frozen=True)
class Report:
    """What a compression cost, all measured on the file as it decodes.

    ``psnr`` is the overall PSNR in dB (infinite for an exact copy), ``channel_psnr`` that of every channel, ``used`` the
    share of the byte budget that the file takes (None for quality requests).
    """

    method: str
    raw_bytes: int
    file_bytes: int
    ratio: float
    source_bytes: int | None
    psnr: float
    channel_psnr: tuple[float, ...]
    noise_factor: float | None
    used: float | None
    parts: int
    seconds: float
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready mapping; infinite values become None."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}


def decibel(error: float) -> float:
    """PSNR of a normalised squared error; infinite for an exact copy."""
    return math.inf if error <= 0 else -10 * math.log10(error)

"""The report of a compression: what it cost, all measured on the file as it decodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from microfield.axes import in_words
from microfield.wording import argument


@dataclass(frozen=True)
class Report:
    """What a compression cost, all measured on the file as it decodes.

    Attributes
    ----------
    method : str
        The method that wrote the file.
    raw_bytes, file_bytes : int
        Bytes of the array and of the whole file; ``ratio`` is the first over the second.
    source_bytes : int, optional
        Bytes of the file that the image came from.
    psnr : float
        Overall PSNR in dB (infinite for an exact copy), from the mean of the channels' errors on their own ranges.
    channel_psnr : tuple of float
        PSNR of every channel.
    noise_factor : float, optional
        Root mean square error in units of the estimated noise; None where no noise can be estimated.
    used : float, optional
        Share of the byte budget that the file takes; None for quality requests.
    parts : int
        Number of parts.
    seconds : float
        Time it took.
    notes : tuple of str
        What the user should know.
    psnr_inside, psnr_outside : float, optional
        Where a saliency was given: PSNR of the voxels that weigh more than the mean weight, and of the others.
    scores : mapping of name to float
        Further measures that the method took.
    axes : str
        How the image was read: one letter of ``TCZYXS`` per axis; empty where that is not known.
    shape : tuple of int
        Extent of every axis.
    axes_guessed : bool
        Whether the axes were assumed because the source does not name them.
    cut_short : bool
        Whether a time limit ended the search for the size or quality; a note says what that cost.
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
    psnr_inside: float | None = None
    psnr_outside: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    axes: str = ""
    shape: tuple[int, ...] = ()
    axes_guessed: bool = False
    cut_short: bool = False

    @property
    def read_as(self) -> str:
        """How the image was read, in words, and whether that was assumed; empty where the report does not know it."""
        if not self.axes:
            return ""
        words = f"read as {in_words(self.axes, self.shape)}"
        return f"{words} (axes guessed; {argument('axes')} to change)" if self.axes_guessed else words
    def as_dict(self) -> dict[str, Any]:
        """JSON-ready mapping; infinite values become None, also in lists."""
        return {key: _finite(value) for key, value in asdict(self).items()}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""The report of a compression: what it cost, all measured on the file as it decodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from microfield.axes import read_as
from microfield.errors import MicrofieldError
from microfield.format.task_evidence import TaskEvidence
from microfield.notebook.preview import Preview

STRETCHED = 6.0
"""The PSNR on the range of nearly all values is told beside the PSNR where it is so many dB worse: that range is half as wide."""


@dataclass(frozen=True, repr=False)
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
    psnr_robust : float, optional
        Overall PSNR in dB on the channels' ranges from the 0.1 to the 99.9 percentile, which no hot pixel stretches.
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
    exact : bool
        Whether every value of the file is that of the image.
    cut_short : bool
        Whether a time limit ended the search for the size or quality; a note says what that cost.
    evidence : TaskEvidence, optional
        Where a task was to be kept: what it measured in the copy.
    path : str
        Where the file is; empty where it went elsewhere.
    original : Preview, optional
        A small picture of the image for notebooks.
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
    exact: bool = False
    cut_short: bool = False
    path: str = ""
    original: Preview | None = field(default=None, compare=False)
    psnr_robust: float | None = None
    evidence: TaskEvidence | None = None

    @property
    def read_as(self) -> str:
        """How the image was read, in words, and whether that was assumed; empty where the report does not know it."""
        return read_as(self.axes, self.shape, self.axes_guessed) if self.axes else ""

    def describe(self, name: str = "") -> str:
        """The report in a few lines: size, quality, and what the user should know; ``name`` is what to call the file."""
        size = (f"{name or 'microfield file'}: {self.file_bytes} bytes, {self.ratio:.1f}x smaller than the raw {self.raw_bytes} "
                "bytes")
        if self.source_bytes:
            size += f" ({_times(self.source_bytes / self.file_bytes)} than the source file)"
        facts = ["  exact copy" if self.exact else f"  PSNR {self.psnr:.2f} dB", *self.by_saliency]
        if len(self.channel_psnr) > 1 and not self.exact:
            facts[0] += f" (channels: {', '.join(f'{p:.2f}' for p in self.channel_psnr)})"
        if self.stretched:
            facts[0] += f", but {self.psnr_robust:.2f} dB on the range of all but the extreme 0.1 % of the values"
        if self.noise_factor is not None and not self.exact:
            facts.append(f"error {self.noise_factor:.2f} x noise")
        facts += [f"method {self.method}", f"{self.seconds:.1f} s"]
        if self.used is not None:
            facts.append(f"{self.used:.1%} of the budget")
        read_as = [f"  {self.read_as}"] if self.axes else []
        kept = [f"  safe for {self.evidence}"] if self.evidence is not None else []
        return "\n".join([size, *read_as, ", ".join(facts), *kept, *(f"  note: {note}" for note in self.notes)])

    @property
    def stretched(self) -> bool:
        """Whether a few extreme values, such as hot pixels, make the PSNR `STRETCHED` dB or more better than it is without them."""
        return not self.exact and self.psnr_robust is not None and self.psnr - self.psnr_robust >= STRETCHED

    @property
    def by_saliency(self) -> list[str]:
        """PSNR inside and outside what the saliency marks, in words; nothing where no saliency was given."""
        sides = (("inside", self.psnr_inside), ("outside", self.psnr_outside))
        return [f"{side} {decibels(psnr)}" for side, psnr in sides if psnr is not None]

    def __str__(self) -> str:
        return self.describe(self.path)

    def __repr__(self) -> str:
        return (f"<Report {self.path}: {self.file_bytes:,} bytes, {self.ratio:.1f}x, PSNR {decibels(self.psnr)}, "
                f"method {self.method}, {self.seconds:.1f} s>")

    def _repr_html_(self) -> str:
        """Pictures of the image and of what the file makes of it, and what the compression cost, for notebooks."""
        from microfield.notebook.card import Shown, card

        pictures = [Shown(self.original, "original")] if self.original else []
        if self.original and (copy := _copy(self.path, self.original)):
            pictures.append(Shown(copy, "from the file"))
        facts = {
            "image": self.read_as.removeprefix("read as "), "method": self.method,
            "size": f"{self.file_bytes:,} bytes, {self.ratio:.1f} times smaller than the {self.raw_bytes:,} bytes of the array",
            "PSNR": ", ".join([decibels(self.psnr), *self.by_saliency]),
            "robust PSNR": f"{self.psnr_robust:.2f} dB, without the extreme 0.1 % of the values" if self.stretched else "",
            "safe for": "" if self.evidence is None else str(self.evidence),
            "error": "" if self.noise_factor is None else f"{self.noise_factor:.2f} times the noise of the image",
            "time": f"{self.seconds:.1f} s", "notes": " ".join(self.notes),
        }
        return card(self.path or "microfield file", facts, pictures)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready mapping; infinite values become None, also in lists."""
        bare = replace(self, original=None)
        return {key: _finite(value) for key, value in asdict(bare).items() if key not in ("original", "path")}


def decibels(psnr: float) -> str:
    """A PSNR as text; an infinite one is an exact copy."""
    return "exact" if math.isinf(psnr) else f"{psnr:.2f} dB"


def _times(ratio: float) -> str:
    """How many times smaller or larger something is."""
    return f"{ratio:.1f}x smaller" if ratio >= 1 else f"{1 / ratio:.1f}x larger"


def _copy(path: str, original: Preview) -> Preview | None:
    """What a file makes of the plane that the preview of its original shows; None where it is gone or not quickly decoded."""
    from microfield.reading.file import open_file

    if not Path(path).is_file():
        return None
    try:
        with open_file(path) as f:
            found = f.glance()
    except (MicrofieldError, OSError):
        return None
    return None if found is None else replace(found, colours=original.colours, ranges=original.ranges)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""What `microfield.compare` returns: a mapping of metrics that prints as a table and goes into JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from microfield.notebook.preview import Preview

_COLUMNS = (
    ("psnr", "PSNR dB", ".2f"),
    ("psnr_robust", "robust dB", ".2f"),
    ("ssim", "SSIM", ".4f"),
    ("ssim_3d", "SSIM 3-D", ".4f"),
    ("ms_ssim", "MS-SSIM", ".4f"),
    ("lpips", "LPIPS", ".4f"),
    ("nrmse", "NRMSE", ".3g"),
    ("pearson", "Pearson", ".4f"),
    ("max_error", "max error", ".5g"),
    ("noise_factor", "error/noise", ".3g"),
    ("histogram_distance", "hist. W1", ".2g"),
    ("blocking", "blocks", ".3f"),
    ("frc_cutoff", "FRC", ".3f"),
)
"""Metrics in the table: attribute, heading, format."""
_NAME_WIDTH = 14
_LEGEND = {
    "psnr_robust": "robust dB: PSNR on the range from the 0.1 to the 99.9 percentile, which no hot pixel stretches",
    "lpips": "LPIPS: distance in the features of a network trained on photographs, 0 where both look the same",
    "noise_factor": "error/noise: root mean square error in units of the original's estimated noise",
    "histogram_distance": "hist. W1: how far the grey values moved on the whole, as a share of the range (Wasserstein-1)",
    "blocking": "blocks: strength of edges of coding blocks that the original does not have, 0 to 1",
    "frc_cutoff": "FRC: finest detail on which both agree (Fourier ring correlation 0.5), 1 for single pixels; blind to plain blur",
}
"""Explanations of the headings that need one."""

MEANS = ("ssim", "pearson", "ssim_3d", "ms_ssim", "lpips", "histogram_distance", "blocking", "frc_cutoff")
"""Metrics whose overall value is the mean over the channels that have one."""


@dataclass(frozen=True)
class ChannelComparison:
    """The metrics of one channel. The last six are None unless LPIPS, or a full comparison, was requested.

    Attributes
    ----------
    name : str
    psnr : dB on the channel's range (max - min of the original), infinite without error
    psnr_robust : dB on the range from the 0.1 to the 99.9 percentile
    ssim : mean structural similarity of the YX planes, at most 1; None where it was not requested
    nrmse : root mean square error / range
    pearson : correlation of the grey values, -1 to 1; None where original or reconstruction is constant
    max_error : largest absolute error in grey levels
    noise_factor : root mean square error / estimated noise sigma; None where no noise is visible
    ssim_3d : mean structural similarity of the ZYX stacks, at most 1; None with fewer than 5 planes along Z
    ms_ssim : mean multi-scale structural similarity of the YX planes, 0 to 1
    histogram_distance : Wasserstein-1 distance of the grey-value distributions / range, 0 where they are equal
    blocking : strength of block edges beyond that in the original, 0 none to 1; None for planes of a few pixels
    frc_cutoff : Fourier ring correlation of the YX planes: the share of the Nyquist frequency (0.5 cycles/pixel) up to
        which it stays at 0.5 or above, 1 where it never falls below; None for constant or tiny planes
    lpips : mean distance of the YX planes in the features of a network, from 0 on; None for planes of fewer than 31 pixels along
        an axis
    """

    name: str
    psnr: float
    psnr_robust: float
    ssim: float | None
    nrmse: float
    pearson: float | None
    max_error: float
    noise_factor: float | None
    ssim_3d: float | None = None
    ms_ssim: float | None = None
    histogram_distance: float | None = None
    blocking: float | None = None
    frc_cutoff: float | None = None
    lpips: float | None = None


@dataclass(frozen=True, repr=False)
class Comparison(Mapping[str, Any]):
    """The metrics of a reconstruction: attributes and a mapping from the same names.

    ``psnr``, ``psnr_robust``, ``nrmse`` and ``noise_factor`` are as in `ChannelComparison`, from the mean over channels
    of the normalised square errors; ``max_error`` is the maximum over channels and the others are the mean over those
    channels that have a value. ``channels`` has one `ChannelComparison` each. ``file_bytes`` and ``source_bytes`` are
    None where unknown, and so are the ratios. ``exact`` says whether every value of the copy is that of the original, and
    ``same_original`` whether the file that the copy is was made from this original, by its checksum; None where the copy is no
    microfield file or does not say. ``notes`` say what the user should know of the original: that it is not the
    image that the file was made from, what of its own file is not in it. ``previews`` are small pictures of both images for
    notebooks, where there are any.
    """

    psnr: float
    psnr_robust: float
    ssim: float | None
    nrmse: float
    pearson: float | None
    max_error: float
    noise_factor: float | None
    channels: tuple[ChannelComparison, ...]
    raw_bytes: int
    file_bytes: int | None = None
    source_bytes: int | None = None
    ssim_3d: float | None = None
    ms_ssim: float | None = None
    histogram_distance: float | None = None
    blocking: float | None = None
    frc_cutoff: float | None = None
    lpips: float | None = None
    notes: tuple[str, ...] = ()
    same_original: bool | None = None
    previews: tuple[Preview, ...] = field(default=(), compare=False)

    @property
    def exact(self) -> bool:
        """Whether every value of the copy is that of the original."""
        return self.max_error == 0

    @property
    def ratio(self) -> float | None:
        """Compression ratio: bytes of the raw array / bytes of the whole file."""
        return None if not self.file_bytes else self.raw_bytes / self.file_bytes

    @property
    def source_ratio(self) -> float | None:
        """Bytes of the file the image came from / bytes of the compressed file."""
        return None if not self.file_bytes or self.source_bytes is None else self.source_bytes / self.file_bytes

    def __getitem__(self, key: str) -> Any:
        if key not in self._names():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> tuple[str, ...]:
        return (*(f.name for f in fields(self) if f.name != "previews"), "exact", "ratio", "source_ratio")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: dicts, lists, numbers, None; infinity becomes None."""
        plain = {name: _plain(self[name]) for name in self if name != "channels"}
        channels = [{key: _plain(value) for key, value in asdict(c).items()} for c in self.channels]
        return plain | {"channels": channels}

    def __str__(self) -> str:
        return "\n".join([self.table(), self.legend()])

    def __repr__(self) -> str:
        size = f", {self.ratio:.1f}x" if self.ratio else ""
        ssim = f", SSIM {self.ssim:.4f}" if self.ssim is not None else ""
        psnr = "exact" if math.isinf(self.psnr) else f"PSNR {self.psnr:.2f} dB"
        return f"<Comparison of {len(self.channels)} channel{'s' * (len(self.channels) > 1)}: {psnr}{ssim}{size}>"

    def _repr_html_(self) -> str:
        """Pictures of both images and the table of metrics, for notebooks."""
        from microfield.notebook.card import Shown, card

        pictures = [Shown(p, caption) for p, caption in zip(self.previews, ("original", "reconstruction"), strict=False)]
        return card("Comparison", {}, pictures, str(self))

    def table(self) -> str:
        """An aligned table with one line per channel, one for all where there are several, and the sizes; 132 columns at most."""
        lines = [_cells(channel.name, channel) for channel in self.channels]
        if len(self.channels) > 1:
            lines.append(_cells("all", self))
        rows = [["channel", *(heading for _, heading, _ in _COLUMNS)], *lines]
        shown = [i for i in range(len(rows[0])) if any(row[i] != "-" for row in lines)]
        widths = {i: max(len(row[i]) for row in rows) for i in shown}
        text = [
            "  ".join(row[i].rjust(widths[i]) if i else row[i].ljust(widths[i]) for i in shown).rstrip() for row in rows
        ]
        return "\n".join([*text, *self._sizes(), *(f"note: {note}" for note in self.notes)])

    def legend(self) -> str:
        """What the short headings of the table mean, one line each, as far as they are shown."""
        return "\n".join(text for name, text in _LEGEND.items() if any(getattr(c, name) is not None for c in self.channels))

    def _sizes(self) -> list[str]:
        if self.file_bytes is None or self.ratio is None:
            return []
        line = f"{self.raw_bytes} bytes raw, {self.file_bytes} compressed: {self.ratio:.2f}x"
        if self.source_ratio is not None:
            line += f" ({self.source_ratio:.2f}x of the {self.source_bytes} bytes of the source file)"
        return [line]


def _cells(name: str, metrics: ChannelComparison | Comparison) -> list[str]:
    """One line of the table: the name, shortened where it is long, and the metrics; a dash where there is none."""
    values = [(getattr(metrics, attribute), spec) for attribute, _, spec in _COLUMNS]
    short = name if len(name) <= _NAME_WIDTH else name[: _NAME_WIDTH - 3] + "..."
    return [short, *("-" if value is None else format(value, spec) for value, spec in values)]


def _plain(value: Any) -> Any:
    """A value for JSON, which knows no infinity: the PSNR of an exact copy becomes None. No metric is ever NaN."""
    if isinstance(value, tuple):
        return list(value)
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        raise ValueError("a metric is NaN: what was not measured must be None.")
    return None if math.isinf(value) else value

"""What `microfield.compare` returns: a small mapping of metrics that prints as a table and goes into JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

_HEADINGS = ("channel", "PSNR dB", "PSNR dB (0.1-99.9 %)", "SSIM", "NRMSE", "max error", "error/noise")


@dataclass(frozen=True)
class ChannelComparison:
    """The metrics of one channel.

    Attributes
    ----------
    name : str
    psnr : dB on the channel's range (max - min of the original), infinite without error
    psnr_robust : dB on the range from the 0.1 to the 99.9 percentile
    ssim : mean structural similarity of the YX planes, at most 1; None where it was not asked for
    nrmse : root mean square error / range
    max_error : largest absolute error in grey levels
    noise_factor : root mean square error / estimated noise sigma; None where no noise is visible
    """

    name: str
    psnr: float
    psnr_robust: float
    ssim: float | None
    nrmse: float
    max_error: float
    noise_factor: float | None


@dataclass(frozen=True)
class Comparison(Mapping[str, Any]):
    """The metrics of a reconstruction: attributes and a mapping from the same names.

    ``psnr``, ``psnr_robust``, ``nrmse`` and ``noise_factor`` are as in `ChannelComparison`, from the mean over channels
    of the normalised square errors; ``ssim`` is the mean and ``max_error`` the maximum over channels. ``channels`` has
    one `ChannelComparison` each. ``file_bytes`` and ``source_bytes`` are None where unknown, and so are the ratios.
    """

    psnr: float
    psnr_robust: float
    ssim: float | None
    nrmse: float
    max_error: float
    noise_factor: float | None
    channels: tuple[ChannelComparison, ...]
    raw_bytes: int
    file_bytes: int | None = None
    source_bytes: int | None = None

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
        return (*(f.name for f in fields(self)), "ratio", "source_ratio")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: dicts, lists, numbers, None; infinity becomes None."""
        plain = {name: _plain(self[name]) for name in self if name != "channels"}
        channels = [{key: _plain(value) for key, value in asdict(c).items()} for c in self.channels]
        return plain | {"channels": channels}

    def table(self) -> str:
        """An aligned table with one line per channel, one for all where there are several, and the sizes."""
        lines = [_cells(channel) for channel in self.channels]
        if len(self.channels) > 1:
            lines.append(_cells(self, "all"))
        rows = [list(_HEADINGS), *lines]
        shown = [i for i in range(len(_HEADINGS)) if any(row[i] != "-" for row in lines)]
        widths = {i: max(len(row[i]) for row in rows) for i in shown}
        text = [
            "  ".join(row[i].rjust(widths[i]) if i else row[i].ljust(widths[i]) for i in shown).rstrip() for row in rows
        ]
        return "\n".join(text + self._sizes())

    def _sizes(self) -> list[str]:
        if self.file_bytes is None or self.ratio is None:
            return []
        line = f"{self.raw_bytes} bytes raw, {self.file_bytes} compressed: {self.ratio:.2f}x"
        if self.source_ratio is not None:
            line += f" ({self.source_ratio:.2f}x of the {self.source_bytes} bytes of the source file)"
        return [line]


def _cells(metrics: ChannelComparison | Comparison, name: str | None = None) -> list[str]:
    values = (
        (metrics.psnr, ".2f"),
        (metrics.psnr_robust, ".2f"),
        (metrics.ssim, ".4f"),
        (metrics.nrmse, ".3g"),
        (metrics.max_error, ".5g"),
        (metrics.noise_factor, ".3g"),
    )
    title = name if name is not None else getattr(metrics, "name", "")
    return [str(title), *("-" if value is None else format(value, spec) for value, spec in values)]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""How near a reconstruction is to its original: PSNR, SSIM and the rest, per channel and overall.

Every channel is measured on its own range (maximum - minimum in the original); overall values come from the mean of the
channels' normalised square errors. Both arrays are read in blocks, so neither has to fit in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microfield.comparison import ChannelComparison, Comparison
from microfield.errors import InputError
from microfield.similarity import ssim as ssim
from microfield.similarity import ssim_sum, ssim_window
from microfield.statistics import (
    BLOCK,
    Box,
    ChannelStatistics,
    as_planes,
    boxes,
    channel_numbers,
    channel_statistics,
    count_invalid,
)

if TYPE_CHECKING:
    from microfield.image import ArrayLike, Image

Floats = npt.NDArray[np.float64]
Read = Callable[[Box], npt.NDArray[Any]]


def psnr(mse: npt.ArrayLike, value_range: npt.ArrayLike) -> float:
    """Peak signal-to-noise ratio in dB: ``-10 log10(mean over channels of mse / range^2)``; infinite without error.

    Parameters
    ----------
    mse, value_range : float or array of shape ``(channels,)``
        Mean square error and positive range of every channel, in grey levels (squared).
    """
    normalised = np.mean(np.asarray(mse, np.float64) / np.asarray(value_range, np.float64) ** 2)
    return math.inf if normalised == 0 else float(-10 * np.log10(normalised))


def square_errors(original: Image, read_reconstruction: Read) -> Floats:
    """Mean square error of every channel, an array of shape ``(channels,)`` in grey levels squared.

    ``read_reconstruction`` is given boxes (one slice per axis) and returns the reconstruction there. Raises InputError
    where the shapes differ or either holds NaN or infinity.
    """
    errors = _Errors.of(original, read_reconstruction, None)
    errors.refuse_invalid(original.name)
    return errors.mse


def compare(
    original: Image,
    reconstruction: ArrayLike,
    *,
    ssim: bool = True,
    statistics: ChannelStatistics | None = None,
    file_bytes: int | None = None,
) -> Comparison:
    """Measure a reconstruction against its original.

    Parameters
    ----------
    original : Image
        What was compressed; its source size, where known, gives the second ratio.
    reconstruction : array-like of the original's shape
        May be lazy: it is read once, block by block.
    ssim : bool
        False skips SSIM, which takes most of the time.
    statistics : ChannelStatistics, optional
        Those of the original, where the caller has them already.
    file_bytes : int, optional
        Size of the compressed file, for the ratios.

    Raises
    ------
    InputError
        If the shapes differ, or either holds NaN or infinity.
    """
    _check_shapes(original.shape, tuple(reconstruction.shape))
    known = statistics if statistics is not None else channel_statistics(original)
    found = _Errors.of(original, lambda box: np.asarray(reconstruction[box]), known.range if ssim else None)
    found.refuse_invalid(original.name)
    names = channel_names(original)
    similarity = found.ssim if ssim else None
    channels = tuple(
        ChannelComparison(
            name=names[c],
            psnr=psnr(found.mse[c], known.range[c]),
            psnr_robust=psnr(found.mse[c], known.robust_range[c]),
            ssim=None if similarity is None else float(similarity[c]),
            nrmse=float(np.sqrt(found.mse[c]) / known.range[c]),
            max_error=float(found.largest[c]),
            noise_factor=_noise_factor(found.mse[c : c + 1], known.noise[c : c + 1]),
        )
        for c in range(len(names))
    )
    return Comparison(
        psnr=psnr(found.mse, known.range),
        psnr_robust=psnr(found.mse, known.robust_range),
        ssim=None if similarity is None else float(similarity.mean()),
        nrmse=float(np.sqrt(np.mean(found.mse / known.range**2))),
        max_error=float(found.largest.max()),
        noise_factor=_noise_factor(found.mse, known.noise),
        channels=channels,
        raw_bytes=original.nbytes,
        file_bytes=file_bytes,
        source_bytes=original.source_bytes,
    )


def channel_names(image: Image) -> list[str]:
    """One name per channel, in order: the image's own for C (else C0, C1, ...), R, G, B, A for colour samples."""
    names = [""]
    for axis in (image.axes[i] for i in image.layout.channel_axes):
        count = image.sizes[axis]
        if axis == "S":
            letters = list("RGBA"[:count]) if count in (3, 4) else [f"S{i}" for i in range(count)]
        elif len(image.channel_names) == count:
            letters = list(image.channel_names)
        else:
            letters = [f"C{i}" for i in range(count)]
        names = [" ".join(filter(None, (name, letter))) for name in names for letter in letters]
    if names == [""]:
        return [image.channel_names[0] if len(image.channel_names) == 1 else "C0"]
    return names


class _Errors:
    """Running sums of one pass over original and reconstruction; every array has shape ``(channels,)``."""

    def __init__(self, channels: int) -> None:
        self.squares = np.zeros(channels)
        self.count = np.zeros(channels, np.int64)
        self.largest = np.zeros(channels)
        self.similarity = np.zeros(channels)
        self.positions = np.zeros(channels, np.int64)
        self.invalid = np.zeros((2, 2), np.int64)  # original, reconstruction; NaN, infinite

    @classmethod
    def of(cls, original: Image, read: Read, ssim_range: Floats | None) -> _Errors:
        """Measure all of an image; SSIM only where the channels' ranges are given."""
        errors = cls(original.layout.channels)
        weights = tuple(ssim_window(original.sizes[axis]) for axis in "YX")
        overlap = 0 if ssim_range is None else len(weights[0]) - 1
        for numbers, a, b, seen in _blocks(original, read, overlap):
            counts = np.array([count_invalid(a[..., seen:, :]), count_invalid(b[..., seen:, :])])
            errors.invalid += counts
            if errors.invalid.any():  # nothing measured will be kept; go on only to count
                continue
            for number, x, y in zip(numbers, a, b, strict=True):
                errors._add(number, x[:, seen:], y[:, seen:])
                if ssim_range is not None:
                    total, count = ssim_sum(x, y, float(ssim_range[number]), (weights[0], weights[1]))
                    errors.similarity[number] += total
                    errors.positions[number] += count
        return errors

    def _add(self, number: int, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> None:
        error = a.astype(np.float64) - b
        self.squares[number] += np.vdot(error, error)
        self.count[number] += error.size
        self.largest[number] = max(self.largest[number], error.max(), -error.min())

    @property
    def mse(self) -> Floats:
        return self.squares / self.count

    @property
    def ssim(self) -> Floats:
        return self.similarity / self.positions

    def refuse_invalid(self, name: str) -> None:
        """Raise InputError where there was NaN or infinity."""
        for which, (nan, infinite) in zip((name, "the reconstruction"), self.invalid.tolist(), strict=True):
            if nan or infinite:
                raise InputError(
                    f"{which} holds {nan} NaN and {infinite} infinite values, which have no error; "
                    "replace them in both images before comparing."
                )


def _blocks(
    original: Image, read: Read, overlap: int
) -> Iterator[tuple[list[int], npt.NDArray[Any], npt.NDArray[Any], int]]:
    """Channel numbers, both arrays as ``(channels, planes, Y, X)``, and how many of their rows came before.

    A band of rows that does not start a plane repeats ``overlap`` rows, so that windows across the seam are counted.
    """
    layout, y = original.layout, original.axes.index("Y")
    for box in boxes(layout, BLOCK):
        seen = min(overlap, box[y].start)
        wide = (*box[:y], slice(box[y].start - seen, box[y].stop), *box[y + 1 :])
        a, b = original.read(wide), read(wide)
        _check_shapes(a.shape, b.shape)
        yield channel_numbers(layout, box), as_planes(a, layout.axes), as_planes(b, layout.axes), seen


def _check_shapes(original: tuple[int, ...], reconstruction: tuple[int, ...]) -> None:
    if original != reconstruction:
        raise InputError(
            f"the original has shape {original} and the reconstruction {reconstruction}; "
            "only arrays of one shape can be compared."
        )


def _noise_factor(mse: Floats, noise: Floats) -> float | None:
    """Root mean square error in units of the noise over channels with visible noise; None without any."""
    seen = noise > 0
    return float(np.sqrt(np.mean(mse[seen] / noise[seen] ** 2))) if seen.any() else None

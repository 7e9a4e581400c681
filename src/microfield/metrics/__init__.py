"""How close a reconstruction is to its original, per channel and overall, and every metric as a function of arrays.

Every channel is measured on its own range (maximum - minimum of the original). Overall values come from the mean of the
channels' normalised square errors. Both arrays are read once, in blocks, so neither has to fit in memory.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from microfield.errors import NotFiniteError
from microfield.image import Image, as_image
from microfield.metrics.accumulate import ChannelSums, Read, check_shapes, measure
from microfield.metrics.accumulate import identical as identical
from microfield.metrics.blocking import blocking as blocking
from microfield.metrics.comparison import MEANS, ChannelComparison, Comparison
from microfield.metrics.decibel import decibel
from microfield.metrics.distributions import histogram_distance as histogram_distance
from microfield.metrics.distributions import pearson as pearson
from microfield.metrics.multiscale import ms_ssim as ms_ssim
from microfield.metrics.perceptual import lpips as lpips
from microfield.metrics.similarity import ssim as ssim
from microfield.metrics.spectral import ring_correlation as ring_correlation
from microfield.metrics.volume_similarity import ssim_3d as ssim_3d
from microfield.perceptual.alexnet import weights
from microfield.statistics import ChannelStatistics, channel_statistics

if TYPE_CHECKING:
    from microfield.image import ArrayLike

Floats = npt.NDArray[np.float64]


def psnr(mse: npt.ArrayLike, value_range: npt.ArrayLike) -> float:
    """Peak signal-to-noise ratio in dB of one channel or of several: `decibel` of the mean over channels of ``mse / range^2``.

    Parameters
    ----------
    mse : float or array of shape ``(channels,)``
        Mean square error of every channel, in grey levels squared, 0 or more.
    value_range : float or array of shape ``(channels,)``
        Range of every channel in grey levels, positive.

    Returns
    -------
    float
        Infinite where no channel has an error.
    """
    return decibel(float(_normalised(mse, value_range).mean()))


def _normalised(mse: npt.ArrayLike, unit: npt.ArrayLike) -> Floats:
    """Square errors in units of ``unit`` squared; no error is 0, also where the square of a tiny unit is 0 in a double."""
    errors, squares = np.broadcast_arrays(np.asarray(mse, np.float64), np.asarray(unit, np.float64) ** 2)
    return np.asarray(np.divide(errors, squares, out=np.zeros(errors.shape), where=errors != 0))


def square_errors(original: Image, read_reconstruction: Read) -> Floats:
    """Mean square error of every channel, an array of shape ``(channels,)`` in grey levels squared.

    Parameters
    ----------
    original : Image
    read_reconstruction : callable
        Given a box (one slice per axis), returns the reconstruction there.

    Raises
    ------
    InputError
        If the shapes differ, or either image holds NaN or infinity.
    """
    return np.array([found.mse for found in measure(original, read_reconstruction, None, ssim=False, full=False)])


def compare(
    original: Image,
    reconstruction: ArrayLike,
    *,
    ssim: bool = True,
    full: bool = False,
    lpips: bool = False,
    statistics: ChannelStatistics | None = None,
    file_bytes: int | None = None,
) -> Comparison:
    """Measure a reconstruction against its original.

    Parameters
    ----------
    original : Image
        The image that was compressed; the size of its source file, where known, gives the second ratio. A plain array
        gets the axes that its shape suggests.
    reconstruction : array-like of the original's shape
        May be lazy: it is read once, block by block.
    ssim : bool
        False skips structural similarity in all its forms, which takes most of the time.
    full : bool
        True adds 3-D and multi-scale SSIM, the Fourier ring correlation, the histogram distance and block edges, for
        about four times the time.
    lpips : bool
        True adds LPIPS, for which the extra ``perceptual`` must be installed.
    statistics : ChannelStatistics, optional
        Those of the original, where the caller has them already.
    file_bytes : int, optional
        Size of the compressed file, for the ratios.

    Raises
    ------
    InputError
        If the shapes differ, or either holds NaN or infinity and the reconstruction is not exact.
    MissingExtraError
        If LPIPS is asked for and cannot be measured here.

    Notes
    -----
    Every voxel counts in every metric, with these exceptions on large images. Planes above 4 Mpixel are read in bands
    of rows: their multi-scale SSIM and their LPIPS are those of the bands, and a last band of fewer than 64 rows counts
    neither there nor in the ring correlation. The latter is summed over windows of at most 1024 x 1024 pixels. 3-D SSIM
    looks at every second (third, ...) position in planes above 2^18 pixels.
    """
    original = as_image(original)
    check_shapes(original.shape, tuple(reconstruction.shape))
    if lpips:
        weights()  # What is missing is said before the work.
    known = statistics if statistics is not None else channel_statistics(original)
    try:
        found = measure(original, lambda box: np.asarray(reconstruction[box]), known, ssim=ssim, full=full, lpips=lpips)
    except NotFiniteError:
        if not identical(original, reconstruction.__getitem__):
            raise
        return exact_comparison(original, file_bytes)
    robust = known.robust_range / known.range
    noise = known.noise / known.range
    normalised = np.array([sums.mse / sums.range**2 for sums in found])
    channels = tuple(
        _channel(name, sums, float(normalised[c]), float(robust[c]), float(noise[c]))
        for c, (name, sums) in enumerate(zip(channel_names(original), found, strict=True))
    )
    means: dict[str, Any] = {name: _mean([getattr(channel, name) for channel in channels]) for name in MEANS}
    return Comparison(
        psnr=psnr(normalised, 1.0),
        psnr_robust=psnr(normalised, robust),
        nrmse=float(np.sqrt(normalised.mean())),
        max_error=max(channel.max_error for channel in channels),
        noise_factor=_noise_factor(normalised, noise),
        channels=channels,
        raw_bytes=original.nbytes,
        file_bytes=file_bytes,
        source_bytes=original.source_bytes,
        notes=original.notes,
        **means,
    )


def exact_comparison(original: Image, file_bytes: int | None = None) -> Comparison:
    """The comparison with an exact copy of an image whose values mean nothing to other metrics: labels, or some that are NaN."""
    nothing: dict[str, Any] = {"psnr": math.inf, "psnr_robust": math.inf, "ssim": None, "nrmse": 0.0, "pearson": None,
                               "max_error": 0.0, "noise_factor": None}
    channels = tuple(ChannelComparison(name, **nothing) for name in channel_names(original))
    return Comparison(**nothing, channels=channels, raw_bytes=original.nbytes, file_bytes=file_bytes,
                      source_bytes=original.source_bytes, notes=original.notes)


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


def _channel(name: str, sums: ChannelSums, normalised: float, robust: float, noise: float) -> ChannelComparison:
    """Metrics of a channel from its sums; normalised square error, robust range and noise sigma are in units of the range."""
    return ChannelComparison(
        name=name,
        psnr=psnr(normalised, 1.0),
        psnr_robust=psnr(normalised, robust),
        ssim=_value(sums.similarity),
        nrmse=math.sqrt(normalised),
        pearson=_value(sums.correlation),
        max_error=sums.max_error,
        noise_factor=_noise_factor(np.array([normalised]), np.array([noise])),
        ssim_3d=_value(sums.stacks),
        ms_ssim=_value(sums.scales),
        lpips=_value(sums.features),
        histogram_distance=_value(sums.values),
        blocking=_value(sums.steps),
        frc_cutoff=sums.frc_cutoff,
    )


class _Sums(Protocol):
    """Running sums of a metric."""

    @property
    def value(self) -> float | None: ...


def _value(sums: _Sums | None) -> float | None:
    """Value of a metric; None where it was not asked for or does not apply."""
    return None if sums is None else sums.value


def _mean(values: list[float | None]) -> float | None:
    """Mean over the channels that have a value; None without any."""
    given = [value for value in values if value is not None]
    return sum(given) / len(given) if given else None


def _noise_factor(mse: Floats, noise: Floats) -> float | None:
    """Root mean square error in units of the noise over channels with visible noise; None without any."""
    seen = noise > 0
    return float(np.sqrt(_normalised(mse[seen], noise[seen]).mean())) if seen.any() else None

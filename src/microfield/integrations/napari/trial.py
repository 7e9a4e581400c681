"""What a ratio and a method would make of one plane, to be looked at before a whole image is compressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import as_image
from microfield.progress import Progress
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.report import decibels
from microfield.writing.settings import Settings

SIDE = 512
"""Of a larger plane its middle is tried, at most so many voxels a side: more is slower, and shows no more."""


@dataclass(frozen=True)
class Trial:
    """A plane as it decodes.

    Attributes
    ----------
    values : array of shape ``(Y, X)``, or ``(Y, X, S)`` for colours
        Of the dtype of the plane.
    error : float32 array of shape ``(Y, X)``
        How far every voxel is off, in grey levels; of colours the largest of the samples.
    corner : (int, int)
        Row and column of the plane at which the values begin.
    words : tuple of str
        What was tried, PSNR, root mean square error.
    """

    values: npt.NDArray[Any]
    error: npt.NDArray[np.float32]
    corner: tuple[int, int]
    words: tuple[str, ...]


def try_plane(plane: npt.NDArray[Any], ratio: float, method: str, progress: Progress | None = None) -> Trial:
    """Compress a plane, of which the middle is taken where it is large, and decode it again.

    Parameters
    ----------
    plane : array of shape ``(Y, X)`` or ``(Y, X, S)``
    ratio : float
        How many times smaller.
    method : str
    progress : callable (fraction, message), optional

    Raises
    ------
    InputError, BudgetError
        The plane, the method or the ratio cannot be used; the message says what can.
    """
    corner = tuple(max(0, (n - SIDE) // 2) for n in plane.shape[:2])
    middle = plane[corner[0]:corner[0] + SIDE, corner[1]:corner[1] + SIDE]
    image = as_image(np.ascontiguousarray(middle), "YX" if plane.ndim == 2 else "YXS")
    data, report = compress_to_bytes(image, Budget.of(ratio=ratio), Settings(method=method), progress)
    values = open_file(data).asarray()
    with np.errstate(invalid="ignore"):
        error = np.abs(values.astype(np.float64) - middle)
    rms = float(np.sqrt(np.nanmean(error**2)))
    whole = "this plane" if middle.shape == plane.shape else f"the middle {middle.shape[0]} x {middle.shape[1]} of this plane"
    words = (f"{whole} alone, {report.ratio:.0f} times smaller:", f"PSNR {decibels(report.psnr)}",
             f"error {rms:,.{1 if rms >= 10 else 3}f} grey levels (root mean square)")
    return Trial(values, (error if error.ndim == 2 else error.max(-1)).astype(np.float32), (corner[0], corner[1]), words)

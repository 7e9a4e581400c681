"""The task of denoising: how much the denoised copy differs from the denoised image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.image import Image
from microfield.noise import noise_sigma
from microfield.tasks.base import Goal, Outcome, Task

DENOISE = "denoise"
"""Name of the task."""
PATCH, DISTANCE, STRENGTH = 5, 6, 0.8
"""Extents of patches and how far they are searched, in pixels, and filter strength in noise sigmas, of non-local means."""
PLANES = 8
"""At most so many planes of an image are denoised, evenly spread."""


@dataclass(frozen=True)
class DenoiseTask(Task):
    """Non-local means (A. Buades, B. Coll, J.-M. Morel, CVPR 2005) of planes of original and copy, at the noise of the original.

    The measure is the root mean square difference of the two results, relative to the deviation of that of the original.
    """

    tolerance: float
    name: str = DENOISE
    version: str = "1"

    def goal(self, original: Image) -> Goal:
        """Ready where the original shows noise."""
        return DenoiseGoal(original, self.tolerance)


class DenoiseGoal(Goal):
    """Planes of one original, denoised once."""

    def __init__(self, original: Image, tolerance: float) -> None:
        self._order = [i for i, axis in enumerate(original.axes) if axis not in "YX"] + [original.axes.index(a) for a in "YX"]
        self._tolerance = tolerance
        planes = self._planes(original.read())
        self.share = len(planes) * planes[0].size / math.prod(original.shape)
        self._noise = [noise_sigma(plane) for plane in planes]
        if not any(self._noise):
            raise InputError(f"task denoise cannot be judged on {original.name}: no noise can be estimated.")
        self._before = self._denoised(planes)

    def judge(self, copy: Any) -> Outcome:
        """The worst plane's difference."""
        changes = [float(np.sqrt(np.mean((b - a) ** 2)) / a.std())
                   for a, b in zip(self._before, self._denoised(self._planes(np.asarray(copy[...]))), strict=True) if a.std() > 0]
        return Outcome("difference of the denoised images, relative to their deviation", max(changes, default=0.0), self._tolerance)

    def _planes(self, values: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
        moved = values.transpose(self._order)
        planes = moved.reshape(-1, *moved.shape[-2:])
        chosen = np.unique(np.rint(np.linspace(0, len(planes) - 1, min(PLANES, len(planes)))).astype(int))
        return [planes[i].astype(np.float32) for i in chosen]

    def _denoised(self, planes: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        from skimage.restoration import denoise_nl_means

        return [np.asarray(denoise_nl_means(plane, PATCH, DISTANCE, h=STRENGTH * sigma, sigma=sigma) if sigma else plane)
                for plane, sigma in zip(planes, self._noise, strict=True)]

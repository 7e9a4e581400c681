"""Alignment of planes: each is shifted by whole voxels, so that neighbours along z or time show the same thing at a place.

Skewed light-sheet stacks move sideways from plane to plane, time series drift; a transform along z or time then sees edges
where there are none. Planes are rolled (what leaves on one side comes in on the other), so the inverse is exact.
Displacements come from phase-free cross-correlation of neighbouring planes: M. Guizar-Sicairos et al., "Efficient subpixel
image registration algorithms", Optics Letters 33 (2008), with a parabola through the peak.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Shifts = npt.NDArray[np.int32]

FARTHEST_SHARE = 0.15
"""Displacements between neighbours are looked for up to this share of the extent along y and x."""
LEAST_CORRELATION_GAIN = 0.004
"""Planes stay where they are if the correlation of neighbours would rise by less than this, on average."""
FEWEST_PLANES, SMALLEST_EXTENT = 3, 16
"""Smaller stacks are not aligned."""


def estimate(planes: Floats) -> Shifts | None:
    """By how much to roll each plane so that neighbours match.

    Parameters
    ----------
    planes : float32 array (planes, y, x)

    Returns
    -------
    shifts : int32 array (planes, 2), or None
        Voxels along y and x, those of the middle plane 0. None where rolling is not worth it.
    """
    n, *extents = planes.shape
    if n < FEWEST_PLANES or min(extents) < SMALLEST_EXTENT:
        return None
    steps = np.zeros((n, 2))
    gains = np.zeros(n - 1)
    before = _spectrum(planes[0])
    for i in range(1, n):
        after = _spectrum(planes[i])
        steps[i], gains[i - 1] = _displacement(before, after, (extents[0], extents[1]))
        before = after
    if gains.mean() < LEAST_CORRELATION_GAIN:
        return None
    path = -np.cumsum(steps, axis=0)
    shifts: Shifts = np.rint(path - path[n // 2]).astype(np.int32)
    return shifts if shifts.any() else None


def roll(planes: npt.NDArray[np.float32], shifts: Shifts, back: bool = False) -> Floats:
    """Planes rolled by whole voxels: what leaves on one side comes in on the other.

    Parameters
    ----------
    planes : float32 array (planes, y, x)
    shifts : int32 array (planes, 2)
    back : bool
        Roll the other way, which undoes it exactly.
    """
    out = np.empty_like(planes)
    for i, (y, x) in enumerate(shifts.tolist()):
        out[i] = np.roll(planes[i], (-y, -x) if back else (y, x), (-2, -1))
    return out


def _spectrum(plane: Floats) -> npt.NDArray[np.complex128]:
    """Spectrum of a plane without its mean, low-passed (Gaussian of sigma 1) against noise."""
    values = np.asarray(plane, np.float64)
    y, x = (np.fft.fftfreq(values.shape[0]), np.fft.rfftfreq(values.shape[1]))
    spectrum = np.fft.rfft2(values - values.mean())
    return np.asarray(spectrum * np.exp(-2 * np.pi**2 * (y[:, None] ** 2 + x**2)))


def _displacement(before: npt.NDArray[np.complex128], after: npt.NDArray[np.complex128], shape: tuple[int, int],
                  ) -> tuple[npt.NDArray[np.float64], float]:
    """How far a plane's content is displaced from that of the plane before.

    Parameters
    ----------
    before, after : spectra of the two planes, as `_spectrum` gives them
    shape : extents (y, x) of the planes

    Returns
    -------
    displacement : float64 array (2,)
        In voxels along y and x.
    gain : float
        How much the correlation of the two planes rises when the second is moved back by it.
    """
    surface = np.fft.irfft2(before.conj() * after, shape)
    power = (np.fft.irfft2(np.abs(before) ** 2, shape)[0, 0] * np.fft.irfft2(np.abs(after) ** 2, shape)[0, 0]) ** 0.5
    reach = [max(1, int(FARTHEST_SHARE * n)) for n in shape]
    near = np.take(np.take(surface, range(-reach[0], reach[0] + 1), 0), range(-reach[1], reach[1] + 1), 1)
    peak = np.unravel_index(int(near.argmax()), near.shape)
    found = np.array([float(p - r) for p, r in zip(peak, reach, strict=True)])
    gain = float((near[peak] - surface[0, 0]) / power) if power > 0 else 0.0
    for axis in range(2):
        if 0 < peak[axis] < near.shape[axis] - 1:
            left, right = (near[tuple(p + d * (k == axis) for k, p in enumerate(peak))] for d in (-1, 1))
            curvature = left - 2 * near[peak] + right
            found[axis] += float(np.clip((left - right) / (2 * curvature), -0.5, 0.5)) if curvature < 0 else 0.0
    return found, gain

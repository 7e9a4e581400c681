"""Colocalisation: how far the signals of two channels of one image coincide, and how compression changed that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.analysis.segmentation import otsu_threshold
from microfield.errors import InputError


@dataclass(frozen=True)
class Colocalisation:
    """Coefficients of two channels of one image.

    Attributes
    ----------
    pearson : correlation over all voxels, -1..1; None where a channel is constant
    m1, m2 : Manders coefficients 0..1: share of the first (second) channel's signal that lies where the other has signal;
        None where a channel has none
    """

    pearson: float | None
    m1: float | None
    m2: float | None


@dataclass(frozen=True)
class PairColocalisation:
    """The coefficients of a pair of channels, whose names are given, in the original and in the reconstruction."""

    first: str
    second: str
    original: Colocalisation
    reconstruction: Colocalisation

    @property
    def pearson_change(self) -> float | None:
        """Reconstruction - original; None where either is unknown."""
        return _change(self.original.pearson, self.reconstruction.pearson)

    @property
    def m1_change(self) -> float | None:
        """Reconstruction - original; None where either is unknown."""
        return _change(self.original.m1, self.reconstruction.m1)

    @property
    def m2_change(self) -> float | None:
        """Reconstruction - original; None where either is unknown."""
        return _change(self.original.m2, self.reconstruction.m2)


@dataclass(frozen=True)
class Channel:
    """A channel prepared for comparison with others. Every array is flat, of shape ``(voxels,)``.

    Attributes
    ----------
    centred : values minus their mean, scaled to a Euclidean norm of 1; None where the channel is constant
    signal : which voxels are above the Otsu threshold
    above : values above the mean of the voxels without signal; 0 outside the signal
    """

    centred: npt.NDArray[np.float32] | None
    signal: npt.NDArray[np.bool_]
    above: npt.NDArray[np.float32]


def prepare(values: npt.NDArray[Any]) -> Channel:
    """Prepare one channel of any shape for `colocalise`; values are scaled by their range, so that no square overflows."""
    low, high = float(values.min()), float(values.max())
    span = high / 2 - low / 2
    if span == 0:
        nothing = np.zeros(values.size, np.bool_)
        return Channel(None, nothing, nothing.astype(np.float32))
    scaled = (values.reshape(-1).astype(np.float64) / 2 - low / 2) / span
    signal = scaled > otsu_threshold(scaled)
    above = np.where(signal, scaled - scaled[~signal].mean(), 0).astype(np.float32)
    scaled -= scaled.mean()
    return Channel((scaled / np.linalg.norm(scaled)).astype(np.float32), signal, above)


def colocalise(first: npt.NDArray[Any] | Channel, second: npt.NDArray[Any] | Channel) -> Colocalisation:
    """Pearson and Manders coefficients of two channels of one shape.

    E. M. M. Manders, F. J. Verbeek, J. A. Aten, "Measurement of co-localization of objects in dual-colour confocal images",
    Journal of Microscopy 169 (1993), equations for M1 and M2: ``M1 = sum of A where B has signal / sum of A``. Signal is
    what lies above the channel's Otsu threshold, in both sums, and intensities count from the mean of what lies below,
    so that a camera offset changes nothing.

    Raises
    ------
    InputError
        If the channels have different numbers of voxels.
    """
    a, b = (v if isinstance(v, Channel) else prepare(v) for v in (first, second))
    if a.signal.shape != b.signal.shape:
        raise InputError(f"channels of {a.signal.size} and {b.signal.size} voxels cannot be compared.")
    return Colocalisation(_pearson(a, b), _manders(a, b), _manders(b, a))


def _pearson(a: Channel, b: Channel) -> float | None:
    if a.centred is None or b.centred is None:
        return None
    # Products of float32 are exact in the float64 that they are summed in.
    return float(np.clip(np.einsum("i,i->", a.centred, b.centred, dtype=np.float64), -1, 1))


def _manders(a: Channel, b: Channel) -> float | None:
    """Share of the signal of ``a`` that lies where ``b`` has signal; None where ``a`` has none."""
    total = float(a.above.sum(dtype=np.float64))
    return float(a.above[b.signal].sum(dtype=np.float64)) / total if total > 0 else None


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before

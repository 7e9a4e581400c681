"""The filter of one channel: taps of the adaptive filter and a share of the refinement network, fitted together.

The network estimates from the decoded surroundings of a voxel what the codec lost there. It is built like the refinement network of
`field` and the same for all files; a file holds how strong its correction is, and the error that it is to expect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from microfield.coding.bytes_reader import ByteReader
from microfield.errors import FormatError
from microfield.methods.field.least_squares import LARGEST_CODE, MOST_EXPONENT, Normal
from microfield.methods.field.prior import STEP_OF_ERROR
from microfield.methods.field.refine import Refinement
from microfield.methods.field.taps import Pairs, beside, features, places
from microfield.methods.hybrid.volumes import Doubles, Floats
from microfield.threads import single_threaded_blas

PLANE_SETS: tuple[Pairs, ...] = (
    (),
    ((0, 1), (1, -1), (1, 0), (1, 1)),
    ((0, 1), (1, -1), (1, 0), (1, 1), (0, 2), (1, -2), (1, 2), (2, -1), (2, 0), (2, 1), (0, 3), (3, 0)),
)
"""Sets of neighbours; a file names the set by its index. The largest is a diamond of 7 x 7 pixels."""
STEPS_PER_OCTAVE = 8
"""A step of the network is stored as its binary logarithm, in whole parts of an octave below the channel's range."""
ALPHA = 64
"""Code of the network's share that stands for 1."""
NETWORK, SET_SHIFT = 1, 1
"""Bits of the mode byte: whether the network is used; the set of taps in the two bits above."""

NetworkSource = Callable[[], Refinement]
"""Gives the network, where a filter uses it."""


def neighbours(shape: tuple[int, ...], which: int) -> int:
    """Number of features of a set in a volume: one more along z and along the batch, where these axes are longer than 1."""
    return len(PLANE_SETS[which]) + beside(shape) if which else 0


@dataclass(frozen=True)
class Kind:
    """Which parameters the filter of a channel has; what is decided before they are fitted.

    Attributes
    ----------
    network : bool
    taps : int
        Index into `PLANE_SETS`.
    """

    network: bool = False
    taps: int = 0

    def size(self, shape: tuple[int, ...]) -> int:
        """Bytes of such a filter in volumes of this shape."""
        return 1 + 2 * self.network + (1 + neighbours(shape, self.taps) if self.taps else 0)


KINDS = tuple(Kind(network, taps) for network, taps in product((False, True), range(len(PLANE_SETS))))
"""All kinds; the first one corrects nothing."""


@dataclass(frozen=True)
class Filter:
    """The filter of one channel, in the codes that a file holds.

    Attributes
    ----------
    step : int, 1..255
        The network's step is 2**(-step / `STEPS_PER_OCTAVE`) of the channel's range; 0 leaves the network out.
    alpha : int, 0..255
        Share of the network's correction, in parts of `ALPHA`.
    taps : int
        Index into `PLANE_SETS`; 0 leaves the adaptive filter out.
    exponent : int
    codes : tuple of int, -127..127
        Weights of the features, in whole multiples of 2**-exponent.
    """

    step: int = 0
    alpha: int = 0
    taps: int = 0
    exponent: int = 0
    codes: tuple[int, ...] = ()

    @property
    def kind(self) -> Kind:
        """Which parameters there are."""
        return Kind(bool(self.step), self.taps)

    @property
    def weights(self) -> Doubles:
        """Weights of the taps, then that of the network where there is one."""
        taps = np.asarray(self.codes, np.float64) * 2.0**-self.exponent
        return np.append(taps, self.alpha / ALPHA) if self.step else taps

    def times(self, strength: float) -> Filter:
        """The same filter with a stronger or weaker correction, as near as its codes allow."""
        codes, exponent = np.asarray(self.codes) * strength, self.exponent
        if np.max(np.abs(codes), initial=0.0) > LARGEST_CODE and exponent:
            codes, exponent = codes / 2, exponent - 1
        stronger = tuple(np.clip(np.rint(codes), -LARGEST_CODE, LARGEST_CODE).astype(int).tolist())
        return replace(self, alpha=min(255, round(self.alpha * strength)), exponent=exponent, codes=stronger)

    def pack(self) -> bytes:
        """The bytes of the filter."""
        out = bytearray([(NETWORK if self.step else 0) | self.taps << SET_SHIFT])
        if self.step:
            out += bytes([self.step, self.alpha])
        if self.taps:
            out.append(self.exponent)
            out += np.asarray(self.codes, np.int8).tobytes()
        return bytes(out)

    @classmethod
    def unpack(cls, mode: int, fields: ByteReader, shape: tuple[int, ...]) -> Filter:
        """Read what follows the mode byte of a channel whose volume has this shape; FormatError for damage."""
        step = alpha = exponent = 0
        codes: tuple[int, ...] = ()
        taps = mode >> SET_SHIFT
        if taps >= len(PLANE_SETS):
            raise FormatError("a filter has unknown taps.")
        if mode & NETWORK:
            step, alpha = fields.next(2)
        if taps:
            exponent = fields.next(1)[0]
            codes = tuple(np.frombuffer(fields.next(neighbours(shape, taps)), np.int8).tolist())
        if (mode & NETWORK and not step) or exponent > MOST_EXPONENT:
            raise FormatError("a filter has a weight or a step that cannot be.")
        return cls(step, alpha, taps, exponent, codes)

    def correction(self, volume: Floats, network: NetworkSource) -> Floats:
        """What to add to a volume (batch, z, y, x) of values 0..1: float32 of its shape, finite.

        Sums are float32, term by term in the order of the features, the network's last: without the network the same on every
        machine, to the last bit.
        """
        out = np.zeros(volume.shape, np.float32)
        weights = self.weights.astype(np.float32)
        if self.taps:
            for place in places(volume.shape):
                part = out[place.batch, place.plane, place.rows]
                for weight, feature in zip(weights, features(volume, place, PLANE_SETS[self.taps]), strict=False):
                    feature *= weight
                    part += feature
        if self.step:
            estimate = network().correction(volume, step_of(self.step), 0.0)
            estimate *= weights[-1]
            out += estimate
        return out


def step_of(code: int) -> float:
    """The network's step for a code, on the scale 0..1; one rounding of float32, so that it is the same on every machine."""
    return float(np.float32(2.0 ** (-code / STEPS_PER_OCTAVE)))


def step_code(error: float) -> int:
    """The code of the step for a root mean square error on the scale 0..1."""
    if error <= 0:
        return 255
    return int(np.clip(round(-STEPS_PER_OCTAVE * math.log2(STEP_OF_ERROR * error)), 1, 255))


@dataclass(frozen=True)
class Fit:
    """Normal equations of one channel for all kinds of filters, with the features of the largest set first, then the network.

    Attributes
    ----------
    normal : Normal
    shape : tuple of int
        Of the channel's volume.
    step : int
        Code of the network's step; 0 where the network was not looked at.
    """

    normal: Normal
    shape: tuple[int, ...]
    step: int

    def best(self, kind: Kind) -> tuple[Filter, float]:
        """The filter of a kind, in whole codes, and by how much it lessens the energy."""
        which = self._features(kind)
        if not len(which):
            return Filter(), 0.0
        taps, alpha = len(which) - kind.network, 0
        left = self.normal.along.copy()
        if kind.network:
            alpha = int(np.clip(round(ALPHA * float(self.normal.solved(which)[-1])), 0, 255))
            left -= alpha / ALPHA * self.normal.products[:, which[-1]]
        exponent, codes = self.normal.whole(which[:taps], left) if taps else (0, ())
        found = Filter(self.step if kind.network else 0, alpha, kind.taps, exponent, codes)
        return found, self.normal.removed(which, found.weights)

    def _features(self, kind: Kind) -> npt.NDArray[np.intp]:
        """Numbers of the features of a kind."""
        widest = len(PLANE_SETS[-1])
        along = neighbours(self.shape, len(PLANE_SETS) - 1)
        plane = range(len(PLANE_SETS[kind.taps]))
        found = [*plane, *range(widest, along)] if kind.taps else []
        return np.asarray([*found, along] if kind.network else found, np.intp)


def fitted(volume: Floats, lacking: Floats, network: NetworkSource | None) -> Fit:
    """Learn what corrects one channel.

    Parameters
    ----------
    volume : float32 array (batch, z, y, x)
        What the prior decoded, on the scale 0..1.
    lacking : float32 array of the same shape
        The original less that.
    network : callable, optional
        Gives the network, where it is to be looked at.
    """
    largest = len(PLANE_SETS) - 1
    n = neighbours(volume.shape, largest)
    step, estimate = 0, None
    if network is not None:
        step = step_code(float(np.sqrt(np.mean(np.square(lacking, dtype=np.float64)))))
        estimate = network().correction(volume, step_of(step), 0.0)
    normal = Normal(n + (estimate is not None))
    with single_threaded_blas():
        for place in places(volume.shape):
            at = place.batch, place.plane, place.rows
            rows = features(volume, place, PLANE_SETS[largest]).reshape(n, -1)
            if estimate is not None:
                rows = np.concatenate([rows, estimate[at].reshape(1, -1)])
            normal.add(rows, lacking[at])
    return Fit(normal, volume.shape, step)


def considered(fit: Fit) -> Iterator[tuple[Kind, float]]:
    """All kinds of filters that a fit allows, each with the energy that its best filter takes away."""
    for kind in KINDS:
        if not kind.network or fit.step:
            yield kind, fit.best(kind)[1]

"""Samples that the context networks are trained on: ``python -m microfield.training.context_samples --data DIR --out DIR``.

Images are varied, transformed and quantised by rate and distortion with the networks of bitstream versions 1 to 4; series are also
coded as films, where what predictions leave is sampled. A second walk over the quantised values sees the contexts of version 5. One
file a variant; those that exist are left alone.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from microfield.methods.field.coders import ContextModel
from microfield.methods.field.coefficients import Beforehand, Coder, CodingOrder, walk_all, walks_of
from microfield.methods.field.features import ORIENTED
from microfield.methods.field.film_search import FilmPredictor
from microfield.methods.field.film_trial import usual
from microfield.methods.field.groups import Groups
from microfield.methods.field.lifting import Floats, forward
from microfield.methods.field.network import ContextNet
from microfield.methods.field.phases import phase_slices
from microfield.methods.field.quantise import PLAIN, usual_codes
from microfield.methods.field.schedules import NAMES, schedule
from microfield.methods.field.symbols import SymbolWriter
from microfield.methods.field.walk import Band, Ints, PhaseContext, mean_code
from microfield.threads import single_threaded_blas
from microfield.training.images import images, volumes

FEWEST, MOST = 0.0015, 0.06
"""Share of coefficients that are not zero, about: ratios of some 20 to 1000 for 16-bit images."""
STEPS = 2
"""Quantiser steps a variant."""
KEPT_VALUES, KEPT_ZEROS, KEPT_IDLE = 4000, 2500, 1200
"""Samples a step, about: values that are not zero, zeros where something is known around, zeros where nothing is."""
MAGNITUDE_CAP = 60
"""Magnitudes are cut at this before they are kept."""
EXTENTS, SERIES = (1, 20, 320, 320), 8
"""Extents that are cut from the middle of an image; time points of a film."""

Bytes = npt.NDArray[np.uint8]


@dataclass
class Samples:
    """Coefficients with what is known before each, n of them; the first m are not zero, and have signs.

    Attributes
    ----------
    planes, constants : uint8 arrays (n, ORIENTED.planes), (n, ORIENTED.constants)
    magnitudes : uint8 array (n,), cut at `MAGNITUDE_CAP`
    weights : float32 array (n,); every step of every variant counts the same
    signed, unsigned : int16 array (m, SIGNED), uint8 array (m, UNSIGNED)
    negative : bool array (m,)
    sign_weights : float32 array (m,)
    """

    planes: Bytes
    constants: Bytes
    magnitudes: Bytes
    weights: Floats
    signed: npt.NDArray[np.int16]
    unsigned: Bytes
    negative: npt.NDArray[np.bool_]
    sign_weights: Floats

    @classmethod
    def join(cls, several: Sequence[Samples]) -> Samples:
        """One after the other."""
        return cls(*(np.concatenate([getattr(s, f.name) for s in several]) for f in fields(cls)))

    def save(self, path: Path) -> None:
        """Write them to a file."""
        np.savez_compressed(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Samples:
        """Read them from a file."""
        with np.load(path) as stored:
            return cls(*(stored[f.name] for f in fields(cls)))


class _Collector:
    """A visitor that finds the values of a group that is quantised, and keeps a sample."""

    def __init__(self, quantised: Ints, shares: tuple[float, float, float], rng: np.random.Generator) -> None:
        self.quantised, self.shares, self.rng = quantised, shares, rng
        self.kept: list[Samples] = []

    def begin(self, band: Band) -> _BandCollector:
        return _BandCollector(self, self.quantised[band.box])


class _BandCollector:
    """Visits one band for a `_Collector`."""

    def __init__(self, collector: _Collector, values: Ints) -> None:
        self.collector, self.values = collector, values
        self.mean_code = mean_code(np.minimum(np.abs(values), 20))

    def phase(self, context: PhaseContext) -> Ints:
        found = self.values[phase_slices(context.number)]
        for rows in context.slabs:
            self._keep(context, rows, found[:, :, rows].reshape(-1))
        return found

    def _keep(self, context: PhaseContext, rows: slice, values: Ints) -> None:
        """Keep a sample of a slab."""
        rng, (of_values, of_zeros, of_idle) = self.collector.rng, self.collector.shares
        planes, magnitudes = context.features(rows), np.abs(values)
        active = (np.delete(planes, ORIENTED.of_picture, axis=0) > 0).any(axis=0)
        share = np.where(magnitudes > 0, of_values, np.where(active, of_zeros, of_idle))
        kept = np.flatnonzero(rng.random(len(share)) < share)
        if not len(kept):
            return
        signs = kept[magnitudes[kept] > 0]
        signed, unsigned = context.sign_inputs(rows, signs, magnitudes[signs])
        constants = np.broadcast_to(context.constants.astype(np.uint8), (len(kept), ORIENTED.constants))
        self.collector.kept.append(Samples(
            planes[:, kept].T.astype(np.uint8), constants, np.minimum(magnitudes[kept], MAGNITUDE_CAP).astype(np.uint8),
            (1 / share[kept]).astype(np.float32), signed.T.astype(np.int16), unsigned.T.astype(np.uint8), values[signs] < 0,
            np.full(len(signs), 1 / of_values, np.float32)))


def sampled(coefficients: Sequence[Floats], groups: Groups | None, order: CodingOrder, step: float, net: ContextNet,
            rng: np.random.Generator) -> Samples | None:
    """Samples of groups of coefficients, coded with a quantiser step; of a film where ``groups`` are given."""
    model = ContextModel(net)
    with single_threaded_blas():
        coder = Coder(order, order.steps(step), PLAIN, model, SymbolWriter(), None)
        if groups is None:
            encoders = coder.together(coefficients)
        else:
            _, encoders = coder.in_turn(coefficients, Beforehand(FilmPredictor(groups, coefficients, step), usual_codes()))
        quantised = [encoder.quantised for encoder in encoders]
        count, size = sum(int(np.count_nonzero(q)) for q in quantised), order.size
        shares = (min(1.0, KEPT_VALUES / max(count, 1)), min(1.0, KEPT_ZEROS / max(8 * count, 1)), min(1.0, KEPT_IDLE / size))
        collectors = [_Collector(q, shares, rng) for q in quantised]
        fresh = [q.copy() for q in quantised]
        for q, s in zip(fresh, order.schedules, strict=True):
            inner = tuple(slice(0, n) for n in s.extents[-1])
            coarsest = q[inner].copy()
            q[...] = 0
            q[inner] = coarsest
        walk_all(order, walks_of(order, fresh, collectors, ORIENTED.oriented))
    kept = [s for collector in collectors for s in collector.kept]
    if not kept:
        return None
    samples = Samples.join(kept)
    scale = max(float(samples.weights[samples.magnitudes > 0].sum()), 100)
    samples.weights /= scale
    samples.sign_weights /= scale
    return samples


def varied(volume: Floats, number: int, rng: np.random.Generator) -> Floats:
    """A variant of a volume (batch, z, y, x): the first is the volume itself; others are turned, shrunk, and changed in values."""
    if not number:
        return volume
    if min(volume.shape[2:]) >= 160 and rng.random() < 0.4:
        even = volume[..., : volume.shape[2] & ~1, : volume.shape[3] & ~1]
        volume = np.mean([even[..., y::2, x::2] for y in (0, 1) for x in (0, 1)], axis=0, dtype=np.float32)
    if rng.random() < 0.5:
        volume = volume.swapaxes(2, 3)
    for axis in (1, 2, 3):
        if rng.random() < 0.5:
            volume = np.flip(volume, axis)
    volume = (volume - volume.min()) / max(float(np.ptp(volume)), 1e-6)
    if rng.random() < 0.3:
        volume = volume ** np.float32(rng.uniform(0.6, 1.6))
    if rng.random() < 0.2:
        for axis in (2, 3):
            volume = (np.roll(volume, 1, axis) + 2 * volume + np.roll(volume, -1, axis)) / np.float32(4)
    if rng.random() < 0.25:
        volume = volume + rng.normal(size=volume.shape).astype(np.float32) * np.float32(rng.uniform(0.002, 0.03))
    return np.ascontiguousarray(volume, np.float32)


def _step(coefficients: Sequence[Floats], rng: np.random.Generator) -> float:
    """A quantiser step that leaves a random share of coefficients."""
    fraction = float(np.exp(rng.uniform(np.log(FEWEST), np.log(MOST))))
    values = np.concatenate([np.abs(group).reshape(-1) for group in coefficients])
    return float(np.quantile(values, 1 - fraction)) / 0.62


def collect(data: Path, name: str, number: int, net: ContextNet) -> Samples | None:
    """Samples of a variant of an image, all of its channels (three at most) with one another as references."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    kept, kind = [], str(rng.choice(NAMES))
    state = rng.bit_generator.state
    coefficients, splits = list[Floats](), []
    for volume in volumes(data, name, channels=3, extents=EXTENTS):
        rng.bit_generator.state = state  # All channels change alike.
        changed = varied(volume, number, rng)
        splits.append(schedule(kind, changed.shape))
        coefficients.append(forward(changed - np.quantile(changed, 0.005), splits[-1]))
    order = CodingOrder(tuple(splits), (None, *range(len(splits) - 1)))
    for _ in range(STEPS):
        step = _step(coefficients, rng)
        if step > 1e-4:
            kept.append(sampled(coefficients, None, order, step, net, rng))
    kept += _of_film(data, name, number, net, rng)
    found = [s for s in kept if s is not None]
    return Samples.join(found) if found else None


def _of_film(data: Path, name: str, number: int, net: ContextNet, rng: np.random.Generator) -> list[Samples | None]:
    """Samples of a film of the first channel's first time points, where the image is a series."""
    if not name.startswith(("timelapse", "fluo2d_t", "lowlight")):
        return []
    volume = next(volumes(data, name, channels=1, extents=(SERIES, SERIES, 256, 256)))
    if max(volume.shape[:2]) < 4:
        return []
    series = varied(volume, number and 2, rng) if volume.shape[0] == 1 else volume
    extents = (series.shape[1], 1, *series.shape[2:]) if series.shape[0] == 1 else series.shape
    groups = Groups(1, extents, "flat", film=replace(usual(extents[0]), group=int(rng.choice([1, 4]))))
    pieces = groups.forward((series - np.quantile(series, 0.005)).reshape(1, -1, *series.shape[2:]))
    step = _step(pieces, rng) / 2
    return [sampled(pieces, groups, groups.order, step, net, rng)] if step > 1e-4 else []


def main() -> None:
    """Collect what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the training images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the samples")
    parser.add_argument("--variants", type=int, default=4)
    parser.add_argument("--first", type=int, default=0, help="the first variant")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for number in range(args.first, args.variants):
        for fold in ("a", "b"):
            net = ContextNet.load(f"{fold}-4")
            for name in images(fold):
                path = args.out / f"{name}.{number}.npz"
                if path.exists():
                    continue
                samples = collect(args.data, name, number, net)
                if samples is not None:
                    samples.save(path)
                    print(path.stem, len(samples.magnitudes), len(samples.negative), flush=True)


if __name__ == "__main__":
    main()

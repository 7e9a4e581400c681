"""Trains the context networks: ``python -m microfield.training.contexts --data DIR``.

Images are transformed and quantised at several steps, first with a dead zone, then by rate and distortion with the network
of the first round; a sample is one coefficient with its features. Needs the extra ``compress`` (jax, optax).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.methods.field.coders import BandEncoder, CoefficientEncoder, ContextModel
from microfield.methods.field.features import CONSTANTS, FEATURE_ONE, PICTURE_PLANES, PLANES
from microfield.methods.field.level_context import CodedBands
from microfield.methods.field.lifting import Floats, forward
from microfield.methods.field.network import LARGEST_ACTIVATION, LARGEST_WEIGHT, SUM_SCALE, WEIGHT_SCALE, ContextNet, whole_numbers
from microfield.methods.field.phases import phase_slices
from microfield.methods.field.quantise import Quantiser
from microfield.methods.field.schedules import NAMES, schedule
from microfield.methods.field.symbols import SymbolWriter
from microfield.methods.field.walk import Band, Ints, PhaseContext, Walk, walk
from microfield.models import save
from microfield.threads import single_threaded_blas
from microfield.training.images import arguments, images, volumes

HIDDEN = (64, 48)
FRACTIONS = (0.045, 0.018, 0.007, 0.0025)
"""Share of coefficients that are not zero, about: ratios of some 30 to 600 for 16-bit images."""
KEPT = 20_000
"""Samples of each sort (something known around, nothing known) that a channel gives at a step, about."""
MAGNITUDE_CAP = 60
"""Magnitudes are cut at this before they are kept."""
_RDO = 0.1
"""Squared steps of error that a bit is worth in the second round."""
_USUAL_ROUNDING = 0.34
"""Added to magnitudes before they are rounded down in the first round, which makes a dead zone around 0."""

Bytes = npt.NDArray[np.uint8]
Params = dict[str, Any]


@dataclass
class Samples:
    """Coefficients with what is known before each.

    Attributes
    ----------
    planes, constants : uint8 arrays (n, PLANES), (n, CONSTANTS)
    magnitudes : uint8 array (n,), cut at `MAGNITUDE_CAP`
    weights : float32 array (n,); every image, channel and step counts the same
    """

    planes: Bytes
    constants: Bytes
    magnitudes: Bytes
    weights: Floats

    @classmethod
    def join(cls, several: Sequence[Samples]) -> Samples:
        """One after the other."""
        return cls(*(np.concatenate([getattr(s, f) for s in several]) for f in ("planes", "constants", "magnitudes", "weights")))


class _Collector:
    """A visitor that keeps a sample of what it sees; the values are those of an encoder or, without a network, of a dead zone."""

    def __init__(self, encoder: CoefficientEncoder, networked: bool, rng: np.random.Generator) -> None:
        self.encoder, self.networked, self.rng = encoder, networked, rng
        n = encoder.quantised.size
        share = float(np.mean(np.abs(encoder.group) * encoder.quantiser.inverse_step > 0.6))
        self.active, self.idle = min(1.0, KEPT / max(6 * share * n, 1)), min(1.0, KEPT / n)
        self.kept: list[Samples] = []

    def begin(self, band: Band) -> _BandCollector:
        return _BandCollector(self, self.encoder.begin(band), band)

    def keep(self, context: PhaseContext, found: Ints) -> None:
        """Keep a sample of a phase, whose quantised values are ``found``."""
        for rows in context.slabs:
            self._keep(context.features(rows).T.astype(np.uint8), context.constants.astype(np.uint8),
                       np.minimum(np.abs(found[:, :, rows]), MAGNITUDE_CAP).astype(np.uint8).reshape(-1))

    def _keep(self, planes: Bytes, constants: Bytes, magnitudes: Bytes) -> None:
        active = (np.delete(planes, PICTURE_PLANES, axis=1) > 0).any(1)
        share = np.where(magnitudes > 0, 1.0, np.where(active, self.active, self.idle))
        k = self.rng.random(len(share)) < share
        self.kept.append(Samples(planes[k], np.broadcast_to(constants, (int(k.sum()), CONSTANTS)), magnitudes[k],
                                 (1 / share[k]).astype(np.float32)))


class _BandCollector:
    """Visits one band for a `_Collector`."""

    def __init__(self, collector: _Collector, encoder: BandEncoder, band: Band) -> None:
        self.collector, self.encoder, self.mean_code = collector, encoder, encoder.mean_code
        self.values = collector.encoder.group[band.box] * collector.encoder.quantiser.inverse_step

    def phase(self, context: PhaseContext) -> Ints:
        if self.collector.networked:
            found = self.encoder.phase(context)
        else:
            values = self.values[phase_slices(context.number)]
            found = (np.sign(values) * np.floor(np.abs(values) + _USUAL_ROUNDING)).astype(np.int32)
        self.collector.keep(context, found)
        return found


def collect(data: Path, name: str, contexts: ContextNet | None, rng: np.random.Generator) -> Iterator[Samples]:
    """Samples of every channel and step of an image."""
    references: list[CodedBands | None] = [None] * len(FRACTIONS)
    for volume in volumes(data, name):
        kind = str(rng.choice(NAMES))
        split = schedule(kind, volume.shape)
        coefficients = forward(volume - np.quantile(volume, 0.005), split)
        for i, fraction in enumerate(FRACTIONS):
            step = float(np.quantile(np.abs(coefficients), 1 - fraction * rng.uniform(0.7, 1.4))) / 0.62
            if step < 1e-4:
                continue
            net = contexts if contexts is not None else _blank()
            encoder = CoefficientEncoder(coefficients, split, Quantiser(step, _RDO), ContextModel(net), SymbolWriter())
            collector = _Collector(encoder, contexts is not None, rng)
            with single_threaded_blas():
                one = Walk(split, encoder.quantised, collector, references[i])
                walk([one])
            references[i] = one.coded
            if collector.kept:
                samples = Samples.join(collector.kept)
                samples.weights /= max(int((samples.magnitudes > 0).sum()), 100)
                yield samples


def _blank() -> ContextNet:
    shapes = {"planes": (1, PLANES), "constants": (1, CONSTANTS), "second": (1, 1), "third": (3, 1),
              "bias1": (1,), "bias2": (1,), "bias3": (3,)}
    return ContextNet.of(b"", {k: np.zeros(s, np.int16) for k, s in shapes.items()})


def begin(seed: int) -> Params:
    """Weights to start from."""
    rng = np.random.default_rng(seed)

    def normal(n: int, m: int, factor: float) -> Floats:
        return np.asarray(rng.normal(size=(n, m)) * factor * (2 / n) ** 0.5, np.float32)

    h, g = HIDDEN
    return {"planes": normal(PLANES, h, 0.7), "constants": normal(CONSTANTS, h, 0.3), "bias1": np.full(h, 0.2, np.float32),
            "second": normal(h, g, 1.0), "bias2": np.full(g, 0.1, np.float32), "third": normal(g, 3, 0.3),
            "bias3": np.array([-4.0, -1.0, 0.0], np.float32)}


def bits(p: Params, planes: Any, constants: Any, magnitudes: Any, weights: Any) -> Any:
    """Weighted sum of code lengths without signs."""
    import jax
    import jax.numpy as jnp

    top = LARGEST_ACTIVATION / FEATURE_ONE
    inputs = (planes.astype(jnp.float32) / FEATURE_ONE, constants.astype(jnp.float32) / FEATURE_ONE)
    first = jnp.clip(inputs[0] @ p["planes"] + inputs[1] @ p["constants"] + p["bias1"], 0, top)
    zero, one, tail = (jnp.clip(first @ p["second"] + p["bias2"], 0, top) @ p["third"] + p["bias3"]).T
    y, soft = magnitudes.astype(jnp.float32), jax.nn.softplus
    nats = (soft(zero) - (y > 0) * zero + (y > 0) * (soft(one) - (y > 1) * one)
            + (y > 1) * (soft(-tail) + (y - 2) * soft(tail)))
    return (nats * weights).sum() / np.log(2)


def train(samples: Samples, params: Params, count: int, rate: float, seed: int, batch: int = 16384) -> tuple[Params, float]:
    """Adam with a cosine schedule; weights stay in the range the whole numbers have."""
    import jax
    import jax.numpy as jnp
    import optax

    optimiser = optax.adam(optax.cosine_decay_schedule(rate, count))
    state, bound = optimiser.init(params), (LARGEST_WEIGHT - 1) / WEIGHT_SCALE

    @jax.jit
    def update(p: Params, state: Any, *rows: Any) -> tuple[Params, Any, Any]:
        value, slopes = jax.value_and_grad(lambda p: bits(p, *rows) / batch)(p)
        changes, state = optimiser.update(slopes, state)
        p = {k: v if k.startswith("bias") else jnp.clip(v, -bound, bound) for k, v in optax.apply_updates(p, changes).items()}
        return p, state, value

    rng = np.random.default_rng(seed)
    weights = samples.weights / samples.weights.mean()
    total, last = 0.0, max(1, count // 5)
    for i in range(count):
        k = rng.integers(0, len(weights), batch)
        params, state, value = update(params, state, samples.planes[k], samples.constants[k], samples.magnitudes[k], weights[k])
        total += float(value) if i >= count - last else 0.0
        if i % 200 == 0:
            print(f"  {i}/{count}", file=sys.stderr, flush=True)
    return {k: np.asarray(v) for k, v in params.items()}, total / last


def main() -> None:
    """Train and save one network per fold."""
    args = arguments(__doc__, steps=3000)
    for fold in args.folds:
        started = time.time()
        params, contexts = begin(args.seed), None
        for round_, (count, rate) in enumerate(((args.steps // 2, 6e-3), (args.steps, 4e-3))):
            rng = np.random.default_rng(args.seed + round_)
            samples = Samples.join([s for name in images(fold) for s in collect(args.data, name, contexts, rng)])
            params, loss = train(samples, params, count, rate, args.seed)
            contexts = ContextNet.of(b"", whole_numbers(params))
            print(f"{fold}, round {round_ + 1}: {len(samples.weights)} samples, {loss:.4f}, {time.time() - started:.0f} s")
        save("contexts", fold, whole_numbers(params),
             {"images": list(images(fold)), "steps": args.steps, "seed": args.seed, "hidden": list(HIDDEN), "loss": loss,
              "sum": SUM_SCALE})


if __name__ == "__main__":
    main()

"""Trains the refinement networks: ``python -m microfield.training.refinement --data DIR``.

Images are transformed, quantised at several steps and reconstructed; a sample is a cell of 2 x 2 voxels with its features and
what the reconstruction lacks there. Every image is quantised with the context network that never saw it. Of the networks
"a" and "b" the gain on the other half's images is printed. Needs the extra ``compress`` (jax, optax).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.methods.field.coefficients import CodingOrder, encode
from microfield.methods.field.lifting import Floats, forward, inverse
from microfield.methods.field.network import ContextNet
from microfield.methods.field.refine import squash
from microfield.methods.field.refine_cells import COLUMNS, FEATURES, MEANS, RING, WINDOW, Cells, slabs
from microfield.methods.field.schedules import NAMES, schedule
from microfield.models import Arrays, save
from microfield.training.images import arguments, images, volumes

HIDDEN = (96, 48)
FRACTIONS = (0.045, 0.018, 0.007, 0.0025)
"""Share of coefficients that are not zero, about: ratios of some 30 to 600 for 16-bit images."""
CHANNELS, EXTENTS = 3, (2, 32, 256, 256)
"""How much of an image is used."""
KEPT = 24_000
"""Samples that an image gives at a step, about."""
SETS, BATCH = 32, 2048
"""Every batch has samples of so many sets, and so many samples."""
RATE, DECAY, WARM_UP, AVERAGE = 2e-3, 0.3, 100, 0.998
"""AdamW with a warmed-up cosine; the network is a running average of its weights."""
SCALE = np.concatenate([np.full(WINDOW + MEANS, 2.0), [1.0, 0.5]]).astype(np.float32)
"""Features are scaled so while learning; the saved weights take them as they are."""

Params = dict[str, Any]


@dataclass(frozen=True)
class Samples:
    """Cells of one channel of an image at one step.

    Attributes
    ----------
    name : of the image
    features : float16 array (n, FEATURES), as the runtime computes them
    lacking : float16 array (n, 4), original - reconstruction in steps
    """

    name: str
    features: npt.NDArray[np.float16]
    lacking: npt.NDArray[np.float16]

    @property
    def energy(self) -> float:
        """Mean square of what is lacking."""
        return float(np.mean(self.lacking.astype(np.float32) ** 2))


def collect(data: Path, name: str, contexts: ContextNet, rng: np.random.Generator, halved: bool = False) -> Iterator[Samples]:
    """Samples of every channel and step of an image; ``halved`` takes the image at half its resolution in y and x."""
    box = (*EXTENTS[:2], 2 * EXTENTS[2], 2 * EXTENTS[3]) if halved else EXTENTS
    channels = list(volumes(data, name, CHANNELS, box))
    for volume in channels:
        if halved:
            even = _even(volume)
            volume = np.mean([even[..., y::2, x::2] for y, x in product(range(2), repeat=2)], axis=0, dtype=np.float32)
        volume = np.ascontiguousarray(_even(volume))
        dark = np.quantile(volume, 0.005)
        for fraction in FRACTIONS:
            split = schedule(str(rng.choice(NAMES)), volume.shape)
            coefficients = forward(volume - dark, split)
            step = float(np.quantile(np.abs(coefficients), 1 - fraction * rng.uniform(0.7, 1.4))) / 0.62
            if step < 1e-4:
                continue
            values = encode([coefficients], CodingOrder((split,), (None,)), step, contexts).values[0]
            rebuilt = inverse(values, split) + np.float32(dark)
            share = min(1.0, KEPT / len(channels) / (volume.size / 4))
            pieces = [_sample(volume[b], rebuilt[b], step, float(dark), share, rng) for b in range(len(volume))]
            yield Samples(name, *(np.concatenate(p) for p in zip(*pieces, strict=True)))


def _even(volume: Floats) -> Floats:
    return volume[..., : volume.shape[-2] & ~1, : volume.shape[-1] & ~1]


def _sample(volume: Floats, rebuilt: Floats, step: float, dark: float, share: float, rng: np.random.Generator,
            ) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16]]:
    """Features and targets of a share of the cells of a volume (z, y, x)."""
    inputs = np.zeros((FEATURES, COLUMNS), np.float32)
    scratch = np.zeros((WINDOW + MEANS, COLUMNS), np.float32)
    lacking = (volume - rebuilt) / np.float32(step)
    features, targets = [], []
    for slab in slabs(volume.shape):
        cells = Cells.cut(rebuilt, slab, np.float32(step), np.float32(dark))
        for box in slab.boxes():
            n = cells.differences(box, inputs)
            squash(inputs, scratch)
            k = np.flatnonzero(rng.random(n) < share)
            z, y, x = (slice(w.start + s.start, w.start + s.stop) for w, s in zip(slab.whole, box, strict=True))
            here = [lacking[z, 2 * y.start + py : 2 * y.stop : 2, 2 * x.start + px : 2 * x.stop : 2].reshape(-1)[k]
                    for py, px in product(range(2), repeat=2)]
            features.append(inputs[:, k].T.astype(np.float16))
            targets.append(np.stack(here, 1).astype(np.float16))
    return np.concatenate(features), np.concatenate(targets)


def symmetries() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """How features (16, FEATURES) and outputs (16, 4) change places when z, y, x are flipped and y and x exchanged."""
    # (z, y, x) of 6 x 6 voxels from (phase y, phase x, z, cell y, cell x).
    window = np.arange(WINDOW).reshape(2, 2, 3, 3, 3).transpose(2, 3, 0, 4, 1).reshape(3, 6, 6)
    ring = np.zeros((5, 5), int)
    for k, (dy, dx) in enumerate(RING):
        ring[dy + 2, dx + 2] = WINDOW + k
    planes = np.array([WINDOW + MEANS - 2, WINDOW + MEANS - 1])
    cell = np.arange(4).reshape(2, 2)
    inputs, outputs = [], []
    for flip_z, flip_y, flip_x, exchange in product((1, -1), (1, -1), (1, -1), (False, True)):
        w, r = window[::flip_z, ::flip_y, ::flip_x], ring[::flip_y, ::flip_x]
        z, c = planes[::flip_z], cell[::flip_y, ::flip_x]
        if exchange:
            w, r, c = w.transpose(0, 2, 1), r.T, c.T
        back = w.reshape(3, 3, 2, 3, 2).transpose(2, 4, 0, 1, 3).reshape(-1)
        around = [r[dy + 2, dx + 2] for dy, dx in RING]
        inputs.append(np.concatenate([back, around, z, [FEATURES - 2, FEATURES - 1]]))
        outputs.append(c.reshape(-1))
    return np.array(inputs), np.array(outputs)


def begin(seed: int) -> Params:
    """Weights to start from; the outputs start at zero."""
    rng = np.random.default_rng(seed)
    widths = (FEATURES, *HIDDEN, 4)
    params: Params = {}
    for i, (m, n) in enumerate(pairwise(widths)):
        last = i == len(HIDDEN)
        params[f"weight{i}"] = (rng.normal(size=(m, n)) * (0 if last else (2 / m) ** 0.5)).astype(np.float32)
        params[f"bias{i}"] = np.zeros(n, np.float32)
    return params


def outputs(params: Params, features: Any) -> Any:
    """Corrections in steps (n, 4)."""
    import jax.numpy as jnp

    values = features * SCALE
    for i in range(len(HIDDEN)):
        values = jnp.maximum(values @ params[f"weight{i}"] + params[f"bias{i}"], 0)
    return values @ params[f"weight{len(HIDDEN)}"] + params[f"bias{len(HIDDEN)}"]


def train(samples: Sequence[Samples], steps: int, seed: int) -> tuple[Params, float]:
    """The averaged weights and the mean loss of the last fifth: error as a share of the error without a correction."""
    import jax
    import jax.numpy as jnp
    import optax

    # Every sixteenth of a batch is seen through one of the symmetries.
    turns, places = (jnp.asarray(a) for a in symmetries())
    params = begin(seed)
    rate = optax.warmup_cosine_decay_schedule(0, RATE, min(WARM_UP, steps // 2), max(steps, 2))
    optimiser = optax.adamw(rate, b2=0.99, weight_decay=DECAY)

    def loss(p: Params, features: Any, lacking: Any, weights: Any) -> Any:
        x = jnp.take_along_axis(features.astype(jnp.float32).reshape(16, -1, FEATURES), turns[:, None], 2)
        t = jnp.take_along_axis(lacking.astype(jnp.float32).reshape(16, -1, 4), places[:, None], 2)
        return (((t - outputs(p, x)) ** 2).mean(2).reshape(-1) * weights).mean()

    @jax.jit
    def update(p: Params, state: Any, average: Params, *batch: Any) -> tuple[Params, Any, Params, Any]:
        value, slopes = jax.value_and_grad(loss)(p, *batch)
        changes, state = optimiser.update(slopes, state, p)
        p = optax.apply_updates(p, changes)
        return p, state, jax.tree.map(lambda a, b: AVERAGE * a + (1 - AVERAGE) * b, average, p), value

    rng = np.random.default_rng(seed)
    state, average, total, last = optimiser.init(params), params, 0.0, max(1, steps // 5)
    energy = [s.energy for s in samples]
    for i in range(steps):
        chosen = [(k, rng.integers(0, len(samples[k].features), BATCH // SETS)) for k in rng.choice(len(samples), SETS)]
        order = rng.permutation(BATCH)
        features = np.concatenate([samples[k].features[rows] for k, rows in chosen])[order]
        lacking = np.concatenate([samples[k].lacking[rows] for k, rows in chosen])[order]
        weights = np.repeat(np.array([1 / energy[k] for k, _ in chosen], np.float32), BATCH // SETS)[order]
        params, state, average, value = update(params, state, average, features, lacking, weights)
        total += float(value) if i >= steps - last else 0.0
        if i % 1000 == 0:
            print(f"  {i}/{steps}", file=sys.stderr, flush=True)
    return {k: np.asarray(v) for k, v in average.items()}, total / last


def installed(params: Mapping[str, Floats]) -> Arrays:
    """Arrays as `microfield.methods.field.refine.Refinement` takes them: float16, (out, in)."""
    arrays = {k: v.T if v.ndim == 2 else v for k, v in params.items()}
    arrays["weight0"] = arrays["weight0"] * SCALE
    return {k: np.ascontiguousarray(v, np.float16) for k, v in arrays.items()}


def gains(params: Params, samples: Sequence[Samples]) -> dict[str, float]:
    """Decibels of peak signal to noise gained with the best weight of the correction, mean per image."""
    found: dict[str, list[float]] = {}
    for s in samples:
        t = s.lacking.astype(np.float32)
        d = np.asarray(outputs(params, s.features.astype(np.float32)))
        alpha = max(0.0, float((d * t).sum()) / max(float((d * d).sum()), 1e-9))
        found.setdefault(s.name, []).append(10 * float(np.log10((t**2).sum() / ((t - alpha * d) ** 2).sum())))
    return {name: round(float(np.mean(v)), 3) for name, v in found.items()}


def main() -> None:
    """Train and save one network per fold."""
    args = arguments(__doc__, steps=20000)
    rng = np.random.default_rng(args.seed)
    whole: dict[str, list[Samples]] = {}
    halves: dict[str, list[Samples]] = {}
    nets = {half: ContextNet.load(half) for half in ("a", "b")}
    for half, other in (("a", "b"), ("b", "a")):
        whole[half] = [s for name in images(half) for s in collect(args.data, name, nets[other], rng)]
        halves[half] = [s for name in images(half) for s in collect(args.data, name, nets[other], rng, halved=True)]
    run(whole, halves, args.folds, args.steps, args.seed, {half: net.name.hex() for half, net in nets.items()})


def run(whole: Mapping[str, list[Samples]], halves: Mapping[str, list[Samples]], folds: Sequence[str], steps: int, seed: int,
        contexts: Mapping[str, str]) -> None:
    """Train on samples at full and half resolution, save, and print the gain on the half of the images left out."""
    for fold in folds:
        started = time.time()
        params, loss = train([s for h in whole if fold in (h, "all") for s in (*whole[h], *halves[h])], steps, seed)
        left_out = {} if fold == "all" else gains(params, whole["b" if fold == "a" else "a"])
        record = {
            "date": datetime.now(UTC).date().isoformat(), "images": images(fold), "steps": steps, "seed": seed,
            "hidden": list(HIDDEN), "loss": round(loss, 5), "gain_on_images_left_out_db": left_out, "contexts": dict(contexts),
            "versions": {name: version(name) for name in ("numpy", "jax", "optax")},
        }
        key = save("refinement", fold, installed(params), record)
        mean = f", {np.mean(list(left_out.values())):.3f} dB on the other half" if left_out else ""
        print(f"{fold} {key.hex()}: loss {loss:.4f}{mean}, {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()

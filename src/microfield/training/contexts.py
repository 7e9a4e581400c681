"""Trains the context networks: ``python -m microfield.training.contexts --data SAMPLES``.

SAMPLES is the folder that `microfield.training.context_samples` filled. Two networks are trained and saved as one: of magnitudes,
and of signs, which is odd by construction and overfits easily: few rounds through the samples, weight decay, and mirrored samples.
Needs the extra ``compress`` (jax, optax).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.methods.field.exact import LARGEST_ACTIVATION, LARGEST_WEIGHT, SUM_SCALE, WEIGHT_SCALE, whole_numbers
from microfield.methods.field.features import FEATURE_ONE, ORIENTED
from microfield.methods.field.lifting import Floats
from microfield.methods.field.phases import Offset
from microfield.methods.field.sign_context import (
    AROUND,
    BESIDE,
    CROSS,
    HERE,
    IN_PLANE,
    NEIGHBOURS,
    OUT_OF_PLANE,
    PATCH,
    SIGNED,
    UNSIGNED,
)
from microfield.methods.field.signs import PREFIX
from microfield.models import save
from microfield.training.context_samples import Samples
from microfield.training.images import arguments, images

HIDDEN, SIGN_HIDDEN = (64, 48), (48, 24)
BATCH = 4096
RATE, DECAY = 5e-3, 1e-4
SIGN_RATE, SIGN_DECAY, SIGN_ROUNDS = 3e-3, 0.05, 3
LARGEST_SHARE = 6.0
"""A sign counts at most so many times the median."""

Params = dict[str, Any]
TOP = LARGEST_ACTIVATION / FEATURE_ONE
BOUND = (LARGEST_WEIGHT - 1) / WEIGHT_SCALE


def begin(seed: int) -> tuple[Params, Params]:
    """Weights to start from: of magnitudes, of signs."""
    rng = np.random.default_rng(seed)

    def normal(n: int, m: int, factor: float) -> Floats:
        return np.asarray(rng.normal(size=(n, m)) * factor * (2 / n) ** 0.5, np.float32)

    (h, g), (k, j) = HIDDEN, SIGN_HIDDEN
    magnitudes = {"planes": normal(ORIENTED.planes, h, 0.7), "constants": normal(ORIENTED.constants, h, 0.3),
                  "bias1": np.full(h, 0.2, np.float32), "second": normal(h, g, 1.0), "bias2": np.full(g, 0.1, np.float32),
                  "third": normal(g, 3, 0.3), "bias3": np.array([-4.0, -1.0, 0.0], np.float32)}
    signs = {"signed": normal(SIGNED, k, 0.5), "unsigned": normal(UNSIGNED, k, 0.5), "bias1": np.zeros(k, np.float32),
             "second": normal(k, j, 1.0), "bias2": np.zeros(j, np.float32), "third": normal(j, 1, 0.2)}
    return magnitudes, signs


def bits(p: Params, planes: Any, constants: Any, magnitudes: Any, weights: Any) -> Any:
    """Weighted sum of code lengths of magnitudes."""
    import jax
    import jax.numpy as jnp

    inputs = (planes.astype(jnp.float32) / FEATURE_ONE, constants.astype(jnp.float32) / FEATURE_ONE)
    first = jnp.clip(inputs[0] @ p["planes"] + inputs[1] @ p["constants"] + p["bias1"], 0, TOP)
    zero, one, tail = (jnp.clip(first @ p["second"] + p["bias2"], 0, TOP) @ p["third"] + p["bias3"]).T
    y, soft = magnitudes.astype(jnp.float32), jax.nn.softplus
    nats = (soft(zero) - (y > 0) * zero + (y > 0) * (soft(one) - (y > 1) * one)
            + (y > 1) * (soft(-tail) + (y - 2) * soft(tail)))
    return (nats * weights).sum() / np.log(2)


def sign_bits(p: Params, signed: Any, unsigned: Any, negative: Any, weights: Any) -> Any:
    """Weighted sum of code lengths of signs."""
    import jax
    import jax.numpy as jnp

    odd = signed.astype(jnp.float32) / FEATURE_ONE @ p["signed"]
    even = unsigned.astype(jnp.float32) / FEATURE_ONE @ p["unsigned"] + p["bias1"]

    def behind(first: Any) -> Any:
        return jnp.clip(jnp.clip(first, 0, TOP) @ p["second"] + p["bias2"], 0, TOP) @ p["third"]

    logits = (behind(even + odd) - behind(even - odd))[:, 0]
    return (jax.nn.softplus(jnp.where(negative, -logits, logits)) * weights).sum() / np.log(2)


def _mirror(axis: int) -> npt.NDArray[np.intp]:
    """Where the inputs with a sign come from when the image is mirrored along y (1) or x (2), as a band is seen.

    The coefficient lies between two columns of the picture; where it does not lie between two rows, the last row stays.
    """

    def moved(offsets: Sequence[Offset], between: int) -> list[int]:
        found = []
        for offset in offsets:
            other = list(offset)
            other[axis] = between - offset[axis]
            found.append(offsets.index((other[0], other[1], other[2])) if tuple(other) in offsets else offsets.index(offset))
        return found

    groups = [(PATCH, axis - 1), (BESIDE, axis - 1), (NEIGHBOURS, 0), *[(AROUND, 0)] * len(IN_PLANE),
              *[(HERE, 0)] * len(OUT_OF_PLANE), (AROUND, 0), *[(HERE, 0)] * len(IN_PLANE), (CROSS, 0)]
    out: list[int] = []
    for offsets, between in groups:
        first = len(out)
        out += [first + i for i in moved(offsets, between)]
    return np.array(out)


def _fit(loss: Any, params: Params, rows: Any, count: int, rate: float, decay: float, others: Any) -> Params:
    """AdamW with a cosine schedule; weights stay in the range the whole numbers have.

    Parameters
    ----------
    loss : function of parameters and rows
    rows : function of nothing that gives a batch
    others : rows of images that are not trained on, whose loss is printed; None without
    """
    import jax
    import jax.numpy as jnp
    import optax

    matrices = {k: v.ndim == 2 for k, v in params.items()}
    optimiser = optax.adamw(optax.cosine_decay_schedule(rate, count), b2=0.99, weight_decay=decay, mask=matrices)
    state = optimiser.init(params)

    @jax.jit
    def update(p: Params, state: Any, *batch: Any) -> tuple[Params, Any, Any]:
        value, slopes = jax.value_and_grad(loss)(p, *batch)
        changes, state = optimiser.update(slopes, state, p)
        p = {k: jnp.clip(v, -BOUND, BOUND) if matrices[k] else v for k, v in optax.apply_updates(p, changes).items()}
        return p, state, value

    judge, total = jax.jit(loss), 0.0
    for i in range(count):
        params, state, value = update(params, state, *rows())
        total += float(value)
        if (i + 1) % 500 == 0 or i == count - 1:
            judged = "" if others is None else f", others {float(judge(params, *others)):.5f}"
            print(f"  {i + 1}/{count}: {total / (i % 500 + 1):.5f}{judged}", file=sys.stderr, flush=True)
            total = 0.0
    return {k: np.asarray(v) for k, v in params.items()}


def fit_magnitudes(samples: Samples, others: Samples | None, params: Params, count: int, seed: int) -> Params:
    """The network of magnitudes, trained; its loss is bits of a sample relative to its weight."""
    rng = np.random.default_rng(seed)
    # Heavy ones are drawn more often, so that no step hangs on a few of them.
    chance = np.sqrt(samples.weights)
    ends, scale = np.cumsum(chance / chance.sum()), float(samples.weights.sum())

    def rows(s: Samples = samples) -> Any:
        k = np.minimum(np.searchsorted(ends, rng.random(BATCH)), len(ends) - 1)
        weights = samples.weights[k] / chance[k] * (chance.sum() / BATCH / scale)
        return s.planes[k], s.constants[k], s.magnitudes[k], weights.astype(np.float32)

    judged = None
    if others is not None:
        k = np.random.default_rng(0).permutation(len(others.weights))[:200_000]
        judged = (others.planes[k], others.constants[k], others.magnitudes[k], others.weights[k] / others.weights[k].sum())
    return _fit(bits, params, rows, count, RATE, DECAY, judged)


def fit_signs(samples: Samples, others: Samples | None, params: Params, seed: int) -> Params:
    """The network of signs, trained; its loss is bits of a sign."""
    rng, mirrors = np.random.default_rng(seed), [np.arange(SIGNED), _mirror(1), _mirror(2), _mirror(1)[_mirror(2)]]
    shares = np.minimum(samples.sign_weights / np.median(samples.sign_weights), LARGEST_SHARE).astype(np.float32)

    def rows() -> Any:
        k = rng.integers(0, len(shares), BATCH)
        signed = samples.signed[k][:, mirrors[rng.integers(4)]]
        return signed, samples.unsigned[k], samples.negative[k], shares[k] / shares[k].sum()

    judged = None
    if others is not None:
        k = np.random.default_rng(0).permutation(len(others.negative))[:100_000]
        judged = (others.signed[k], others.unsigned[k], others.negative[k], others.sign_weights[k] / others.sign_weights[k].sum())
    return _fit(sign_bits, params, rows, SIGN_ROUNDS * len(shares) // BATCH, SIGN_RATE, SIGN_DECAY, judged)


def gathered(folder: Path, fold: str) -> Samples:
    """All samples of the images of a fold."""
    files = [file for name in images(fold) for file in sorted(folder.glob(f"{name}.*.npz"))]
    return Samples.join([Samples.load(file) for file in files])


def main() -> None:
    """Train and save the networks of every fold."""
    args = arguments(__doc__, steps=6000)
    for fold in args.folds:
        started, (magnitudes, signs) = time.time(), begin(args.seed)
        samples = gathered(args.data, fold)
        others = None if fold == "all" else gathered(args.data, {"a": "b", "b": "a"}[fold])
        print(f"{fold}: {len(samples.weights)} samples, {len(samples.negative)} signs", file=sys.stderr)
        magnitudes = fit_magnitudes(samples, others, magnitudes, args.steps, args.seed)
        signs = fit_signs(samples, others, signs, args.seed)
        print(f"{fold}: {time.time() - started:.0f} s", file=sys.stderr)
        arrays = whole_numbers({**magnitudes, **{PREFIX + k: v for k, v in signs.items()}})
        save("contexts", fold, arrays,
             {"images": list(images(fold)), "steps": args.steps, "seed": args.seed, "hidden": [list(HIDDEN), list(SIGN_HIDDEN)],
              "samples": [len(samples.weights), len(samples.negative)], "sum": SUM_SCALE})


if __name__ == "__main__":
    main()

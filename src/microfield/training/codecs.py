"""Trains the learned codecs: ``python -m microfield.training.codecs --data DIR --work DIR --model NAME [--minutes 20]``.

A codec learns at one exchange of error for bits, in units of its input: what is asked of it is set by the step that images are
divided by, drawn from a range of rates. Runs go on where they stopped. Needs the extra ``compress`` (jax, optax).
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from microfield.methods.field.lifting import Floats
from microfield.methods.learned.form import Form, codec
from microfield.models import pack
from microfield.training.codec_network import Params, apply, begin, coded, reconstructed
from microfield.training.codec_patches import Patches, Source, sources
from microfield.training.images import images, volumes

LAMBDA = 0.15
"""Squared steps of error that a bit is worth. A uniform quantiser of step 1 trades about so (0.134 in video coding)."""
RATE, CLIP, AVERAGE = 1e-4, 1.0, 0.99
"""Adam's rate at its highest, the largest norm of a gradient, and the decay of the running average that becomes the codec."""
EVERY = 25
"""Steps between looks at the clock."""
CACHED, WARM_STEPS, WARM_BATCH, WARM_RATE = 600, 4000, 8, 3e-3
"""Patches whose latents the entropy model first learns alone, its steps, their batches and the rate of the optimiser."""
LEAST_LOSS = 0.02
"""Losses of patches weigh by their inverse, so that all gain alike; but no more than this one's."""


@dataclass(frozen=True)
class Recipe:
    """How a codec is trained.

    Attributes
    ----------
    form : Form
    shares : least and largest share of wavelet coefficients above the step
    size : extents of a patch along z, y and x
    batch : patches of a step
    parent : the codec whose weights it begins with where they fit
    """

    form: Form
    shares: tuple[float, float]
    size: tuple[int, int, int] = (1, 192, 192)
    batch: int = 2
    parent: str = ""


WIDTHS, KERNELS, HYPER = (16, 40, 80, 256), (5, 5, 5, 3), (40, 64)
PLANES = codec(WIDTHS, KERNELS, HYPER)
RECIPES = {
    "hyperprior-2d": Recipe(PLANES, (0.0008, 0.15)),
    "factorized-2d": Recipe(codec(WIDTHS, KERNELS), (0.0008, 0.15), parent="hyperprior-2d"),
}


@dataclass
class Progress:
    """State of a run: parameters, the optimiser's state, the averaged parameters, steps and seconds so far, and the curve."""

    params: Params
    state: Any
    average: Params
    steps: int
    seconds: float
    curve: list[tuple[int, float, float, float]]


def optimiser() -> Any:
    """Adam with clipped gradients; its rate is injected step by step, since a run is as long as there is time."""
    import optax

    return optax.chain(optax.clip_by_global_norm(CLIP), optax.scale_by_adam(b2=0.99))


def start(recipe: Recipe, seed: int, parent: Params | None = None) -> Progress:
    """A run at its beginning, at the parent's weights where they have the same names and shapes."""
    params = begin(recipe.form, seed)
    for name, array in (parent or {}).items():
        if name in params and params[name].shape == array.shape and not name.startswith("density"):
            params[name] = array
    return Progress(params, optimiser().init(params), params, 0, 0.0, [])


def loss_of(form: Form) -> Any:
    """The function (params, images, key) to (what is minimised, (loss, mean squared error, bits per voxel))."""
    import jax
    import jax.numpy as jnp

    def loss(params: Params, batch: Any, key: Any) -> Any:
        decoded, bits = reconstructed(params, form, batch, key)
        error = ((decoded - batch) ** 2).mean((1, 2, 3, 4))
        rate = bits / batch[0].size
        each = error + LAMBDA * rate
        weights = 1 / jnp.maximum(jax.lax.stop_gradient(each), LEAST_LOSS)
        return (weights * each).mean(), (each.mean(), error.mean(), rate.mean())

    return loss


def updates(form: Form) -> Any:
    """The compiled step: (params, state, average, batch, key, rate) to the first three, and loss, error and rate."""
    import jax
    import optax

    adam, loss = optimiser(), loss_of(form)

    @jax.jit
    def update(params: Params, state: Any, average: Params, batch: Any, key: Any, rate: Any) -> Any:
        (_, parts), slopes = jax.value_and_grad(loss, has_aux=True)(params, batch, key)
        changes, state = adam.update(slopes, state, params)
        params = optax.apply_updates(params, jax.tree.map(lambda c: -rate * c, changes))
        average = jax.tree.map(lambda a, p: AVERAGE * a + (1 - AVERAGE) * p, average, params)
        return params, state, average, parts

    return update


def learn_entropy(form: Form, params: Params, patches: Patches, seed: int, steps: int = WARM_STEPS) -> Params:
    """The parameters with an entropy model that suits the latents of the transforms as they are: much faster than all at once."""
    import jax
    import jax.numpy as jnp
    import optax

    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    analysis = jax.jit(lambda batch: apply(params, form, "analysis", batch))
    cached = np.concatenate([np.asarray(analysis(patches.draw(2, rng))) for _ in range(CACHED // 2)])
    fixed = {f"{kind}{i}" for i, a in enumerate(form.layers) if a.network in ("analysis", "synthesis")
             for kind in ("weight", "bias", "beta", "gamma")}
    learnt = {name: array for name, array in params.items() if name not in fixed}
    adam = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(optax.cosine_decay_schedule(WARM_RATE, steps, 0.03), b2=0.99))

    @jax.jit
    def update(learnt: Params, state: Any, latents: Any, key: Any) -> Any:
        def loss(p: Params) -> Any:
            return jnp.log(1 + coded(p, form, latents, key)[1]).mean()

        value, slopes = jax.value_and_grad(loss)(learnt)
        changes, state = adam.update(slopes, state)
        return optax.apply_updates(learnt, changes), state, value

    state = adam.init(learnt)
    for step in range(steps):
        latents = cached[rng.integers(0, len(cached), WARM_BATCH)]
        learnt, state, value = update(learnt, state, latents, jax.random.fold_in(key, step))
        if step % 250 == 0:
            print(f"entropy model, step {step} of {steps}: {float(value):.3f}", file=sys.stderr, flush=True)
    return params | {name: np.asarray(array) for name, array in learnt.items()}


def rate_at(share: float) -> float:
    """The rate of the optimiser at a share of the time: warmed up, then a cosine down to a fiftieth."""
    return RATE * min(1.0, share / 0.02 + 0.02) * (0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * min(share, 1.0)))))


def train(recipe: Recipe, run: Progress, patches: Patches, seconds: float, seed: int) -> Iterator[Progress]:
    """Train until the run has taken ``seconds`` in all; yields it every `EVERY` steps."""
    import jax

    update = updates(recipe.form)
    rng = np.random.default_rng([seed, run.steps])
    key = jax.random.key(seed)
    while run.seconds < seconds:
        sums, began = np.zeros(3), time.monotonic()
        for _ in range(EVERY):
            batch = patches.draw(recipe.batch, rng)
            step_key = jax.random.fold_in(key, run.steps)
            run.params, run.state, run.average, parts = update(
                run.params, run.state, run.average, batch, step_key, rate_at(run.seconds / seconds))
            sums += np.array([float(p) for p in parts])
            run.steps += 1
        run.seconds += time.monotonic() - began
        run.curve.append((run.steps, *(sums / EVERY).tolist()))
        yield run


# -- keeping runs ---------------------------------------------------------------------------------------------------------------


def keep(run: Progress, path: Path) -> None:
    """Write a run to a file, whole or not at all, and its curve beside it."""
    import jax

    leaves = {f"state{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(run.state))}
    arrays = {f"params/{k}": np.asarray(v) for k, v in run.params.items()}
    arrays |= {f"average/{k}": np.asarray(v) for k, v in run.average.items()}
    part = path.with_suffix(".part.npz")
    part.write_bytes(pack({"steps": np.array(run.steps), "seconds": np.array(run.seconds),
                               "curve": np.array(run.curve).reshape(-1, 4), **leaves, **arrays}))
    part.replace(path)
    with path.with_suffix(".csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("step", "loss", "squared_error", "bits_per_voxel"))
        rows.writerows(run.curve)


def resumed(path: Path, fresh: Progress) -> Progress:
    """The run that a file holds, of the same form as ``fresh``."""
    import jax

    with np.load(path) as stored:
        leaves, tree = jax.tree.flatten(fresh.state)
        state = jax.tree.unflatten(tree, [stored[f"state{i}"] for i in range(len(leaves))])
        params = {k: stored[f"params/{k}"] for k in fresh.params}
        average = {k: stored[f"average/{k}"] for k in fresh.params}
        curve = [(int(row[0]), *map(float, row[1:])) for row in stored["curve"]]
        return Progress(params, state, average, int(stored["steps"]), float(stored["seconds"]), curve)  # type: ignore[arg-type]


def averaged(path: Path) -> Params:
    """The averaged parameters of a run that was kept."""
    with np.load(path) as stored:
        return {name.removeprefix("average/"): stored[name] for name in stored.files if name.startswith("average/")}


def training_sources(data: Path, channels: int = 3, extents: tuple[int, int, int, int] = (2, 16, 512, 512)) -> list[Source]:
    """Sources of all images of `microfield.training.images`."""
    def every() -> Iterator[tuple[str, Floats]]:
        for name in images("all"):
            for volume in volumes(data, name, channels, extents):
                yield name, volume
    return sources(every())


def main() -> None:
    """Train one codec for some minutes, from where it stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the training images")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs, which go on where they stopped")
    parser.add_argument("--model", choices=tuple(RECIPES), required=True)
    parser.add_argument("--minutes", type=float, default=20, help="time that the run may take in all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    recipe = RECIPES[args.model]
    run_one(recipe, args.model, args.work, training_sources(args.data), 60 * args.minutes, args.seed)


def run_one(recipe: Recipe, name: str, work: Path, found: list[Source], seconds: float, seed: int) -> Progress:
    """Train a codec, keeping it every minute."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"{name}.npz"
    parent = averaged(work / f"{recipe.parent}.npz") if recipe.parent else None
    run = start(recipe, seed, parent)
    patches = Patches(found, recipe.size, recipe.shares)
    if path.exists():
        run = resumed(path, run)
    elif recipe.form.hyperprior and parent is None:
        wide = replace(patches, size=(recipe.size[0], 256, 256))
        run.params = learn_entropy(recipe.form, run.params, wide, seed)
        run.average = run.params
        keep(run, path)
    kept = time.monotonic()
    for now in train(recipe, run, patches, seconds, seed):
        step, loss, error, bits = now.curve[-1]
        print(f"{name} step {step}: loss {loss:.4f}, squared error {error:.4f}, {bits:.4f} bits a voxel, {now.seconds:.0f} s",
              file=sys.stderr, flush=True)
        if time.monotonic() - kept > 60:
            keep(run, path)
            kept = time.monotonic()
    keep(run, path)
    return run


if __name__ == "__main__":
    main()

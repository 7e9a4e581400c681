"""What a step of every optimiser costs: ``python -m benchmarks.optimiser_cost``.

Networks of four sine layers take chunks of compiled steps with the batch that `inif` gives them, on one core. The optimisers take
turns, and the least processor time of a chunk counts, so that other work on the machine disturbs little. Rows go to
optimiser_cost.json, from which docs/studies/learning-rates.md is written.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from microfield.nn.fit import loss_and_gradient
from microfield.nn.network import Params, init_folded
from microfield.nn.optimisers import OPTIMISERS
from microfield.nn.sampling import Batch

ROWS = Path(__file__).parent / "optimiser_cost.json"
SHAPES = ((32, 8192), (64, 8192), (96, 8192), (128, 8192), (256, 4096))
"""Width of the network, points of a step."""
DEPTH, STEPS, TURNS = 4, 10, 5
"""Sine layers; steps of a chunk, in which SOAP's bases are refreshed once; chunks of every optimiser."""


def chunk(optimiser: Any) -> Any:
    """The compiled function that takes the steps of a chunk; for no optimiser gradients alone."""

    def step(moving: tuple[Params, Any], batch: Batch) -> tuple[tuple[Params, Any], jax.Array]:
        params, state = moving
        loss, grads = loss_and_gradient(params, batch)
        return optimiser.update(params, grads, state, loss=loss, progress=jnp.float32(0.5), rate=jnp.float32(1e-3)), loss

    return jax.jit(lambda params, state, batches: jax.lax.scan(step, (params, state), batches))


def measure(width: int, batch: int) -> dict[str, Any]:
    """Milliseconds of a step of every optimiser."""
    rng = np.random.default_rng(0)
    params = init_folded(0, 3, width, DEPTH, 1, np.full(3, 4.0))
    x = rng.uniform(-1, 1, (STEPS, batch, 3)).astype(np.float32)
    y = np.sin(3 * x[..., :1] + x[..., 1:2])
    batches = Batch(x, y, np.ones_like(y))
    runs = {}
    for name, (factory, _) in OPTIMISERS.items():
        optimiser = factory()
        runs[name] = chunk(optimiser), optimiser.init(params)
        jax.block_until_ready(runs[name][0](params, runs[name][1], batches))  # type: ignore[no-untyped-call]
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, (run, state) in runs.items():
            begin = time.process_time()
            jax.block_until_ready(run(params, state, batches))  # type: ignore[no-untyped-call]
            times[name].append(1000 * (time.process_time() - begin) / STEPS)
    return {"width": width, "batch": batch, **{name: round(min(t), 3) for name, t in times.items()}}


def main() -> None:
    """Measure all shapes."""
    rows = []
    for width, batch in SHAPES:
        rows.append(measure(width, batch))
        print(rows[-1], flush=True)
        ROWS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

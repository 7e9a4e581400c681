"""Speed on this machine: a training step, the decoder, start-up and one slice, each beside what it is compared with."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.images import listed
from microfield.nn import evaluate as numpy_network
from microfield.nn.fit import loss_and_gradient
from microfield.nn.network import Params, init_folded
from microfield.nn.sampling import Batch
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

POINTS = 65536
"""Points of a training step; the decoder is timed on four times as many."""

WIDTHS = (32, 64, 96, 128)
"""Widths of the networks, which have six sine layers."""


def rows(folder: Path) -> list[tuple[str, Any]]:
    """Name of every measurement, and the function that makes its row; ``folder`` holds the images."""
    steps = [(f"speed/train/{w}", lambda w=w: training_step(w)) for w in WIDTHS]
    decodes = [(f"speed/decode/{w}", lambda w=w: decoding(w)) for w in WIDTHS]
    return [*steps, *decodes, ("speed/startup", startup), ("speed/slice", lambda: one_slice(folder))]


def side_by_side(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int = 9) -> dict[str, float]:
    """Time two callables in turn, after a call of each to warm up.

    Returns their median milliseconds (``ours_ms``, ``theirs_ms``), and of theirs over ours in the same round the median
    (``ratio``), the least (``low``) and the largest (``high``).
    """
    for warm in (ours, theirs):
        warm()
    pairs = []
    for _ in range(rounds):
        times = []
        for run in (ours, theirs):
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
        pairs.append(times)
    ratios = [b / a for a, b in pairs]
    return {
        "ours_ms": 1e3 * statistics.median(a for a, _ in pairs), "theirs_ms": 1e3 * statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios),
    }


def finished(values: Any) -> None:
    """Wait until jax has computed the values."""
    for leaf in jax.tree.leaves(values):
        leaf.block_until_ready()


def plain_forward(params: Params, x: jax.Array) -> jax.Array:
    """The same network as plain jax code: `jnp.sin`, and the whole batch at once."""
    for w, b in zip(params.weights[:-1], params.biases[:-1], strict=True):
        x = jnp.sin((x @ w + b) * params.frequency)
    return x @ params.weights[-1] + params.biases[-1]


def _inputs(width: int) -> tuple[Params, Batch]:
    """A random network of three coordinates, and random points."""
    rng = np.random.default_rng(0)
    params = init_folded(0, 3, width, 6, 1, np.full(3, 20.0))
    x = rng.uniform(-1, 1, (POINTS, 3)).astype(np.float32)
    y = rng.normal(size=(POINTS, 1)).astype(np.float32)
    return params, Batch(x, y, np.ones_like(y))


def training_step(width: int) -> dict[str, Any]:
    """Loss and gradient of a network of six sine layers on `POINTS` points, ours and plain jax."""
    params, batch = _inputs(width)
    ours = jax.jit(loss_and_gradient)
    plain = jax.jit(jax.value_and_grad(lambda p, b: jnp.mean(b.weight * (plain_forward(p, b.x) - b.y) ** 2)))
    return {"width": width, **side_by_side(
        lambda: finished(ours(params, batch)), lambda: finished(plain(params, batch)))}


def decoding(width: int) -> dict[str, Any]:
    """The NumPy decoder and compiled jax with `jnp.sin`, the same network on four times `POINTS` points."""
    from microfield.methods.coordinate.bitstream import assemble

    params, batch = _inputs(width)
    x = np.tile(batch.x, (4, 1))
    network = assemble([np.asarray(w) for w in params.weights], [np.asarray(b) for b in params.biases], np.float32(1))
    columns = np.ascontiguousarray(x.T)
    out = np.empty((1, len(x)), np.float32)

    def ours() -> None:
        numpy_network.evaluate(network, len(x), lambda a, b: columns[:, a:b],
                               lambda a, b, v: out.__setitem__((slice(None), slice(a, b)), v))

    plain = jax.jit(plain_forward)
    ready = jnp.asarray(x)
    return {"width": width, **side_by_side(ours, lambda: finished(plain(params, ready)))}


def startup() -> dict[str, Any]:
    """Seconds of whole processes: Python alone, ``import microfield``, and ``microfield info`` of a small file."""
    image = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    from microfield.image import Image

    data, _ = compress_to_bytes(Image(image, "YX"), Budget("ratio", 8), Settings(effort=0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mfield"
        path.write_bytes(data)
        commands = {"python": ["-c", "pass"], "import": ["-c", "import microfield"],
                    "info": ["-m", "microfield", "info", str(path)]}
        return {name: statistics.median(_process(arguments) for _ in range(7)) for name, arguments in commands.items()}


def _process(arguments: list[str]) -> float:
    """Seconds from the start to the end of a Python process."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def one_slice(folder: Path) -> dict[str, Any]:
    """Milliseconds of one Z plane of a stack and of the whole decode, and the plane's time over its share of the whole."""
    original = listed()["fluo3d_nuclei_confocal"].load(folder)
    data, _ = compress_to_bytes(original, Budget("ratio", 128), Settings(effort=0))
    f = open_file(data)
    planes = f.shape[0]
    timing = side_by_side(lambda: f[planes // 2], lambda: f[:], rounds=5)
    return {"planes": planes, "slice_ms": timing["ours_ms"], "full_ms": timing["theirs_ms"],
            "times_its_share": planes / timing["ratio"]}

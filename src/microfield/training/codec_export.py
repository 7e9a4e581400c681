"""A trained codec as the arrays that `microfield.methods.learned.model` codes with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.tables import frequencies
from microfield.methods.learned.form import Form, arrays_of
from microfield.methods.learned.layers import computed, run
from microfield.methods.learned.model import Model, packed
from microfield.methods.learned.stream import cheap
from microfield.methods.learned.symbols import SPREADS, rows_of
from microfield.models import Arrays
from microfield.training.codec_network import DENSITY, GAMMA_UNIT

TAIL = 2e-5
"""Probability beyond either end of a table."""
PRIOR = 40.0
"""Weight of the density that was learnt beside counts."""
LONGEST, FARTHEST = 300, 4000
"""Symbols of a table at most; where its ends are looked for."""
Params = Mapping[str, Any]
Floats = npt.NDArray[np.float32]


def exported(form: Form, params: Params, bands: Sequence[Sequence[Floats]] = ((),)) -> Arrays:
    """The arrays of a codec from its parameters, as `microfield.training.codec_network` has them.

    Parameters
    ----------
    form : Form
    params : mapping
    bands : sequences of inputs (batch, z, y, x, 1), one for every set of tables
        Images in the steps of one range of rates. Tables are those of the density that was learnt, weighed with what is counted.
    """
    units = {"gamma": GAMMA_UNIT, "beta": 1.0}
    plain = {name: np.asarray(array, np.float64) * units.get(name.rstrip("0123456789"), 1.0) for name, array in params.items()}
    plain = {name: array**2 if name.startswith(("beta", "gamma")) else array for name, array in plain.items()}
    _, sizes = observed(form, plain, [image for band in bands for image in band])
    tables = joined([density_tables(params, observed(form, plain, band)[0]) for band in bands])
    if not form.hyperprior:
        return packed(form, plain, tables, sizes)
    first = Model.of(b"", packed(form, plain, tables | joined([scaled_tables([])] * len(bands)), sizes))
    scaled = [scaled_tables([residuals(first, image) for image in band]) for band in bands]
    return packed(form, plain, tables | joined(scaled), sizes)


def joined(sets: Sequence[Arrays]) -> Arrays:
    """Sets of tables one behind the other."""
    return {name: np.concatenate([tables[name] for tables in sets]) for name in sets[0]}


def residuals(model: Model, image: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows of the tables of an image's latents, and what is coded with them."""
    latents = run(model.analysis, image)
    hyper = run(model.hyper_analysis, np.abs(latents) if model.form.absolute else latents)
    means, scales = model.predicted(np.rint(hyper).astype(np.int64), latents.shape)
    rows = rows_of(scales.ravel())
    return rows, cheap(latents.ravel() - means.ravel(), model.scaled, rows)


def scaled_tables(seen: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]) -> Arrays:
    """``scaled`` and ``scaled_count``: normal distributions as if seen `PRIOR` times, and the values that have been seen.

    A network's scales are not quite right, and latents not quite normal; tables that are counted make up for both.
    """
    from scipy.special import erfc

    rows = np.concatenate([r for r, _ in seen] or [np.zeros(0, np.int64)])
    values = np.concatenate([v for _, v in seen] or [np.zeros(0, np.int64)])
    found = []
    for row in range(SPREADS):
        scale = 2 ** (row / 4 - 4)
        reach = int(3 + 7 * scale)
        mine = np.clip(values[rows == row], -reach, reach)
        counts = np.bincount(mine + reach, minlength=2 * reach + 1)
        even = (counts + counts[::-1]) / 2
        edges = (np.arange(-reach, reach + 2) - 0.5) / (scale * 2**0.5)
        edges[0], edges[-1] = -np.inf, np.inf
        mass = np.diff(erfc(-edges)) / 2
        weights = np.rint((even + PRIOR * mass) / (len(mine) + PRIOR) * 2**40)
        found.append(frequencies(np.maximum(weights, 1).astype(np.int64)))
    return {"scaled": np.concatenate(found).astype(np.uint16), "scaled_count": np.array([len(one) for one in found], np.int16)}


def observed(form: Form, plain: Arrays, images: Iterable[Floats]) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.float64]]]:
    """What a codec does with images: its coded values, and about how large the inputs of its layers are.

    The values are the hyper-latents, rounded, or the latents where there are none: (n, channels). The sizes are root mean squares
    (inputs,) for every layer of the form, empty where there are no images.
    """
    layers = arrays_of(form, plain)
    found = [np.zeros((0, form.hyper_latents if form.hyperprior else form.latents), np.int64)]
    squares = [np.zeros(layer.inputs) for layer in form.layers]
    n = 0

    def through(network: str, values: Any) -> Any:
        for (number, _), layer in zip(form.network(network), computed(form, layers, network), strict=True):
            squares[number] += (values.astype(np.float64) ** 2).mean((0, 1, 2, 3))
            values = layer(values)
        return values

    for image in images:
        n += 1
        latents = through("analysis", image)
        coded = latents
        through("synthesis", latents.astype(np.float64))
        if form.hyperprior:
            coded = through("hyper_analysis", np.abs(latents) if form.absolute else latents)
            through("hyper_synthesis", coded.astype(np.float64))
        found.append(np.rint(coded).astype(np.int64).reshape(-1, coded.shape[-1]))
    return np.concatenate(found), [np.sqrt(s / n) for s in squares] if n else []


def cumulative(params: Params, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The cumulative density at values (channels, n); that of `microfield.training.codec_network.cumulative` in NumPy."""
    logits = values[:, None, :]
    for i in range(len(DENSITY) - 1):
        matrix = np.logaddexp(0, np.asarray(params[f"density_matrix{i}"], np.float64))
        logits = matrix @ logits + np.asarray(params[f"density_bias{i}"], np.float64)
        if i < len(DENSITY) - 2:
            logits = logits + np.tanh(np.asarray(params[f"density_factor{i}"], np.float64)) * np.tanh(logits)
    return np.asarray(1 / (1 + np.exp(-np.clip(logits[:, 0], -60, 60))))


def density_tables(params: Params, values: npt.NDArray[np.int64]) -> Arrays:
    """``table``, ``table_low`` and ``table_count``: whole numbers, made once and shipped.

    They are the factorised density as if it had been seen `PRIOR` times, and the ``values`` (n, channels) that have been seen.
    """
    channels = len(params["density_matrix0"])
    edges = np.arange(-FARTHEST, FARTHEST + 1) - 0.5
    below = cumulative(params, np.broadcast_to(edges, (channels, len(edges))))
    rows, lows = [], []
    for row, seen in zip(below, values.T, strict=True):
        counts = np.bincount(np.clip(seen, -FARTHEST, FARTHEST - 1) + FARTHEST, minlength=len(row) - 1)
        below_here = (row * PRIOR + np.concatenate([[0], np.cumsum(counts)])) / (PRIOR + len(seen))
        first = int(np.searchsorted(below_here, TAIL, side="right")) - 1
        last = int(np.searchsorted(below_here, 1 - TAIL))
        middle = int(np.searchsorted(below_here, 0.5))
        first, last = max(first, middle - LONGEST // 2, 0), min(last, middle + LONGEST // 2, len(below_here) - 2)
        first, last = min(first, middle - 2), max(last, middle + 2)
        # The first and the last symbol stand for all beyond them, too.
        mass = np.diff(np.concatenate([[0.0], below_here[first + 1 : last + 1], [1.0]]))
        rows.append(frequencies(np.maximum(1, np.rint(mass * 2**40)).astype(np.int64)))
        lows.append(first - FARTHEST)
    counts = np.array([len(row) for row in rows], np.int16)
    return {"table": np.concatenate(rows).astype(np.uint16), "table_low": np.array(lows, np.int16), "table_count": counts}

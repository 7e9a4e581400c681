"""A learned codec, ready to code: its layers and its tables, from the arrays of a file of weights.

Weights are whole numbers with a float16 step for every input of a layer, finer where that input is larger; normalisations are
stored as square roots in float16. ``form`` holds the form
(`microfield.methods.learned.form`), ``table``, ``table_low`` and ``table_count`` the tables of the hyper-latents, or of the latents
where there are none; ``scaled`` and ``scaled_count`` those of latents with a scale, around 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.methods.learned.form import NETWORKS, Form, arrays_of
from microfield.methods.learned.layers import Computed, Values, computed, run
from microfield.methods.learned.symbols import SPREADS, ValueTables
from microfield.models import DAMAGED, HASH, Arrays, fingerprint, load, named, unpack

KIND = "codec"
"""What `microfield.models` calls these networks."""
LARGEST_CARRIED = 1 << 24
"""Most bytes of weights that a file carries, and of each of their arrays unpacked."""
MOST_SETS = 16
"""Sets of tables at most."""
LEAST_SCALE = 0.11
"""Scales of latents are at least this."""
ROUNDING, LARGEST_WEIGHT = 1 / 96, 32000
"""A rounded weight changes a sum by up to half of this, about; the largest whole number of a weight."""


@dataclass(frozen=True)
class Model:
    """A learned codec.

    Attributes
    ----------
    key : four bytes of the hash of its arrays
    form : Form
    analysis, synthesis, hyper_analysis, hyper_synthesis : layers, in their order
    tables : of the hyper-latents, or of the latents where there are none
    scaled : of latents with a scale; as ``tables`` where there are none
    sets : how many sets of tables there are, one behind the other: each is for parts of other rates
    """

    key: bytes
    form: Form
    analysis: list[Computed]
    synthesis: list[Computed]
    hyper_analysis: list[Computed]
    hyper_synthesis: list[Computed]
    tables: ValueTables
    scaled: ValueTables
    sets: int

    @classmethod
    def of(cls, key: bytes, arrays: Mapping[str, npt.NDArray[Any]]) -> Model:
        """A codec from its arrays; FormatError where they are not those of one."""
        try:
            form = Form.of(arrays["form"])
            tables = scaled = ValueTables.of(arrays["table"], arrays["table_low"], arrays["table_count"])
            if form.hyperprior:
                counts = np.asarray(arrays["scaled_count"], np.int64)
                scaled = ValueTables.of(arrays["scaled"], -(counts // 2), counts)
        except KeyError as missing:
            raise FormatError(f"a learned codec lacks the array {missing.args[0]}.") from None
        sets, odd = divmod(tables.tables.n_tables, form.hyper_latents if form.hyperprior else form.latents)
        if odd or not 1 <= sets <= MOST_SETS or (form.hyperprior and scaled.tables.n_tables != sets * SPREADS):
            raise FormatError("a learned codec has not as many tables as latents and scales.")
        found = arrays_of(form, unpacked(form, arrays))
        analysis, synthesis, inward, outward = (computed(form, found, name) for name in NETWORKS)
        return cls(key, form, analysis, synthesis, inward, outward, tables, scaled, sets)

    def predicted(self, hyper: npt.NDArray[np.int64], shape: tuple[int, ...]) -> tuple[Values, Values]:
        """Means and scales, float64 of ``shape`` (batch, z, y, x, latents), from hyper-latents; exact."""
        found = run(self.hyper_synthesis, hyper.astype(np.float64))[:, : shape[1], : shape[2], : shape[3]]
        scales = np.maximum(found[..., : self.form.latents], LEAST_SCALE)
        return (found[..., self.form.latents :] if self.form.predicts_means else np.zeros_like(scales)), scales

    def hyper_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the hyper-latents of latents of ``shape``."""
        smaller = self.form.reduction("hyper_analysis")
        return (shape[0], *(-(-n // s) for n, s in zip(shape[1:4], smaller, strict=True)), self.form.hyper_latents)


@lru_cache(maxsize=8)
def shipped(key: bytes) -> Model:
    """The codec that is installed under these four bytes; FormatError where there is none."""
    return Model.of(key, load(KIND, key))


@lru_cache(maxsize=2)
def carried(data: bytes) -> Model:
    """The codec whose weights a file carries; FormatError where they are none."""
    try:
        arrays = unpack(data, LARGEST_CARRIED)
    except DAMAGED as error:
        raise FormatError(f"the weights that this file carries cannot be read ({type(error).__name__}).") from None
    return Model.of(fingerprint(arrays)[:HASH], arrays)


def shipped_name(name: str) -> bytes:
    """The four bytes of an installed codec's name."""
    return named(KIND, name)


def packed(form: Form, params: Mapping[str, npt.NDArray[Any]], tables: Mapping[str, npt.NDArray[Any]],
           sizes: Sequence[npt.NDArray[Any]] = ()) -> Arrays:
    """The arrays of a file of weights.

    Parameters
    ----------
    form : Form
    params : ``weight0``, ``bias0``, ``beta0``, ``gamma0`` ..., float arrays as `unpacked` gives them
    tables : ``table``, ``table_low``, ``table_count``, and with a hyperprior ``scaled``, ``scaled_count``
    sizes : about how large the inputs of every layer are, arrays (inputs,); 1 where not given
    """
    arrays: Arrays = {"form": form.rows(), **{name: np.asarray(a) for name, a in tables.items()}}
    for i, layer in enumerate(form.layers):
        weight = np.asarray(params[f"weight{i}"], np.float64)
        size = np.asarray(sizes[i] if len(sizes) else np.ones(layer.inputs), np.float64)
        least = np.abs(weight).max((0, 1, 2, 4)) / LARGEST_WEIGHT
        step = np.maximum(np.maximum(ROUNDING / np.maximum(size, 0.1), least * 1.001), 1e-6).astype(np.float16)
        whole = np.rint(weight / step.astype(np.float64)[:, None])
        arrays[f"weight{i}"] = np.clip(whole, -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int16)
        arrays[f"scale{i}"] = step
        arrays[f"bias{i}"] = np.asarray(params[f"bias{i}"], np.float32)
        if layer.activation in ("gdn", "igdn"):
            for name in ("beta", "gamma"):
                arrays[f"{name}{i}"] = np.sqrt(np.asarray(params[f"{name}{i}"], np.float64)).astype(np.float16)
    return arrays


def unpacked(form: Form, arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Weights as they are computed with, from the arrays of a file."""
    found: Arrays = {}
    for i in range(len(form.layers)):
        weight, scale, bias = (arrays.get(f"{name}{i}") for name in ("weight", "scale", "bias"))
        if weight is None or scale is None or bias is None or weight.shape[-2:-1] != scale.shape:
            raise FormatError(f"a learned codec lacks the weights of layer {i}.")
        found[f"weight{i}"] = weight.astype(np.float32) * scale.astype(np.float32)[:, None]
        found[f"bias{i}"] = bias
        for name in ("beta", "gamma"):
            if f"{name}{i}" in arrays:
                found[f"{name}{i}"] = arrays[f"{name}{i}"].astype(np.float32) ** 2
    return found

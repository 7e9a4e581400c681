"""Checkpoints of CompressAI as codecs of ours: ``bmshj2018-factorized``, ``bmshj2018-hyperprior`` and ``mbt2018-mean``.

These have the layers of Balle et al. 2018 and Minnen et al. 2018 for three colours and values of 0 to 1. A grey image is shown to
them three times, and what they decode to is averaged. Autoregressive models (mbt2018, cheng2020) are not read: their decoders go
voxel by voxel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.methods.learned.form import Activation, Form, Layer
from microfield.methods.learned.model import packed
from microfield.models import Arrays
from microfield.training.codec_export import density_tables, scaled_tables
from microfield.training.codec_network import DENSITY

Tensors = Mapping[str, npt.NDArray[Any]]

UNIT = 1 / 255
"""One unit of input of ours in theirs: a grey level of 8 bits."""
PRECISE = 1e4
"""Weights are rounded as if inputs were so large: to 16 bits of the largest one."""
PEDESTAL = 2.0**-36
"""What their normalisations add to beta and gamma before they take the root (their ``NonNegativeParametrizer``)."""
TRANSFORMS: tuple[tuple[str, str, Activation], ...] = (("g_a", "analysis", "gdn"), ("g_s", "synthesis", "igdn"))


def read_compressai(tensors: Tensors, name: str) -> tuple[Form, Arrays]:
    """The form and the arrays of a checkpoint's tensors.

    Parameters
    ----------
    tensors : mapping of CompressAI's names to arrays, as `microfield.perceptual.torch_file.read_tensors` gives them
    name : str
        What messages call the file.

    Raises
    ------
    InputError
        It is a checkpoint of another architecture; the message says what is different.
    """
    for key in tensors:
        if key.startswith(("context_prediction", "entropy_parameters")):
            raise InputError(f"{name} is an autoregressive model ({key}), which is not read; take bmshj2018-factorized, "
                             f"bmshj2018-hyperprior or mbt2018-mean.")
        if ".conv1." in key or ".conv_a." in key:
            raise InputError(f"{name} has residual blocks ({key}), as the models of cheng2020 do, which are not read.")
    layers: list[Layer] = []
    params: dict[str, npt.NDArray[Any]] = {}
    for prefix, network, activation in TRANSFORMS:
        _transform(tensors, name, prefix, network, activation, (layers, params))
    hyper = any(key.startswith("h_a.") for key in tensors)
    means = hyper and _tensor(tensors, "h_s.4.weight", name).shape[0] == 2 * layers[3].outputs
    if hyper:
        _hyper(tensors, name, means, (layers, params))
    form = Form(tuple(layers), absolute=hyper and not means)
    density = _density(tensors, name, form.hyper_latents if hyper else form.latents)
    tables = density_tables(density, np.zeros((0, len(density["density_matrix0"])), np.int64))
    sizes = [np.full(layer.inputs, PRECISE) for layer in layers]
    return form, packed(form, params, tables | (scaled_tables([]) if hyper else {}), sizes)


def _transform(tensors: Tensors, name: str, prefix: str, network: str, activation: Activation,
               found: tuple[list[Layer], dict[str, npt.NDArray[Any]]]) -> None:
    """The four convolutions of a transform, 5 x 5 and stride 2, with three normalisations between them."""
    layers, params = found
    transposed = network == "synthesis"
    for i in range(4):
        number = len(layers)
        _convolution(tensors, name, f"{prefix}.{2 * i}", (network, (2, 2), "none" if i == 3 else activation, transposed), found)
        if i < 3:
            beta, gamma = (_tensor(tensors, f"{prefix}.{2 * i + 1}.{part}", name) for part in ("beta", "gamma"))
            width = layers[number].outputs
            if beta.shape != (width,) or gamma.shape != (width, width):
                raise InputError(f"{name} has {prefix}.{2 * i + 1}.gamma of shape {gamma.shape} instead of {(width, width)}.")
            # They hold square roots of what is used, with a lower bound.
            params[f"beta{number}"] = np.maximum(np.maximum(beta, (1e-6 + PEDESTAL) ** 0.5) ** 2.0 - PEDESTAL, 0)
            params[f"gamma{number}"] = np.maximum(np.maximum(gamma, PEDESTAL**0.5) ** 2.0 - PEDESTAL, 0)
    first, last = len(layers) - 4, len(layers) - 1
    if transposed:
        params[f"weight{last}"] = params[f"weight{last}"] / UNIT
        params[f"bias{last}"] = params[f"bias{last}"] / UNIT - 0.5 / UNIT
    else:
        # Inputs of ours are around 0: theirs are 0.5 + UNIT times ours.
        bias = 0.5 * params[f"weight{first}"].sum((0, 1, 2, 3))
        params[f"bias{first}"] = params[f"bias{first}"] + bias
        params[f"weight{first}"] = params[f"weight{first}"] * UNIT


def _hyper(tensors: Tensors, name: str, means: bool, found: tuple[list[Layer], dict[str, npt.NDArray[Any]]]) -> None:
    """The hyper-transforms: three convolutions and their rectifiers on either side."""
    inside: Activation = "leaky" if means else "relu"
    for i, stride in enumerate((1, 2, 2)):
        _convolution(tensors, name, f"h_a.{2 * i}", ("hyper_analysis", (stride,) * 2, "none" if i == 2 else inside, False), found)
    for i, stride in enumerate((2, 2, 1)):
        last: Activation = "none" if means else "relu"
        kind = ("hyper_synthesis", (stride, stride), last if i == 2 else inside, stride > 1)
        _convolution(tensors, name, f"h_s.{2 * i}", kind, found)


def _convolution(tensors: Tensors, name: str, key: str, kind: tuple[str, tuple[int, int], Activation, bool],
                 found: tuple[list[Layer], dict[str, npt.NDArray[Any]]]) -> None:
    """One layer: its weights in our order of axes (z, y, x, inputs, outputs)."""
    layers, params = found
    network, stride, activation, transposed = kind
    weight, bias = _tensor(tensors, f"{key}.weight", name), _tensor(tensors, f"{key}.bias", name)
    kernel = 3 if network.startswith("hyper") and stride == (1, 1) else 5
    if weight.ndim != 4 or weight.shape[2:] != (kernel, kernel):
        raise InputError(f"{name} has {key}.weight of shape {weight.shape}, whose kernel is not {kernel} x {kernel}.")
    ordered = weight.transpose(2, 3, 0, 1) if transposed else weight.transpose(2, 3, 1, 0)
    inputs, outputs = ordered.shape[2:]
    before = layers[-1] if layers and layers[-1].network == network else None
    if before is not None and before.outputs != inputs:
        raise InputError(f"{name} has {key}.weight for {inputs} channels, but the layer before it gives {before.outputs}.")
    if bias.shape != (outputs,):
        raise InputError(f"{name} has {key}.bias of shape {bias.shape} instead of {(outputs,)}.")
    params[f"weight{len(layers)}"], params[f"bias{len(layers)}"] = ordered[None].astype(np.float64), bias.astype(np.float64)
    layers.append(Layer(network, (1, kernel, kernel), (1, *stride), inputs, outputs, activation, transposed))


def _density(tensors: Tensors, name: str, channels: int) -> dict[str, npt.NDArray[Any]]:
    """The factorised density, whose parameters have our shapes already; CompressAI before 1.2 names them alike."""
    found = {}
    for i in range(len(DENSITY) - 1):
        for kind in ("matrix", "bias", "factor")[: 3 if i < len(DENSITY) - 2 else 2]:
            array = _tensor(tensors, f"entropy_bottleneck._{kind}{i}", name)
            shape = (channels, DENSITY[i + 1], DENSITY[i] if kind == "matrix" else 1)
            if array.shape != shape:
                raise InputError(f"{name} has entropy_bottleneck._{kind}{i} of shape {array.shape} instead of {shape}.")
            found[f"density_{kind}{i}"] = array
    return found


def _tensor(tensors: Tensors, key: str, name: str) -> npt.NDArray[Any]:
    if key not in tensors:
        raise InputError(f"{name} is no bmshj2018-factorized, bmshj2018-hyperprior or mbt2018-mean of CompressAI: it has no {key}.")
    array = tensors[key]
    if not np.isfinite(array.astype(np.float64)).all():
        raise InputError(f"{name} has values in {key} that are no numbers.")
    return array

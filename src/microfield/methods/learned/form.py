"""The form of a learned codec: which layers its networks have. Training, encoding and decoding all read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError

NETWORKS = ("analysis", "synthesis", "hyper_analysis", "hyper_synthesis")
"""Image to latents, and back; latents to hyper-latents, and these to means and scales of the latents."""

Activation = Literal["none", "gdn", "igdn", "leaky", "relu"]
ACTIVATIONS: tuple[Activation, ...] = ("none", "gdn", "igdn", "leaky", "relu")
"""What follows a layer's sums: nothing, generalised divisive normalisation (GDN, Balle et al. 2016) or its approximate inverse, a
rectifier."""

LEAK = np.float32(0.01)
"""Slope of the leaky rectifier below 0."""

MOST_LAYERS, MOST_WIDTH, LARGEST_KERNEL = 32, 1024, 9
"""Bounds on what a form may claim."""

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Layer:
    """A convolution along z, y and x, or a transposed one, and its activation.

    Attributes
    ----------
    network : one of `NETWORKS`
    kernel, stride : whole numbers along z, y and x; kernels are odd
    inputs, outputs : numbers of channels
    activation : one of `ACTIVATIONS`
    transposed : True makes extents larger by the stride
    """

    network: str
    kernel: Triple
    stride: Triple
    inputs: int
    outputs: int
    activation: Activation
    transposed: bool = False


@dataclass(frozen=True)
class Form:
    """All layers of a codec, network after network.

    Attributes
    ----------
    layers : tuple of Layer
    absolute : True where the hyper-analysis sees the latents' magnitudes (the scale-only hyperprior of Balle et al. 2018)
    """

    layers: tuple[Layer, ...]
    absolute: bool = False

    def network(self, name: str) -> list[tuple[int, Layer]]:
        """The layers of one network, each with its number in the form."""
        return [(i, layer) for i, layer in enumerate(self.layers) if layer.network == name]

    @property
    def hyperprior(self) -> bool:
        """Whether there are hyper-latents."""
        return bool(self.network("hyper_synthesis"))

    @property
    def inputs(self) -> int:
        """Channels that the analysis sees: 1, or the 3 colours."""
        return self.network("analysis")[0][1].inputs

    @property
    def latents(self) -> int:
        """Channels of the latents."""
        return self.network("analysis")[-1][1].outputs

    @property
    def hyper_latents(self) -> int:
        """Channels of the hyper-latents."""
        return self.network("hyper_analysis")[-1][1].outputs

    @property
    def predicts_means(self) -> bool:
        """Whether the hyper-synthesis gives means as well as scales."""
        return self.network("hyper_synthesis")[-1][1].outputs == 2 * self.latents

    def reduction(self, name: str = "analysis") -> Triple:
        """How many times smaller the outputs of a network are, along z, y and x."""
        found = [1, 1, 1]
        for _, layer in self.network(name):
            found = [n * s for n, s in zip(found, layer.stride, strict=True)]
        return found[0], found[1], found[2]

    @property
    def volumetric(self) -> bool:
        """Whether a layer looks along z."""
        return any(layer.kernel[0] > 1 for layer in self.layers)

    # -- as an array beside the weights ----------------------------------------------------------------------------------

    def rows(self) -> npt.NDArray[np.int16]:
        """The form as an array (layers, 11), which is stored with the weights."""
        return np.array([(NETWORKS.index(a.network), *a.kernel, *a.stride, a.inputs, a.outputs,
                          ACTIVATIONS.index(a.activation), a.transposed | self.absolute << 1) for a in self.layers], np.int16)

    @classmethod
    def of(cls, rows: npt.NDArray[Any]) -> Form:
        """The form that `rows` gave, checked.

        Raises
        ------
        FormatError
            The array is no form of a codec.
        """
        wrong = FormatError("a learned codec has a form that this version of microfield cannot compute.")
        if rows.ndim != 2 or rows.shape[1] != 11 or not 2 <= len(rows) <= MOST_LAYERS or rows.dtype.kind not in "iu":
            raise wrong
        layers = []
        for row in rows.tolist():
            kernel, stride, (inputs, outputs) = tuple(row[1:4]), tuple(row[4:7]), row[7:9]
            fits = (all(1 <= k <= LARGEST_KERNEL and k % 2 for k in kernel) and all(1 <= s <= 4 for s in stride)
                    and 1 <= inputs <= MOST_WIDTH and 1 <= outputs <= MOST_WIDTH)
            if not fits or not 0 <= row[0] < len(NETWORKS) or not 0 <= row[9] < len(ACTIVATIONS) or not 0 <= row[10] < 4:
                raise wrong
            layers.append(Layer(NETWORKS[row[0]], kernel, stride, inputs, outputs, ACTIVATIONS[row[9]], bool(row[10] & 1)))
        form = cls(tuple(layers), bool(rows[0, 10] & 2))
        if not form._fits_together():
            raise wrong
        return form

    def _fits_together(self) -> bool:
        """Whether every layer takes what the one before it gives, and the networks fit one another."""
        networks = [[layer for _, layer in self.network(name)] for name in NETWORKS]
        chained = all(a.outputs == b.inputs for net in networks for a, b in pairwise(net))
        analysis, synthesis, inward, outward = networks
        if not chained or not analysis or not synthesis or bool(inward) != bool(outward):
            return False
        upward = all(a.transposed or a.stride == (1, 1, 1) for a in (*synthesis, *outward))
        downward = not any(a.transposed for a in (*analysis, *inward))
        ends = analysis[0].inputs in (1, 3) and synthesis[-1].outputs == analysis[0].inputs
        ends = ends and synthesis[0].inputs == analysis[-1].outputs and self.reduction() == self.reduction("synthesis")
        if inward:
            ends = ends and inward[0].inputs == analysis[-1].outputs and outward[0].inputs == inward[-1].outputs
            ends = ends and outward[-1].outputs in (analysis[-1].outputs, 2 * analysis[-1].outputs)
            ends = ends and self.reduction("hyper_analysis") == self.reduction("hyper_synthesis")
        return upward and downward and ends


def codec(widths: tuple[int, ...], kernels: tuple[int, ...], hyper: tuple[int, int] | None = None, along_z: tuple[int, ...] = (),
          ) -> Form:
    """The form of one of our own codecs.

    Parameters
    ----------
    widths : outputs of the layers of the analysis, each of stride 2 along y and x; the last are the latents
    kernels : their extents along y and x
    hyper : widths of the hyper-latents and of the layer before the means and scales; None: a factorised prior
    along_z : strides along z of the layers of the analysis, whose kernels then have extent 3 along z where it is above 1; none:
        planes are coded one by one
    """
    deep = along_z or (1,) * len(widths)
    layers: list[Layer] = []
    inputs = (1, *widths[:-1])
    last = len(widths) - 1
    for i, (m, n, k, s) in enumerate(zip(inputs, widths, kernels, deep, strict=True)):
        layers.append(Layer("analysis", (3 if s > 1 else 1, k, k), (s, 2, 2), m, n, "none" if i == last else "gdn"))
    for i, layer in enumerate(reversed(layers)):
        layers.append(Layer("synthesis", layer.kernel, layer.stride, layer.outputs, layer.inputs,
                            "none" if i == last else "igdn", transposed=True))
    if hyper is not None:
        n, wide = hyper
        z = 3 if along_z else 1
        flat, half = (1, 1, 1), (1, 2, 2)
        layers += [Layer("hyper_analysis", (z, 3, 3), flat, widths[-1], n, "leaky"),
                   Layer("hyper_analysis", (1, 3, 3), half, n, n, "leaky"),
                   Layer("hyper_analysis", (1, 3, 3), half, n, n, "none"),
                   Layer("hyper_synthesis", (1, 3, 3), half, n, n, "leaky", transposed=True),
                   Layer("hyper_synthesis", (1, 3, 3), half, n, wide, "leaky", transposed=True),
                   Layer("hyper_synthesis", (1, 1, 1), flat, wide, 2 * widths[-1], "none")]
    return Form(tuple(layers))


def arrays_of(form: Form, arrays: Mapping[str, npt.NDArray[Any]]) -> list[dict[str, npt.NDArray[np.float32]]]:
    """The arrays of every layer, float32, checked: ``weight`` (z, y, x, inputs, outputs), ``bias``, and ``beta`` and ``gamma``.

    Raises
    ------
    FormatError
        One is missing, or of another shape than the form says.
    """
    found = []
    for i, layer in enumerate(form.layers):
        shapes: dict[str, tuple[int, ...]] = {"weight": (*layer.kernel, layer.inputs, layer.outputs), "bias": (layer.outputs,)}
        if layer.activation in ("gdn", "igdn"):
            shapes |= {"beta": (layer.outputs,), "gamma": (layer.outputs, layer.outputs)}
        mine = {}
        for name, shape in shapes.items():
            array = arrays.get(f"{name}{i}")
            if array is None or array.shape != shape:
                raise FormatError(f"a learned codec lacks the array {name}{i} of shape {shape}.")
            mine[name] = np.ascontiguousarray(array, np.float32)
        found.append(mine)
    return found

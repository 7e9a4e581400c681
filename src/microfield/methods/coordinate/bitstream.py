"""What siren and inif store for one part: the shape of the network, the intensity mapping and the weights.

Declared here once, for writing and for reading; docs/format.md describes the same bytes.

    byte 0      sine layers (0..15), + 16 for the published configuration (float32 weights)
    byte 1      output axes, a bit per letter of TCZYXS
    varint      width of the sine layers (absent without sine layers)
    mapping     see `microfield.methods.coordinate.mapping`; published: scale and offset as two float32
    weights     quantised: a step byte per group, then `microfield.coding.weights`;
                published: float32 weights and biases, layer by layer, then the frequency

Groups, in order: first layer, each further sine layer, output layer, biases of the sine layers, output biases (each
tensor in C order, fan-in major).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.coding.varint import decode_one, encode_one
from microfield.coding.weights import decode as decode_weights
from microfield.coding.weights import encode as encode_weights
from microfield.coding.weights import step_size
from microfield.errors import FormatError, InputError
from microfield.image import AXES, Layout
from microfield.methods.coordinate.mapping import Mapping
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.evaluate import SineNetwork
from microfield.nn.sine import RADIANS_TO_TURNS

Float32 = npt.NDArray[np.float32]

PUBLISHED_FLAG = 16
"""Added to the number of sine layers in the published configuration."""

PUBLISHED_NUMBERS = 3
"""Numbers beside the weights in the published configuration: scale, offset and frequency."""

MAX_WEIGHTS_PER_BYTE, FREE_WEIGHTS = 64, 4096
"""A part of n bytes cannot claim more than 64 n + 4096 weights: this bounds memory before anything is allocated."""


BYTES_PER_WEIGHT = 100
"""Memory that decoding a weight takes, about."""

FREE_BYTES = 1 << 25
"""Memory that a network may take for itself and for its evaluation whatever the limit of a read (32 MiB)."""


@dataclass(frozen=True)
class Shape:
    """Shape of a network: ``depth`` sine layers of ``width``, then a linear layer; without sine layers, constants."""

    inputs: int
    width: int
    depth: int
    outputs: int

    @property
    def fans(self) -> list[tuple[int, int]]:
        """Inputs and outputs of every layer, the linear one last."""
        dims = [self.inputs] + [self.width] * self.depth + [self.outputs]
        return list(itertools.pairwise(dims)) if self.depth else [(0, self.outputs)]

    @property
    def n_weights(self) -> int:
        """Weights and biases together."""
        return sum(a * b + b for a, b in self.fans)

    @property
    def group_sizes(self) -> list[int]:
        """Weights in every group of the bitstream."""
        matrices = [a * b for a, b in self.fans] if self.depth else []
        return [*matrices, *([self.depth * self.width] if self.depth else []), self.outputs]


@dataclass(frozen=True)
class Quantised:
    """Quantised folded weights: integers of every group (see `Shape.group_sizes`), flat, and its step code, 0 to 255."""

    shape: Shape
    groups: tuple[npt.NDArray[np.int64], ...]
    steps: tuple[int, ...]

    def network(self) -> SineNetwork:
        """The network these weights make."""
        values = [g.astype(np.float32) * step_size(s) for g, s in zip(self.groups, self.steps, strict=True)]
        if not self.shape.depth:
            return SineNetwork((), values[0].reshape(-1, 1))
        fans = self.shape.fans
        matrices = [v.reshape(fan) for v, fan in zip(values, fans, strict=False)]
        biases = [*values[-2].reshape(self.shape.depth, self.shape.width), values[-1]]
        return assemble(matrices, biases, np.float32(1))


def assemble(matrices: list[Float32], biases: list[Float32], frequency: np.float32) -> SineNetwork:
    """A `SineNetwork` from matrices of shape (inputs, outputs) and biases; its sines are sin(frequency (x W + b))."""
    factor = np.float32(frequency * RADIANS_TO_TURNS)
    layers = [
        np.ascontiguousarray(np.concatenate([w, b[None]], 0).T.astype(np.float32))
        for w, b in zip(matrices, biases, strict=True)
    ]
    return SineNetwork(tuple(layer * factor for layer in layers[:-1]), layers[-1])


@dataclass(frozen=True)
class Published:
    """Unquantised weights of the published configuration; grey value = output * scale + offset."""

    shape: Shape
    matrices: tuple[Float32, ...]
    biases: tuple[Float32, ...]
    frequency: np.float32
    scale: np.float32
    offset: np.float32

    def network(self) -> SineNetwork:
        """The network these weights make."""
        return assemble(list(self.matrices), list(self.biases), self.frequency)


def output_mask(output_axes: str) -> int:
    """Axis letters as bits: bit 0 for T, then CZYXS."""
    return sum(1 << AXES.index(axis) for axis in output_axes)


def pack_quantised(quantised: Quantised, output_axes: str, mapping: Mapping, layout: Layout) -> bytes:
    """Bytes of a part in the default configuration."""
    shape = quantised.shape
    head = bytes((shape.depth, output_mask(output_axes)))
    if shape.depth:
        head += encode_one(shape.width)
    return head + mapping.pack(layout.dtype) + bytes(quantised.steps) + encode_weights(quantised.groups)


def pack_published(net: Published, output_axes: str) -> bytes:
    """Bytes of a part in the published configuration."""
    head = bytes((net.shape.depth | PUBLISHED_FLAG, output_mask(output_axes))) + encode_one(net.shape.width)
    arrays = [np.asarray([net.scale, net.offset], "<f4")]
    for w, b in zip(net.matrices, net.biases, strict=True):
        arrays += [w.astype("<f4").ravel(), b.astype("<f4")]
    arrays.append(np.asarray([net.frequency], "<f4"))
    return head + np.concatenate(arrays).tobytes()


def published_bytes(shape: Shape) -> int:
    """Bytes that `pack_published` gives for a network of this shape."""
    return 2 + len(encode_one(shape.width)) + 4 * (shape.n_weights + PUBLISHED_NUMBERS)


@dataclass(frozen=True)
class UnpackedPart:
    """A part, unpacked: the network, its coordinates and its intensity mapping.

    Grey value = output * ``scale`` + ``offset``, clipped to ``low``..``high``; all four have the shape (channels,).
    """

    coordinates: CoordinateMap
    network: SineNetwork
    scale: Float32
    offset: Float32
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def unpack(data: bytes, layout: Layout, working: int | None = None) -> UnpackedPart:
    """Open the bytes of a part of this layout.

    Parameters
    ----------
    data : bytes
    layout : Layout
    working : int, optional
        Bytes of memory that this may take; `FREE_BYTES` are never too many.

    Raises
    ------
    FormatError
        They do not describe a network for it.
    InputError
        The network needs more memory.
    """
    if len(data) < 2:
        raise FormatError("the part is too short to hold a network.")
    depth, published, reserved = data[0] & 15, bool(data[0] & PUBLISHED_FLAG), data[0] >> 5
    if reserved or data[1] >> len(AXES) or (published and not depth):
        raise FormatError("the part describes a network this version does not know.")
    output_axes = "".join(axis for bit, axis in enumerate(AXES) if data[1] >> bit & 1)
    if not set(output_axes) <= set(layout.axes) - set("YX"):
        raise FormatError(f"the part has outputs along {output_axes!r}, which an image with axes {layout.axes} has not.")
    coordinates = CoordinateMap(layout, output_axes)
    width, at = decode_one(data, 2) if depth else (0, 2)
    shape = Shape(len(coordinates.inputs), width, depth, coordinates.n_outputs)
    if (depth and not width) or shape.n_weights > FREE_WEIGHTS + MAX_WEIGHTS_PER_BYTE * len(data):
        raise FormatError(f"{len(data)} bytes cannot hold a network of {depth} layers of {width}.")
    needed = shape.n_weights * BYTES_PER_WEIGHT
    if working is not None and needed > max(working, FREE_BYTES):
        raise InputError(f"a network of {shape.n_weights:,} weights needs {needed:,} bytes of memory, more than the {working:,} "
                         f"allowed; open the file with max_read_bytes={needed}.")
    if published:
        return _unpack_published(data[at:], shape, coordinates)
    mapping, at = Mapping.unpack(data, at, layout.channels, layout.dtype)
    n_groups = len(shape.group_sizes)
    if at + n_groups > len(data):
        raise FormatError("the weights are cut short.")
    steps = tuple(data[at : at + n_groups])
    groups = decode_weights(data[at + n_groups :], shape.group_sizes)
    network = Quantised(shape, tuple(groups), steps).network()
    return UnpackedPart(coordinates, network, mapping.scale, mapping.offset, mapping.minimum, mapping.maximum)


def _unpack_published(data: bytes, shape: Shape, coordinates: CoordinateMap) -> UnpackedPart:
    """A part of the published configuration from what follows its head."""
    expected = 4 * (shape.n_weights + PUBLISHED_NUMBERS)
    if len(data) != expected:
        raise FormatError(f"the part holds {len(data)} bytes of weights where {expected} belong.")
    numbers = np.frombuffer(data, "<f4").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise FormatError("the weights hold values that are not finite.")
    matrices, biases, at = [], [], 2  # Scale and offset come before the weights.
    for a, b in shape.fans:
        matrices.append(numbers[at : at + a * b].reshape(a, b))
        biases.append(numbers[at + a * b : at + a * b + b])
        at += a * b + b
    channels, dtype = coordinates.layout.channels, coordinates.layout.dtype
    info = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    with np.errstate(over="ignore"):
        network = assemble(matrices, biases, numbers[-1])
    if not all(np.isfinite(layer).all() for layer in (*network.hidden, network.output)):
        raise FormatError("the weights times the frequency are not finite.")
    # Views of one number: a few bytes may claim any number of channels.
    scale, offset, low, high = (np.broadcast_to(n, channels) for n in (numbers[0], numbers[1], float(info.min), float(info.max)))
    return UnpackedPart(coordinates, network, scale, offset, low, high)

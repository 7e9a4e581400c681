"""What siren and inif store for one part: the shape of the network, the intensity mapping and the weights.

Declared here once, for writing and for reading; docs/format.md describes the same bytes.

    byte 0      sine layers (0..15), + 16 for the published configuration (float32 weights), + 32 with a pyramid of latent grids
    byte 1      output axes, a bit per letter of TCZYXS
    varint      width of the sine layers (absent without sine layers)
    pyramid     where there is one: levels + 16 (features - 1), a byte per coordinate axis (its exponent + 16), the length of the
                latents as a varint, the latents (`microfield.coding.latents`)
    mapping     see `microfield.methods.coordinate.mapping`; published: scale and offset as two float32
    weights     quantised: a step byte per group, then `microfield.coding.weights`;
                published: float32 weights and biases, layer by layer, then the frequency

Groups, in order: first layer, each further sine layer, output layer, biases of the sine layers, output biases, and with a pyramid
what its features add to the first layer and to the output (each tensor in C order, fan-in major).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.coding.latents import decode as decode_latents
from microfield.coding.latents import encode as encode_latents
from microfield.coding.varint import decode_one, encode_one
from microfield.coding.weights import decode as decode_weights
from microfield.coding.weights import encode as encode_weights
from microfield.coding.weights import step_size
from microfield.errors import FormatError, InputError
from microfield.image import AXES, Layout
from microfield.methods.coordinate.mapping import Mapping
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.evaluate import SineNetwork
from microfield.nn.pyramid import FINEST, Pyramid
from microfield.nn.sine import RADIANS_TO_TURNS

Float32 = npt.NDArray[np.float32]

PUBLISHED_FLAG = 16
"""Added to the number of sine layers in the published configuration."""

PUBLISHED_NUMBERS = 3
"""Numbers beside the weights in the published configuration: scale, offset and frequency."""

PYRAMID_FLAG = 32
"""Added to the number of sine layers where there is a pyramid of latent grids."""

PYRAMID_AXES = "TZYX"
"""Coordinate axes that a pyramid can have: channels are outputs then."""

EXPONENT_OFFSET = 16
"""Added to the exponents of a pyramid."""

MAX_WEIGHTS_PER_BYTE, FREE_WEIGHTS = 64, 4096
"""A part of n bytes cannot claim more than 64 n + 4096 weights: this bounds memory before anything is allocated."""

MAX_LATENTS_PER_BYTE = 256
"""Nor can it claim more than 256 n + 4096 latents."""


BYTES_PER_WEIGHT, BYTES_PER_LATENT = 100, 120
"""Memory that decoding a weight or a latent takes, about."""

FREE_BYTES = 1 << 25
"""Memory that a network may take for itself and for its evaluation whatever the limit of a read (32 MiB)."""


@dataclass(frozen=True)
class Shape:
    """Shape of a network: ``depth`` sine layers of ``width``, then a linear layer; without sine layers, constants.

    ``features`` is the number of features of a pyramid that it sees.
    """

    inputs: int
    width: int
    depth: int
    outputs: int
    features: int = 0

    @property
    def fans(self) -> list[tuple[int, int]]:
        """Inputs and outputs of every layer, the linear one last."""
        dims = [self.inputs] + [self.width] * self.depth + [self.outputs]
        return list(itertools.pairwise(dims)) if self.depth else [(0, self.outputs)]

    @property
    def n_weights(self) -> int:
        """Weights and biases together."""
        return sum(a * b + b for a, b in self.fans) + self.features * (self.width + self.outputs)

    @property
    def group_sizes(self) -> list[int]:
        """Weights in every group of the bitstream."""
        matrices = [a * b for a, b in self.fans] if self.depth else []
        pyramid = [self.features * self.width, self.features * self.outputs] if self.features else []
        return [*matrices, *([self.depth * self.width] if self.depth else []), self.outputs, *pyramid]


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
        biases = [*values[len(fans)].reshape(self.shape.depth, self.shape.width), values[len(fans) + 1]]
        if not self.shape.features:
            return assemble(matrices, biases, np.float32(1))
        added = [v.reshape(self.shape.features, -1) for v in values[-2:]]
        return assemble(matrices, biases, np.float32(1), (added[0], added[1]))


def assemble(matrices: list[Float32], biases: list[Float32], frequency: np.float32,
             added: tuple[Float32, Float32] | None = None) -> SineNetwork:
    """A `SineNetwork` from matrices of shape (inputs, outputs) and biases; its sines are sin(frequency (x W + b)).

    ``added`` are matrices (features, outputs): what features add to the first layer, and to the last.
    """
    factor = np.float32(frequency * RADIANS_TO_TURNS)
    layers = [
        np.ascontiguousarray(np.concatenate([w, b[None]], 0).T.astype(np.float32))
        for w, b in zip(matrices, biases, strict=True)
    ]
    hidden = tuple(layer * factor for layer in layers[:-1])
    if added is None:
        return SineNetwork(hidden, layers[-1])
    return SineNetwork(hidden, layers[-1], mixing=np.ascontiguousarray(added[0].T) * factor, skip=np.ascontiguousarray(added[1].T))


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


def pack_quantised(quantised: Quantised, output_axes: str, mapping: Mapping, layout: Layout, pyramid: bytes = b"") -> bytes:
    """Bytes of a part in the default configuration; ``pyramid`` is what `pack_pyramid` gives, or nothing."""
    shape = quantised.shape
    head = bytes((shape.depth | (PYRAMID_FLAG if pyramid else 0), output_mask(output_axes)))
    if shape.depth:
        head += encode_one(shape.width)
    head += pyramid
    return head + mapping.pack(layout.dtype) + bytes(quantised.steps) + encode_weights(quantised.groups)


def pack_pyramid(pyramid: Pyramid, latents: Sequence[npt.NDArray[np.int64]]) -> bytes:
    """Bytes of a pyramid with its latents, as integers; OverflowError where one is too large."""
    head = bytes((pyramid.levels | (pyramid.features - 1) << 4, *(e + EXPONENT_OFFSET for e in pyramid.finest)))
    coded = encode_latents(latents)
    return head + encode_one(len(coded)) + coded


def unpack_pyramid(data: bytes, at: int, coordinates: CoordinateMap, working: int | None = None,
                   ) -> tuple[Pyramid, list[npt.NDArray[np.float64]], int]:
    """The pyramid at byte ``at``, its latents, and the position behind it; ``working`` and what is raised as in `unpack`."""
    axes = [coordinates.layout.axes[i] for i in coordinates.inputs]
    if not axes or not set(axes) <= set(PYRAMID_AXES):
        raise FormatError(f"the part has a pyramid over the coordinate axes {''.join(axes)!r}.")
    head = data[at : at + 1 + len(axes)]
    at += len(head)
    if len(head) < 1 + len(axes) or not head[0] & 15 or max(head[1:]) > FINEST[1] + EXPONENT_OFFSET:
        raise FormatError("the part has a pyramid that cannot be.")
    finest = tuple(e - EXPONENT_OFFSET for e in head[1:])
    pyramid = Pyramid(coordinates.input_shape, finest, head[0] & 15, (head[0] >> 4) + 1)
    length, at = decode_one(data, at)
    if pyramid.n_latents > FREE_WEIGHTS + MAX_LATENTS_PER_BYTE * len(data):
        raise FormatError(f"{len(data)} bytes cannot hold a pyramid of {pyramid.n_latents} latents.")
    _check_memory("a pyramid", "latents", pyramid.n_latents, BYTES_PER_LATENT, working)
    latents = decode_latents(data[at : at + length], pyramid.shapes)
    return pyramid, [level.astype(np.float64) for level in latents], at + length


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
    pyramid: Pyramid | None = None
    latents: Sequence[npt.NDArray[np.float64]] = ()


def unpack(data: bytes, layout: Layout, version: int = 1, working: int | None = None) -> UnpackedPart:
    """Open the bytes of a part of this layout.

    Parameters
    ----------
    data : bytes
    layout : Layout
    version : int
        Of the bitstream: pyramids are known from 2 on.
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
    depth, published, with_pyramid = data[0] & 15, bool(data[0] & PUBLISHED_FLAG), bool(data[0] & PYRAMID_FLAG)
    unknown = data[0] >> 6 or (with_pyramid and version < 2)
    if unknown or data[1] >> len(AXES) or ((published or with_pyramid) and not depth) or (published and with_pyramid):
        raise FormatError("the part describes a network this version does not know.")
    output_axes = "".join(axis for bit, axis in enumerate(AXES) if data[1] >> bit & 1)
    if not set(output_axes) <= set(layout.axes) - set("YX"):
        raise FormatError(f"the part has outputs along {output_axes!r}, which an image with axes {layout.axes} has not.")
    coordinates = CoordinateMap(layout, output_axes)
    width, at = decode_one(data, 2) if depth else (0, 2)
    pyramid: Pyramid | None = None
    latents: list[npt.NDArray[np.float64]] = []
    if with_pyramid:
        pyramid, latents, at = unpack_pyramid(data, at, coordinates, working)
    features = pyramid.n_features if pyramid else 0
    shape = Shape(len(coordinates.inputs), width, depth, coordinates.n_outputs, features)
    if (depth and not width) or shape.n_weights > FREE_WEIGHTS + MAX_WEIGHTS_PER_BYTE * len(data):
        raise FormatError(f"{len(data)} bytes cannot hold a network of {depth} layers of {width}.")
    _check_memory("a network", "weights", shape.n_weights, BYTES_PER_WEIGHT, working)
    if published:
        return _unpack_published(data[at:], shape, coordinates)
    mapping, at = Mapping.unpack(data, at, layout.channels, layout.dtype)
    n_groups = len(shape.group_sizes)
    if at + n_groups > len(data):
        raise FormatError("the weights are cut short.")
    steps = tuple(data[at : at + n_groups])
    groups = decode_weights(data[at + n_groups :], shape.group_sizes)
    network = Quantised(shape, tuple(groups), steps).network()
    return UnpackedPart(coordinates, network, mapping.scale, mapping.offset, mapping.minimum, mapping.maximum, pyramid, latents)


def _check_memory(what: str, of: str, n: int, each: int, working: int | None) -> None:
    """InputError where ``n`` weights or latents, that take so many bytes each, need more memory than is allowed."""
    needed = n * each
    if working is not None and needed > max(working, FREE_BYTES):
        raise InputError(f"{what} of {n:,} {of} needs {needed:,} bytes of memory, more than the {working:,} "
                         f"allowed; open the file with max_read_bytes={needed}.")


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

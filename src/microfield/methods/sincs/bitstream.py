"""What sincs stores for one part: the groups, one shape and one set of quantiser steps for all their networks, and their weights.

Declared here once, for writing and for reading; docs/format.md describes the same bytes.

    byte 0      layers before the last (0..15), + 16 for layers of rectified sums (published), + 32 where the part builds on
                another, + 64 where it builds on the ancestor that the shared block names
    byte 1      output axes, a bit per letter of TCZYXS
    mapping     see `microfield.methods.coordinate.mapping`
    varint      width of the layers                                     (from here on absent without layers)
    byte        axes that are cut into pieces, a bit per array axis
    varints     for each of these: pieces * 2, + 1 where they take indices in turn
    ancestors   see `microfield.methods.sincs.ancestry`                 (several groups only)
    steps       a step byte per tensor
    varints     bytes of the weights of every group but the last        (several groups only)
    weights     of every group, see `microfield.methods.sincs.residual`

Without layers there is one group, and its weights, the outputs, are all 0. Tensors, in order: matrices of the layers, of the output
layer, biases of the layers, biases of the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from microfield.coding.bytes_reader import ByteReader
from microfield.coding.varint import decode as decode_varints
from microfield.coding.varint import decode_one, encode_one
from microfield.coding.varint import encode as encode_varints
from microfield.coding.weights import step_size
from microfield.errors import FormatError
from microfield.image import AXES, Layout
from microfield.methods.coordinate.bitstream import FREE_WEIGHTS, MAX_WEIGHTS_PER_BYTE, Shape, assemble, output_mask
from microfield.methods.coordinate.mapping import Mapping
from microfield.methods.sincs import ancestry
from microfield.methods.sincs.ancestry import Ancestors
from microfield.methods.sincs.grouping import MOST_GROUPS, Groups, undivided
from microfield.methods.sincs.published import Encoding, rectified_network
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.evaluate import SineNetwork

Ints = npt.NDArray[np.int64]

RECTIFIED_FLAG = 16
"""Added to the number of layers where layers are rectified sums."""


class Root(Enum):
    """What the roots among a part's groups are differences to, with what that adds to the number of layers."""

    NOTHING = 0
    PART = 32
    """The first group of the part that this one builds on."""
    FILE = 64
    """The ancestor network that the shared block of the file names."""


@dataclass(frozen=True)
class Head:
    """What comes before the weights of a part.

    Attributes
    ----------
    shape : Shape
        Of every group's network, without layers that of constants.
    output_axes : str
    mapping : Mapping
        Of the whole part.
    groups : Groups
    ancestors : tuple
        See `microfield.methods.sincs.ancestry`.
    steps : tuple of int
        Step code of every tensor.
    rectified : bool
        Whether layers are rectified sums of encoded coordinates instead of sines.
    root : Root
        What roots are differences to.
    """

    shape: Shape
    output_axes: str
    mapping: Mapping
    groups: Groups
    ancestors: Ancestors = (None,)
    steps: tuple[int, ...] = ()
    rectified: bool = False
    root: Root = Root.NOTHING

    def pack(self, layout: Layout) -> bytes:
        """Bytes of everything but the lengths of the groups and their weights."""
        shape = self.shape
        kind = shape.depth + RECTIFIED_FLAG * self.rectified + self.root.value
        out = bytearray((kind, output_mask(self.output_axes)))
        out += self.mapping.pack(layout.dtype)
        if not shape.depth:
            return bytes(out)
        cut = [axis for axis, count in enumerate(self.groups.counts) if count > 1]
        out += encode_one(shape.width) + bytes((sum(1 << axis for axis in cut),))
        for axis in cut:
            out += encode_one(2 * self.groups.counts[axis] + self.groups.in_turn[axis])
        if self.groups.n > 1:
            out += ancestry.pack(self.ancestors)
        return bytes(out) + bytes(self.steps)


def pack(head: Head, layout: Layout, weights: Sequence[bytes]) -> bytes:
    """Bytes of a part with the weights of its groups."""
    return head.pack(layout) + encode_varints([len(w) for w in weights[:-1]]) + b"".join(weights)


@dataclass(frozen=True)
class UnpackedPart:
    """A part, unpacked: its head, the coordinates of a group of full extents, and the coded weights of every group."""

    head: Head
    coordinates: CoordinateMap
    weights: tuple[bytes, ...]


def unpack(data: bytes, layout: Layout, continued: bool, ancestor: bool = False) -> UnpackedPart:
    """Open the bytes of a part of this layout; ``continued`` says whether the part has one to build on, ``ancestor`` whether the
    file names an ancestor.

    Raises
    ------
    FormatError
        They do not describe such a part.
    """
    reader = ByteReader(data, "its head")
    kind, outputs = reader.next(2)
    depth, rectified = kind & 15, bool(kind & RECTIFIED_FLAG)
    flags = [root for root in Root if kind & 0xE0 == root.value]
    if not flags or outputs >> len(AXES) or (not depth and kind):
        raise FormatError("the part describes groups this version does not know.")
    root = flags[0]
    if root is Root.FILE and not ancestor:
        raise FormatError("the part builds on an ancestor that the file does not name.")
    if (root is Root.PART) != continued:
        raise FormatError("the part builds on another one that is not named, or names one that it does not build on.")
    output_axes = "".join(axis for bit, axis in enumerate(AXES) if outputs >> bit & 1)
    if not set(output_axes) <= set(layout.axes) - set("YX"):
        raise FormatError(f"the part has outputs along {output_axes!r}, which an image with axes {layout.axes} has not.")
    mapping, at = Mapping.unpack(data, 2, layout.channels, layout.dtype)
    if not depth:
        if at != len(data):
            raise FormatError("a part of constants holds more than its values.")
        coordinates = CoordinateMap(layout, output_axes)
        head = Head(Shape(0, 0, 0, coordinates.n_outputs), output_axes, mapping, undivided(layout.shape))
        return UnpackedPart(head, coordinates, (b"",))
    width, at = decode_one(data, at)
    groups, at = _unpack_groups(data, at, layout)
    ancestors, at = ancestry.unpack(data, at, groups.n) if groups.n > 1 else ((None,), at)
    coordinates = CoordinateMap(layout.with_shape(groups.extents), output_axes)
    shape = Shape(inputs_of(coordinates, rectified), width, depth, coordinates.n_outputs)
    if not width or shape.n_weights * groups.n > FREE_WEIGHTS + MAX_WEIGHTS_PER_BYTE * len(data):
        raise FormatError(f"{len(data)} bytes cannot hold {groups.n} networks of {depth} layers of {width}.")
    n_tensors = len(shape.group_sizes)
    steps = tuple(data[at : at + n_tensors])
    if len(steps) < n_tensors:
        raise FormatError("the quantiser steps are cut short.")
    lengths, at = decode_varints(data, groups.n - 1, at + n_tensors)
    ends = np.concatenate([[at], at + np.cumsum(lengths)])
    if ends[-1] > len(data):
        raise FormatError("the weights of the groups are cut short.")
    weights = tuple(data[a:b] for a, b in zip(ends, [*ends[1:], len(data)], strict=True))
    head = Head(shape, output_axes, mapping, groups, ancestors, steps, rectified, root)
    return UnpackedPart(head, coordinates, weights)


def _unpack_groups(data: bytes, at: int, layout: Layout) -> tuple[Groups, int]:
    """The groups, from byte ``at`` on, and the position behind them."""
    if at >= len(data) or data[at] >> len(layout.shape):
        raise FormatError("the groups are cut along an axis that is not there.")
    counts, in_turn = [1] * len(layout.shape), [False] * len(layout.shape)
    cut = data[at]
    at += 1
    for axis in range(len(layout.shape)):
        if cut >> axis & 1:
            code, at = decode_one(data, at)
            counts[axis], in_turn[axis] = code >> 1, bool(code & 1)
            if not 1 < counts[axis] <= layout.shape[axis]:
                raise FormatError(f"an axis of {layout.shape[axis]} cannot be cut into {counts[axis]} pieces.")
    groups = Groups(layout.shape, tuple(counts), tuple(in_turn))
    if groups.n > MOST_GROUPS or not groups.whole:
        raise FormatError(f"a part cannot have {groups.n} groups.")
    return groups, at


def inputs_of(coordinates: CoordinateMap, rectified: bool) -> int:
    """Numbers that a network takes for a point."""
    if rectified:
        return Encoding.of(coordinates).n_features
    return len(coordinates.inputs)


def tensor_extents(shape: Shape) -> list[tuple[int, int]]:
    """Rows and columns of every tensor: matrices (inputs, outputs), biases of the layers (layers, width), of the outputs (1, n)."""
    return [*shape.fans, (shape.depth, shape.width), (1, shape.outputs)] if shape.depth else [(1, shape.outputs)]


def values_of(weights: Sequence[Ints], steps: Sequence[int]) -> list[npt.NDArray[np.float32]]:
    """Weights that integers stand for."""
    return [w.astype(np.float32) * step_size(s) for w, s in zip(weights, steps, strict=True)]


def network_of(weights: Sequence[Ints], head: Head) -> SineNetwork:
    """The network of a group, from the integers of its tensors."""
    shape = head.shape
    if not shape.depth:
        return SineNetwork((), np.zeros((shape.outputs, 1)))
    values = values_of(weights, head.steps)
    if head.rectified:
        return rectified_network(values, shape.depth)
    return assemble(values[: shape.depth + 1], [*values[-2], values[-1][0]], np.float32(1))


def predicted(weights: Sequence[Ints], before: Sequence[int], steps: Sequence[int]) -> list[Ints]:
    """Integers of another part's network, whose steps were ``before``, in units of ``steps``."""
    ratios = [np.float64(step_size(a)) / np.float64(step_size(b)) for a, b in zip(before, steps, strict=True)]
    return [w if a == b else np.rint(w * r).astype(np.int64) for w, r, a, b in zip(weights, ratios, before, steps, strict=True)]

"""Read groups of networks: a box touches the groups that it lies in and those that they build on, and no others."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError, InputError
from microfield.format.framing import Sections
from microfield.format.grid import Box
from microfield.image import Layout
from microfield.methods.base import Cost, Decoder
from microfield.methods.coordinate.bitstream import BYTES_PER_WEIGHT, FREE_BYTES
from microfield.methods.coordinate.bitstream import UnpackedPart as UnpackedNetwork
from microfield.methods.coordinate.decoder import NetworkDecoder
from microfield.methods.sincs.ancestor import Ancestor
from microfield.methods.sincs.ancestry import line
from microfield.methods.sincs.bitstream import Ints, Root, network_of, tensor_extents, unpack
from microfield.methods.sincs.published import EncodedDecoder
from microfield.methods.sincs.residual import Codes, decode


class SincsDecoder(Decoder):
    """Decoder of one part; its groups are decoded when they are first touched, and kept.

    Parameters
    ----------
    layout : Layout
    sections : tuple of bytes
    parent : Decoder, optional
        Of the part that this one builds on.
    ancestor : Ancestor, optional
        The network that the file names for its parts to build on.
    working : int, optional
        Bytes of memory that the groups may take; `FREE_BYTES` are never too many.
    """

    def __init__(self, layout: Layout, sections: Sections, parent: Decoder | None = None, working: int | None = None,
                 ancestor: Ancestor | None = None) -> None:
        super().__init__(layout)
        self.nbytes = len(sections[0])
        self.part = unpack(sections[0], layout, parent is not None, ancestor is not None)
        self.head, self.groups = self.part.head, self.part.head.groups
        self.parent = _checked(parent, self)
        self.ancestor = _fitting(ancestor, self)
        needed = self.head.shape.n_weights * self.groups.n * BYTES_PER_WEIGHT
        if working is not None and needed > max(working, FREE_BYTES):
            raise InputError(f"{self.groups.n} networks of {self.head.shape.n_weights:,} weights need {needed:,} bytes of memory, "
                             f"more than the {working:,} allowed; open the file with max_read_bytes={needed}.")
        self._lock = threading.RLock()
        self._weights: dict[int, tuple[list[Ints], Codes | None]] = {}
        self._networks: dict[int, NetworkDecoder] = {}

    # -- groups -------------------------------------------------------------------------------------------------------

    def weights(self, group: int) -> list[Ints]:
        """The integers of a group's tensors, after those of the groups that it builds on."""
        with self._lock:
            for number in line(self.head.ancestors, group):
                if number not in self._weights:
                    self._weights[number] = self._decoded(number)
            return self._weights[group][0]

    def _decoded(self, group: int) -> tuple[list[Ints], Codes | None]:
        """A group whose ancestor is decoded."""
        head = self.head
        sizes = tensor_extents(head.shape)
        if not head.shape.depth:
            return [np.zeros(size, np.int64) for size in sizes], None
        above = head.ancestors[group]
        base, tables = (self.root(), None) if above is None else self._weights[above]
        differences, tables = decode(self.part.weights[group], [r * c for r, c in sizes], tables)
        return [b + d.reshape(b.shape) for b, d in zip(base, differences, strict=True)], tables

    def root(self) -> list[Ints]:
        """What roots are differences to: zeros, the first group of the part that this one builds on, or the ancestor."""
        if self.parent is not None:
            return Ancestor.of(self.parent.head, self.parent.weights(0)).predicted(self.head.steps)
        if self.ancestor is not None:
            return self.ancestor.predicted(self.head.steps)
        return [np.zeros(size, np.int64) for size in tensor_extents(self.head.shape)]

    def network(self, group: int) -> NetworkDecoder:
        """The decoder of a group."""
        with self._lock:
            if group not in self._networks:
                self._networks[group] = self._network(group)
            return self._networks[group]

    def _network(self, group: int) -> NetworkDecoder:
        """The network of a group, on coordinates and channels of a group of full extents: one at the border has fewer of both."""
        head, coordinates = self.head, self.part.coordinates
        channels = channels_of(self.layout, head.groups.box(group), coordinates.layout)
        mapping = head.mapping
        unpacked = UnpackedNetwork(coordinates, network_of(self.weights(group), head), mapping.scale[channels],
                                   mapping.offset[channels], mapping.minimum[channels], mapping.maximum[channels])
        if head.rectified:
            return EncodedDecoder(unpacked, self.nbytes)
        return NetworkDecoder(coordinates.layout, unpacked, self.nbytes)

    # -- reading ------------------------------------------------------------------------------------------------------

    def cost(self, box: Box) -> Cost:
        """One evaluation per coordinate in the groups touched, the bytes of the part, and the groups that must be decoded."""
        voxels, groups = 0, set()
        for group, local, _ in self.groups.touching(box) if all(map(len, box)) else ():
            voxels += math.prod(len(local[i]) for i in self.part.coordinates.inputs)
            groups.update(line(self.head.ancestors, group))
        memory = self.head.shape.n_weights * BYTES_PER_WEIGHT * len(groups)
        own = Cost(voxels, self.nbytes, memory if memory > FREE_BYTES else 0, tuple(sorted(groups)) if self.groups.n > 1 else ())
        return own if self.parent is None else own + self.parent.cost_of_first()

    def cost_of_first(self) -> Cost:
        """What another part that builds on the first group of this one must touch."""
        own = Cost(0, self.nbytes)
        return own if self.parent is None else own + self.parent.cost_of_first()

    @property
    def held(self) -> int:
        """Bytes of the groups decoded so far."""
        with self._lock:
            return 32 * self.head.shape.n_weights * len(self._weights)

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Values of the outer product of ``box``, in the part's dtype."""
        out = np.empty(tuple(map(len, box)), self.layout.dtype)
        if out.size:
            for group, local, where in self.groups.touching(box):
                out[np.ix_(*where)] = self.network(group).read(local)
        return out

    def at(self, points: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Values at integer points of shape (n, ndim)."""
        out = np.empty(len(points), self.layout.dtype)
        group_of, local = self.groups.locate(points)
        for group in np.unique(group_of):
            mine = group_of == group
            out[mine] = self.network(int(group)).at(local[mine])
        return out


def channels_of(layout: Layout, box: tuple[slice, ...], extents: Layout) -> npt.NDArray[np.intp]:
    """The part's channel for every channel of a group of full extents, the last one for those that a smaller group lacks."""
    numbers = np.arange(layout.channels).reshape([layout.shape[i] for i in layout.channel_axes])
    for k, i in enumerate(layout.channel_axes):
        taken = np.arange(layout.shape[i])[box[i]]
        numbers = np.take(numbers, taken[np.minimum(np.arange(extents.shape[i]), len(taken) - 1)], axis=k)
    return np.asarray(numbers.reshape(-1), np.intp)


def _checked(parent: Decoder | None, child: SincsDecoder) -> SincsDecoder | None:
    """The part that another one builds on, with networks of the same shape."""
    if parent is None:
        return None
    head = child.head
    if not isinstance(parent, SincsDecoder) or (parent.head.shape, parent.head.rectified) != (head.shape, head.rectified):
        raise FormatError("the part builds on one whose networks have another shape: the file is damaged.")
    return parent


def _fitting(ancestor: Ancestor | None, child: SincsDecoder) -> Ancestor | None:
    """The ancestor, where the part builds on it."""
    if ancestor is None or child.head.root is not Root.FILE:
        return None
    if not ancestor.fits(child.head):
        raise FormatError("the part builds on an ancestor whose network has another shape: the file is damaged.")
    return ancestor

"""Read a coordinate network: any box or points, every voxel from its coordinates alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.format.framing import Sections
from microfield.format.grid import Box
from microfield.image import Layout
from microfield.methods.base import Cost, Decoder
from microfield.methods.coordinate.bitstream import FREE_BYTES, UnpackedPart, unpack
from microfield.nn.evaluate import evaluate, workspace_bytes
from microfield.nn.pyramid import TAPS

Float32 = npt.NDArray[np.float32]


class NetworkDecoder(Decoder):
    """Decoder of a network that is unpacked already; it does not change once it is made, so any number of threads may read.

    ``nbytes`` is what a read of any voxel needs of the file.
    """

    def __init__(self, layout: Layout, part: UnpackedPart, nbytes: int) -> None:
        super().__init__(layout)
        self.nbytes, self.part = nbytes, part
        self._output_channel = self.part.coordinates.channel_of_outputs

    def cost(self, box: Box) -> Cost:
        """One evaluation per coordinate, which gives all outputs there, and all bytes of the part; the memory of wide networks."""
        memory = workspace_bytes(self.part.network, TAPS ** len(self.part.coordinates.inputs) if self.part.pyramid else 0)
        return Cost(math.prod(len(box[i]) for i in self.part.coordinates.inputs), self.nbytes, memory if memory > FREE_BYTES else 0)

    @property
    def held(self) -> int:
        """Bytes of the weights and latents."""
        network = self.part.network
        return sum(a.nbytes for a in (*network.hidden, network.output, network.mixing, network.skip, *self.part.latents))

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Values of the outer product of ``box``, in the part's dtype."""
        shape = tuple(len(r) for r in box)
        if 0 in shape:
            return np.empty(shape, self.layout.dtype)
        ranges = [box[i] for i in self.part.coordinates.inputs]
        lengths = tuple(map(len, ranges))
        rows = self._rows(box)
        out = np.empty((math.prod(lengths), rows.size), self.layout.dtype)

        def inputs(start: int, stop: int) -> tuple[npt.NDArray[np.intp], ...]:
            """Positions of points of the box along every coordinate axis."""
            local = np.unravel_index(np.arange(start, stop), lengths) if lengths else ()
            return tuple(r.start + r.step * k for r, k in zip(ranges, local, strict=True))

        def store(start: int, stop: int, values: Float32) -> None:
            """Take the outputs that the box asks for."""
            out[start:stop] = self._grey(values[rows], self._output_channel[rows, None], inputs, start, stop).T

        evaluate(self.part.network, out.shape[0], lambda a, b: self._coordinates(inputs(a, b), b - a), store)
        return self._to_axes(out, box)

    def at(self, points: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Values at integer points of shape (n, ndim), each taken from the output that it lies in."""
        coordinates = self.part.coordinates
        out = np.empty(len(points), self.layout.dtype)
        rows = np.zeros(len(points), np.intp)
        for i in coordinates.outputs:
            rows = rows * self.layout.shape[i] + points[:, i]

        def inputs(start: int, stop: int) -> tuple[npt.NDArray[np.intp], ...]:
            """Positions of a range of points along every coordinate axis."""
            return tuple(points[start:stop, i].astype(np.intp) for i in coordinates.inputs)

        def store(start: int, stop: int, values: Float32) -> None:
            """Take one output of every point."""
            row = rows[start:stop]
            picked = values[row, np.arange(stop - start)][None]
            out[start:stop] = self._grey(picked, self._output_channel[row][None], inputs, start, stop)[0]

        evaluate(self.part.network, len(points), lambda a, b: self._coordinates(inputs(a, b), b - a), store)
        return out

    def _coordinates(self, inputs: tuple[npt.NDArray[np.intp], ...], n: int) -> Float32:
        """What the network sees at these indices: float32 of shape (inputs + features, n), no rows for a network of constants.

        Computed for the indices alone: a table of a whole axis could be far larger than the file or the read.
        """
        network = self.part.network
        out = np.empty((network.n_inputs + network.n_features, n), np.float32)
        for row, extent, index in zip(out, self.part.coordinates.input_shape, inputs, strict=False):
            row[:] = index / (extent - 1) * 2 - 1
        if self.part.pyramid is not None:
            out[network.n_inputs :] = self.part.pyramid.values(self.part.latents, inputs)
        return out

    def _grey(self, values: Float32, channel: npt.NDArray[np.intp], inputs: Any, start: int, stop: int,
              ) -> npt.NDArray[Any]:
        """Network outputs of shape (rows, n) as grey values of the part's dtype.

        ``channel`` is the channel number of every output, without what the coordinates of points ``start`` to ``stop`` add to it.
        """
        channel = channel + self.part.coordinates.channel_of_inputs(inputs(start, stop))
        low, dtype = self.part.low[channel], self.layout.dtype
        # Weights and scales that overflow give infinities and NaN; what a cast makes of NaN differs with the size of the read.
        with np.errstate(over="ignore", invalid="ignore"):
            grey = values * self.part.scale[channel] + self.part.offset[channel]
        # float32 cannot hold every 32-bit integer, so wide types are clipped and rounded in double precision.
        wide = grey.astype(np.float64) if dtype.itemsize > 2 else grey
        np.copyto(wide, low, where=np.isnan(wide), casting="same_kind")
        np.clip(wide, low, self.part.high[channel], out=wide)
        return (np.rint(wide) if dtype.kind in "iu" else wide).astype(dtype)

    def _rows(self, box: Box) -> npt.NDArray[np.intp]:
        """Numbers of the outputs that the box asks for, in C order of the output axes."""
        rows = np.zeros((), np.intp)
        for i in self.part.coordinates.outputs:
            rows = rows[..., None] * self.layout.shape[i] + np.asarray(box[i], np.intp)
        return rows.reshape(-1)

    def _to_axes(self, out: npt.NDArray[Any], box: Box) -> npt.NDArray[Any]:
        """Values of shape (points, outputs) in the shape of the box and the order of the array's axes."""
        coordinates = self.part.coordinates
        rest = tuple(i for i in range(len(box)) if i not in coordinates.inputs + coordinates.outputs)
        order = coordinates.inputs + rest + coordinates.outputs
        shaped = out.reshape([len(box[i]) for i in order])
        return np.ascontiguousarray(shaped.transpose(np.argsort(order)))


class CoordinateDecoder(NetworkDecoder):
    """Decoder of one part of siren or inif."""

    def __init__(self, layout: Layout, sections: Sections, version: int, working: int | None = None) -> None:
        if len(sections) != 1:
            raise FormatError(f"a coordinate network is one section, not {len(sections)}.")
        super().__init__(layout, unpack(sections[0], layout, version, working), len(sections[0]))

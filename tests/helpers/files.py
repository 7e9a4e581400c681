"""Files compressed as cheaply as it goes, and files of random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from microfield.format.assembler import write
from microfield.format.grid import Grid
from microfield.format.header import Header
from microfield.image import Image, Layout
from microfield.writing.budget import Budget
from microfield.writing.report import Report
from microfield.writing.settings import Settings

QUICK: Mapping[str, dict[str, Any]] = {
    name: {"frequency": 0.16, "optimiser": "adam"} for name in ("siren", "inif", "sincs")
}
"""Options that leave out the trials and compile fast; a method without an entry runs with its defaults."""


def settings(method: str, **changed: Any) -> Settings:
    """The cheapest settings of a method."""
    return Settings(**{"method": method, "effort": 0, "options": QUICK.get(method), **changed})


Packed = tuple[bytes, Report]


def compressed(source: Image, method: str, budget: Budget, **changed: Any) -> Packed:
    """File and report, from the cheapest settings."""
    from microfield.writing.compress import compress_to_bytes

    return compress_to_bytes(source, budget, settings(method, **changed))


# -- files of random weights ------------------------------------------------------------------------------------------


def random_part(layout: Layout, rng: np.random.Generator, output_axes: str = "", width: int = 6, depth: int = 2,
                levels: int = 0) -> bytes:
    """A part of siren or inif with random weights, as a fit could have made it; with a pyramid of so many levels (version 2)."""
    from microfield.coding.weights import step_code
    from microfield.methods.coordinate.bitstream import Quantised, Shape, pack_pyramid, pack_quantised
    from microfield.methods.coordinate.mapping import Mapping
    from microfield.nn.coordinates import CoordinateMap
    from microfield.nn.pyramid import Pyramid

    coordinates = CoordinateMap(layout, output_axes)
    packed, features = b"", 0
    if levels:
        finest = tuple(int(e) for e in rng.integers(-1, 3, len(coordinates.inputs)))
        pyramid = Pyramid(coordinates.input_shape, finest, levels, int(rng.integers(1, 3)))
        latents = [np.rint(rng.laplace(0, rng.uniform(0.2, 3), shape)).astype(np.int64) for shape in pyramid.shapes]
        packed, features = pack_pyramid(pyramid, latents), pyramid.n_features
    shape = Shape(len(coordinates.inputs), width if depth else 0, depth, coordinates.n_outputs, features)
    groups = tuple(np.rint(rng.normal(0, 20, n)).astype(np.int64) for n in shape.group_sizes)
    n = layout.channels
    low, high = rng.integers(0, 50, n).astype(float), rng.integers(60, 120, n).astype(float)
    mapping = Mapping(low, high, rng.integers(0, 256, n), rng.integers(8, 24, n))
    steps = (step_code(0.05),) * len(groups)
    return pack_quantised(Quantised(shape, groups, steps), output_axes, mapping, layout, packed)


def random_file(layout: Layout, method: str = "inif", seed: int = 0, tile: tuple[int, ...] | None = None, **network: Any,
                ) -> bytes:
    """A file of siren or inif whose parts have random weights: decoding can be tested without a fit."""
    rng = np.random.default_rng(seed)
    version = 2 if network.get("levels") else 1
    header = Header(method=method, bitstream_version=version, layout=layout, checksum=bytes(8), tile=tile)
    grid = Grid(layout.shape, tile or layout.shape)
    parts = [(random_part(header.part_layout(i), rng, **network),) for i in range(grid.n)]
    return write(header, parts)


def random_groups(layout: Layout, seed: int = 0, counts: tuple[int, ...] = (), in_turn: bool = False,
                  ancestors: Sequence[int | None] = (), output_axes: str = "", rectified: bool = False) -> bytes:
    """A part of sincs whose groups have random weights, each near those of its ancestor; a chain unless ``ancestors`` are given."""
    from microfield.coding.weights import step_code
    from microfield.methods.coordinate.bitstream import Shape
    from microfield.methods.coordinate.mapping import Mapping
    from microfield.methods.sincs.ancestry import order
    from microfield.methods.sincs.bitstream import Head, inputs_of, pack, tensor_extents
    from microfield.methods.sincs.grouping import Groups
    from microfield.methods.sincs.residual import Codes, encode
    from microfield.nn.coordinates import CoordinateMap

    rng = np.random.default_rng(seed)
    counts = counts or (1,) * len(layout.shape)
    groups = Groups(layout.shape, counts, tuple(in_turn and c > 1 for c in counts))
    coordinates = CoordinateMap(layout.with_shape(groups.extents), output_axes)
    shape = Shape(inputs_of(coordinates, rectified), 6, 2, coordinates.n_outputs)
    n, extents = layout.channels, tensor_extents(shape)
    low, high = rng.integers(0, 50, n).astype(float), rng.integers(60, 120, n).astype(float)
    mapping = Mapping(low, high, rng.integers(0, 256, n), rng.integers(8, 24, n))
    built = tuple(ancestors) or (None, *range(groups.n - 1))
    head = Head(shape, output_axes, mapping, groups, built, (step_code(0.05),) * len(extents), rectified)
    weights, tables = [b""] * groups.n, dict[int, Codes]()
    for group in order(built):
        above = built[group]
        spread, before = (20, None) if above is None else (3, tables[above])
        differences = [np.rint(rng.normal(0, spread, size)).astype(np.int64) for size in extents]
        weights[group], tables[group] = encode(differences, before)
    return pack(head, layout, weights)


def random_groups_file(layout: Layout, seed: int = 0, **groups: Any) -> bytes:
    """A file of sincs of one part of random weights."""
    return write(Header(method="sincs", bitstream_version=1, layout=layout, checksum=bytes(8), experimental=True),
                 [(random_groups(layout, seed, **groups),)])

"""The files that mutations begin with: a few small ones of every method."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

import helpers.seam_methods  # noqa: F401 (registers its methods)
from helpers.files import compressed, random_file, random_groups_file
from helpers.images import image
from microfield import Image
from microfield.errors import MicrofieldError
from microfield.format.assembler import write
from microfield.format.header import Header
from microfield.image import Layout
from microfield.methods import names
from microfield.methods.coordinate.bitstream import Published, Shape, pack_published
from microfield.writing.budget import LOSSLESS, Budget

SEAM = ("differences-for-tests", "shared-for-tests")
"""Methods of the tests whose parts build on others, and share sections."""

NETWORKS = ("siren", "inif")

GROUPS = "sincs"
"""The method whose parts are groups of networks."""

METHODS = (*(name for name in names() if not name.endswith("-for-tests")), *SEAM)


@cache
def files_of(method: str) -> tuple[bytes, ...]:
    """Files of a method: of one part and of several, of integers and floats, of channels and colours."""
    if method == GROUPS:
        return tuple(_random_groups())
    return tuple(_random_networks(method) if method in NETWORKS else _compressed(method))


VECTORS = Path(__file__).parents[1] / "vectors"


def _random_networks(method: str) -> Iterator[bytes]:
    """Files of random weights: a fit would take seconds and change little."""
    plane, stack = Layout((20, 24), "YX", np.dtype("uint8")), Layout((2, 3, 14, 10), "CZYX", np.dtype("uint16"))
    yield random_file(plane, method, 1)
    yield random_file(stack, method, 2, tile=(2, 2, 8, 10), output_axes="C")
    yield random_file(Layout((12, 9, 3), "YXS", np.dtype("float32")), method, 3, depth=0, output_axes="S")
    yield random_file(Layout((12, 9), "YX", np.dtype("float64")), method, 4)
    layout = Layout((3, 20, 9), "CYX", np.dtype("int32"))
    width = Shape(3, 4, 2, 1)
    weights = [np.full(fan, 0.3, np.float32) for fan in width.fans]
    biases = [np.full(n, 0.1, np.float32) for _, n in width.fans]
    network = Published(width, tuple(weights), tuple(biases), np.float32(30), np.float32(9), np.float32(100))
    yield write(Header(method, 1, layout), [(pack_published(network, ""),)])


def _random_groups() -> Iterator[bytes]:
    """Files of sincs of random weights: one group, chains, a tree, groups in turn, the published network; and one of two parts."""
    u1, u2, f4 = np.dtype("uint8"), np.dtype("uint16"), np.dtype("float32")
    yield random_groups_file(Layout((20, 24), "YX", u1), 1)
    yield random_groups_file(Layout((7, 14, 10), "ZYX", u2), 2, counts=(3, 1, 2))
    yield random_groups_file(Layout((5, 12, 9), "TYX", f4), 3, counts=(5, 1, 1), ancestors=(2, 0, None, 2, 3))
    yield random_groups_file(Layout((3, 7, 9, 8), "CZYX", u1), 4, counts=(2, 3, 1, 1), in_turn=True, output_axes="C")
    yield random_groups_file(Layout((6, 9, 8), "ZYX", u1), 5, counts=(3, 1, 1), in_turn=True, rectified=True)
    yield compressed(image("stack"), GROUPS, Budget("max_bytes", 700), tile={"z": 4})[0]


def _compressed(method: str) -> Iterator[bytes]:
    tiles: tuple[tuple[str, dict[str, int] | None], ...] = (
        ("uint8", None), ("channels", {"y": 20}), ("rgb", None), ("series", None), ("float32", None))
    for kind, tile in tiles:
        budget = Budget(LOSSLESS, 1) if method == LOSSLESS else Budget("max_bytes", 4000)
        try:
            yield compressed(image(kind), method, budget, tile=tile)[0]
        except MicrofieldError:  # Some codecs cannot make some of them so small; others are left.
            continue
    if method == "field":
        for kind in ("series", "uint8"):
            film = image(kind)
            if "T" not in film.axes:
                film = Image(np.stack([np.roll(film.read(), 2 * t, axis=1) for t in range(5)]), "T" + film.axes)
            yield compressed(film, method, Budget("max_bytes", 4000), options={"transform": "film"})[0]
        for prior in ("hevc", "av1"):
            yield compressed(image("stack"), method, Budget("max_bytes", 4000), options={"prior": prior})[0]
        # Every kind of filter, and both ways to fit the context network, in little files.
        yield from (path.read_bytes() for path in sorted(VECTORS.glob("field-5-*.mfield")))

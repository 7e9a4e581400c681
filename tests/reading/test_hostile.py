"""Files with right checksums that claim what they do not hold: they are refused, or cost what their bytes are worth."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from helpers.files import random_part
from microfield.errors import FormatError, InputError
from microfield.format.assembler import write
from microfield.format.header import Header
from microfield.image import Layout
from microfield.methods import get_method
from microfield.methods.coordinate.bitstream import Published, Shape, pack_published
from microfield.reading.file import open_file

LIMIT = 1 << 20
"""`max_read_bytes` of these tests."""


@contextmanager
def little_memory(most: int = 4 * LIMIT) -> Iterator[None]:
    """Fails where what NumPy and Python allocate inside exceeds ``most`` bytes."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most


def layout_of(shape: tuple[int, ...], axes: str, dtype: str = "uint8") -> Layout:
    return Layout(shape, axes, np.dtype(dtype))


def file_of(method: str, layout: Layout, part: bytes, version: int = 1) -> bytes:
    return write(Header(method, version, layout), [(part,)])


def published(layout: Layout, scale: float = 1.0, weight: float = 1.0, frequency: float = 1.0) -> bytes:
    """A published network of one layer of width 1, every axis a coordinate; ``weight`` is that of its output."""
    shape = Shape(sum(n > 1 for n in layout.shape), 1, 1, 1)
    matrices = (np.full((shape.inputs, 1), 0.5, np.float32), np.full((1, 1), weight, np.float32))
    biases = (np.full(1, 3.0, np.float32), np.zeros(1, np.float32))
    return pack_published(Published(shape, matrices, biases, np.float32(frequency), np.float32(scale), np.float32(0)), "")


def test_channels_that_are_only_claimed_cost_no_memory() -> None:
    layout = layout_of((200_000_000, 4, 5), "CYX")
    data = file_of("inif", layout, published(layout))
    assert len(data) < 100
    with little_memory():
        assert open_file(data, max_read_bytes=LIMIT)[150_000_000, 2:, 3].shape == (2,)


@pytest.mark.parametrize("method", ["field", "hevc", "jpeg2000", "downsample", "siren"])
@pytest.mark.parametrize("flags", [0, 0x10, 0x01, 0x20])
def test_a_part_shorter_than_its_channels_is_refused_before_memory_is_taken(method: str, flags: int) -> None:
    data = file_of(method, layout_of((100_000_000, 2, 2), "CYX"), bytes([flags]) + bytes(60))
    with little_memory(), pytest.raises((FormatError, InputError)):
        open_file(data, max_read_bytes=LIMIT)[0, 0, 0]


@pytest.mark.parametrize("method", ["siren", "inif", "field", "hevc", "downsample"])
def test_another_bitstream_version_is_refused(method: str) -> None:
    layout = layout_of((8, 8), "YX")
    part = random_part(layout, np.random.default_rng(0)) if method in ("siren", "inif") else b"\x11\x80\x07"
    with pytest.raises(FormatError):
        open_file(file_of(method, layout, part, get_method(method).bitstream_version + 1))[...]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
def test_outputs_beyond_float32_are_the_same_in_every_selection(dtype: str) -> None:
    """Infinity times a scale of 0 is NaN, of which a cast makes anything."""
    layout = layout_of((40, 50), "YX", dtype)
    for scale in (0.0, 1e30, -1e30):
        f = open_file(file_of("inif", layout, published(layout, scale, weight=3e38)))
        whole = f.asarray()
        assert np.isfinite(whole.astype(float)).all()
        np.testing.assert_array_equal(f[3:9, ::7], whole[3:9, ::7])
        np.testing.assert_array_equal(f.at([[4, 5], [39, 49]]), whole[[4, 39], [5, 49]])


def test_weights_that_overflow_with_their_frequency_are_refused() -> None:
    layout = layout_of((8, 8), "YX")
    network = Published(Shape(2, 1, 1, 1), (np.full((2, 1), 3e38, np.float32), np.ones((1, 1), np.float32)),
                        (np.zeros(1, np.float32),) * 2, np.float32(3e38), np.float32(1), np.float32(0))
    with pytest.raises(FormatError, match="not finite"):
        open_file(file_of("inif", layout, pack_published(network, "")))[...]

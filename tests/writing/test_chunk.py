"""Chunks in the embedded profile: sizes, settings as JSON, opening over a byte getter with partial fetches."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import helpers.raw_method  # noqa: F401 (registers its method)
from helpers.images import blobs, image, scaled
from microfield.errors import BudgetError, FormatError, UsageError
from microfield.format.container import Container
from microfield.format.source import GetterSource
from microfield.image import Image, Layout
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.chunk import ChunkSettings, encode_chunk
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

BLOCK = scaled(blobs((96, 120), 3, 40), 100, 3000, np.uint16)
LAYOUT = Layout(BLOCK.shape, "YX", BLOCK.dtype)
FAST = Settings(effort=0)


class Store:
    """A byte getter that counts what is fetched."""

    def __init__(self, data: bytes) -> None:
        self.data, self.fetched = data, 0

    def get(self, start: int, stop: int | None) -> bytes:
        found = self.data[start:stop]
        self.fetched += len(found)
        return found


@pytest.mark.parametrize("kind", ["uint8", "channels", "series", "rgb", "float32"])
def test_a_chunk_holds_the_parts_of_a_file_and_less_around_them(kind: str) -> None:
    source = image(kind)
    data = encode_chunk(source.read(), source.layout, ChunkSettings(Budget("psnr", 30.0), FAST))
    whole, _ = compress_to_bytes(source, Budget("psnr", 30.0), FAST)
    chunk, file = open_file(data, host=source.layout), open_file(whole)
    np.testing.assert_array_equal(chunk.asarray(), file.asarray())
    part = Container.open(GetterSource(Store(data).get), source.layout).part(0)[0]
    assert len(data) - len(part) <= 24 < len(whole) - len(part)


def test_settings_survive_json() -> None:
    settings = Settings(method="hevc", options={"preset": "fast"}, tile={"y": 8}, channel_weights=(1.0, 0.5))
    chunk = ChunkSettings(Budget("noise_factor", 1.5), settings, (100.0, 200.0), (3.0, 4.0))
    assert ChunkSettings.from_dict(json.loads(json.dumps(chunk.to_dict()))) == chunk
    with pytest.raises(UsageError, match="unknown setting 'wings'"):
        ChunkSettings.from_dict({"psnr": 40, "wings": 2})
    with pytest.raises(UsageError, match="exactly one"):
        ChunkSettings.from_dict({"effort": 3})


def test_only_the_parts_that_are_read_are_fetched() -> None:
    rng = np.random.default_rng(0)
    block = rng.integers(0, 4096, (256, 256)).astype(np.uint16)
    layout = Layout(block.shape, "YX", block.dtype)
    settings = Settings(method="raw-for-tests", tile={"y": 32, "x": 32})
    store = Store(encode_chunk(block, layout, ChunkSettings(Budget("ratio", 0.9), settings)))
    f = open_file(GetterSource(store.get), host=layout)
    f[100, 100]
    assert store.fetched < 0.25 * len(store.data)
    assert f.file_bytes == len(store.data)
    assert store.fetched < 0.25 * len(store.data)
    np.testing.assert_array_equal(f.asarray(), open_file(store.data, host=layout).asarray())


def test_a_part_alone_is_fetched_once() -> None:
    store = Store(encode_chunk(BLOCK, LAYOUT, ChunkSettings(Budget("psnr", 50.0), FAST)))
    open_file(GetterSource(store.get), host=LAYOUT).asarray()
    assert store.fetched == len(store.data)


def test_damage_is_noticed_where_it_is() -> None:
    data = bytearray(encode_chunk(BLOCK, LAYOUT, ChunkSettings(Budget("psnr", 30.0), Settings(effort=0, tile={"y": 48}))))
    data[-9] ^= 1
    f = open_file(GetterSource(Store(bytes(data)).get), host=LAYOUT)
    f[:48]
    with pytest.raises(FormatError, match="part 1"):
        f[48:]
    data[6] ^= 1
    with pytest.raises(FormatError):
        open_file(GetterSource(Store(bytes(data)).get), host=LAYOUT)


def test_quality_counts_in_the_range_of_the_whole_array() -> None:
    quiet = (BLOCK // 8).astype(np.uint16)
    chunks = (ChunkSettings(Budget("psnr", 40.0), FAST, channel_range=span) for span in (None, (2900.0,)))
    own, whole = (encode_chunk(quiet, LAYOUT, chunk) for chunk in chunks)
    assert len(whole) < 0.6 * len(own)
    error = np.mean((open_file(whole, host=LAYOUT).asarray().astype(float) - quiet) ** 2)
    assert 20 * math.log10(2900 / math.sqrt(error)) >= 40
    with pytest.raises(UsageError, match="positive numbers"):
        encode_chunk(quiet, LAYOUT, ChunkSettings(Budget("psnr", 40.0), FAST, channel_range=(1.0, 2.0)))


def test_a_quiet_tile_is_quantised_like_its_neighbours_in_noise() -> None:
    """Errors are counted in noise sigmas whatever the range of a tile: one below a sigma costs next to nothing."""
    rng = np.random.default_rng(1)
    noisy = np.full((160, 320), 500.0)
    noisy[:, :160] += 200 * blobs((160, 160), 1, 40) + rng.normal(0, 8, (160, 160))
    noisy[:, 160:] += rng.integers(0, 4, (160, 160))
    source = Image(np.rint(noisy).astype(np.uint16), "YX")
    # An empty stream of x265 takes some hundred bytes.
    for method, share in (("field", 0.3), ("hevc", 0.6)):
        settings = Settings(method=method, effort=0, tile={"x": 160})
        chunk = ChunkSettings(Budget("noise_factor", 1.0), settings, noise=(8.0,))
        opened = Container.open(GetterSource(Store(encode_chunk(source.read(), source.layout, chunk)).get), source.layout)
        busy, quiet = (stop - start for start, stop in (opened.part_range(i) for i in range(2)))
        assert quiet < share * busy


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BudgetError, match="too few"):
        encode_chunk(BLOCK, LAYOUT, ChunkSettings(Budget("max_bytes", 9), FAST))
    with pytest.raises(UsageError, match="auto"):
        encode_chunk(BLOCK, LAYOUT, ChunkSettings(Budget("ratio", 9), Settings(method="auto")))

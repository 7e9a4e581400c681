"""The codec of Zarr 3, through zarr itself: round trips, what is fetched and decoded, metadata, and what is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import helpers.raw_method  # noqa: F401 (registers its method)
from helpers.images import blobs, scaled
from microfield.errors import FormatError, InputError, UsageError
from microfield.reading.file import MicrofieldFile

zarr = pytest.importorskip("zarr")
from zarr.storage import LocalStore, MemoryStore, WrapperStore  # noqa: E402

from microfield.integrations.open_chunks import OpenChunks  # noqa: E402
from microfield.integrations.zarr_codec import MicrofieldCodec, _open_chunks  # noqa: E402

STACK = scaled(np.stack([blobs((48, 56), 3, seed) for seed in range(6)]), 100, 3000, np.uint16)


@pytest.fixture(autouse=True)
def _nothing_open() -> None:
    _open_chunks.clear()


def create(store: Any, data: Any, chunks: tuple[int, ...], shards: tuple[int, ...] | None = None, **configuration: Any) -> Any:
    array = zarr.create_array(store, shape=data.shape, dtype=data.dtype, chunks=chunks, shards=shards, compressors=None,
                              serializer=MicrofieldCodec(**configuration))
    array[...] = data
    return array


class Counting(WrapperStore):  # type: ignore[misc]
    """A store that counts the bytes of chunks that are fetched."""

    fetched = 0

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        found = await self._store.get(key, prototype, byte_range)
        if found is not None and not key.endswith("zarr.json"):
            self.fetched += len(found)
        return found


def test_zarr_finds_the_codec_by_its_name(tmp_path: Path) -> None:
    codec = {"name": "microfield", "configuration": {"psnr": 40, "effort": 0}}
    array = zarr.create_array(str(tmp_path / "a"), shape=STACK.shape, dtype="uint16", chunks=(6, 48, 56), serializer=codec,
                              compressors=None)
    array[:] = STACK
    found = zarr.open(str(tmp_path / "a"), mode="r")
    error = np.mean((found[:].astype(float) - STACK) ** 2)
    assert 20 * np.log10(np.ptp(STACK) / np.sqrt(error)) >= 40
    stored = json.loads((tmp_path / "a" / "zarr.json").read_text())["codecs"]
    assert stored == [{"name": "microfield", "configuration": {"version": 1, "axes": "ZYX", "psnr": 40.0, "effort": 0}}]
    assert found.nbytes_stored() < STACK.nbytes / 8


@pytest.mark.parametrize("shards", [None, (6, 48, 56)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_exact_copies_come_back(dtype: str, shards: tuple[int, ...] | None) -> None:
    data = scaled(STACK, 0, 120, np.dtype(dtype).type)
    array = create(MemoryStore(), data, (3, 24, 56), shards, lossless=True)
    np.testing.assert_array_equal(array[:], data)
    np.testing.assert_array_equal(array[4, ::5, 3:9], data[4, ::5, 3:9])


@pytest.fixture(scope="module")
def tiled() -> Any:
    """An array whose chunks do not divide it, in parts, and its values."""
    array = create(MemoryStore(), STACK, (4, 32, 40), method="raw-for-tests", ratio=0.5, tile={"y": 16, "x": 16})
    return array, array[...]


def keys(extent: int) -> st.SearchStrategy[Any]:
    """What Zarr takes along an axis."""
    step = st.integers(1, extent)
    slices = st.builds(slice, st.integers(0, extent - 1), st.integers(0, extent), step)
    return st.one_of(st.integers(-extent, extent - 1), slices, st.just(slice(None)))


@settings(max_examples=40)
@given(st.tuples(*(keys(n) for n in STACK.shape)))
def test_any_selection_is_that_of_the_whole_array(tiled: Any, key: Any) -> None:
    array, values = tiled
    np.testing.assert_array_equal(array[key], values[key])


def test_selections_by_lists_and_masks(tiled: Any) -> None:
    array, values = tiled
    np.testing.assert_array_equal(array.oindex[[5, 0], :, [3, 50]], values[[5, 0]][:, :, [3, 50]])
    np.testing.assert_array_equal(array.vindex[[5, 0], [1, 40], [3, 50]], values[[5, 0], [1, 40], [3, 50]])
    mask = values > 2000
    np.testing.assert_array_equal(array.get_mask_selection(mask), values[mask])


def test_the_decoder_is_asked_for_what_is_selected_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    array = create(MemoryStore(), STACK, STACK.shape, psnr=30, effort=0)
    asked = []
    read = MicrofieldFile.__getitem__

    def noted(f: MicrofieldFile, key: Any) -> Any:
        asked.append(key)
        return read(f, key)

    monkeypatch.setattr(MicrofieldFile, "__getitem__", noted)
    for key in (2, (slice(1, 5, 3), 7, slice(8, 20))):
        assert array[key].size < 100 * 48
    assert asked == [(2, slice(0, 48, 1), slice(0, 56, 1)), (slice(1, 5, 3), 7, slice(8, 20, 1))]


def test_of_a_chunk_of_many_parts_only_some_are_fetched() -> None:
    data = np.random.default_rng(0).integers(0, 4096, (256, 256)).astype(np.uint16)
    store = Counting(MemoryStore())
    array = create(store, data, (256, 256), method="raw-for-tests", ratio=0.9, tile={"y": 32, "x": 32})
    size = array.nbytes_stored()
    store.fetched = 0
    array[100, 100]
    assert 0 < store.fetched < 0.25 * size


def test_planes_of_a_chunk_decode_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from microfield.methods.field.decoder import FieldDecoder

    array = create(MemoryStore(), STACK, STACK.shape, psnr=30, effort=0)
    decoded = []
    decode = FieldDecoder._decode

    def noted(decoder: FieldDecoder) -> Any:
        decoded.append(decoder)
        return decode(decoder)

    monkeypatch.setattr(FieldDecoder, "_decode", noted)
    planes = np.stack([array[z] for z in range(len(STACK))])
    assert len(decoded) == 1
    np.testing.assert_array_equal(planes, array[:])


def test_a_chunk_that_is_written_anew_is_read_anew() -> None:
    array = create(MemoryStore(), STACK, STACK.shape, lossless=True)
    assert array[0, 0, 0] == STACK[0, 0, 0]
    array[:] = STACK + 1
    assert array[0, 0, 0] == STACK[0, 0, 0] + 1


def test_chunks_that_are_kept_have_a_limit() -> None:
    array = create(MemoryStore(), STACK, (1, 48, 56), lossless=True)
    _open_chunks.clear()
    array[:]
    kept = OpenChunks(most_bytes=2 * 48 * 56 * 2)
    for (data, layout), _ in list(_open_chunks._files.items()):
        kept.get(data, layout)
    assert len(kept._files) == 2


def test_a_common_quality_spends_bytes_where_there_is_something_to_see() -> None:
    data = np.full((2, 64, 64), 200, np.uint16)
    data[0] = scaled(blobs((64, 64), 4, 12), 100, 3000, np.uint16)
    data[1] += np.random.default_rng(1).integers(0, 3, (64, 64)).astype(np.uint16)
    store = MemoryStore()
    create(store, data, (1, 64, 64), quality=500, channel_range=[2900.0], effort=0)
    busy, quiet = (len(store._store_dict[f"c/{z}/0/0"]) for z in range(2))
    assert quiet < 0.3 * busy


def test_channels_that_are_not_last() -> None:
    data = np.stack([STACK, STACK // 2], axis=1)
    array = create(MemoryStore(), data, (3, 2, 48, 56), axes="ZCYX", psnr=35, effort=0)
    assert np.abs(array[2, 1].astype(int) - data[2, 1]).max() < 400


def test_reading_within_a_running_loop() -> None:
    array = create(MemoryStore(), STACK, (3, 48, 56), lossless=True)

    async def read() -> Any:
        found = await zarr.api.asynchronous.open_array(store=array.store)
        return await found.getitem((4, slice(0, 9)))

    np.testing.assert_array_equal(asyncio.run(read()), STACK[4, :9])


def test_chunks_are_encoded_and_decoded_without_a_loop() -> None:
    from zarr.abc.codec import SupportsSyncCodec
    from zarr.core.buffer import default_buffer_prototype

    array = create(MemoryStore(), STACK, STACK.shape, lossless=True)
    spec = array._async_array.metadata.get_chunk_spec((0, 0, 0), array._async_array.config, default_buffer_prototype())
    codec = array._async_array.metadata.codecs[0]
    assert isinstance(codec, SupportsSyncCodec)
    values = spec.prototype.nd_buffer.from_numpy_array(STACK)
    np.testing.assert_array_equal(codec._decode_sync(codec._encode_sync(values, spec), spec).as_numpy_array(), STACK)


def test_the_configuration_survives_and_compares() -> None:
    codec = MicrofieldCodec(axes="ZYX", quality=400, channel_range=(2900.0,), tile={"y": 16}, options={"refine": False})
    again = MicrofieldCodec.from_dict(json.loads(json.dumps(codec.to_dict())))
    assert again == codec
    assert hash(again) == hash(codec)
    assert MicrofieldCodec(ratio=8) != MicrofieldCodec(ratio=9)


@pytest.mark.parametrize(("configuration", "words"), [
    ({}, "exactly one"), ({"ratio": 8, "psnr": 40}, "exactly one"), ({"ratio": 8, "quality": 400}, "exactly one"),
    ({"ratio": 8, "version": 2}, "version 2"), ({"ratio": 8, "wings": 2}, "wings"), ({"quality": 1001}, "0 to 1000"),
    ({"ratio": 8, "effort": 10}, "0 to 9"), ({"ratio": -1}, "positive"),
])
def test_configurations_that_cannot_be(configuration: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        MicrofieldCodec.from_dict({"name": "microfield", "configuration": configuration})


def test_an_array_of_another_version_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    create(LocalStore(tmp_path / "a"), STACK, (6, 48, 56), lossless=True)
    file = tmp_path / "a" / "zarr.json"
    file.write_text(file.read_text().replace('"version": 1', '"version": 7'))
    with pytest.raises(ValueError, match=r"version 7 of the codec microfield.*update microfield"):
        zarr.open(str(tmp_path / "a"), mode="r")


@pytest.mark.parametrize(("data", "configuration", "error", "words"), [
    (np.zeros((8, 8), np.uint64), {"ratio": 8}, UsageError, "uint64"),
    (np.zeros((8,), np.uint8), {"ratio": 8}, InputError, "2 to 5"),
    (np.zeros((8, 8), np.uint8), {"ratio": 8, "axes": "ZYX"}, InputError, "axes"),
    (np.zeros((8, 8), np.uint8), {"ratio": 8, "method": "wings"}, UsageError, "wings"),
    (np.full((8, 8), np.nan, np.float32), {"psnr": 40}, InputError, "NaN"),
    (STACK, {"channel_range": [1.0, 2.0], "psnr": 40}, UsageError, "positive numbers"),
])
def test_arrays_that_cannot_be(data: Any, configuration: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        create(MemoryStore(), data, data.shape, **configuration)


def test_a_damaged_or_truncated_chunk_is_one_sentence(tmp_path: Path) -> None:
    array = create(LocalStore(tmp_path / "a"), STACK, (3, 48, 56), psnr=30, effort=0)
    chunk = tmp_path / "a" / "c" / "1" / "0" / "0"
    whole = chunk.read_bytes()
    for harmed in (whole[:-7], whole[:20] + bytes([whole[20] ^ 1]) + whole[21:], b""):
        chunk.write_bytes(harmed)
        array[2]
        with pytest.raises(FormatError, match=r"truncated|damaged|checksum|empty"):
            array[3]

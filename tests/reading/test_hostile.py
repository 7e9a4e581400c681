"""Files with right checksums that claim what they do not hold: they are refused, or cost what their bytes are worth."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

import numpy as np
import pytest

from helpers.files import compressed, random_part
from helpers.images import image
from microfield.errors import FormatError, InputError
from microfield.format.assembler import write
from microfield.format.container import Container
from microfield.format.header import Header
from microfield.format.source import BytesSource
from microfield.image import Image, Layout
from microfield.io.blocks import contiguous_boxes
from microfield.methods import get_method
from microfield.methods.coordinate.bitstream import Published, Quantised, Shape, pack_published, pack_quantised
from microfield.methods.coordinate.mapping import Mapping
from microfield.reading.file import open_file
from microfield.writing.budget import Budget

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


@pytest.mark.parametrize(("dtype", "low", "high"), [
    ("uint8", 0, 256), ("uint8", -1, 9), ("int16", -40000, 0), ("uint32", 0, 2.0**33), ("float32", 0, np.inf),
    ("float64", np.nan, 1), ("float64", -1.7e308, 1.7e308),
])
def test_a_range_beyond_the_type_is_refused(dtype: str, low: float, high: float) -> None:
    """Casting values outside a type gives other values on every machine. Found by the fuzz harness."""
    layout = layout_of((8, 8), "YX", dtype)
    shape = Shape(0, 0, 0, 1)
    mapping = Mapping(np.array([low]), np.array([high]), np.array([255]), np.array([0]))
    constant = Quantised(shape, (np.ones(1, np.int64),), (100,))
    with pytest.raises(FormatError, match=f"for {dtype} values"):
        open_file(file_of("siren", layout, pack_quantised(constant, "", mapping, layout)))[...]


def wide(width: int, inputs: int = 2) -> bytes:
    """A network of one sine layer whose weights are nearly all 0, in far fewer bytes than weights."""
    shape, rng = Shape(inputs, width, 1, 1), np.random.default_rng(0)
    groups = tuple((rng.random(n) < 0.03).astype(np.int64) for n in shape.group_sizes)
    mapping = Mapping(np.zeros(1), np.ones(1), np.zeros(1, np.int64), np.zeros(1, np.int64))
    return pack_quantised(Quantised(shape, groups, (0,) * len(groups)), "", mapping, layout_of((8, 8), "YX"))


def test_a_wide_network_is_refused_before_it_takes_memory() -> None:
    network = wide(150_000)
    data = file_of("siren", layout_of((8, 8), "YX"), network)
    assert len(data) < 20_000
    with little_memory(16 * LIMIT), pytest.raises(InputError, match="max_read_bytes"):
        open_file(data, max_read_bytes=LIMIT)[0, 0]


def test_the_evaluation_of_a_network_counts() -> None:
    """Wide enough for its buffers to exceed what is free, narrow enough for its weights not to."""
    data = file_of("siren", layout_of((8, 8), "YX"), wide(4000))
    with little_memory(16 * LIMIT), pytest.raises(InputError, match="max_read_bytes"):
        open_file(data, max_read_bytes=LIMIT)[0, 0]
    assert open_file(data)[0, 0] <= 1


def huge() -> bytes:
    """A hundred bytes that claim 2^40 planes of 8 x 8."""
    layout = layout_of((1 << 40, 8, 8), "ZYX")
    part = random_part(layout_of((4, 8, 8), "ZYX"), np.random.default_rng(0), width=2, depth=1)
    return write(Header("siren", 1, layout, {"Z": 1.0, "Y": 1.0}), [(part,)])


def test_views_of_an_absurd_claim_are_refused_by_size() -> None:
    pytest.importorskip("dask.array")
    pytest.importorskip("xarray")
    f = open_file(huge())
    everywhere = np.broadcast_to(np.True_, f.shape)
    with little_memory():
        with pytest.raises(InputError, match="chunks="):
            f.to_dask()
        with pytest.raises(InputError, match="max_read_bytes"):
            f.to_xarray()
        for read in (lambda: f[everywhere], lambda: f.asarray(everywhere), lambda: f.cost(everywhere),
                     lambda: f.preview(1 << 30, average=True)):
            with pytest.raises(InputError, match="max_read_bytes"):
                read()
        assert f[1 << 39, 3, ::2].shape == (4,)
    assert f.to_dask(chunks=(1 << 36, 8, 8)).shape == f.shape


@pytest.mark.parametrize("name", ["a.ome.tif", "a.ome.zarr", "a.npy"])
def test_writing_an_absurd_claim_is_refused(name: str, tmp_path: Path) -> None:
    """By the space it takes, or, where planes are small, by their number."""
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    with little_memory(16 * LIMIT), pytest.raises(InputError):
        open_file(huge()).save(tmp_path / name)
    layout = layout_of((100_000_000, 1, 1), "ZYX")
    f = open_file(file_of("siren", layout, random_part(layout, np.random.default_rng(0), width=2, depth=1)))
    with little_memory(16 * LIMIT):
        if name.endswith("npy"):
            boxes = contiguous_boxes(f.shape, 1)
            assert next(boxes)[0] == slice(0, 1)
        else:
            with pytest.raises(InputError, match="100,000,000 planes"):
                f.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("at", [8, 12, 16, 24, 28, 40])
def test_a_codestream_of_another_size_is_refused_before_it_takes_memory(at: int) -> None:
    """OpenJPEG takes memory for the picture that the stream names. Found by the fuzz harness."""
    data = compressed(image("uint8"), "jpeg2000", Budget("max_bytes", 900))[0]
    opened = Container.open(BytesSource(data))
    section = bytearray(opened.part(0)[0])
    section[section.index(b"\xff\x4f\xff\x51") + at + 1] ^= 0x20
    with pytest.raises(FormatError, match="one tile"):
        open_file(write(opened.header, [(bytes(section),)]))[...]


def test_values_that_are_no_numbers_are_no_warnings() -> None:
    """Signalling NaN, in an exact copy or where a codec stores its range. Found by the fuzz harness."""
    array = np.full((16, 16), 3, np.float32)
    array[3, 4:6] = np.frombuffer(b"\x01\x00\xa0\x7f\x00\x00\x80\x7f", "<f4")
    f = open_file(compressed(Image(array, "YX"), "lossless", Budget("lossless", 1))[0])
    assert np.isnan(f.preview(4, average=True)).sum() == 1
    layout = layout_of((8, 8), "YX", "float32")
    for low in (array[3, 4:5], np.array([-np.inf], np.float32)):
        with pytest.raises(FormatError):
            open_file(file_of("downsample", layout, b"\0" + low.tobytes() + np.float32(9).tobytes() + bytes(30)))[...]


# -- memory of a read -------------------------------------------------------------------------------------------------


def flat_and_noisy(shape: tuple[int, int], tile: dict[str, int] | None = None, method: str = "jpeg2000") -> bytes:
    noise = np.random.default_rng(0).normal(100, 12, shape)
    budget = Budget("ratio", 5 if min(shape) < 100 else 30)
    return compressed(Image(noise.clip(0, 255).astype(np.uint8), "YX"), method, budget, tile=tile)[0]


@pytest.mark.parametrize("method", ["hevc", "av1", "jpeg2000", "field"])
def test_a_read_stays_near_what_it_said_or_is_refused(method: str) -> None:
    """Measured where the system tells the peak of memory: tracemalloc does not see what codecs take."""
    extent = 1000 if method != "field" else 300
    data = flat_and_noisy((extent, extent), method=method)
    needed = open_file(data).cost((0, 0)).memory
    with pytest.raises(InputError, match=rf"method {method} decodes part 0 .*max_read_bytes={needed}"):
        open_file(data, max_read_bytes=needed - 1)[0, 0]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.mfield"
        path.write_bytes(data)
        small = Path(folder) / "small.mfield"
        small.write_bytes(flat_and_noisy((64, 64), method=method))
        program = """
            import sys
            from microfield.bench.machine import peak_memory, reset_peak
            from microfield.reading.file import open_file
            open_file(sys.argv[1])[...]
            if reset_peak():
                before = peak_memory()
                open_file(sys.argv[2], max_read_bytes=int(sys.argv[3]))[0, 0]
                print(peak_memory() - before)
        """
        done = subprocess.run([sys.executable, "-c", dedent(program), str(small), str(path), str(needed)], capture_output=True,
                              text=True, check=True, timeout=100)
    assert int(done.stdout or 0) < 1.25 * needed + (24 << 20)  # Networks and threads of a size that nothing claims.


def test_decoded_parts_are_kept_within_the_limit() -> None:
    data = flat_and_noisy((240, 400), {"x": 40})
    one = open_file(data).cost((0, 0)).memory
    f = open_file(data, max_read_bytes=max(one + 3 * 240 * 40, 240 * 400))
    for x in range(0, 400, 40):
        f[0, x]
    kept = f._parts._decoders._entries
    assert sum(entry.result().held for entry in kept.values()) <= f._parts._working
    assert 1 < len(kept) < 10
    unlimited = open_file(data)
    for x in range(0, 400, 40):
        unlimited[0, x]
    assert len(unlimited._parts._decoders._entries) == 10


def test_too_little_memory_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    f = open_file(file_of("siren", layout_of((8, 8), "YX"), random_part(layout_of((8, 8), "YX"), np.random.default_rng(0))))

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("microfield.methods.coordinate.decoder.evaluate", full)
    for read in (lambda: f[...], lambda: f.at([[1, 2]])):
        with pytest.raises(InputError, match="not enough memory"):
            read()


def test_reads_are_copies() -> None:
    f = open_file(flat_and_noisy((40, 30)))
    first = f[...]
    first[:] = 0
    assert f[...].any()

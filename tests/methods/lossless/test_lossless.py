"""The method `lossless`: exact copies of anything, small, and refused when damaged."""

from __future__ import annotations

import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import microfield as mf
from helpers.clock import stopped_clock
from helpers.files import compressed
from helpers.images import KINDS, blobs, image, scaled
from microfield.cli import main
from microfield.deadline import Deadline
from microfield.errors import BudgetError, FormatError, InputError, UsageError
from microfield.format.assembler import write
from microfield.format.container import Container
from microfield.format.header import Header
from microfield.format.source import BytesSource
from microfield.image import SUPPORTED_DTYPES, Image, Layout, as_image
from microfield.methods.base import Context, PartData
from microfield.methods.lossless import streams, values
from microfield.methods.lossless.method import Lossless, LosslessDecoder, Tried, Way, in_time, packed_as
from microfield.methods.lossless.predict import predictors, residuals, restored
from microfield.reading.file import open_file
from microfield.writing.assemble import plan_file, put_together
from microfield.writing.budget import Budget
from microfield.writing.chunk import ChunkSettings, encode_chunk
from microfield.writing.compress import compress_to_bytes
from microfield.writing.job import prepare
from microfield.writing.plan import JobPlan, encode_planned
from microfield.writing.rate_control import BlockRateControl
from microfield.writing.settings import Settings

EXACTLY = Budget.of(lossless=True)


def same(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Equal bit for bit, NaN and the sign of zero included."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def exact_file(array: npt.NDArray[Any], axes: str, **settings: Any) -> tuple[bytes, Any]:
    return compress_to_bytes(Image(array, axes), EXACTLY, Settings(method="lossless", **settings))


def labels() -> npt.NDArray[np.uint16]:
    y, x = np.mgrid[:60, :70]
    return np.asarray(((y // 12) * 7 + x // 11 + 1) * ((y % 12 > 1) & (x % 11 > 2)), np.uint16)


# -- pieces -----------------------------------------------------------------------------------------------------------


@given(hnp.arrays(st.sampled_from([np.dtype(f"u{n}") for n in (1, 2, 4, 8)]),
                  hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)))
@hypothesis_settings(deadline=None, max_examples=150)
def test_every_predictor_is_undone(planes: npt.NDArray[Any]) -> None:
    for predictor in predictors(planes.shape, planes.dtype.itemsize):
        assert same(restored(residuals(planes, predictor), predictor), planes)


@pytest.mark.parametrize("shape", [(1, 40, 33), (3, 40, 33), (5, 1, 33), (5, 40, 1), (1, 1, 1)])
def test_long_planes_are_undone_too(shape: tuple[int, int, int]) -> None:
    planes = np.random.default_rng(0).integers(0, 1 << 16, shape, np.uint16)
    for predictor in predictors(shape, 2):
        assert same(restored(residuals(planes, predictor), predictor), planes)


def test_large_parts_are_predicted_in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = np.random.default_rng(0).integers(0, 200, (7, 12, 11), np.uint8)
    whole = [residuals(planes, p) for p in predictors(planes.shape, 1)]
    monkeypatch.setattr("microfield.methods.lossless.predict.SLAB", 300)
    for predictor, wanted in zip(predictors(planes.shape, 1), whole, strict=True):
        assert same(residuals(planes, predictor), wanted)


@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES)
def test_numbers_keep_the_order_of_the_values(dtype: str) -> None:
    layout = Layout((1, 7), "YX", np.dtype(dtype))
    limits = np.finfo(dtype) if layout.dtype.kind == "f" else np.iinfo(dtype)
    array = np.array([[limits.min, limits.max, 0, 1, 2, 100, 7]]).astype(dtype)
    numbers = values.to_planes(array, layout)
    assert (np.argsort(numbers.ravel()) == np.argsort(array.ravel())).all()
    assert same(values.from_planes(numbers, layout), array)


@pytest.mark.parametrize("codec", [streams.DEFLATE, streams.BZIP2, streams.LZMA2])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_streams_hold_just_their_numbers(codec: int, interleaved: bool, size: int) -> None:
    numbers = (np.random.default_rng(0).integers(0, 255, (3, 5, 7)) ** 2).astype(f"u{size}")
    data = streams.pack(numbers, codec, interleaved, 5)
    assert same(streams.unpack(data, codec, interleaved, (3, 5, 7), size), numbers)
    for shape in ((3, 5, 6), (3, 5, 8)):
        with pytest.raises(FormatError):
            streams.unpack(data, codec, interleaved, shape, size)
    with pytest.raises(FormatError):
        streams.unpack(data + b"x", codec, interleaved, (3, 5, 7), size)


@pytest.mark.parametrize("codec", [streams.DEFLATE, streams.BZIP2, streams.LZMA2])
def test_a_stream_that_unpacks_to_far_too_much_takes_no_memory(codec: int) -> None:
    bomb = streams.pack(np.zeros((1, 4000, 4000), np.uint8), codec, True, 1)
    tracemalloc.start()
    with pytest.raises(FormatError):
        streams.unpack(bomb, codec, True, (1, 10, 10), 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


# -- whole files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES)
@pytest.mark.parametrize(("shape", "axes"), [((31, 28), "YX"), ((4, 9, 2, 7), "ZYCX"), ((2, 3, 12, 10), "TCYX")])
def test_every_type_comes_back_bit_for_bit(dtype: str, shape: tuple[int, ...], axes: str) -> None:
    random = np.random.default_rng(1).integers(0, 256, np.prod(shape) * np.dtype(dtype).itemsize, np.uint8)
    array = random.view(dtype).reshape(shape)  # Floats hold NaN, infinities and every magnitude.
    data, report = exact_file(array, axes)
    assert same(open_file(data).asarray(), array)
    assert report.exact
    assert report.psnr == np.inf


def test_nan_and_the_sign_of_zero_stay() -> None:
    array = blobs((20, 30)).astype(np.float32)
    array[3, :6] = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45]
    array.view(np.uint32)[4, 0] = 0x7FC01234  # A NaN with something in it.
    data, report = exact_file(array, "YX")
    assert same(open_file(data).asarray(), array)
    assert report.exact
    assert report.noise_factor == 0 or report.noise_factor is None


def test_floats_that_are_whole_numbers_are_stored_as_such() -> None:
    counts = np.random.default_rng(0).poisson(40, (60, 60))
    as_floats, _ = exact_file(counts.astype(np.float32), "YX")
    as_integers, _ = exact_file(counts.astype(np.int32), "YX")
    assert len(as_floats) <= len(as_integers) + 8
    assert same(open_file(as_floats).asarray(), counts.astype(np.float32))
    negative_zero = counts.astype(np.float32)
    negative_zero[0, 0] = -0.0
    assert same(open_file(exact_file(negative_zero, "YX")[0]).asarray(), negative_zero)


def test_labels_and_masks_are_taken_as_they_are() -> None:
    data, report = exact_file(labels(), "YX")
    assert same(open_file(data).asarray(), labels())
    assert len(data) < 700
    assert report.exact
    mask = labels() > 3
    file, _ = compress_to_bytes(as_image(mask, "YX"), EXACTLY, Settings(method="lossless"))
    assert same(open_file(file).asarray(), mask.astype(np.uint8))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_smaller_than_deflate_with_and_without_a_predictor(kind: str) -> None:
    array = image(kind).read()
    plain = len(zlib.compress(array.tobytes(), 9))
    whole = array.view(f"i{array.dtype.itemsize}")
    predicted = len(zlib.compress(np.diff(whole, axis=-1, prepend=whole.dtype.type(0)).tobytes(), 9))
    data, _ = exact_file(array, image(kind).axes)
    assert len(data) < min(plain, predicted)


def test_colours_are_coded_as_differences_where_that_is_shorter() -> None:
    grey = scaled(blobs((64, 64), count=20), 10, 240, np.uint8).astype(int)
    rng = np.random.default_rng(0)
    tinted = np.stack([grey, grey + 9, grey // 2 + 90], -1) + rng.integers(-1, 2, (64, 64, 3))
    array = np.clip(tinted, 0, 255).astype(np.uint8)
    data, _ = exact_file(array, "YXS")
    f = open_file(data)
    assert same(f.asarray(), array)
    (section,) = Container.open(BytesSource(data)).part(0)
    assert Way.of(section[0], f.layout).colour


def test_tiles_are_read_alone() -> None:
    array = scaled(blobs((6, 50, 60), count=20), 100, 4000, np.uint16)
    data, report = exact_file(array, "ZYX", tile={"y": 25, "x": 20})
    assert report.parts == 6
    f = open_file(data)
    assert same(f[2:4, 10:30, 15:45], array[2:4, 10:30, 15:45])
    assert f.cost((2, 3, 4)).voxels == 6 * 25 * 20


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_the_cost_of_a_read_covers_the_memory_it_takes(dtype: str) -> None:
    array = np.random.default_rng(0).normal(100, 10, (4, 128, 128)).astype(dtype)
    layout = Layout(array.shape, "ZYX", array.dtype)
    planes = values.to_planes(array, layout)
    for predictor in predictors(planes.shape, planes.dtype.itemsize):
        decoder = LosslessDecoder(layout, packed_as(planes, Way(predictor, predictor % 3), layout, 1))
        tracemalloc.start()
        decoder.values()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak <= decoder.cost((range(1), range(1), range(1))).memory


def test_when_time_is_short_a_faster_compressor_is_taken() -> None:
    slow, fast = Tried(Way(2, streams.LZMA2), 100, 1e-3), Tried(Way(3, streams.BZIP2), 110, 1e-5)
    with stopped_clock():
        assert in_time([slow, fast], 10_000, Deadline()) == ([slow.way], ())
        assert in_time([slow, fast], 10_000, Deadline.after(100)) == ([slow.way], ())
        assert in_time([slow, fast], 10_000, Deadline.after(5)) == ([fast.way], ("slower compressors",))
        assert in_time([slow, fast], 10_000, Deadline.after(0.01)) == ([fast.way], ("slower compressors",))
    array = scaled(blobs((8, 64, 64), count=20), 100, 4000, np.uint16)
    with stopped_clock(0.5):
        assert same(open_file(exact_file(array, "ZYX", time_limit=1)[0]).asarray(), array)


def test_a_part_that_would_not_decode_to_itself_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microfield.methods.lossless.method.restored", lambda left, predictor: left ^ 1)
    with pytest.raises(AssertionError, match="does not decode to what it was"):
        exact_file(labels(), "YX")


def test_damage_and_absurd_ways_are_refused() -> None:
    layout = Layout((5, 6), "YX", np.dtype("uint8"))
    header = Header(method="lossless", bitstream_version=1, layout=layout)
    for section in (b"", bytes([4]), bytes([0xC0]), bytes([7]), bytes([8]), bytes([32]), bytes([0x80]) + b"junk"):
        with pytest.raises(FormatError):
            open_file(write(header, [(section,)])).asarray()


def test_it_serves_methods_that_consist_of_others() -> None:
    layout, block = Layout((60, 70), "YX", np.dtype("uint16")), labels()
    context = Context(np.ones(1), np.ones(1))
    encoded = BlockRateControl().to_size(Lossless(), block, layout, 5000, context)
    assert same(Lossless.decoder(layout, 1, PartData(encoded.sections)).read((range(60), range(70))), block)
    assert BlockRateControl().to_quality(Lossless(), block, layout, 1e-3, 5000, context).sections == encoded.sections
    with pytest.raises(BudgetError):
        BlockRateControl().to_size(Lossless(), block, layout, encoded.payload - 1, context)


def test_parts_may_be_coded_elsewhere_and_put_together() -> None:
    image = Image(labels(), "YX")
    job = prepare(image, Settings(method="lossless", tile={"y": 20}), Deadline(), lambda *_: None)
    plan, around = plan_file(job, EXACTLY)
    plan = JobPlan.from_dict(plan.to_dict())
    parts = ((one.sections, None) for one in (encode_planned(plan, image, i) for i in range(3)))
    stream = BytesIO()
    put_together(around, parts, stream)
    assert same(open_file(stream.getvalue()).asarray(), labels())


def test_chunks_of_a_store_are_kept_exactly() -> None:
    block = labels().astype(np.float32)
    block[0, 0] = np.nan
    chunk = ChunkSettings.from_dict(ChunkSettings(EXACTLY, Settings(method="lossless")).to_dict())
    layout = Layout((60, 70), "YX", np.dtype("float32"))
    data = encode_chunk(block, layout, chunk)
    assert same(open_file(data, host=layout).asarray(), block)


# -- what is asked ----------------------------------------------------------------------------------------------------


def test_lossless_is_asked_for_without_a_budget(tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [{"lossless": True}, {"method": "lossless"}, {"lossless": True, "method": "lossless"}]
    for number, how in enumerate(ways):
        report = mf.compress(labels(), tmp_path / f"{number}.mfield", axes="YX", **how)
        assert report.exact
        assert report.method == "lossless"
    with pytest.raises(UsageError, match="leave out method=field"):
        mf.compress(labels(), tmp_path / "x.mfield", lossless=True, method="field")
    with pytest.raises(UsageError, match="exactly one"):
        mf.compress(labels(), tmp_path / "x.mfield", lossless=True, ratio=3)
    with pytest.raises(UsageError, match="changes values"):
        mf.compress(labels(), tmp_path / "x.mfield", lossless=True, nan_fill=0)
    with pytest.raises(UsageError, match="makes no exact copies"):
        compress_to_bytes(image("uint8"), EXACTLY, Settings())


def test_an_exact_copy_that_must_meet_a_budget_says_what_it_takes() -> None:
    data, report = compressed(image("uint8"), "lossless", Budget("ratio", 1.2))
    assert report.used == pytest.approx(len(data) / (1920 // 1.2), rel=0.01)
    said = r"192 bytes are too few: an exact copy of uint8 takes at least \d{4} bytes \(ratio 1\.\d"
    with pytest.raises(BudgetError, match=said):
        compressed(image("uint8"), "lossless", Budget("ratio", 10))


def test_the_command_line_keeps_labels_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, packed, back = tmp_path / "labels.npy", tmp_path / "labels.mfield", tmp_path / "back.npy"
    np.save(source, labels())
    assert main(["compress", str(source), str(packed), "--ratio", "20"]) != 0
    assert "--lossless" in capsys.readouterr().err
    assert main(["compress", str(source), str(packed), "--lossless"]) == 0
    assert "exact copy" in capsys.readouterr().out
    assert main(["decompress", str(packed), str(back)]) == 0
    assert same(np.load(back), labels())
    assert main(["compress", str(source), str(packed), "--lossless", "--overwrite", "--method", "hevc"]) == 2
    assert "leave out --method hevc" in capsys.readouterr().err


def test_labels_in_floats_with_nan_need_no_switch(tmp_path: Path) -> None:
    array = labels().astype(np.float64)
    array[0, 0] = np.nan
    mf.compress(array, tmp_path / "l.mfield", axes="YX", lossless=True)
    assert same(mf.open(tmp_path / "l.mfield").asarray(), array)
    with pytest.raises(InputError, match="NaN"):
        mf.compress(array, tmp_path / "m.mfield", axes="YX", ratio=10)


def test_it_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    assert "lossless" in capsys.readouterr().out
    assert not Lossless.requires

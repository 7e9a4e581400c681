"""The conventional codecs: what they share (intensities, sheets, mosaics) and that each is fed as it should be."""

from __future__ import annotations

import math
import os
import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers.files import compressed
from helpers.images import blobs, scaled
from microfield.errors import BudgetError, FormatError, InputError, UsageError
from microfield.format.assembler import write
from microfield.format.container import Container
from microfield.format.header import Header
from microfield.format.source import BytesSource
from microfield.image import Image, Layout
from microfield.methods import get_method, names
from microfield.methods.base import Context
from microfield.methods.conventional.base import Arrangement
from microfield.methods.conventional.downsample import cells, interpolate, pool
from microfield.methods.conventional.intensities import Intensities
from microfield.methods.conventional.mosaic import LONGEST, columns, from_mosaic, to_mosaic
from microfield.methods.conventional.sheets import Sheets, from_opponent, is_colour, orders, to_opponent
from microfield.methods.conventional.stills import StillCodec
from microfield.methods.conventional.video import Av1, Hevc, Video
from microfield.metrics import psnr
from microfield.reading.file import open_file
from microfield.writing.budget import Budget

Array = npt.NDArray[Any]

STILLS = [name for name in names() if issubclass(get_method(name), StillCodec)]
"""Every codec of pictures there is: a new one is tested by what it declares."""


def in_colour(name: str) -> bool:
    method = get_method(name)
    return issubclass(method, StillCodec) and method.colour


def stack(shape: tuple[int, ...] = (10, 64, 60), axes: str = "ZYX", dtype: Any = np.uint16) -> Image:
    """Blobs that go on from plane to plane."""
    return Image(scaled(blobs(shape, 3, 12), 200, 40000 if dtype == np.uint16 else 250, dtype), axes)


# -- intensities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
@given(data=st.data())
def test_the_mapping_survives_its_bytes_and_keeps_grey_levels(dtype: str, data: st.DataObject) -> None:
    kind = np.dtype(dtype)
    limits: dict[str, Any] = {"min_value": -2.0**20, "max_value": 2.0**20} if kind.kind == "f" else {}
    elements = hnp.from_dtype(kind, allow_nan=False, allow_infinity=False, **limits)
    channels = data.draw(hnp.arrays(kind, (3, 5), elements=elements))
    weights = np.array(data.draw(st.lists(st.floats(0.1, 10), min_size=3, max_size=3)))
    span = np.ptp(channels.astype(np.float64), axis=1)
    made = Intensities.of(channels, np.where(span > 0, span, 1.0), weights, 1.0)
    layout = Layout((3, 1, 5), "CYX", kind)
    read, rest = Intensities.unpack(made.pack(kind) + b"more", layout)
    assert rest == b"more"
    np.testing.assert_array_equal(read.low, made.low)
    np.testing.assert_array_equal(read.high, made.high)
    np.testing.assert_array_equal(read.gain[made.coded], made.gain[made.coded])
    stretched = made.stretch(channels)
    assert stretched.shape == (int((span > 0).sum()), 5)
    assert stretched.size == 0 or (stretched.min() >= 0 and stretched.max() <= 1 + 1e-6)
    back = read.restore(stretched, kind).astype(np.float64)
    tolerance = np.maximum(1e-5 * span, 0.51 if kind.kind in "iu" else 1e-30)[:, None]
    assert (np.abs(back - channels.astype(np.float64)) <= tolerance).all()


def test_gains_follow_the_weights_and_the_range_of_the_whole_image() -> None:
    channels = np.array([[0, 100], [0, 100], [0, 25]], np.uint8)
    made = Intensities.of(channels, np.array([100.0, 100.0, 100.0]), np.array([1.0, 0.25, 1.0]), 1.0)
    np.testing.assert_allclose(made.gain, [1, 0.5, 0.25])


def test_a_mapping_that_makes_no_sense_is_refused() -> None:
    layout = Layout((2, 2), "YX", np.dtype("uint8"))
    for data in (b"", b"\x00\x01", b"\x04\x01\x02", b"\x00\x05\x05", b"\x00\x09\x05", b"\x02\x01\x05"):
        with pytest.raises(FormatError):
            Intensities.unpack(data, layout)
    floats = Layout((2, 2), "YX", np.dtype("float32"))
    with pytest.raises(FormatError):
        Intensities.unpack(b"\x00" + np.array([0, np.nan], "<f4").tobytes(), floats)


# -- sheets and colour ------------------------------------------------------------------------------------------------


@given(axes=st.sampled_from(["YX", "ZYX", "TYX", "TZYX", "ZTYX", "TCZYX", "YXS", "CYX", "YCX", "XYZTC", "ZCTYXS"]),
       order=st.sampled_from("ZT"), seed=st.integers(0, 9))
def test_gathering_is_undone_by_scattering(axes: str, order: str, seed: int) -> None:
    shape = tuple(int(n) for n in np.random.default_rng(seed).integers(1, 5, len(axes)))
    block = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    sheets = Sheets(Layout(shape, axes, block.dtype), order)
    gathered = sheets.gather(block)
    assert gathered.shape == sheets.shape
    np.testing.assert_array_equal(sheets.scatter(gathered), block, strict=True)


def test_neighbouring_frames_are_neighbours_in_z_or_t() -> None:
    block = np.arange(3 * 4).reshape(3, 4, 1, 1)  # TZYX
    layout = Layout(block.shape, "TZYX", np.dtype("int32"))
    assert orders(layout) == ("Z", "T")
    assert Sheets(layout, "Z").gather(block).ravel().tolist() == [0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11]
    assert Sheets(layout, "T").gather(block).ravel().tolist() == [0, 4, 8, 9, 5, 1, 2, 6, 10, 11, 7, 3]
    assert orders(Layout((4, 2, 2), "ZYX", np.dtype("int32"))) == ("Z",)


def test_an_opponent_error_of_one_step_is_worth_the_same_in_every_sample() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.random((3, 20, 30)).astype(np.float32)
    mixed = to_opponent(rgb)
    assert mixed.min() >= 0
    assert mixed.max() <= 1
    np.testing.assert_allclose(from_opponent(mixed), rgb, atol=2e-6)
    grey = to_opponent(np.full((3, 1, 1), 0.25, np.float32))
    np.testing.assert_allclose(grey.ravel(), [0.25, 0.5, 0.5], atol=1e-6)
    for i in range(3):
        moved = mixed.copy()
        moved[i] += 0.01
        assert np.mean((from_opponent(moved) - rgb) ** 2) == pytest.approx(0.01**2, rel=1e-3)
    assert is_colour(Layout((5, 6, 3), "YXS", np.dtype("uint8")))
    assert not is_colour(Layout((3, 5, 6), "CYX", np.dtype("uint8")))


# -- mosaics ----------------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 30), y=st.integers(1, 40), x=st.integers(1, 9))
def test_a_mosaic_comes_apart_again(n: int, y: int, x: int) -> None:
    planes = np.arange(n * y * x, dtype=np.uint16).reshape(n, y, x)
    np.testing.assert_array_equal(from_mosaic(to_mosaic(planes), n, y, x), planes, strict=True)


@pytest.mark.parametrize(("n", "y", "x"), [(60, 320, 256), (101, 700, 700), (51, 512, 512), (17, 1000, 900)])
def test_a_mosaic_stays_within_what_formats_can_hold(n: int, y: int, x: int) -> None:
    picture = to_mosaic(np.zeros((n, y, x), np.uint8))
    assert max(picture.shape) <= LONGEST
    assert picture.size < 1.2 * n * y * x
    assert columns(n, y, x) > 1
    with pytest.raises(FormatError, match="mosaic"):
        from_mosaic(picture[1:], n, y, x)


# -- the codecs on a stack --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hevc", "av1", "sperr"])
def test_a_stack_is_coded_better_than_its_planes_are(name: str) -> None:
    """The frame axis is used: at equal bytes a stack is better than with every second plane turned upside down."""
    planes = np.stack([blobs((64, 60), 4, 10) * (1 - k / 40) for k in range(12)])
    turned = planes.copy()
    turned[1::2] = planes[1::2, ::-1]
    alike, unlike = (Image(scaled(values, 200, 40000, np.uint16), "ZYX") for values in (planes, turned))
    budget = Budget("ratio", 60)
    assert compressed(alike, name, budget)[1].psnr > compressed(unlike, name, budget)[1].psnr + 1


@pytest.mark.parametrize("name", ["hevc", "av1"])
def test_the_better_frame_axis_is_found(name: str) -> None:
    """Ten different objects that hardly move in time: T is the axis to follow, whatever the order of the axes."""
    still = np.stack([blobs((64, 60), seed, 6) for seed in range(10)])
    moving = np.stack([np.roll(still, t // 3, axis=2) for t in range(8)])  # TZYX
    image = Image(scaled(moving, 100, 30000, np.uint16), "TZYX")
    reached = {frames: compressed(image, name, Budget("ratio", 80), options={"frames": frames})[1].psnr
               for frames in ("auto", "T", "Z")}
    assert reached["T"] > reached["Z"] + 0.5
    assert reached["auto"] == pytest.approx(reached["T"], abs=0.01)
    with pytest.raises(UsageError, match="frames"):
        compressed(image, name, Budget("ratio", 80), options={"frames": "C"})


@pytest.mark.parametrize("name", ["hevc", "av1"])
def test_the_full_code_range_is_used(name: str) -> None:
    """A 12-bit camera's values in 16 bits, on an offset: nothing is lost to unused bits."""
    plain = stack((6, 64, 60))
    narrow = Image((plain.read() // 160 + 32768).astype(np.uint16), "ZYX")
    budget = Budget("ratio", 40)
    assert compressed(narrow, name, budget)[1].psnr > compressed(plain, name, budget)[1].psnr - 0.5


@pytest.mark.parametrize("method", [Hevc, Av1])
def test_rate_factors_beyond_the_last_shrink_the_code_range(method: type[Hevc | Av1]) -> None:
    layout = Layout((4, 64, 60), "ZYX", np.dtype("uint16"))
    block = stack(layout.shape).read()
    context = Context(np.array([float(np.ptp(block))]), np.ones(1), effort=0)
    sizes, errors = [], []
    for knob in (20, 40, method.last, method.last + 6, method.last + 14):
        quality = 1000 * (knob - method.coarse) / (method.fine - method.coarse)
        encoded = method().encode(block, layout, quality, context)
        sizes.append(encoded.payload)
        errors.append(float(encoded.measured[0]))
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 5
    assert errors == sorted(errors)


def test_colour_frames_and_three_films_are_both_known() -> None:
    rng = np.random.default_rng(0)
    soft = np.stack([blobs((64, 60), s, 10) for s in (1, 2, 3)], -1)
    image = Image(scaled(soft, 10, 240, np.uint8), "YXS")
    sharp = Image(rng.integers(0, 2, (64, 60, 3)).astype(np.uint8) * 200, "YXS")
    packings = set()
    for source in (image, sharp):
        for name in ("hevc", "av1"):
            data, report = compressed(source, name, Budget("ratio", 5))
            grey = source.read().astype(float)
            errors = np.mean((open_file(data).asarray() - grey) ** 2, axis=(0, 1))
            assert report.psnr == pytest.approx(psnr(errors, np.ptp(grey, axis=(0, 1))), abs=1e-6)
            (section,) = Container.open(BytesSource(data)).part(0)
            packings.add((name, section[1 + 6] >> 4))
    assert packings == {("hevc", 1), ("av1", 0), ("av1", 1)}


@pytest.mark.parametrize("name", [name for name in STILLS if in_colour(name)])
def test_picture_codecs_get_colour_as_colour_where_that_is_better(name: str) -> None:
    alike = blobs((96, 90), 2, 30)
    soft = np.stack([alike, 0.7 * alike + 0.1, 0.5 * alike + 0.2], -1)
    image = Image(scaled(soft, 10, 240, np.uint8), "YXS")
    data, _ = compressed(image, name, Budget("ratio", 12))
    (section,) = Container.open(BytesSource(data)).part(0)
    decoded = open_file(data).asarray().astype(float)
    assert psnr(np.mean((decoded - image.read()) ** 2, axis=(0, 1)), np.ptp(image.read().astype(float), axis=(0, 1))) > 24
    assert section[1 + 6] >> 4 in (0, 1)
    planes = bytearray(section)
    planes[7] = 0x11 ^ 0x01  # a colour picture of what is no colour image
    grey = Header(name, 1, Layout((3, 96, 90), "CYX", np.dtype("uint8")), checksum=bytes(8))
    with pytest.raises(FormatError):
        open_file(write(grey, [(bytes(planes),)])).asarray()


def test_a_constant_sample_of_a_colour_image_costs_nothing_and_stays() -> None:
    array = scaled(np.stack([blobs((40, 36), s, 5) for s in (1, 2, 3)], -1), 10, 240, np.uint8)
    array[..., 1] = 77
    for name in ("hevc", "av1", "sperr", "jpeg2000"):
        decoded = open_file(compressed(Image(array, "YXS"), name, Budget("max_bytes", 1100))[0]).asarray()
        assert (decoded[..., 1] == 77).all()


def test_a_picture_codec_is_what_it_declares() -> None:
    """One class with a few declared facts is all that a codec takes."""

    class Png(StillCodec):
        name = "png-for-tests"
        summary = "PNG, lossless at every setting of its knob."
        functions = "png"
        coarse, fine = 0.0, 1.0
        peak = 255

        @staticmethod
        def encoder_arguments(picture: Any, knob: float, effort: int) -> dict[str, Any]:
            assert picture.dtype == np.uint8
            return {"level": effort}

    image = stack((6, 40, 36), dtype=np.uint8)
    context = Context(np.array([float(np.ptp(image.read()))]), np.ones(1), effort=9)
    encoded = Png().encode(image.read(), image.layout, 500.0, context)
    assert encoded.payload < image.nbytes
    assert encoded.measured[0] < 0.3  # From rounding to codes alone.


def test_the_codecs_that_take_colour_pictures_are_known() -> None:
    assert {"jpeg2000", "htj2k", "jpegxl", "jpegxr", "avif", "webp", "lerc"} <= set(STILLS)
    assert {"jpegxl", "avif", "webp"} <= {name for name in STILLS if in_colour(name)}


# -- honest access and refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hevc", "av1", "sperr", "jpeg2000", "downsample"])
def test_a_voxel_costs_the_whole_part_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f = open_file(compressed(stack(), name, Budget("ratio", 30))[0], trusted=True)
    cost = f.cost(np.s_[0, 0, 0])
    assert cost.voxels == f.size
    assert cost.nbytes > 0.8 * f.file_bytes
    chosen = get_method(name)
    calls = []
    expand = chosen.expand  # type: ignore[attr-defined]

    def counted(cls: Any, *arguments: Any) -> Any:
        calls.append(cls)
        return expand(*arguments)

    monkeypatch.setattr(chosen, "expand", classmethod(counted))
    first = f[3]
    assert (f[3, 5:9] == first[5:9]).all()
    assert f.at([[3, 1, 2]])[0] == first[1, 2]
    assert len(calls) == 1


def test_a_part_larger_than_a_read_may_be_is_not_unpacked() -> None:
    data = compressed(stack(), "hevc", Budget("ratio", 30))[0]
    f = open_file(data, max_read_bytes=10_000)
    with pytest.raises(InputError, match=r"decodes part 0 of .* whole"):
        f[0, 0, 0]


@pytest.mark.parametrize("name", ["hevc", "av1"])
def test_a_film_of_another_size_is_refused(name: str) -> None:
    """The same stream behind the header of another image, all checksums right."""
    data = compressed(stack((6, 64, 60)), name, Budget("ratio", 30))[0]
    (section,) = Container.open(BytesSource(data)).part(0)
    for shape in ((5, 64, 60), (7, 64, 60), (6, 20, 60), (6, 200, 60), (6, 64, 300)):
        header = Header(method=name, bitstream_version=1, layout=Layout(shape, "ZYX", np.dtype("uint16")))
        with pytest.raises(FormatError):
            open_file(write(header, [(section,)])).asarray()


@pytest.mark.parametrize("name", ["jpegxl", "jpegxr", "zfp"])
def test_a_ratio_out_of_reach_is_one_sentence_that_names_what_is_possible(name: str) -> None:
    rng = np.random.default_rng(0)
    noise = Image(rng.integers(0, 60000, (4, 64, 64)).astype(np.uint16), "ZYX")
    with pytest.raises(BudgetError, match=rf"takes at least \d+ bytes with method {name}") as refused:
        compressed(noise, name, Budget("ratio", 400))
    assert str(refused.value).count(". ") == 0


# -- downsample -------------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 40), side=st.floats(1, 60), axis=st.integers(0, 1))
def test_pooling_averages_and_interpolation_keeps_constants_and_ramps(n: int, side: float, axis: int) -> None:
    m = cells(n, side)
    assert 1 <= m <= n
    values = np.random.default_rng(n).random((n, 3) if axis == 0 else (3, n)).astype(np.float32)
    small = pool(values, axis, m)
    assert small.shape[axis] == m
    np.testing.assert_allclose(small.mean(axis=axis), values.mean(axis=axis), rtol=1e-4)
    fine = np.repeat(values, m, axis)  # cells of n of these small voxels each: plain block means
    blocks = fine.reshape((m, n, 3) if axis == 0 else (3, m, n))
    np.testing.assert_allclose(small, blocks.mean(axis=axis + 1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(interpolate(np.ones_like(small), axis, n), 1)
    ramp = np.moveaxis(np.broadcast_to(np.arange(n, dtype=np.float32) + 0.5, (3, n)), -1, axis)
    if n % m == 0:  # Only then does a cell's mean equal the ramp in its middle.
        inside = (np.arange(n) + 0.5 > n / m / 2) & (np.arange(n) + 0.5 < n - n / m / 2)
        back = interpolate(pool(ramp, axis, m), axis, n)
        np.testing.assert_allclose(back.compress(inside, axis), ramp.compress(inside, axis), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [*STILLS, "zfp"])
def test_a_stream_of_a_large_picture_takes_no_memory_for_it(name: str) -> None:
    """The stream of a picture of 2000 x 2000 pixels behind the header of a small one."""
    large = Image(np.add.outer(np.arange(2000), np.arange(2000)).astype(np.uint16), "YX")
    data = compressed(large, name, Budget("ratio", 40 if name != "zfp" else 8))[0]
    (section,) = Container.open(BytesSource(data)).part(0)
    f = open_file(write(Header(name, 1, Layout((16, 16), "YX", np.dtype("uint16")), checksum=bytes(8)), [(section,)]))
    tracemalloc.start()
    with pytest.raises(FormatError):
        f.asarray()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2000 * 2000


def test_channels_in_tiles_of_their_own_keep_their_weights() -> None:
    from helpers.images import image

    channels = image("channels")
    difference = []
    for weights in ((30.0, 1.0), (1.0, 30.0), (1.0, 0.0)):
        _, report = compressed(channels, "hevc", Budget("max_bytes", 500), channel_weights=weights, tile={"c": 1})
        difference.append(report.channel_psnr[0] - report.channel_psnr[1])
    assert difference[0] > difference[1] + 2
    assert difference[2] > difference[1] + 2


def test_what_a_codec_cannot_use_is_refused() -> None:
    source = stack()
    weights = np.ones(source.shape, np.float32)
    for setting in ({"saliency": weights}, {"guide": "filament"}, {"optimiser": object}):
        with pytest.raises(UsageError, match="cannot use"):
            compressed(source, "av1", Budget("ratio", 20), **setting)


@pytest.mark.parametrize("name", ["hevc", "av1", "webp"])
def test_a_picture_beyond_a_codecs_limits_is_one_sentence(name: str) -> None:
    wide = Image(np.tile(np.arange(200, dtype=np.uint8), (20, 100)), "YX")
    with pytest.raises(InputError, match="tile="):
        compressed(wide, name, Budget("ratio", 20))


@pytest.mark.parametrize("shape", [(80, 20), (66, 16), (20, 140), (70, 24), (64, 16)])
@pytest.mark.parametrize("name", ["hevc", "av1"])
def test_narrow_pictures_are_coded(name: str, shape: tuple[int, int]) -> None:
    """SVT-AV1 stands still over some of these unless they are widened."""
    source = Image(scaled(blobs((3, *shape), 3, 12), 200, 40000, np.uint16), "ZYX")
    data, report = compressed(source, name, Budget("ratio", 20))
    assert open_file(data).shape == (3, *shape)
    assert report.psnr > 20


@pytest.mark.parametrize("extent", [(34, 15), (34, 16), (34, 32), (16, 66)])
def test_hevc_makes_the_same_stream_of_narrow_films_every_time(extent: tuple[int, int]) -> None:
    """x265 reads memory that it never wrote where a side of a picture is 16, 32 or 64."""
    rng = np.random.default_rng(0)
    sheets = (stack((6, *extent)).read() / 65535 + rng.normal(0, 0.03, (6, *extent))).clip(0, 1).astype(np.float32)[None]
    streams = set()
    for repeat in range(5):
        used = [np.full(1000 * repeat + 1, repeat)]  # Other memory each time.
        streams.add(Hevc().compress(sheets, Arrangement(), 20.0, 0))
        del used
    assert len(streams) == 1


@pytest.mark.parametrize("width", [16, 31, 64])
def test_narrow_films_of_earlier_versions_decode(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = stack((3, 40, width))
    data = compressed(source, "hevc", Budget("ratio", 10))[0]
    with monkeypatch.context() as earlier:
        earlier.setattr(Hevc, "padded", Video.padded)
        old = compressed(source, "hevc", Budget("ratio", 10))[0]
    assert old != data
    difference = open_file(old).asarray().astype(float) - source.read()
    assert np.abs(difference).mean() < 1500


@pytest.mark.parametrize("name", ["hevc", "av1"])
def test_films_decode_on_one_thread(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several, dav1d waits for itself for ever over some damaged streams, and no signal ends it."""
    import av

    data = compressed(stack(), name, Budget("ratio", 30))[0]
    made = []
    create = av.CodecContext.create

    def recorded(*arguments: Any) -> Any:
        made.append(create(*arguments))
        return made[-1]

    monkeypatch.setattr("av.CodecContext", SimpleNamespace(create=recorded))
    open_file(data)[...]
    assert [context.thread_count for context in made] == [1]


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="the system does not tell how threads are scheduled")
@pytest.mark.parametrize("name", ["av1", "hevc"])
def test_encoders_leave_the_scheduling_of_threads_as_it_was(name: str) -> None:
    """As root, SVT-AV1 makes the thread that calls it a real-time thread, which takes a whole processor from all other programs."""
    before = os.sched_getscheduler(0)
    compressed(stack(), name, Budget("ratio", 30))
    assert os.sched_getscheduler(0) == before


def test_a_quality_beyond_the_finest_setting_says_what_is_possible() -> None:
    ramp = Image(np.linspace(0, 1, 64 * 60, dtype=np.float32).reshape(64, 60), "YX")
    with pytest.raises(BudgetError, match=r"av1 reaches at most \d+\.\d+ dB"):
        compressed(ramp, "av1", Budget("psnr", 95))


def test_unlike_channels_do_not_spoil_one_another() -> None:
    """Sparse bright dots at other places in every channel, finely coded: each is as good as alone."""
    rng = np.random.default_rng(5)
    channels = np.where(rng.random((3, 64, 60)) < 0.02, rng.integers(2000, 60000, (3, 64, 60)), 0).astype(np.uint16)
    _, report = compressed(Image(channels, "CYX"), "av1", Budget("ratio", 4))
    alone = [compressed(Image(c, "YX"), "av1", Budget("ratio", 4))[1].psnr for c in channels]
    assert min(report.channel_psnr) > min(alone) - 4

"""The method `field`: channels, rotations, groups, heads, round trips, previews, networks that are missing."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import cache
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
from helpers.files import Packed, compressed
from helpers.images import blobs, image, scaled
from microfield.errors import FormatError, UsageError
from microfield.format.assembler import write
from microfield.format.container import Container
from microfield.format.header import Header
from microfield.format.source import BytesSource
from microfield.image import SUPPORTED_DTYPES, Image, Layout
from microfield.methods.base import Context, PartData
from microfield.methods.field import channel_search, coefficients
from microfield.methods.field.adaptive_filter import KINDS, Filter
from microfield.methods.field.channels import Channels, dark_codes, measured, power_of_two
from microfield.methods.field.coefficients import CodingOrder
from microfield.methods.field.decoder import _pooled, contexts_of
from microfield.methods.field.film_order import Film
from microfield.methods.field.groups import Groups, extents_of, gathered, scattered, times
from microfield.methods.field.head import CONSTANT, LATEST, Head, pinned, step_of
from microfield.methods.field.method import FieldMethod, FieldOptions
from microfield.methods.field.rotation import FINEST, PRECISION, WHOLE, Rotation, count, rotation_of
from microfield.methods.field.schedules import NAMES, WORDS
from microfield.methods.options import parse_options
from microfield.reading.file import open_file
from microfield.writing.budget import Budget

Array = npt.NDArray[Any]


def context_for(block: Array, layout: Layout, **changed: Any) -> Context:
    flat = gathered(block, layout).reshape(layout.channels, -1).astype(np.float64)
    span = np.ptp(flat, axis=1)
    return Context(np.where(span > 0, span, 1.0), np.ones(layout.channels), **changed)


def decoded(layout: Layout, sections: tuple[bytes, ...]) -> Array:
    decoder = FieldMethod.decoder(layout, FieldMethod.bitstream_version, PartData(sections))
    return decoder.read(tuple(range(n) for n in layout.shape))


# -- axes -------------------------------------------------------------------------------------------------------------


@given(axes=st.sampled_from(["YX", "XY", "ZYX", "TYX", "TZYX", "ZTYX", "TCZYX", "YXS", "CYX", "YCX", "XYZTC", "ZCYXS"]),
       seed=st.integers(0, 9))
def test_gathering_is_undone_by_scattering(axes: str, seed: int) -> None:
    shape = tuple(int(n) for n in np.random.default_rng(seed).integers(1, 5, len(axes)))
    block = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    layout = Layout(shape, axes, block.dtype)
    values = gathered(block, layout)
    t, z, y, x = extents_of(layout)
    assert values.shape == (layout.channels, t * z, y, x)
    np.testing.assert_array_equal(scattered(values, layout), block, strict=True)


@given(channels=st.integers(1, 3), extents=st.tuples(*(st.integers(1, n) for n in (19, 4, 9, 9))),
       transform=st.sampled_from(NAMES), seed=st.integers(0, 9))
@hypothesis_settings(deadline=None, max_examples=40)
def test_groups_come_together_again(channels: int, extents: tuple[int, int, int, int], transform: str, seed: int) -> None:
    layout = Layout(extents, "TZYX", np.dtype("uint16"))
    along_time = seed % 3 == 0 and min(extents[:2]) > 1
    groups = Groups(channels, extents, transform, 0 if along_time else times(layout), along_time=along_time)
    groups.check()
    t, z, y, x = extents
    values = np.random.default_rng(seed).normal(0, 1, (channels, t * z, y, x)).astype(np.float32)
    coefficients = groups.forward(values)
    assert sum(c.size for c in coefficients) == values.size
    assert [c.shape for c in coefficients] == [s.shape for s in groups.order.schedules]
    for i, reference in enumerate(groups.order.references):
        assert (reference is None) == (i % channels == 0)
        assert reference is None or coefficients[reference].shape == coefficients[i].shape
    np.testing.assert_allclose(groups.frames(groups.inverse(coefficients)), values, atol=1e-4)


def test_time_is_split_where_there_is_depth_too() -> None:
    def split(t: int, z: int) -> int:
        return times(Layout((t, z, 8, 8), "TZYX", np.dtype("uint8")))

    assert [split(t, 5) for t in (1, 2, 7, 8, 15, 16, 31, 32, 500)] == [0, 1, 1, 1, 1, 2, 2, 3, 3]
    assert split(100, 1) == 0
    for bad in (Groups(1, (2, 5, 8, 8), "STD", 2), Groups(1, (9, 1, 8, 8), "STD", 1), Groups(1, (10, 5, 8, 8), "STD", 5),
                Groups(1, (9, 1, 8, 8), "STD", along_time=True), Groups(1, (9, 2, 8, 8), "STD", 1, along_time=True)):
        with pytest.raises(FormatError, match="time"):
            bad.check()
    Groups(1, (10, 5, 8, 8), "STD", 4).check()


# -- channels ---------------------------------------------------------------------------------------------------------


@given(values=hnp.arrays(np.float32, st.tuples(st.integers(2, 8), st.integers(1, 30)), elements=st.floats(-2, 2, width=32)),
       data=st.data())
def test_a_rotation_is_undone(values: Array, data: st.DataObject) -> None:
    n = len(values)
    precision, leading = data.draw(st.integers(PRECISION, FINEST)), data.draw(st.none() | st.integers(1, n - 1))
    angles = data.draw(hnp.arrays(np.int16, count(n, leading), elements=st.integers(-1 << precision, (1 << precision) - 1)))
    rotation = Rotation(angles, data.draw(st.integers(0, (1 << n) - 1)), leading, precision)
    turned = values.copy()
    rotation.forward(turned)
    np.testing.assert_allclose((turned**2).sum(axis=0), (values**2).sum(axis=0), rtol=1e-4, atol=1e-4)
    rotation.inverse(turned)
    np.testing.assert_allclose(turned, values, atol=1e-5)


@pytest.mark.parametrize("n", range(2, 9))
def test_a_rotation_finds_the_axes_largest_variance_first(n: int) -> None:
    rng = np.random.default_rng(n)
    axes, _ = np.linalg.qr(rng.normal(size=(n, n)))
    samples = (axes * 2.0 ** -np.arange(n)) @ rng.normal(size=(n, 4000))
    turned = samples.astype(np.float32)
    rotation_of(np.cov(samples)).forward(turned)
    # Angles are stored to within half a degree.
    principal = np.sqrt(np.linalg.eigvalsh(np.cov(samples)))[::-1]
    np.testing.assert_allclose(turned.std(axis=1), principal, atol=0.01 * principal[0])


@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES)
@given(data=st.data())
@hypothesis_settings(deadline=None, max_examples=40)
def test_channels_come_back(dtype: str, data: st.DataObject) -> None:
    kind = np.dtype(dtype)
    limits: dict[str, Any] = {"min_value": -2.0**20, "max_value": 2.0**20} if kind.kind == "f" else {}
    elements = hnp.from_dtype(kind, allow_nan=False, allow_infinity=False, **limits)
    channels = data.draw(hnp.arrays(kind, (3, 2, 2, 3), elements=elements))
    weights = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=3, max_size=3)))
    span = np.ptp(channels.astype(np.float64), axis=(1, 2, 3))
    known = measured(channels, np.where(span > 0, span, 1.0), weights, in_noise=False)
    n = int(known.coded.sum())
    if n > 1:
        known = replace(known, rotation=Rotation(np.arange(count(n)).astype(np.int16) * 30, 1))
    values = known.forward(channels)
    known = replace(known, darks=dark_codes(values, known.reach))
    values = known.forward(channels)
    assert values.shape == (n, 2, 2, 3)
    back = known.inverse(values.copy(), kind)
    tolerance = np.maximum(1e-4 * span, 0.51 if kind.kind in "iu" else 1e-30)[:, None, None, None]
    assert (np.abs(back.astype(np.float64) - channels.astype(np.float64)) <= tolerance).all()
    for nonsense in (np.nan, np.inf, -np.inf, 3e38):
        hostile = known.inverse(np.full_like(values, nonsense), kind)
        assert (hostile >= channels.min(axis=(1, 2, 3), keepdims=True)).all()
        assert (hostile <= channels.max(axis=(1, 2, 3), keepdims=True)).all()


def test_gains_make_a_step_worth_the_same_everywhere() -> None:
    channels = np.array([[0, 100], [0, 100], [0, 25]], np.uint8).reshape(3, 1, 1, 2)
    found = measured(channels, np.array([100.0, 100.0, 100.0]), np.array([1.0, 0.25, 1.0]), in_noise=False)
    np.testing.assert_allclose(found.gain, [1, 0.5, 0.25], rtol=1e-3)
    by_noise = measured(channels, np.array([1.0, 2.0, 1.0]), np.ones(3), in_noise=True)
    np.testing.assert_allclose(by_noise.gain, np.array([100, 50, 25]) / 64, rtol=1e-3)


def test_dark_is_zero() -> None:
    grey = scaled(blobs((1, 64, 64), 3), 1000, 4000, np.uint16)[None]
    known = channel_search.with_darks(measured(grey, np.array([float(np.ptp(grey))]), np.ones(1), in_noise=False), grey)
    values = known.forward(grey)
    assert abs(float(np.quantile(values, 0.005))) < 1e-3


def test_rotations_are_used_where_they_pay_only() -> None:
    rng = np.random.default_rng(0)
    shared, other = blobs((96, 90), 2, 30), blobs((96, 90), 5, 30)
    alike = scaled(np.stack([shared, 0.7 * shared + 0.1 * other])[:, None], 0, 200, np.uint8)
    unlike = scaled(rng.random((2, 1, 96, 90)), 0, 200, np.uint8)
    for grey, expected in ((alike, True), (unlike, False)):
        known = measured(grey, np.ptp(grey.astype(float), axis=(1, 2, 3)), np.ones(2), in_noise=False)
        assert (channel_search.with_rotation(known, grey, 0.03).rotation is not None) is expected


# -- heads ------------------------------------------------------------------------------------------------------------


@st.composite
def rotations(draw: st.DrawFn, n: int) -> Rotation:
    """Rotations of n channels of every kind that a head can hold."""
    signs = draw(st.integers(0, (1 << n) - 1))
    if n <= WHOLE:
        return Rotation(draw(hnp.arrays(np.int8, count(n))).astype(np.int16), signs)
    precision, leading = draw(st.integers(PRECISION, FINEST)), draw(st.none() | st.integers(1, n - 1))
    pairs = None
    if leading is None:
        pair = st.tuples(st.integers(0, n - 2), st.integers(1, n - 1)).filter(lambda p: p[0] < p[1])
        pairs = tuple(draw(st.lists(pair, min_size=1, max_size=n - 1)))
    number = count(n, leading) if pairs is None else len(pairs)
    angles = draw(hnp.arrays(np.int16, number, elements=st.integers(-1 << precision, (1 << precision) - 1)))
    return Rotation(angles, signs, leading, precision, pairs)


@st.composite
def filters(draw: st.DrawFn, channels: int) -> tuple[Filter, ...]:
    """Filters of so many channels with T and Z, or none."""
    numbers = draw(st.lists(st.integers(0, len(KINDS)), min_size=channels, max_size=channels))
    found = []
    for number in numbers:
        kind = KINDS[max(0, number - 1)]
        codes = st.lists(st.integers(-128, 127), min_size=kind.weights((9, 3)), max_size=kind.weights((9, 3)))
        classes = range(kind.classes if number else 0)
        found.append(Filter(number, tuple(draw(st.integers(0, 31)) for _ in classes), tuple(tuple(draw(codes)) for _ in classes)))
    return draw(st.sampled_from([(), tuple(found)]))


@st.composite
def heads(draw: st.DrawFn) -> tuple[Head, Layout]:
    kind = np.dtype(draw(st.sampled_from(SUPPORTED_DTYPES)))
    n = draw(st.integers(1, 10))
    low = draw(hnp.arrays(kind, n, elements=st.integers(0, 100)))
    high = low + draw(hnp.arrays(kind, n, elements=st.integers(0, 27)))
    layout = Layout((n, 9, 3, 5, 6), "CTZYX", kind)
    coded = int((high > low).sum())
    codes = st.integers(-(2**15), 2**15 - 1)
    if not coded:
        return Head(Channels(low.astype(float), high.astype(float))), layout
    rotation = None
    if coded >= 2 and draw(st.booleans()):
        rotation = draw(rotations(coded))
    channels = Channels(low.astype(float), high.astype(float), draw(hnp.arrays(np.int16, coded, elements=codes)),
                        draw(hnp.arrays(np.int16, coded, elements=codes)), rotation)
    nets = draw(st.none() | st.tuples(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4)))
    words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)
    film = st.builds(Film, st.just(extents_of(layout)[0]), st.integers(1, 128), st.sampled_from([1, 4, 64]),
                     st.sampled_from([8, 64]), st.integers(0, 15))
    apart: st.SearchStrategy[dict[str, Any]] = st.builds(dict, times=st.integers(0, 31))
    time: st.SearchStrategy[dict[str, Any]] = apart | st.just({"along_time": True}) | st.builds(dict, film=film)
    return Head(channels, draw(st.sampled_from(NAMES) | words), step=draw(st.integers(0, 65535)), alpha=draw(st.integers(0, 255)),
                nets=nets, filters=draw(filters(coded)), **draw(time)), layout


@given(made=heads())
def test_a_head_survives_its_bytes(made: tuple[Head, Layout]) -> None:
    head, layout = made
    packed = head.pack(layout)
    read, rest = Head.unpack(packed + b"more", layout, LATEST)
    assert rest == b"more"
    assert read.pack(layout) == packed
    for name in ("low", "high", "gains", "darks"):
        np.testing.assert_array_equal(getattr(read.channels, name), getattr(head.channels, name))
    for name in ("transform", "times", "step", "alpha", "along_time", "film"):
        assert getattr(read, name) == getattr(head, name) or not head.channels.coded.any()
    if head.channels.coded.any():
        assert read.filters == head.filters
    for end in range(len(packed)):
        with pytest.raises(FormatError):
            Head.unpack(packed[:end], layout, LATEST)


@pytest.mark.parametrize(("dtype", "most"), [("uint8", 9), ("uint16", 11), ("float32", 15)])
def test_a_plain_head_is_short(dtype: str, most: int) -> None:
    layout = Layout((8, 8), "YX", np.dtype(dtype))
    head = Head(Channels(np.array([3.0]), np.array([99.0]), np.zeros(1, np.int16), np.zeros(1, np.int16)))
    assert len(head.pack(layout)) == most


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
@given(part=st.binary(max_size=80), version=st.sampled_from((1, 2, LATEST)))
@hypothesis_settings(deadline=None, max_examples=150)
def test_random_bytes_for_a_part_decode_or_are_refused(dtype: str, part: bytes, version: int) -> None:
    header = Header(method="field", bitstream_version=version, layout=Layout((2, 5, 6), "CYX", np.dtype(dtype)))
    try:
        values = open_file(write(header, [(part,)])).asarray()
    except FormatError:
        return
    assert np.isfinite(values.astype(float)).all()


def test_heads_that_make_no_sense_are_refused() -> None:
    layout = Layout((2, 2, 2), "CYX", np.dtype("uint8"))
    good = Head(Channels(np.array([3.0, 4.0]), np.array([9.0, 9.0]), np.zeros(2, np.int16), np.zeros(2, np.int16))).pack(layout)
    Head.unpack(good, layout, LATEST)
    for bad in (
        bytes([CONSTANT, 0x00]) + good[1:], bytes([CONSTANT, 0xE0]) + good[1:], bytes([CONSTANT | 1, 0xC0, 3, 4]),
        good[:4] + bytes([9, 9, 9, 9]) + good[8:], good[:4] + bytes([10, 4, 9, 9]) + good[8:],
        good[:-1] + bytes([2]), good[:-1] + bytes([1, 9, 0]), good[:-1] + bytes([1, 1, 99]) + bytes(30),
    ):
        with pytest.raises(FormatError):
            Head.unpack(bad, layout, LATEST)
    floats = Layout((1, 2, 2), "CYX", np.dtype("float64"))
    for low, high in ((0.0, np.nan), (-np.inf, 1.0), (-1.7e308, 1.7e308)):
        with pytest.raises(FormatError, match="range"):
            Head.unpack(bytes(4) + np.array([low, high]).tobytes() + bytes(2), floats, 2)


def test_steps_run_from_two_to_a_sixty_five_thousandth() -> None:
    assert step_of(0) == 2
    assert step_of(65535) == 2**-16
    assert float(power_of_two(0.5)) == float(np.float32(math.sqrt(2)))


# -- round trips ------------------------------------------------------------------------------------------------------


@st.composite
def blocks(draw: st.DrawFn) -> tuple[Array, str]:
    axes = draw(st.sampled_from(["YX", "ZYX", "TYX", "CYX", "YXS", "TZYX", "TCZYX", "CTYX", "YXZ"]))
    shape = tuple(draw(st.integers(1, 4 if a in "CS" else 12)) for a in axes)
    kind = draw(st.sampled_from(SUPPORTED_DTYPES))
    low, high = {"uint8": (0, 255), "int8": (-128, 127), "float64": (1e12, 1e12 + 5e4), "float32": (-3e4, 1e-3),
                 "uint32": (2**31, 2**32 - 1), "int32": (-(2**31), 2**31 - 1), "int16": (-900, 900)}.get(kind, (3000, 60000))
    values = blobs(shape, draw(st.integers(0, 5)), 3)
    return scaled(np.clip(values, 0, 1), low, high, kind), axes


@given(made=blocks(), quality=st.floats(0, 1000), transform=st.sampled_from(("auto", *NAMES)), refine=st.booleans())
@hypothesis_settings(deadline=None, max_examples=60)
def test_a_block_decodes_as_the_encoder_says(made: tuple[Array, str], quality: float, transform: str, refine: bool) -> None:
    block, axes = made
    layout = Layout(block.shape, axes, block.dtype)
    method = FieldMethod(parse_options("field", FieldOptions, {"transform": transform, "refine": refine}))
    encoded = method.encode(block, layout, quality, context_for(block, layout))
    values = decoded(layout, encoded.sections)
    assert values.dtype == block.dtype
    assert values.shape == block.shape
    assert block.min() <= values.min()
    assert values.max() <= block.max()
    square = (values.astype(np.float64) - block.astype(np.float64)) ** 2
    found = gathered(square, layout).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(encoded.measured, found, rtol=1e-9)
    assert encoded.payload >= method.smallest(layout)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_the_finest_setting_is_all_but_lossless(dtype: str) -> None:
    block = scaled(blobs((3, 20, 18), 3), 10, 110, dtype)
    layout = Layout(block.shape, "ZYX", block.dtype)
    encoded = FieldMethod().encode(block, layout, 1000, context_for(block, layout, effort=0))
    np.testing.assert_array_equal(decoded(layout, encoded.sections), block)


def test_finer_settings_take_more_bytes_and_have_less_error() -> None:
    original = image("stack")
    block, layout = original.read(), original.layout
    state, sizes, errors = None, [], []
    for quality in (100, 250, 400, 550, 700):
        encoded = FieldMethod().encode(block, layout, quality, context_for(block, layout), state)
        state = encoded.state
        sizes.append(encoded.payload)
        errors.append(float(encoded.measured[0]))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def test_an_unmeasured_part_is_finished_in_as_many_bytes() -> None:
    original = image("channels")
    block, layout, method = original.read(), original.layout, FieldMethod()
    context = context_for(block, layout, effort=0)
    bare = method.encode(block, layout, 420, replace(context, measure=False))
    assert bare.square_error is None
    whole = method.encode(block, layout, 420, context)
    finished = method.finish(bare, block, layout, context)
    assert finished.sections == whole.sections
    assert finished.payload == bare.payload
    np.testing.assert_array_equal(finished.measured, whole.measured)


def test_the_chosen_transform_and_networks_reach_the_file() -> None:
    for k, name in enumerate(NAMES):
        data, _ = compressed(image("stack"), "field", Budget("max_bytes", 500), options={"transform": name, "nets": "a"})
        (section,) = Container.open(BytesSource(data)).part(0)
        assert section[0] & 15 == k
    for bad in ({"transform": "Z9"}, {"nets": "c"}, {"rdo": 1}, {"refine": "perhaps"}):
        with pytest.raises(UsageError, match=next(iter(bad))):
            parse_options("field", FieldOptions, bad)


def test_transforms_are_tried_from_some_effort_on() -> None:
    """Every plane is another picture: what pays is not to split Z."""
    planes = np.stack([blobs((64, 64), seed, 12) for seed in range(8)])
    original = Image(scaled(planes, 100, 30000, np.uint16), "ZYX")
    reached = {name: compressed(original, "field", Budget("ratio", 40), options={"transform": name})[1].psnr for name in NAMES}
    auto = compressed(original, "field", Budget("ratio", 40), effort=5)[1].psnr
    assert max(reached.values()) - min(reached.values()) > 0.1
    assert auto > max(reached.values()) - 0.3


def test_a_missing_network_is_named(packed: Callable[[str, str], Packed], tmp_path: Path) -> None:
    data = packed("field", "uint8")[0]
    opened = Container.open(BytesSource(data))
    (section,) = opened.part(0)
    head, rest = Head.unpack(section, opened.header.layout, LATEST)
    missing = b"\xde\xad\xbe\xef"
    for kind, nets in (("contexts", (missing, b"\0\0\0\1")), ("refinement", (pinned(LATEST)[0], missing))):
        named = replace(head, nets=nets, alpha=9).pack(opened.header.layout)
        path = tmp_path / f"{kind}.mfield"
        path.write_bytes(write(opened.header, [(named + rest,)]))
        with pytest.raises(FormatError, match=f"needs the {kind} network deadbeef, which this version"):
            mf.open(path)[:]


@cache
def wild(order: CodingOrder) -> bytes:
    """Coefficients far beyond what an image has, coded; they do not depend on the type of the values."""
    rng = np.random.default_rng(0)
    groups = [np.where(rng.random(s.shape) < 0.01, 3e4, 0).astype(np.float32) for s in order.schedules]
    for group in groups:
        group[0, 0, 0, 0] = 1e30
    return coefficients.encode(groups, order, step_of(0), contexts_of(pinned(LATEST)[0])).data


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
def test_absurd_coefficients_decode_to_grey_levels_in_range(dtype: str) -> None:
    layout = Layout((2, 3, 16, 16), "CZYX", np.dtype(dtype))
    known = Channels(np.array([-0.0, 7.0]), np.array([90.0, 99.0]), np.array([32767, -32768], np.int16),
                     np.array([32767, -32768], np.int16), Rotation(np.array([100], np.int16), 3))
    head = Head(known, step=0, alpha=255)
    values = decoded(layout, (head.pack(layout) + wild(head.groups(layout).order),))
    for channel, low, high in zip(values, known.low, known.high, strict=True):
        assert np.isfinite(channel.astype(float)).all()
        assert low <= channel.min()
        assert channel.max() <= high


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 1), (1, 1, 1), (2, 1, 1)])
def test_parts_of_a_voxel_or_two(shape: tuple[int, ...], tmp_path: Path) -> None:
    layout = Layout(shape, "ZYX"[-len(shape) :], np.dtype("uint16"))
    head = Head(Channels(np.array([3.0]), np.array([99.0]), np.zeros(1, np.int16), np.zeros(1, np.int16)), step=20000)
    groups = head.groups(layout)
    one = coefficients.encode([np.full(s.shape, 0.5, np.float32) for s in groups.order.schedules], groups.order,
                              step_of(20000), contexts_of(pinned(LATEST)[0]))
    values = decoded(layout, (head.pack(layout) + one.data,))
    assert values.shape == shape
    tiled = tmp_path / "tiles.mfield"
    block = np.arange(25, dtype=np.uint16).reshape(5, 5) * 100
    mf.compress(Image(block, "YX"), tiled, max_bytes=4000, method="field", tile={"y": 2, "x": 4}, effort=0)
    assert np.abs(mf.open(tiled)[:].astype(int) - block).max() <= 1


@pytest.mark.parametrize(("shape", "axes"), [((480, 480), "YX"), ((16, 120, 120), "ZYX"), ((2, 2, 4, 112, 112), "TCZYX")])
def test_coding_takes_bounded_memory(shape: tuple[int, ...], axes: str) -> None:
    block = scaled(blobs(shape, 2, 30) + np.random.default_rng(0).normal(0, 0.05, shape), 0, 5000, np.uint16)
    layout = Layout(shape, axes, block.dtype)
    context = context_for(block, layout, effort=5)
    corner = block[tuple(slice(0, 32) for _ in shape)]
    FieldMethod().encode(corner, layout.with_shape(corner.shape), 300, context)  # What is loaded once does not count.
    tracemalloc.start()
    encoded = FieldMethod().encode(block, layout, 360, context)
    FieldMethod().encode(block, layout, 380, context, encoded.state)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # What does not grow with the part: slabs of features, a sample for the context network.
    assert peak <= 12 * 4 * block.size + (24 << 20)


@pytest.mark.parametrize("axes", ["YX", "ZYX"])
def test_large_images_are_not_cut_at_the_finest_setting(axes: str) -> None:
    """The coarsest approximation of seven levels reaches 2**23 steps."""
    y, x = np.mgrid[:530, :1030]
    block = (30000 + 20000 * np.sin(y / 40) * np.cos(x / 60)).astype(np.uint16)
    block = block[None] if axes == "ZYX" else block
    layout = Layout(block.shape, axes, block.dtype)
    encoded = FieldMethod().encode(block, layout, 1000, context_for(block, layout, effort=0))
    assert encoded.measured[0] < 0.1


def test_the_slope_of_tiles_is_the_same(packed: Callable[[str, str], Packed]) -> None:
    """A tile of a tenth of the range is not coded ten times finer."""
    del packed
    array = np.full((48, 96), 100, np.uint8)
    array[:, :48] = scaled(blobs((48, 48), 1, 12), 20, 220, np.uint8)
    array[:, 48:] = scaled(blobs((48, 48), 2, 12), 100, 120, np.uint8)
    data, _ = compressed(Image(array, "YX"), "field", Budget("max_bytes", 900), tile={"x": 48})
    opened = Container.open(BytesSource(data))
    layout = opened.header.layout.with_shape((48, 48))
    steps = [Head.unpack(opened.part(i)[0], layout, LATEST)[0] for i in range(2)]
    assert steps[0].step == steps[1].step
    assert float(steps[1].channels.gain[0]) == pytest.approx(np.ptp(array[:, 48:]) / np.ptp(array), rel=1e-3)


# -- previews ---------------------------------------------------------------------------------------------------------


@given(extent=st.integers(1, 90), halved=st.integers(0, 2), more=st.integers(1, 2))
def test_pooling_keeps_straight_lines(extent: int, halved: int, more: int) -> None:
    step = 1 << halved + more
    line = np.asarray(3.0 + 2.0 * np.arange(extent), np.float64)
    found = _pooled(line[:: 1 << halved, None], 0, halved, step, extent)[:, 0]
    assert found.shape == (-(-extent // step),)
    means = line[: extent // step * step].reshape(-1, step).mean(axis=1)
    away = 5 << halved if halved else 0
    for k, mean in enumerate(means):
        if k * step >= away and (k + 1) * step + away <= extent:
            assert found[k] == pytest.approx(mean)


@pytest.mark.parametrize(("shape", "axes", "n"), [
    ((160, 131), "YX", 4), ((160, 131), "YX", 8), ((16, 128, 96), "ZYX", 4), ((13, 120, 99), "ZYX", 8), ((5, 96, 96), "TYX", 4),
])
def test_a_quick_preview_is_close_to_the_means(shape: tuple[int, ...], axes: str, n: int) -> None:
    original = Image(scaled(blobs(shape, 3, 40), 300, 20000, np.uint16), axes)
    data, _ = compressed(original, "field", Budget("ratio", 40))
    f = open_file(data)
    quick = f.preview(n, average=True).astype(float)
    steps = [n if a in "ZYX" else 1 for a in axes]
    means = plain_means(f.asarray(), steps)
    assert quick.shape == means.shape
    assert np.sqrt(np.mean((quick - means) ** 2)) < 0.01 * np.ptp(original.read().astype(float))


def plain_means(array: Array, steps: list[int]) -> Array:
    values, ones = array.astype(float), np.ones(array.shape)
    for axis, step in enumerate(steps):
        edges = np.arange(0, array.shape[axis], step)
        values, ones = np.add.reduceat(values, edges, axis=axis), np.add.reduceat(ones, edges, axis=axis)
    return np.asarray(values / ones)


def test_a_quick_preview_decodes_coarse_levels_only(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = compressed(Image(scaled(blobs((64, 60), 3, 10), 300, 20000, np.uint16), "YX"), "field", Budget("ratio", 20))
    levels: list[int] = []
    decode = coefficients.decode

    def noted(*arguments: Any) -> Any:
        levels.append(arguments[-1])
        return decode(*arguments)

    monkeypatch.setattr(coefficients, "decode", noted)
    f = open_file(data)
    assert f.preview(8, average=True).shape == (8, 8)
    assert levels == [2]
    np.testing.assert_allclose(f.preview(6, average=True), plain_means(f.asarray(), [6, 6]), atol=0.5)
    assert levels == [2, 0]


def test_previews_of_tiles_that_cut_blocks_are_exact() -> None:
    data, _ = compressed(Image(scaled(blobs((64, 60), 3, 10), 300, 20000, np.uint16), "YX"), "field", Budget("ratio", 20),
                         tile={"y": 30})
    f = open_file(data)
    quick, means = f.preview(8, average=True), plain_means(f.asarray(), [8, 8])
    assert quick.shape == means.shape
    np.testing.assert_allclose(quick, means, atol=0.5)  # 30 and 60 are no multiples of 8: no part holds whole blocks only


def test_extremes_that_are_no_numbers_are_refused_quietly() -> None:
    layout = Layout((4, 5), "YX", np.dtype("float32"))
    for pattern in (0x7FA00000, 0x7F800000, 0xFF800000):  # a signalling NaN, both infinities
        with pytest.raises(FormatError, match="not a range"):
            Head.unpack(bytes([0, 0, 0, 0]) + 2 * pattern.to_bytes(4, "little") + bytes(8), layout, 2)


def test_the_smallest_range_there_is_comes_back() -> None:
    values = np.zeros((1, 1, 4, 5))
    values[..., 2:] = 5e-324
    known = measured(values, np.full(1, 5e-324), np.ones(1), in_noise=False)
    np.testing.assert_array_equal(known.inverse(known.forward(values), np.dtype("float64")), values)


@pytest.mark.parametrize("nets", ["all", "b"])
def test_constant_images_and_channels_come_back_whichever_networks_are_named(nets: str) -> None:
    plane = np.full((20, 30), 7, np.uint16)
    for values, axes in ((plane, "YX"), (np.stack([plane, np.arange(600, dtype=np.uint16).reshape(20, 30)]), "CYX")):
        data, _ = compressed(Image(values, axes), "field", Budget("max_bytes", 600), options={"nets": nets})
        constant = np.asarray(open_file(data)[...]).reshape(-1, 20, 30)[0]
        np.testing.assert_array_equal(constant, plane)

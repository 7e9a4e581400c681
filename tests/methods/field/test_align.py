"""Alignment of planes: known paths are found, rolling is undone, heads keep shifts and refuse impossible ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers.images import blobs, scaled
from microfield.coding.bits import BitWriter
from microfield.errors import FormatError
from microfield.image import Layout
from microfield.methods.base import Context, PartData
from microfield.methods.field import align
from microfield.methods.field.channels import Channels
from microfield.methods.field.groups import Groups
from microfield.methods.field.head import LATEST, MORE, SHIFTED, Head
from microfield.methods.field.method import FieldMethod

LAYOUT = Layout((7, 40, 50), "ZYX", np.dtype("uint8"))
PLAIN = Head(Channels(np.array([3.0]), np.array([99.0]), np.zeros(1, np.int16), np.zeros(1, np.int16)))


def stack(n: int = 12, noise: float = 0.0) -> align.Floats:
    """Planes that change slowly."""
    rng = np.random.default_rng(1)
    first, last = blobs((96, 88), 3, 40), blobs((96, 88), 4, 40)
    planes = np.stack([first + last * k / n / 3 for k in range(n)])
    return (planes + rng.normal(0, noise, planes.shape)).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("pace", [(0, 3), (2, -1), (-4, 5)])
def test_a_known_path_is_found(noise: float, pace: tuple[int, int]) -> None:
    path = np.arange(12)[:, None] * np.array(pace)
    moved = align.roll(stack(noise=noise), path.astype(np.int32))
    found = align.estimate(moved)
    assert found is not None
    np.testing.assert_allclose(found, path[6] - path, atol=1)


def test_planes_that_stand_still_stay() -> None:
    assert align.estimate(stack(noise=0.05)) is None
    assert align.estimate(np.zeros((9, 64, 64), np.float32)) is None
    assert align.estimate(stack()[:2]) is None
    assert align.estimate(stack()[:, :15]) is None


def test_noise_is_not_rolled() -> None:
    block = scaled(np.random.default_rng(0).random((9, 64, 64)), 0, 4000, np.uint16)
    layout = Layout(block.shape, "ZYX", block.dtype)
    encoded = FieldMethod().encode(block, layout, 350, Context(np.array([4000.0]), np.ones(1), effort=5))
    assert Head.unpack(encoded.sections[0], layout, LATEST)[0].shifts is None


@given(planes=hnp.arrays(np.float32, st.tuples(*[st.integers(1, 6)] * 3), elements=st.floats(-9, 9, width=32)), data=st.data())
def test_rolling_is_undone_exactly(planes: align.Floats, data: st.DataObject) -> None:
    shifts = data.draw(hnp.arrays(np.int32, (len(planes), 2), elements=st.integers(-30, 30)))
    np.testing.assert_array_equal(align.roll(align.roll(planes, shifts), shifts, back=True), planes)


@given(shifts=hnp.arrays(np.int32, (7, 2), elements=st.integers(-39, 39)))
def test_a_head_keeps_its_shifts(shifts: align.Shifts) -> None:
    read, rest = Head.unpack(replace(PLAIN, shifts=shifts).pack(LAYOUT) + b"more", LAYOUT, LATEST)
    assert rest == b"more"
    assert read.shifts is not None
    np.testing.assert_array_equal(read.shifts, shifts)
    assert read.groups(LAYOUT).shifts is read.shifts


def packed_shifts(along_y: list[int], along_x: list[int]) -> bytes:
    bits = BitWriter()
    for values in (along_y, along_x):
        bits.rice(values)
    coded = bits.finish()
    plain = replace(PLAIN, version=2).pack(LAYOUT)
    return bytes([plain[0] | MORE]) + plain[1:] + bytes([SHIFTED]) + len(coded).to_bytes(3, "little") + coded


def test_impossible_shifts_are_refused() -> None:
    good = packed_shifts([1] * 7, [2] * 7)
    head, _ = Head.unpack(good, LAYOUT, 2)
    assert head.shifts is not None
    np.testing.assert_array_equal(head.shifts[-1], [7, 14])
    for bad in (packed_shifts([1] * 6, [2] * 6), packed_shifts([1] * 9, [2] * 7), packed_shifts([2**30] + [0] * 6, [0] * 7),
                packed_shifts([2**23] * 7, [0] * 7), good[:-1], good[:-4], good[:-7] + bytes([64]) + good[-6:]):
        with pytest.raises(FormatError):
            Head.unpack(bad, LAYOUT, 2)
    # Whole turns are none; nothing is as large as it says.
    head, _ = Head.unpack(packed_shifts([40 * 2**10 + 1] + [0] * 6, [0, -50] + [0] * 5), LAYOUT, 2)
    assert head.shifts is not None
    np.testing.assert_array_equal(head.shifts[[0, 6]], [[1, 0], [1, 0]])


@pytest.mark.parametrize("extents", [(1, 12, 96, 88), (12, 1, 96, 88), (3, 4, 96, 88)])
def test_groups_roll_planes_and_roll_them_back(extents: tuple[int, int, int, int]) -> None:
    n = extents[0] if extents[0] > 1 else extents[1]
    shifts = np.stack([np.arange(n), -3 * np.arange(n)], 1).astype(np.int32)
    groups = Groups(1, extents, "STD", 1 if extents[0] > 1 < extents[1] else 0, shifts)
    values = stack()[None]
    back = groups.unrolled(groups.inverse(groups.forward(values)).reshape(values.shape))
    np.testing.assert_allclose(back, values, atol=1e-4)
    np.testing.assert_array_equal(groups.rolled(values, np.array([2, 5])), groups.rolled(values)[:, [2, 5]])


@pytest.mark.parametrize("axes", ["ZYX", "TYX"])
def test_a_skewed_stack_takes_fewer_bytes_rolled(axes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = (np.arange(12)[:, None] * np.array([0, 4])).astype(np.int32)
    block = scaled(align.roll(stack(), path).astype(np.float64), 100, 4000, np.uint16)
    layout = Layout(block.shape, axes, block.dtype)
    context = Context(np.array([float(np.ptp(block))]), np.ones(1), effort=5)
    monkeypatch.setattr("microfield.methods.field.method.predicted_or_not",
                        lambda values, groups, trial, was_film: (groups, trial.step))
    rolled = FieldMethod().encode(block, layout, 400, context)
    assert Head.unpack(rolled.sections[0], layout, LATEST)[0].shifts is not None
    decoder = FieldMethod.decoder(layout, FieldMethod.bitstream_version, PartData(rolled.sections))
    values = decoder.read(tuple(range(n) for n in block.shape))
    assert float(((values.astype(float) - block) ** 2).mean()) == pytest.approx(float(rolled.measured[0]))
    monkeypatch.setattr("microfield.methods.field.transform_search.estimate", lambda planes: None)
    straight = FieldMethod().encode(block, layout, 400, context)
    assert rolled.payload < 0.9 * straight.payload
    assert rolled.measured[0] < 1.2 * straight.measured[0]

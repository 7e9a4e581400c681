"""Rice codes: round trips, sizes, damaged bits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microfield.coding.bits import BitReader, BitWriter
from microfield.errors import FormatError

WHOLE = st.one_of(st.integers(-3, 3), st.integers(-5000, 5000), st.integers(-(2**34), 2**34))


@given(lists=st.lists(st.lists(WHOLE, max_size=30), max_size=4), widths=st.lists(st.integers(0, 20), max_size=4), data=st.data())
def test_bits_come_back(lists: list[list[int]], widths: list[int], data: st.DataObject) -> None:
    writer = BitWriter()
    drawn = [(data.draw(st.integers(0, (1 << width) - 1)), width) for width in widths]
    for values in lists:
        writer.rice(values)
    for value, width in drawn:
        writer.number(value, width)
    reader = BitReader(writer.finish())
    assert [reader.rice(len(values)) for values in lists] == lists
    assert [reader.number(width) for _, width in drawn] == [value for value, _ in drawn]
    reader.finish()


@given(values=st.lists(WHOLE, min_size=1, max_size=40), data=st.data())
def test_damaged_bits_are_refused_or_whole_numbers(values: list[int], data: st.DataObject) -> None:
    writer = BitWriter()
    writer.rice(values)
    damaged = bytearray(writer.finish())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    reader = BitReader(bytes(damaged))
    try:
        assert all(abs(v) < 2**38 for v in reader.rice(len(values)))
        reader.finish()
    except FormatError:
        pass


def test_small_numbers_take_few_bits() -> None:
    writer = BitWriter()
    writer.rice([0] * 83 + [1])
    assert len(writer.finish()) <= 12


def test_one_far_out_does_not_run_on() -> None:
    writer = BitWriter()
    writer.rice([0] * 5000 + [2**33])
    reader = BitReader(writer.finish())
    assert reader.rice(5001)[-1] == 2**33


def whole(data: bytes, count: int) -> list[int]:
    reader = BitReader(data)
    values = reader.rice(count)
    reader.finish()
    return values


def test_what_is_left_over_or_missing_is_refused() -> None:
    writer = BitWriter()
    writer.rice([5, -7])
    data = writer.finish()
    for bad, count in ((data + b"\0", 2), (data, 1), (b"", 1), (b"\0" * 40, 1)):
        with pytest.raises(FormatError):
            whole(bad, count)
    with pytest.raises(ValueError, match="36"):
        BitWriter().rice([2**40])

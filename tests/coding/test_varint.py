from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microfield.coding import varint
from microfield.errors import FormatError

values = st.lists(st.one_of(st.integers(0, 300), st.integers(0, varint.LIMIT - 1)), max_size=40)
small = st.lists(st.one_of(st.integers(0, 300), st.integers(0, varint.LIMIT // 2 - 1)), max_size=40)


@given(values, st.binary(max_size=5))
def test_round_trip_and_one_by_one(numbers: list[int], tail: bytes) -> None:
    data = varint.encode(numbers)
    assert data == b"".join(varint.encode_one(n) for n in numbers)
    back, end = varint.decode(b"xy" + data + tail, len(numbers), 2)
    assert back.tolist() == numbers
    assert end == 2 + len(data)
    at = 0
    for n in numbers:
        one, at = varint.decode_one(data, at)
        assert one == n


@given(small)
def test_deltas(numbers: list[int]) -> None:
    data = varint.encode_deltas(numbers)
    back, end = varint.decode_deltas(data, len(numbers))
    assert back.tolist() == numbers
    assert end == len(data)


@given(st.lists(st.integers(-(2**52), 2**52 - 1), max_size=20))
def test_zigzag(numbers: list[int]) -> None:
    coded = varint.zigzag(numbers)
    assert coded.tolist() == [2 * n if n >= 0 else -2 * n - 1 for n in numbers]
    assert varint.unzigzag(coded).tolist() == numbers


@pytest.mark.parametrize(("number", "text"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"),
                                              (2**53 - 1, "ffffffffffffff0f")])
def test_known_bytes(number: int, text: str) -> None:
    assert varint.encode_one(number).hex() == text
    assert varint.encode([number]).hex() == text


@pytest.mark.parametrize("text", ["", "80", "8000", "ff00", "ffffffffffffff10", "ffffffffffffffff01", "ffffffffffffffffff"])
def test_damage_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        varint.decode_one(bytes.fromhex(text))
    with pytest.raises(FormatError):
        varint.decode(bytes.fromhex(text), 1)


def test_limits() -> None:
    for number in (-1, varint.LIMIT):
        with pytest.raises(ValueError, match=r"2\*\*53"):
            varint.encode_one(number)
        with pytest.raises(ValueError, match=r"2\*\*53"):
            varint.encode([number])
    with pytest.raises(ValueError, match=r"2\*\*52"):
        varint.encode_deltas([varint.LIMIT // 2])
    with pytest.raises(FormatError):
        varint.decode(b"\1\2", 2**60)
    with pytest.raises(FormatError):
        varint.decode_deltas(varint.encode([1]), 1)
    with pytest.raises(FormatError):
        varint.decode_deltas(varint.encode(np.full(5000, varint.LIMIT - 2)), 5000)


@given(st.binary(max_size=30), st.integers(0, 40), st.integers(0, 5))
def test_any_bytes(data: bytes, count: int, offset: int) -> None:
    try:
        numbers, end = varint.decode(data, count, offset)
    except FormatError:
        return
    assert varint.encode(numbers) == data[offset:end]

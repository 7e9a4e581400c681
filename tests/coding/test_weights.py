from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield.coding.range_coder import PRECISION, lanes_for
from microfield.coding.weights import (
    SHAPES,
    SPREADS,
    STEP_CODES,
    bell,
    best_table,
    decode,
    encode,
    estimate_bits,
    raw_bits,
    step_code,
    step_size,
)
from microfield.errors import FormatError

Ints = npt.NDArray[np.int64]


def gaussian(n: int, spread: float, seed: int = 0) -> Ints:
    return np.rint(np.random.default_rng(seed).normal(0, spread, n)).astype(np.int64)


def assert_round_trip(groups: Sequence[Ints]) -> bytes:
    data = encode(groups)
    for one, other in zip(decode(data, [g.size for g in groups]), groups, strict=True):
        np.testing.assert_array_equal(one, other)
    return data


@st.composite
def weight_groups(draw: st.DrawFn) -> list[Ints]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.sampled_from([0, 1, 2, 5, 30, 200, 3000]), min_size=1, max_size=6))
    groups = []
    for n in sizes:
        spread = 2.0 ** draw(st.integers(-4, 11))
        drawn = rng.laplace(0, spread, n) if draw(st.booleans()) else rng.normal(0, spread, n)
        groups.append(np.rint(drawn).astype(np.int64))
    return groups


@given(weight_groups())
@settings(deadline=None, max_examples=80)
def test_round_trip(groups: list[Ints]) -> None:
    data = assert_round_trip(groups)
    lanes = lanes_for(sum(g.size for g in groups) * 4 // 5)
    assert len(data) <= estimate_bits(groups) / 8 * 1.01 + 4 * lanes + 4


@pytest.mark.parametrize("spread", [2.0**k for k in range(-3, 12)])
def test_large_spreads_round_trip(spread: float) -> None:
    assert_round_trip([gaussian(500, spread), gaussian(40, spread, 1)])


def test_the_largest_weights_a_quantiser_makes_round_trip() -> None:
    assert_round_trip([np.array([-(2**15), 2**15 - 1, 0, 2**14, -1], np.int64)])
    assert_round_trip([np.array([2**15], np.int64), np.zeros(50, np.int64)])


def test_a_weight_beyond_every_table_is_an_overflow() -> None:
    with pytest.raises(OverflowError, match="larger than any table"):
        best_table(np.array([2**40], np.int64))


def test_empty_groups_cost_one_byte() -> None:
    some = gaussian(100, 5)
    empty = np.zeros(0, np.int64)
    assert len(assert_round_trip([empty, some, empty])) == len(assert_round_trip([some])) + 2
    assert_round_trip([empty])


@pytest.mark.parametrize("spread", [0.7, 3, 11, 60, 400])
def test_gaussian_weights_cost_their_entropy(spread: float) -> None:
    n = 20000
    data = encode([gaussian(n, spread)])
    edges = np.arange(-6000, 6001) + 0.5
    cumulative = np.array([math.erf(e / spread / math.sqrt(2)) / 2 for e in edges])
    p = np.diff(cumulative)
    entropy = -float(np.sum(p[p > 0] * np.log2(p[p > 0])))
    assert len(data) <= 1.02 * n * entropy / 8 + 24
    assert len(data) >= 0.97 * n * entropy / 8


@pytest.mark.parametrize("spread", [1, 8, 90])
def test_laplacian_weights_cost_their_entropy(spread: float) -> None:
    n = 20000
    values = np.rint(np.random.default_rng(1).laplace(0, spread, n)).astype(np.int64)
    k = np.arange(1, 200 * spread)
    tail = np.sinh(0.5 / spread) * np.exp(-k / spread)
    p = np.concatenate([[1 - np.exp(-0.5 / spread)], tail, tail])
    entropy = -float(np.sum(p[p > 0] * np.log2(p[p > 0])))
    assert len(encode([values])) <= 1.02 * n * entropy / 8 + 24


def test_few_weights_cost_few_bytes_more_than_their_entropy() -> None:
    """The coder itself costs a handful of bytes: at 512 times a small image has only a few hundred."""
    for n in (10, 50, 200):
        groups = [gaussian(n, 8)]
        assert len(encode(groups)) <= estimate_bits(groups) / 8 + 5


def test_each_group_has_its_own_table() -> None:
    apart = len(encode([gaussian(3000, 0.5), gaussian(3000, 200)]))
    together = len(encode([np.concatenate([gaussian(3000, 0.5), gaussian(3000, 200)])]))
    assert apart < 0.9 * together


@pytest.mark.parametrize("code", range(SHAPES * SPREADS))
def test_tables_sum_to_the_precision_and_are_symmetric(code: int) -> None:
    table = bell(code).astype(np.int64)
    assert table.sum() == 1 << PRECISION == 1 << 15
    assert table.min() >= 1
    assert table.size % 2 == 1
    assert int(np.abs(table - table[::-1]).max()) <= 1
    assert table[table.size // 2] == table.max()


def test_spreads_of_tables_grow_by_a_quarter_of_an_octave() -> None:
    for shape in range(SHAPES):
        deviations = []
        for spread in range(20, 36):
            code = shape + SHAPES * spread
            assert raw_bits(code) == 0
            table = bell(code) / 2.0**PRECISION
            k = np.arange(table.size) - table.size // 2
            deviations.append(float(np.sqrt(np.sum(k**2 * table))))
        steps = np.diff(np.log2(deviations))
        assert np.all((steps > 0.1) & (steps < 0.4))


def test_tables_that_do_not_exist_are_refused() -> None:
    with pytest.raises(FormatError):
        bell(SHAPES * SPREADS)
    with pytest.raises(FormatError, match="table"):
        decode(bytes([255]) + bytes(10), [4])


@given(st.binary(max_size=80), st.lists(st.integers(0, 40), min_size=1, max_size=5))
@settings(deadline=None, max_examples=150)
def test_random_bytes_decode_or_are_refused(data: bytes, sizes: list[int]) -> None:
    try:
        groups = decode(data, sizes)
    except FormatError:
        return
    assert [g.size for g in groups] == sizes
    assert all(np.abs(g).max(initial=0) < 1 << 40 for g in groups)


def test_no_byte_of_a_stream_is_superfluous() -> None:
    """A single lane cannot tell that its end is missing (the file's checksum does), but no byte can go unnoticed."""
    groups = [gaussian(60, 9), gaussian(7, 2)]
    data = encode(groups)
    for changed in (*(data[:length] for length in range(len(data))), data + b"\0", data + b"\1\0"):
        try:
            decoded = decode(changed, [60, 7])
        except FormatError:
            continue
        assert any((one != other).any() for one, other in zip(decoded, groups, strict=True))


@pytest.mark.parametrize("code", range(STEP_CODES))
def test_step_codes_are_inverse_to_steps(code: int) -> None:
    assert step_code(float(step_size(code))) == code
    assert float(step_size(code)) == pytest.approx(2.0 ** (code / 16 - 14), rel=1e-6)


@given(st.floats(1e-9, 1e9))
def test_the_nearest_step_is_chosen(step: float) -> None:
    code = step_code(step)
    assert 0 <= code < STEP_CODES
    if 2.0**-14 <= step <= float(step_size(STEP_CODES - 1)):
        assert abs(math.log2(step / float(step_size(code)))) <= 1 / 32 + 1e-6

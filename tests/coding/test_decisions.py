"""Decisions in gaps: round trips in any batches, sizes near the ideal, damaged streams."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield.coding import decisions as dc
from microfield.coding import gap_code, gap_tables
from microfield.errors import FormatError


def probability(buckets: Any) -> Any:
    return 1 / (1 + np.exp(-(buckets - 15.5) * 0.5))


def draw_buckets(rng: np.random.Generator, n: int, logit: float = -4.5, spread: float = 1.5) -> Any:
    """Buckets as of a real image: most decisions are almost certainly 0."""
    return np.clip(np.floor(rng.normal(logit, spread, n) / 0.5) + 16, 0, 31).astype(np.uint8)


def draw_flags(rng: np.random.Generator, buckets: Any, scale: float = 1.0) -> Any:
    return rng.random(len(buckets)) < scale * probability(buckets)


def draw_runs(rng: np.random.Generator, buckets: Any) -> Any:
    return rng.geometric(probability(buckets)) - 1


def stream(n: int, seed: int, with_runs: bool = True) -> tuple[bytes, list[Any], float]:
    """Two kinds of flags and perhaps one of runs; the stream, what went in and its ideal size in bytes."""
    rng = np.random.default_rng(seed)
    writer, parts, ideal = dc.DecisionWriter(3), [], 0.0
    for kind, share in enumerate((n * 6 // 10, n * 4 // 10)):
        buckets = draw_buckets(rng, share, -5 + kind)
        bits = draw_flags(rng, buckets)
        writer.put(kind, buckets, bits)
        ideal += dc.ideal_bits(buckets, bits)
        parts.append((buckets, bits))
    buckets = draw_buckets(rng, n // 200 if with_runs else 0, 0.5)
    values = draw_runs(rng, buckets)
    writer.put_runs(2, buckets, values)
    ideal += float((dc.COSTS[buckets, 0] * values + dc.COSTS[buckets, 1]).sum())
    return writer.finish(), [*parts, (buckets, values)], ideal / 8


def read(data: bytes, parts: list[Any], limit: int = 1 << 24) -> list[Any]:
    reader = dc.DecisionReader(data, 3, limit)
    out = [reader.take(0, parts[0][0]), reader.take(1, parts[1][0]), reader.take_runs(2, parts[2][0])]
    reader.finish()
    return out


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 2, 30, 99, 250, 3000])), max_size=8),
       st.floats(-9, 9), st.floats(0, 6), st.sampled_from([0.0, 0.3, 1.0]))
def test_round_trip(seed: int, batches: list[tuple[int, int]], logit: float, spread: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    writer = dc.DecisionWriter(3)
    kinds: list[list[Any]] = [[], [], []]
    for kind, n in batches:
        buckets = draw_buckets(rng, n, logit, spread)
        what = draw_runs(rng, buckets) if kind == 2 else draw_flags(rng, buckets, scale)
        (writer.put_runs if kind == 2 else writer.put)(kind, buckets, what)
        kinds[kind].append((buckets, what))
    reader = dc.DecisionReader(writer.finish(), 3, sum(n for _, n in batches))
    for kind, put in enumerate(kinds):
        buckets = np.concatenate([np.zeros(0, np.uint8), *(b for b, _ in put)])
        what = np.concatenate([np.zeros(0, np.int64 if kind == 2 else bool), *(w for _, w in put)])
        cuts = np.sort(rng.integers(0, len(buckets) + 1, 6))  # Other batches than they were put in.
        taken = [(reader.take_runs if kind == 2 else reader.take)(kind, b) for b in np.split(buckets, cuts)]
        assert all(t.dtype == what.dtype for t in taken)
        assert np.concatenate(taken).tolist() == what.tolist()
    reader.finish()


@pytest.mark.parametrize("bit", [False, True])
@pytest.mark.parametrize("bucket", [0, 15, 16, 31])
@pytest.mark.parametrize("n", [1, 90, 1000, 40_000])
def test_always_the_same_bit(bit: bool, bucket: int, n: int) -> None:
    buckets = np.full(n, bucket, np.uint8)
    writer = dc.DecisionWriter(1)
    writer.put(0, buckets, np.full(n, bit))
    writer.put(0, buckets[:1], np.array([not bit]))
    reader = dc.DecisionReader(writer.finish(), 1, n + 1)
    assert (reader.take(0, buckets) == bit).all()
    assert reader.take(0, buckets[:1]).tolist() == [not bit]
    reader.finish()


@pytest.mark.parametrize("bucket", [0, 15, 16, 31])
def test_long_runs(bucket: int) -> None:
    values = np.array([0, 70_000, 3, dc.LARGEST_RUN if bucket < 16 else 100_000, 0])
    buckets = np.full(5, bucket, np.uint8)
    writer = dc.DecisionWriter(1)
    writer.put_runs(0, buckets, values)
    data = writer.finish()
    for n in (1, 5):
        reader = dc.DecisionReader(data, 1, 5)
        assert np.concatenate([reader.take_runs(0, b) for b in buckets.reshape(-1, n)]).tolist() == values.tolist()
        reader.finish()


def test_nothing_costs_one_byte() -> None:
    writer = dc.DecisionWriter(3)
    writer.put(0, np.zeros(0, np.uint8), np.zeros(0, bool))
    writer.put(1, np.full(10_000, 3, np.uint8), np.zeros(10_000, bool))
    data = writer.finish()
    assert len(data) == 1
    reader = dc.DecisionReader(data, 3, 0)
    assert not reader.take(1, np.full(10_000, 3, np.uint8)).any()
    assert reader.take_runs(2, np.full(9, 20, np.uint8)).tolist() == [0] * 9
    reader.finish()
    dc.DecisionReader(dc.DecisionWriter(0).finish(), 0, 0).finish()


@pytest.mark.parametrize(("n", "seed"), [(20_000, 0), (50_000, 1), (100_000, 2), (200_000, 3), (500_000, 4)])
def test_size_is_near_the_ideal(n: int, seed: int) -> None:
    data, parts, ideal = stream(n, seed, with_runs=False)
    assert len(data) <= 1.005 * ideal + 30
    for put, taken in zip(parts, read(data, parts, n + n // 200), strict=True):
        assert (put[1] == taken).all()


@pytest.mark.parametrize("seed", range(20))
def test_small_streams(seed: int) -> None:
    data, _, ideal = stream(50_000, seed, with_runs=False)
    assert 700 < ideal < 1300
    assert len(data) <= ideal + 30
    data, _, ideal = stream(40_000, seed)  # About 45 lists of gaps in three kinds.
    assert 700 < ideal < 1300
    assert len(data) <= ideal + 40


@pytest.mark.parametrize("bucket", [0, 1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15])
def test_loss_of_the_tables(bucket: int) -> None:
    p = float(probability(bucket))
    gaps = np.random.default_rng(bucket).geometric(p, 200_000) - 1
    rows = np.full(len(gaps), int(gap_tables.rows_of(np.zeros(32, np.int64))[bucket]))
    bits = sum(float((15 - np.log2(freq)).sum()) for _, freq in gap_code._intervals(gaps, rows))
    assert bits <= 1.001 * (float(dc.COSTS[bucket, 0]) * int(gaps.sum()) + float(dc.COSTS[bucket, 1]) * len(gaps))


@pytest.mark.parametrize("n", [40_000, 400_000])
def test_shifts_pay(n: int) -> None:
    rng = np.random.default_rng(n)
    buckets = draw_buckets(rng, n)
    bits = draw_flags(rng, buckets, 0.6)
    p = 0.6 * probability(buckets)
    true = float(-np.log2(np.where(bits, p, 1 - p)).sum()) / 8
    nominal = dc.ideal_bits(buckets, bits) / 8
    writer = dc.DecisionWriter(1)
    writer.put(0, buckets, bits)
    data = writer.finish()
    assert len(data) <= 1.006 * true + 30
    assert n < 100_000 or len(data) < nominal
    assert (dc.DecisionReader(data, 1, n).take(0, buckets) == bits).all()


def test_tables_are_the_same_everywhere() -> None:
    code = gap_tables.gap_tables()
    p = 1 / (1 + np.exp((39 - np.arange(42)) / 4))
    ratios = gap_tables.symbol_ratios(p, code.raw_bits)
    assert np.abs(ratios % 1 - 0.5).min() > 1e-3  # The rounding of a ratio is nowhere near a tie,
    steps = np.log2(0.15 / p)
    assert np.abs(steps - steps.round()).min() > 1e-3  # nor that of the raw bits.
    assert code.raw_bits.tolist() == sorted(code.raw_bits.tolist(), reverse=True)
    weighted = code.tables.start.astype(np.int64) @ np.arange(1, 42 * 64 + 1)
    assert (int(code.raw_bits[0]), int(code.raw_bits[-1]), int(weighted)) == (11, 0, 105642063341)


def test_costs() -> None:
    p = probability(np.arange(32))
    np.testing.assert_allclose(2.0 ** -dc.COSTS, np.stack([1 - p, p], 1), rtol=1e-6)
    assert dc.COSTS.dtype == np.float32
    assert dc.ideal_bits(np.array([0, 31], np.uint8), np.array([False, True])) == pytest.approx(2 * float(dc.COSTS[0, 0]))


def test_wrong_calls() -> None:
    writer = dc.DecisionWriter(1)
    one = np.ones(1, np.uint8)
    writer.put(0, one, np.ones(1, bool))
    with pytest.raises(ValueError, match="not both"):
        writer.put_runs(0, one, np.ones(1, int))
    with pytest.raises(ValueError, match="equal length"):
        writer.put(0, one, np.ones(2, bool))
    for bad in (np.full(1, 32, np.uint8), np.ones((1, 1), np.uint8), np.ones(1, int)):
        with pytest.raises(ValueError, match="buckets"):
            writer.put(0, bad, np.ones(1, bool))
    for value in (-1, dc.LARGEST_RUN + 1):
        with pytest.raises(ValueError, match="a run"):
            writer.put_runs(0, one, np.array([value]))
    reader = dc.DecisionReader(writer.finish(), 1, 1)
    reader.take(0, one)
    with pytest.raises(ValueError, match="not both"):
        reader.take_runs(0, one)


def test_too_few_and_too_many() -> None:
    data, parts, _ = stream(20_000, 1)
    with pytest.raises(FormatError):
        read(data, parts, 100)
    with pytest.raises(FormatError):
        read(data, [(parts[0][0][:-9000], None), *parts[1:]])
    for n in (1, 200):  # Runs of low buckets must be there.
        reader = dc.DecisionReader(data, 3, 1 << 20)
        reader.take_runs(2, parts[2][0])
        with pytest.raises(FormatError):
            reader.take_runs(2, np.full(n, 15, np.uint8))


@pytest.mark.parametrize("n", [2000, 30_000])
def test_damage(n: int) -> None:
    data, parts, _ = stream(n, n)
    rng = np.random.default_rng(n)
    cuts = [data[:cut] for cut in rng.integers(0, len(data), 150)]
    flips = []
    for at in [*range(min(8 * 40, 8 * len(data))), *rng.integers(0, 8 * len(data), 150).tolist()]:
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        flips.append(bytes(flipped))
    begin, accepted = time.perf_counter(), 0
    for damaged in [*cuts, *flips, data + b"\0", data + b"\0\0", b""]:
        try:
            read(damaged, parts)
            accepted += 1
        except FormatError:
            pass
    assert accepted < 0.1 * len(flips)  # Raw bits have no check, and one lane has little: the container has checksums.
    assert time.perf_counter() - begin < 60


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400), st.integers(0, 2**32))
def test_any_bytes(data: bytes, seed: int) -> None:
    buckets = np.random.default_rng(seed).integers(0, 32, 500).astype(np.uint8)
    try:
        read(data, [(buckets, None), (buckets[:50], None), (buckets, None)])
        reader = dc.DecisionReader(data, 3, 500)
        reader.take_runs(0, buckets)
    except FormatError:
        pass

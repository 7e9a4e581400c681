"""Lifting, rounding and decisions by the kernel and by NumPy: the same to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from microfield.coding.decisions import BUCKETS, COSTS, DecisionReader, DecisionWriter
from microfield.errors import FormatError
from microfield.kernel import loading, wavelet
from microfield.kernel.loading import Instructions
from microfield.methods.field.features import logarithm
from microfield.methods.field.lifting import LIFTING_STEPS, Schedule, forward, inverse
from microfield.methods.field.network import ContextNet
from microfield.methods.field.quantise import quantise
from microfield.methods.field.sign_context import SIGNED, UNSIGNED
from microfield.methods.field.symbols import Buckets
from microfield.methods.field.walk import reconstruct

same_fixture = hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(shape=st.lists(st.integers(1, 19), min_size=3, max_size=4), wide=st.booleans(), seed=st.integers(0, 99))
@same_fixture
def test_the_wavelet(instructions: Instructions, shape: list[int], wide: bool, seed: int) -> None:
    extents = (*shape[:-1], shape[-1] + 120 * wide)
    values = np.random.default_rng(seed).normal(0, 100, extents).astype(np.float32)
    axes = tuple(range(len(extents)))
    schedule = Schedule((axes[-2:], axes, axes), extents)
    ours = forward(values, schedule)
    back = [inverse(ours, schedule, levels) for levels in (0, 1)]
    with loading.without():
        wanted = forward(values, schedule)
        np.testing.assert_array_equal(ours, wanted)
        for levels in (0, 1):
            np.testing.assert_array_equal(back[levels], inverse(wanted, schedule, levels))


def test_a_corner_outside_its_array_is_refused(instructions: Instructions) -> None:
    found = loading.library()
    assert found is not None
    steps = np.array(LIFTING_STEPS, np.float32)
    for values, extents, axis in ((np.zeros((3, 4), np.float32), (3, 5), 1), (np.zeros((3, 4), np.float32), (1, 4), 0),
                                  (np.zeros((3, 8), np.float32)[:, ::2], (3, 4), 1)):
        with pytest.raises(ValueError, match="corner"):
            wavelet.lift(found, values, extents, axis, steps, 1.1, True)


@given(n=st.integers(0, 300), rdo=st.sampled_from([0.0, 0.1, 0.4]), largest=st.sampled_from([1.0, 5.0, 2.0**22]),
       seed=st.integers(0, 99))
@same_fixture
def test_rounding(instructions: Instructions, n: int, rdo: float, largest: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scaled = (0.5 + rng.random(n) ** 3 * (largest - 0.5)).astype(np.float32)
    buckets = Buckets(*(rng.integers(0, BUCKETS, n).astype(np.uint8) for _ in range(3)))
    ours = quantise(scaled, buckets, rdo)
    with loading.without():
        np.testing.assert_array_equal(ours, quantise(scaled, buckets, rdo))
    if n:
        found = loading.library()
        assert found is not None
        with pytest.raises(ValueError, match="bucket"):
            wavelet.quantise(found, scaled, buckets, COSTS[: int(np.max(buckets))], np.zeros(4, np.float32), rdo)


@given(sizes=st.lists(st.integers(0, 400), min_size=1, max_size=6), skew=st.sampled_from([0.02, 0.5, 0.98]),
       seed=st.integers(0, 99))
@same_fixture
def test_decisions(instructions: Instructions, sizes: list[int], skew: float, seed: int) -> None:
    """Both ways, and each reads what the other wrote."""
    rng = np.random.default_rng(seed)
    buckets = [rng.integers(0, BUCKETS, n).astype(np.uint8) for n in sizes]
    flags = [rng.random(n) < skew for n in sizes]
    runs = [rng.geometric(1 - skew / 1.02, n) - 1 for n in sizes]

    def written() -> bytes:
        writer = DecisionWriter(2)
        for b, f, r in zip(buckets, flags, runs, strict=True):
            writer.put(0, b, f)
            writer.put_runs(1, b, r)
        return writer.finish()

    def read(data: bytes) -> None:
        reader = DecisionReader(data, 2, 4 * sum(sizes))
        for b, f, r in zip(buckets, flags, runs, strict=True):
            np.testing.assert_array_equal(reader.take(0, b), f)
            np.testing.assert_array_equal(reader.take_runs(1, b), r)
        reader.finish()

    data = written()
    read(data)
    with loading.without():
        assert written() == data
        read(data)
    if sum(sizes):
        reader = DecisionReader(data, 2, 4 * sum(sizes))
        with pytest.raises(FormatError, match="more than the image needs"):
            reader.finish()


def test_runs_that_are_not_there(instructions: Instructions) -> None:
    writer = DecisionWriter(1)
    writer.put_runs(0, np.zeros(3, np.uint8), np.arange(3))
    reader = DecisionReader(writer.finish(), 1, 100)
    with pytest.raises(FormatError, match="fewer runs"):
        reader.take_runs(0, np.zeros(4, np.uint8))


def test_logarithms_values_and_signs(instructions: Instructions) -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 2**24 - 1, (3, 400)).astype(np.int32)
    quantised, centroids = rng.integers(-6, 7, (2, 9, 60)).astype(np.int32)[:, ::2], np.array([0, 0.9, 1.9, 3.1], np.float32)
    signs = ContextNet.load("all").signs
    assert signs is not None
    assert signs.compiled is not None
    signed, unsigned = (rng.integers(low, 256, (n, 70)).astype(np.float32) for low, n in ((-255, SIGNED), (0, UNSIGNED)))
    ours = logarithm(whole, 4), reconstruct(quantised, centroids), signs.sums(signed, unsigned)
    with loading.without():
        wanted = logarithm(whole, 4), reconstruct(quantised, centroids), signs.sums(signed, unsigned)
    for a, b in zip(ours, wanted, strict=True):
        np.testing.assert_array_equal(a, b)

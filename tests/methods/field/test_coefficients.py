"""The coefficient coder of `field` and what it stands on: the walk, features, the context network, its changes, schedules."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
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
from microfield.coding.bits import BitReader, BitWriter
from microfield.coding.decisions import COSTS, DecisionWriter
from microfield.errors import FormatError
from microfield.methods.field import coefficients, features, symbols, tuning
from microfield.methods.field.coarsest import from_residuals, residuals
from microfield.methods.field.coefficients import CodingOrder
from microfield.methods.field.evaluation import ALL, Places
from microfield.methods.field.exact import EXACT, LARGEST_WEIGHT
from microfield.methods.field.groups import Groups
from microfield.methods.field.head import LATEST, PINNED, pinned
from microfield.methods.field.lifting import Floats, forward, inverse
from microfield.methods.field.network import ContextNet
from microfield.methods.field.phases import CONTEXT_CAP, Phases, phase_slices
from microfield.methods.field.schedules import COARSEST, NAMES, schedule
from microfield.methods.field.sign_context import SIGNED
from microfield.methods.field.tuning import Changes
from microfield.methods.field.walk import Band, PhaseContext, Walk, walk
from microfield.models import index, load, named

POLLEN = Path(__file__).parent.parent.parent.parent / "examples" / "pollen.ome.tif"
Ints = npt.NDArray[np.int32]


@cache
def pollen() -> Floats:
    """A piece of a real stack (16, 96, 96), 0 to 1."""
    block = mf.open_image(POLLEN).read()[8:24, 80:176, 80:176].astype(np.float32)
    return np.asarray((block - block.min()) / np.ptp(block), np.float32)


@cache
def net() -> ContextNet:
    return ContextNet.load(pinned(LATEST)[0])


@cache
def plain_net() -> ContextNet:
    """That of bitstream versions 1 to 4."""
    return ContextNet.load(PINNED[0])


def grouped(name: str) -> tuple[list[Floats], CodingOrder]:
    """Coefficients of a plane; a stack; two channels of a time series of stacks, in six groups with references."""
    values = pollen()
    if name == "2-D":
        groups, values = Groups(1, (1, 1, 96, 96), "STD"), values[None, :1]
    elif name == "3-D":
        groups, values = Groups(1, (1, 16, 96, 96), "STD"), values[None]
    else:
        groups = Groups(2, (4, 2, 96, 96), "Z1", 2)
        values = np.stack([values[:8], 0.6 * values[:8] + 0.2 * values[8:]])
    return groups.forward(values), groups.order


# -- coefficients -----------------------------------------------------------------------------------------------------


def changes_of(one: ContextNet, sort: int, most: int = 1, seed: int | None = None) -> Changes:
    """Changes of a network, all ``most`` or random up to that."""
    counts = [one.third.shape[1] + 1] * 3 if sort == tuning.LAST else [len(one.planes)] * 2 + [3]
    if seed is None:
        return Changes(sort, tuple(np.full(n, most, np.int32) for n in counts))
    rng = np.random.default_rng(seed)
    return Changes(sort, tuple(rng.integers(-most, most + 1, n).astype(np.int32) for n in counts))


class Counting(DecisionWriter):
    """Adds up what an ideal coder would take."""

    bits = 0.0

    def put(self, kind: int, buckets: Any, bits: Any) -> None:
        super().put(kind, buckets, bits)
        Counting.bits += float(COSTS[buckets, np.asarray(bits).astype(int)].sum(dtype=np.float64))

    def put_runs(self, kind: int, buckets: Any, values: Any) -> None:
        super().put_runs(kind, buckets, values)
        Counting.bits += float((COSTS[buckets, 0] * np.asarray(values) + COSTS[buckets, 1]).sum(dtype=np.float64))


@pytest.mark.parametrize("step", [0.5, 0.06, 0.004])
@pytest.mark.parametrize("name", ["2-D", "3-D", "groups"])
def test_coefficients_come_back_at_the_ideal_size(name: str, step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    groups, order = grouped(name)
    assert (name == "groups") == any(r is not None for r in order.references)
    monkeypatch.setattr(symbols, "DecisionWriter", Counting)
    monkeypatch.setattr(Counting, "bits", 0.0)
    coded = coefficients.encode(groups, order, step, net())
    values = coefficients.decode(coded.data, order, step, net())
    for wanted, found, original in zip(coded.values, values, groups, strict=True):
        np.testing.assert_array_equal(found, wanted, strict=True)
        assert np.abs(found - original).max() <= 1.6 * step
    coarsest = sum(np.prod(s.extents[-1]) for s in order.schedules)
    ideal = Counting.bits / 8
    assert len(coded.data) <= 1.01 * ideal + 40 + 3 * coarsest


@given(shape=st.tuples(*(st.integers(1, n) for n in (2, 5, 12, 12))), transform=st.sampled_from(NAMES),
       channels=st.integers(1, 3), scale=st.sampled_from([0.3, 3.0, 40.0, 900.0]), seed=st.integers(0, 99))
@hypothesis_settings(deadline=None, max_examples=40)
def test_any_shape_and_magnitude_comes_back(shape: tuple[int, ...], transform: str, channels: int, scale: float, seed: int) -> None:
    """Magnitudes above 20, where contexts are cut; axes of 1; one voxel."""
    rng = np.random.default_rng(seed)
    order = CodingOrder((schedule(transform, shape),) * channels, (None, *range(channels - 1)))
    groups = [(rng.standard_t(2, shape) * scale).astype(np.float32) for _ in range(channels)]
    coded = coefficients.encode(groups, order, 1.0, net())
    for wanted, found, original in zip(coded.values, coefficients.decode(coded.data, order, 1.0, net()), groups, strict=True):
        np.testing.assert_array_equal(found, wanted, strict=True)
        assert np.isfinite(found).all()
        assert (np.abs(found - original) <= np.maximum(1.6, 1e-6 * np.abs(original))).all()


def test_absurd_values_are_cut() -> None:
    order = CodingOrder((schedule("STD", (1, 1, 20, 20)),), (None,))
    group = np.zeros((1, 1, 20, 20), np.float32)
    group[0, 0, 0, 0], group[0, 0, 15, 15] = -1e30, 1e30
    coded = coefficients.encode([group], order, 1.0, net())
    (found,) = coefficients.decode(coded.data, order, 1.0, net())
    assert found[0, 0, 0, 0] == -(1 << 28)
    assert found[0, 0, 15, 15] == symbols.LARGEST_MAGNITUDE
    np.testing.assert_array_equal(found, coded.values[0])


def test_damaged_coefficients_are_refused_or_values() -> None:
    groups, order = grouped("groups")
    data = coefficients.encode(groups, order, 0.03, net(), changes=changes_of(net(), tuning.LAST)).data
    rng = np.random.default_rng(0)
    damaged = [data[: int(n)] for n in np.linspace(0, len(data) - 1, 20)]
    damaged += [data[:n] + bytes([data[n] ^ 1 << int(rng.integers(8))]) + data[n + 1 :]
                for n in (*range(30), *rng.integers(0, len(data), 20))]
    refused = 0
    for bad in damaged:
        try:
            values = coefficients.decode(bad, order, 0.03, net())
        except FormatError:
            refused += 1
        else:
            assert all(np.isfinite(v).all() for v in values)
    assert refused > 30


@pytest.mark.parametrize("seed", range(6))
def test_decoding_nonsense_takes_bounded_time_and_memory(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, order = grouped("3-D")
    size = sum(int(np.prod(s.shape)) for s in order.schedules)
    good = coefficients.encode(*grouped("3-D"), 0.01, net()).data
    bad = good[: len(good) // 8] + rng.bytes(len(good)) if seed % 2 else rng.bytes(3) + bytes([200, 1, 200, 1]) + rng.bytes(2000)
    tracemalloc.start()
    begin = time.process_time()
    try:
        coefficients.decode(bad, order, 0.01, net())
    except FormatError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 60 * size + (20 << 20)
    assert time.process_time() - begin < 20


@pytest.mark.parametrize("name", ["2-D", "3-D", "groups"])
def test_coarse_levels_come_first(name: str) -> None:
    groups, order = grouped(name)
    coded = coefficients.encode(groups, order, 0.02, net())
    some = coefficients.decode(coded.data, order, 0.02, net(), 2)
    for found, wanted, s in zip(some, coded.values, order.schedules, strict=True):
        corner = tuple(slice(0, n) for n in s.extents[2])
        np.testing.assert_array_equal(found[corner], wanted[corner])


@given(values=hnp.arrays(np.int32, st.tuples(*[st.integers(1, 4)] * 4), elements=st.integers(-(1 << 28), 1 << 28)))
def test_the_coarsest_approximation_is_predicted_and_comes_back(values: Ints) -> None:
    np.testing.assert_array_equal(from_residuals(residuals(values), values.shape), values)
    with pytest.raises(FormatError, match="bounds"):
        from_residuals([1 << 40] * values.size, values.shape)


# -- the network ------------------------------------------------------------------------------------------------------


def inputs(seed: int, told: features.FeatureSet, n: int = 500) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 256, (told.planes, n)).astype(np.float32)
    planes[:, : n // 5] = 255
    return planes, rng.integers(0, 256, told.constants).astype(np.float32)


@pytest.mark.parametrize("name", ["a", "b", "all", "all-4"])
def test_buckets_do_not_depend_on_the_order_of_sums_or_on_precision(name: str) -> None:
    one = ContextNet.load(name)
    planes, constants = inputs(3, one.features)
    hidden = one.hidden(planes, constants)
    order, among = (np.random.default_rng(4).permutation(n) for n in (one.features.planes, one.second.shape[1]))

    def active(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(np.clip(np.rint(sums / 128), 0, 255))

    first = one.planes[:, order].astype(np.float64) @ planes[order]
    first = active(first + (one.constants.astype(np.float64) @ constants + one.biases[0])[:, None])
    second = active(one.second[:, among].astype(np.float64) @ first[among] + one.biases[1][:, None])
    np.testing.assert_array_equal(hidden, second)
    for k in range(3):
        sums = one.third[k].astype(np.float64) @ second + one.biases[2][k]
        np.testing.assert_array_equal(one.buckets(hidden, k), np.clip(np.floor(sums / 2048) + 16, 0, 31))
    # Nor on how many are computed at once.
    np.testing.assert_array_equal(one.hidden(np.ascontiguousarray(planes[:, 77:78]), constants), hidden[:, 77:78])


def test_no_sum_of_an_installed_network_leaves_what_float32_holds() -> None:
    for entry in index()["contexts"].values():
        one = ContextNet.load(bytes.fromhex(entry["hash"]))
        assert max(one.largest_sums()) < EXACT
        if one.features.oriented:
            louder = tuning.changed(one, changes_of(one, tuning.FIRST, 2 * LARGEST_WEIGHT))
            assert max(louder.largest_sums()) < EXACT
            inputs = np.abs(louder.planes).sum(axis=1) + np.abs(louder.constants).sum(axis=1)
            assert 255 * inputs.max() + np.abs(louder.biases[0]).max() <= one.largest_sums()[0]
            assert one.signs is not None
            assert max(one.signs.largest_sums()) < EXACT
        extreme = tuning.changed(one, changes_of(one, tuning.LAST, 2 * LARGEST_WEIGHT))
        assert 255 * np.abs(extreme.third).sum(axis=1).max() + np.abs(extreme.biases[2]).max() <= one.largest_sums()[2]
    arrays = load("contexts", PINNED[0])
    with pytest.raises(FormatError, match="exactly"):
        ContextNet.of(b"loud", {**arrays, "bias1": np.full_like(arrays["bias1"], EXACT)})
    with pytest.raises(FormatError, match="shape"):
        ContextNet.of(b"thin", {**arrays, "planes": arrays["planes"][:, 1:]})


def test_the_pinned_networks_are_installed_and_the_default() -> None:
    assert (named("contexts", "all"), named("refinement", "all")) == pinned(LATEST)
    assert (named("contexts", "all-4"), named("refinement", "all")) == pinned(1) == pinned(4) == PINNED
    for version in (1, LATEST):
        for kind, key in zip(("contexts", "refinement"), pinned(version), strict=True):
            assert load(kind, key)


# -- changes for one image ----------------------------------------------------------------------------------------


def test_tuning_saves_bits_on_a_real_image() -> None:
    groups, order = grouped("3-D")
    seen = tuning.Seen(sum(g.size for g in groups))
    plain = coefficients.encode(groups, order, 0.01, net(), seen=seen)
    found = tuning.tuned(net(), seen)
    assert found is not None
    changes, promised = found
    assert promised > 0
    coded = coefficients.encode(groups, order, 0.01, net(), changes=changes)
    for wanted, value in zip(coded.values, coefficients.decode(coded.data, order, 0.01, net()), strict=True):
        np.testing.assert_array_equal(value, wanted)

    def cost(coded: coefficients.EncodedCoefficients) -> float:
        error = sum(float(((a - b) ** 2).sum(dtype=np.float64)) for a, b in zip(coded.values, groups, strict=True))
        return 8 * len(coded.data) + error / 0.1 / 0.01**2

    assert cost(coded) < cost(plain)


class Nothing:
    """What a network says whose activations are all 0."""

    def buckets(self, logit: int, where: Places = ALL) -> npt.NDArray[np.uint8]:
        raise NotImplementedError

    def hidden(self, where: Places = ALL) -> Floats:
        return np.zeros((net().second.shape[0], len(np.zeros(20)[where])), np.float32)


def test_nothing_to_learn_from_changes_nothing() -> None:
    assert tuning.tuned(net(), tuning.Seen(100)) is None
    few = tuning.Seen(100)
    band = Phases((1, 1, 8, 10))
    context = PhaseContext(0, band, [], np.zeros(1, np.float32))
    few.add(Nothing(), np.zeros(20, np.int32), context, slice(0, 4))
    assert tuning.tuned(net(), few) is None


@given(seed=st.integers(0, 99), most=st.sampled_from([0, 3, 40, 1000]), sort=st.sampled_from([tuning.LAST, tuning.FIRST]))
@hypothesis_settings(deadline=None)
def test_changes_come_back(seed: int, most: int, sort: int) -> None:
    for one in (net(), plain_net()):
        if sort == tuning.FIRST and not one.features.oriented:
            continue
        for wanted in (changes_of(one, sort, most, seed), None):
            writer = BitWriter()
            tuning.write(writer, wanted, one)
            reader = BitReader(writer.finish())
            found = tuning.read(reader, one)
            reader.finish()
            expected = one if wanted is None else tuning.changed(one, wanted)
            for name in ("planes", "constants", "third"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
                assert np.abs(getattr(found, name)).max() <= LARGEST_WEIGHT
            for bias, wanted_bias in zip(found.biases, expected.biases, strict=True):
                np.testing.assert_array_equal(bias, wanted_bias)


@pytest.mark.parametrize("make", [
    lambda n: [[0] * n, [0] * n, [0] * (n - 1) + [2 * LARGEST_WEIGHT + 1]], lambda n: [[-(2**33)] * n] * 3, lambda n: [[1] * n] * 2,
])
def test_hostile_changes_are_refused(make: Callable[[int], list[list[int]]]) -> None:
    writer = BitWriter()
    writer.number(tuning.LAST, 2)
    for row in make(net().third.shape[1] + 1):
        writer.rice(row)
    with pytest.raises(FormatError):
        tuning.read(BitReader(writer.finish()), net())
    with pytest.raises(FormatError, match="does not know"):
        tuning.read(BitReader(b"\xff"), net())


# -- the walk and its features ----------------------------------------------------------------------------------------


@given(band=hnp.arrays(np.uint8, st.tuples(*(st.integers(1, n) for n in (2, 5, 6, 7))), elements=st.integers(0, CONTEXT_CAP)),
       phase=st.integers(0, 7))
def test_neighbours_come_from_earlier_phases_only(band: npt.NDArray[np.uint8], phase: int) -> None:
    """What is not decoded yet makes no difference, and sums do not overflow a byte."""
    both = []
    for junk in (0, CONTEXT_CAP):
        coded = Phases(band.shape)
        for k in coded.order():
            coded.put(k, band[phase_slices(k)] if k < phase else np.full_like(band[phase_slices(k)], junk))
        if coded.size(phase):
            both.append([(np.asarray(total), n) for total, n in coded.sums(phase, slice(0, coded.extents(phase)[2]))])
    for (first, n), (second, m) in zip(*both, strict=True) if both else ():
        assert n == m <= 8
        np.testing.assert_array_equal(first, second)


@given(values=hnp.arrays(np.uint8, st.tuples(*(st.integers(1, 5) for _ in range(4))), elements=st.integers(0, CONTEXT_CAP)))
def test_sums_over_neighbours_are_those_of_a_plain_loop(values: npt.NDArray[np.uint8]) -> None:
    edged = np.pad(values.astype(int), [(0, 0), *[(1, 1)] * 3], mode="edge")
    zeroed = np.pad(values.astype(int), [(0, 0), *[(1, 1)] * 3])
    shape = values.shape[1:]
    spread, faces = np.zeros(values.shape, int), 2 * values.astype(int)
    for offset in np.ndindex(3, 3, 3):
        cut = (slice(None), *(slice(o, o + n) for o, n in zip(offset, shape, strict=True)))
        spread += edged[cut]
        if sum(o != 1 for o in offset) == 1:
            faces += zeroed[cut]
    np.testing.assert_array_equal(features.spread(values), spread)
    np.testing.assert_array_equal(features.faces(values), faces)


def test_logarithms_are_whole_numbers_that_rise() -> None:
    values = np.concatenate([np.arange(5000), [1 << 20, (1 << 24) - 2]])
    found = features.logarithm(values)
    assert found[0] == 0
    assert (np.diff(found.astype(int)) >= 0).all()
    np.testing.assert_allclose(found[:5000], np.minimum(32 * np.log2(1 + values[:5000]), 255), atol=3.8)


class Silent:
    """Visits and finds a constant, or a random sign of it."""

    mean_code = 30

    def __init__(self, value: int) -> None:
        self.value, self.columns = value, 0

    def begin(self, band: Band) -> Silent:
        return self

    def phase(self, context: PhaseContext) -> Ints:
        for rows in context.slabs:
            planes = context.features(rows)
            if context.signs is not None:
                where = np.arange(planes.shape[1])
                signed, unsigned = context.sign_inputs(rows, where, np.full(len(where), 3, np.int32))
                assert signed.shape == (SIGNED, len(where))
                assert ((np.abs(signed) <= 255) & (signed == np.rint(signed))).all()
                assert ((unsigned >= 0) & (unsigned <= 255) & (unsigned == np.rint(unsigned))).all()
            assert ((planes >= 0) & (planes <= 255) & (planes == np.rint(planes))).all()
            self.columns += planes.shape[1]
        assert ((context.constants >= 0) & (context.constants <= 255)).all()
        return np.full(context.shape, self.value, np.int32)


@pytest.mark.parametrize("value", [0, 1, -21, 1 << 22, -(1 << 22)])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 1, 9), (2, 1, 9, 1), (1, 5, 1, 1), (1, 3, 20, 17), (3, 2, 2, 2)])
@pytest.mark.parametrize("oriented", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_features_are_bytes_and_every_coefficient_is_visited_once(name: str, oriented: bool, shape: tuple[int, ...], value: int,
                                                                  ) -> None:
    split = schedule(name, shape)
    quantised = np.full(shape, -7, np.int32)
    quantised[tuple(slice(0, n) for n in split.extents[-1])] = value
    visitor = Silent(value)
    walk([Walk(split, quantised, visitor, oriented=oriented)])
    assert (quantised == value).all()
    assert visitor.columns == quantised.size - np.prod(split.extents[-1])


@given(shape=st.tuples(*(st.integers(1, n) for n in (2, 4, 14, 14))), transform=st.sampled_from(NAMES), seed=st.integers(0, 99))
@hypothesis_settings(deadline=None, max_examples=20)
def test_signs_turn_over_with_the_image(shape: tuple[int, ...], transform: str, seed: int) -> None:
    """What the network says of a sign is the opposite for the negative of the image."""
    split = schedule(transform, shape)
    values = np.random.default_rng(seed).integers(-3, 4, shape).astype(np.int32)
    found = []
    for sign in (1, -1):
        listener = Listener(sign * values)
        quantised = np.zeros(shape, np.int32)
        coarsest = tuple(slice(0, n) for n in split.extents[-1])
        quantised[coarsest] = sign * values[coarsest]
        walk([Walk(split, quantised, listener, oriented=True)])
        found.append(listener.sums)
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, -second)


class Listener:
    """Visits, finds given values, and keeps what is said of their signs."""

    mean_code = 30

    def __init__(self, values: Ints) -> None:
        self.values, self.sums = values, list[Ints]()
        self.here = values

    def begin(self, band: Band) -> Listener:
        self.here = self.values[band.box]
        return self

    def phase(self, context: PhaseContext) -> Ints:
        found = self.here[phase_slices(context.number)]
        signs = net().signs
        assert signs is not None
        for rows in context.slabs:
            values = found[:, :, rows].reshape(-1)
            where = np.flatnonzero(values)
            self.sums.append(signs.sums(*context.sign_inputs(rows, where, np.abs(values[where]))))
        return found


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 1, 3), (1, 2, 1, 1), (1, 1, 2, 2), (1, 7, 3, 1), (1, 33, 65, 9)])
@pytest.mark.parametrize("name", NAMES)
def test_schedules_of_any_shape_end_small_and_are_undone(name: str, shape: tuple[int, ...]) -> None:
    split = schedule(name, shape)
    assert max(split.extents[-1][2:]) <= COARSEST
    assert all(0 not in axes for axes in split.levels)
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(inverse(forward(values, split), split), values, atol=1e-4)

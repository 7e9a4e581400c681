"""The context network by the kernel and by NumPy: the same buckets and activations, with every set of instructions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from microfield.kernel import contexts, loading
from microfield.kernel.loading import Instructions
from microfield.kernel.networks import Layer, WholeNetwork
from microfield.methods.field import features
from microfield.methods.field.evaluation import evaluated
from microfield.methods.field.features import PLAIN, BandPlanes, FeatureSet
from microfield.methods.field.head import LATEST, pinned
from microfield.methods.field.network import LOGITS, ContextNet
from microfield.methods.field.phases import CONTEXT_CAP, NEIGHBOUR_GROUPS, TURNED_GROUPS, Phases
from microfield.methods.field.walk import PhaseContext

same_fixture = hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def context_of(shape: tuple[int, ...], phase: int, density: float, seed: int, told: FeatureSet = PLAIN) -> PhaseContext:
    """A phase of a random band of a shape, between random planes, some of them unknown."""
    rng = np.random.default_rng(seed)
    band = Phases(shape)
    magnitudes = (rng.random(shape) < density) * rng.integers(0, CONTEXT_CAP + 1, shape)
    band.fill(magnitudes.astype(np.uint8))
    count = told.planes - told.neighbours
    unknown = rng.random(count) < 0.3
    planes = [None if k else rng.integers(0, 256, shape).astype(np.uint8) for k in unknown]
    known = BandPlanes(planes, [()] * count).of(phase, band.extents(phase))
    constants = features.constants(1, (1, 3), True, 80, phase)
    if not told.oriented:
        return PhaseContext(phase, band, known, constants, NEIGHBOUR_GROUPS)
    return PhaseContext(phase, band, known, features.oriented_constants(constants, True, False), TURNED_GROUPS)


@given(shape=st.tuples(st.integers(1, 2), st.integers(2, 5), st.integers(2, 40), st.integers(2, 70)), phase=st.integers(0, 7),
       density=st.sampled_from([0.0, 0.02, 1.0]), seed=st.integers(0, 99), version=st.sampled_from([4, LATEST]))
@same_fixture
def test_buckets_and_activations_are_those_of_numpy(instructions: Instructions, shape: tuple[int, ...], phase: int,
                                                    density: float, seed: int, version: int) -> None:
    net = ContextNet.load(pinned(version)[0])
    context = context_of(shape, phase, density, seed, net.features)
    for rows in context.slabs:
        ours = evaluated(net, context, rows, hidden=True)
        with loading.without():
            wanted = evaluated(net, context, rows, hidden=True)
        some = np.arange(0, len(wanted.buckets(0)), 3)
        for where in (slice(None), some):
            for logit in range(LOGITS):
                np.testing.assert_array_equal(ours.buckets(logit, where), wanted.buckets(logit, where))
            np.testing.assert_array_equal(ours.hidden(where), wanted.hidden(where))
            assert ours.hidden(where).flags.c_contiguous
            assert wanted.hidden(where).flags.c_contiguous


@given(widths=st.lists(st.integers(1, 128), min_size=2, max_size=5), signed=st.booleans(), extents=st.tuples(
    st.integers(1, 2), st.integers(1, 2), st.integers(1, 9), st.integers(1, 70)), seed=st.integers(0, 99))
@same_fixture
def test_networks_of_any_widths(instructions: Instructions, widths: list[int], signed: bool, extents: tuple[int, ...],
                                seed: int) -> None:
    """Also with signed features, and strided ones."""
    rng = np.random.default_rng(seed)
    layers = [Layer(rng.integers(-511, 512, (n, m)), rng.integers(-99999, 99999, n),
                    rng.choice([1 / 128, 0.0123], n).astype(np.float32), 255) for m, n in itertools.pairwise(widths)]
    network = WholeNetwork.of(layers, 255)
    found = loading.library()
    assert network is not None
    assert found is not None
    kinds = (np.int16, np.int8, np.uint8) if signed else (np.uint8,)
    planes = [rng.integers(-100 if kinds[k % len(kinds)] != np.uint8 else 0, 127, (*extents[:3], 2 * extents[3]))
              .astype(kinds[k % len(kinds)])[..., ::1 + k % 2][..., :extents[3]] for k in range(widths[0])]
    values = np.stack([plane.reshape(-1) for plane in planes]).astype(np.int64)
    inputs = widths[-2]
    for layer in layers[:-1]:
        assert layer.factors is not None
        sums = (layer.weights @ values + layer.biases[:, None]).astype(np.float32) * layer.factors[:, None]
        values = np.clip(np.rint(sums), 0, 255).astype(np.int64)
    sums = layers[-1].weights @ values + layers[-1].biases[:, None]
    np.testing.assert_array_equal(network.sums(found, np.stack([plane.reshape(-1) for plane in planes]).astype(np.float32)), sums)
    biases = layers[0].biases.astype(np.int32)
    buckets, hidden = contexts.evaluated(found, network, biases, extents, [], planes, widths[-1], inputs if len(layers) > 1 else 0)
    np.testing.assert_array_equal(buckets, np.clip((sums >> 11) + 16, 0, 31))
    if len(layers) > 1:
        np.testing.assert_array_equal(hidden, values.T)


def test_numbers_beyond_the_kernel_are_left_to_numpy() -> None:
    def network(weight: float, width: int = 4, bias: float = 0) -> WholeNetwork | None:
        layer = Layer(np.full((4, width), weight), np.full(4, bias), np.ones(4, np.float32), 255)
        return WholeNetwork.of([layer], 255)

    assert network(511) is not None
    assert network(1 << 15) is None
    assert network(1, width=161) is None
    assert network(1, bias=2.0**31) is None


def test_extents_and_inputs_are_checked(instructions: Instructions) -> None:
    found, net = loading.library(), ContextNet.load(pinned(4)[0])
    network = net.compiled
    assert found is not None
    assert network is not None
    biases, planes = np.zeros(64, np.int32), [np.zeros((1, 1, 2, 3), np.uint8)] * PLAIN.planes
    for extents, known in (((1, 1, 2, 4), planes), ((1, 1, 2, 3), planes[1:])):
        with pytest.raises(ValueError, match=r"slab|inputs"):
            contexts.evaluated(found, network, biases, extents, [], known, LOGITS)

"""What neural methods share: sine, coordinates, evaluation, targets, fit, optimisers and guidance."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.images import blobs
from microfield.deadline import Deadline
from microfield.errors import InputError
from microfield.image import Layout
from microfield.methods.coordinate.bitstream import assemble
from microfield.nn.coordinates import CoordinateMap, axis_table
from microfield.nn.evaluate import BLOCK, SineNetwork, evaluate
from microfield.nn.fit import CHUNK_STEPS, FitSchedule, Fitted, Hooks, evaluation_loss, fit, loss_and_gradient, no_quantiser
from microfield.nn.guidance import BlockSampler
from microfield.nn.network import Params, fake_quantise, forward, init_folded, init_published
from microfield.nn.network import sine_turns as jax_sine_turns
from microfield.nn.optimisers import OPTIMISERS, Optimiser, adam
from microfield.nn.sampling import Batch, Target, chunks, evaluation_batch
from microfield.nn.sine import sine_turns
from microfield.objective import Guidance, GuidedBlock, Objective

Array = npt.NDArray[Any]
LAYOUTS = [
    Layout((6, 7), "YX", np.dtype("uint8")), Layout((3, 6, 7), "CYX", np.dtype("uint8")),
    Layout((6, 7, 3), "YXS", np.dtype("uint8")), Layout((2, 3, 4, 5, 6), "TCZYX", np.dtype("uint16")),
    Layout((4, 2, 1, 5), "YCTX", np.dtype("uint16")), Layout((2, 3, 4, 3), "CYXS", np.dtype("uint8")),
]


# -- sine and evaluation ----------------------------------------------------------------------------------------------


def numpy_sine(t: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    out = t - np.rint(t)
    sine_turns(out, np.empty_like(t), np.empty_like(t))
    return out


def test_the_polynomial_is_a_sine() -> None:
    t = np.linspace(-20, 20, 100_001).astype(np.float32)
    assert np.abs(numpy_sine(t) - np.sin(2 * np.pi * t.astype(np.float64))).max() < 3e-4


def test_jax_and_numpy_have_the_same_sine() -> None:
    t = np.random.default_rng(0).uniform(-8, 8, 4096).astype(np.float32)
    assert np.abs(numpy_sine(t) - np.asarray(jax_sine_turns(t))).max() < 2e-6
    slope = np.asarray(jax.vmap(jax.grad(jax_sine_turns))(t))
    assert np.abs(slope - 2 * np.pi * np.cos(2 * np.pi * t.astype(np.float64))).max() < 2 * np.pi * 4e-4


def numpy_network(params: Params) -> SineNetwork:
    return assemble([np.asarray(w) for w in params.weights], [np.asarray(b) for b in params.biases],
                    np.float32(params.frequency))


def evaluated(network: SineNetwork, x: npt.NDArray[np.float32], threads: int | None = None) -> Array:
    out = np.empty((network.output.shape[0], len(x)), np.float32)

    def store(start: int, stop: int, values: npt.NDArray[np.float32]) -> None:
        out[:, start:stop] = values

    evaluate(network, len(x), lambda a, b: x[a:b].T, store, threads)
    return out.T


@pytest.mark.parametrize("params", [
    init_folded(0, 2, 16, 3, 1, np.array([9.0, 9.0])), init_folded(1, 3, 7, 1, 4, np.array([3.0, 5.0, 9.0])),
    init_published(0, 3, 10, 6, 1, 30.0),
], ids=["folded", "one layer", "published"])
def test_decoding_computes_what_was_fitted(params: Params) -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (BLOCK + 300, len(params.weights[0]))).astype(np.float32)
    decoded = evaluated(numpy_network(params), x)
    assert np.ptp(decoded) > 0.1
    assert np.abs(decoded - np.asarray(forward(params, jnp.asarray(x)))).max() < 1e-4


def test_evaluation_does_not_depend_on_threads_or_length() -> None:
    network = numpy_network(init_folded(0, 2, 16, 3, 1, np.array([9.0, 9.0])))
    x = np.random.default_rng(1).uniform(-1, 1, (5 * BLOCK + 17, 2)).astype(np.float32)
    whole = evaluated(network, x, threads=1)
    np.testing.assert_array_equal(evaluated(network, x, threads=3), whole)
    np.testing.assert_array_equal(evaluated(network, x[:50]), whole[:50])
    assert evaluated(network, x[:0]).shape == (0, 1)


def test_a_value_does_not_depend_on_its_place_in_a_block() -> None:
    network = numpy_network(init_folded(0, 2, 24, 3, 1, np.array([9.0, 9.0])))
    same = np.repeat(np.array([[0.3, -0.7]], np.float32), 2 * BLOCK + 5, axis=0)
    assert len(np.unique(evaluated(network, same))) == 1


# -- coordinates and targets ------------------------------------------------------------------------------------------


@given(st.integers(2, 3000))
def test_axes_run_from_minus_one_to_one(extent: int) -> None:
    table = axis_table(extent)
    assert table.shape == (extent,)
    assert (table[0], table[-1]) == (-1, 1)
    assert (np.diff(table) > 0).all()


def test_an_axis_of_extent_one_is_no_coordinate() -> None:
    coordinates = CoordinateMap(Layout((1, 6, 1, 7), "TYCX", np.dtype("uint8")), "")
    assert coordinates.inputs == (1, 3)
    assert axis_table(1).tolist() == [0]


def output_choices(layout: Layout) -> list[str]:
    axes = [a for a in layout.axes if a in "TCS"]
    return ["".join(c) for n in range(len(axes) + 1) for c in itertools.combinations(axes, n)]


CASES = [(layout, outputs) for layout in LAYOUTS for outputs in output_choices(layout)]


@pytest.mark.parametrize(("layout", "outputs"), CASES, ids=[f"{a.axes}-{b or 'none'}" for a, b in CASES])
def test_batches_equal_plain_indexing(layout: Layout, outputs: str) -> None:
    rng = np.random.default_rng(0)
    block = rng.integers(0, 200, layout.shape).astype(layout.dtype)
    voxel_weight = rng.random(layout.shape).astype(np.float32)
    scale, offset, weight = (rng.random(layout.channels).astype(np.float32) + 0.5 for _ in range(3))
    target = Target(CoordinateMap(layout, outputs), block, scale, offset, weight, voxel_weight)
    coordinates = target.coordinates
    assert coordinates.n_points * coordinates.n_outputs == layout.size
    flat = np.arange(coordinates.n_points)
    batch = target.batch(flat)
    assert batch.x.shape == (len(flat), len(coordinates.inputs))
    assert batch.y.shape == batch.weight.shape == (len(flat), coordinates.n_outputs)
    inside = np.stack(np.unravel_index(flat, coordinates.input_shape), 1)
    beside = np.stack(np.unravel_index(np.arange(coordinates.n_outputs), [layout.shape[i] for i in coordinates.outputs] or [1]), 1)
    channel_shape = [layout.shape[i] for i in layout.channel_axes] or [1]
    for n, k in itertools.product(range(0, len(flat), 7), range(coordinates.n_outputs)):
        index = [0] * len(layout.shape)
        for axis, at in zip(coordinates.inputs, inside[n], strict=True):
            index[axis] = at
        for axis, at in zip(coordinates.outputs, beside[k], strict=False):
            index[axis] = at
        where = tuple(index)
        channel = int(np.ravel_multi_index([index[i] for i in layout.channel_axes] or [0], channel_shape))
        assert batch.y[n, k] == pytest.approx((float(block[where]) - offset[channel]) / scale[channel], rel=1e-4, abs=1e-4)
        assert batch.weight[n, k] == pytest.approx(weight[channel] * voxel_weight[where], rel=1e-5)
        assert batch.x[n].tolist() == [axis_table(layout.shape[a])[where[a]] for a in coordinates.inputs]


def test_constant_channels_are_targets_of_zero() -> None:
    layout = Layout((2, 4, 5), "CYX", np.dtype("uint8"))
    one = np.ones(2, np.float32)
    block = np.stack([np.full((4, 5), 9), np.arange(20).reshape(4, 5)]).astype(np.uint8)
    batch = Target(CoordinateMap(layout, "C"), block, np.array([0, 2], np.float32), one * 9, one).batch(np.arange(20))
    assert (batch.y[:, 0] == 0).all()
    np.testing.assert_array_equal(batch.y[:, 1], (np.arange(20) - 9) / 2)


def test_saliency_draws_voxels_by_their_probability() -> None:
    layout = Layout((4, 5), "YX", np.dtype("uint8"))
    probability = np.zeros((4, 5))
    probability[1, 2], probability[3, 4] = 1, 3
    one = np.ones(1, np.float32)
    target = Target(CoordinateMap(layout, ""), np.zeros((4, 5), np.uint8), one, one, one, probability=probability)
    drawn = target.drawer(np.random.default_rng(0))(4000)
    assert set(drawn.tolist()) == {7, 19}
    assert np.mean(drawn == 19) == pytest.approx(0.75, abs=0.03)


# -- fit --------------------------------------------------------------------------------------------------------------

SHAPE = (24, 20)
START = init_folded(0, 2, 8, 2, 1, np.array([4.0, 4.0]))
"""One network for all fits, so that little is compiled."""


def smooth_target(voxel_weight: npt.NDArray[np.float32] | None = None) -> Target:
    layout = Layout(SHAPE, "YX", np.dtype("float32"))
    block = blobs(SHAPE, 3)
    block = ((block - block.mean()) / block.std()).astype(np.float32)
    one = np.ones(1, np.float32)
    return Target(CoordinateMap(layout, ""), block, one, np.zeros(1, np.float32), one, voxel_weight)


def run(optimiser: Optimiser | None = None, steps: int = 160, rate: float = 1e-2, target: Target | None = None,
        **options: Any) -> Fitted:
    hooks = Hooks(**{k: options.pop(k) for k in ("requantise", "progress") if k in options})
    objective = options.pop("objective", None)
    schedule = FitSchedule(steps, 256, rate, **options)
    return fit(target or smooth_target(), START, optimiser or ADAM, schedule, objective=objective, hooks=hooks)


ADAM = adam()


def test_a_fit_lowers_the_loss_and_tells_it() -> None:
    before = evaluation_loss(START, evaluation_batch(smooth_target()))
    fitted = run()
    assert fitted.loss < 0.6 * before
    assert fitted.loss == pytest.approx(evaluation_loss(fitted.params, evaluation_batch(smooth_target())), rel=1e-4)
    assert fitted.steps == 160
    assert evaluation_loss(START, evaluation_batch(smooth_target())) == before  # the start is not touched


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_fits(name: str) -> None:
    factory, rate = OPTIMISERS[name]
    before = evaluation_loss(START, evaluation_batch(smooth_target()))
    assert run(factory(), rate=rate).loss < 0.8 * before


def test_the_same_seed_gives_the_same_weights() -> None:
    one, again, other = run(), run(), run(seed=1)
    assert all(bool((a == b).all()) for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(again.params), strict=True))
    assert any(bool((a != b).any()) for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True))


def test_the_frequency_is_learned_where_the_method_says_so() -> None:
    assert float(run(learn_frequency=True).params.frequency) != 1
    assert float(run(learn_frequency=False).params.frequency) == 1


def test_gradients_summed_over_blocks_equal_the_gradient() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (8192, 2)).astype(np.float32), rng.normal(size=(8192, 1)).astype(np.float32)
    weight = rng.random((8192, 1)).astype(np.float32)
    loss, grads = loss_and_gradient(START, Batch(x, y, weight))
    plain, plain_grads = jax.value_and_grad(lambda p: jnp.mean(weight * (forward(p, jnp.asarray(x)) - y) ** 2))(START)
    assert float(loss) == pytest.approx(float(plain), rel=1e-4)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(plain_grads), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4)


def test_voxel_weights_move_the_error() -> None:
    halves = np.full(SHAPE, 0.02, np.float32)
    halves[:, :10] = 1

    def error_left_over_right(weight: npt.NDArray[np.float32]) -> float:
        target = smooth_target(weight)
        fitted = run(target=target, steps=320)
        x = smooth_target().batch(np.arange(480)).x
        error = ((evaluated(numpy_network(fitted.params), x).reshape(SHAPE) - target.block) ** 2).mean(0)
        return float(error[:10].mean() / error[10:].mean())

    assert error_left_over_right(halves) < 0.5 * error_left_over_right(np.ascontiguousarray(halves[:, ::-1]))


def test_the_quantiser_is_asked_and_its_weights_count() -> None:
    asked = []

    def requantise(params: Params) -> Params:
        asked.append(params)
        quarters: Params = jax.tree.map(lambda _: jnp.float32(0.25), params)
        return quarters._replace(frequency=jnp.float32(0))

    fitted = run(requantise=requantise, quantise_at=(0.5, 0.8))
    assert len(asked) == 2
    coarse = fake_quantise(fitted.params, requantise(fitted.params))
    assert fitted.loss == pytest.approx(evaluation_loss(coarse, evaluation_batch(smooth_target())), rel=1e-4)
    for leaf in coarse.weights:
        np.testing.assert_allclose(np.asarray(leaf) * 4, np.rint(np.asarray(leaf) * 4), atol=1e-5)
    same = fake_quantise(fitted.params, no_quantiser(fitted.params))
    assert all(bool((a == b).all()) for a, b in zip(same.weights, fitted.params.weights, strict=True))


def test_a_passed_deadline_stops_the_fit_after_one_chunk() -> None:
    done: list[float] = []
    fitted = run(steps=16000, deadline=Deadline(0.0), progress=done.append)
    assert fitted.steps == CHUNK_STEPS
    assert done == [1.0]


def test_without_a_deadline_all_steps_are_taken() -> None:
    done: list[float] = []
    assert run(steps=10 * CHUNK_STEPS, progress=done.append).steps == 10 * CHUNK_STEPS
    assert len(done) == 10
    assert done == sorted(done)
    assert done[-1] == 1


@dataclass(frozen=True)
class Recording:
    """Adam's place taken by one that writes down what it is shown, and moves nothing."""

    seen: ClassVar[list[tuple[float, float, float]]] = []

    def init(self, params: Any) -> Any:
        del params
        return jnp.zeros((), jnp.int32)

    def update(self, params: Any, grads: Any, state: Any, *, loss: jax.Array, progress: jax.Array, rate: jax.Array,
               ) -> tuple[Any, Any]:
        del grads
        jax.debug.callback(lambda p, q, r: self.seen.append((float(p), float(q), float(r))), progress, loss, rate, ordered=True)
        return params, state + 1


def test_an_optimiser_sees_progress_loss_and_rate() -> None:
    Recording.seen.clear()
    fitted = run(Recording(), steps=64)
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    progress, loss, rate = (np.array(column) for column in zip(*Recording.seen, strict=True))
    assert len(progress) == 64
    assert (np.diff(progress) > 0).all()
    assert progress[0] == 0
    assert 0.9 < progress[-1] < 1
    assert loss == pytest.approx(np.full(64, fitted.loss), rel=0.6)  # batches of the same network
    assert rate.max() <= 1e-2
    assert rate[-1] < 0.1 * rate.max()


@dataclass(frozen=True)
class Exploding:
    """Good steps for a while, then worse and worse ones."""

    def init(self, params: Any) -> Any:
        return ADAM.init(params)

    def update(self, params: Any, grads: Any, state: Any, *, loss: jax.Array, progress: jax.Array, rate: jax.Array,
               ) -> tuple[Any, Any]:
        good, state = ADAM.update(params, grads, state, loss=loss, progress=progress, rate=rate)
        return jax.tree.map(lambda g, p: jnp.where(progress < 0.5, g, p * 3 + 1), good, params), state


def test_the_best_weights_are_kept_when_the_optimiser_diverges() -> None:
    before = evaluation_loss(START, evaluation_batch(smooth_target()))
    fitted = run(Exploding())
    assert fitted.loss < before
    assert evaluation_loss(fitted.params, evaluation_batch(smooth_target())) == pytest.approx(fitted.loss, rel=1e-4)


# -- guidance ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flat(Guidance):
    """A guidance that wants the prediction to be zero everywhere, so that its effect is plain to see."""

    shape: tuple[int, ...] = (5, 7)
    weight: float | None = 10.0
    seen: ClassVar[list[tuple[tuple[int, ...], tuple[int, ...]]]] = []

    def block_shape(self, axes: str, extents: tuple[int, ...]) -> tuple[int, ...]:
        del axes, extents
        return self.shape

    def loss(self, block: GuidedBlock) -> jax.Array:
        self.seen.append((block.prediction.shape, block.target.shape))
        return jnp.mean(block.prediction**2)


def test_a_guidance_sees_blocks_and_changes_the_fit() -> None:
    Flat.seen.clear()
    guided, plain = run(objective=Objective(guidance=Flat())), run()
    assert set(Flat.seen) == {((5, 7, 1), (5, 7, 1))}
    x = smooth_target().batch(np.arange(480)).x
    assert np.std(evaluated(numpy_network(guided.params), x)) < 0.7 * np.std(evaluated(numpy_network(plain.params), x))


def test_guidance_blocks_hold_the_image() -> None:
    target = smooth_target()
    marks = np.arange(480, dtype=np.int32).reshape(SHAPE)
    sampler = BlockSampler(target, Flat(), {"marks": marks}, (100, 1000))
    x, y, position, arrays, scale, offset, _ = sampler.draw(np.random.default_rng(0), 3)
    assert x.shape == (3, 35, 2)
    assert y.shape == scale.shape == offset.shape == (3, 35, 1)
    tables = [axis_table(n) for n in SHAPE]
    np.testing.assert_array_equal(arrays["marks"][..., 0], 20 * (position[..., 0] - 100) + position[..., 1] - 1000)
    for block_x, block_y in zip(x, y, strict=True):
        rows, columns = (np.searchsorted(t, block_x[:, k]) for k, t in enumerate(tables))
        np.testing.assert_array_equal(rows.reshape(5, 7), rows[0] + np.arange(5)[:, None] + np.zeros(7, int))
        np.testing.assert_array_equal(columns.reshape(5, 7), columns[0] + np.arange(7)[None] + np.zeros((5, 1), int))
        np.testing.assert_array_equal(block_y[:, 0], target.block[rows, columns])


def test_blocks_larger_than_the_image_are_refused() -> None:
    guidance: Guidance = Flat((25, 7))
    with pytest.raises(InputError, match="blocks"):
        run(objective=Objective(guidance=guidance))
    with pytest.raises(InputError, match="blocks"):
        BlockSampler(smooth_target(), Flat((3, 3, 3)))


# -- sampling ---------------------------------------------------------------------------------------------------------


def test_chunks_are_drawn_from_the_seed() -> None:
    target = smooth_target()
    one, again, other = (next(chunks(target, 4, 32, seed)) for seed in (0, 0, 1))
    assert one.x.shape == (4, 32, 2)
    assert one.y.shape == one.weight.shape == (4, 32, 1)
    np.testing.assert_array_equal(one.y, again.y)
    assert (one.y != other.y).any()


@given(st.integers(1, 40))
@settings(deadline=None, max_examples=20)
def test_the_evaluation_sample_is_everything_where_that_is_little(limit: int) -> None:
    batch = evaluation_batch(smooth_target(), limit * 20)
    assert len(batch.x) == min(480, limit * 20)

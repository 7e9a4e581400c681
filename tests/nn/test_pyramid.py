"""Pyramids: where latents lie, what a voxel sees of them, and the fit that holds them at a number of bits."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from helpers.images import blobs, scaled
from microfield.image import Layout
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.fit import FitSchedule
from microfield.nn.network import forward, init_folded, with_features
from microfield.nn.optimisers import adam
from microfield.nn.pyramid import FEATURE_STEP, Pyramid
from microfield.nn.pyramid_fit import Room, features_at, fit_pyramid, latent_bits
from microfield.nn.pyramid_points import positions_of_a_step
from microfield.nn.sampling import Target

PYRAMIDS = [
    Pyramid((9, 14, 11), (0, 1, 1), 4, 2), Pyramid((60, 50), (1, 2), 4, 1), Pyramid((4, 3, 7, 9), (-1, 0, 1, 1), 3, 1),
    Pyramid((33,), (1,), 4, 3), Pyramid((300, 2), (3, 3), 15, 1),
]


def latents_of(pyramid: Pyramid, seed: int = 0) -> list[npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-500, 501, shape) for shape in pyramid.shapes]


def everywhere(pyramid: Pyramid) -> tuple[npt.NDArray[np.intp], ...]:
    return np.unravel_index(np.arange(int(np.prod(pyramid.extents))), pyramid.extents)


@pytest.mark.parametrize("pyramid", PYRAMIDS)
def test_features_are_products_with_a_matrix_per_axis(pyramid: Pyramid) -> None:
    found, latents = pyramid.values(latents_of(pyramid), everywhere(pyramid)), latents_of(pyramid)
    for level, grids in enumerate(latents):
        for number, grid in enumerate(grids):
            dense: Any = grid
            for axis in range(len(pyramid.extents)):
                dense = np.tensordot(dense, pyramid.matrix(level, axis).astype(np.float64), axes=(0, 1))
            apart = np.abs(dense.ravel() - found[level * pyramid.features + number])
            assert apart.max() <= FEATURE_STEP / 2


def test_a_fit_sees_the_features_that_are_decoded() -> None:
    pyramid = PYRAMIDS[0]
    latents = latents_of(pyramid)
    rows = tuple(tuple(pyramid.matrix(level, axis) for axis in range(len(pyramid.extents))) for level in range(pyramid.levels))
    seen = features_at(tuple(jnp.asarray(z, jnp.float32) for z in latents), rows)
    np.testing.assert_allclose(np.asarray(seen).T, pyramid.values(latents, everywhere(pyramid)), atol=1e-3)


@pytest.mark.parametrize("pyramid", PYRAMIDS)
def test_features_do_not_depend_on_the_other_points(pyramid: Pyramid) -> None:
    index, latents = everywhere(pyramid), latents_of(pyramid)
    whole = pyramid.values(latents, index)
    some = np.random.default_rng(1).permutation(whole.shape[1])[:300]
    np.testing.assert_array_equal(pyramid.values(latents, tuple(i[some] for i in index)), whole[:, some])


@pytest.mark.parametrize("pyramid", PYRAMIDS)
def test_equal_latents_are_an_even_feature(pyramid: Pyramid) -> None:
    values = pyramid.values([np.full(shape, 7) for shape in pyramid.shapes], everywhere(pyramid))
    np.testing.assert_array_equal(values, np.float32(7))


def test_a_step_takes_positions_along_every_axis() -> None:
    assert positions_of_a_step((10, 12), 1000) == (10, 12)
    for extents in ((60, 256, 256), (5, 1000, 1000), (2000, 3), (7, 5, 300, 300)):
        taken = positions_of_a_step(extents, 8192)
        assert 4096 < np.prod(taken) <= 8192
        assert all(1 <= k <= n for k, n in zip(taken, extents, strict=True))


def measured(latents: list[npt.NDArray[np.int64]]) -> tuple[float, list[npt.NDArray[np.float32]]]:
    """A coder that knows one distribution for each level."""
    mean = [max(float(np.abs(z).mean()), 0.02) for z in latents]
    decays = [np.full(z.shape, 1 / m, np.float32) for z, m in zip(latents, mean, strict=True)]
    return sum(float(jnp.sum(latent_bits(z.astype(np.float32), d))) for z, d in zip(latents, decays, strict=True)), decays


def test_a_fit_keeps_to_its_bits_and_learns_the_image() -> None:
    block = scaled(blobs((64, 64), 3, 3), 20, 200, np.uint8)
    layout = Layout(block.shape, "YX", block.dtype)
    target = Target(CoordinateMap(layout, ""), block, np.full(1, np.float32(block.std())), np.full(1, block.mean(), np.float32),
                    np.ones(1, np.float32))
    pyramid = Pyramid(block.shape, (1, 1), 3, 1)
    params = with_features(init_folded(0, 2, 8, 1, 1, np.full(2, 2.0)), 0, 3, 0.15)
    begin = params, tuple(jnp.zeros(shape) for shape in pyramid.shapes)
    fitted = fit_pyramid(target, pyramid, begin, adam(), FitSchedule(480, 1024, 2e-2), Room(1200.0, measured))
    assert fitted.steps == 480
    rounded = [np.rint(z).astype(np.int64) for z in fitted.latents]
    assert measured(rounded)[0] == pytest.approx(1200, rel=0.1)
    batch, features = target.batch(np.arange(block.size)), pyramid.values(rounded, everywhere(pyramid)).T
    error = float(np.mean((np.asarray(forward(fitted.params, jnp.asarray(batch.x), jnp.asarray(features))) - batch.y) ** 2))
    assert error < 0.1  # Of the image's variance.

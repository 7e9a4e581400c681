"""Latents to bytes and back, and what is refused."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield.coding.latents import LARGEST_LATENT, MOST_GROUPS, decode, encode, estimate_bits
from microfield.coding.weights import best_table
from microfield.errors import FormatError
from microfield.nn.pyramid import Pyramid

Levels = list[npt.NDArray[np.int64]]


@st.composite
def pyramids(draw: st.DrawFn) -> Levels:
    """Latents of pyramids of one to four axes, from almost all 0 to the largest."""
    extents = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    finest = tuple(draw(st.integers(-2, 2)) for _ in extents)
    pyramid = Pyramid(extents, finest, draw(st.integers(1, 4)), draw(st.integers(1, 3)))
    rng, spread = np.random.default_rng(draw(st.integers(0, 99))), draw(st.sampled_from([0.1, 1.0, 30.0, 1000.0]))
    return [np.clip(np.rint(rng.laplace(0, spread, shape)), -LARGEST_LATENT, LARGEST_LATENT).astype(np.int64)
            for shape in pyramid.shapes]


@given(pyramids())
@settings(deadline=None, max_examples=25)
def test_latents_come_back(levels: Levels) -> None:
    data = encode(levels)
    for level, found in zip(levels, decode(data, [level.shape for level in levels]), strict=True):
        np.testing.assert_array_equal(level, found)
    assert abs(len(data) - estimate_bits(levels) / 8) < 6 + sum(level.size for level in levels) / 100


def patchy(seed: int = 0) -> Levels:
    """Latents that are large in a patch and 0 elsewhere, of two levels."""
    rng = np.random.default_rng(seed)
    inside = np.zeros((1, 40, 40))
    inside[:, 5:25, 10:30] = 3
    return [np.rint(rng.laplace(0, 1, (1, 40, 40)) * inside).astype(np.int64),
            np.rint(rng.laplace(0, 2, (1, 20, 20)) * inside[:, ::2, ::2]).astype(np.int64)]


def test_what_lies_around_latents_saves_bits() -> None:
    levels = patchy()
    assert estimate_bits(levels) < 0.85 * sum(best_table(level.ravel())[1] for level in levels)


def test_larger_latents_are_refused() -> None:
    with pytest.raises(OverflowError):
        encode([np.array([[LARGEST_LATENT + 1]])])


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: bytes([0]) + data[1:], lambda data: bytes([MOST_GROUPS + 1]) + data[1:],
    lambda data: data[:6], lambda data: data[:1] + b"\xff" + data[2:],
])
def test_damage_is_said(damage: object) -> None:
    levels = patchy()
    with pytest.raises(FormatError):
        decode(damage(encode(levels)), [level.shape for level in levels])  # type: ignore[operator]

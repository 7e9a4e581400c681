from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield.errors import InputError
from microfield.metrics import spectral
from microfield.metrics.spectral import RingCorrelation, RingSums, ring_correlation

Floats = npt.NDArray[np.float64]


def radius(shape: tuple[int, ...]) -> Floats:
    """Distance of every Fourier coefficient from the origin in cycles/pixel."""
    axes = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    return np.asarray(np.sqrt(sum(f**2 for f in axes)))


def low_pass(values: Floats, cutoff: float) -> Floats:
    return np.asarray(np.fft.ifftn(np.where(radius(values.shape) <= cutoff, np.fft.fftn(values), 0)).real)


def by_hand(a: Floats, b: Floats, size: int) -> list[float]:
    """Ring after ring over the whole spectrum."""
    spectra = []
    for values in (a, b):
        faded = values - values.mean()
        for axis, n in enumerate(values.shape):
            u = (np.arange(n) + 0.5) / n
            ends = np.minimum(u, 1 - u)
            fade = np.where(ends < 1 / 8, (1 - np.cos(8 * np.pi * ends)) / 2, 1)
            faded = faded * np.expand_dims(fade, [i for i in range(values.ndim) if i != axis])
        spectra.append(np.fft.fftn(faded))
    p, q = spectra
    number = np.rint(radius(a.shape) * size)
    rings = [number == k for k in range(1, size // 2 + 1)]
    return [
        float((p[r] * q[r].conj()).sum().real / np.sqrt((abs(p[r]) ** 2).sum() * (abs(q[r]) ** 2).sum())) for r in rings
    ]


@pytest.mark.parametrize("shape", [(24, 24), (25, 31), (16, 40), (9, 12, 15), (3, 20, 20)])
def test_half_of_the_spectrum_gives_what_the_whole_one_gives(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    a = random.random(shape)
    b = a + random.normal(0, 0.3, shape)
    size = sorted(shape)[-2]
    found = ring_correlation(a, b)
    assert found.correlation == pytest.approx(by_hand(a, b, size))
    assert found.frequency == pytest.approx(np.arange(1, size // 2 + 1) / size)


@pytest.mark.parametrize(("shape", "tolerance"), [((512, 512), 0.005), ((400, 300), 0.005), ((64, 64, 64), 0.02)])
@pytest.mark.parametrize("cutoff", [0.1, 0.25, 0.4])
def test_the_frequency_of_a_low_pass_is_found(shape: tuple[int, ...], tolerance: float, cutoff: float) -> None:
    noise = np.random.default_rng(1).normal(1000, 50, shape)
    found = ring_correlation(noise, low_pass(noise, cutoff))
    assert found.cutoff() == pytest.approx(cutoff, abs=tolerance)
    assert found.correlation[found.frequency < cutoff - 2 * tolerance].min() > 0.95


@pytest.mark.parametrize("ratio", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("shape", [(256, 256), (48, 48, 48)])
def test_independent_noise_lowers_the_curve_by_a_known_amount(shape: tuple[int, ...], ratio: float) -> None:
    random = np.random.default_rng(2)
    signal = random.normal(0, 1, shape)
    noisy = signal + random.normal(0, np.sqrt(ratio), shape)
    curve = ring_correlation(signal, noisy).correlation
    assert curve[len(curve) // 4 :].mean() == pytest.approx(1 / np.sqrt(1 + ratio), abs=0.02)


def test_a_blur_an_offset_and_a_factor_do_not_matter() -> None:
    pytest.importorskip("scipy")
    from scipy.ndimage import gaussian_filter

    values = np.random.default_rng(3).normal(0, 1, (128, 128))
    blurred = gaussian_filter(values, 0.8, mode="wrap")
    assert ring_correlation(values, 3 * blurred + 100).cutoff() == 0.5


def test_nothing_in_common() -> None:
    random = np.random.default_rng(4)
    a, b = random.normal(0, 1, (2, 128, 128))
    assert ring_correlation(a, b).cutoff() < 0.05
    assert ring_correlation(a, np.ones_like(a)).correlation.max() == 0
    assert ring_correlation(a, np.ones_like(a)).cutoff() == 0
    assert ring_correlation(a, -a).correlation == pytest.approx(-1)
    assert ring_correlation(np.ones_like(a), np.ones_like(a)).cutoff() == 0.5


def test_the_cutoff_is_interpolated() -> None:
    curve = RingCorrelation(np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 0.75, 0.25, 0.9]))
    assert curve.cutoff() == pytest.approx(0.25)
    assert curve.cutoff(0.75) == pytest.approx(0.2)
    assert curve.cutoff(0.2) == 0.5
    assert curve.cutoff(1.1) == 0.0


@settings(deadline=None, max_examples=40)
@given(st.integers(8, 30), st.integers(8, 30), st.integers(0, 10**6), st.sampled_from(["uint8", "int16", "float32"]))
def test_any_plane_correlates_with_itself(height: int, width: int, seed: int, dtype: str) -> None:
    values = np.random.default_rng(seed).integers(0, 100, (height, width)).astype(dtype)
    found = ring_correlation(values, values)
    assert found.correlation == pytest.approx(1)
    assert found.cutoff() == 0.5
    assert ((found.frequency > 0) & (found.frequency <= 0.5)).all()


def test_large_planes_are_cut_into_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral, "SIDE", 64)
    noise = np.random.default_rng(5).normal(0, 1, (150, 100))
    sums = RingSums(noise.shape)
    sums.add(noise, low_pass(noise, 0.2))
    assert sums.result().cutoff() == pytest.approx(0.2, abs=1 / 64)
    parts = RingSums(noise.shape)
    for rows in (slice(0, 50), slice(50, 100), slice(100, 150)):
        for columns in (slice(0, 50), slice(50, 100)):
            parts.add_window(noise[rows, columns], low_pass(noise, 0.2)[rows, columns])
    assert sums.result().correlation == pytest.approx(parts.result().correlation)


def test_rings_of_bright_planes_weigh_more() -> None:
    random = np.random.default_rng(6)
    bright, dark = random.normal(0, 100, (64, 64)), random.normal(0, 1, (64, 64))
    sums = RingSums((64, 64))
    sums.add(bright, bright)
    sums.add(dark, random.normal(0, 1, (64, 64)))
    assert sums.result().correlation.min() > 0.99


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((20, 20)), np.zeros((20, 21)), "one shape"),
        (np.zeros(20), np.zeros(20), "two planes or two volumes"),
        (np.zeros((2, 2, 20, 20)), np.zeros((2, 2, 20, 20)), "two planes or two volumes"),
        (np.zeros((1, 400)), np.zeros((1, 400)), "too small"),
        (np.full((20, 20), np.nan), np.zeros((20, 20)), "finite"),
        (np.zeros((20, 20)), np.full((20, 20), np.inf), "finite"),
    ],
)
def test_bad_input(a: npt.NDArray[Any], b: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ring_correlation(a, b)

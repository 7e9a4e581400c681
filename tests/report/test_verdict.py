"""What the verdict rests on: the split of the error into noise and structure, detail against noise, intensities, grades."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from microfield.image import Image
from microfield.report.criteria import CRITERIA, intensity_changed, structured_error
from microfield.report.crop_choice import choose_crops
from microfield.report.detail import best_possible, measure_detail, reach
from microfield.report.drawing.grade import Grade
from microfield.report.evidence import Evidence, gather
from microfield.report.pair import Pair, make_pair
from microfield.report.quick import quick_verdict
from microfield.report.tile_errors import TILE, make_bins, measure_tiles, tile_sums
from microfield.report.verdict import judge_uses

Array = npt.NDArray[Any]

RNG = np.random.default_rng(7)


def texture(shape: tuple[int, int], sigma: float = 3.0, seed: int = 0) -> npt.NDArray[np.float64]:
    """Smooth random structure of deviation 1."""
    made = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return np.asarray(made / made.std())


def pair_of(original: Array, reconstruction: Array, axes: str = "YX") -> Pair:
    return make_pair(Image(original, axes), reconstruction)


# -- pairs ------------------------------------------------------------------------------------------------------------


def test_reading_any_axes_gives_time_depth_rows_columns() -> None:
    values = RNG.integers(0, 1000, (3, 2, 4, 5, 6)).astype(np.int16)  # T S Z X Y
    pair = pair_of(values, values, "TSZXY")
    assert pair.extents == (3, 4, 6, 5)
    low, span = int(values[:, 1].min()), int(np.ptp(values[:, 1]))
    found = pair.read("original", 1, (slice(1, 2), slice(None), slice(2, 5), slice(0, 4)))
    expected = (values[1:2, 1, :, 0:4, 2:5].transpose(0, 1, 3, 2) - low) / span
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert pair.grey(1, 1.0) == low + span


# -- tiles ------------------------------------------------------------------------------------------------------------


def test_tile_sums_equal_sums_of_slices() -> None:
    plane = RNG.random((37, 50)).astype(np.float32)
    sums = tile_sums(plane)
    assert sums.shape == (3, 4)
    for i, j in np.ndindex(3, 4):
        part = plane[i * TILE : (i + 1) * TILE, j * TILE : (j + 1) * TILE]
        assert sums[i, j] == pytest.approx(part.sum(dtype=np.float64))


def test_noise_is_no_structured_error_and_structure_is() -> None:
    clean = texture((256, 256), seed=1) * 100 + 1000
    noisy = clean + RNG.normal(0, 30, clean.shape)
    lost_noise = measure_tiles(pair_of(noisy, clean)).channels[0]
    assert lost_noise.structured.mean() < 0.01 * lost_noise.square.mean()
    blurred = measure_tiles(pair_of(clean, gaussian_filter(clean, 3))).channels[0]
    assert blurred.structured.mean() > 0.8 * blurred.square.mean()


def test_noise_that_grows_with_brightness_is_no_structured_error() -> None:
    clean = gaussian_filter(RNG.random((256, 256)), 8)
    clean = 5 + 200 * (clean - clean.min()) / np.ptp(clean)
    shot = RNG.poisson(clean).astype(np.float64)
    found = measure_tiles(pair_of(shot, clean)).channels[0]
    assert found.structured.mean() < 0.02 * found.square.mean()


def test_tile_means_and_squares_are_those_of_the_tiles() -> None:
    a, b = RNG.random((2, 48, 40))
    pair = pair_of(a, b)
    found = measure_tiles(pair).channels[0]
    levels = pair.levels(0)
    assert found.square[0, 1, 1] * levels**2 == pytest.approx(np.mean((b - a)[16:32, 16:32] ** 2), rel=1e-4)
    assert pair.grey(0, found.mean_original[0, 2, 2]) == pytest.approx(a[32:, 32:].mean(), rel=1e-5)
    assert found.grey_original.sum() == found.grey_reconstruction.sum() == a.size


@pytest.mark.parametrize("size", [0.5, 20.0])
def test_the_histogram_of_errors_holds_nearly_all_of_them(size: float) -> None:
    clean = np.full((8, 128, 128), 1000.0) + texture((128, 128)) * 100
    noisy = np.rint(clean + RNG.normal(0, 10, clean.shape)).astype(np.uint16)
    other = np.rint(noisy + RNG.normal(0, 10 * size, clean.shape)).astype(np.uint16)
    pair = pair_of(noisy, other, "ZYX")
    found = measure_tiles(pair).channels[0]
    assert found.errors is not None
    ends = int(found.error_counts[0] + found.error_counts[-1])
    assert found.error_counts.sum() == clean.size
    assert ends < 0.003 * clean.size
    reach = found.errors.count * found.errors.width / 2 / pair.noise(0)
    assert reach == pytest.approx(6 if size < 1 else 3.29 * size, rel=0.2)


@given(st.integers(0, 3000), st.integers(1, 3000))
def test_bins_of_integers_hold_equally_many_levels(low: int, span: int) -> None:
    """Uniform integers give a flat histogram; only the bins at the ends may differ."""
    bins = make_bins(float(low), float(low + span), 1.0)
    counts = bins.counts(np.arange(low, low + span + 1, dtype=np.float32))
    assert counts.sum() == span + 1
    assert bins.count <= 260
    assert len(set(counts[1:-1].tolist())) <= 1


# -- detail -----------------------------------------------------------------------------------------------------------


def test_possible_correlation_is_that_of_signal_plus_noise_with_the_signal() -> None:
    from microfield.metrics.spectral import ring_correlation

    clean = gaussian_filter(RNG.normal(size=(512, 512)), 1.2) * 100
    noisy = clean + RNG.normal(0, 8, clean.shape)
    found = ring_correlation(noisy, clean)
    predicted = best_possible(noisy, 8.0, found.frequency)
    inside = (found.frequency > 0.02) & (found.frequency < 0.4)
    assert np.abs(predicted - found.correlation)[inside].mean() < 0.06


def test_losing_noise_keeps_all_detail_and_blurring_does_not() -> None:
    clean = gaussian_filter(RNG.normal(size=(256, 256)), 1.0) * 400
    noisy = clean + RNG.normal(0, 20, clean.shape)
    shares = []
    for reconstruction in (clean, gaussian_filter(clean, 4)):
        pair = pair_of(noisy, reconstruction)
        detail = measure_detail(pair, pair.views[0])
        assert detail is not None
        shares.append(detail.share)
    assert shares[0] > 0.9
    assert shares[1] < 0.6


def test_reach_is_the_first_fall_below_the_threshold() -> None:
    frequency = np.linspace(0.05, 0.5, 10)
    assert reach(frequency, np.ones(10)) == 0.5
    assert reach(frequency, np.where(frequency < 0.28, 1.0, 0.0)) == pytest.approx(0.3)


# -- crops ------------------------------------------------------------------------------------------------------------


def test_crops_find_the_error_and_the_structure() -> None:
    original = 100 + RNG.normal(0, 1, (4, 256, 256))
    original[1, 32:80, 160:208] += 50 * texture((48, 48))
    reconstruction = original.copy()
    reconstruction[3, 150:200, 20:70] += 5
    pair = pair_of(original, reconstruction, "ZYX")
    crops = {c.reason: c for c in choose_crops(pair, measure_tiles(pair), pair.views[0])}
    assert crops["largest error"].z == 3
    assert crops["largest error"].y.start <= 170 < crops["largest error"].y.stop
    assert crops["largest error"].x.start <= 50 < crops["largest error"].x.stop
    assert crops["richest structure"].z == 1
    assert crops["richest structure"].x.start <= 184 < crops["richest structure"].x.stop
    again = choose_crops(pair, measure_tiles(pair), pair.views[0])
    assert again == tuple(crops.values())


# -- verdict ----------------------------------------------------------------------------------------------------------


def test_intensity_changes_are_counted_in_the_foreground_only() -> None:
    original = np.full((64, 64), 10.0)
    original[:32] = 1000 + RNG.normal(0, 1, (32, 64))
    original[0, 0], original[63, 63] = 1010, 0
    reconstruction = original.copy()
    reconstruction[:16, :32] *= 1.1  # 2 of 8 foreground tiles
    reconstruction[48:] = 14  # background
    pair = pair_of(original, reconstruction)
    assert intensity_changed(measure_tiles(pair).channels[0], pair.contrast(0)) == pytest.approx(0.25)


def test_structured_error_is_in_units_of_the_displayed_range() -> None:
    original = np.tile(np.linspace(0, 1000, 256), (256, 1))
    wave = 20 * np.sin(np.arange(256) / 256 * 2 * np.pi * 4)
    pair = pair_of(original, original + wave[:, None])
    found = structured_error(measure_tiles(pair).channels[0], float(np.diff(pair.contrast(0))[0]))
    assert 0.013 < found < 0.02  # the amplitude is 2 % and the deviation 1.4 %


def test_grades_fall_with_the_number() -> None:
    for criterion in CRITERIA:
        step = 0.001 if criterion.rising else -0.001
        grades = [criterion.grade(v) for v in (criterion.fine + step, criterion.fine - step, None)]
        assert grades == [Grade.FINE, Grade.WITH_CARE, Grade.NOT_JUDGED]
        if criterion.care is not None:
            assert [criterion.grade(criterion.care + s) for s in (step, -step)] == [Grade.WITH_CARE, Grade.NOT_ADVISED]
        assert criterion.reason.endswith(".")


def test_verdicts_get_worse_with_more_damage_but_not_with_lost_noise() -> None:
    spots = np.zeros((256, 256))
    spots[tuple(np.random.default_rng(3).integers(20, 236, (2, 60)))] = 1
    clean = gaussian_filter(spots, 5) * 60000 + 200
    noisy = Image((clean + RNG.normal(0, 12, clean.shape)).astype(np.float32), "YX")
    grades = []
    for reconstruction in (clean, gaussian_filter(clean, 3), gaussian_filter(clean, 25)):
        grades.append([v.grade for v in judge_uses(gather(noisy, reconstruction.astype(np.float32)))])
    assert grades[0][0] == Grade.FINE
    assert all(a >= b for a, b in zip(grades[0], grades[1], strict=True))
    assert {grades[2][0], grades[2][1], grades[2][3]} == {Grade.NOT_ADVISED}


# -- reading the verdict ----------------------------------------------------------------------------------------------


def _evidence(original: Array, reconstruction: Array, axes: str = "YX") -> Evidence:
    return gather(Image(original.astype(np.float32), axes), reconstruction.astype(np.float32), pictures=False)


def test_spots_are_judged_and_what_cannot_be_judged_is_grey_with_its_reason() -> None:
    points = np.zeros((256, 256))
    points[tuple(np.random.default_rng(3).integers(20, 236, (2, 60)))] = 1
    original = gaussian_filter(points, 1.2) * 5000 + 200 + RNG.normal(0, 3, points.shape)
    verdicts = {v.use: v for v in judge_uses(_evidence(original, gaussian_filter(original, 8)))}
    assert verdicts["spots"].grade == Grade.NOT_ADVISED
    assert "spots found again (F1)" in verdicts["spots"].why
    few = 100 + 20 * texture((128, 128), 20) + RNG.normal(0, 1, (128, 128))
    verdicts = {v.use: v for v in judge_uses(_evidence(few, few + 0.1))}
    assert verdicts["spots"].grade == Grade.NOT_JUDGED
    assert verdicts["spots"].why == "fewer than 10 spots were found in the original"
    assert verdicts["measure"].grade == Grade.FINE
    assert "not judged: error of the area or volume of objects, since fewer than 10" in verdicts["measure"].why
    assert "traces" not in verdicts["measure"].why  # there is no time


def test_measuring_asks_for_care_where_only_means_speak_and_the_error_exceeds_the_noise() -> None:
    original = 100 + 20 * texture((128, 128), 20) + RNG.normal(0, 0.2, (128, 128))
    grid = np.indices(original.shape).sum(0) % 2 * 2 - 1  # Means over regions do not see it.
    for error, grade in ((0.2, Grade.FINE), (1.4, Grade.WITH_CARE)):
        verdict = {v.use: v for v in judge_uses(_evidence(original, original + error * grid))}["measure"]
        assert verdict.grade == grade
        assert ("error in units of the noise" in verdict.why) == (grade == Grade.WITH_CARE)


def test_a_use_that_is_graded_better_than_looking_says_why() -> None:
    spots = np.zeros((256, 256))
    spots[tuple(np.random.default_rng(3).integers(20, 236, (2, 60)))] = 1
    original = gaussian_filter(spots, 5) * 60000 + 200 + 60 * texture((256, 256), 1.0)
    verdicts = judge_uses(_evidence(original, gaussian_filter(original, 2.5)))
    look = verdicts[0]
    assert look.grade < Grade.FINE
    better = [v for v in verdicts[1:] if look.grade < v.grade < Grade.NOT_JUDGED]
    assert better
    for verdict in better:
        assert verdict.forward.startswith(f"better than looking ({look.grade.words}): ")
        assert verdict.forward in verdict.why
    assert all(not v.forward for v in judge_uses(_evidence(original, original)))


def test_the_quick_verdict_says_what_it_was_judged_on() -> None:
    values = (1000 + 200 * np.stack([texture((96, 96), 3, seed) for seed in range(8)])).astype(np.float32)
    found = quick_verdict(Image(values, "TYX"), values + 1, max_voxels=4 * 48 * 48)
    assert found.judged_on is not None
    assert found.judged_on.startswith("judged on ")
    assert found.lines()[-1] == found.judged_on
    assert list(found.as_dict()) == ["look", "count", "spots", "measure", "judged_on"]
    assert list(found.columns()) == ["verdict_look", "verdict_count", "verdict_spots", "verdict_measure", "verdict_why"]
    whole = quick_verdict(Image(values, "TYX"), values)
    assert whole.judged_on is None
    assert {v.grade for v in whole.verdicts} == {Grade.FINE}
    assert whole.lines()[0] == "look     fine: exact copy"

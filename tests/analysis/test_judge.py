"""The analysis as a whole: identity, degradation, ground truth, sampling, bad input, on images with known objects."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import microfield
from helpers.files import random_file
from microfield.analysis.ground_truth import match_labels
from microfield.analysis.judge import judge
from microfield.analysis.result import NUMBERS
from microfield.analysis.subset import choose_subset, grey, is_bright_field
from microfield.errors import InputError
from microfield.image import Image

Array = npt.NDArray[Any]


def labelled(shape: tuple[int, ...], radius: float = 8, pitch: int = 24) -> npt.NDArray[np.int32]:
    """Balls on a grid, numbered 1, 2, ...; the last axes are those of ``shape``."""
    grid = np.indices(shape)
    centres = np.stack(np.meshgrid(*(np.arange(pitch // 2, n, pitch) for n in shape), indexing="ij"), -1).reshape(-1, len(shape))
    labels = np.zeros(shape, np.int32)
    for number, centre in enumerate(centres, 1):
        labels[sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2] = number
    return labels


def picture(labels: Array, seed: int = 0, noise: float = 8.0, bright: float = 300.0) -> npt.NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    return np.clip(np.rint(100 + bright * (labels > 0) + rng.normal(0, noise, labels.shape)), 0, 65535).astype(np.uint16)


def blurred(values: Array, sigma: float, axes: str) -> Array:
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(values.astype(np.float64), [sigma if a in "ZYX" else 0 for a in axes])
    return np.asarray(np.rint(smooth) if values.dtype.kind in "iu" else smooth).astype(values.dtype)


LABELS = labelled((120, 144))
PLANE = Image(picture(LABELS), "YX", name="plane")
MOVIE_LABELS = np.stack([np.where(np.isin(LABELS, range(1, 8 + 2 * t)), LABELS, 0) for t in range(6)])
BRIGHTNESS = 1 + 0.5 * np.sin(np.arange(6)[:, None] + np.arange(31)[None, :])
MOVIE = Image(
    np.stack([picture(m, t, 5.0, 300.0 * BRIGHTNESS[t][np.minimum(m, 30)]) for t, m in enumerate(MOVIE_LABELS)]),
    "TYX", name="movie",
)
KINDS = {
    "plane": PLANE,
    "volume": Image(picture(labelled((24, 48, 48))), "ZYX", {"Z": 1.0, "Y": 1.0, "X": 1.0}),
    "movie": MOVIE,
    "channels": Image(np.stack([picture(LABELS), picture(LABELS[::-1, ::-1], 1), picture(LABELS * 0, 2)]), "CYX",
                      channel_names=("DNA", "actin", "empty")),
    "5d": Image(np.stack([np.stack([picture(labelled((6, 48, 48)), t), picture(labelled((6, 48, 48)), t + 9)]) for t in range(3)]),
                "TCZYX"),
    "rgb": Image(np.stack([picture(LABELS, s, 4.0, 120.0).astype(np.uint8) for s in range(3)], -1), "YXS"),
    "float": Image(picture(LABELS).astype(np.float64) * 1e-200 - 1e-199, "YX"),
    "int16": Image((picture(LABELS).astype(np.int32) - 900).astype(np.int16), "YX"),
    "size 1": Image(picture(LABELS)[None, None, None], "TCZYX"),
    "line": Image(picture(LABELS)[:, :1], "YX"),
    "pixel": Image(np.array([[[5]]], np.uint8), "ZYX"),
    "constant": Image(np.full((3, 20, 20), 7.0), "TYX"),
}
PERFECT = ("iou", "dice", "object_f1", "spot_f1", "count_over_time_correlation", "trace_correlation", "trace_correlation_low")
ZERO = ("count_error", "area_error", "distance_error", "distance_physical", "count_over_time_difference", "pearson_change",
        "manders_change")


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_agrees_with_itself(kind: str) -> None:
    image = KINDS[kind]
    found = judge(image, image.read(), not_labels=True)
    numbers = found.numbers()
    for name in PERFECT:
        assert numbers[name] in (None, pytest.approx(1.0)), name
    for name in ZERO:
        assert numbers[name] in (None, pytest.approx(0.0, abs=1e-6)), name
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["iou"] == 1
    assert len(found.table().splitlines()) >= 2
    assert found == judge(image, image.read(), not_labels=True)


def test_objects_are_counted_and_measured() -> None:
    found = judge(PLANE, blurred(PLANE.read(), 1.5, "YX"), labels=LABELS)
    (channel,) = found.channels
    assert channel.segmenter == "otsu"
    assert channel.count_original == channel.count_reconstruction == 30
    assert channel.object_f1 == channel.truth_f1_original == channel.truth_f1_reconstruction == 1
    assert channel.truth_iou_original is not None
    assert channel.truth_iou_original > 0.95
    assert channel.trace_correlation is None


def test_lost_and_moved_objects_are_seen() -> None:
    values = PLANE.read().copy()
    values[:24] = 100  # the upper 6 of 30 objects are gone
    lost = judge(PLANE, values).channels[0]
    assert (lost.count_original, lost.count_reconstruction) == (30, 24)
    assert lost.object_f1 == pytest.approx(48 / 54)
    assert lost.count_error == pytest.approx(0.2)
    moved = judge(Image(PLANE.data, "YX", {"Y": 0.5, "X": 0.5}), np.roll(PLANE.read(), 2, axis=1)).channels[0]
    assert moved.distance_error == pytest.approx(2, abs=0.1)
    assert moved.distance_physical == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", ["plane", "volume", "movie"])
def test_more_blur_never_scores_better(kind: str) -> None:
    image = KINDS[kind]
    results = [judge(image, blurred(image.read(), sigma, image.axes)).numbers() for sigma in (0.7, 2.5, 6.0)]
    for name in ("iou", "dice", "object_f1"):
        first, second, third = (float(r[name] or 0) for r in results)
        assert first >= second >= third, name
        assert name == "object_f1" or first > third + 0.03, name


def test_traces_follow_the_regions_given_and_found() -> None:
    flat = MOVIE.read().copy()
    flat[:, :, 72:] = flat[:, :, 72:].mean(axis=0)  # the right half no longer changes
    for labels in (None, MOVIE_LABELS, LABELS, LABELS > 0):
        found = judge(MOVIE, flat, labels=labels).channels[0]
        assert found.trace_correlation is not None
        assert found.trace_correlation < 0.75
        kept = judge(MOVIE, blurred(MOVIE.read(), 1.0, "TYX"), labels=labels).channels[0]
        assert kept.trace_correlation is not None
        assert kept.trace_correlation > 0.97
    assert judge(MOVIE, flat, labels=LABELS).channels[0].regions == 30
    counts = judge(MOVIE, MOVIE.read()[::-1]).channels[0]
    assert counts.count_over_time_correlation == pytest.approx(-1, abs=0.05)


def test_colocalisation_of_every_pair() -> None:
    image = KINDS["channels"]
    mixed = image.read().astype(np.float64)
    mixed[1] = (mixed[0] + mixed[1]) / 2
    found = judge(image, mixed)
    assert found.colocalisation is not None
    assert [(p.first, p.second) for p in found.colocalisation] == [("DNA", "actin"), ("DNA", "empty"), ("actin", "empty")]
    change = found.colocalisation[0].pearson_change
    assert change is not None
    a, b = image.read()[:2].reshape(2, -1)
    both = mixed[:2].reshape(2, -1)
    assert change == pytest.approx(np.corrcoef(*both)[0, 1] - np.corrcoef(a, b)[0, 1], abs=1e-6)
    assert found["pearson_change"] >= change
    assert "DNA with actin: Pearson" in found.table()


def test_a_mapping_with_attributes() -> None:
    found = judge(PLANE, PLANE.read())
    assert set(NUMBERS) <= set(found)
    assert len(found) == len(list(found))
    assert found["iou"] == found.iou == 1
    assert found["notes"] == ()
    assert found.numbers().keys() >= {"object_f1", "manders_change"}
    with pytest.raises(KeyError):
        found["nothing"]
    assert {name: getattr(found, name) for name in found} == dict(found)
    import pickle

    assert pickle.loads(pickle.dumps(found)) == found


class Counting:
    """A lazy image that remembers how much of it was read."""

    def __init__(self, values: Array) -> None:
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, 0

    def __getitem__(self, key: Any) -> Array:
        part = np.asarray(self.values[key])
        self.read += part.size
        return part


def test_large_images_are_sampled() -> None:
    lazy = Counting(MOVIE.read().repeat(4, axis=0))
    image = Image(lazy, "TYX")
    found = judge(image, Counting(lazy.values), labels=MOVIE_LABELS.repeat(4, axis=0), max_voxels=100_000)
    assert lazy.read <= 100_000
    assert found.notes == ("analysed were 10 of 24 time points, evenly spread and the middle 91 of 120 (Y) x 109 of 144 (X).",)
    assert found.iou == 1
    whole = judge(image, lazy.values)
    assert whole.notes == ()


def test_what_is_sampled() -> None:
    image = Image(Counting(np.zeros((100, 2, 20, 64, 64), np.uint8)), "TCZYX")
    times, box, note = choose_subset(image, 2 * 20 * 64 * 64 * 10)
    assert times == tuple(range(0, 100, 11))
    assert box[1:] == tuple(slice(0, n) for n in (2, 20, 64, 64))
    assert note == "analysed were 10 of 100 time points, evenly spread."
    deep = Image(Counting(np.zeros((64, 64, 64), np.uint8)), "ZYX")
    _, box, _ = choose_subset(deep, 32**3)
    assert box == (slice(16, 48),) * 3
    assert choose_subset(deep, 64**3) == ((0,), (slice(0, 64),) * 3, None)


def test_colour_becomes_what_is_counted() -> None:
    rgb = np.full((120, 144, 3), 240, np.uint8)
    rgb[LABELS > 0] = (90, 80, 160)  # blue-violet nuclei
    rgb[:, :72][LABELS[:, :72] == 0] = (240, 150, 190)  # eosin
    image = Image(rgb, "YXS")
    assert is_bright_field(rgb)
    found = judge(image, rgb, labels=LABELS).channels[0]
    assert found.name == "haematoxylin"
    assert found.truth_f1_original == 1
    fluorescence = KINDS["rgb"].read() // 2
    fluorescence[LABELS == 0] = 3
    assert judge(Image(fluorescence, "YXS"), fluorescence).channels[0].name == "luminance"
    np.testing.assert_allclose(grey(np.full((2, 2, 3), 50, np.uint8), False, 1.0), 50, rtol=1e-6)
    four = np.concatenate([rgb, np.full((120, 144, 1), 255, np.uint8)], -1)
    assert judge(Image(four, "YXS"), four).channels[0].name == "haematoxylin"


def test_labels_are_matched_by_shape() -> None:
    five = KINDS["5d"]
    assert match_labels(five, np.zeros((3, 6, 48, 48))) == "TZYX"
    assert match_labels(five, np.zeros((6, 48, 48))) == "ZYX"
    single = Image(np.zeros((1, 2, 1, 5, 6), np.uint8), "TCZYX")
    assert match_labels(single, np.zeros((5, 6))) == "YX"
    assert match_labels(single, Image(np.zeros((1, 5, 6), np.uint8), "ZYX")) == "ZYX"
    with pytest.raises(InputError, match=r"the labels have shape \(48, 48\), but array needs \(3, 6, 48, 48\) \(TZYX\) or one"):
        judge(five, five.read(), labels=np.zeros((48, 48)))
    balls = labelled((6, 48, 48))
    for labels in (balls, balls > 0, (balls > 0) * np.uint8(255), Image(balls.astype(np.uint16), "ZYX"), balls[None].repeat(3, 0)):
        found = judge(five, five.read(), labels=labels)
        assert found.truth_iou_original == found.truth_iou_reconstruction
        assert found.truth_f1_original == 1


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"shape \(120, 144\) and the reconstruction \(144, 120\)"):
        judge(PLANE, PLANE.read().T)
    with pytest.raises(InputError, match="axes YX and the reconstruction XY"):
        judge(Image(PLANE.read()[:100, :100], "YX"), Image(PLANE.read()[:100, :100], "XY"))
    with pytest.raises(InputError, match="the reconstruction holds 1 NaN and 1 infinite"):
        judge(Image(np.ones((2, 2)), "YX"), np.array([[np.nan, np.inf], [0, 0]]))
    with pytest.raises(InputError, match="plane holds 4 NaN"):
        judge(Image(np.full((2, 2), np.nan), "YX", name="plane"), np.ones((2, 2)))
    with pytest.raises(InputError, match="looks like object labels"):
        judge(Image(LABELS.astype(np.uint16), "YX"), LABELS)
    with pytest.raises(InputError, match="looks like object labels"):
        judge(Image(np.arange(9, dtype=np.uint8).reshape(3, 3).repeat(9, 0).repeat(9, 1), "YX", labels=True), np.zeros((27, 27)))
    assert judge(Image(LABELS.astype(np.uint16), "YX"), LABELS, not_labels=True).iou == 1
    with pytest.raises(InputError, match="whole numbers"):
        judge(PLANE, PLANE.read(), labels=LABELS - 0.5)


def test_files_are_judged_as_they_are() -> None:
    image = KINDS["5d"]
    with microfield.open(random_file(image.layout)) as file:
        assert judge(image, file) == judge(image, file[...])


def test_progress_rises_to_one() -> None:
    told: list[float] = []
    judge(KINDS["channels"], KINDS["channels"].read(), progress=lambda done, what: told.append(done))
    assert told == sorted(told)
    assert told[-1] == 1


def test_a_constant_reconstruction_loses_everything() -> None:
    found = judge(MOVIE, np.full(MOVIE.shape, 100, np.uint16)).channels[0]
    assert (found.iou, found.object_f1, found.count_reconstruction, found.trace_correlation) == (0, 0, 0, 0)
    assert found.area_error is None


def test_what_was_found_in_the_original_can_be_kept() -> None:
    memo: dict[Any, Any] = {}
    reconstructions = [blurred(MOVIE.read(), sigma, MOVIE.axes) for sigma in (1.0, 2.0)]
    kept = [judge(MOVIE, values, labels=MOVIE_LABELS, memo=memo) for values in reconstructions]
    assert memo
    assert [k.as_dict() for k in kept] == [judge(MOVIE, values, labels=MOVIE_LABELS).as_dict() for values in reconstructions]
    assert kept[0].as_dict() != kept[1].as_dict()


# -- labels that are none, labels that are not found, traces that say nothing ------------------------------------------


def test_images_given_as_labels_are_refused() -> None:
    for bad in (PLANE.read(), Image(PLANE.read(), "YX", name="cells.tif"), blurred(PLANE.read(), 2, "YX")):
        with pytest.raises(InputError, match="looks like an image of intensities, not like labels"):
            judge(PLANE, PLANE.read(), labels=bad)
    for floats in (LABELS.astype(np.float32), PLANE.read() / 7):
        with pytest.raises(InputError, match="whole numbers of an integer type"):
            judge(PLANE, PLANE.read(), labels=floats)
    # Cells of 3 x 3 pixels that all touch, and numbered points: what a stricter rule would refuse.
    touching = np.kron(np.arange(40 * 48).reshape(40, 48), np.ones((3, 3), int))
    points = np.zeros(PLANE.shape, int)
    points[5::7, 5::7] = np.arange(1, points[5::7, 5::7].size + 1).reshape(points[5::7, 5::7].shape)
    noise_mask = np.random.default_rng(0).integers(0, 2, PLANE.shape)
    for good in (touching, points, noise_mask, noise_mask * 255, Image(PLANE.read(), "YX", labels=True)):
        judge(PLANE, PLANE.read(), labels=good)


def test_labels_that_are_not_found_are_said_to_be() -> None:
    found = judge(PLANE, PLANE.read(), labels=LABELS)
    assert found.channels[0].meets_truth is True
    assert found.truth_missed() is None
    elsewhere = np.roll(LABELS, (12, 12), (0, 1))
    missed = judge(PLANE, PLANE.read(), labels=elsewhere)
    assert missed.channels[0].meets_truth is False
    assert "does not find these labels" in (missed.truth_missed() or "")
    assert "does not find these labels" in missed.table()
    assert judge(PLANE, PLANE.read()).channels[0].meets_truth is None


def test_the_table_says_what_each_column_is_about() -> None:
    values = PLANE.read().copy()
    values[:24] = 100
    found = judge(PLANE, values, labels=LABELS)
    lines = found.table().splitlines()
    assert "30 / 24" in lines[2]
    assert "1.000 / 0.889" in lines[2]
    pairs = [i + len("original / copy") for i in range(len(lines[1])) if lines[1].startswith("original / copy", i)]
    assert lines[0][: pairs[0]].endswith("  objects")  # the first heading line stands over the second
    assert lines[0][: pairs[-1]].endswith("  truth F1")
    assert "kept" not in found.table()
    assert "objects F1: " in found.legend()
    assert "truth F1: " in found.legend()
    assert "lowest 10 %" not in found.legend()
    assert "lowest 10 %" in judge(MOVIE, MOVIE.read()).legend()


def test_traces_of_few_points_and_of_noise_are_kept_apart() -> None:
    labels = labelled((72, 72))
    still = np.stack([picture(labels, t) for t in range(14)])
    swing = 1 + 0.3 * np.sin(np.arange(14) * 1.1)
    alive = np.stack([picture(labels, t, bright=300 * s) for t, s in enumerate(swing)])
    for movie, points, clear in ((still, 14, 0), (alive, 14, 9), (alive[:9], 9, 0)):
        lost = blurred(movie, 2, "TYX")
        channel = judge(Image(movie, "TYX"), lost, labels=labels).channels[0]
        assert (channel.time_points, channel.regions, channel.regions_clear) == (points, 9, clear)
        assert (channel.trace_correlation_clear is not None) == bool(clear)
        assert channel.trace_correlation is not None
    names = judge(Image(alive, "TYX"), alive).numbers()
    assert not {"time_points", "regions_clear", "trace_correlation_clear"} & set(names)  # those of the benchmark's rows stay

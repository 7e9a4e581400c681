"""The training program of the learned optimiser, on tasks small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from helpers.images import blobs
from microfield.training import optimiser, optimiser_tasks
from microfield.training.optimiser import Limits, Progress, train
from microfield.training.optimiser_tasks import Fits, Group, Tiles, coordinates, count, first_weights, flatten, unflatten

GROUP = Group((8, 8), 1, 4, 1, 32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(optimiser, "GROUPS", (GROUP,))
    monkeypatch.setattr(optimiser, "PAIRS", 2)
    monkeypatch.setattr(optimiser_tasks, "PAIRS", 2)
    monkeypatch.setattr(optimiser_tasks, "HORIZONS", {0: (2,), 3: (1,)})
    monkeypatch.setattr(optimiser, "JUDGED", (1, 2))
    monkeypatch.setattr(optimiser, "LOOK", 2)
    tifffile.imwrite(tmp_path / "blobs.ome.tif", (1000 * blobs((40, 40), 3)).astype(np.uint16), metadata={"axes": "YX"})
    return tmp_path


def test_weights_become_one_vector_and_back() -> None:
    arrays = first_weights(3)
    flat = flatten(arrays)
    assert flat.shape == (count(),)
    back = unflatten(np.stack([flat, 2 * flat]))
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], np.stack([array, 2 * array]))
    assert not any(arrays[name].any() for name in ("tensor1", "parameter1"))


def test_tiles_are_of_the_images_and_normalised(folder: Path) -> None:
    tiles = Tiles(folder, ["blobs"], np.random.default_rng(0))
    tile = tiles.cut((8, 8), 1)
    assert tile.shape == (64, 1)
    assert tile.mean() == pytest.approx(0, abs=1e-5)
    assert tile.std() == pytest.approx(1, abs=1e-5)
    grid = coordinates((8, 8))
    assert grid.shape == (64, 2)
    assert grid.min() == -1
    assert grid.max() == 1


def test_a_training_makes_updates_checkpoints_and_goes_on(folder: Path) -> None:
    file = folder / "optimiser.npz"
    first = train(folder, ["blobs"], Limits(4, 1000, 0), file)
    assert first.updates == 4
    assert [row[0] for row in first.curve] == [2, 4]
    assert all(np.isfinite(row).all() for row in first.curve)
    assert np.abs(first.flat - flatten(first_weights(0))).max() > 1e-4
    again = train(folder, ["blobs"], Limits(5, 1000, 0), file)
    assert again.updates == 5
    assert [row[0] for row in again.curve] == [2, 4]
    saved = Progress.load(file)
    np.testing.assert_array_equal(saved.average, again.average)
    np.testing.assert_array_equal(saved.best, again.best)
    assert saved.seconds == pytest.approx(again.seconds)
    assert train(folder, ["blobs"], Limits(9, 0.0, 0), file).updates == 5  # no time left


def test_the_estimate_points_uphill_of_the_loss(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fits that end at a known function of the weights, the mean of many estimates is its gradient, truncated or not."""
    monkeypatch.setattr(optimiser_tasks, "PAIRS", 400)
    slope = np.linspace(-1, 1, count()).astype(np.float32)
    fits = Fits.__new__(Fits)
    fits.tiles = Tiles(folder, ["blobs"], np.random.default_rng(0))
    fits.horizon, fits.done = 2, 0
    fits.accumulated = np.zeros((400, count()), np.float32)
    seen: list[np.ndarray] = []

    def advance(weights: np.ndarray) -> np.ndarray:
        seen.append(weights)
        fits.done += 1
        return np.asarray(np.mean(seen, 0) @ slope)

    monkeypatch.setattr(fits, "advance", advance)
    monkeypatch.setattr(fits, "renew", lambda: None)
    estimates = [fits.gradient(np.zeros(count(), np.float32)) for _ in range(2)]
    for estimate in estimates:
        assert np.corrcoef(estimate, slope)[0, 1] > 0.5


def test_the_best_average_is_kept() -> None:
    progress = Progress.begin(np.zeros(3, np.float32))
    for value, gains in ((1, [-0.2, 0.1]), (2, [0.1, 0.3]), (3, [0.5, -0.2]), (4, [0.3, 0.2])):
        progress.average = np.full(3, value, np.float32)
        progress.judge(gains)
    assert progress.best.tolist() == [4, 4, 4]
    assert [row[2:] for row in progress.curve][:2] == [[-0.2, 0.1], [0.1, 0.3]]
    assert Progress.begin(np.ones(3, np.float32)).best.tolist() == [1, 1, 1]

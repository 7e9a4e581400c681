"""Trains the learned optimiser: ``python -m microfield.training.optimiser --data DIR --folds a``.

A task is a sine network that is fitted to a tile of a training image in a given number of steps, towards the end with rounded
weights, as `inif` does. Networks and step counts differ from group to group of tasks; the tasks of a group are fitted at once. The
weights of the optimiser are trained with persistent evolution strategies (Vicol et al. 2021, algorithm 2), in pairs of opposite
perturbations of one task, to lower the logarithm of the loss, which is decibels of peak signal to noise. They begin at SOAP.

A checkpoint is written now and then, and a run that finds one goes on from there. Needs the extra ``compress`` (jax, optax).
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from microfield.models import save
from microfield.training.images import images
from microfield.training.optimiser_tasks import GROUPS, PAIRS, TRUNCATION, Fits, Floats, Tiles, first_weights, flatten, unflatten

META_RATES = {0: 4e-3, 600: 1e-3}
"""Rate of Adam on the weights by the first update from which on it holds; it falls with the root of what is left."""
LOOK, JUDGED = 200, (12, 40)
"""Updates between two checkpoints, when the gain over SOAP is measured on tasks of these numbers of truncations, the same ones
every time.
"""
AVERAGE = 0.99
"""Weights are judged, and kept where they are the best so far, as a running average over updates with this decay rate."""


def gains(data: Path, names: list[str], seed: int, flat: Floats) -> list[float]:
    """Decibels of peak signal to noise that weights gain over SOAP: the mean over tasks of each number of truncations of `JUDGED`.

    The tasks depend on the seed alone.
    """
    start = flatten(first_weights(seed))
    tiles = Tiles(data, names, np.random.default_rng([seed, 1]))
    found = []
    for horizon in JUDGED:
        ends = []
        for group in GROUPS[:2]:
            fit = Fits(group, tiles, horizon)
            while not fit.ended:
                losses = fit.advance(np.broadcast_to(np.stack([flat, start]), (PAIRS, 2, flat.size)))
            ends.append(10 / np.log(10) * np.mean(losses[:, 1] - losses[:, 0]))
        found.append(float(np.mean(ends)))
    return found


@dataclass
class Progress:
    """How far the training is: what a checkpoint holds.

    ``flat`` are the weights, ``average`` their running average and ``best`` the average that was judged best, ``first`` and
    ``second`` the moments of Adam, ``curve`` rows of updates, seconds, and the gains over SOAP in decibels.
    """

    flat: Floats
    average: Floats
    best: Floats
    first: Floats
    second: Floats
    curve: list[list[float]]
    updates: int = 0
    seconds: float = 0.0

    @classmethod
    def begin(cls, start: Floats) -> Progress:
        """Before the first update."""
        return cls(start.copy(), start.copy(), start.copy(), np.zeros_like(start), np.zeros_like(start), [])

    @classmethod
    def load(cls, path: Path) -> Progress:
        """From a checkpoint."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["flat"], file["average"], file["best"], file["first"], file["second"], file["curve"].tolist(),
                       int(file["updates"]), float(file["seconds"]))

    def save(self, path: Path) -> None:
        """As a checkpoint, in place of the one before."""
        new = path.with_suffix(".new.npz")
        np.savez(new, flat=self.flat, average=self.average, best=self.best, first=self.first, second=self.second,
                 updates=self.updates, seconds=self.seconds, curve=np.asarray(self.curve).reshape(-1, 2 + len(JUDGED)))
        new.replace(path)

    def judge(self, gains: list[float]) -> None:
        """Note the gains of the average, and keep it if they are the highest so far, and better than none."""
        if np.mean(gains) > max([0.0, *(float(np.mean(row[2:])) for row in self.curve)]):
            self.best = self.average.copy()
        self.curve.append([self.updates, self.seconds, *gains])

    def update(self, gradient: Floats, rate: float) -> None:
        """One step of Adam."""
        self.updates += 1
        self.first += 0.1 * (gradient - self.first)
        self.second += 0.01 * (gradient**2 - self.second)
        free = self.first / (1 - 0.9**self.updates), self.second / (1 - 0.99**self.updates)
        self.flat -= np.float32(rate) * free[0] / (np.sqrt(free[1]) + 1e-8)
        keep = min(AVERAGE, 1 - 2 / (self.updates + 2))
        self.average += (1 - keep) * (self.flat - self.average)


def train(data: Path, names: list[str], limits: Limits, checkpoint: Path) -> Progress:
    """Train on tiles of the named images until the updates are made or the time is over."""
    start = flatten(first_weights(limits.seed))
    progress = Progress.load(checkpoint) if checkpoint.exists() else Progress.begin(start)
    began = time.monotonic() - progress.seconds
    tiles = Tiles(data, names, np.random.default_rng([limits.seed, progress.updates]))
    tiles.updates = progress.updates
    fits = [Fits(group, tiles) for group in GROUPS]
    while progress.updates < limits.updates and progress.seconds < limits.seconds:
        rate = META_RATES[max(first for first in META_RATES if first <= progress.updates)]
        done = max(progress.updates / limits.updates, progress.seconds / limits.seconds)
        progress.update(fits[progress.updates % len(fits)].gradient(progress.flat), rate * (1 - done) ** 0.5)
        progress.seconds, tiles.updates = time.monotonic() - began, progress.updates
        if progress.updates % LOOK == 0:
            progress.judge(gains(data, names, limits.seed, progress.average))
            progress.save(checkpoint)
            said = ", ".join(f"{x:+.2f}" for x in progress.curve[-1][2:])
            print(f"  {progress.updates} updates, {progress.seconds:.0f} s: {said} dB", file=sys.stderr, flush=True)
    progress.save(checkpoint)
    return progress


@dataclass(frozen=True)
class Limits:
    """Updates of the weights and seconds that a training may take, and its seed."""

    updates: int
    seconds: float
    seed: int


def main() -> None:
    """Train and save one optimiser per fold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the training images")
    parser.add_argument("--folds", type=lambda text: text.split(","), default=["a"], help="which optimisers, such as all,a,b")
    parser.add_argument("--updates", type=int, default=20000)
    parser.add_argument("--minutes", type=float, default=70.0, help="time of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoints", type=Path, default=Path(), help="folder for what an interrupted training goes on from")
    args = parser.parse_args()
    for fold in args.folds:
        names = images(fold)
        limits = Limits(args.updates, 60 * args.minutes, args.seed)
        progress = train(args.data, names, limits, args.checkpoints / f"optimiser-{fold}.npz")
        record = {
            "date": datetime.now(UTC).date().isoformat(), "images": names, "updates": progress.updates, "seed": args.seed,
            "seconds": round(progress.seconds), "judged_steps": [n * TRUNCATION for n in JUDGED],
            "curve": [[round(x, 3) for x in row] for row in progress.curve],
            "versions": {name: version(name) for name in ("numpy", "jax")},
        }
        key = save("optimiser", fold, unflatten(progress.best), record)
        print(f"{fold} {key.hex()}: {progress.updates} updates, {progress.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()

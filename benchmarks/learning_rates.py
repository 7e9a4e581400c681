"""How much the learning rate matters: ``python -m benchmarks.learning_rates --data DIR``.

SIREN (its frequency fixed) is fitted with Adam, Adamax and SOAP at rates from 1e-4 to 0.3, and `inif` with the learned optimiser,
which is given no rate: the same network, start, points and number of steps. The images are of half "b", which the shipped optimiser
was not trained on. Every fit is a row of learning_rates.jsonl; finished ones are not repeated (``--again NAME`` measures those of
an optimiser anew). From the rows docs/studies/learning-rates.md and its figure are written.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import learning_rates_page
from benchmarks.images import listed
from microfield.image import Layout
from microfield.methods.coordinate.mapping import fit_mapping
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.fit import FitSchedule, evaluation_loss, fit
from microfield.nn.network import init_folded
from microfield.nn.optimisers import OPTIMISERS
from microfield.nn.sampling import Target

HERE = Path(__file__).parent
ROWS = HERE / "learning_rates.jsonl"
PAGE = HERE.parent / "docs" / "studies" / "learning-rates.md"

IMAGES = {
    "fluo3d_chromosomes": (16, 80, 80), "lightsheet_lattice_raw": (16, 80, 80), "mri_brain1": (16, 80, 80),
    "spots2d_terra": (256, 256), "multich_hips_bbbc034": (256, 256), "em_sem_redcells": (256, 256),
}
"""Images, and the extents cut from the middle of their last axes; of several channels the last one."""

RATES = (1e-4, 3.16e-4, 1e-3, 3.16e-3, 1e-2, 3.16e-2, 1e-1, 3.16e-1)
"""From 1e-4 to 1e-1 as in the paper, and one more, since Adamax is best at 1e-1."""
TUNED = ("adam", "adamax", "soap")
SEEDS = (0, 1, 2)
WIDTH, DEPTH, BATCH, STEPS, FREQUENCY = 32, 4, 1024, 960, 0.08
"""The network (some 3,300 weights), points of a step, steps, and the largest initial frequency in radians per voxel."""


@dataclass(frozen=True)
class Case:
    """One fit: an image, an optimiser with its peak learning rate (0: the optimiser's own), and a seed."""

    image: str
    optimiser: str
    rate: float
    seed: int

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What tells it from others."""
        return self.image, self.optimiser, self.rate, self.seed


def cases() -> Iterator[Case]:
    """All fits of the study, seed by seed, so that an interrupted one has whole curves."""
    for seed in SEEDS:
        for image in IMAGES:
            for name in TUNED:
                yield from (Case(image, name, rate, seed) for rate in RATES)
            yield Case(image, "learned", 0.0, seed)


def block_of(folder: Path, image: str) -> npt.NDArray[Any]:
    """The middle of the image's last channel."""
    loaded = listed()[image].load(folder)
    values = np.asarray(loaded.data[...])
    merged = [i for i, axis in enumerate(loaded.axes) if axis in "CS"]
    values = np.moveaxis(values, merged, range(len(merged))).reshape(-1, *np.delete(values.shape, merged))[-1]
    extents = IMAGES[image]
    middle = [slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(values.shape[-len(extents) :], extents, strict=True)]
    return np.ascontiguousarray(values[..., *middle].reshape(extents))


def measure(block: npt.NDArray[Any], case: Case) -> dict[str, Any]:
    """PSNR in dB of the fitted network's float32 weights over all voxels, and seconds."""
    layout = Layout(block.shape, "ZYX"[-block.ndim :], block.dtype)
    mapping = fit_mapping([block.reshape(-1)], np.ones(1) * float(np.ptp(block)))
    coordinates = CoordinateMap(layout, "")
    target = Target(coordinates, block, mapping.scale, mapping.offset, np.ones(1, np.float32))
    start = init_folded(case.seed, block.ndim, WIDTH, DEPTH, 1, np.asarray([n - 1 for n in block.shape]) / 2 * FREQUENCY)
    factory, usual = OPTIMISERS[case.optimiser]
    schedule = FitSchedule(STEPS, BATCH, case.rate or usual, seed=case.seed, learn_frequency=case.optimiser == "learned")
    begin = time.monotonic()
    fitted = fit(target, start, _ONCE.setdefault(case.optimiser, factory()), schedule)
    seconds = time.monotonic() - begin
    loss = evaluation_loss(fitted.params, target.batch(np.arange(coordinates.n_points)))
    psnr = 20 * np.log10(float(np.ptp(block)) / float(mapping.scale[0])) - 10 * np.log10(loss)
    return {"image": case.image, "optimiser": case.optimiser, "rate": case.rate, "seed": case.seed, "psnr": round(float(psnr), 4),
            "seconds": round(seconds, 2)}


_ONCE: dict[str, Any] = {}
"""One instance of every optimiser, since a new one is compiled anew."""


def rows() -> list[dict[str, Any]]:
    """Finished fits."""
    return [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()] if ROWS.exists() else []


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images of images.toml")
    parser.add_argument("--again", default="", help="an optimiser whose fits are measured anew")
    parser.add_argument("--optimisers", default=",".join((*TUNED, "learned")), help="only these")
    arguments = parser.parse_args()
    done = [row for row in rows() if row["optimiser"] != arguments.again]
    known = {Case(*(row[k] for k in ("image", "optimiser", "rate", "seed"))).key for row in done}
    blocks = {image: block_of(arguments.data, image) for image in IMAGES}
    wanted = [case for case in cases() if case.key not in known and case.optimiser in arguments.optimisers.split(",")]
    for number, case in enumerate(wanted, 1):
        row = measure(blocks[case.image], case)
        done.append(row)
        ROWS.write_text("".join(json.dumps(r) + "\n" for r in done), encoding="utf-8")
        print(f"[{number}/{len(wanted)}] {row}", flush=True)
    learning_rates_page.write(PAGE, done)
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()

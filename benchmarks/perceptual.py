"""What perceptual guidance does to noisy images, judged against the clean image of the field. Prints the tables of docs/studies.

The left half of a field fits and the right half judges: the reference is the clean left half, what is compressed is the noisy right
half, and the copy is compared with the clean right half, whose grey levels it is brought to by the gain and offset that fit best
(least squares), whatever the method. The Gaussian is the one with the highest PSNR on the left half. The method itself was
developed with the halves exchanged (``--exchanged``, into another file of rows). Rows are kept in a file, and those that are there
are not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from benchmarks.images import Listed
from benchmarks.markdown import table
from microfield import Image, open_image
from microfield.guidance.perceptual import Perceptual
from microfield.guidance.reference import reference_for
from microfield.metrics import lpips, psnr, ssim
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

Floats = npt.NDArray[np.float64]

SIGMAS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Gaussians of which the best one is taken."""
UNGUIDED, GUIDED, PUBLISHED = "", "perceptual", "published"
RUNS = (("inif", UNGUIDED), ("inif", GUIDED), ("field", UNGUIDED), ("field", GUIDED), ("av1", UNGUIDED), ("downsample", UNGUIDED),
        ("inif", PUBLISHED))
"""Methods and their guidance, in the order in which they are measured."""
RANDOM = ("inif", GUIDED), ("inif", UNGUIDED)
"""Those that are measured with every seed; the others with the first one."""


@dataclass(frozen=True)
class Case:
    """One channel of a pair: what is compressed, what judges, and what fits."""

    name: str
    noisy: Image
    clean: Floats
    reference: Image
    other_noisy: Floats


@dataclass(frozen=True)
class Row:
    """One copy, compared with the clean image."""

    case: str
    method: str
    guide: str
    ratio: float
    effort: int
    seed: int
    nbytes: int
    psnr: float
    ssim: float
    lpips: float
    seconds: float

    @property
    def key(self) -> tuple[Any, ...]:
        """What is not measured twice."""
        return self.case, self.method, self.guide, self.ratio, self.effort, self.seed


def cases(folder: Path, exchanged: bool) -> Iterator[Case]:
    """Those of perceptual.toml; ``exchanged`` compresses left halves."""
    for entry in tomllib.loads((Path(__file__).parent / "perceptual.toml").read_text(encoding="utf-8"))["pair"]:
        pair = []
        for kind in ("noisy", "clean"):
            Listed(entry[kind], kind, entry["source"], entry["licence"], entry[f"{kind}_sha256"]).check(folder)
            values = open_image(folder / entry[kind]).read()
            pair.append(values if values.ndim == 3 else values[None])
        noisy, clean = pair
        middle = noisy.shape[-1] // 2
        halves = (slice(None, middle), slice(middle, None))
        fits, judges = halves[::-1] if exchanged else halves
        for channel in range(entry["channels"]):
            name = entry["name"] + (f", channel {channel}" if entry["channels"] > 1 else "")
            yield Case(name, Image(noisy[channel][:, judges], "YX", name=name), clean[channel][:, judges].astype(np.float64),
                       Image(clean[channel][:, fits], "YX", name="the other half"), noisy[channel][:, fits].astype(np.float64))


def judged(clean: Floats, copy: npt.NDArray[Any]) -> tuple[float, float, float]:
    """PSNR, SSIM and LPIPS of a copy on the grey levels of the clean image."""
    levels = np.stack([copy.ravel().astype(np.float64), np.ones(copy.size)], 1)
    (gain, offset), *_ = np.linalg.lstsq(levels, clean.ravel(), rcond=None)
    found, span = copy * gain + offset, float(np.ptp(clean))
    return (psnr(float(np.mean((found - clean) ** 2)), span), float(ssim(clean, found, "YX", span)[0]),
            float(lpips(clean, found, "YX", span)[0]))


def uncompressed(case: Case) -> Iterator[Row]:
    """The noisy image as it is, and after the best Gaussian."""
    other = np.asarray(case.reference.read(), np.float64)
    best = max(SIGMAS, key=lambda sigma: judged(other, gaussian_filter(case.other_noisy, sigma))[0])
    noisy = case.noisy.read().astype(np.float64)
    for name, values in (("as acquired", noisy), (f"Gaussian, sigma {best:g}", gaussian_filter(noisy, best))):
        yield Row(case.name, name, UNGUIDED, 1.0, 0, 0, case.noisy.nbytes, *judged(case.clean, values), 0.0)


def compressed(case: Case, method: str, guide: str, ratio: float, effort: int, seed: int) -> Row:
    """One copy."""
    begin = time.monotonic()
    given: dict[str, Any] = {}
    if guide == GUIDED:
        given = {"guide": GUIDED, "reference": case.reference}
    elif guide == PUBLISHED:
        given = {"guide": Perceptual(reference_for(case.reference, case.noisy), published=True)}
    settings = Settings(method=method, effort=effort if method == "inif" else 5, seed=seed, **given)
    data, _ = compress_to_bytes(case.noisy, Budget("ratio", ratio), settings)
    seconds = time.monotonic() - begin
    with open_file(data) as file:
        return Row(case.name, method, guide, ratio, effort, seed, len(data), *judged(case.clean, np.asarray(file)), seconds)


def spread(values: Sequence[float], places: int) -> str:
    """Mean, and half the distance of the extremes where there are several."""
    text = f"{np.mean(values):.{places}f}"
    return text if len(values) == 1 else f"{text} ± {(max(values) - min(values)) / 2:.{places}f}"


def shown(rows: Sequence[Row]) -> str:
    """What guidance changes, case by case, and every copy."""
    head = ["case", "PSNR dB", "SSIM", "LPIPS"]
    names = list(dict.fromkeys(row.case for row in rows))
    changes, body = [], []
    for method in ("inif", "field"):
        found = []
        for name in names:
            by_guide = {guide: {r.seed: r for r in rows if (r.case, r.method, r.guide) == (name, method, guide)}
                        for guide in (UNGUIDED, GUIDED)}
            seeds = sorted(set(by_guide[UNGUIDED]) & set(by_guide[GUIDED]))
            if seeds:
                found.append([[getattr(by_guide[GUIDED][s], k) - getattr(by_guide[UNGUIDED][s], k) for s in seeds]
                              for k in ("psnr", "ssim", "lpips")])
                changes.append([f"{method}, {name}", *(_change(v, places) for v, places in zip(found[-1], (2, 4, 4), strict=True))])
        if found:
            means = [[float(np.mean(case[k])) for case in found] for k in range(3)]
            changes.append([f"{method}, mean (worst)", *(f"{np.mean(v):+.{p}f} ({worst(v):+.{p}f})" for v, p, worst in
                                                        zip(means, (2, 4, 4), (min, min, max), strict=True))])
    for name in names:
        for method, guide in dict.fromkeys((r.method, r.guide) for r in rows if r.case == name):
            some = [r for r in rows if (r.case, r.method, r.guide) == (name, method, guide)]
            label = method + {UNGUIDED: "", GUIDED: ", guided", PUBLISHED: ", guided as published"}[guide]
            body.append([name, label, str(some[0].nbytes), spread([r.psnr for r in some], 2), spread([r.ssim for r in some], 4),
                         spread([r.lpips for r in some], 4), f"{np.mean([r.seconds for r in some]):.0f}"])
    return (table(["guided less unguided", *head[1:]], changes) + "\n"
            + table([head[0], "copy", "bytes", *head[1:], "s"], body))


def _change(values: Sequence[float], places: int) -> str:
    """A mean difference with its sign and its spread."""
    return f"{np.mean(values):+.{places}f}" + (f" ± {(max(values) - min(values)) / 2:.{places}f}" if len(values) > 1 else "")


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images of perceptual.toml")
    parser.add_argument("--ratio", type=float, default=256.0)
    parser.add_argument("--effort", type=int, default=2, help="of inif (default 2); other methods have 5")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of inif (default 3)")
    parser.add_argument("--exchanged", action="store_true", help="compress left halves, with right halves as references")
    parser.add_argument("--rows", type=Path, default=Path("perceptual.jsonl"), help="where rows are kept")
    arguments = parser.parse_args()
    lines = arguments.rows.read_text(encoding="utf-8").splitlines() if arguments.rows.exists() else []
    known = {row.key: row for row in (Row(**json.loads(line)) for line in lines)}
    found = list(cases(arguments.data, arguments.exchanged))
    rows = [row for case in found for row in uncompressed(case)]
    for seed in range(arguments.seeds):
        for method, guide in RUNS if seed == 0 else RANDOM:
            for case in found:
                key = (case.name, method, guide, arguments.ratio, arguments.effort, seed)
                if key not in known:
                    known[key] = compressed(case, method, guide, arguments.ratio, arguments.effort, seed)
                    with arguments.rows.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(asdict(known[key])) + "\n")
                rows.append(known[key])
    print(shown(rows))


if __name__ == "__main__":
    main()

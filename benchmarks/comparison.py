"""The standing comparison: a bench of every listed image and method at ratios from 32 to 512.

Compressed files and full rows stay in a folder of the user's choice; the numbers that the results page needs are kept,
rounded, in ``comparison.jsonl``. Runs that this file holds are not repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.compact import RowKey, Store
from benchmarks.images import Listed, listed
from microfield.bench import plan as bench
from microfield.bench import rows
from microfield.bench.plan import BenchImage, BenchPlan
from microfield.methods import names
from microfield.writing.budget import Budget

METHODS = (
    "field", "inif", "hevc", "av1", "sperr", "jpeg2000", "jpegxl", "jpegxr", "htj2k", "lerc", "zfp", "sz3",
    "downsample",
)
"""Compared where they are registered and their libraries are installed."""
RATIOS = (32.0, 64.0, 128.0, 256.0, 512.0)
FITTED = ("inif", "siren")
"""Methods whose encode is a fit that can be stopped: these get the time limit, the others need none."""
FITTED_RATIOS = (32.0, 128.0, 512.0)
"""Fits take most of the time of a run: these ratios are enough for their curves."""
MEASURES = ("quality", "downstream")
EFFORT, SEED = 5, 0


@dataclass(frozen=True)
class StandingComparison:
    """What to compare and where.

    Attributes
    ----------
    data : folder with the images
    files : folder for compressed files and full rows
    seconds : time limit of every fit of a network
    only : run only what has a name, ``comparison/IMAGE/METHOD/``, that begins so
    again : run anew what the store holds already
    measures : names of the measures of the bench
    jobs : most worker processes of the codecs; with more than one, times are those of a busy machine
    methods : methods to run; all of `METHODS` where it is empty
    """

    data: Path
    files: Path
    seconds: float
    only: str = ""
    again: bool = False
    measures: tuple[str, ...] = MEASURES
    jobs: int = 1
    methods: tuple[str, ...] = ()

    def groups(self) -> Iterator[tuple[Listed, tuple[str, ...]]]:
        """Images and the methods that run on them together; fits use all cores, so they run one at a time, after the codecs."""
        here = [m for m in METHODS if m in names() and (not self.methods or m in self.methods)]
        for methods in ([m for m in here if m not in FITTED], *([m] for m in here if m in FITTED)):
            for image in listed().values():
                chosen = tuple(m for m in methods if f"comparison/{image.name}/{m}/".startswith(self.only))
                if chosen:
                    yield image, chosen


def run(comparison: StandingComparison, store: Store) -> None:
    """Run what is missing in the store, which is saved after every group of runs."""
    groups = list(comparison.groups())
    checked: set[str] = set()
    for number, (image, methods) in enumerate(groups, 1):
        if not (comparison.data / image.file).exists():
            print(f"comparison: {image.file} is not in the folder, left out", flush=True)
            continue
        for budgets, together in _missing(comparison, store, image, methods).items():
            if image.name not in checked:
                image.check(comparison.data)
                checked.add(image.name)
            print(f"[{number}/{len(groups)}] comparison/{image.name}: {', '.join(together)}", flush=True)
            for row in bench.run(_plan(comparison, image, tuple(together), budgets), _say):
                store.add(row)
            store.save()


def _ratios(method: str) -> tuple[float, ...]:
    return FITTED_RATIOS if method in FITTED else RATIOS


def _missing(comparison: StandingComparison, store: Store, image: Listed, methods: tuple[str, ...],
             ) -> dict[tuple[Budget, ...], list[str]]:
    """Missing budgets to the methods that lack exactly these: each entry is one bench."""
    found: dict[tuple[Budget, ...], list[str]] = {}
    for method in methods:
        wanted = [r for r in _ratios(method) if comparison.again or not _done(comparison, store, image, method, r)]
        budgets = tuple(Budget("ratio", r) for r in wanted)
        if budgets:
            found.setdefault(budgets, []).append(method)
    return found


def _say(row: dict[str, Any], done: int, total: int) -> None:
    print(f"  {done}/{total} {rows.one_line(row)}", flush=True)


def _done(comparison: StandingComparison, store: Store, image: Listed, method: str, ratio: float) -> bool:
    found = store.rows.get(RowKey(image.name, method, ratio))
    if found is None or found["status"] in ("failed", "refused"):
        return False
    return found["status"] != "ok" or set(comparison.measures) <= set(found["measures"])


def unseen(image: str) -> dict[str, str]:
    """Options of ``field`` for networks that were not trained on the image (``all`` where it is in neither training half)."""
    from microfield.training.images import images

    return {"nets": "b" if image in images("a") else "a" if image in images("b") else "all"}


def _plan(comparison: StandingComparison, image: Listed, methods: tuple[str, ...], budgets: tuple[Budget, ...]) -> BenchPlan:
    labels = comparison.data / image.labels if image.labels else None
    options = {m: unseen(image.name) if m == "field" else {} for m in methods}
    return BenchPlan(
        images=(BenchImage(comparison.data / image.file, image.name, image.kind, labels),), methods=options,
        budgets=budgets, out=comparison.files, effort=EFFORT, seed=SEED, measures=comparison.measures, again=comparison.again,
        time_limit=comparison.seconds if set(methods) & set(FITTED) else None,
        jobs=1 if set(methods) & set(FITTED) else comparison.jobs,
    )

"""The standing comparison: every listed image, every method, ratios 32 to 512, by the machinery of `microfield bench`.

Files and full rows stay in a folder of the user's choice; what the results page needs is kept rounded in
``comparison.jsonl``. What that file holds is not run again.
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
from microfield.bench.plan import BenchImage, Plan
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
class Comparison:
    """What to compare and where.

    Attributes
    ----------
    data : folder with the images
    files : folder for compressed files and full rows
    seconds : time limit of every fit of a network
    jobs : worker processes of the codecs; with more than one, times are those of a busy machine
    only : names ``comparison/IMAGE/METHOD/`` must begin so
    methods : those to run; all where it is empty
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
        """Images and methods that run together, in their order: fits use all cores and so run one at a time, at the end."""
        here = [m for m in METHODS if m in names() and (not self.methods or m in self.methods)]
        for methods in ([m for m in here if m not in FITTED], *([m] for m in here if m in FITTED)):
            for image in listed().values():
                chosen = tuple(m for m in methods if f"comparison/{image.name}/{m}/".startswith(self.only))
                if chosen:
                    yield image, chosen


def run(comparison: Comparison, store: Store) -> None:
    """Run what is missing; the store is saved after every image and method."""
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


def _missing(comparison: Comparison, store: Store, image: Listed, methods: tuple[str, ...],
             ) -> dict[tuple[Budget, ...], list[str]]:
    """Budgets that are missing, and the methods that miss just these."""
    found: dict[tuple[Budget, ...], list[str]] = {}
    for method in methods:
        wanted = [r for r in _ratios(method) if comparison.again or not _done(comparison, store, image, method, r)]
        budgets = tuple(Budget("ratio", r) for r in wanted)
        if budgets:
            found.setdefault(budgets, []).append(method)
    return found


def _say(row: dict[str, Any], done: int, total: int) -> None:
    print(f"  {done}/{total} {rows.one_line(row)}", flush=True)


def _done(comparison: Comparison, store: Store, image: Listed, method: str, ratio: float) -> bool:
    found = store.rows.get(RowKey(image.name, method, ratio))
    if found is None or found["status"] in ("failed", "refused"):
        return False
    return found["status"] != "ok" or set(comparison.measures) <= set(found["measures"])


def _unseen(image: str) -> dict[str, str]:
    """Networks that were not trained on the image."""
    from microfield.training.images import images

    return {"nets": "b" if image in images("a") else "a" if image in images("b") else "all"}


def _plan(comparison: Comparison, image: Listed, methods: tuple[str, ...], budgets: tuple[Budget, ...]) -> Plan:
    labels = comparison.data / image.labels if image.labels else None
    options = {m: _unseen(image.name) if m == "field" else {} for m in methods}
    return Plan(
        images=(BenchImage(comparison.data / image.file, image.name, image.kind, labels),), methods=options,
        budgets=budgets, out=comparison.files, effort=EFFORT, seed=SEED, measures=comparison.measures, again=comparison.again,
        time_limit=comparison.seconds if set(methods) & set(FITTED) else None,
        jobs=1 if set(methods) & set(FITTED) else comparison.jobs,
    )

"""Run all measurements, or some, keep every finished row, and write docs/results.md from the rows."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from benchmarks import comparison, quality, report, sizes, speed
from benchmarks.compact import Store
from benchmarks.comparison import StandingComparison

HERE = Path(__file__).parent
ROWS = HERE / "results.json"
COMPARED = HERE / "comparison.jsonl"
PAGE = HERE.parent / "docs" / "results.md"
FILES = HERE.parent / "build" / "comparison"


def main() -> None:
    """Parse the command line and measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images of images.toml")
    parser.add_argument("--only", default="", help="only rows whose name begins so, such as speed/ or comparison/ct_lung1/")
    parser.add_argument("--again", action="store_true", help="measure anew what was measured already")
    parser.add_argument("--seconds", type=float, default=120, help="time of every quality fit")
    parser.add_argument("--size-seconds", type=float, default=8, help="time of every size fit")
    parser.add_argument("--fit-seconds", type=float, default=30, help="time of every fit of a network in the comparison")
    parser.add_argument("--files", type=Path, default=FILES, help="folder for the compressed files of the comparison")
    parser.add_argument("--measures", default=",".join(comparison.MEASURES), help="measures of the comparison")
    parser.add_argument("--jobs", type=int, default=1, help="codecs of the comparison that run at once")
    parser.add_argument("--methods", default="", help="methods of the comparison, such as hevc,av1; all without it")
    parser.add_argument("--page-only", action="store_true", help="write the page from the rows there are")
    arguments = parser.parse_args()
    done: dict[str, Any] = json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else {}
    store = Store(COMPARED)
    try:
        if not arguments.page_only:
            _own(arguments, done)
            comparison.run(StandingComparison(
                data=arguments.data, files=arguments.files, seconds=arguments.fit_seconds, only=arguments.only,
                again=arguments.again, measures=tuple(arguments.measures.split(",")), jobs=arguments.jobs,
                methods=tuple(filter(None, arguments.methods.split(","))),
            ), store)
    finally:
        report.write(PAGE, store.ordered(comparison.METHODS), done)
        print(f"wrote {PAGE}")


def _own(arguments: argparse.Namespace, done: dict[str, Any]) -> None:
    """Measure quality, sizes and speed of our own networks: the rows of results.json that are missing in ``done``."""
    jobs = [*speed.rows(arguments.data), *quality.rows(arguments.data, arguments.seconds),
            *sizes.rows(arguments.data, arguments.size_seconds)]
    wanted = [(name, job) for name, job in jobs if name.startswith(arguments.only) and (arguments.again or name not in done)]
    for number, (name, job) in enumerate(wanted, 1):
        print(f"[{number}/{len(wanted)}] {name}", flush=True)
        done[name] = {**job(), "machine": machine(), "date": time.strftime("%Y-%m-%d")}
        ROWS.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """The machine and the versions that a row was measured with."""
    import jax
    import numpy as np

    import microfield

    return {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(),
            "numpy": np.__version__, "jax": jax.__version__, "microfield": microfield.__version__}


if __name__ == "__main__":
    main()

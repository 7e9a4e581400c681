"""Run all measurements (or some), keep every finished row, and write docs/results.md from them."""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

from benchmarks import quality, report, sizes, speed

HERE = Path(__file__).parent
ROWS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "results.md"


def main() -> None:
    """Parse the command line and measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images of images.toml")
    parser.add_argument("--only", default="", help="only rows whose name begins so, such as speed/")
    parser.add_argument("--again", action="store_true", help="measure anew what was measured already")
    parser.add_argument("--seconds", type=float, default=120, help="time of every quality fit")
    parser.add_argument("--size-seconds", type=float, default=8, help="time of every size fit")
    arguments = parser.parse_args()
    done: dict[str, Any] = json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else {}
    jobs = [*speed.rows(arguments.data), *quality.rows(arguments.data, arguments.seconds),
            *sizes.rows(arguments.data, arguments.size_seconds)]
    wanted = [(name, job) for name, job in jobs if name.startswith(arguments.only) and (arguments.again or name not in done)]
    for number, (name, job) in enumerate(wanted, 1):
        print(f"[{number}/{len(wanted)}] {name}", flush=True)
        done[name] = {**job(), "machine": machine(), "date": time.strftime("%Y-%m-%d")}
        ROWS.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(report.page(done), encoding="utf-8")
    print(f"wrote {PAGE}")


def machine() -> dict[str, Any]:
    """What a row was measured on."""
    import os

    import jax
    import numpy as np

    import microfield

    return {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(),
            "numpy": np.__version__, "jax": jax.__version__, "microfield": microfield.__version__}


if __name__ == "__main__":
    main()

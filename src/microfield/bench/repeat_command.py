"""The command that repeats one row of a bench."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from microfield.bench.rows import Row

FLAGS = {"ratio": "--ratios", "psnr": "--psnr"}
"""Kind of a budget that a bench can ask for, to its flag."""


def command(row: Row, image: str, labels: str, measures: Sequence[str], out: str = "again") -> str:
    """The command line that repeats a row: the same image, method, options and budget, measured the same way.

    ``image``, ``labels`` (may be empty) and ``out`` (the folder of the bench) are the paths to name.
    """
    words = ["microfield", "bench", image, "--methods", row["method"], FLAGS[row["budget"]], f"{row['asked']:g}"]
    for name, value in row["options"].items():
        words += ["--option", f"{row['method']}:{name}={value}"]
    words += ["--effort", str(row["effort"]), "--seed", str(row["seed"])]
    if row.get("time_limit") is not None:
        words += ["--time-limit", f"{row['time_limit']:g}s"]
    if row.get("axes_given"):
        words += ["--axes", row["axes_given"]]
    if row.get("nan_fill") is not None:
        words.append(f"--nan-fill={row['nan_fill']!r}")  # with "=", since a negative value would look like an option
    if row.get("not_labels"):
        words.append("--not-labels")
    if labels:
        words += ["--labels", f"{image}={labels}"]
    return shlex.join([*words, "--measures", ",".join(measures), "--out", out])

"""The store of the standing comparison: rows of a bench, compact enough to be kept with the code.

Numbers are rounded, and what many rows share is written once. ``comparison.jsonl`` has three kinds of lines:
``{"setup": 0, ...}`` (machine, versions, effort), ``{"about": NAME, ...}`` (axes, shape and dtype of an image), and one per
run, which names both. `Store.rows` gives runs back as full rows of a bench.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.images import listed
from microfield.bench.rows import Row
from microfield.io.atomic import atomic_path

ABOUT = ("kind", "axes", "shape", "dtype", "raw_bytes", "labels")
"""Fields of a row that describe its image."""
SETUP = ("effort", "seed", "time_limit", "measures", "versions", "machine")
"""Fields of a row on how it was measured."""
RUN = (
    "status", "message", "options", "limit", "bytes",
    "psnr", "psnr_robust", "psnr_lowest", "ssim", "noise_factor", "max_error", "pearson",
    "ssim_3d", "ms_ssim", "frc_cutoff", "blocking", "histogram_distance",
    "iou", "dice", "object_f1", "count_error", "area_error", "spot_f1", "trace_correlation", "count_over_time_correlation",
    "truth_f1_original", "truth_f1_reconstruction", "pearson_change",
    "encode_seconds", "decode_seconds", "encode_memory", "date",
)
"""Fields of a run that are kept; None and empty ones are left out."""


class RowKey(NamedTuple):
    """A run of the comparison: ``ratio`` is the one asked for."""

    image: str
    method: str
    ratio: float


class Store:
    """The rows of one file: read whole, changed in memory, written whole.

    Attributes
    ----------
    path : the file; need not exist yet
    rows : run to its full row of a bench
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[RowKey, Row] = {}
        if path.exists():
            self._read(path.read_text(encoding="utf-8").splitlines())

    def _read(self, lines: list[str]) -> None:
        setups: dict[int, Row] = {}
        about: dict[str, Row] = {}
        for entry in map(json.loads, lines):
            if "setup" in entry:
                setups[entry.pop("setup")] = entry
            elif "about" in entry:
                about[entry.pop("about")] = entry
            else:
                row = {**about[entry["image"]], **setups[entry.pop("on")], **entry}
                self.add({"budget": "ratio", "message": "", "options": {}, **row})

    def add(self, row: Row) -> None:
        """Add or replace a run; what follows from other fields (ratio, share of the budget, bits) is worked out again."""
        row = dict(row)
        if row.get("bytes"):
            row["ratio"] = row["raw_bytes"] / row["bytes"]
            row["used"] = row["bytes"] / row["limit"]
            row["bits_per_voxel"] = 8 * row["bytes"] / math.prod(row["shape"])
        self.rows[RowKey(row["image"], row["method"], row["asked"])] = row

    def ordered(self, methods: Sequence[str]) -> list[Row]:
        """All rows of listed images and of these methods: in the order of images.toml, then of ``methods``, then by ratio."""
        images = list(listed())
        known = [row for key, row in self.rows.items() if key.image in images and key.method in methods]
        return sorted(known, key=lambda r: (images.index(r["image"]), methods.index(r["method"]), r["asked"]))

    def save(self) -> None:
        """Write all rows: the file is the old or the new one, never half of one."""
        setups: dict[str, int] = {}
        about: dict[str, Row] = {}
        lines = []
        for _, row in sorted(self.rows.items()):
            setup = json.dumps({k: row.get(k) for k in SETUP}, sort_keys=True)
            number = setups.setdefault(setup, len(setups))
            known = about.setdefault(row["image"], {})
            known |= {k: v for k in ABOUT if (v := row.get(k)) is not None}
            kept = {k: _rounded(v) for k in RUN if (v := row.get(k)) not in (None, "")}
            lines.append({"image": row["image"], "method": row["method"], "asked": row["asked"], "on": number, **kept})
        text = [f'{{"setup": {number}, {setup[1:]}' for setup, number in setups.items()]
        text += [json.dumps({"about": name, **values}) for name, values in about.items()]
        text += [json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in lines]
        with atomic_path(self.path, overwrite=True) as temporary:
            temporary.write_text("\n".join(text) + "\n", encoding="utf-8", newline="\n")


def _rounded(value: Any) -> Any:
    """Floats to five significant digits, whole ones as integers."""
    if not isinstance(value, float):
        return value
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() else short

"""The page docs/results.md: advice first, then how it was measured, then every result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import advice, comparison_report, field_report, image_tables, networks_report, sincs_report
from microfield.bench.rows import Row

HEAD = """# Measured results

Written by `make results DATA=folder` from the rows of `benchmarks/comparison.jsonl` and `benchmarks/results.json`; nothing here is
typed by hand. Images are listed with source, licence and checksum in `benchmarks/images.toml`.

Not in these tables, with rows and pages of their own: [`sincs`, claim by claim](studies/sincs.md),
[`hybrid`](studies/hybrid.md) and [guidance](studies/guidance.md).
"""


def write(page: Path, compared: list[Row], own: dict[str, dict[str, Any]]) -> None:
    """Write the page, and its plots into the folder ``plots`` beside it.

    ``compared`` are the rows of the standing comparison in their order, ``own`` those of our own networks by name.
    """
    parts = [HEAD]
    if compared:
        parts += [*advice.sections(compared), field_report.section(compared), *comparison_report.sections(compared)]
        parts.append(image_tables.section(compared))
        image_tables.write_plots(page.parent / "plots", compared)
    parts.append(sincs_report.section(sincs_report.read(sincs_report.ROWS)))
    if own:
        parts += ["# Our own networks and their speed\n", _machine(own), *networks_report.sections(own)]
    page.write_text("\n".join(parts), encoding="utf-8", newline="\n")


def _machine(rows: dict[str, dict[str, Any]]) -> str:
    m = next(iter(rows.values()))["machine"]
    return (f"Measured on {m['cores']} cores ({m['processor']}) with Python {m['python']}, NumPy {m['numpy']}, jax {m['jax']}, "
            f"microfield {m['microfield']}; rows of `benchmarks/results.json`. Times are noisy, so ratios within one run are what "
            "counts.\n")

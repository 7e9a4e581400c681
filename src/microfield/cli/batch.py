"""``microfield compress --out-dir``: many images into a folder, one file each, and a summary."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from microfield.cli.arguments import expand, stem
from microfield.cli.one import by_saliency, compress_one, decibels
from microfield.cli.summary import SUMMARY_FILE, write_summary
from microfield.errors import MicrofieldError, UsageError


def compress_many(arguments: argparse.Namespace, budget: dict[str, Any]) -> int:
    """Compress many inputs: skip those whose file exists, go on after failures, sum up at the end; the exit status."""
    outputs = {source: arguments.out_dir / (stem(source) + ".mfield") for source in expand(arguments.paths)}
    for destination in outputs.values():
        if len(same := [s for s, d in outputs.items() if d == destination]) > 1:
            raise UsageError(f"{' and '.join(same)} would all become {destination}; compress them into different folders.")
    arguments.out_dir.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for source, destination in outputs.items():
        row, sentence = _row(arguments, budget, source, destination)
        rows.append(row)
        if not arguments.json:
            print(sentence)
    summary = arguments.out_dir / SUMMARY_FILE
    write_summary(summary, rows)
    failed = sum(r["status"].startswith("failed") for r in rows)
    if arguments.json:
        print(json.dumps(rows))
    else:
        done = sum(r["status"] == "done" for r in rows)
        print(f"{done} done, {len(rows) - done - failed} skipped, {failed} failed; details in {summary}")
    return 1 if failed else 0


def _row(arguments: argparse.Namespace, budget: dict[str, Any], source: str, destination: Path) -> tuple[dict[str, Any], str]:
    """Compress one of many inputs: its row of the summary, and what to print."""
    row: dict[str, Any] = {"input": source, "output": str(destination)}
    if destination.exists() and not arguments.overwrite:
        row["status"] = f"skipped: {destination} exists{_what_it_is(destination)}; --overwrite replaces it"
        return row, f"{source}: {row['status']}"
    try:
        report = compress_one(arguments, budget, source, destination)
    except (MicrofieldError, OSError, MemoryError) as error:
        row["status"] = f"failed: {error}"
        return row, f"{source}: {row['status']}"
    facts = [f"{report.file_bytes} bytes", f"{report.ratio:.1f}x", decibels(report.psnr), *by_saliency(report),
             f"{report.seconds:.1f} s", report.read_as]
    return row | {"status": "done", **report.as_dict()}, f"{source}: {', '.join(facts)}"


def _what_it_is(path: Path) -> str:
    """Method and ratio of a file that exists already, in brackets."""
    from microfield.reading.file import open_file

    try:
        with open_file(path) as f:
            return f" ({f.method}, {f.ratio:.1f}x)"
    except (MicrofieldError, OSError):
        return " (and is no microfield file)"

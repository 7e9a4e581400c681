"""``microfield compress``: one image into one file, or many into a folder."""

from __future__ import annotations

import argparse
import csv
import glob
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microfield.cli.progress import ProgressLine
from microfield.errors import InputError, MicrofieldError, UsageError

if TYPE_CHECKING:
    from microfield.writing.compress import Report

BUDGETS = ("ratio", "bits_per_voxel", "max_bytes", "psnr", "noise_factor")


def add_to(commands: Any) -> None:
    """Declare the command."""
    p = commands.add_parser("compress", help="compress images", description="Compress images into microfield files.")
    p.add_argument("paths", nargs="+", metavar="IN... OUT.mfield", help="images, then the file to write (or --out-dir)")
    p.add_argument("--out-dir", type=Path, help="write NAME.mfield for every input into this folder")
    p.add_argument("--overwrite", action="store_true", help="with --out-dir: replace files that are there instead of skipping")
    budget = p.add_argument_group("budget, exactly one")
    budget.add_argument("--ratio", type=float, help="raw bytes / file bytes, such as 128")
    budget.add_argument("--bits-per-voxel", type=float, help="bits per array element, such as 0.1")
    budget.add_argument("--max-bytes", help="bytes of the file, such as 300kB")
    budget.add_argument("--psnr", type=float, help="at least this PSNR in dB")
    budget.add_argument("--noise-factor", type=float, help="root mean square error at most this many noise sigmas")
    how = p.add_argument_group("how")
    how.add_argument("--method", help="see `microfield methods`; auto tries field, hevc and av1 (default: field)")
    how.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="option of the method")
    how.add_argument("--effort", type=int, default=5, help="0 to 9: how much work; the method says what each means (default 5)")
    how.add_argument("--time-limit", help="seconds for the fit, such as 60s or 2min")
    how.add_argument("--seed", type=int, default=0)
    how.add_argument("--threads", type=int)
    how.add_argument("--tile", help="cut into parts, such as y=512,x=512")
    how.add_argument("--channel-weights", help="relative importance of the channels, such as 1,1,4")
    what = p.add_argument_group("input")
    what.add_argument("--axes", help="one letter of TCZYXS per axis, such as ZYX")
    what.add_argument("--scene", help="name or number of the series in the file")
    what.add_argument("--channel", help="name or number of the one channel to take")
    what.add_argument("--nan-fill", type=float, help="value that replaces NaN and infinity")
    what.add_argument("--not-labels", action="store_true", help="compress even what looks like object labels")
    what.add_argument("--keep-metadata", action="store_true", help="keep vendor metadata whatever it costs")
    p.add_argument("--report", metavar="OUT.html", help="write a page that shows what was lost and what the file is good for")
    p.add_argument("--json", action="store_true", help="print the report as JSON")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compress what the arguments say."""
    _limit_threads(arguments.threads)
    budget = {k: v for k in BUDGETS if (v := getattr(arguments, k)) is not None}
    if not budget:
        return _predict(arguments)
    if len(budget) > 1:
        return _wrong(f"give one budget, not {' and '.join('--' + b.replace('_', '-') for b in budget)}.")
    if arguments.out_dir is not None:
        if arguments.report:
            return _wrong("--report is for one image; for many write the pages with `microfield compare --report`.")
        return _many(arguments, budget)
    if len(arguments.paths) != 2:
        return _wrong(f"compress takes one input and one output, not {len(arguments.paths)} paths; for more inputs give --out-dir.")
    source, destination = arguments.paths
    if not destination.endswith(".mfield"):
        return _wrong(f"the output {destination} must end in .mfield.")
    if arguments.report and source == "-":
        return _wrong("--report reads the image again and so cannot be given with standard input.")
    if arguments.report:
        from microfield.report.page import check_destination

        check_destination(arguments.report)  # Before the work: a fit can take minutes.
    report = _one(arguments, budget, source, Path(destination))
    if arguments.report:
        _page(arguments, source, destination)
    if arguments.json:
        print(json.dumps({"input": source, "output": destination, **report.as_dict()}))
    else:
        print(describe(destination, report))
    return 0


def _wrong(message: str) -> int:
    print(f"microfield: {message}", file=sys.stderr)
    return 2


def _one(arguments: argparse.Namespace, budget: dict[str, Any], source: str, destination: Path) -> Report:
    from microfield.writing.compress import compress

    line = ProgressLine(Path(source).name)
    try:
        return compress(_input(source), destination, progress=line, **budget, **_reading(arguments), **_settings(arguments))
    finally:
        line.close()


def _page(arguments: argparse.Namespace, source: str, destination: str) -> None:
    """The comparison of the image with what was written."""
    from microfield.image import filled
    from microfield.reading.file import open_file
    from microfield.report import write_report
    from microfield.writing.compress import load

    line = ProgressLine(Path(arguments.report).name)
    try:
        with open_file(destination) as f:
            image = filled(load(source, **_reading(arguments)), arguments.nan_fill)
            write_report(image, f, arguments.report, file=f, not_labels=True, progress=line)
    finally:
        line.close()


def _input(source: str) -> Any:
    """The path, or for ``-`` the array in NPY format from standard input."""
    if source != "-":
        return source
    import io

    import numpy as np

    try:
        return np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise InputError("standard input must hold one array in NPY format.") from None


def _reading(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"axes": arguments.axes and arguments.axes.upper(), "scene": arguments.scene, "channel": arguments.channel}


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    settings = {
        "options": _pairs(arguments.option, "--option"), "effort": arguments.effort, "seed": arguments.seed,
        "time_limit": _seconds(arguments.time_limit), "nan_fill": arguments.nan_fill,
        "not_labels": arguments.not_labels, "keep_metadata": arguments.keep_metadata,
    }
    if arguments.method:
        settings["method"] = arguments.method
    if arguments.tile:
        try:
            settings["tile"] = {k: int(v) for k, v in _pairs(arguments.tile.split(","), "--tile").items()}
        except ValueError:
            raise UsageError(f"--tile {arguments.tile!r} must look like y=512,x=512.") from None
    if arguments.channel_weights:
        try:
            settings["channel_weights"] = tuple(float(w) for w in arguments.channel_weights.split(","))
        except ValueError:
            raise UsageError(f"--channel-weights {arguments.channel_weights!r} must be numbers, such as 1,1,4.") from None
    return settings


def _pairs(items: list[str], flag: str) -> dict[str, str]:
    pairs = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"{flag} {item!r} must look like key=value.")
        pairs[key.strip()] = value.strip()
    return pairs


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9.]+)\s*(s|sec|m|min|h|)", text.strip().lower())
    if not match:
        raise UsageError(f"--time-limit {text!r} must be a time such as 60s, 5min or 1h.")
    return float(match[1]) * {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}[match[2]]


def _limit_threads(threads: int | None) -> None:
    """Hold numpy, BLAS and jax to so many threads; must run before any of them starts its own."""
    if threads is None:
        return
    if threads < 1:
        raise UsageError(f"--threads must be at least 1, not {threads}.")
    os.environ["MICROFIELD_THREADS"] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def describe(name: str | Path, report: Report) -> str:
    """The report in a few lines."""
    lines = [
        f"{name}: {report.file_bytes} bytes, {report.ratio:.1f}x smaller than the raw {report.raw_bytes} bytes"
        + (f" ({report.source_bytes / report.file_bytes:.1f}x than the source file)" if report.source_bytes else ""),
        f"  PSNR {report.psnr:.2f} dB"
        + (f" (channels: {', '.join(f'{p:.2f}' for p in report.channel_psnr)})" if len(report.channel_psnr) > 1 else "")
        + (f", error {report.noise_factor:.2f} x noise" if report.noise_factor is not None else "")
        + f", method {report.method}, {report.seconds:.1f} s"
        + (f", {report.used:.1%} of the budget" if report.used is not None else ""),
    ]
    return "\n".join(lines + [f"  note: {note}" for note in report.notes])


def _predict(arguments: argparse.Namespace) -> int:
    """Without a budget: what sizes and qualities to expect."""
    from microfield.writing.compress import Settings, load, predictions

    image = load(_input(arguments.paths[0]), **_reading(arguments))
    print(f"{image.name}: {image.axes} {image.shape} {image.dtype}, {image.nbytes} raw bytes", file=sys.stderr)
    print("ratio      bytes  predicted PSNR", file=sys.stderr)
    for ratio, size, psnr in predictions(image, Settings(**_settings(arguments))):
        print(f"{ratio:5.0f} {size:10d}  about {psnr:.0f} dB", file=sys.stderr)
    return _wrong("give a budget: one of " + ", ".join("--" + b.replace("_", "-") for b in BUDGETS)
                  + " (predictions are those of a good transform codec).")


def _many(arguments: argparse.Namespace, budget: dict[str, Any]) -> int:
    """Many inputs: skip what exists, go on after failures, sum up at the end."""
    outputs = {source: arguments.out_dir / (stem(source) + ".mfield") for source in _expand(arguments.paths)}
    for destination in outputs.values():
        if len(same := [s for s, d in outputs.items() if d == destination]) > 1:
            return _wrong(f"{' and '.join(same)} would all become {destination}; compress them into different folders.")
    arguments.out_dir.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for source, destination in outputs.items():
        row: dict[str, Any] = {"input": source, "output": str(destination)}
        if destination.exists() and not arguments.overwrite:
            row["status"] = f"skipped: {destination} exists{_what_it_is(destination)}; --overwrite replaces it"
        else:
            try:
                row |= {"status": "done", **_one(arguments, budget, source, destination).as_dict()}
            except (MicrofieldError, OSError, MemoryError) as error:
                row["status"] = f"failed: {error}"
        rows.append(row)
        if not arguments.json:
            print(_summary(row))
    _write_csv(arguments.out_dir / "microfield-summary.csv", rows)
    failed = sum(r["status"].startswith("failed") for r in rows)
    if arguments.json:
        print(json.dumps(rows))
    else:
        done = sum(r["status"] == "done" for r in rows)
        print(f"{done} done, {len(rows) - done - failed} skipped, {failed} failed; "
              f"details in {arguments.out_dir / 'microfield-summary.csv'}")
    return 1 if failed else 0


def _what_it_is(path: Path) -> str:
    """Method and ratio of a file that is there."""
    from microfield.reading.file import open_file

    try:
        with open_file(path) as f:
            return f" ({f.method}, {f.ratio:.1f}x)"
    except (MicrofieldError, OSError):
        return " (and is no microfield file)"


def _expand(paths: list[str]) -> list[str]:
    """Inputs, with wildcards that the shell (on Windows) left alone."""
    found = []
    for path in paths:
        found += sorted(glob.glob(path)) if glob.has_magic(path) and not Path(path).exists() else [path]
    return found


def stem(path: str) -> str:
    """File name without its (possibly double) microscopy suffix."""
    return re.sub(r"(\.ome)?\.(tiff?|zarr|lsm|czi|nd2|lif|png|jpe?g|npy|npz)$", "", Path(path).name, flags=re.IGNORECASE)


def _summary(row: dict[str, Any]) -> str:
    if row["status"] != "done":
        return f"{row['input']}: {row['status']}"
    psnr = "exact" if row["psnr"] is None else f"{row['psnr']:.2f} dB"
    return f"{row['input']}: {row['file_bytes']} bytes, {row['ratio']:.1f}x, {psnr}, {row['seconds']:.1f} s"


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = ["input", "output", "status", "method", "raw_bytes", "file_bytes", "ratio", "source_bytes", "psnr",
               "noise_factor", "used", "parts", "seconds"]
    earlier: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            earlier = list(csv.DictReader(file))
    # What was skipped keeps the row of the call that made it.
    made = {row["output"] for row in rows if not row["status"].startswith("skipped")}
    kept = [row for row in earlier if row.get("output") not in made]
    known = {row.get("output") for row in kept}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows([*kept, *(row for row in rows if row["output"] not in known)])

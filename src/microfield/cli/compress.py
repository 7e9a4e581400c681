"""``microfield compress``: one image into one file, or many into a folder."""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from microfield.cli.arguments import expand, key_values, seconds, stem
from microfield.cli.progress import ProgressLine
from microfield.errors import InputError, MicrofieldError, UsageError

if TYPE_CHECKING:
    from microfield.image import Image
    from microfield.writing.report import Report

BUDGETS = ("ratio", "bits_per_voxel", "max_bytes", "psnr", "noise_factor")
"""Names of the arguments that say how large or how good the file is to be; exactly one is given."""

SUMMARY_FILE = "microfield-summary.csv"
"""What ``--out-dir`` writes beside the files: one row an input."""

COLUMNS = ("input", "output", "status", "method", "raw_bytes", "file_bytes", "ratio", "source_bytes", "psnr", "noise_factor",
           "used", "parts", "seconds", "psnr_inside", "psnr_outside")
"""Columns of the summary: where the image came from and went, and fields of `Report`."""


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
    how.add_argument("--saliency", metavar="MASK", help="image of what matters most: integers mark the voxels that are not 0, "
                                                       "floats are the weights of voxels; it may lack axes of the input")
    how.add_argument("--saliency-weight", type=float, metavar="W",
                     help="how many times more a voxel counts that an integer MASK marks (default 4)")
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
    """Compress what the arguments say; the exit status."""
    _limit_threads(arguments.threads)
    _check(arguments)
    budget = _budget(arguments)
    if not budget:
        _predict(arguments)
    if arguments.out_dir is not None:
        return _many(arguments, budget)
    source, destination = arguments.paths
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


def _check(arguments: argparse.Namespace) -> None:
    """Refuse arguments that do not go together.

    Raises
    ------
    UsageError
        They do not.
    """
    if arguments.saliency_weight is not None and arguments.saliency is None:
        raise UsageError("--saliency-weight says how much more a voxel counts that a mask marks; give the mask with --saliency.")
    given = _budget(arguments)
    if not given:
        return  # A prediction needs no output.
    if len(given) > 1:
        raise UsageError(f"give one budget, not {' and '.join(map(_flag, given))}.")
    if arguments.out_dir is not None:
        if arguments.report:
            raise UsageError("--report is for one image; for many write the pages with `microfield compare --report`.")
        return
    if len(arguments.paths) != 2:
        raise UsageError(f"compress takes one input and one output, not {len(arguments.paths)} paths; for more inputs give "
                         "--out-dir.")
    if not arguments.paths[1].endswith(".mfield"):
        raise UsageError(f"the output {arguments.paths[1]} must end in .mfield.")
    if arguments.report and arguments.paths[0] == "-":
        raise UsageError("--report reads the image again and so cannot be given with standard input.")


def _budget(arguments: argparse.Namespace) -> dict[str, Any]:
    """The budgets that were given, by the names that `microfield.compress` has for them."""
    return {name: value for name in BUDGETS if (value := getattr(arguments, name)) is not None}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _one(arguments: argparse.Namespace, budget: dict[str, Any], source: str, destination: Path) -> Report:
    """Compress one input into one file."""
    from microfield.writing.compress import compress, load

    line = ProgressLine(Path(source).name)
    try:
        image = load(_input(source), **_reading(arguments))
        return compress(image, destination, progress=line, **budget, **_settings(arguments, image))
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
    """How to read the input, as arguments of `microfield.open_image`."""
    return {"axes": arguments.axes and arguments.axes.upper(), "scene": arguments.scene, "channel": arguments.channel}


def _settings(arguments: argparse.Namespace, image: Image) -> dict[str, Any]:
    """How to compress an image, as fields of `Settings`.

    Raises
    ------
    UsageError
        An argument is not of its form.
    InputError
        The saliency does not fit the image.
    """
    settings = {
        "options": key_values(arguments.option, "--option"), "effort": arguments.effort, "seed": arguments.seed,
        "time_limit": seconds(arguments.time_limit), "nan_fill": arguments.nan_fill,
        "not_labels": arguments.not_labels, "keep_metadata": arguments.keep_metadata,
    }
    if arguments.method:
        settings["method"] = arguments.method
    if arguments.tile:
        try:
            settings["tile"] = {k: int(v) for k, v in key_values(arguments.tile.split(","), "--tile").items()}
        except ValueError:
            raise UsageError(f"--tile {arguments.tile!r} must look like y=512,x=512.") from None
    if arguments.channel_weights:
        try:
            settings["channel_weights"] = tuple(float(w) for w in arguments.channel_weights.split(","))
        except ValueError:
            raise UsageError(f"--channel-weights {arguments.channel_weights!r} must be numbers, such as 1,1,4.") from None
    if arguments.saliency:
        from microfield.cli.masks import Covered, read_saliency

        covered = Covered(image.name, image.axes, image.shape)
        settings["saliency"] = read_saliency(arguments.saliency, covered, _reading(arguments)["axes"])
    if arguments.saliency_weight is not None:
        settings["saliency_weight"] = arguments.saliency_weight
    return settings


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
    """The report in a few lines: size, quality, and what the user should know."""
    size = f"{name}: {report.file_bytes} bytes, {report.ratio:.1f}x smaller than the raw {report.raw_bytes} bytes"
    if report.source_bytes:
        size += f" ({report.source_bytes / report.file_bytes:.1f}x than the source file)"
    quality = f"  PSNR {report.psnr:.2f} dB"
    if len(report.channel_psnr) > 1:
        quality += f" (channels: {', '.join(f'{p:.2f}' for p in report.channel_psnr)})"
    facts = [quality, *_by_saliency(report)]
    if report.noise_factor is not None:
        facts.append(f"error {report.noise_factor:.2f} x noise")
    facts += [f"method {report.method}", f"{report.seconds:.1f} s"]
    if report.used is not None:
        facts.append(f"{report.used:.1%} of the budget")
    return "\n".join([size, ", ".join(facts), *(f"  note: {note}" for note in report.notes)])


def _by_saliency(report: Report) -> list[str]:
    """PSNR inside and outside what the saliency marks; nothing where no saliency was given."""
    sides = (("inside", report.psnr_inside), ("outside", report.psnr_outside))
    return [f"{side} {_decibels(psnr)}" for side, psnr in sides if psnr is not None]


def _decibels(psnr: float) -> str:
    return "exact" if math.isinf(psnr) else f"{psnr:.2f} dB"


def _predict(arguments: argparse.Namespace) -> NoReturn:
    """Print the qualities to expect at several sizes, and end as a call without a budget does: UsageError."""
    from microfield.writing.compress import Settings, load, predictions

    image = load(_input(arguments.paths[0]), **_reading(arguments))
    print(f"{image.name}: {image.axes} {image.shape} {image.dtype}, {image.nbytes} raw bytes", file=sys.stderr)
    print("ratio      bytes  predicted PSNR", file=sys.stderr)
    for ratio, size, psnr in predictions(image, Settings(**_settings(arguments, image))):
        print(f"{ratio:5.0f} {size:10d}  about {psnr:.0f} dB", file=sys.stderr)
    raise UsageError(f"give a budget: one of {', '.join(map(_flag, BUDGETS))} (predictions are those of a good transform codec).")


def _many(arguments: argparse.Namespace, budget: dict[str, Any]) -> int:
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
    _write_csv(summary, rows)
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
        report = _one(arguments, budget, source, destination)
    except (MicrofieldError, OSError, MemoryError) as error:
        row["status"] = f"failed: {error}"
        return row, f"{source}: {row['status']}"
    facts = [f"{report.file_bytes} bytes", f"{report.ratio:.1f}x", _decibels(report.psnr), *_by_saliency(report),
             f"{report.seconds:.1f} s"]
    return row | {"status": "done", **report.as_dict()}, f"{source}: {', '.join(facts)}"


def _what_it_is(path: Path) -> str:
    """Method and ratio of a file that exists already, in brackets."""
    from microfield.reading.file import open_file

    try:
        with open_file(path) as f:
            return f" ({f.method}, {f.ratio:.1f}x)"
    except (MicrofieldError, OSError):
        return " (and is no microfield file)"


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the summary; rows of earlier calls stay where this call made no file of the same name."""
    earlier: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            earlier = list(csv.DictReader(file))
    # What was skipped keeps the row of the call that made it.
    made = {row["output"] for row in rows if not row["status"].startswith("skipped")}
    kept = [row for row in earlier if row.get("output") not in made]
    known = {row.get("output") for row in kept}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows([*kept, *(row for row in rows if row["output"] not in known)])

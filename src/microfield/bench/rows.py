"""Rows of a bench: one per run, that is per image, method and budget; kept as lines of JSON, exported as CSV and Parquet.

``rows.jsonl`` only ever grows: a finished row is appended as one line, and a later line for the same run replaces the
earlier one. A last line that a crash left half-written is ignored.

A row is a dict of these fields; those that a run did not get to are missing, and what could not be measured is None.

==============================================  ==================================================================
``image``, ``kind``, ``labels``                 name and kind of the image, file name of its labels or None
``fingerprint``, ``axes_given``                 of the content of its file; axes the user named, or None
``axes``, ``shape``, ``dtype``                  of the array
``raw_bytes``, ``source_bytes``                 bytes of the array and of its file (None where unknown)
``method``, ``options``, ``budget``, ``asked``  what was run; kind of the budget ("ratio", "psnr") and its value
``effort``, ``seed``, ``time_limit``            as in `microfield.compress`; seconds or None
``nan_fill``, ``not_labels``                    only where they were given
``status``, ``message``                         "ok", "unreachable", "refused" or "failed", and why in a sentence
``limit``, ``bytes``, ``used``                  bytes allowed (None for a quality), bytes of the file, their quotient
``ratio``, ``bits_per_voxel``                   raw_bytes / bytes, and 8 bytes / elements of the array
``encode_seconds``, ``decode_seconds``          of the whole image
``encode_memory``, ``decode_memory``            most bytes of memory of the process (None where the system does not tell)
``measures``                                    names of the measures taken; their numbers are fields of their own
``psnr``, ...                                   numbers; ``psnr`` is None for an exact copy, whose ``max_error`` is 0
``notes``, ``versions``, ``machine``, ``date``  how the row came about
``file``, ``command``                           compressed file inside the folder; command that repeats the run
==============================================  ==================================================================
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from microfield.errors import InputError

Row = dict[str, Any]
"""The fields listed above."""

IDENTITY = ("fingerprint", "axes_given", "method", "options", "budget", "asked", "effort", "seed", "time_limit")
"""Fields that make two rows the same run."""
IDENTITY_IF_SET = ("nan_fill", "not_labels")
"""Further fields that make two rows the same run, present only where their value is not the default."""

FIRST = (
    "image", "kind", "axes", "shape", "dtype", "raw_bytes", "method", "options", "budget", "asked", "status", "message",
    "limit", "bytes", "ratio", "bits_per_voxel", "used", "psnr", "psnr_robust", "psnr_lowest", "ssim", "nrmse", "pearson",
    "max_error", "noise_factor",
)
"""Columns that come first in a table; others follow in the order in which rows have them."""
LAST = (
    "encode_seconds", "decode_seconds", "encode_memory", "decode_memory", "effort", "seed", "time_limit", "measures", "notes",
    "versions", "machine", "date", "file", "fingerprint", "axes_given", "nan_fill",
    "not_labels", "labels", "command",
)


def key(row: Mapping[str, Any]) -> str:
    """A short text that is the same for two rows of the same run."""
    values: list[Any] = [float(v) if isinstance(v := row.get(name), int) else v for name in IDENTITY]
    values += [{name: row[name]} for name in IDENTITY_IF_SET if name in row]
    identity = json.dumps(values, sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def title(row: Row) -> str:
    """Name of a run in progress and messages."""
    return f"{row['image']} {row['method']} {row['budget']} {row['asked']:g}"


def exact(row: Row) -> bool:
    """Whether the decoded image was measured and found the same as the original."""
    return bool(row["status"] == "ok" and row.get("psnr") is None and row.get("max_error") == 0)


def one_line(row: Row) -> str:
    """A finished run in one line."""
    if row["status"] != "ok":
        return f"{title(row)}: {row['status']}: {row['message']}"
    quality = ["exact"] if exact(row) else [] if row.get("psnr") is None else [f"{row['psnr']:.1f} dB"]
    return f"{title(row)}: " + ", ".join([f"{row['bytes']} bytes", *quality, f"{row['encode_seconds']:.1f} s"])


def append(path: Path, row: Row) -> None:
    """Add one finished row; it is on disk when this returns."""
    line = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
    with path.open("a+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end and _byte_at(file, end - 1) != b"\n":  # what a crash left half-written must not swallow this row
            line = "\n" + line
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _byte_at(file: io.BufferedRandom, position: int) -> bytes:
    file.seek(position)
    return file.read(1)


def load(path: Path) -> list[Row]:
    """The last state of every run, in the order the runs were first recorded; nothing where there is no file."""
    if not path.exists():
        return []
    latest: dict[str, Row] = {}
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "status" in row:
            latest[key(row)] = row
    return list(latest.values())


def columns(rows: Iterable[Row]) -> list[str]:
    """All fields of the rows as columns: `FIRST`, then the measures, then `LAST`."""
    seen = dict.fromkeys(name for row in rows for name in row)
    middle = [name for name in seen if name not in FIRST + LAST]
    return [*(n for n in FIRST if n in seen), *middle, *(n for n in LAST if n in seen)]


def _cell(value: Any) -> Any:
    """A value for a flat table: lists of numbers as 60x256x256, mappings as JSON."""
    if isinstance(value, (list, tuple)):
        return "x".join(map(str, value)) if all(isinstance(v, int) for v in value) else "; ".join(map(str, value))
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


def write_csv(path: Path, rows: list[Row]) -> None:
    """All rows as CSV, replaced whole."""
    names = columns(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    replace_text(path, text.getvalue())


def write_parquet(path: Path, rows: list[Row]) -> bool:
    """All rows as Parquet; False, and nothing written, where pyarrow is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return False
    table = {}
    for name in columns(rows):
        values = [_cell(row.get(name)) for row in rows]
        if {type(v) for v in values} >= {int, float}:
            values = [None if v is None else float(v) for v in values]
        table[name] = pyarrow.array(values)
    from microfield.io.atomic import atomic_path

    with atomic_path(path, overwrite=True) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(table), temporary)
    return True


def replace_text(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all."""
    from microfield.io.atomic import atomic_path

    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def fingerprint(path: Path) -> str:
    """16 hexadecimal digits that change with the content of an image file (of a folder: names, sizes and times)."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            state = file.stat()
            digest.update(f"{file.relative_to(path)}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
        return digest.hexdigest()[:16]
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from None

"""The summary of a batch: a CSV file beside the compressed files, one row an output, and the record that a later call trusts.

While a batch runs, rows are added at the end, so that a crash loses none; of two rows of one output the later one counts. When it
ends, the file is written anew with one row an output. Several calls may do so at the same time: each writes under a lock, and
leaves rows of outputs that are not its own as they are.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import Any

from microfield.cli.locked import locked
from microfield.errors import InputError

SUMMARY_FILE = "microfield-summary.csv"
"""What ``--out-dir`` writes beside the files."""

OURS = ("input", "output", "status")
"""Columns by which a summary is known to be one."""

COLUMNS = ("input", "scene", "output", "status", "message", "method", "raw_bytes", "file_bytes", "ratio", "source_bytes", "psnr",
           "psnr_robust", "noise_factor", "used", "parts", "seconds", "psnr_inside", "psnr_outside", "axes", "axes_guessed",
           "notes", "settings", "source_state", "verdict_look", "verdict_count", "verdict_spots", "verdict_measure", "verdict_why")
"""Columns of the summary; docs/batch.md says what they hold."""

Row = dict[str, Any]

AS_TEXT: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
"""How the file is opened: names of files that are no text keep their bytes."""


class Summary:
    """The rows of a folder.

    Parameters
    ----------
    folder : Path
        The folder of the outputs, which exists.

    Raises
    ------
    InputError
        A file of the summary's name is there and is none.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / SUMMARY_FILE
        self.rows: dict[str, Row] = {}
        self.own: set[str] = set()
        self.seen: tuple[int, int] | None = None
        self.columns: tuple[str, ...] = ()
        self.complained = False
        with locked(self.path):
            self._read()

    def earlier(self, output: Path) -> Row | None:
        """The row of an output, as an earlier call left it, or another one that runs: all values are text."""
        if self.key(output) not in self.own and self._state() != self.seen:
            try:
                with locked(self.path):
                    self._read()
            except InputError as error:
                self._complain(error)
        return self.rows.get(self.key(output))

    def add(self, row: Row) -> None:
        """Record a row; it is in the file when this returns, unless another program keeps that locked."""
        row = row | {"output": self.key(Path(row["output"]))}
        self.rows.pop(row["output"], None)  # So that rows stand in the order of the last call.
        self.rows[row["output"]] = row
        self.own.add(row["output"])
        if self.columns and self.columns != COLUMNS:  # Of another version: a row at its end would not fit its head.
            self.write()
            return
        try:
            with locked(self.path):
                alone = self._state() == self.seen
                new = not self.path.exists() or not self.path.stat().st_size
                with self.path.open("a", **AS_TEXT) as file:
                    writer = _writer(file)
                    if new:
                        writer.writeheader()
                    writer.writerow(row)
                self.seen = self._state() if alone else None
        except OSError as error:
            self._complain(error)

    def write(self) -> None:
        """Write the file anew, one row an output; rows of other calls stay."""
        from microfield.io.atomic import atomic_path

        try:
            with locked(self.path):
                self._read()
                with atomic_path(self.path, overwrite=True) as temporary, temporary.open("w", **AS_TEXT) as file:
                    writer = _writer(file)
                    writer.writeheader()
                    writer.writerows(self.rows.values())
                self.seen, self.columns = self._state(), COLUMNS
        except InputError as error:
            self._complain(error)

    def _read(self) -> None:
        """Take over what the file says of outputs that are not this call's own."""
        others = {str(row["output"]): row for row in self._load()}
        own = {output: row for output, row in self.rows.items() if output in self.own}
        self.rows = {output: row for output, row in others.items() if output not in self.own} | own
        self.seen = self._state()

    def _state(self) -> tuple[int, int] | None:
        """Size and time of last change of the file, by which others' changes are noticed; None where there is no file."""
        try:
            state = self.path.stat()
        except OSError:
            return None
        return state.st_size, state.st_mtime_ns

    def _load(self) -> list[Row]:
        """The rows in the file; what a crash left half-written is none.

        Raises
        ------
        InputError
            The file cannot be read, or is no summary.
        """
        if not os.path.lexists(self.path):
            return []
        try:
            with self.path.open(**AS_TEXT) as file:
                reader = csv.DictReader(file)
                known = set(reader.fieldnames or ())
                self.columns = tuple(reader.fieldnames or ())
                rows = list(reader)
        except (OSError, ValueError, csv.Error) as error:
            raise InputError(f"{self.path} cannot be read ({error}); move it elsewhere, since the summary has its name.") from error
        if known and not set(OURS) <= known:
            raise InputError(f"{self.path} is no summary of microfield and is not replaced; move it elsewhere, since the summary "
                             "has its name.")
        # A row that was cut off lacks its last columns.
        return [row for row in rows if row.get("output") and row.get("status") and row.get("verdict_why") is not None]

    def key(self, output: Path) -> str:
        """An output as the summary names it: below its own folder, so that the folder can be moved."""
        return Path(os.path.relpath(output, self.path.parent)).as_posix()

    def _complain(self, error: Exception) -> None:
        """Say once that the summary cannot be written: the work goes on."""
        if not self.complained:
            print(f"note: {self.path} cannot be written ({error}); the work goes on without it.", file=sys.stderr)
        self.complained = True


def _writer(file: Any) -> csv.DictWriter[str]:
    return csv.DictWriter(file, COLUMNS, extrasaction="ignore")

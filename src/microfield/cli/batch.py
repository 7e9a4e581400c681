"""``microfield compress --out-dir``: many images into a folder, one file each, and a summary.

Every input ends in one of four ways: ``done``; ``skipped``, since its file is there already or it holds labels; ``failed``, with a
sentence; ``interrupted`` by Ctrl-C. A failure does not stop the rest.
"""

from __future__ import annotations

import argparse
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microfield.cli.inputs import Input, gather
from microfield.cli.interrupt import last_words
from microfield.cli.judging import judged
from microfield.cli.locked import locked
from microfield.cli.one import compress_one, decibels
from microfield.cli.record import fault, settings_text, state_of
from microfield.cli.request import saliency_file
from microfield.cli.strict_json import strict_json
from microfield.cli.summary import Summary
from microfield.cli.summary_page import PAGE_FILE, write_page
from microfield.errors import InputError, LabelsError, MicrofieldError

if TYPE_CHECKING:
    from microfield.writing.report import Report

Row = dict[str, Any]


def compress_many(arguments: argparse.Namespace, budget: dict[str, Any]) -> int:
    """Compress all inputs and sum up at the end; the exit status, 1 where one failed.

    Raises
    ------
    UsageError
        The inputs cannot be found, or two of them would become one file.
    InputError
        The folder cannot be made, or holds a foreign file in the place of the summary.
    """
    inputs = gather(arguments)
    _make(arguments.out_dir)
    return Batch(arguments, budget, Summary(arguments.out_dir), _originals(arguments, inputs)).run(inputs)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made ({error.strerror or error}).") from error


def _originals(arguments: argparse.Namespace, inputs: list[Input]) -> set[tuple[int, int]]:
    """Device and number of every file that is read: no output may be one of them, whatever link leads there."""
    found = set()
    for source in [*(image.source for image in inputs), *filter(None, [saliency_file(arguments), arguments.reference])]:
        try:
            state = Path(source).stat()
        except OSError:
            continue  # Its row will say so.
        found.add((state.st_dev, state.st_ino))
    return found


@dataclass
class Batch:
    """The work on many inputs.

    Attributes
    ----------
    arguments, budget : as `compress_one` takes them
    summary : where rows are recorded
    originals : device and number of the files that are read
    rows : of the inputs that are finished
    current : the input that is worked on, with its row as far as it is known
    ended : taken by who sums up
    pictures : output to its small picture, for the page
    """

    arguments: argparse.Namespace
    budget: dict[str, Any]
    summary: Summary
    originals: set[tuple[int, int]]
    rows: list[Row] = field(default_factory=list)
    current: tuple[Input, Row] | None = None
    ended: threading.Lock = field(default_factory=threading.Lock)
    pictures: dict[str, str] = field(default_factory=dict)

    def run(self, inputs: list[Input]) -> int:
        """Compress all; the exit status. Ctrl-C leaves the summary of what was done."""
        try:
            with last_words(self._end_early):
                for image in inputs:
                    self._one(image)
        finally:
            self._end()
        return 1 if any(row["status"] == "failed" for row in self.rows) else 0

    def _end_early(self) -> None:
        """Sum up while the work on one input cannot be stopped."""
        if self.current is not None:
            self._leave(*self.current)
        self._end()

    def _leave(self, image: Input, row: Row) -> None:
        """Record an input that was being worked on. One that is only being judged is done, and its file is there."""
        self._finish(image, row if "status" in row else row | {"status": "interrupted", "message": "interrupted"})

    def _end(self) -> None:
        """Write the summary and print the total, once: the thread of the work and the one that ends it may both come here."""
        if self.ended.acquire(blocking=False):
            self.summary.write()
            self._total()
            if self.pictures:  # Else nothing has changed, and who ends early is not kept.
                with locked(self.summary.path.with_name(PAGE_FILE)):
                    write_page(self.summary.path.parent, self.summary.rows.values(), self.pictures)

    def _one(self, image: Input) -> None:
        """Compress one input, record its row and print what became of it."""
        destination = self.arguments.out_dir / f"{image.name}.mfield"
        settings, state = settings_text(self.arguments, image), state_of(image.source)
        row: Row = {"input": image.source, "scene": image.scene_name, "output": str(destination), "settings": settings,
                    "source_state": state}
        earlier = self.summary.earlier(destination)
        # A crash, or Ctrl-C, may have come between the file and its row.
        begun = earlier is not None and earlier["status"] in ("started", "interrupted")
        if destination.exists() and not self.arguments.overwrite and not begun:
            self._leave_in_place(image, row, earlier, fault(destination, earlier, settings, state))
            return
        try:
            self._check(image, destination, self.arguments.overwrite or begun)
            self.summary.add(row | {"status": "started"})
            self.current = image, row
            report = compress_one(self.arguments, self.budget, image, destination, self.arguments.overwrite or begun)
            row |= self._made(report)
            self.current = image, row
            row |= self._judged(image, destination, report, row["message"])
        except KeyboardInterrupt:
            self._leave(image, row)
            raise
        except LabelsError as error:
            row |= {"status": "skipped", "message": str(error)}
        except (MicrofieldError, OSError) as error:
            row |= {"status": "failed", "message": str(error)}
        except MemoryError:
            row |= {"status": "failed", "message": "not enough memory for this; compress it in tiles (--tile)."}
        except Exception as error:  # A fault of ours or of a library must not cost the user the other images.
            row |= {"status": "failed",
                    "message": f"{type(error).__name__}: {error}; this is a fault of microfield, please report it."}
        self._finish(image, row)

    def _leave_in_place(self, image: Input, row: Row, earlier: Row | None, why: str) -> None:
        """Finish an input whose output exists: it is what this call would make, or ``why`` says that it is not.

        The record of how the file was made stays, with the state that the input has now.
        """
        if why:
            now = {"status": "failed", "message": f"{why}; --overwrite replaces it."}
        else:
            now = {"status": "skipped", "message": f"{row['output']} is there, made from it with these settings."}
        unchanged = earlier is not None and not why and earlier["status"] != "failed"
        record = {} if unchanged else (earlier or row) | now | {"output": row["output"]}
        self._finish(image, row | now, record)

    def _check(self, image: Input, destination: Path, overwrite: bool) -> None:
        """Refuse an output that cannot be written, or that is one of the inputs."""
        from microfield.writing.compress import check_destination

        _make(destination.parent)
        if destination.exists():
            state = destination.stat()
            if (state.st_dev, state.st_ino) in self.originals:
                raise InputError(f"{destination} is the same file as one of the inputs, which are never replaced.")
        check_destination(destination, overwrite, [image.source])

    def _made(self, report: Report) -> Row:
        """What a row has to say of a file that was made."""
        facts = [f"{report.file_bytes} bytes", f"{report.ratio:.1f}x", decibels(report.psnr), *report.by_saliency,
                 f"{report.seconds:.1f} s", report.read_as]
        return {**report.as_dict(), "status": "done", "message": ", ".join(facts)}

    def _judged(self, image: Input, destination: Path, report: Report, message: str) -> Row:
        """What a row has to say of the verdict. The file is there whatever becomes of it."""
        try:
            found = judged(self.arguments, image, destination, report, picture=True)
        except Exception as error:
            return {"message": f"{message}, no verdict ({type(error).__name__}: {error})"}
        self.pictures[self.summary.key(destination)] = found.picture
        grades = [f"{use} {grade}" for use, grade in found.grades().items()]
        if grades:
            message = f"{message.removesuffix(report.read_as)}good for: {', '.join(grades)}, {report.read_as}"
        return {**found.columns(), "message": message}

    def _finish(self, image: Input, row: Row, record: Row | None = None) -> None:
        """Record a row and print it; where ``record`` is given, that is recorded instead, unless it is empty."""
        self.current = None
        self.rows.append(row)
        if record is None:
            record = row | {"notes": " | ".join(row.get("notes") or ())}
        if record:
            self.summary.add(record)
        if not self.arguments.json:
            status = "" if row["status"] == "done" else f"{row['status']}: "
            print("\n".join([f"{image.title}: {status}{row['message']}", *(f"  note: {n}" for n in row.get("notes") or ())]),
                  flush=True)

    def _total(self) -> None:
        """Print how many inputs ended in which way."""
        if self.arguments.json:
            print(strict_json(self.rows))
            return
        counts = {status: sum(row["status"] == status for row in self.rows) for status in ("done", "skipped", "failed")}
        said = ", ".join(f"{n} {status}" for status, n in counts.items())
        page = f" and {PAGE_FILE}" if self.pictures else ""
        print(f"{said}; details in {self.summary.path}{page}", flush=True)

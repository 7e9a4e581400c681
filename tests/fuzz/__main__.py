"""The parent: makes cases, has the child read them, ends it where it stands still, counts, and keeps what escaped as files."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz import corpus, mutate, writers
from microfield.image import Layout

PATIENCE = 60.0
"""Seconds after which a case stands still. Cases take milliseconds; machines may be busy."""

SLOW = 10.0
"""Seconds from which a case is worth a line, though no fault: the time of decoding follows the voxels asked for."""

FINE = ("read", "refused")
"""Outcomes that are none of the reader's faults."""


class Child:
    """The process that reads, started anew after each end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, data: bytes, host: Layout | None) -> tuple[str, str]:
        """Outcome and detail of a file: those of `reader`, or "crash" or "hang"."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        stuck = threading.Event()

        def stop() -> None:
            stuck.set()
            process.kill()

        timer = threading.Timer(PATIENCE, stop)
        timer.start()
        try:
            given = None if host is None else [host.shape, host.axes, host.dtype.name]
            process.stdin.write(json.dumps({"host": given, "length": len(data)}).encode() + b"\n" + data)
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if line:
            answer = json.loads(line)
            return answer["kind"], answer["detail"]
        status = process.wait()
        return ("hang", f"no answer for {PATIENCE:g} s") if stuck.is_set() else ("crash", f"status {status}")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.end()
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            self._process = subprocess.Popen([sys.executable, "-m", "fuzz.reader"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             env=environment)
        return self._process

    def end(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process = None


@dataclass
class Run:
    """Counts of a run, and where its escapes are kept."""

    folder: Path
    seed: int
    child: Child = field(default_factory=Child)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    escapes: Counter[str] = field(default_factory=Counter)
    slow: int = 0

    def case(self, number: int) -> None:
        """Make a case, read it, and keep it where something escaped."""
        method, data, host, done = mutate.case(self.seed, number)
        begin = time.monotonic()
        kind, detail = self.child.read(data, host)
        seconds = time.monotonic() - begin
        self.counts[method, kind] += 1
        if kind in FINE and seconds > SLOW:
            self.slow += 1
            print(f"  slow: case {number} ({method}; {done}) took {seconds:.0f} s")
        if kind not in FINE:
            self._keep(f"{method}-{kind}-{self.seed}-{number}", data, host, f"{kind}: {detail} [{method}: {done}]")

    def writer(self, number: int) -> None:
        """Write a small image and read it again."""
        method, fault = writers.case(self.seed, number)
        self.counts[method, "written" if fault is None else "writer"] += 1
        if fault is not None:
            self.escapes[f"writer: {fault}"] += 1
            print(f"  writer: case {number} of seed {self.seed}: {fault}")

    def _keep(self, name: str, data: bytes, host: Layout | None, what: str) -> None:
        about = what.partition(" [")[0]
        self.escapes[about] += 1
        if self.escapes[about] > 3:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.mfield"
        path.write_bytes(data)
        given = None if host is None else [host.shape, host.axes, host.dtype.name]
        path.with_suffix(".json").write_text(json.dumps({"what": what, "host": given}), encoding="utf-8")
        print(f"  {what}\n    kept as {path}")

    def table(self) -> str:
        """Counts by method and outcome."""
        kinds = sorted({kind for _, kind in self.counts}, key=lambda k: (k not in FINE, k))
        lines = [f"{'method':24}" + "".join(f"{kind:>11}" for kind in kinds)]
        for method in sorted({method for method, _ in self.counts}):
            lines.append(f"{method:24}" + "".join(f"{self.counts[method, kind]:>11}" for kind in kinds))
        return "\n".join(lines)


def replay(path: Path) -> int:
    """Read a kept file again; the exit status."""
    from fuzz.reader import layout_of

    about = path.with_suffix(".json")
    known: dict[str, Any] = json.loads(about.read_text(encoding="utf-8")) if about.exists() else {"host": None}
    child = Child()
    kind, detail = child.read(path.read_bytes(), layout_of(known["host"]))
    child.end()
    print(f"{path}: {kind} {detail}")
    return 0 if kind in FINE else 1


def main() -> int:
    """Run for some seconds or cases, or replay a file; the exit status is 1 where anything escaped."""
    p = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    p.add_argument("--seconds", type=float, default=60, help="how long cases are tried, once the first files are made")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--first", type=int, default=0, help="number of the first case")
    p.add_argument("--cases", type=int, help="so many cases, however long they take")
    p.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="folder for what escaped")
    p.add_argument("--replay", type=Path, metavar="FILE", help="read a kept file again")
    p.add_argument("--methods", help="names of methods, separated by commas: others are left alone")
    arguments = p.parse_args()
    if arguments.methods:
        corpus.METHODS = tuple(arguments.methods.split(","))
        writers.WRITERS = tuple(name for name in writers.WRITERS if name in corpus.METHODS)
    if arguments.replay is not None:
        return replay(arguments.replay)
    begin = time.monotonic()
    count = sum(len(corpus.files_of(method)) for method in corpus.METHODS)
    print(f"{count} files of {len(corpus.METHODS)} methods made in {time.monotonic() - begin:.0f} s; seed {arguments.seed}")
    run, begin, number = Run(arguments.keep, arguments.seed), time.monotonic(), arguments.first
    try:
        while (number - arguments.first < arguments.cases if arguments.cases is not None
               else time.monotonic() - begin < arguments.seconds):
            run.case(number)
            if number % 40 == 0:
                run.writer(number)
            number += 1
    finally:
        run.child.end()
    print(run.table())
    print(f"cases {arguments.first} to {number - 1} in {time.monotonic() - begin:.0f} s: {sum(run.escapes.values())} escaped, "
          f"{run.slow} slow")
    for what, times in run.escapes.most_common():
        print(f"  {times} x {what}")
    return 1 if run.escapes else 0


if __name__ == "__main__":
    sys.exit(main())

"""The parent's side of a bench: starts worker processes, records their rows, survives their deaths."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from microfield.bench import rows
from microfield.bench.rows import Row
from microfield.bench.worker import Task, Todo, serve

OnRow = Callable[[Row, int, int], None]
"""Called with a finished row, how many are done, and how many there are in all."""
OnProgress = Callable[[str, float, str], None]
"""Called with the name of a run, the fraction of its encode that is done, and what is being done."""


@dataclass
class Workers:
    """Worker processes at work.

    Attributes
    ----------
    log : file that finished rows are appended to
    jobs, total : processes at once, and runs in all
    finished : the rows so far
    """

    log: Path
    jobs: int
    total: int
    on_row: OnRow
    on_progress: OnProgress
    finished: list[Row] = field(default_factory=list)
    workers: set[BaseProcess] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: bool = False

    def run(self, tasks: Sequence[Task]) -> None:
        """Do all tasks, ``jobs`` at a time."""
        if self.jobs == 1:
            try:
                for task in tasks:
                    self._finish(task)
            finally:
                self._stop()
            return
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                for future in [pool.submit(self._finish, task) for task in tasks]:
                    future.result()
            finally:
                self._stop()

    def _stop(self) -> None:
        self.stopped = True
        for worker in list(self.workers):
            worker.kill()

    def _finish(self, task: Task) -> None:
        """Run a task; where its process dies, record that run as failed and go on with the next in a new process."""
        while task.todo and not self.stopped:
            left, running, status = self._process(task)
            if not left or self.stopped:
                return
            died = next((one for one in left if one.key == running), left[0])
            self._record(died.row | {"status": "failed", "message": _death(status)})
            task = replace(task, todo=tuple(one for one in left if one is not died))

    def _process(self, task: Task) -> tuple[tuple[Todo, ...], str | None, int | None]:
        """One worker process to its end: what it left undone, the run it was at, and its exit status."""
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe(duplex=False)
        worker = spawn.Process(target=serve, args=(task, theirs), daemon=True)
        worker.start()
        self.workers.add(worker)
        theirs.close()
        finished, running = self._listen(ours, task)
        worker.join()
        self.workers.discard(worker)
        return tuple(one for one in task.todo if one.key not in finished), running, worker.exitcode

    def _listen(self, connection: Connection, task: Task) -> tuple[set[str], str | None]:
        finished: set[str] = set()
        running: str | None = None
        names = {one.key: rows.title(one.row) for one in task.todo}
        while True:
            try:
                kind, value = connection.recv()
            except (EOFError, OSError):
                return finished, running
            if kind == "begin":
                running = value
            elif kind == "progress" and running is not None:
                self.on_progress(names[running], *value)
            elif kind == "row":
                finished.add(rows.key(value))
                self._record(value)

    def _record(self, row: Row) -> None:
        with self.lock:
            rows.append(self.log, row)
            self.finished.append(row)
            self.on_row(row, len(self.finished), self.total)


def _death(status: int | None) -> str:
    if status is not None and status < 0:
        return f"the process was ended by signal {-status} (a crash of the codec, or no memory left)."
    return f"the process ended with status {status}; see log.txt."

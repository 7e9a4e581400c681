"""The supervisor of a bench: the parent that starts worker processes, records their rows and goes on where one dies."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from microfield.bench import rows
from microfield.bench.rows import Row
from microfield.bench.worker import PendingRun, Task, run_worker

OnRow = Callable[[Row, int, int], None]
"""Called with a finished row, how many are done, and how many there are in all."""
OnProgress = Callable[[str, float, str], None]
"""Called with the name of a run, the fraction of its encode that is done, and what is being done."""


@dataclass
class Supervisor:
    """Runs tasks in worker processes.

    Attributes
    ----------
    log : file that finished rows are appended to
    jobs : most worker processes at once
    total : number of runs in all tasks
    on_row, on_progress : called as runs finish and go on
    finished : the rows so far
    workers : the processes that are running
    lock : held while a row is recorded, since several threads finish runs
    stopped : whether no further process may be started
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
        """Do all tasks, at most ``jobs`` at a time."""
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
        """Do a task to its end; where its process dies, record that run as failed and do the rest in a new process."""
        while task.runs and not self.stopped:
            left, running, status = self._process(task)
            if not left or self.stopped:
                return
            died = next((one for one in left if one.key == running), left[0])
            self._record(died.row | {"status": "failed", "message": _death(status)})
            task = replace(task, runs=tuple(one for one in left if one is not died))

    def _process(self, task: Task) -> tuple[tuple[PendingRun, ...], str | None, int | None]:
        """Start one worker process and wait for its end: gives the runs it left, the key of the one it was at, its exit status."""
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe(duplex=False)
        worker = spawn.Process(target=run_worker, args=(task, theirs), daemon=True)
        with _ctrl_c_held():
            worker.start()
        self.workers.add(worker)
        theirs.close()
        finished, running = self._listen(ours, task)
        worker.join()
        self.workers.discard(worker)
        return tuple(one for one in task.runs if one.key not in finished), running, worker.exitcode

    def _listen(self, connection: Connection, task: Task) -> tuple[set[str], str | None]:
        """Record what a worker sends until it ends: gives the keys of the finished runs, and that of the last one begun."""
        finished: set[str] = set()
        running: str | None = None
        names = {one.key: rows.title(one.row) for one in task.runs}
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


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Ctrl-C waits until the with block ends, and does not reach a process that is started in it: it would print a traceback
    before it gets to `run_worker`.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _death(status: int | None) -> str:
    """Message for a run whose process died with this exit status (negative: a signal)."""
    if status is not None and status < 0:
        return f"the process was ended by signal {-status} (a crash of the codec, or no memory left)."
    return f"the process ended with status {status}; see log.txt."

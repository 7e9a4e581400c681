"""Threads for the arithmetic: how many, how NumPy's matrix products are kept to one each, and work shared out in order."""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_TASKS = "/proc/self/task"
"""On Linux, a folder for every thread of this process."""


def default_threads() -> int:
    """Threads used unless told otherwise: the environment variable MICROFIELD_THREADS, else the processors we may use."""
    named = os.environ.get("MICROFIELD_THREADS", "")
    if named.isdigit() and int(named) > 0:
        return int(named)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[Item], Result], items: Iterable[Item], pool: ThreadPoolExecutor | None, ahead: int = 8,
             ) -> Iterator[Result]:
    """Results of ``work`` in the order of the items, at most ``ahead`` of them waiting; without a pool one by one."""
    if pool is None:
        yield from map(work, items)
        return
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def raise_in(thread: threading.Thread, error: type[BaseException]) -> None:
    """Raise an error in a thread, at the next line of Python that it runs; a library that computes returns first.

    A thread that has ended, or has not begun, is left alone.
    """
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(error))


def scheduling() -> Callable[[], None]:
    """A function that gives every thread of this process the scheduling that this thread has now, where the system tells of it.

    SVT-AV1 makes its threads, and the one that calls it, real-time threads where it may (as root): nothing else then gets a
    processor.
    """
    if not (hasattr(os, "sched_getscheduler") and os.path.isdir(_TASKS)):
        return lambda: None
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)

    def restore() -> None:
        for thread in map(int, os.listdir(_TASKS)):
            with suppress(OSError):  # It has ended, or its scheduling is not ours to set.
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, param)

    return restore


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_limit_lock = threading.Lock()
_limit_users = 0
_limit: Any = None


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread while anybody is inside; concurrent users share one limit so that it is undone once.

    Our own threads share the work out better, and BLAS threads that spin on processors others use are slower than none.
    """
    global _limit, _limit_users
    with _limit_lock:
        if _limit_users == 0:
            _limit = _blas().limit(limits=1, user_api="blas")
            _limit.__enter__()
        _limit_users += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limit_users -= 1
            if _limit_users == 0:
                _limit.__exit__(None, None, None)
                _limit = None

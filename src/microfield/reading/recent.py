"""What was used most recently is kept: decoders of parts, coarse levels, chunks that are served."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar


class Held(Protocol):
    """Something that takes memory."""

    @property
    def held(self) -> int:
        """Bytes of memory that it keeps."""
        ...


Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept", bound=Held)


class Recent(Generic[Key, Kept]):
    """The most recently used of some things; each is made by one thread while others that want it wait for it.

    Parameters
    ----------
    create : callable (key) -> Kept
        Makes one. It calls `make_room` as soon as it knows how many bytes that will take.
    capacity : int
        Most of them that are kept.
    most_bytes : int
        Most bytes that they hold together, what is being made aside.
    """

    def __init__(self, create: Callable[[Key], Kept], capacity: int, most_bytes: int) -> None:
        self._create = create
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._entries: OrderedDict[Key, Future[Kept]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Kept:
        """One of them, kept or made now; what making it raises is raised and not kept."""
        with self._lock:
            entry = self._entries.pop(key, None)
            mine = entry is None
            if entry is None:
                entry = Future()
            self._entries[key] = entry
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
        if mine:
            try:
                entry.set_result(self._create(key))
            except BaseException as error:
                with self._lock:
                    if self._entries.get(key) is entry:
                        del self._entries[key]
                entry.set_exception(error)
        return entry.result()

    def make_room(self, needed: int) -> None:
        """Forget the least recently used until ``needed`` more bytes fit."""
        with self._lock:
            held = {key: entry.result().held for key, entry in self._entries.items()
                    if entry.done() and entry.exception() is None}
            total = sum(held.values())
            for key, size in held.items():
                if total + needed <= self._most_bytes:
                    return
                total -= size
                del self._entries[key]

    def clear(self) -> None:
        """Forget everything; what is in use lives on until that ends."""
        with self._lock:
            self._entries.clear()

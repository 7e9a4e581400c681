"""Chunks of a store that were opened, kept for the next read: Zarr forgets a chunk as soon as it has its values."""

from __future__ import annotations

import threading
from collections import OrderedDict

from microfield.format.source import BytesSource
from microfield.image import Layout
from microfield.reading.file import MicrofieldFile, open_file

MOST_BYTES = 128 << 20
"""Values of all chunks that are kept take at most so many bytes once decoded, but for the one used last."""

_Key = tuple[bytes, Layout]


class OpenChunks:
    """The most recently used chunks by their bytes, so that one that was written anew is another one.

    A plane after the other of a chunk that decodes whole then costs one decoding. Safe to use from several threads, which share
    the decoding of a chunk they ask for together.

    Parameters
    ----------
    most_bytes : int
        See `MOST_BYTES`.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._files: OrderedDict[_Key, MicrofieldFile] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, data: bytes, layout: Layout, name: str = "the chunk") -> MicrofieldFile:
        """The chunk that the bytes hold, as a lazy array.

        Raises
        ------
        FormatError
            The bytes are no stream of this layout.
        """
        key = data, layout
        with self._lock:
            f = self._files.pop(key, None)
            if f is None:
                f = open_file(BytesSource(data, name), host=layout)
            self._files[key] = f
            held = sum(one.nbytes for one in self._files.values())
            while held > self._most_bytes and len(self._files) > 1:
                held -= self._files.popitem(last=False)[1].nbytes
            return f

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._files.clear()

"""Reads checkpoints of learned optimisers as flax writes them: MessagePack with arrays as extension type 1.

An array is a MessagePack list of its shape, the name of its type and its bytes (flax.serialization, ``msgpack_serialize``). Nothing
is unpickled, and no more is allocated than the file holds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LARGEST = 1 << 28
"""Most bytes of a checkpoint (256 MiB); those published have some 20 MB."""

DEEPEST = 16
"""Most levels of lists and maps in one another."""

ARRAY = 1
"""Extension type of an array."""

FLOATS = ("float16", "float32", "float64")


def read(path: Path) -> Any:
    """What a checkpoint holds: maps, lists, text, numbers and float32 arrays.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no such checkpoint.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError("too large")
    return unpack(path.read_bytes())


def unpack(data: bytes) -> Any:
    """The one MessagePack value that the bytes hold; ValueError where they do not."""
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise ValueError("bytes are left over")
    return value


class _Reader:
    """A position in bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = memoryview(data), 0

    def take(self, n: int) -> memoryview:
        """The next n bytes."""
        if n > len(self.data) - self.at:
            raise ValueError("cut short")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, code: str) -> Any:
        """The next big-endian number of a `struct` code."""
        return struct.unpack(f">{code}", self.take(struct.calcsize(code)))[0]

    def value(self, depth: int) -> Any:
        """The next value."""
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        kind = self.take(1)[0]
        if kind < 0x80 or kind >= 0xE0:
            return kind if kind < 0x80 else kind - 0x100
        if kind < 0xC0:
            return self._short(kind, depth)
        if kind in _PLAIN:
            return _PLAIN[kind]
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind in _SIZED:
            code, make = _SIZED[kind]
            return make(self, self.number(code), depth)
        if 0xD4 <= kind <= 0xD8:
            return self.extension(1 << (kind - 0xD4), depth)
        raise ValueError("a byte that is no MessagePack")

    def _short(self, kind: int, depth: int) -> Any:
        """A map, a list or text whose length is in its first byte."""
        if kind < 0x90:
            return self.map(kind & 15, depth)
        return self.list(kind & 15, depth) if kind < 0xA0 else self.text(kind & 31, depth)

    def map(self, n: int, depth: int) -> dict[str, Any]:
        """A map of n entries whose keys are text."""
        found: dict[str, Any] = {}
        for _ in range(n):
            key = self.value(depth + 1)
            if not isinstance(key, str):
                raise ValueError("a key that is no text")
            found[key] = self.value(depth + 1)
        return found

    def list(self, n: int, depth: int) -> list[Any]:
        """A list of n values."""
        return [self.value(depth + 1) for _ in range(n)]

    def text(self, n: int, depth: int) -> str:
        """Text of n bytes."""
        del depth
        return bytes(self.take(n)).decode("utf-8")

    def bytes(self, n: int, depth: int) -> memoryview:
        """As many bytes as ``n``."""
        del depth
        return self.take(n)

    def extension(self, n: int, depth: int) -> Any:
        """An array that takes n bytes."""
        kind, inner = self.number("b"), _Reader(self.take(n).tobytes())
        if kind != ARRAY:
            raise ValueError("an extension that is no array")
        described = inner.value(depth + 1)
        if not isinstance(described, list) or len(described) != 3 or described[1] not in FLOATS:
            raise ValueError("an array that is not of floats")
        shape, name, raw = described
        return np.frombuffer(raw, np.dtype(name).newbyteorder("<")).astype(np.float32).reshape(shape)


_PLAIN = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {0xCA: "f", 0xCB: "d", 0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q"}
_SIZED: dict[int, tuple[str, Callable[[_Reader, int, int], Any]]] = {
    0xC4: ("B", _Reader.bytes), 0xC5: ("H", _Reader.bytes), 0xC6: ("I", _Reader.bytes),
    0xC7: ("B", _Reader.extension), 0xC8: ("H", _Reader.extension), 0xC9: ("I", _Reader.extension),
    0xD9: ("B", _Reader.text), 0xDA: ("H", _Reader.text), 0xDB: ("I", _Reader.text),
    0xDC: ("H", _Reader.list), 0xDD: ("I", _Reader.list), 0xDE: ("H", _Reader.map), 0xDF: ("I", _Reader.map),
}

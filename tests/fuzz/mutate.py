"""What is done to a file: to its sections, header, index and flags, always with right checksums in the end."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import cbor2
import numpy as np

from fuzz import corpus
from microfield.coding import varint
from microfield.format.container import Container
from microfield.format.framing import EMBEDDED, INDEXED, MAGIC, SEALED, Sections, frame, frame_shared, sealed
from microfield.format.header import DTYPES, pack
from microfield.format.source import BytesSource
from microfield.image import Layout
from microfield.methods import names

Random = np.random.Generator

EXTREMES = (0, 1, 127, 128, 255)
"""Bytes that lengths, flags and codes like least."""

NUMBERS = (0, 1, 2, 3, 7, 8, 9, 255, 256, 65535, 65536, 10**6, 2**31 - 1, 2**31, 2**40, 2**52, 2**53 - 1)
"""Numbers that extents and counts like least."""


@dataclass
class Opened:
    """A file in pieces, each of which may be changed.

    Attributes
    ----------
    fields : the header map
    shared, parts : sections
    host : layout of a file in the embedded profile, which `data` writes where there is one
    index : bytes in the place of the right index
    front : changes the header's bytes
    """

    fields: dict[Any, Any]
    shared: Sections
    parts: list[Sections]
    host: Layout | None = None
    index: bytes | None = None
    front: Callable[[bytes], bytes] | None = None
    tail: bytes = b""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, data: bytes) -> Opened:
        """The pieces of a file."""
        opened = Container.open(BytesSource(data))
        count = opened.header.n_parts
        fields = cbor2.loads(pack(opened.header, len(frame_shared(opened.shared)), embedded=False))
        return cls(dict(fields), opened.shared, [opened.part(i) for i in range(count)])

    def data(self) -> bytes:
        """The file, every checksum right."""
        several = len(self.parts) > 1
        bodies = [frame(sections) if any(sections) or not several else b"" for sections in self.parts]
        index = varint.encode_deltas([len(b) for b in bodies]) if several else b""
        index = index if self.index is None else self.index
        header = cbor2.dumps(self.fields, canonical=True)
        if self.front is not None:
            header = self.front(header)
        flags = (EMBEDDED | SEALED if self.host else 0) | (INDEXED if index else 0)
        sizes = varint.encode_one(len(header)) + (varint.encode_one(len(index)) if index else b"")
        front = MAGIC + bytes([flags]) + sizes + header + index
        shared = frame_shared(self.shared)
        stored = [sealed(body) for body in bodies if body or not several]
        return sealed(front) + (sealed(shared) if shared else b"") + b"".join(stored) + self.tail


def case(seed: int, number: int) -> tuple[str, bytes, Layout | None, str]:
    """The case of a number: its method, its file, the layout of its host in the embedded profile, and what was done to it."""
    rng = np.random.default_rng((seed, number))
    method = corpus.METHODS[number % len(corpus.METHODS)]
    files = corpus.files_of(method)
    opened = Opened.of(files[int(rng.integers(len(files)))])
    for _ in range(1 + int(rng.random() < 0.3) + int(rng.random() < 0.15)):
        change = CHANGES[int(rng.choice(len(CHANGES), p=SHARES))]
        opened.notes.append(change.__name__)
        change(opened, rng)
    if rng.random() < 0.1:
        _embed(opened)
    return method, opened.data(), opened.host, " ".join(opened.notes)


# -- changes --------------------------------------------------------------------------------------------------------------------


def sections(opened: Opened, rng: Random) -> None:
    """Change bytes of a section, the first of them more often than others."""
    part = int(rng.integers(len(opened.parts)))
    k = int(rng.integers(len(opened.parts[part])))
    changed = list(opened.parts[part])
    changed[k] = _changed(changed[k], rng)
    opened.parts[part] = tuple(changed)


def shared(opened: Opened, rng: Random) -> None:
    """Change bytes of what the parts share."""
    if opened.shared:
        k = int(rng.integers(len(opened.shared)))
        opened.shared = (*opened.shared[:k], _changed(opened.shared[k], rng), *opened.shared[k + 1 :])
        opened.fields[13] = len(frame_shared(opened.shared))


def splice(opened: Opened, rng: Random) -> None:
    """Put a section of another file into this one."""
    method = corpus.METHODS[int(rng.integers(len(corpus.METHODS)))]
    other = Opened.of(corpus.files_of(method)[0])
    opened.parts[int(rng.integers(len(opened.parts)))] = other.parts[0]


def extents(opened: Opened, rng: Random) -> None:
    """Claim another shape."""
    shape = list(opened.fields[3])
    axis = int(rng.integers(len(shape)))
    shape[axis] = int(rng.choice(NUMBERS)) if rng.random() < 0.5 else max(0, shape[axis] + int(rng.integers(-3, 4)))
    opened.fields[3] = shape


def values(opened: Opened, rng: Random) -> None:
    """Claim another type of values."""
    opened.fields[5] = str(rng.choice(list(DTYPES)))


def axes(opened: Opened, rng: Random) -> None:
    """Claim other axes, as many or not."""
    letters = rng.permutation(list("TCZYXS"))[: len(opened.fields[3]) + int(rng.random() < 0.1)]
    opened.fields[4] = "".join(letters.tolist())


def methods(opened: Opened, rng: Random) -> None:
    """Claim another method, which is given sections that it never wrote."""
    opened.fields[1] = str(rng.choice([*names(), "auto", "", "zip"]))


def numbers(opened: Opened, rng: Random) -> None:
    """Claim another version, number of sections, length of what is shared, tile or reference."""
    key = int(rng.choice([2, 10, 11, 12, 13, 14]))
    number = int(rng.choice(NUMBERS))
    claims: dict[int, Any] = {10: [max(1, number % (n + 2)) for n in opened.fields[3]], 11: rng.bytes(len(opened.parts)), 14: True}
    opened.fields[key] = claims.get(key, number)


def words(opened: Opened, rng: Random) -> None:
    """Give names, sizes, units, metadata, displays and whatever else the header may hold."""
    junk: dict[int, Any] = {
        6: [float(rng.normal())] * int(rng.integers(0, 5)), 7: {"Y": "parsec", "Q": ""}, 8: ["é"] * int(rng.integers(0, 5)),
        9: rng.bytes(int(rng.choice([0, 7, 8]))), 15: zlib.compress(b"<OME/>" * int(rng.integers(1, 10**6))),
        16: [[rng.bytes(3), float(rng.normal()), 9.0, None, True]] * int(rng.integers(0, 4)),
        17: zlib.compress(b"a\0" * int(rng.integers(0, 10**6))), 18: ["", *rng.normal(size=int(rng.integers(0, 4))).tolist()],
        19: int(rng.integers(0, 5)), 20: rng.bytes(int(rng.integers(0, 20))), 21: [float(rng.normal())], 22: 1, -1: "x",
    }
    key = int(rng.choice(list(junk)))
    opened.fields[key] = junk[key]


def header_bytes(opened: Opened, rng: Random) -> None:
    """Change bytes of the header itself."""
    state = rng.integers(2**32)
    opened.front = lambda data: _changed(data, np.random.default_rng(int(state)))


def index(opened: Opened, rng: Random) -> None:
    """Another index, or one where none belongs."""
    lengths = [int(rng.choice(NUMBERS)) % 2**51 for _ in opened.parts]
    opened.index = varint.encode_deltas(lengths) if rng.random() < 0.5 else rng.bytes(int(rng.integers(1, 9)))


def number_of_parts(opened: Opened, rng: Random) -> None:
    """Parts that are missing or too many, or many tiny ones."""
    if rng.random() < 0.3:
        opened.fields[10] = [max(1, min(n, 2) if n < 64 else n) for n in opened.fields[3]]
        count = math.prod(-(-n // t) for n, t in zip(opened.fields[3], opened.fields[10], strict=True))
        opened.parts = (opened.parts * count)[: min(count, 200)]
    else:
        opened.parts = opened.parts[1:] or opened.parts * 2


def tail(opened: Opened, rng: Random) -> None:
    """Bytes after the end."""
    opened.tail = rng.bytes(int(rng.integers(1, 9)))


CHANGES = (sections, shared, splice, extents, values, axes, methods, numbers, words, header_bytes, index, number_of_parts, tail)
_WEIGHTS = np.array([80, 4, 4, 8, 4, 3, 4, 6, 6, 3, 3, 3, 1])
SHARES = _WEIGHTS / _WEIGHTS.sum()


def _changed(data: bytes, rng: Random) -> bytes:
    """A few bytes of some data changed, added or removed."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(out) + 1))
        if rng.random() < 0.6:
            at = min(at, int(rng.integers(24)))
        kind = rng.random()
        if kind < 0.35 and at < len(out):
            out[at] = int(rng.integers(256))
        elif kind < 0.55 and at < len(out):
            out[at] = int(rng.choice(EXTREMES))
        elif kind < 0.7 and at < len(out):
            out[at] ^= 1 << int(rng.integers(8))
        elif kind < 0.8:
            out[at:at] = varint.encode_one(int(rng.choice(NUMBERS)))
        elif kind < 0.88:
            del out[at : at + int(rng.integers(1, 40))]
        elif kind < 0.94:
            out[at:at] = out[at : at + int(rng.integers(1, 40))]
        else:
            del out[at:]
    return bytes(out)


def _embed(opened: Opened) -> None:
    """The same in the embedded profile, with the layout that the header claims as the host's, where that can be one."""
    try:
        shape = tuple(int(n) for n in opened.fields[3])
        letters = opened.fields.get(4, "TCZYX"[max(0, 5 - len(shape)) :])
        host = Layout(shape, letters, np.dtype(DTYPES[opened.fields.get(5, "u2")]))
    except (KeyError, TypeError, ValueError):
        return
    if len(letters) == len(shape) and min(shape) > 0:
        opened.host = replace(host)
        opened.fields = {key: value for key, value in opened.fields.items() if key in (1, 2, 10, 11, 12, 13)}

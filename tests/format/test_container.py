"""The file layout. ``python tests/format/test_container.py`` writes the vectors anew after a wanted change of the format."""

from __future__ import annotations

import json
import pickle
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield.coding import varint
from microfield.errors import FormatError, InputError
from microfield.format import framing
from microfield.format import header as header_module
from microfield.format.assembler import file_size, write
from microfield.format.container import Container
from microfield.format.framing import Sections, part_size
from microfield.format.header import Checksum, Header, checksum, describe
from microfield.format.source import BytesSource, Source, open_source
from microfield.image import Layout

VECTORS = Path(__file__).parent.parent / "vectors" / "container.json"
SEALED_VECTORS = VECTORS.with_name("container-embedded.json")
FORMAT = Path(__file__).parent.parent.parent / "docs" / "format.md"


def layout_of(shape: tuple[int, ...], axes: str, dtype: str = "uint16") -> Layout:
    return Layout(shape, axes, np.dtype(dtype))


PLAIN = Header("field", 1, layout_of((60, 1024, 1000), "ZYX"), {"Z": 0.2901, "Y": 0.06501, "X": 0.06502},
               checksum=bytes(range(8)))
TILED = Header("siren", 2, layout_of((2, 5, 7, 3), "CYXS", "uint8"), {"Y": 0.1}, {"Y": "nanometer"}, ("DAPI", "aktin é"),
               b"12345678", (1, 3, 7, 3), (None, 0, None, 1), True, "<OME/>", 2)
PARTS = [(b"ab", b"cde"), (b"", b""), (b"", b"x" * 200), (b"yyy", b"")]


@st.composite
def files(draw: st.DrawFn) -> tuple[Header, list[Sections], Sections]:
    axes = draw(st.sampled_from(["YX", "XY", "ZYX", "YXS", "CZYX", "TYX", "TCZYX", "TZCYX"]))
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=len(axes), max_size=len(axes))))
    tile = tuple(draw(st.integers(max(1, n // 2), n + 2)) for n in shape) if draw(st.booleans()) else None
    dtype = draw(st.sampled_from(sorted(header_module.DTYPES.values())))
    steps = {a: draw(st.floats(1e-9, 1e9)) for a in axes if a in "TZYX" and draw(st.booleans())}
    units = {a: draw(st.sampled_from(["micrometer", "nanometer", "second", "pixel"])) for a in steps if draw(st.booleans())}
    channels = shape[axes.index("C")] if "C" in axes else 1
    names = tuple(draw(st.lists(st.text(st.characters(codec="utf-8"), max_size=6), min_size=channels,
                                max_size=channels))) if draw(st.booleans()) else ()
    count = draw(st.integers(1, 4))
    header = Header(draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)), draw(st.integers(1, 300)),
                    layout_of(shape, axes, dtype), steps, units, names, draw(st.sampled_from([b"", b"checksum"])), tile,
                    None, draw(st.booleans()), draw(st.none() | st.text(st.characters(codec="utf-8"), max_size=300)), count)
    n = header.n_parts
    if draw(st.booleans()):
        references = tuple(draw(st.none() | st.integers(0, i - 1)) if i else None for i in range(n))
        header = replace(header, references=references)
    seed = draw(st.integers(0, 2**32))
    shared = tuple(draw(st.lists(st.binary(max_size=20), max_size=3)))
    return header, random_parts(seed, n, count), shared


def random_parts(seed: int, n: int, count: int) -> list[Sections]:
    rng = np.random.default_rng(seed)
    lengths = rng.choice([0, 0, 0, 1, 5, 130, 300], (n, count))
    return [tuple(rng.bytes(int(k)) for k in row) for row in lengths]


@settings(deadline=None)
@given(files(), st.booleans())
def test_round_trip(case: tuple[Header, list[Sections], Sections], embedded: bool) -> None:
    header, parts, shared = case
    data = write(header, parts, shared, embedded)
    assert len(data) == file_size(header, [part_size(p) for p in parts], shared, embedded)
    opened = Container.open(BytesSource(data), header.layout if embedded else None)
    expected = header if not embedded else replace(header, voxel_size={}, units={}, channel_names=(), checksum=b"",
                                                   metadata=None, experimental=False)
    assert opened.header == expected
    assert opened.shared == shared
    assert opened.nbytes == len(data)
    opened.verify()
    again = pickle.loads(pickle.dumps(opened))
    for i, sections in enumerate(parts):
        assert opened.part(i) == again.part(i) == sections
        start, stop = opened.part_range(i)
        assert stop - start in (0, part_size(sections))
        assert header.part_layout(i) == opened.part_layout(i)
    for wrong in (-1, len(parts)):
        with pytest.raises(IndexError):
            opened.part(wrong)


def test_boxes_tile_the_array() -> None:
    assert TILED.grid == (2, 2, 1, 1)
    assert TILED.n_parts == 4
    assert PLAIN.grid == (1, 1, 1)
    count = np.zeros(TILED.layout.shape, int)
    for i in range(TILED.n_parts):
        box = TILED.part_box(i)
        count[box] += 1
        assert count[box].shape == TILED.part_layout(i).shape
    assert (count == 1).all()
    assert TILED.part_box(1) == (slice(0, 1), slice(3, 5), slice(0, 7), slice(0, 3))


def test_overhead() -> None:
    assert len(write(PLAIN, [(b"",)])) <= 96
    assert len(write(PLAIN, [(b"x" * 1000,)])) - 1000 <= 96
    assert file_size(PLAIN, [part_size((b"",))]) <= 96
    assert len(write(PLAIN, [(b"x" * 1000,)], embedded=True)) - 1000 <= 24
    whole = replace(PLAIN, sections=2)
    assert len(write(whole, [(b"a", b"b")])) - len(write(PLAIN, [(b"ab",)])) == 3


def test_empty_parts_cost_a_byte() -> None:
    header = Header("field", 1, layout_of((100, 1000), "YX"), tile=(10, 10))
    assert len(write(header, [(b"",)] * 1000)) <= 1060
    assert Container.open(BytesSource(write(header, [(b"",)] * 1000))).part(999) == (b"",)


def test_the_header_is_put_in_order() -> None:
    header = Header("m", 1, layout_of((4, 5), "YX"), {"X": 1, "Z": 2.0}, {"Z": "mile"}, tile=(9, 9), references=(None,))
    assert header.voxel_size == {"X": 1.0}
    assert header.units == {"X": "micrometer"}
    assert header.tile is None
    assert header.references is None
    assert Header("m", 1, layout_of((2, 4, 5), "TYX"), {"T": 1.0}).units == {"T": "second"}


@pytest.mark.parametrize("change", [
    {"checksum": b"123"}, {"voxel_size": {"Z": 0.0}}, {"voxel_size": {"Z": float("nan")}}, {"channel_names": ("a", "b")},
    {"references": (0,)}, {"tile": (1, 1024, 1000), "references": (None, 0)}, {"sections": 0}, {"method": ""},
    {"bitstream_version": 0}, {"layout": layout_of((2**20, 2**20, 2**20), "ZYX")}, {"layout": layout_of((3, 0), "YX")},
    {"layout": layout_of((3, 3), "QX")}, {"layout": layout_of((3, 3), "YX", "complex64")},
])
def test_what_no_file_can_hold(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(PLAIN, **change)


def test_wrong_numbers_of_parts_and_sections() -> None:
    for parts in ([], [(b"",), (b"",)], [(b"", b"")]):
        with pytest.raises(ValueError, match="1 parts of 1 sections"):
            write(PLAIN, parts)


def test_checksum() -> None:
    values = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    total = Checksum()
    for plane in values:
        total.update(plane)
    assert total.digest() == checksum([values]) == checksum([values.astype(">u2")]) == checksum(iter(values))
    assert checksum([np.asfortranarray(values)]) == total.digest()
    assert total.digest().hex() == "c38b23d2d119154f"


# -- damage ----------------------------------------------------------------------------------------------------------


def read_all(data: bytes, host: Layout | None = None) -> None:
    Container.open(open_source(data), host).verify()


def samples() -> Iterator[tuple[bytes, Layout | None]]:
    for embedded in (False, True):
        host = TILED.layout if embedded else None
        yield write(TILED, PARTS, (b"shared", b"", b"tables"), embedded), host
        yield write(replace(PLAIN, sections=3), [(b"abc", b"", b"d")], (), embedded), PLAIN.layout if embedded else None


@pytest.mark.parametrize("sample", list(samples()))
def test_every_cut_and_every_flip_is_refused(sample: tuple[bytes, Layout | None]) -> None:
    data, host = sample
    read_all(data, host)
    for cut in range(len(data)):
        with pytest.raises(FormatError):
            read_all(data[:cut], host)
    for at in range(len(data)):
        for bit in (1, 0x10, 0x80):
            damaged = bytearray(data)
            damaged[at] ^= bit
            with pytest.raises(FormatError):
                read_all(bytes(damaged), host)
    with pytest.raises(FormatError):
        read_all(data + b"\0", host)


@settings(deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes(tail: bytes, embedded: bool) -> None:
    host = PLAIN.layout if embedded else None
    for data in (tail, b"\x8dMF" + tail, seal(tail, embedded)):
        try:
            read_all(data, host)
        except FormatError as error:
            assert "\n" not in str(error)  # noqa: PT017


def seal(header: bytes, embedded: bool = False, index: bytes | None = None, tail: bytes = b"\0\0\0\0") -> bytes:
    """A file around any header bytes, with right checksums."""
    flags = (1 if embedded else 0) | (0 if index is None else 2)
    sizes = bytes([len(header)]) if len(header) < 128 else bytes([len(header) & 127 | 128, len(header) >> 7])
    front = b"\x8dMF" + bytes([flags]) + sizes + (b"" if index is None else bytes([len(index)])) + header + (index or b"")
    body = front if embedded else front + zlib.crc32(front).to_bytes(4, "little")
    return front + zlib.crc32(front).to_bytes(4, "little") if embedded else body + tail


GOOD: dict[Any, Any] = {1: "m", 3: [4, 5]}


@pytest.mark.parametrize("change", [
    {1: 5}, {1: ""}, {1: None}, {2: 1}, {2: True}, {2: -1}, {2: 0}, {3: None}, {3: []}, {3: [4]}, {3: [0, 5]}, {3: [4, -1]},
    {3: [4, True]}, {3: [2**40, 2**40]}, {3: [2**60, 5]}, {4: "ZX"}, {4: "QX"}, {5: "u3"}, {5: "u2"}, {6: [1.0]}, {6: [1, 1]},
    {6: [1.0, float("inf")]}, {6: [1.0, float("nan")]}, {6: [1.0, 0.0]}, {7: {"Y": "mile"}}, {6: [1.0, None], 7: {"X": "m"}},
    {7: {1: "m"}}, {8: "DAPI"}, {8: ["a", "b"]}, {9: b"1"}, {9: "12345678"}, {10: [4, 5]}, {10: [0, 5]}, {10: [2]}, {10: [2, 9]},
    {10: [1, 1]}, {11: b"\1"}, {11: b"\0\0"}, {12: 1}, {12: 0}, {12: 2**40}, {12: 70}, {13: 0}, {13: 2**50}, {14: False}, {14: 1},
    {15: b"x"}, {15: zlib.compress(b"x")[:-1]}, {15: zlib.compress(b"\xff")}, {16: 1}, {-1: 1}, {"a": 1}, {1.5: 1},
    {3: [0, 5], 10: [1, 1], 11: b"\0"}, {3: [2**52, 2**52, 2**52], 10: [1, 1, 1], 11: b"\0"},
])
def test_bad_headers(change: dict[Any, Any]) -> None:
    read_all(seal(cbor2.dumps(GOOD, canonical=True)))
    fields = {k: v for k, v in (GOOD | change).items() if v is not None}
    with pytest.raises(FormatError) as caught:
        read_all(seal(cbor2.dumps(fields, canonical=True)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [
    {4: "YX"}, {6: [None, None]}, {6: [1.0, None], 7: {}}, {6: [1.0, None], 7: {"Y": "micrometer"}}, {7: {}}, {8: []}, {9: b""},
    {10: [2, 5], 11: b"\0\0"},
])
def test_fields_that_say_what_nothing_says(change: dict[Any, Any]) -> None:
    """What is left out where it is the default is refused where it is written all the same."""
    tiled = 10 in change
    data = seal(cbor2.dumps(GOOD | change, canonical=True), index=b"\0\0" if tiled else None, tail=b"" if tiled else b"\0\0\0\0")
    with pytest.raises(FormatError):
        Container.open(BytesSource(data))


@pytest.mark.parametrize("filling", [b"\x80", b"\xa0", b"\x60", b"\x40", b"\0", b"\xf6"])
def test_a_header_of_nothing_but_entries_is_refused_before_it_takes_memory(filling: bytes) -> None:
    count = 1 << 20
    header = b"\xa2\x01\x61m\x08\x9a" + count.to_bytes(4, "big") + filling * count
    front = b"\x8dMF\0" + varint.encode_one(len(header)) + header
    data = front + zlib.crc32(front).to_bytes(4, "little") + bytes(4)
    tracemalloc.start()
    with pytest.raises(FormatError, match="entries"):
        Container.open(BytesSource(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(data)


class Endless(Source):
    """A source that says it is a petabyte, and gives zeros for what it does not have."""

    name = "endless"

    def __init__(self, start: bytes) -> None:
        self.start, self.most = start, 0

    @property
    def size(self) -> int:
        return 1 << 50

    def read(self, start: int, stop: int) -> bytes:
        self.most = max(self.most, stop - start)
        assert self.most < 1 << 29
        return self.start[start:stop].ljust(stop - start, b"\0")


@pytest.mark.parametrize("claim", ["index", "shared", "header"])
def test_a_source_of_any_size_is_not_fetched(claim: str) -> None:
    header = cbor2.dumps(GOOD | ({13: 2**50} if claim == "shared" else {10: [2, 5]} if claim == "index" else {}), canonical=True)
    sizes = [len(header) if claim != "header" else 2**40, *([2**40] if claim == "index" else [])]
    front = b"\x8dMF" + bytes([2 if claim == "index" else 0]) + b"".join(map(varint.encode_one, sizes)) + header
    source = Endless(front + zlib.crc32(front).to_bytes(4, "little"))
    with pytest.raises(FormatError):
        Container.open(source)
    assert source.most <= 1 << 20


def test_a_writer_refuses_as_many_entries() -> None:
    wide = Header("m", 1, layout_of((300_000, 2, 2), "CYX"), channel_names=("",) * 300_000)
    with pytest.raises(InputError, match="channels or planes"):
        write(wide, [(b"",)])


def test_labels_of_millions_of_planes_are_refused_before_they_are_a_list() -> None:
    labels = zlib.compress(bytes(15 << 20), 9)
    header = cbor2.dumps({1: "m", 3: [(15 << 20) + 1, 1, 1], 17: labels}, canonical=True)
    front = b"\x8dMF\0" + varint.encode_one(len(header)) + header
    tracemalloc.start()
    with pytest.raises(FormatError, match="planes"):
        Container.open(BytesSource(front + zlib.crc32(front).to_bytes(4, "little") + bytes(4)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_metadata_are_unpacked_when_asked_for() -> None:
    header = replace(PLAIN, metadata="x" * (60 << 20))
    data = write(header, [(b"",)])
    assert len(data) < 1 << 18
    del header
    tracemalloc.start()
    opened = Container.open(BytesSource(data))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    text = opened.header.metadata
    tracemalloc.stop()
    assert text == "x" * (60 << 20)
    damaged = Container.open(BytesSource(seal(cbor2.dumps(GOOD | {15: b"x"}, canonical=True))))
    with pytest.raises(FormatError, match="metadata"):
        _ = damaged.header.metadata
    with pytest.raises(FormatError, match="metadata"):
        damaged.verify()


@pytest.mark.parametrize("text", [
    "", "00", "80", "a10161", "a2016161016162", "bf01616dff", "a201616d0382041805", "a2038204050161 6d", "c100", "d81c81d81d00",
    "c5821b7fffffffffffffff03", "d82c00", "9affffffff", "5b7fffffffffffffff", "8181818181818181818181818100", "f7",
    "a201616d03820405ff", "a201c24101 03820405", "bbffffffffffffffff",
])
def test_bad_cbor(text: str) -> None:
    with pytest.raises(FormatError):
        read_all(seal(bytes.fromhex(text)))


def test_bad_indexes() -> None:
    header = cbor2.dumps(GOOD | {10: [2, 5]}, canonical=True)
    empty = b"\0\0"
    read_all(seal(header, index=empty, tail=b""))
    for index, tail in ((None, b"\0\0\0\0"), (b"", b""), (b"\0", b""), (b"\0\0\0", b""), (b"\2\2", b""), (b"\1\0", b""),
                        (b"\xff\xff\xff\xff\xff\xff\xff\x07\0", b""), (empty, b"x")):
        with pytest.raises(FormatError):
            read_all(seal(header, index=index, tail=tail))
    with pytest.raises(FormatError):
        read_all(seal(cbor2.dumps(GOOD, canonical=True), index=empty, tail=b""))
    huge = cbor2.dumps({1: "m", 3: [2**26, 2**26], 10: [1, 1]}, canonical=True)
    with pytest.raises(FormatError, match="list of numbers"):
        read_all(seal(huge, index=empty, tail=b""))


def test_a_metadata_bomb_is_refused() -> None:
    header = cbor2.dumps(GOOD | {15: zlib.compress(bytes(header_module.METADATA_LIMIT + 1), 9)}, canonical=True)
    size = len(header)
    front = b"\x8dMF\0" + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + header
    with pytest.raises(FormatError, match="metadata"):
        read_all(front + zlib.crc32(front).to_bytes(4, "little") + b"\0\0\0\0")


def test_what_else_is_refused() -> None:
    data = write(PLAIN, [(b"x",)])
    with pytest.raises(FormatError, match="pickle"):
        read_all(pickle.dumps({"a": [1.5]}, protocol=2))
    with pytest.raises(FormatError, match="update microfield"):
        read_all(data[:3] + b"\x10" + data[4:])
    with pytest.raises(FormatError, match="update microfield"):
        read_all(data[:3] + b"\x08" + data[4:])
    with pytest.raises(FormatError, match="is empty"):
        read_all(b"")
    with pytest.raises(FormatError, match="not a microfield file"):
        read_all(b"II*\0" + bytes(100))
    with pytest.raises(FormatError, match="embedded"):
        read_all(write(PLAIN, [(b"x",)], embedded=True))
    read_all(data, PLAIN.layout)
    with pytest.raises(FormatError, match="shape"):
        read_all(data, layout_of((60, 1024, 1001), "ZYX"))


class Counting(BytesSource):
    reads = 0

    def read(self, start: int, stop: int) -> bytes:
        self.reads += 1
        return super().read(start, stop)


@pytest.mark.parametrize(("n", "reads"), [(20, 1), (40_000, 2)])
def test_opening_takes_one_or_two_reads(n: int, reads: int) -> None:
    header = Header("field", 1, layout_of((n, 4), "YX"), tile=(1, 4))
    rng = np.random.default_rng(0)
    source = Counting(write(header, [(rng.bytes(int(k)),) for k in rng.integers(0, 90, n)]))
    opened = Container.open(source)
    assert source.reads == reads
    opened.part(n - 1)
    assert source.reads == reads + 1


# -- the documents ---------------------------------------------------------------------------------------------------


def test_the_document_holds_the_table() -> None:
    assert describe() in FORMAT.read_text(encoding="utf-8")


def make_vectors() -> list[dict[str, Any]]:
    """The cases of ``vectors/container.json``: no vendor metadata, whose compressed bytes depend on the zlib library."""
    tiled = replace(TILED, metadata=None)
    cases = []
    for name, header, parts, shared, embedded in (
        ("one part", PLAIN, [(b"payload",)], (), False),
        ("one part, two sections, shared sections", replace(PLAIN, sections=2), [(b"abc", b"de")], (b"s", b"t"), False),
        ("tiles, references, names", tiled, PARTS, (b"shared",), False),
        ("embedded", PLAIN, [(b"payload",)], (), True),
        ("embedded, tiles", tiled, PARTS, (b"shared",), True),
    ):
        cases.append({
            "name": name, "embedded": embedded, "method": header.method, "bitstream_version": header.bitstream_version,
            "shape": list(header.layout.shape), "axes": header.layout.axes, "dtype": header.layout.dtype.name,
            "voxel_size": header.voxel_size, "units": header.units, "channel_names": list(header.channel_names),
            "checksum": header.checksum.hex(), "tile": header.tile and list(header.tile),
            "references": header.references and list(header.references), "experimental": header.experimental,
            "shared": [s.hex() for s in shared], "parts": [[s.hex() for s in p] for p in parts],
            "hex": write(header, parts, shared, embedded).hex(),
        })
    return cases


def test_vectors() -> None:
    """Embedded streams of `VECTORS` have one checksum at their very end; they are no longer written, and stay readable."""
    kept = json.loads(VECTORS.read_text(encoding="utf-8"))
    made = json.loads(json.dumps(make_vectors()))
    assert [case for case in kept if not case["embedded"]] == [case for case in made if not case["embedded"]]
    sealed = json.loads(SEALED_VECTORS.read_text(encoding="utf-8"))
    assert sealed == [case for case in made if case["embedded"]]
    for case in [*kept, *sealed]:
        data = bytes.fromhex(case["hex"])
        host = layout_of(tuple(case["shape"]), case["axes"], case["dtype"]) if case["embedded"] else None
        opened = Container.open(BytesSource(data), host)
        header = opened.header
        assert [header.method, header.bitstream_version, list(header.layout.shape), header.layout.axes] == [
            case["method"], case["bitstream_version"], case["shape"], case["axes"]]
        assert [[s.hex() for s in opened.part(i)] for i in range(header.n_parts)] == case["parts"]
        assert [s.hex() for s in opened.shared] == case["shared"]
        assert plain_read(data, case["shape"]) == (case["method"], case["shared"], case["parts"])


def plain_read(data: bytes, shape: list[int]) -> tuple[str, list[str], list[list[str]]]:
    """A reader written from the document alone: nothing of microfield, nothing checked but the checksums."""
    at = 4

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def check(begin: int) -> None:
        nonlocal at
        assert zlib.crc32(data[begin:at]) == int.from_bytes(data[at : at + 4], "little")
        at += 4

    def sections(count: int, end: int) -> list[str]:
        nonlocal at
        lengths = [number() for _ in range(count - 1)]
        out = []
        for length in [*lengths, end - at - sum(lengths)]:
            out.append(data[at : at + length].hex())
            at += length
        return out

    assert data[:3] == b"\x8dMF"
    assert data[3] >> 4 == 0
    unsealed, indexed = data[3] & 5 == 1, data[3] & 2
    size = number()
    if indexed:
        number()
    header = cbor2.loads(data[at : at + size])
    at += size
    n = 1
    for extent, tile in zip(shape, header.get(10, shape), strict=True):
        n *= -(-extent // tile)
    lengths, last = [], 0
    for _ in range(n if indexed else 0):
        coded = number()
        last += coded // 2 if coded % 2 == 0 else -(coded + 1) // 2
        lengths.append(last)
    if not unsealed:
        check(0)
    shared: list[str] = []
    if 13 in header:
        begin, end = at, at + header[13]
        shared = sections(number(), end)
        if not unsealed:
            check(begin)
    parts = []
    for length in lengths if indexed else [len(data) - 4 - at]:
        if indexed and length == 0:
            parts.append([""] * header.get(12, 1))
            continue
        begin = at
        parts.append(sections(header.get(12, 1), at + length))
        if not unsealed:
            check(begin)
    if unsealed:
        check(0)
    assert at == len(data)
    return header[1], shared, parts


def test_limits_are_the_documented_ones() -> None:
    assert framing.HEADER_LIMIT == 16 << 20
    assert header_module.METADATA_LIMIT == 64 << 20


if __name__ == "__main__":
    text = ",\n".join(json.dumps(case, ensure_ascii=False) for case in make_vectors() if case["embedded"])
    SEALED_VECTORS.write_text(f"[\n{text}\n]\n", encoding="utf-8")

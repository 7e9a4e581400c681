"""Header fields 16 to 19. ``python tests/format/test_display_fields.py`` writes their vectors anew after a wanted change.

The vectors hold no deflated bytes of a real lookup table or of labels but as they were written: other zlib libraries may deflate
otherwise, so the vectors are read, and what is written is read back.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings

from helpers.displays import sized_displays
from microfield.coding import varint
from microfield.display import Calibration, ChannelDisplay, Display
from microfield.errors import FormatError, InputError
from microfield.format.assembler import write
from microfield.format.container import Container
from microfield.format.header import Header
from microfield.format.source import BytesSource
from microfield.image import Layout

VECTORS = Path(__file__).parent.parent / "vectors" / "container-display.json"
RAMP = np.arange(256)
FIRE = np.stack([np.clip(2 * RAMP, 0, 255), np.clip(2 * RAMP - 255, 0, 255), RAMP]).astype(np.uint8)
PLAIN = Header("field", 1, Layout((2, 3, 4, 5), "TCYX", np.dtype("uint16")), checksum=bytes(8))

CASES = {
    "colours and ranges": Display((ChannelDisplay((255, 0, 0), (0.0, 4095.0)), ChannelDisplay((0, 255, 0)), ChannelDisplay())),
    "hidden, table, mode": Display((ChannelDisplay(hidden=True), ChannelDisplay(range=(-1.5, 2.25)), ChannelDisplay.of_table(FIRE)),
                                   mode="grayscale"),
    "labels": Display(plane_labels=("a", "", "µ\nsecond line", "", "", "f")),
    "calibration": Display(calibration=Calibration((-1024.0, 1.0), "Hounsfield")),
}


def opened(data: bytes) -> Display:
    return Container.open(BytesSource(data)).header.display


@pytest.mark.parametrize("case", CASES)
def test_round_trip(case: str) -> None:
    data = write(replace(PLAIN, display=CASES[case]), [(b"x",)])
    assert opened(data) == CASES[case]
    assert Container.open(BytesSource(data)).header == replace(PLAIN, display=CASES[case])
    embedded = write(replace(PLAIN, display=CASES[case]), [(b"x",)], embedded=True)
    assert embedded == write(PLAIN, [(b"x",)], embedded=True)


@settings(deadline=None, max_examples=60)
@given(sized_displays())
def test_any_display_comes_back(case: tuple[dict[str, int], Display]) -> None:
    sizes, display = case
    header = Header("field", 1, Layout(tuple(sizes.values()), "".join(sizes), np.dtype("uint16")), display=display)
    data = write(header, [(b"x",)])
    assert Container.open(BytesSource(data)).header == header


def test_what_it_costs() -> None:
    plain = len(write(PLAIN, [(b"x",)]))
    assert len(write(replace(PLAIN, display=Display((ChannelDisplay(),) * 3, ("",) * 6)), [(b"x",)])) == plain
    cost = {case: len(write(replace(PLAIN, display=display), [(b"x",)])) - plain for case, display in CASES.items()}
    assert cost["colours and ranges"] <= 23
    assert cost["hidden, table, mode"] <= 100
    assert cost["calibration"] <= 22


@pytest.mark.parametrize("change", [
    {16: []}, {16: [[]] * 3}, {16: [[b"\0\0\0"]]}, {16: [[b"\0\0"], [], []]}, {16: [[None], [], []]}, {16: [[None, 1.0], [], []]},
    {16: [[None, 2.0, 1.0], [], []]}, {16: [[None, None, None, None, False], [], []]}, {16: [[None, None, None, b"x"], [], []]},
    {16: [[None, None, None, zlib.compress(bytes(767))], [], []]},
    {16: [[None, None, None, zlib.compress(bytes(1 << 20))], [], []]},
    {16: [[None, None, None, bytes(4000)], [], []]}, {16: [[None, float("nan"), 1.0], [], []]}, {16: [[1], [], []]},
    {16: [[b"abc", None, None, None, True, True], [], []]}, {16: "abc"},
    {17: zlib.compress(b"a\0b")}, {17: zlib.compress(bytes(5))}, {17: zlib.compress(b"a\0b\0c\0d\0e\0\xff")}, {17: b"abc"},
    {18: []}, {18: ["mm"]}, {18: ["mm", 1.0]}, {18: [1.0, 1.0]}, {18: ["mm", 1.0, float("inf")]}, {18: ["mm", *[1.0] * 10]},
    {19: 0}, {19: 4}, {19: "composite"},
])
def test_what_is_no_display(change: dict[int, Any]) -> None:
    header = {1: "field", 3: [2, 3, 4, 5], 4: "TCYX"}
    for fields, fine in ((header, True), (header | change, False)):
        packed = cbor2.dumps(fields, canonical=True)
        front = b"\x8dMF\0" + varint.encode_one(len(packed)) + packed
        data = front + zlib.crc32(front).to_bytes(4, "little") + bytes(4)
        if fine:
            assert not opened(data)
            continue
        with pytest.raises(FormatError) as caught:
            opened(data)
        assert "\n" not in str(caught.value)


def test_tables_are_counted_before_they_are_unpacked() -> None:
    many = Layout((1025, 1, 1), "CYX", np.dtype("uint8"))
    shown = Display((ChannelDisplay.of_table(FIRE),) * 1025)
    with pytest.raises(InputError, match="1025 channels have lookup tables"):
        write(replace(PLAIN, layout=many, display=shown), [(b"x",)])
    entry = [None, None, None, zlib.compress(bytes(768), 9)]
    packed = cbor2.dumps({1: "field", 3: [1025, 1, 1], 4: "CYX", 5: "u1", 16: [entry] * 1025}, canonical=True)
    front = b"\x8dMF\0" + varint.encode_one(len(packed)) + packed
    with pytest.raises(FormatError, match="more than 1024 lookup tables"):
        opened(front + zlib.crc32(front).to_bytes(4, "little") + bytes(4))


def test_what_no_header_holds() -> None:
    for wrong in (Display((ChannelDisplay((1, 2, 3)),)), Display(plane_labels=("a",))):
        with pytest.raises(InputError, match="do not fit an array of axes TCYX"):
            replace(PLAIN, display=wrong)
    single = Layout((4, 5), "YX", np.dtype("uint16"))
    with pytest.raises(InputError):
        replace(PLAIN, layout=single, display=Display(mode="composite"))


def vector(name: str, display: Display) -> dict[str, Any]:
    return {
        "name": name,
        "channels": [{"colour": c.colour and list(c.colour), "range": c.range and list(c.range), "hidden": c.hidden,
                      "table": c.table and c.table.hex()} for c in display.channels],
        "plane_labels": list(display.plane_labels), "mode": display.mode,
        "calibration": display.calibration and [display.calibration.unit, *display.calibration.coefficients],
    }


def test_vectors() -> None:
    kept = json.loads(VECTORS.read_text(encoding="utf-8"))
    assert [case["name"] for case in kept] == list(CASES)
    for case in kept:
        display = opened(bytes.fromhex(case.pop("hex")))
        assert json.loads(json.dumps(vector(case["name"], display))) == case
        assert display == CASES[case["name"]]


if __name__ == "__main__":
    made = [vector(name, d) | {"hex": write(replace(PLAIN, display=d), [(b"payload",)]).hex()} for name, d in CASES.items()]
    VECTORS.write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in made) + "\n]\n", encoding="utf-8")

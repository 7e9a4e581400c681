"""Header field 22. ``python tests/format/test_acquisition_field.py`` writes its vectors anew after a wanted change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.meaningful import TAKEN
from microfield.acquisition import Acquisition
from microfield.errors import FormatError
from microfield.format import cbor
from microfield.format.assembler import write
from microfield.format.container import Container
from microfield.format.header import Header, pack, unpack
from microfield.format.source import BytesSource
from microfield.image import Layout

VECTORS = Path(__file__).parent.parent / "vectors" / "container-acquisition.json"
PLAIN = Header("field", 1, Layout((3, 4, 5), "ZYX", np.dtype("uint16")), checksum=bytes(8))
CASES = {"everything": TAKEN, "date": Acquisition("2024-05-06"), "lens": Acquisition(aperture=1.4),
         "height": Acquisition(position={"Z": -3.0})}


@pytest.mark.parametrize("case", CASES)
def test_files_once_written_say_the_same(case: str) -> None:
    vector = next(v for v in json.loads(VECTORS.read_text(encoding="utf-8")) if v["case"] == case)
    data = bytes.fromhex(vector["hex"])
    header = Container.open(BytesSource(data)).header
    assert header.acquisition == CASES[case] == Acquisition.from_dict(vector["acquisition"])
    assert write(replace(PLAIN, acquisition=CASES[case]), [(b"x",)]) == data
    assert write(replace(PLAIN, acquisition=CASES[case]), [(b"x",)], embedded=True) == write(PLAIN, [(b"x",)], embedded=True)


@pytest.mark.parametrize("value", [[], [None], ["a", None], "a", [1], [None, None, -1.0], [None] * 4 + [float("nan")], ["x" * 201]])
def test_what_breaks_a_rule_is_refused(value: object) -> None:
    fields = cbor.load(pack(PLAIN, 0, False)) | {22: value}
    with pytest.raises(FormatError):
        unpack(cbor.dump(fields), None)


def make_vectors() -> str:
    """The vectors as text."""
    rows = [{"case": case, "acquisition": taken.as_dict(), "hex": write(replace(PLAIN, acquisition=taken), [(b"x",)]).hex()}
            for case, taken in CASES.items()]
    return "[" + ",\n ".join(json.dumps(row, ensure_ascii=False) for row in rows) + "]\n"


if __name__ == "__main__":
    VECTORS.write_text(make_vectors(), encoding="utf-8")

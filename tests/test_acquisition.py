"""When, where and with which lens: through the header, OME-XML, dictionaries, selections, xarray, bioio's plugins and `info`."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microfield as mf
from helpers.meaningful import TAKEN
from microfield.acquisition import Acquisition
from microfield.cli import main
from microfield.errors import FormatError, InputError
from microfield.format.acquisition_field import are_facts, pack_acquisition, unpack_acquisition
from microfield.image import Image
from microfield.io.ome_acquisition import read_acquisition, with_acquisition
from microfield.io.vendor import _acquisition

LETTERS = st.characters(exclude_categories=["Cs", "Cc"])
TEXTS = st.one_of(st.none(), st.text(LETTERS, min_size=1, max_size=60).map(str.strip).filter(bool))
POSITIVE = st.one_of(st.none(), st.floats(1e-3, 1e3))
PLACES = st.dictionaries(st.sampled_from("XYZ"), st.floats(-1e6, 1e6))
ACQUISITIONS = st.builds(Acquisition, TEXTS, TEXTS, POSITIVE, POSITIVE, PLACES)
VALUES = np.zeros((4, 8, 8), np.uint8) + np.arange(8, dtype=np.uint8)
IMAGE = Image(VALUES, "ZYX", {"Z": 0.5, "Y": 0.25, "X": 0.25}, dict.fromkeys("ZYX", "micrometer"), acquisition=TAKEN)


@given(ACQUISITIONS)
def test_what_is_known_comes_back_from_every_form(taken: Acquisition) -> None:
    packed = pack_acquisition(taken)
    assert packed is None or are_facts(packed)
    assert unpack_acquisition(packed) == taken == Acquisition.from_dict(taken.as_dict())
    assert bool(taken) == bool(taken.as_dict())
    root = ET.fromstring(with_acquisition('<OME><Image ID="Image:0"><Pixels SizeX="1"></Pixels></Image></OME>', taken))
    image = next(e for e in root if e.tag == "Image")
    found = read_acquisition(root, image)
    assert (found.magnification, found.aperture, found.position) == (taken.magnification, taken.aperture, taken.position)
    assert found.objective == taken.objective


def test_a_field_that_breaks_the_format_is_refused() -> None:
    assert not any(map(are_facts, ([], [None], ["a", None], [1.0], ["a", "b", 1], ["a"] * 8, "a", None)))
    for wrong in (["x" * 300], [None, None, -1.0], [None, None, None, math.inf], [None] * 4 + [math.nan]):
        with pytest.raises((FormatError, InputError)):
            unpack_acquisition(wrong)


@pytest.mark.parametrize("values", [None, 5, {"date": 5, "objective": ["a"], "position": {"X": "far", "W": 2}, "aperture": "wide"}])
def test_what_others_wrote_wrongly_is_left_out(values: Any) -> None:
    assert Acquisition.from_dict(values) == Acquisition()


@pytest.mark.parametrize(("xml", "expected"), [
    ('<StageLabel X="1.5" XUnit="mm" Y="2" YUnit="reference frame"/>', {"X": 1500.0}),
    ('<Pixels><Plane PositionX="3" PositionXUnit="µm" PositionY="nowhere"/><Plane PositionX="9" PositionXUnit="µm"/></Pixels>',
     {"X": 3.0}),
    ('<Pixels><Plane PositionX="3"/></Pixels>', {}),
])
def test_positions_in_units_of_length(xml: str, expected: dict[str, float]) -> None:
    root = ET.fromstring(f"<OME><Image>{xml}</Image></OME>")
    assert read_acquisition(root, root[0]).position == expected


def test_of_several_objectives_the_one_that_is_named() -> None:
    lenses = '<Instrument><Objective ID="a" Model="A"/>{}</Instrument>'
    for more, named, model in (("", "", "A"), ('<Objective ID="b" LensNA="1.4"/>', "", None),
                               ('<Objective ID="b" Model="B" LensNA="0"/>', '<ObjectiveSettings ID="b"/>', "B")):
        root = ET.fromstring(f"<OME>{lenses.format(more)}<Image>{named}</Image></OME>")
        found = read_acquisition(root, root[1])
        assert (found.objective, found.aperture) == (model, None)


def test_through_a_file_xarray_and_a_selection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mf.compress(IMAGE, tmp_path / "a.mfield", lossless=True, keep_metadata=True, not_labels=True)
    with mf.open(tmp_path / "a.mfield") as f:
        assert f.acquisition == TAKEN
        f.save(tmp_path / "part.ome.tif", select="z=2:4,y=1:,x=7:3:-1")
        if (xarray := pytest.importorskip("xarray")) is not None:
            assert f.to_xarray().attrs["objective"] == TAKEN.objective
            mf.compress(xarray.open_dataset(tmp_path / "a.mfield").image, tmp_path / "b.mfield", lossless=True, keep_metadata=True)
    with mf.open(tmp_path / "b.mfield") as f:
        assert f.acquisition == TAKEN
    part = mf.open_image(tmp_path / "part.ome.tif").acquisition
    assert part.position == {"X": TAKEN.position["X"] + 4 * 0.25, "Y": TAKEN.position["Y"] + 0.25, "Z": TAKEN.position["Z"] + 1.0}
    assert main(["info", str(tmp_path / "a.mfield")]) == 0
    assert "Plan-Apochromat" in capsys.readouterr().out


def test_what_takes_too_many_bytes_is_left_out_and_said(tmp_path: Path) -> None:
    report = mf.compress(IMAGE, tmp_path / "a.mfield", lossless=True, not_labels=True)
    assert any("the acquisition date, the objective and the stage position" in note for note in report.notes)
    with mf.open(tmp_path / "a.mfield") as f:
        assert not f.acquisition


def test_what_bioio_plugins_know() -> None:
    date = datetime(2024, 5, 6, 12, 30)
    known = SimpleNamespace(imaging_datetime=date, objective="20x/0.8", stage_position_x=1.5, stage_position_y=None)
    found = _acquisition(SimpleNamespace(standard_metadata=known))
    assert found == Acquisition("2024-05-06T12:30:00", "20x/0.8", position={"X": 1.5})
    assert not _acquisition(SimpleNamespace())


def test_the_reader_of_bioio_says_it(tmp_path: Path) -> None:
    pytest.importorskip("bioio")
    from microfield.integrations.bioio_reader import Reader

    mf.compress(IMAGE, tmp_path / "a.mfield", lossless=True, keep_metadata=True, not_labels=True)
    found = Reader(tmp_path / "a.mfield").standard_metadata
    assert (found.imaging_datetime, found.stage_position_x) == (datetime(2024, 5, 6, 12, 30), 1500.5)
    assert found.objective == "Plan-Apochromat 20x/0.8, 20x, NA 0.8"


def test_numbers_and_texts_that_cannot_be() -> None:
    for wrong in ({"date": ""}, {"objective": "a\0b"}, {"magnification": 0.0}, {"aperture": math.nan}, {"position": {"T": 1.0}},
                  {"position": {"X": math.inf}}):
        with pytest.raises(InputError):
            Acquisition(**wrong)

"""Colours, ranges, names, labels, sizes and calibration: from every reader through a file to every writer, and selections."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import microfield as mf
from helpers import meaningful
from helpers.meaningful import FIRE, LABELS, MAKERS, RANGES, TAKEN
from microfield.display import Calibration, ChannelDisplay, Display
from microfield.image import Image
from microfield.io import open_image
from microfield.io.ome import colour_number
from microfield.io.zarr import read as read_zarr

pytest.importorskip("zarr")

COLOURS = {"imagej": [(255, 0, 0), (0, 255, 0), (255, 255, 255)], "lsm": [(0, 0, 255), (0, 255, 0), (255, 255, 255)]}
PLAIN_COLOURS = [(0, 0, 255), (0, 255, 0), (255, 0, 0)]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of every format."""
    folder = tmp_path_factory.mktemp("meaning")
    return {name: make(folder) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def packed(sources: dict[str, Path]) -> dict[str, Path]:
    """Every format as a microfield file with little of the values."""
    files = {name: path.parent / f"{name}.mfield" for name, path in sources.items()}
    for name, path in files.items():
        mf.compress(sources[name], path, ratio=4, method="downsample", keep_metadata=True)
    return files


def meaning(image: Image | Any) -> dict[str, Any]:
    """What must come back, whatever the order of the axes."""
    return {"voxel_size": {a: round(v, 9) for a, v in image.voxel_size.items()}, "units": dict(image.units),
            "channel_names": image.channel_names, "acquisition": image.acquisition,
            "display": replace(image.display, plane_labels=tuple(sorted(image.display.plane_labels)))}


@pytest.mark.parametrize("name", MAKERS)
def test_what_a_reader_finds(sources: dict[str, Path], name: str) -> None:
    image = open_image(sources[name])
    steps = {"T": 2.5, "Z": 0.5, "Y": 0.25, "X": 0.2}
    assert image.voxel_size == pytest.approx({a: steps[a] for a in image.axes if a in steps})
    assert not image.axes_guessed
    display = image.display
    assert [c.colour for c in display.channels] == COLOURS.get(name, PLAIN_COLOURS)
    if name in ("imagej", "zarr 0.4", "zarr 0.5"):
        assert [c.range for c in display.channels] == list(RANGES)
    if name == "imagej":
        assert np.array_equal(display.channels[2].entries, FIRE)
        assert (display.plane_labels, display.mode) == (LABELS, "composite")
        assert display.calibration == Calibration((-100.0, 1.5), "photons")
        assert (image.metadata, image.channel_names) == ("Objective: 63x", ())
    elif name == "lsm":
        assert image.channel_names == ("Ch1-T1", "Ch2-T2", "ChD")
    else:
        assert image.channel_names == ("DAPI", "GFP", "mCherry")
    if name.startswith("zarr"):
        assert [c.hidden for c in display.channels] == [False, True, False]
        assert display.mode == "grayscale"


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("suffix", ["ome.tif", "ome.zarr"])
def test_through_a_file_to_every_writer(
    tmp_path: Path, sources: dict[str, Path], packed: dict[str, Path], name: str, suffix: str
) -> None:
    source = open_image(sources[name])
    with mf.open(packed[name]) as f:
        assert meaning(f) == meaning(source)
        assert f.metadata == source.metadata
        path = tmp_path / f"out.{suffix}"
        f.save(path)
        back = open_image(path)
        known = meaning(f)
    if suffix == "ome.zarr":  # Which needs a range for every channel, and has one mode only that it can say.
        ranges = [c.range for c in back.display.channels]
        known["display"] = replace(
            known["display"], channels=tuple(replace(c, range=r) for c, r in zip(known["display"].channels, ranges, strict=True))
        )
    assert meaning(back) == known
    assert (back.metadata or None) == source.metadata
    np.testing.assert_array_equal(back.read().transpose([back.axes.index(a) for a in f.axes]), f.asarray())
    if back.axes == f.axes:
        assert back.display.plane_labels == f.display.plane_labels


def test_labels_follow_their_planes_into_the_order_of_another_format(tmp_path: Path, packed: dict[str, Path]) -> None:
    with mf.open(packed["imagej"]) as f:
        f.save(tmp_path / "a.ome.zarr")
    back = open_image(tmp_path / "a.ome.zarr")
    assert back.axes == "TCZYX"
    assert back.display.plane_labels == tuple(f"t{t} z{z} c{c}" for t in range(2) for c in range(3) for z in range(2))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("suffix", ["ome.tif", "ome.zarr"])
def test_one_channel_keeps_what_it_is(
    tmp_path: Path, sources: dict[str, Path], packed: dict[str, Path], name: str, suffix: str
) -> None:
    with mf.open(packed[name]) as f:
        f.save(tmp_path / f"a.{suffix}", select="c=1,x=::2")
        whole = f.display.channels[1]
        names, steps = f.channel_names[1:2], f.voxel_size
    back = open_image(tmp_path / f"a.{suffix}")
    assert "C" not in back.axes
    assert back.channel_names == names
    shown = back.display.channels[0]
    assert (shown.colour, shown.table) == (whole.colour, whole.table)
    assert shown.range == whole.range or whole.range is None
    assert back.voxel_size == pytest.approx({a: v * (2 if a == "X" else 1) for a, v in steps.items()})
    # The same from the source, by its name where it has one.
    one = open_image(sources[name], channel=names[0] if names else 1)
    assert (one.channel_names, one.display.channels[0]) == (names, whole)


def test_planes_keep_their_labels(tmp_path: Path, packed: dict[str, Path]) -> None:
    with mf.open(packed["imagej"]) as f:
        f.save(tmp_path / "a.ome.tif", select="t=1,c=::2,z=1")
    back = open_image(tmp_path / "a.ome.tif")
    assert (back.axes, back.display.plane_labels) == ("CYX", ("t1 z1 c0", "t1 z1 c2"))
    assert [c.range for c in back.display.channels] == [RANGES[0], RANGES[2]]
    assert np.array_equal(back.display.channels[1].entries, FIRE)


def test_others_read_the_colours(tmp_path: Path, packed: dict[str, Path]) -> None:
    """The XML as the schema has it, and the block for OMERO, without our own reader."""
    with mf.open(packed["imagej"]) as f:
        f.save(tmp_path / "a.ome.tif")
        f.save(tmp_path / "a.ome.zarr")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        root = ET.fromstring(tif.ome_metadata or "")
    numbers = [int(e.get("Color", "")) & 0xFFFFFFFF for e in root.iter() if e.tag.endswith("}Channel")]
    assert numbers == [0xFF0000FF, 0x00FF00FF, 0xFFFFFFFF]
    pixels = next(e for e in root.iter() if e.tag.endswith("}Pixels"))
    assert (pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit")) == ("2.5", "s")
    omero = json.loads((tmp_path / "a.ome.zarr" / "zarr.json").read_text())["attributes"]["ome"]["omero"]
    assert [c["color"] for c in omero["channels"]] == ["FF0000", "00FF00", "FFFFFF"]
    assert [(c["window"]["start"], c["window"]["end"]) for c in omero["channels"]] == list(RANGES)
    assert all(c["window"]["min"] <= c["window"]["start"] < c["window"]["end"] <= c["window"]["max"] for c in omero["channels"])


@pytest.mark.parametrize("name", ["imagej", "ome_tiff"])
def test_numpy_holds_values_only_and_says_so(tmp_path: Path, packed: dict[str, Path], name: str) -> None:
    from microfield.reading.saving import save

    with mf.open(packed[name]) as f:
        lost = save(f, tmp_path / "a.npy").lost
    facts = {"imagej": ("voxel sizes", "the time increment", "colours", "lookup tables", "display ranges", "plane labels",
                        "value calibration", "display mode", "metadata of the source"),
             "ome_tiff": ("voxel sizes", "the time increment", "channel names", "colours", "the acquisition date",
                          "the objective", "the stage position", "metadata of the source")}
    assert lost == facts[name]


# -- readers --------------------------------------------------------------------------------------------------------------------


def test_what_imagej_says_and_an_image_cannot_hold_is_named(tmp_path: Path) -> None:
    path = meaningful.imagej(tmp_path, cf=21, Labels=["a", "b"], Overlays=[b"an overlay"], ROI=b"a region")
    image = open_image(path)
    assert image.not_kept == ("regions of interest", "overlays", "the value calibration (ImageJ's function 21)",
                              "labels of slices (2 for 12 planes)")
    report = mf.compress(image, tmp_path / "a.mfield", ratio=4, method="downsample")
    assert any("regions of interest, overlays, the value calibration" in note and "cannot be kept" in note for note in report.notes)


def test_a_single_channel_of_imagej(tmp_path: Path) -> None:
    plane = meaningful.values()[0, 0, 0]
    tifffile.imwrite(tmp_path / "a.tif", plane, imagej=True, metadata={"min": 120.0, "max": 900.5, "Labels": ["only"]})
    image = open_image(tmp_path / "a.tif")
    assert image.display == Display((ChannelDisplay(range=(120.0, 900.5)),), ("only",))
    colours = np.ascontiguousarray(FIRE.astype(np.uint16) << 8)
    tifffile.imwrite(tmp_path / "b.tif", (plane >> 4).astype(np.uint8), imagej=True, colormap=colours)
    assert np.array_equal(open_image(tmp_path / "b.tif").display.channels[0].entries, FIRE)
    tifffile.imwrite(tmp_path / "c.tif", plane, imagej=True)
    assert not open_image(tmp_path / "c.tif").display


def test_a_palette_is_a_lookup_table(tmp_path: Path) -> None:
    plane = (meaningful.values()[0, 0, 0] >> 4).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", plane, colormap=np.ascontiguousarray(FIRE.astype(np.uint16) << 8), metadata=None)
    image = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.read(), plane)
    assert np.array_equal(image.display.channels[0].entries, FIRE)


def test_what_somebody_wrote_into_a_plain_tiff_is_metadata(tmp_path: Path) -> None:
    for description, kept in (("Objective: 63x", "Objective: 63x"), ('{"shape": [8, 9]}', None), ("", None)):
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 9), np.uint8), metadata=None, description=description)
        assert open_image(tmp_path / "a.tif").metadata == kept
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 9), np.uint8), metadata={"axes": "YX", "stain": "H&E"})
    assert json.loads(open_image(tmp_path / "a.tif").metadata or "") == {"stain": "H&E"}
    electrons = [(34682, 2, 0, "[Beam]\r\nHV=5000\r\n[Scan]\r\nPixelWidth=1e-9\r\n", True)]
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((8, 9), np.uint8), metadata=None, extratags=electrons)
    assert json.loads(open_image(tmp_path / "b.tif").metadata or "")["Beam"] == {"HV": 5000}


def test_what_bio_formats_leaves_beside_a_zarr_image_is_metadata(tmp_path: Path) -> None:
    path = meaningful.ome_zarr(tmp_path)
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["mine"] = {"a": 1}
    attributes["multiscales"][0]["coordinateTransformations"] = [{"type": "translation", "translation": [0, 0, 0, 5.0, 5.0]}]
    (path / ".zattrs").write_text(json.dumps(attributes))
    (tmp_path / "OME").mkdir()
    (tmp_path / "OME" / "METADATA.ome.xml").write_text("<OME>µ</OME>", encoding="utf-8")
    found = read_zarr(path)
    assert found.metadata == "<OME>µ</OME>"
    assert found.not_kept == ("attributes (mine)",)
    assert found.acquisition.position == {a: TAKEN.position[a] + (5 if a in "YX" else 0) for a in "XYZ"}


def test_what_zeiss_says_besides_is_metadata(sources: dict[str, Path]) -> None:
    stated = json.loads(open_image(sources["lsm"]).metadata or "")
    assert (stated["DimensionChannels"], stated["TimeIntervall"]) == (3, 2.5)


@pytest.mark.parametrize("broken", [
    {"Ranges": (5.0, 1.0, float("nan"), 2.0, 0.0)}, {"LUTs": [FIRE]}, {"c1": "x"}, {"mode": "psychedelic"},
])
def test_what_imagej_says_wrongly_does_not_stop_reading(tmp_path: Path, broken: dict[str, Any]) -> None:
    display = open_image(meaningful.imagej(tmp_path, **broken)).display
    assert len(display.channels) == 3
    if "Ranges" in broken:
        assert [c.range for c in display.channels] == [None, None, None]
    if "LUTs" in broken:
        assert [c.table is not None for c in display.channels] == [True, False, False]
    if "c1" in broken:
        assert display.calibration is None


def test_damaged_metadata_do_not_keep_an_image_from_being_read(tmp_path: Path) -> None:
    path = meaningful.ome_tiff(tmp_path, PhysicalSizeX="abc", PhysicalSizeXUnit="reference frame")
    image = open_image(path)
    np.testing.assert_array_equal(image.read(), meaningful.values())
    assert image.not_kept == ("sizes, names and colours, which cannot be understood,",)


@pytest.mark.parametrize(("times", "increment"), [([0, 30.0, 60.5], 30.25), ([0, 30.0, 90.0], None), ([0, 0, 0], None)])
def test_regular_times_of_planes_are_an_increment(tmp_path: Path, times: list[float], increment: float | None) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((3, 8, 9), np.uint8),
                     metadata={"axes": "TYX", "Plane": {"DeltaT": times, "DeltaTUnit": ["s"] * 3}})
    image = open_image(tmp_path / "a.ome.tif")
    assert image.voxel_size == ({} if increment is None else {"T": increment})
    assert image.metadata is not None


def test_metadata_that_say_nothing_more_are_none(tmp_path: Path) -> None:
    for more, kept in (({}, False), ({"Channel": {"Name": ["a"], "Color": [255]}}, False), ({"Name": "Position 3"}, True),
                       ({"Description": "a cell"}, True), ({"Channel": {"Name": ["a"], "EmissionWavelength": [500]}}, True)):
        tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((8, 9), np.uint8), metadata={"axes": "YX", **more})
        assert (open_image(tmp_path / "a.ome.tif").metadata is not None) is kept


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (127, 0, 1), (128, 255, 0)])
def test_colours_of_ome_are_signed(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    number = colour_number(colour)
    assert -(2**31) <= number < 2**31
    for alpha in (number, number & ~255):
        tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((8, 9), np.uint8), metadata={"axes": "YX", "Channel": {"Color": [alpha]}})
        assert open_image(tmp_path / "a.ome.tif").display.channels[0].colour == colour


@pytest.mark.parametrize("change", [
    {"color": "not a colour"}, {"color": None}, {"window": None}, {"window": {"start": "a", "end": 2}},
    {"window": {"start": 3, "end": 2}}, {"window": {"start": 3}}, {"active": "yes"},
])
def test_what_zarr_says_wrongly_does_not_stop_reading(tmp_path: Path, change: dict[str, Any]) -> None:
    path = meaningful.ome_zarr(tmp_path)
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["omero"]["channels"][0] |= change
    attributes["microfield"] = {"display": {"lookup_tables": ["?", None, None]}}
    (path / ".zattrs").write_text(json.dumps(attributes))
    found = read_zarr(path)
    assert [c.range for c in found.display.channels[1:]] == list(RANGES[1:])


@pytest.mark.parametrize("omero", [
    ["a"], {"channels": ["a", 1, None]}, {"channels": 5}, {"channels": [{"window": [1, 2]}] * 3}, "x",
])
def test_a_damaged_block_for_omero_says_nothing(tmp_path: Path, omero: Any) -> None:
    path = meaningful.ome_zarr(tmp_path)
    attributes = json.loads((path / ".zattrs").read_text())
    attributes |= {"omero": omero, "microfield": {"display": ["x"], "source_metadata": 3}}
    (path / ".zattrs").write_text(json.dumps(attributes))
    found = read_zarr(path)
    assert (found.channel_names, bool(found.display), found.metadata) == ((), False, None)


def test_halves_of_characters_are_replaced(tmp_path: Path) -> None:
    path = meaningful.ome_zarr(tmp_path)
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["omero"]["channels"][0]["label"] = "DAPI \ud800"
    attributes["microfield"] = {"display": {"plane_labels": {"axes": "C", "labels": ["\udfff", "b", "c"]}}}
    (path / ".zattrs").write_text(json.dumps(attributes))
    mf.compress(path, tmp_path / "a.mfield", ratio=4, method="downsample", keep_metadata=True)
    with mf.open(tmp_path / "a.mfield") as f:
        assert f.channel_names[0] == "DAPI ?"
        assert f.display.plane_labels[0] == "?"


def test_control_characters_do_not_break_xml(tmp_path: Path) -> None:
    image = open_image(meaningful.imagej(tmp_path, Labels=[f"a\x01{i}" for i in range(12)], Info="b\x0bc"))
    image = replace(image, channel_names=("d\x02", "e", "f"))
    mf.compress(image, tmp_path / "a.mfield", ratio=4, method="downsample", keep_metadata=True)
    with mf.open(tmp_path / "a.mfield") as f:
        f.save(tmp_path / "a.ome.tif")
    back = open_image(tmp_path / "a.ome.tif")
    assert (back.channel_names, back.metadata) == (("d ", "e", "f"), "b c")
    assert back.display.plane_labels[3] == "a\x013"

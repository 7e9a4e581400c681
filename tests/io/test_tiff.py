"""TIFF: every dialect in, OME-TIFF out, lazily, atomically."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import microfield as mf
from microfield.errors import InputError, MissingExtraError
from microfield.image import Layout
from microfield.io import list_scenes, open_image, save_image, tiff
from microfield.units import to_standard, unit_name

DTYPES = ["uint8", "uint16", "int16", "float32", "uint32", "int32", "float64", "int8"]


def ramp(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 120, shape).astype(dtype)


def save(path: Path, values: np.ndarray[Any, Any], axes: str, **meaning: Any) -> None:
    save_image(path, Layout(values.shape, axes, values.dtype), lambda box: values[box], overwrite=True, **meaning)


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], str, dict[str, float]]:
    order = draw(st.permutations("TCZ"))
    lead = "".join(a for a in order if draw(st.booleans()))
    axes = lead + "YX" + ("S" if len(lead) < 3 and draw(st.booleans()) else "")
    shape = tuple(draw(st.sampled_from([3, 4])) if a == "S" else draw(st.integers(2, 9)) for a in axes)
    values = ramp(shape, draw(st.sampled_from(["uint8", "uint16"] if "S" in axes else DTYPES)))
    steps = {a: draw(st.floats(1e-3, 1e3)) for a in axes if a in "TZYX"}
    return values, axes, steps


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(images())
def test_what_is_written_comes_back(tmp_path: Path, image: tuple[np.ndarray[Any, Any], str, dict[str, float]]) -> None:
    values, axes, steps = image
    units = {a: "second" if a == "T" else "micrometer" for a in steps}
    names = tuple(f"marker {i} µ<&" for i in range(values.shape[axes.index("C")])) if "C" in axes else ()
    fractions: list[float] = []
    save(tmp_path / "a.ome.tif", values, axes, voxel_size=steps, units=units, channel_names=names, progress=fractions.append)
    back = open_image(tmp_path / "a.ome.tif")
    assert (back.axes, back.dtype) == (axes, values.dtype)
    np.testing.assert_array_equal(back.read(), values)
    assert back.voxel_size == pytest.approx(steps)
    assert back.units == units
    assert back.channel_names == names
    assert back.labels is None
    assert fractions[-1] == 1.0
    assert os.listdir(tmp_path) == ["a.ome.tif"]


@pytest.mark.parametrize(("axes", "written"), [("YXZ", "ZYX"), ("SYX", "YXS"), ("YXCS", "CYXS"), ("XY", "YX")])
def test_other_orders_are_moved_to_what_ome_allows(tmp_path: Path, axes: str, written: str) -> None:
    sizes = {"Y": 7, "X": 5, "Z": 4, "C": 2, "S": 3}
    values = ramp(tuple(sizes[a] for a in axes), "uint8")
    save(tmp_path / "a.tif", values, axes)
    back = open_image(tmp_path / "a.tif")
    assert back.axes == written
    np.testing.assert_array_equal(back.read(), values.transpose([axes.index(a) for a in written]))


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_unusual_sample_counts(tmp_path: Path, samples: int) -> None:
    values = ramp((6, 7, samples), "uint8")
    save(tmp_path / "a.tif", values, "YXS")
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").read(), values[..., 0] if samples == 1 else values)


def test_units_other_than_micrometers(tmp_path: Path) -> None:
    values = ramp((3, 4, 5, 6))
    save(tmp_path / "a.tif", values, "TZYX", voxel_size={"T": 5, "Z": 2, "Y": 250, "X": 3},
         units={"T": "minute", "Z": "millimeter", "Y": "nanometer"})  # fmt: skip
    back = open_image(tmp_path / "a.tif")
    assert back.voxel_size == pytest.approx({"T": 300, "Z": 2000, "Y": 0.25, "X": 3})
    assert back.units == {"T": "second", "Z": "micrometer", "Y": "micrometer"}


def test_source_metadata_survives_and_does_not_pile_up(tmp_path: Path) -> None:
    text = "<OME>µ & vendor</OME>"
    save(tmp_path / "a.tif", ramp((4, 5)), "YX", metadata=text)
    first = open_image(tmp_path / "a.tif")
    assert first.metadata == text
    save(tmp_path / "b.tif", ramp((4, 5)), "YX", metadata=first.metadata)
    assert open_image(tmp_path / "b.tif").metadata == text


def test_imagej(tmp_path: Path) -> None:
    values = ramp((3, 4, 2, 8, 9))
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, resolution=(5.0, 4.0),
                     metadata={"axes": "TZCYX", "unit": "\\u00B5m", "spacing": 0.7, "finterval": 2.5})  # fmt: skip
    image = open_image(tmp_path / "a.tif")
    assert image.axes == "TZCYX"
    assert image.voxel_size == pytest.approx({"X": 0.2, "Y": 0.25, "Z": 0.7, "T": 2.5})
    assert image.units == {"X": "micrometer", "Y": "micrometer", "Z": "micrometer", "T": "second"}
    np.testing.assert_array_equal(image.read(), values)


def test_imagej_labels_name_channels(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp((2, 8, 9)), imagej=True, metadata={"axes": "CYX", "Labels": ["DNA", "actin"]})
    assert open_image(tmp_path / "a.tif").channel_names == ("DNA", "actin")


def test_plain_pages_are_depth_unless_told(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as out:
        for plane in ramp((4, 8, 9)):
            out.write(plane, metadata=None, contiguous=False)
    assert open_image(tmp_path / "a.tif").axes == "ZYX"
    assert open_image(tmp_path / "a.tif", axes="tyx").axes == "TYX"
    with pytest.raises(InputError, match=r"axes=TCYX names 4"):
        open_image(tmp_path / "a.tif", axes="TCYX")


@pytest.mark.parametrize(("size_um", "kept"), [(0.1, True), (352.8, False)])
def test_plain_resolution_only_where_plausible(tmp_path: Path, size_um: float, kept: bool) -> None:
    per_cm = 1e4 / size_um
    tifffile.imwrite(tmp_path / "a.tif", ramp((8, 9)), metadata=None, resolution=(per_cm, per_cm), resolutionunit="CENTIMETER")
    assert open_image(tmp_path / "a.tif").voxel_size == (pytest.approx({"X": size_um, "Y": size_um}) if kept else {})


def test_unknown_axes_are_refused_with_the_remedy(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp((2, 3, 8, 9)), photometric="minisblack", metadata={"axes": "AZYX"})
    with pytest.raises(InputError, match=r"A \(angle\) cannot be used; say with axes="):
        open_image(tmp_path / "a.tif")
    assert open_image(tmp_path / "a.tif", axes="TZYX").axes == "TZYX"
    tifffile.imwrite(tmp_path / "b.tif", ramp((1, 3, 8, 9)), photometric="minisblack", metadata={"axes": "AZYX"})
    assert open_image(tmp_path / "b.tif").shape == (3, 8, 9)


def test_scenes(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as out:
        out.write(ramp((3, 8, 9)), metadata={"axes": "ZYX", "Name": "left", "PhysicalSizeX": 2.0})
        out.write(ramp((5, 6)), metadata={"axes": "YX", "Name": "right", "PhysicalSizeX": 3.0})
    first, second = open_image(tmp_path / "a.ome.tif"), open_image(tmp_path / "a.ome.tif", scene="right")
    assert first.name == "a.ome.tif (scene 0 of 2: left)"
    assert (first.axes, first.voxel_size["X"]) == ("ZYX", 2.0)
    assert (second.shape, second.voxel_size["X"]) == ((5, 6), 3.0)
    assert open_image(tmp_path / "a.ome.tif", scene=1).shape == (5, 6)
    with pytest.raises(InputError, match=r"no scene 'middle'; it has 2: 0 'left', 1 'right'"):
        open_image(tmp_path / "a.ome.tif", scene="middle")


def test_names_that_occur_twice_are_refused_with_their_numbers(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as out:
        for name, planes in (("cell", 2), ("sky", 3), ("cell", 4)):
            out.write(ramp((planes, 8, 9)), metadata={"axes": "CYX", "Name": name, "Channel": {"Name": ["GFP"] * planes}})
    with pytest.raises(InputError, match=r"has 2 scenes named 'cell', number 0 and 2; choose one by its number, such as scene=0\."):
        open_image(tmp_path / "a.ome.tif", scene="cell")
    assert [open_image(tmp_path / "a.ome.tif", scene=s).shape[0] for s in ("0", 2, "sky")] == [2, 4, 3]
    with pytest.raises(InputError, match=r"has 2 channels named 'GFP', number 0 and 1; choose one by its number"):
        open_image(tmp_path / "a.ome.tif", channel="GFP")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_channels(tmp_path: Path, compression: str | None) -> None:
    values = ramp((3, 2, 8, 9))
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata={"axes": "ZCYX", "Channel": {"Name": ["DNA", "7"]}},
                     compression=compression)  # fmt: skip
    for channel, index in ((0, 0), ("1", 1), ("7", 1), ("DNA", 0)):
        image = open_image(tmp_path / "a.ome.tif", channel=channel)
        assert (image.axes, image.channel_names) == ("ZYX", (("DNA", "7")[index],))
        np.testing.assert_array_equal(image.read((slice(1, 2), slice(0, 8), slice(3, 5))), values[1:2, index, :, 3:5])
    with pytest.raises(InputError, match=r"no channel 2; it has 2: 0 'DNA', 1 '7'"):
        open_image(tmp_path / "a.ome.tif", channel=2)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "zlib", "tile": (16, 16)},
                                     {"compression": "zlib", "predictor": 2}, {"rowsperstrip": 16}])  # fmt: skip
def test_regions_of_every_storage(tmp_path: Path, byteorder: Any, options: dict[str, Any]) -> None:
    values = ramp((3, 2, 40, 50))
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=byteorder, metadata={"axes": "TCYX"}, **options)
    data = open_image(tmp_path / "a.tif").data
    assert data.dtype == np.dtype("uint16")
    keys: list[Any] = [(), 1, (slice(None), 1), (2, ..., slice(5, 9)), (..., 3, slice(40, None, 4))]
    for key in (*keys, (slice(0, 0),), (slice(None, None, -1), 0)):
        np.testing.assert_array_equal(data[key], values[key])
    with pytest.raises(TypeError):
        data[[0, 1]]


@pytest.mark.parametrize("shape", [(70, 90), (70, 90, 3), (3, 70, 90)])
@pytest.mark.parametrize("tile", [None, (32, 16)])
def test_large_pages_are_decoded_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], tile: tuple[int, int] | None
) -> None:
    monkeypatch.setattr(tiff, "BIG_PAGE_BYTES", 100)
    values = ramp(shape, "uint8")
    options: dict[str, Any] = {}
    if len(shape) == 3:
        options = {"photometric": "rgb", "planarconfig": "separate" if shape[0] == 3 else "contig"}
    tifffile.imwrite(tmp_path / "a.tif", values, compression="zlib", tile=tile, rowsperstrip=None if tile else 16, **options)
    data = open_image(tmp_path / "a.tif").data
    np.testing.assert_array_equal(data[...], values)
    for y, x in ((slice(20, 40), slice(5, 80)), (slice(60, 3, -7), slice(89, None)), (33, slice(None, None, 9))):
        key = (y, x) if shape[0] == 70 else (slice(None), y, x)
        np.testing.assert_array_equal(data[key], values[key])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_lazy_picklable_and_closed(tmp_path: Path, compression: str | None) -> None:
    values = ramp((6, 64, 64))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, compression=compression, metadata={"axes": "ZYX"})
    image = open_image(path)
    again = pickle.loads(pickle.dumps(image))
    assert len(pickle.dumps(image)) < 2000
    assert image.read((slice(2, 3), slice(0, 64), slice(0, 64))).shape == (1, 64, 64)
    if isinstance(image.data, tiff.PagedArray):
        assert list(image.data._cache) == [2]
    path.rename(tmp_path / "moved.tif")  # On Windows this fails while a file is open.
    (tmp_path / "moved.tif").rename(path)
    np.testing.assert_array_equal(again.read(), values)


def test_masks_and_half_floats(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", ramp((8, 16)) > 60)
    mask = open_image(tmp_path / "m.tif")
    assert (mask.dtype, mask.labels) == (np.dtype("uint8"), True)
    np.testing.assert_array_equal(mask.read(), ramp((8, 16)) > 60)
    tifffile.imwrite(tmp_path / "h.tif", ramp((8, 9)).astype(np.float16))
    assert open_image(tmp_path / "h.tif").read().dtype == np.float32
    tifffile.imwrite(tmp_path / "c.tif", ramp((8, 9)).astype(np.complex64))
    with pytest.raises(InputError, match="complex64"):
        open_image(tmp_path / "c.tif")


def test_multi_file_ome(tmp_path: Path) -> None:
    values = ramp((2, 8, 9))
    xml = tifffile.OmeXml()
    xml.addimage("uint16", (2, 8, 9), (2, 1, 1, 8, 9, 1), axes="ZYX")
    text = xml.tostring()
    start, end = text.index("<TiffData"), text.index("</Pixels>")
    blocks = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" FirstC="0" FirstT="0" PlaneCount="1">'
        f'<UUID FileName="z{z}.ome.tif">urn:uuid:0000000{z}-0000-0000-0000-000000000000</UUID></TiffData>' for z in range(2)
    )
    for z in range(2):
        own = f'UUID="urn:uuid:0000000{z}-0000-0000-0000-000000000000"'
        described = re.sub(r'(?<=\s)UUID="[^"]*"', own, text[:start] + blocks + text[end:], count=1)
        tifffile.imwrite(tmp_path / f"z{z}.ome.tif", values[z], description=described, metadata=None)
    image = open_image(tmp_path / "z0.ome.tif")
    assert image.source_bytes == sum((tmp_path / f"z{z}.ome.tif").stat().st_size for z in range(2))
    for _ in range(2):
        np.testing.assert_array_equal(image.read(), values)


def test_damage_is_told_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for compression in (None, "zlib"):
        tifffile.imwrite(path, ramp((5, 64, 64)), compression=compression)
        whole = path.read_bytes()
        for length in (0, 3, 8, 100, len(whole) // 2, len(whole) - 700):
            path.write_bytes(whole[:length])
            with pytest.raises(InputError) as caught:
                open_image(path).read()
            assert "\n" not in str(caught.value)
            assert "a.tif" in str(caught.value)
    path.write_bytes(b"this is no image")
    with pytest.raises(InputError, match=r"a\.tif cannot be read as TIFF"):
        open_image(path)


def test_compression_without_imagecodecs_names_the_extra(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp((16, 16)), compression="zstd")
    code = (
        "import sys; sys.modules['imagecodecs'] = None\nfrom microfield.io import open_image\n"
        "from microfield.errors import MissingExtraError\n"
        f"try: open_image({str(tmp_path / 'a.tif')!r}).read()\nexcept MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(MissingExtraError("Reading this compressed TIFF", "codecs"))


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    save(path, ramp((4, 8, 9)), "ZYX")
    old = path.read_bytes()
    for failure in (RuntimeError, KeyboardInterrupt):

        def read(box: tuple[slice, ...], failure: type[BaseException] = failure) -> np.ndarray[Any, Any]:
            if box[0].start == 2:
                raise failure
            return ramp((1, 8, 9))

        with pytest.raises(failure):
            save_image(path, Layout((4, 8, 9), "ZYX", np.dtype("uint16")), read, overwrite=True)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["a.ome.tif"]


def test_writing_asks_for_planes(tmp_path: Path) -> None:
    asked = []

    def read(box: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        asked.append(tuple(s.stop - s.start for s in box))
        return np.zeros(asked[-1], "uint8")

    save_image(tmp_path / "a.tif", Layout((3, 2, 8, 9), "TZYX", np.dtype("uint8")), read)
    assert asked == [(1, 1, 8, 9)] * 6
    with pytest.raises(InputError, match="a block of shape"):
        save_image(tmp_path / "b.tif", Layout((3, 8, 9), "ZYX", np.dtype("uint8")), lambda _: np.zeros((8, 9), "uint8"))


def test_calls_that_cannot_work(tmp_path: Path) -> None:
    (tmp_path / "a.mfield").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for path, words in (("a.mfield", "microfield.decompress"), ("none.tif", "there is no file"), ("empty", "without a Zarr")):
        with pytest.raises(InputError, match=words):
            open_image(tmp_path / path)
    with pytest.raises(InputError, match=r"suffix is not one of \.tif"):
        save(tmp_path / "a.czi", ramp((4, 5)), "YX")
    with pytest.raises(InputError, match="does not exist"):
        save(tmp_path / "no" / "a.tif", ramp((4, 5)), "YX")


def test_content_decides_where_the_suffix_does_not(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp((8, 9)))
    (tmp_path / "a.tif").rename(tmp_path / "a.data")
    assert open_image(tmp_path / "a.data").shape == (8, 9)


@pytest.mark.parametrize("text", ["um", "µm", "μm", "\\u00B5m", "micron", "Microns", "micrometers", "micrometre", "micrometer"])
def test_spellings_of_micrometer(text: str) -> None:
    assert unit_name(text) == "micrometer"
    assert to_standard(2.0, text, "T") is None


@pytest.mark.parametrize(
    ("value", "unit", "axis", "expected"),
    [(250, "nm", "X", 0.25), (1e-7, "m", "X", 0.1), (2, "min", "T", 120), (2, "pixel", "X", None), (0, "um", "X", None)],
)
def test_lengths_and_times_in_words_and_symbols(value: float, unit: str, axis: str, expected: float | None) -> None:
    step = to_standard(value, unit, axis)
    assert (step and step[0]) == (None if expected is None else pytest.approx(expected))
    assert step is None or step[1] == ("second" if axis == "T" else "micrometer")


def test_series_that_are_not_read_are_named_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "three.tif"
    with tifffile.TiffWriter(path) as writer:
        for size in (8, 9, 10):
            writer.write(ramp((size, 12)), photometric="minisblack", metadata=None)
    names = list_scenes(path)
    assert len(names) == 3
    opened = open_image(path)
    assert opened.shape == (8, 12)
    assert opened.notes == (f"2 of 3 series are not in this: {names[1]!r}, {names[2]!r}; it is {names[0]!r} alone. "
                            "microfield.list_scenes names them, and scene= takes one.",)
    report = mf.compress(opened, tmp_path / "a.mfield", max_bytes=200, effort=0)
    assert opened.notes[0] in report.notes
    assert not open_image(path, scene=0).notes
    assert open_image(path, scene=2).shape == (10, 12)

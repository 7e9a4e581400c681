"""OME-Zarr and bare Zarr arrays."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microfield.errors import InputError, MissingExtraError
from microfield.image import Layout
from microfield.io import list_scenes, open_image, save_image, zarr_writer
from microfield.io.lazy import StoredArray
from microfield.io.zarr_writer import halved

zarr = pytest.importorskip("zarr")

DTYPES = ["uint8", "uint16", "int16", "float32", "uint32", "int32", "float64", "int8"]


def ramp(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 120, shape).astype(dtype)


def save(path: Path, values: np.ndarray[Any, Any], axes: str, **meaning: Any) -> None:
    save_image(path, Layout(values.shape, axes, values.dtype), lambda box: values[box], overwrite=True, **meaning)


def ome(path: Path) -> dict[str, Any]:
    attributes: dict[str, Any] = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
    return attributes


def image_v2(folder: Path, values: np.ndarray[Any, Any], axes: list[Any], **more: Any) -> None:
    """An OME-Zarr 0.4 image, as older tools write it."""
    group = zarr.create_group(store=str(folder), zarr_format=2)
    array = group.create_array("full", shape=values.shape, dtype=values.dtype, chunks=values.shape)
    array[...] = values
    transformations = more.pop("transformations", [{"type": "scale", "scale": [1.0] * values.ndim}])
    multiscale = {"version": "0.4", "axes": axes, "datasets": [{"path": "full", "coordinateTransformations": transformations}]}
    group.attrs.update({"multiscales": [multiscale | more.pop("multiscale", {})]} | more)


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], str, dict[str, float]]:
    axes = "".join(a for a in "TCZ" if draw(st.booleans())) + "YX"
    values = ramp(tuple(draw(st.integers(1, 6)) for _ in axes), draw(st.sampled_from(DTYPES)))
    return values, axes, {a: draw(st.floats(1e-3, 1e3)) for a in axes if a in "TZYX"}


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(images())
def test_what_is_written_comes_back(tmp_path: Path, image: tuple[np.ndarray[Any, Any], str, dict[str, float]]) -> None:
    values, axes, steps = image
    units = {a: "second" if a == "T" else "micrometer" for a in steps}
    names = tuple(f"marker {i}" for i in range(values.shape[axes.index("C")])) if "C" in axes else ()
    save(tmp_path / "a.ome.zarr", values, axes, voxel_size=steps, units=units, channel_names=names, metadata="<OME/>")
    back = open_image(tmp_path / "a.ome.zarr")
    assert (back.axes, back.shape, back.dtype) == (axes, values.shape, values.dtype)
    np.testing.assert_array_equal(back.read(), values)
    assert (back.voxel_size, back.units, back.channel_names) == (steps, units, names)
    assert (back.metadata, back.labels) == ("<OME/>", None)
    assert os.listdir(tmp_path) == ["a.ome.zarr"]


def test_axes_are_put_in_order(tmp_path: Path) -> None:
    values = ramp((3, 4, 5, 2))
    save(tmp_path / "a.zarr", values, "ZYXC", channel_names=("DNA", "actin"))
    back = open_image(tmp_path / "a.zarr")
    assert (back.axes, back.channel_names) == ("CZYX", ("DNA", "actin"))
    np.testing.assert_array_equal(back.read(), values.transpose(3, 0, 1, 2))


def test_colour_becomes_channels(tmp_path: Path) -> None:
    values = ramp((2, 5, 6, 3), "uint8")
    save(tmp_path / "a.zarr", values, "ZYXS")
    back = open_image(tmp_path / "a.zarr")
    assert (back.axes, back.channel_names) == ("CZYX", ("red", "green", "blue"))
    np.testing.assert_array_equal(back.read(), values.transpose(3, 0, 1, 2))
    save(tmp_path / "b.zarr", values, "CYXS", channel_names=("left", "right"))
    both = open_image(tmp_path / "b.zarr")
    assert both.channel_names[2:4] == ("left blue", "right red")
    np.testing.assert_array_equal(both.read()[3], values[1, :, :, 0])


def test_pyramid_and_metadata(tmp_path: Path) -> None:
    values = ramp((2, 1101, 700))
    asked = []

    def read(box: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        asked.append(box)
        return values[box]

    save_image(tmp_path / "a.ome.zarr", Layout(values.shape, "CYX", values.dtype), read, voxel_size={"Y": 0.5, "X": 0.25},
               units={"Y": "micrometer", "X": "micrometer"})  # fmt: skip
    assert len(asked) == 2
    written = ome(tmp_path / "a.ome.zarr")
    assert written["version"] == "0.5"
    multiscale = written["multiscales"][0]
    assert multiscale["axes"] == [{"name": "c", "type": "channel"}, {"name": "y", "type": "space", "unit": "micrometer"},
                                  {"name": "x", "type": "space", "unit": "micrometer"}]  # fmt: skip
    scales = [d["coordinateTransformations"][0]["scale"] for d in multiscale["datasets"]]
    assert scales == [[1.0, 0.5, 0.25], [1.0, 1.0, 0.5], [1.0, 2.0, 1.0]]
    assert written["omero"]["channels"][1]["window"]["max"] == values[1].max()
    levels = [zarr.open(str(tmp_path / "a.ome.zarr" / d["path"]), mode="r") for d in multiscale["datasets"]]
    assert [level.shape for level in levels] == [(2, 1101, 700), (2, 551, 350), (2, 276, 175)]
    assert levels[0].chunks == (1, 1024, 700)
    np.testing.assert_array_equal(levels[2][1], halved(halved(values[1])))


@pytest.mark.parametrize("dtype", DTYPES)
def test_halving_is_the_rounded_mean(dtype: str) -> None:
    integer = np.dtype(dtype).kind in "iu"
    top = np.iinfo(dtype).max if integer else 8.0
    plane = np.array([[top, top, 0], [top, top, 2], [1, 2, 7]], dtype)
    expected = np.array([[top, 1], [1.5, 7]])
    np.testing.assert_array_equal(halved(plane), (np.rint(expected) if integer else expected).astype(dtype))


def test_read_v2_with_scales_on_two_levels(tmp_path: Path) -> None:
    values = ramp((2, 3, 8, 9))
    axes = [{"name": "t", "type": "time", "unit": "millisecond"}, {"name": "z", "type": "space", "unit": "nanometer"},
            {"name": "y", "type": "space", "unit": "micrometer"}, {"name": "x", "type": "space"}]  # fmt: skip
    image_v2(
        tmp_path / "a.zarr", values, axes, transformations=[{"type": "scale", "scale": [1, 500, 0.5, 0.3]},
                                                            {"type": "translation", "translation": [0, 0, 1, 1]}],
        multiscale={"coordinateTransformations": [{"type": "scale", "scale": [40, 1, 1, 1]}]},
    )  # fmt: skip
    image = open_image(tmp_path / "a.zarr")
    assert image.axes == "TZYX"
    assert image.voxel_size == pytest.approx({"T": 0.04, "Z": 0.5, "Y": 0.5, "X": 0.3})
    assert image.units == {"T": "second", "Z": "micrometer", "Y": "micrometer"}
    np.testing.assert_array_equal(image.read(), values)


def test_labels_and_bare_axes(tmp_path: Path) -> None:
    image_v2(tmp_path / "a.zarr", ramp((8, 9)), ["y", "x"], **{"image-label": {"version": "0.4"}})
    image = open_image(tmp_path / "a.zarr")
    assert (image.labels, image.voxel_size) == (True, {})
    image_v2(tmp_path / "b.zarr", ramp((3, 8, 9)), [{"name": "angle"}, {"name": "y"}, {"name": "x"}])
    with pytest.raises(InputError, match=r"A \(angle\) cannot be used"):
        open_image(tmp_path / "b.zarr")
    assert open_image(tmp_path / "b.zarr", axes="TYX").axes == "TYX"


def test_bare_arrays(tmp_path: Path) -> None:
    values = ramp((3, 8, 9))
    for path, options in (("a.zarr", {}), ("b", {"dimension_names": ["t", "y", "x"]}), ("c.zarr", {"zarr_format": 2})):
        zarr.create_array(store=str(tmp_path / path), shape=values.shape, dtype=values.dtype, **options)[...] = values
        image = open_image(tmp_path / path)
        assert image.axes == ("TYX" if path == "b" else "ZYX")
        np.testing.assert_array_equal(image.read(), values)


def test_lazy_and_picklable(tmp_path: Path) -> None:
    values = ramp((4, 3, 8, 9))
    save(tmp_path / "a.zarr", values, "TCYX", channel_names=("a", "b", "c"))
    whole = open_image(tmp_path / "a.zarr")
    assert isinstance(whole.data, StoredArray)
    assert isinstance(whole.data.source, zarr.Array)
    level = tmp_path / "a.zarr" / "0"
    assert whole.source_bytes == sum(f.stat().st_size for f in level.rglob("*") if f.is_file())
    one = pickle.loads(pickle.dumps(open_image(tmp_path / "a.zarr", channel="b")))
    assert one.axes == "TYX"
    np.testing.assert_array_equal(one.read((slice(1, 3), slice(0, 8), slice(2, 5))), values[1:3, 1, :, 2:5])


def test_several_images_and_plates(tmp_path: Path) -> None:
    root = zarr.create_group(store=str(tmp_path / "many.zarr"), zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for i in range(2):
        image_v2(tmp_path / "many.zarr" / str(i), ramp((8, 9 + i)), ["y", "x"])
    assert open_image(tmp_path / "many.zarr").name == "many.zarr (scene 0 of 2: 0)"
    assert open_image(tmp_path / "many.zarr").notes[0].startswith("1 of 2 images are not in this: '1'; it is '0' alone.")
    assert list_scenes(tmp_path / "many.zarr") == ["0", "1"]
    assert open_image(tmp_path / "many.zarr", scene=1).shape == (8, 10)
    plate = zarr.create_group(store=str(tmp_path / "plate.zarr"), zarr_format=2)
    plate.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "A/2"}]}
    for well in (1, 2):
        plate.create_group(f"A/{well}").attrs["well"] = {"images": [{"path": "f0"}]}
        image_v2(tmp_path / "plate.zarr" / "A" / str(well) / "f0", ramp((8, 8 + well)), ["y", "x"])
    assert list_scenes(tmp_path / "plate.zarr") == ["A/1/f0", "A/2/f0"]
    assert list_scenes(tmp_path / "plate.zarr" / "A" / "1" / "f0") == ["f0"]
    assert open_image(tmp_path / "plate.zarr", scene="A/2/f0").shape == (8, 10)
    assert not open_image(tmp_path / "plate.zarr", scene=1).notes
    with pytest.raises(InputError) as caught:
        open_image(tmp_path / "plate.zarr")
    assert "a plate of 2 wells with 2 images" in str(caught.value)
    assert str(tmp_path / "plate.zarr" / "A" / "1" / "f0") in str(caught.value)
    assert open_image(tmp_path / "plate.zarr" / "A" / "1").shape == (8, 9)


def test_damage_is_told_in_one_sentence(tmp_path: Path) -> None:
    save(tmp_path / "a.zarr", ramp((8, 9)), "YX")
    zarr.create_group(store=str(tmp_path / "empty.zarr"))
    missing = {"ome": {"multiscales": [{"datasets": [{"path": "9"}]}]}}
    no_array = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": missing})
    for name, text in (("a.zarr", "{not json"), ("a.zarr", "{}"), ("a.zarr", no_array), ("empty.zarr", None)):
        if text is not None:
            (tmp_path / name / "zarr.json").write_text(text)
        with pytest.raises(InputError, match=name) as caught:
            open_image(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_image(tmp_path: Path, failure: type[BaseException]) -> None:
    values = ramp((4, 8, 9))
    save(tmp_path / "a.zarr", values, "ZYX")

    def read(box: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        if box[0].start == 2:
            raise failure
        return np.zeros((1, 8, 9), "uint16")

    with pytest.raises(failure):
        save_image(tmp_path / "a.zarr", Layout((4, 8, 9), "ZYX", np.dtype("uint16")), read, overwrite=True)
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").read(), values)
    assert os.listdir(tmp_path) == ["a.zarr"]
    save(tmp_path / "a.zarr", values + 1, "ZYX")
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").read(), values + 1)
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_only_zarr_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="is not a Zarr store alone"):
        save(tmp_path / "a.zarr", ramp((8, 9)), "YX")
    assert os.listdir(tmp_path / "a.zarr") == ["thesis.txt"]


def test_without_zarr_the_extra_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a.zarr", ramp((8, 9)), "YX")
    code = (
        "import sys; sys.modules['zarr'] = None\nfrom microfield.io import open_image\n"
        "from microfield.errors import MissingExtraError\n"
        f"try: open_image({str(tmp_path / 'a.zarr')!r})\nexcept MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(MissingExtraError("Reading Zarr", "zarr"))


def testlevel_shapes_round_up() -> None:
    assert zarr_writer.level_shapes((3, 512, 4)) == [(3, 512, 4)]
    assert zarr_writer.level_shapes((3, 1027, 4)) == [(3, 1027, 4), (3, 514, 2), (3, 257, 1)]


def test_a_store_that_is_gone_does_not_read_as_zeros(tmp_path: Path) -> None:
    save(tmp_path / "a.zarr", ramp((4, 8, 9)), "ZYX")
    opened = open_image(tmp_path / "a.zarr")
    (tmp_path / "a.zarr").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is gone or cannot be reached any more"):
        opened.read()
    (tmp_path / "elsewhere").rename(tmp_path / "a.zarr")
    np.testing.assert_array_equal(opened.read(), ramp((4, 8, 9)))

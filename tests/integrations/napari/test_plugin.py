"""The plugin without a window: what napari would be given, through npe2 where that is installed."""

from __future__ import annotations

import tomllib
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.images import blobs, scaled
from microfield.display import ChannelDisplay, Display
from microfield.errors import FormatError, InputError
from microfield.image import Image
from microfield.integrations.napari.reader import napari_get_reader
from microfield.integrations.napari.sample import pollen
from microfield.integrations.napari.writer import image_of, write_exact, write_small
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

pytest.importorskip("dask.array")
ROOT = Path(__file__).parents[3]
MANIFEST = ROOT / "src" / "microfield" / "integrations" / "napari" / "napari.yaml"


def save(path: Path, values: np.ndarray[Any, Any], axes: str, **known: Any) -> Path:
    image = Image(values, axes, name=path.stem, **known)
    path.write_bytes(compress_to_bytes(image, Budget.of(lossless=True), Settings(method="lossless", keep_metadata=True))[0])
    return path


def read(path: Path) -> list[Any]:
    opened = napari_get_reader(str(path))
    assert opened is not None
    return opened(str(path))


@pytest.fixture
def channels(tmp_path: Path) -> Path:
    table = bytes(np.stack([np.arange(256)[::-1], np.full(256, 9), np.arange(256)]).astype(np.uint8).tobytes())
    shown = Display((ChannelDisplay((0, 0, 255), (100.0, 900.0)), ChannelDisplay((255, 9, 0), None, table, hidden=True)))
    return save(tmp_path / "cells.mfield", scaled(blobs((2, 4, 20, 30)), 0, 2000, np.uint16), "CZYX", display=shown,
                voxel_size={"Z": 2.0, "Y": 0.5, "X": 0.25}, units=dict.fromkeys("ZYX", "micrometer"), channel_names=("DAPI", "GFP"))


def test_every_channel_is_a_layer_with_what_the_file_says(channels: Path) -> None:
    first, second = read(channels)
    values = open_file(channels).asarray()
    for (data, meta, kind), channel in zip((first, second), values, strict=True):
        assert kind == "image"
        assert data.chunks == ((1, 1, 1, 1), (20,), (30,))
        np.testing.assert_array_equal(data.compute(), channel, strict=True)
        assert (meta["scale"], meta["units"], meta["axis_labels"]) == ([2.0, 0.5, 0.25], ["micrometer"] * 3, ["z", "y", "x"])
        assert meta["blending"] == "additive"
    assert (first[1]["name"], second[1]["name"]) == ("cells DAPI", "cells GFP")
    assert (first[1]["visible"], second[1]["visible"]) == (True, False)
    assert first[1]["contrast_limits"] == [100.0, 900.0]
    low, high = second[1]["contrast_limits"]
    assert values[1].min() <= low < high <= values[1].max()
    np.testing.assert_allclose(first[1]["colormap"]["colors"], [[0, 0, 0, 1], [0, 0, 1, 1]])
    assert second[1]["colormap"]["colors"].shape == (256, 4)


def test_axes_are_put_in_the_order_of_sliders(tmp_path: Path) -> None:
    values = scaled(blobs((20, 3, 30, 2)), 0, 200, np.uint8)
    ((data, meta, _),) = read(save(tmp_path / "odd.mfield", values, "YZXT", voxel_size={"T": 5.0}, units={"T": "second"}))
    np.testing.assert_array_equal(data.compute(), values.transpose(3, 1, 0, 2))
    assert (meta["axis_labels"], meta["scale"]) == (["t", "z", "y", "x"], [5.0, 1.0, 1.0, 1.0])
    assert meta["units"] == ["second", "pixel", "pixel", "pixel"]


def test_colours(tmp_path: Path) -> None:
    values = scaled(blobs((20, 30, 3)), 0, 250, np.uint8)
    ((data, meta, _),) = read(save(tmp_path / "rgb.mfield", values, "YXS"))
    assert meta["rgb"]
    assert data.shape == (20, 30, 3)
    layers = read(save(tmp_path / "deep.mfield", values.astype(np.uint16) * 100, "YXS"))
    assert [meta["name"] for _, meta, _ in layers] == ["deep red", "deep green", "deep blue"]
    np.testing.assert_array_equal(layers[1][0].compute(), values[..., 1].astype(np.uint16) * 100)
    np.testing.assert_allclose(layers[1][1]["colormap"]["colors"][-1], [0, 1, 0, 1])


def test_large_planes_come_in_several_resolutions(tmp_path: Path) -> None:
    path = save(tmp_path / "wide.mfield", scaled(blobs((20, 1100)), 0, 200, np.uint8), "YX", voxel_size={"Y": 0.5, "X": 0.5})
    ((data, meta, _),) = read(path)
    assert meta["multiscale"]
    assert [level.shape for level in data] == [(20, 1100), (10, 550), (5, 275)]
    np.testing.assert_array_equal(data[1].compute(), open_file(path).preview(2, average=True))


def test_the_sample_is_small_and_shows_something() -> None:
    ((data, meta, _),) = pollen()
    assert (meta["name"], data.shape, meta["axis_labels"]) == ("pollen", (32, 256, 256), ["z", "y", "x"])
    assert data[16].compute().std() > 1000


def test_what_is_saved_is_read_again(channels: Path, tmp_path: Path) -> None:
    layers = read(channels)
    assert write_exact(str(tmp_path / "again.mfield"), layers) == [str(tmp_path / "again.mfield")]
    first, again = open_file(channels), open_file(tmp_path / "again.mfield")
    np.testing.assert_array_equal(again.asarray(), first.asarray(), strict=True)
    assert (again.axes, again.voxel_size, again.units) == (first.axes, first.voxel_size, first.units)
    assert again.channel_names == ("cells DAPI", "cells GFP")
    assert again.display.channels[0] == first.display.channels[0]
    assert again.display.channels[1].table == first.display.channels[1].table
    assert again.display.channels[1].hidden


def test_saving_one_layer_makes_a_file_of_the_size_that_is_said(tmp_path: Path) -> None:
    meta = {"name": "one", "scale": [1.0, 1.0], "units": ["pixel", "pixel"]}
    write_small(str(tmp_path / "one.mfield"), [(scaled(blobs((64, 64)), 0, 4000, np.uint16), meta, "image")])
    f = open_file(tmp_path / "one.mfield")
    assert (f.axes, f.voxel_size, f.channel_names) == ("YX", {}, ("one",))
    assert f.ratio >= 50
    rgb = image_of([(np.zeros((2, 8, 9, 3), np.uint8), {"name": "rgb", "rgb": True, "axis_labels": ("t", "y", "x")}, "image")])
    assert (rgb.axes, rgb.channel_names) == ("TYXS", ())


@pytest.mark.parametrize(("layers", "sentence"), [
    ([(np.zeros((4, 4)), {"name": "a"}, "image"), (np.zeros((4, 5)), {"name": "b"}, "image")], "'b' and 'a' do not; save them"),
    ([(np.zeros((1, 1, 2, 4, 4)), {"axis_labels": ("a", "b", "c", "y", "x")}, "image")], "a layer with 5 dimensions cannot")])
def test_layers_that_make_no_image(layers: list[Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        image_of(layers)


def test_files_that_are_not_read(channels: Path) -> None:
    assert napari_get_reader("cells.tif") is None
    assert napari_get_reader([str(channels), "cells.tif"]) is None
    assert napari_get_reader([]) is None
    with pytest.raises(InputError, match="nothing"):
        read(channels.parent / "nothing.mfield")
    whole = channels.read_bytes()
    channels.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(FormatError, match="damaged"):
        read(channels)


# -- the manifest -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def npe2(monkeypatch: pytest.MonkeyPatch) -> Any:
    """npe2 with our plugin and no other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It is not free of warnings itself.
        found = pytest.importorskip("npe2")
    manager = found.PluginManager()
    manager.register(found.PluginManifest.from_file(MANIFEST))
    monkeypatch.setattr(found.PluginManager, "instance", lambda: manager)
    return found


def test_npe2_reads_and_writes_through_the_manifest(npe2: Any, channels: Path, tmp_path: Path) -> None:
    layers = npe2.read([str(channels)], stack=False)
    assert [meta["name"] for _, meta, _ in layers] == ["cells DAPI", "cells GFP"]
    np.testing.assert_array_equal(layers[0][0][2].compute(), open_file(channels)[0, 2])
    writers = list(npe2.PluginManager.instance().iter_compatible_writers(["image", "image"]))
    assert [writer.display_name for writer in writers] == ["microfield, 50 times smaller", "microfield, exact copy"]
    path = str(tmp_path / "saved.mfield")
    assert npe2.write(path, layers, plugin_name="microfield") == [path]  # The first one is what Save takes.
    assert open_file(path).ratio >= 50
    assert writers[1].exec(args=(str(tmp_path / "exact.mfield"), layers)) == [str(tmp_path / "exact.mfield")]
    np.testing.assert_array_equal(open_file(tmp_path / "exact.mfield").asarray(), open_file(channels).asarray())


def test_npe2_opens_the_sample(npe2: Any) -> None:
    ((sample_plugin, (sample,)),) = npe2.PluginManager.instance().iter_sample_data()
    assert sample_plugin == "microfield"
    ((data, _, kind),) = sample.open()
    assert (kind, data.shape) == ("image", (32, 256, 256))


def test_a_damaged_file_is_a_sentence_in_npe2(npe2: Any, channels: Path) -> None:
    whole = channels.read_bytes()
    channels.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(FormatError, match="damaged"):
        npe2.read([str(channels)], stack=False)


def test_the_manifest_is_found_and_names_what_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["napari.manifest"] == {project["name"]: "microfield.integrations.napari:napari.yaml"}
    text = MANIFEST.read_text(encoding="utf-8")
    assert f"\nname: {project['name']}\n" in text
    for line in text.splitlines():
        if "python_name:" in line:
            module, name = line.split("python_name:")[1].strip().split(":")
            if not module.endswith(".widget"):  # It needs a window.
                assert callable(getattr(import_module(module), name))

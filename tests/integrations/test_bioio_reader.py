"""The reader for bioio, through bioio itself."""

from __future__ import annotations

import importlib.metadata
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microfield as mf
from microfield.image import Image
from microfield.reading.file import MicrofieldFile

bioio = pytest.importorskip("bioio")
from bioio_base.exceptions import UnsupportedFileFormatError  # noqa: E402

from microfield.integrations.bioio_reader import Reader  # noqa: E402


def test_bioio_finds_the_reader(series: Image, series_file: Path) -> None:
    found = bioio.BioImage(series_file)
    assert isinstance(found.reader, Reader)
    assert (found.dims.order, found.shape, found.dtype) == ("TCZYX", series.shape, series.dtype)
    assert found.channel_names == ["DAPI", "GFP"]
    assert found.physical_pixel_sizes == (0.5, 0.1, 0.2)
    assert found.time_interval == timedelta(seconds=30)
    assert found.scale.T == 30
    assert str(found.dimension_properties.X.unit) == "micrometer"
    assert found.scenes == ("Image:0",)
    np.testing.assert_array_equal(found.data, series.read())
    np.testing.assert_array_equal(found.dask_data.compute(), series.read())
    assert list(found.xarray_data.coords["C"].values) == ["DAPI", "GFP"]


def test_bioio_accepts_what_the_distribution_requires() -> None:
    """It looks up the requirement of bioio-base, and where there is not exactly one no file opens any more, whatever its reader."""
    named = [one for one in importlib.metadata.requires("microfield") or () if one.startswith("bioio-base")]
    assert len(named) == 1, f"these extras must name bioio-base once in all: {named}"


def test_only_the_planes_that_are_asked_for_are_decoded(series: Image, series_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    read = MicrofieldFile.__getitem__

    def noted(f: MicrofieldFile, key: Any) -> Any:
        values = read(f, key)
        decoded.append(np.size(values))
        return values

    monkeypatch.setattr(MicrofieldFile, "__getitem__", noted)
    values = series.read()
    for found in (Reader(series_file), bioio.BioImage(series_file)):
        decoded.clear()
        np.testing.assert_array_equal(found.get_image_data("YX", T=2, C=1, Z=-1), values[2, 1, -1])
        np.testing.assert_array_equal(found.get_image_data("CYX", T=0, Z=1, C=[1, 0]), values[0, [1, 0], 1])
        np.testing.assert_array_equal(found.get_image_data("XYZ", T=0, C=1, Z=slice(0, 3, 2)), values[0, 1, ::2].T)
        assert sum(decoded) == (1 + 2 + 2) * 20 * 24
        decoded.clear()
        np.testing.assert_array_equal(found.get_image_dask_data("YX", T=2, C=1, Z=1).compute(), values[2, 1, 1])
        assert sum(decoded) == 20 * 24


def test_axes_that_a_file_lacks_have_an_extent_of_one(wide_file: Path) -> None:
    found = Reader(wide_file)
    with mf.open(wide_file) as f:
        assert (found.dims.order, found.shape) == ("TCZYX", (1, 1, 2, 600, 130))
        np.testing.assert_array_equal(found.data[0, 0], f[...])
        np.testing.assert_array_equal(found.get_image_data("CZYX", T=0, C=[0])[0], f[...])
    assert found.channel_names == ["Channel:0:0"]
    assert found.physical_pixel_sizes == (None, 0.1, 0.2)


def test_colour_samples_stay_last(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (20, 24, 3)).astype(np.uint8)
    mf.compress(Image(values, "YXS"), tmp_path / "rgb.mfield", lossless=True)
    found = bioio.BioImage(tmp_path / "rgb.mfield")
    assert (found.dims.order, found.shape) == ("TCZYXS", (1, 1, 1, 20, 24, 3))
    np.testing.assert_array_equal(found.get_image_data("YXS"), values)
    np.testing.assert_array_equal(found.get_image_data("SYX", X=slice(3, 9)), np.moveaxis(values, -1, 0)[:, :, 3:9])


def test_lower_resolutions_are_there_without_being_in_the_file(wide_file: Path) -> None:
    found = bioio.BioImage(wide_file)
    assert found.resolution_levels == (0, 1)
    assert found.resolution_level_dims == {0: (1, 1, 2, 600, 130), 1: (1, 1, 2, 300, 65)}
    found.set_resolution_level(1)
    assert found.shape == (1, 1, 2, 300, 65)
    assert found.physical_pixel_sizes == (None, 0.2, 0.4)
    with mf.open(wide_file) as f:
        means = f[...].reshape(2, 300, 2, 65, 2).mean((2, 4))
    np.testing.assert_allclose(found.data[0, 0], means, atol=0.51)
    np.testing.assert_array_equal(found.get_image_data("YX", Z=1), found.dask_data[0, 0, 1].compute())


def test_a_url_and_the_ome_xml_of_the_source(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    import tifffile

    values = np.random.default_rng(0).integers(0, 255, (2, 20, 24)).astype(np.uint8)
    channels = {"Name": ["a", "b"], "EmissionWavelength": [450, 500]}
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata={"axes": "CYX", "Channel": channels})
    mf.compress(tmp_path / "a.ome.tif", tmp_path / "a.mfield", lossless=True, keep_metadata=True)
    with fsspec.open("memory://bioio/a.mfield", "wb") as file:
        file.write((tmp_path / "a.mfield").read_bytes())
    found = Reader("memory://bioio/a.mfield")
    np.testing.assert_array_equal(found.get_image_data("CYX"), values)
    assert found.ome_metadata.images[0].pixels.channels[1].emission_wavelength == 500
    assert found.standard_metadata.image_size_c == 2


def test_damaged_files_and_wrong_paths(truncated: Path, cut_short: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFileFormatError, match=r"microfield does not support.*cut.mfield.*truncated or damaged"):
        bioio.BioImage(cut_short, reader=Reader)
    with pytest.raises(UnsupportedFileFormatError):
        bioio.BioImage(cut_short)
    with pytest.raises(ValueError, match=r"damaged|truncated"):
        Reader(truncated).get_image_data("YX", T=2, C=1, Z=2)
    with pytest.raises(FileNotFoundError):
        bioio.BioImage(tmp_path / "nowhere.mfield")

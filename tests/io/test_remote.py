"""Images at URLs: read, written, opened, through fsspec's file system in memory."""

from __future__ import annotations

import pickle
import uuid
from pathlib import Path

import numpy as np
import pytest

import microfield as mf
from helpers.images import image
from microfield.cli import main
from microfield.errors import InputError, UsageError
from microfield.format.source import UrlSource

fsspec = pytest.importorskip("fsspec")
STACK = image("stack")


@pytest.fixture
def bucket() -> str:
    """A folder in memory that nothing else has."""
    return f"memory://{uuid.uuid4().hex}"


def there(url: str) -> list[str]:
    fs, path = fsspec.core.url_to_fs(url)
    return sorted(name.removeprefix(path) for name in fs.find(path))


def put(path: Path, url: str) -> str:
    fs, target = fsspec.core.url_to_fs(url)
    fs.put(str(path), target, recursive=path.is_dir())
    return url


def test_from_a_url_to_a_url_and_back(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "stack.npy", STACK.read())
    source = put(tmp_path / "stack.npy", f"{bucket}/stack.npy")
    call = ["compress", source, f"{bucket}/stack.mfield", "--lossless"]
    assert main(call) == 0
    assert there(bucket) == ["/stack.mfield", "/stack.npy"]
    with mf.open(f"{bucket}/stack.mfield") as f:
        np.testing.assert_array_equal(f[3, ::2], STACK.read()[3, ::2])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(f))[3], f[3])
    assert main(["info", f"{bucket}/stack.mfield"]) == 0
    assert "lossless" in capsys.readouterr().out
    assert main(["decompress", f"{bucket}/stack.mfield", str(tmp_path / "back.npy")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), STACK.read())
    assert main(["decompress", f"{bucket}/stack.mfield", f"{bucket}/back.ome.tif"]) == 0
    np.testing.assert_array_equal(mf.open_image(f"{bucket}/back.ome.tif").read(), STACK.read())
    assert main(["decompress", f"{bucket}/stack.mfield", f"{bucket}/back.ome.tif"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(call) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*call, "--overwrite"]) == 0


def test_stores_at_urls(bucket: str) -> None:
    pytest.importorskip("zarr")
    mf.compress(STACK, f"{bucket}/stack.ome.zarr", lossless=True)
    assert "/stack.ome.zarr/zarr.json" in there(bucket)
    found = mf.open_image(f"{bucket}/stack.ome.zarr")
    np.testing.assert_array_equal(found.read(), STACK.read())
    mf.compress(image("uint8"), f"{bucket}/stack.ome.zarr", lossless=True, overwrite=True)
    assert mf.open_image(f"{bucket}/stack.ome.zarr").axes == "YX"


def test_what_is_read_twice_is_fetched_once_unless_it_has_changed(bucket: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", STACK.read())
    url = put(tmp_path / "a.npy", f"{bucket}/a.npy")
    first = mf.open_image(url)
    assert mf.open_image(url).data == first.data
    np.save(tmp_path / "a.npy", STACK.read() + 1)
    put(tmp_path / "a.npy", url)
    np.testing.assert_array_equal(mf.open_image(url).read(), first.read() + 1)


def test_options_of_the_file_system_reach_it_also_from_a_pickle(bucket: str) -> None:
    mf.compress(STACK, f"{bucket}/a.mfield", lossless=True)
    source = UrlSource(f"{bucket}/a.mfield", {"use_listings_cache": False})
    assert pickle.loads(pickle.dumps(source))._options == {"use_listings_cache": False}
    with mf.open(f"{bucket}/a.mfield", storage_options={"use_listings_cache": False}) as f:
        assert f.shape == STACK.shape
    with pytest.raises(InputError, match="storage_options= is for URLs"):
        mf.open("a.mfield", storage_options={"anon": True})


def test_what_cannot_be(bucket: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        mf.open_image(f"{bucket}/nowhere.tif")
    with pytest.raises(InputError, match="does not exist"):
        mf.open(f"{bucket}/nowhere.mfield")
    with pytest.raises(InputError, match="cannot be reached: Protocol not known: wings"):
        mf.compress(STACK, "wings://a/b.mfield", ratio=4)
    with pytest.raises(UsageError, match=r"must end in \.mfield or \.zarr"):
        mf.compress(STACK, f"{bucket}/a.tif", ratio=4)
    assert not there(bucket)

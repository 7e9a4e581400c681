"""A real server, read by the libraries that viewers are made of."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest

from helpers.served import make_folder, running
from microfield.integrations.serve.application import application
from microfield.reading.file import open_file

pytest.importorskip("uvicorn")
NAMES = ("stack", "deux é", "plate/colour", "wide")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with running(application(folder, workers=2)) as found:
        yield found


def decoded(folder: Path, name: str) -> np.ndarray[Any, Any]:
    values = open_file(folder / f"{name}.mfield").asarray()
    return np.moveaxis(values, -1, 0) if name == "plate/colour" else values


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("name", NAMES)
def test_zarr_reads_what_a_direct_decode_gives(address: str, folder: Path, name: str, version: str) -> None:
    zarr = pytest.importorskip("zarr")
    pytest.importorskip("aiohttp")
    group = zarr.open_group(f"{address}/{version}/{name.replace(' ', '%20').replace('é', '%C3%A9')}.ome.zarr", mode="r")
    np.testing.assert_array_equal(group["0"][...], decoded(folder, name), strict=True)
    assert sorted(group.array_keys()) == [str(i) for i in range(2 if name == "wide" else 1)]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_are_valid_ome_zarr(address: str, version: str) -> None:
    yaozarrs = pytest.importorskip("yaozarrs")
    pytest.importorskip("aiohttp")
    for name in ("stack", "plate/colour", "wide"):
        yaozarrs.validate_zarr_store(f"{address}/{version}/{name}.ome.zarr")


@pytest.mark.parametrize(("version", "driver"), [("0.4", "zarr"), ("0.5", "zarr3")])
@pytest.mark.parametrize("name", ["stack", "plate/colour", "wide"])
def test_tensorstore_reads_the_same(address: str, folder: Path, name: str, version: str, driver: str) -> None:
    tensorstore = pytest.importorskip("tensorstore")
    spec = {"driver": driver, "kvstore": f"{address}/{version}/{name}.ome.zarr/0/"}
    array = tensorstore.open(spec, read=True).result()
    np.testing.assert_array_equal(array.read().result(), decoded(folder, name), strict=True)


def test_microfield_opens_the_file_over_http(address: str, folder: Path) -> None:
    f = open_file(f"{address}/files/stack.mfield")
    np.testing.assert_array_equal(f.asarray(), decoded(folder, "stack"))


def test_two_hundred_chunks_at_once(address: str, folder: Path) -> None:
    values = decoded(folder, "stack")
    planes = [i % 6 for i in range(200)]

    def fetched(z: int) -> bytes:
        with urlopen(f"{address}/0.5/stack.ome.zarr/0/c/{z}/0/0", timeout=60) as response:
            return bytes(response.read())

    with ThreadPoolExecutor(200) as pool:
        for z, body in zip(planes, pool.map(fetched, planes), strict=True):
            assert body == values[z].tobytes()


def test_clients_that_hang_up_harm_nothing(address: str, folder: Path) -> None:
    host, port = address.removeprefix("http://").split(":")
    for z in range(6):
        for said in (f"GET /0.5/stack.ome.zarr/0/c/{z}/0/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "GET /0.5/stack.ome"):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(said.encode())
    with urlopen(f"{address}/0.4/stack.ome.zarr/0/5/0/0", timeout=60) as response:
        assert response.read() == decoded(folder, "stack")[5].tobytes()


def test_a_damaged_file_is_refused_with_its_sentence(address: str) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{address}/0.5/cut.ome.zarr/zarr.json", timeout=60)
    assert refused.value.code == 422
    assert b"cut.mfield" in refused.value.read()
    refused.value.close()


ZARRITA = """
import * as zarr from "zarrita";
const group = zarr.root(new zarr.FetchStore(process.argv[2]));
const array = await zarr.open(group.resolve("0"), {kind: "array"});
const {data, shape} = await zarr.get(array);
console.log(JSON.stringify({shape, data: Array.from(data)}));
"""


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_zarrita_reads_the_same(address: str, folder: Path, version: str, tmp_path: Path) -> None:
    """Where node and the npm package zarrita are installed in the current folder or one above it."""
    node = shutil.which("node")
    here = next((p for p in (Path.cwd(), *Path.cwd().parents) if (p / "node_modules" / "zarrita").is_dir()), None)
    if node is None or here is None:
        pytest.skip("needs node and zarrita (npm install zarrita)")
    (tmp_path / "node_modules").symlink_to(here / "node_modules")
    (tmp_path / "read.mjs").write_text(ZARRITA)
    done = subprocess.run([node, tmp_path / "read.mjs", f"{address}/{version}/stack.ome.zarr"], cwd=tmp_path, check=True,
                          capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout)
    np.testing.assert_array_equal(np.reshape(found["data"], found["shape"]), decoded(folder, "stack"))


def test_the_page_in_a_browser(address: str, tmp_path: Path) -> None:
    """Where Chromium is installed."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium")
    common = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    picture = tmp_path / "page.png"
    subprocess.run([*common, "--window-size=1000,1100", f"--screenshot={picture}", f"{address}/"], check=True, timeout=120,
                   capture_output=True)
    from PIL import Image

    with Image.open(picture) as shown:
        pixels = np.asarray(shown.convert("RGB")).reshape(-1, 3).astype(int)
    blue = (pixels[:, 2] > 90) & (pixels[:, 0] < 40) & (pixels[:, 1] < 120)
    assert blue.sum() > 50  # The channel that is shown in blue: its picture was loaded.

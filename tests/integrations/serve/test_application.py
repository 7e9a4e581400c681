"""What the server answers, without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.images import scaled
from helpers.served import make_folder, write
from microfield.errors import InputError
from microfield.integrations.serve.application import Access, application
from microfield.integrations.serve.folder import Folder, NotServedError
from microfield.integrations.serve.ranges import UnsatisfiableRangeError, byte_range
from microfield.reading.file import open_file

testclient = pytest.importorskip("starlette.testclient")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("served"))


def client(folder: Path, **access: Any) -> Any:
    return testclient.TestClient(application(folder, Access(**access), workers=2), base_url="http://127.0.0.1:8000")


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Any]:
    with client(folder) as found:
        yield found


def test_chunks_are_the_bytes_of_a_direct_decode(folder: Path, browser: Any) -> None:
    values = open_file(folder / "stack.mfield").asarray()
    for key in ("0.5/stack.ome.zarr/0/c/4/0/0", "0.4/stack.ome.zarr/0/4/0/0"):
        assert browser.get(f"/{key}").content == values[4].tobytes()
    colours = open_file(folder / "plate" / "colour.mfield").asarray()
    for sample in range(3):
        found = browser.get(f"/0.5/plate/colour.ome.zarr/0/c/{sample}/0/0").content
        assert found == np.ascontiguousarray(colours[..., sample]).tobytes()
    wide = open_file(folder / "wide.mfield")
    last = np.frombuffer(browser.get("/0.5/wide.ome.zarr/0/c/0/1").content, "<f4").reshape(20, 512)
    np.testing.assert_array_equal(last[:, :88], wide[:, 512:])
    assert not last[:, 88:].any()
    half = np.frombuffer(browser.get("/0.4/wide.ome.zarr/1/0/0").content, "<f4").reshape(10, 300)
    np.testing.assert_array_equal(half, wide.levels()[1][...])


def test_metadata_of_both_versions(browser: Any) -> None:
    ome = browser.get("/0.5/stack.ome.zarr/zarr.json").json()["attributes"]["ome"]
    attributes = browser.get("/0.4/stack.ome.zarr/.zattrs").json()
    assert (ome["version"], attributes["multiscales"][0]["version"]) == ("0.5", "0.4")
    assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == ["z", "y", "x"]
    (alone,) = ome["omero"]["channels"]
    assert alone["window"]["start"] < alone["window"]["end"]
    assert attributes["omero"] == ome["omero"]
    assert ome["multiscales"][0]["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [0.5, 0.1, 0.1]}]
    channels = browser.get("/0.4/deux é.ome.zarr/.zattrs").json()["omero"]["channels"]
    assert [(c["label"], c["color"], c["active"]) for c in channels] == [("DAPI", "0000FF", True), ("GFP", "00FF00", False)]
    assert channels[0]["window"] == {"min": 100.0, "max": 900.0, "start": 100.0, "end": 900.0}
    colours = browser.get("/0.5/plate/colour.ome.zarr/zarr.json").json()["attributes"]["ome"]["omero"]["channels"]
    assert [c["color"] for c in colours] == ["FF0000", "00FF00", "0000FF"]
    scales = browser.get("/0.5/wide.ome.zarr/zarr.json").json()["attributes"]["ome"]["multiscales"][0]["datasets"]
    assert [d["coordinateTransformations"][0]["scale"] for d in scales] == [[1.0, 1.0], [2.0, 2.0]]
    assert browser.get("/0.5/wide.ome.zarr/1/zarr.json").json()["shape"] == [10, 300]


@pytest.mark.parametrize(("asked", "first", "last"), [
    ("bytes=0-9", 0, 9), ("bytes=100-", 100, 2399), ("bytes=-7", 2393, 2399), ("bytes=2300-9999", 2300, 2399),
    ("bytes=-99999", 0, 2399)])
def test_ranges_of_a_chunk(browser: Any, asked: str, first: int, last: int) -> None:
    whole = browser.get("/0.5/stack.ome.zarr/0/c/2/0/0")
    assert whole.status_code == 200
    assert whole.headers["accept-ranges"] == "bytes"
    part = browser.get("/0.5/stack.ome.zarr/0/c/2/0/0", headers={"Range": asked})
    assert (part.status_code, part.headers["content-range"]) == (206, f"bytes {first}-{last}/2400")
    assert part.content == whole.content[first:last + 1]
    head = browser.head("/0.5/stack.ome.zarr/0/c/2/0/0", headers={"Range": asked})
    assert head.headers["content-length"] == str(last + 1 - first)


@given(st.binary(min_size=1, max_size=50), st.integers(0, 60), st.integers(0, 60))
def test_byte_ranges_are_those_of_slices(data: bytes, first: int, last: int) -> None:
    size = len(data)
    if first >= size or last < first:
        if last >= first:
            with pytest.raises(UnsatisfiableRangeError):
                byte_range(f"bytes={first}-{last}", size)
        else:
            assert byte_range(f"bytes={first}-{last}", size) is None
        return
    found = byte_range(f"bytes={first}-{last}", size)
    assert found is not None
    assert data[found.start:found.stop] == data[first:last + 1]
    tail = byte_range(f"bytes=-{last + 1}", size)
    assert tail is not None
    assert data[tail.start:tail.stop] == data[-(last + 1):]


def test_ranges_that_are_refused_or_ignored(browser: Any) -> None:
    key = "/0.5/stack.ome.zarr/0/c/2/0/0"
    beyond = browser.get(key, headers={"Range": "bytes=2400-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */2400")
    for ignored in ("bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=9-1"):
        assert browser.get(key, headers={"Range": ignored}).status_code == 200


def test_head_tells_the_size_of_a_chunk_without_decoding_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microfield.integrations.serve.image.ServedImage.chunk", lambda *_: pytest.fail("decoded"))
    with client(folder) as browser:
        assert browser.head("/0.4/stack.ome.zarr/0/1/0/0").headers["content-length"] == "2400"


def test_a_chunk_is_decoded_once_while_it_is_kept_and_anew_when_the_file_changes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from microfield.integrations.serve.image import ServedImage

    decoded: list[Any] = []
    chunk = ServedImage.chunk

    def counted(self: ServedImage, place: Any) -> bytes:
        decoded.append(place.index)
        return chunk(self, place)

    monkeypatch.setattr(ServedImage, "chunk", counted)
    write(tmp_path / "a.mfield", scaled(np.eye(40), 0, 99, np.uint8), "YX")
    with client(tmp_path) as browser:
        first = browser.get("/0.5/a.ome.zarr/0/c/0/0").content
        assert browser.get("/0.5/a.ome.zarr/0/c/0/0").content == browser.get("/0.4/a.ome.zarr/0/0/0").content == first
        assert decoded == [(0, 0)]
        write(tmp_path / "a.mfield", scaled(np.eye(40)[::-1], 0, 99, np.uint8), "YX")
        assert browser.get("/0.5/a.ome.zarr/0/c/0/0").content != first
        (tmp_path / "a.mfield").unlink()
        assert browser.get("/0.5/a.ome.zarr/0/c/0/0").status_code == 404


@pytest.mark.parametrize("address", [
    "/0.5/stack.ome.zarr/0/c/6/0/0", "/0.5/stack.ome.zarr/0/c/0/0", "/0.5/stack.ome.zarr/1/zarr.json",
    "/0.5/stack.ome.zarr/0/c/00/0/0", "/0.5/stack.ome.zarr/0/0/0/0", "/0.4/stack.ome.zarr/0/c/0/0/0", "/0.5/stack.ome.zarr/.zgroup",
    "/0.5/stack.ome.zarr", "/0.5/stack.ome.zarr/", "/0.5/stack.zarr/zarr.json", "/0.5/none.ome.zarr/zarr.json", "/0.6/x",
    f"/0.5/stack.ome.zarr/0/c/{'9' * 300}/0/0", f"/0.5/{'x' * 5000}.ome.zarr/zarr.json"])
def test_what_is_not_there(browser: Any, address: str) -> None:
    assert browser.get(address).status_code == 404


@pytest.mark.parametrize("name", [
    "../secret.mfield", "plate/../../secret.mfield", "..\\secret.mfield", "/etc/passwd", "//x.mfield", "C:/x.mfield", ".", "",
    "plate", "notes.txt", "link.mfield", "x\0.mfield", "linked/secret.mfield"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "served"
    (inside / "plate").mkdir(parents=True)
    (inside / "notes.txt").write_text("not an image")
    (tmp_path / "secret.mfield").write_bytes(b"secret")
    (inside / "link.mfield").symlink_to(tmp_path / "secret.mfield")
    (inside / "linked").symlink_to(tmp_path)
    with pytest.raises(NotServedError, match="there is no image"):
        Folder.of(inside).path(name)
    assert Folder.of(inside).names() == []
    with client(inside) as browser:
        quoted = name.replace("/", "%2F").replace("\\", "%5C").replace("\0", "%00").replace(".", "%2E")
        for address in (f"/files/{name}", f"/files/{quoted}", f"/pictures/{quoted}", f"/0.5/{quoted}.ome.zarr/zarr.json"):
            found = browser.get(testclient.httpx.URL(f"http://127.0.0.1:8000{address}".replace("\0", "%00")))
            assert found.status_code == 404
            assert b"secret" not in found.content.replace(b"secret.mfield", b"").replace(b"secret.ome", b"")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["..", ".", "", "plate", "colour.mfield", "~", "%2e%2e", "\\..\\", "stack.mfield"]), max_size=6))
def test_whatever_a_name_is_made_of_it_stays_in_the_folder(folder: Path, pieces: list[str]) -> None:
    try:
        found = Folder.of(folder).path("/".join(pieces))
    except NotServedError:
        return
    assert found in (folder / "plate" / "colour.mfield", folder / "stack.mfield")


def test_a_damaged_file_is_a_sentence_and_harms_no_other(browser: Any, folder: Path) -> None:
    found = browser.get("/0.5/cut.ome.zarr/zarr.json")
    assert found.status_code == 422
    assert "cut.mfield" in found.text
    assert len(found.text.strip().splitlines()) == 1
    page = browser.get("/").text
    assert page.count("<article") == 5
    assert page.count('class="damaged"') == 1
    assert browser.get("/0.5/stack.ome.zarr/0/c/0/0/0").status_code == 200


def test_a_file_that_cannot_be_read_is_a_sentence_without_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with client(folder) as browser:
        monkeypatch.setattr("microfield.integrations.serve.library.open_file", refuse)
        found = browser.get("/0.5/stack.ome.zarr/zarr.json")
        assert (found.status_code, found.text) == (422, "stack.mfield: the file cannot be read (Permission denied).\n")
        assert str(folder) not in browser.get("/").text


def test_the_page_shows_what_is_known(browser: Any) -> None:
    found = browser.get("/")
    assert "script" not in found.text
    assert found.headers["content-security-policy"].startswith("default-src 'none'")
    for words in ("6 planes, 40 x 30, uint16", "DAPI, GFP", "http://127.0.0.1:8000/0.5/plate/colour.ome.zarr",
                  "http://127.0.0.1:8000/0.4/deux%20%C3%A9.ome.zarr", "method field"):
        assert words in found.text
    assert browser.get("/pictures/deux é.mfield").content.startswith(b"\x89PNG")


def test_names_cannot_put_anything_into_the_page(tmp_path: Path) -> None:
    write(tmp_path / "<b onclick='x'>&.mfield", scaled(np.eye(40), 0, 99, np.uint8), "YX")
    with client(tmp_path) as browser:
        page = browser.get("/").text
        assert "&lt;b onclick=&#x27;x&#x27;&gt;&amp;.mfield" in page
        assert "<b " not in page


def test_the_file_itself_is_read_by_range(browser: Any, folder: Path) -> None:
    whole = (folder / "stack.mfield").read_bytes()
    assert browser.get("/files/stack.mfield").content == whole
    assert browser.get("/files/stack.mfield", headers={"Range": "bytes=5-20"}).content == whole[5:21]


def test_the_application_can_be_part_of_another(folder: Path) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    outer = Starlette(routes=[Mount("/images", application(folder))])
    with testclient.TestClient(outer, base_url="http://127.0.0.1:8000") as found:
        assert len(found.get("/images/0.5/stack.ome.zarr/0/c/0/0/0").content) == 2400
        assert "http://127.0.0.1:8000/images/0.5/stack.ome.zarr" in found.get("/images/").text


def test_who_may_read(folder: Path, browser: Any) -> None:
    def allowed(found: Any, origin: str) -> str | None:
        answer = found.get("/0.5/stack.ome.zarr/zarr.json", headers={"Origin": origin})
        return dict(answer.headers).get("access-control-allow-origin")

    viewer = "https://viewer.example"
    assert allowed(browser, "http://localhost:3000") == "http://localhost:3000"
    assert allowed(browser, viewer) is None
    assert allowed(browser, "http://localhost.evil.example") is None
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert browser.post("/").status_code == 405
    asked = {"Origin": viewer, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
    with client(folder, origins=[viewer]) as found:
        assert allowed(found, viewer) == viewer
        assert found.options("/0.5/stack.ome.zarr/zarr.json", headers=asked).status_code == 200
    with client(folder, origins=["*"]) as found:
        assert allowed(found, viewer) == "*"
    assert browser.options("/0.5/stack.ome.zarr/zarr.json", headers=asked).status_code == 400


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing is no folder; give the folder that holds the \.mfield files\."):
        application(tmp_path / "nothing")


def test_documents_are_json_that_javascript_reads(browser: Any) -> None:
    for address in ("/0.5/wide.ome.zarr/zarr.json", "/0.4/wide.ome.zarr/.zmetadata", "/0.4/wide.ome.zarr/0/.zarray"):
        found = browser.get(address)
        assert found.headers["content-type"] == "application/json"
        json.loads(found.text, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))

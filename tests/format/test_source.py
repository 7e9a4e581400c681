from __future__ import annotations

import io
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from microfield.errors import FormatError, InputError, MissingExtraError
from microfield.format import source as source_module
from microfield.format.source import open_source

DATA = bytes(range(256)) * 4


class Unseekable(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1) -> bytes:
        if size == 0:
            return b""
        data, self._data = self._data, b""
        return data


class Dribble(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(7, size or 0) if size is not None and size >= 0 else size)


def make(kind: str, folder: Path) -> Any:
    path = folder / "a.bin"
    path.write_bytes(DATA)
    if kind == "url":
        import fsspec

        with fsspec.open("memory://microfield/a.bin", "wb") as file:
            file.write(DATA)
    choices: dict[str, Any] = {
        "path": path, "str": str(path), "bytes": DATA, "bytearray": bytearray(DATA), "memoryview": memoryview(DATA),
        "file": io.BytesIO(DATA), "dribble": Dribble(DATA), "pipe": Unseekable(DATA), "url": "memory://microfield/a.bin",
    }
    return choices[kind]


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("kind", ["path", "str", "bytes", "bytearray", "memoryview", "file", "dribble", "pipe", "url"])
def test_every_kind_of_source(kind: str, cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not cached:
        monkeypatch.setattr(source_module, "_CACHED", 0)
    opened = open_source(make(kind, tmp_path))
    assert opened.size == len(DATA)
    assert isinstance(opened.name, str)
    assert open_source(opened) is opened
    for source in (opened, pickle.loads(pickle.dumps(opened))):
        assert source.read(0, len(DATA)) == DATA
        assert source.read(5, 9) == DATA[5:9]
        assert source.read(7, 7) == b""
        for start, stop in ((0, len(DATA) + 1), (len(DATA), len(DATA) + 5), (-3, 2)):
            with pytest.raises((FormatError, InputError)):
                source.read(start, stop)
        with ThreadPoolExecutor(8) as pool:
            reads = list(pool.map(source.read, range(300), range(11, 311)))
        assert reads == [DATA[i : i + 11] for i in range(300)]


def test_a_local_file_pickles_as_its_path_and_holds_no_handle(tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(bytes(100_000))
    source = open_source(path)
    source.read(0, 10)
    assert len(pickle.dumps(source)) < 300
    path.unlink()
    assert source.read(99_999, 100_000) == b"\0"


def test_a_file_that_shrinks_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_CACHED", 0)
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    source = open_source(path)
    path.write_bytes(DATA[:10])
    with pytest.raises(FormatError, match="ends before"):
        source.read(0, 20)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        source.read(0, 5)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for missing in (tmp_path / "none.mfield", "memory://microfield/none", "nosuchprotocol://x", tmp_path):
        with pytest.raises(InputError) as caught:
            open_source(missing)
        assert "\n" not in str(caught.value)
    for wrong in (3, None, io.StringIO("text")):
        with pytest.raises(InputError):
            open_source(wrong)


def test_a_url_without_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "fsspec"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match="Reading a URL"):
        open_source("s3://bucket/a.mfield")


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_pipes_and_devices_are_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mfield")
    for path in (tmp_path / "a.mfield", Path("/dev/null")):
        with pytest.raises(InputError, match="is a pipe or device"):
            open_source(path)

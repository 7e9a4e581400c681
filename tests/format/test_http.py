"""Web servers that behave, and some that do not, each a thread of this process."""

from __future__ import annotations

import pickle
import re
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest

from helpers.files import random_file
from microfield.errors import FormatError, InputError
from microfield.format import http
from microfield.format.http import HttpSource
from microfield.format.source import open_source
from microfield.image import Layout
from microfield.reading.file import open_file

DATA = random_file(Layout((400, 30, 20), "ZYX", np.dtype("uint8")), tile=(2, 30, 20), width=8)


class Server(BaseHTTPRequestHandler):
    """Serves `DATA`; the first word of the path says how."""

    asked: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        way = self.path.strip("/").partition("/")[0]
        self.asked.append(self.headers.get("Range", ""))
        if way.isdecimal():
            return self.answer(int(way), b"an explanation in many words")
        if way == "redirect":
            return self.answer(302, b"", Location="/good/a.mfield")
        whole = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        assert whole is not None
        assert self.headers["Accept-Encoding"] == "identity"
        start, stop = int(whole[1]), min(int(whole[2]) + 1, len(DATA))
        body, said = DATA[start:stop], f"bytes {start}-{stop - 1}/{len(DATA)}"
        match way:
            case "good":
                return self.answer(206, body, Content_Range=said)
            case "whole":
                return self.answer(200, DATA)
            case "gzip":
                return self.answer(206, body, Content_Range=said, Content_Encoding="gzip")
            case "elsewhere":
                return self.answer(206, body, Content_Range=f"bytes {start + 1}-{stop}/{len(DATA)}")
            case "unsaid":
                return self.answer(206, body)
            case "more":
                return self.answer(206, body + bytes(1 << 20), Content_Range=said)
            case "less":
                return self.answer(206, body[:-1], Content_Range=said)
            case "grows":
                return self.answer(206, body, Content_Range=f"bytes {start}-{stop - 1}/{len(DATA) + start}")
            case "empty":
                return self.answer(416, b"", Content_Range="bytes */0")
        self.send_response(200)
        self.end_headers()
        try:
            while way in ("endless", "drip"):
                time.sleep(0.05 if way == "drip" else 0)
                self.wfile.write(bytes(1 << 16) if way == "endless" else b"x")
            if way == "silent":
                time.sleep(2)
        except OSError:  # The reader went away, as it should.
            pass
        return None

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("way", ["good", "whole", "redirect", "more"])
def test_a_file_on_a_server_reads_like_a_local_one(address: str, way: str) -> None:
    f = open_file(f"{address}/{way}/a.mfield")
    np.testing.assert_array_equal(f[37:41], open_file(DATA)[37:41])
    source = open_source(f"{address}/{way}/a.mfield")
    assert isinstance(source, HttpSource)
    assert source.size == len(DATA) > http.FIRST
    for again in (source, pickle.loads(pickle.dumps(source))):
        assert again.read(20_000, 20_010) == DATA[20_000:20_010]
        assert again.read(5, 5) == b""
        for start, stop in ((0, len(DATA) + 1), (-3, 2)):
            with pytest.raises(FormatError):
                again.read(start, stop)


def test_opening_takes_one_request_and_a_part_one_more(address: str) -> None:
    Server.asked.clear()
    f = open_file(f"{address}/good/a.mfield")
    assert len(Server.asked) == 1
    f[390]
    assert len(Server.asked) == 2


@pytest.mark.parametrize(("way", "words"), [
    ("404", "does not exist"), ("403", "access is denied"), ("500", "try again later"), ("418", "the server says 418"),
    ("gzip", "compresses the file on the way"), ("elsewhere", "ends before"), ("unsaid", "range"), ("less", "ends before"),
])
def test_what_is_wrong_is_said(address: str, way: str, words: str) -> None:
    with pytest.raises((InputError, FormatError), match=words) as caught:
        open_source(f"{address}/{way}/a.mfield")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_changes_is_noticed(address: str) -> None:
    source = open_source(f"{address}/grows/a.mfield")
    with pytest.raises(FormatError, match="changed while it was open"):
        source.read(20_000, 20_010)


def test_an_empty_file_is_no_microfield_file(address: str) -> None:
    with pytest.raises(FormatError, match="is empty"):
        open_file(f"{address}/empty/a.mfield")


def test_a_server_without_end_is_stopped(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WHOLE_LIMIT", 4 << 20)
    tracemalloc.start()
    with pytest.raises(InputError, match="larger than 4 MiB"):
        open_source(f"{address}/endless/a.mfield")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize(("way", "words"), [("silent", "sent nothing for"), ("drip", "bytes a second")])
def test_a_server_that_stands_still_is_given_up(address: str, way: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT", 0.3)
    with pytest.raises(InputError, match=words):
        open_source(f"{address}/{way}/a.mfield")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.mfield", "http://nowhere.invalid/a.mfield", "http://[::1/a", "https://"])
def test_what_cannot_be_reached(url: str) -> None:
    with pytest.raises(InputError) as caught:
        open_source(url)
    assert "\n" not in str(caught.value)

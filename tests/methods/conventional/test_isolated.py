"""Decoders in a process of their own: the same values, and whatever ends that process is one sentence here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from helpers.files import compressed
from helpers.images import image
from microfield.errors import FormatError, InputError
from microfield.format.assembler import write
from microfield.format.container import Container
from microfield.format.source import BytesSource
from microfield.methods.conventional import isolated
from microfield.methods.conventional.isolated import Request, Worker
from microfield.reading.file import open_file
from microfield.writing.budget import Budget

FRAGILE = ("sperr", "sz3", "zfp", "htj2k", "jpegxr")


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    isolated._end()


def request_of(data: bytes = b"x") -> Request:
    return Request("zfp", 0, (1, 1, 8, 8), ((8, 8), "YX", "uint8"), data)


@pytest.mark.parametrize("method", FRAGILE)
def test_a_file_decodes_to_the_same_values_in_either_process(method: str) -> None:
    data, _ = compressed(image("channels"), method, Budget("max_bytes", 2000))
    apart = open_file(data)[...]
    assert isolated._current is not None
    assert isolated._current.usable
    np.testing.assert_array_equal(apart, open_file(data, trusted=True)[...])


def test_a_trusted_file_and_other_methods_need_no_process() -> None:
    isolated._current = None
    for method, trusted in (("zfp", True), ("jpeg2000", False)):
        open_file(compressed(image("uint8"), method, Budget("max_bytes", 2000))[0], trusted=trusted)[...]
    assert isolated._current is None


def test_a_damaged_stream_is_refused_and_the_next_one_decodes() -> None:
    data, _ = compressed(image("uint8"), "zfp", Budget("max_bytes", 2000))
    opened = Container.open(BytesSource(data))
    (section,) = opened.part(0)
    for tail in (b"", bytes(40), os.urandom(300)):
        with suppress(FormatError):  # Some decode to something.
            open_file(write(opened.header, [(section[:20] + tail,)]))[...]
    assert open_file(data)[...].any()


@pytest.mark.parametrize("harm", ["import os; os.kill(os.getpid(), 9)", "import time; time.sleep(60)", "print('no answer')"])
def test_a_process_that_ends_or_stands_still_is_one_sentence(harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_PROGRAM", f"import sys; sys.stdin.buffer.readline(); {harm}")
    monkeypatch.setattr(isolated, "SECONDS", 1.0 if "sleep" in harm else 60.0)
    worker = Worker()
    with pytest.raises(FormatError, match="takes too long" if "sleep" in harm else "ends its decoder"):
        worker.decode(request_of())
    assert not worker.usable


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("resource")
    program = ("import sys, numpy as np; from microfield.methods.conventional import isolated; isolated._expanded = "
               "lambda *_: np.ones((1, 1, 1 << 15, 1 << 16), np.float32); isolated.serve()")
    monkeypatch.setattr(isolated, "_PROGRAM", program)
    worker = Worker()
    with pytest.raises(FormatError, match="Memory"):
        worker.decode(request_of())
    worker.end()


def test_without_a_python_the_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for change in ({"executable": "/nowhere/python"}, {"executable": ""}, {"frozen": True}):
        with monkeypatch.context() as other:
            for name, value in change.items():
                other.setattr(f"sys.{name}", value, raising=False)
            with pytest.raises(InputError, match="trusted=True"):
                Worker()

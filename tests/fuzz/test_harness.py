"""The harness itself: the same seed makes the same cases, and each kind of escape is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fuzz import corpus, mutate, reader
from fuzz.__main__ import Child, Run, replay
from helpers.files import random_file
from microfield.bench.machine import reset_peak
from microfield.errors import FormatError, InputError
from microfield.image import Layout


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "METHODS", ("siren", "inif", "downsample"))


def test_the_same_seed_makes_the_same_cases() -> None:
    first = [mutate.case(3, number) for number in range(40)]
    assert first == [mutate.case(3, number) for number in range(40)]
    assert len({data for _, data, _, _ in first}) == 40
    assert first != [mutate.case(4, number) for number in range(40)]


def test_an_unchanged_file_is_the_same_file() -> None:
    for method in corpus.METHODS:
        for data in corpus.files_of(method):
            assert mutate.Opened.of(data).data() == data
            assert reader.outcome(data, None) == ("read", "")


def test_what_decodes_and_what_is_refused_are_both_there() -> None:
    kinds = {reader.outcome(data, host)[0] for _, data, host, _ in (mutate.case(0, number) for number in range(60))}
    assert kinds == {"read", "refused"}


@pytest.mark.parametrize(("error", "kind"), [
    (ZeroDivisionError(), "exception"), (IndexError(), "exception"), (MemoryError(), "memory"), (RuntimeWarning(), "warning"),
    (FormatError("two\nlines"), "exception"), (InputError("one line"), "refused"),
])
def test_escapes_are_noticed(error: Exception, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def harm(_: object) -> None:
        raise error

    monkeypatch.setattr(reader, "describe", harm)
    assert reader.outcome(corpus.files_of("siren")[0], None)[0] == kind


def test_memory_beyond_the_limit_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    if not reset_peak():
        pytest.skip("this system does not tell the peak of memory anew")
    monkeypatch.setattr(reader, "describe", lambda _: len(b"x" * (reader.MOST_GROWTH + (8 << 20))))
    assert reader.outcome(corpus.files_of("siren")[0], None)[0] == "memory"


def test_a_crash_is_kept_and_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, 5)
    monkeypatch.setattr(run.child, "read", lambda *_: ("crash", "status -11"))
    run.case(1)
    assert run.escapes == {"crash: status -11": 1}
    (kept,) = tmp_path.glob("*.mfield")
    assert kept.name == "inif-crash-5-1.mfield"
    assert replay(kept) == 0  # The reader itself survives it.


def test_a_child_that_ends_is_a_crash_and_the_next_case_has_another() -> None:
    child = Child()
    good = random_file(Layout((5, 6), "YX", np.dtype("uint8")))
    assert child.read(good, None) == ("read", "")
    assert child._process is not None
    child._process.kill()
    child._process.wait()
    assert child.read(good, None) == ("read", "")
    child.end()

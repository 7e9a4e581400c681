"""The kernel is found, refused where it is another's, switched off, and compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from microfield.kernel import building, loading


def test_a_file_that_is_missing_or_no_library_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no library")
    for name, wrong in (("missing", "no kernel was compiled"), ("text", "cannot be loaded")):
        found = loading.opened_at(tmp_path / name)
        assert found.library is None
        assert wrong in found.sentence
        assert "microfield.kernel.building" in found.sentence
        assert found.sentence.endswith(".")


@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="needs a C compiler")
def test_a_kernel_of_other_sources_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "other.c").write_text("const char *mf_sources(void) { return MICROFIELD_SOURCES; }")
    monkeypatch.setattr(building, "SOURCES", other)
    monkeypatch.setattr(building, "fingerprint", lambda: "0" * 32)
    monkeypatch.setattr(building, "FLAGS", ())
    building.build(tmp_path / building.file_name())
    assert "another version" in loading.opened_at(tmp_path / building.file_name()).sentence


@pytest.mark.parametrize(("value", "said"), [("off", "switches the kernel off"), ("mmx", "is 'mmx', not off")])
def test_the_switch(value: str, said: str) -> None:
    code = "from microfield.kernel import loading; print(loading.library(), loading.sentence())"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, loading.SWITCH: value}, capture_output=True, text=True,
                          check=True)
    assert done.stdout.startswith("None ")
    assert said in done.stdout


def test_inside_without_there_is_none() -> None:
    with loading.without():
        with loading.without():
            assert loading.library() is None
        assert loading.library() is None
    assert loading.library() is loading.found().library


@pytest.mark.parametrize(("cc", "path", "said"), [
    ("no-such-compiler", None, "environment variable CC"), (None, "", "none of cc, gcc"), ("false", None, "failed")])
def test_why_nothing_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cc: str | None, path: str | None,
                                 said: str) -> None:
    monkeypatch.delenv("CC", raising=False)
    if cc is not None:
        monkeypatch.setenv("CC", cc)
    if path is not None:
        monkeypatch.setenv("PATH", path)
    with pytest.raises(building.NoKernel, match=said):
        building.build(tmp_path / "kernel")
    assert not list(tmp_path.iterdir())


def test_big_endian_machines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(building.NoKernel, match="little-endian"):
        building.build(tmp_path / "kernel")

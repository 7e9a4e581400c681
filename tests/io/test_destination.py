"""Nothing that exists is replaced unasked, a source never is, and what cannot be written is said before the work."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import microfield as mf
from microfield.errors import InputError, UsageError
from microfield.image import Layout
from microfield.io import atomic, open_image, save_image
from microfield.io.atomic import atomic_directory, atomic_path
from microfield.io.destination import check_file, check_folder, check_space

VALUES = np.arange(48, dtype="uint16").reshape(6, 8)
LAYOUT = Layout((6, 8), "YX", np.dtype("uint16"))
unix = pytest.mark.skipif(os.name == "nt", reason="pipes, permissions and links of POSIX")


def save(path: Path, **how: Any) -> None:
    save_image(path, LAYOUT, lambda box: VALUES[box], **how)


def page(path: Path, **how: Any) -> None:
    from microfield.report import write_report

    write_report(mf.Image(VALUES, "YX"), VALUES, path, not_labels=True, **how)


def compress(path: Path, **how: Any) -> None:
    mf.compress(VALUES, path, ratio=1.05, method="zfp", **how)


WRITERS = [("a.tif", save), ("a.npy", save), ("a.zarr", save), ("a.html", page), ("a.mfield", compress)]


@pytest.mark.parametrize(("name", "write"), WRITERS, ids=[name for name, _ in WRITERS])
def test_only_what_the_user_says_is_replaced(tmp_path: Path, name: str, write: Callable[..., None]) -> None:
    path = tmp_path / name
    write(path)
    before = path.stat()
    with pytest.raises(InputError, match=r"exists; choose another name, or give overwrite=True"):
        write(path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    write(path, overwrite=True)
    assert path.stat().st_mtime_ns != before.st_mtime_ns
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(("name", "write"), WRITERS, ids=[name for name, _ in WRITERS])
def test_a_name_that_cannot_be_written_is_one_sentence(tmp_path: Path, name: str, write: Callable[..., None]) -> None:
    with pytest.raises(InputError, match=r"the folder .* does not exist"):
        write(tmp_path / "no" / name)
    with pytest.raises(InputError, match="cannot be looked up"):
        write(tmp_path / ("x" * 300 + name))
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match=r"is a folder|is not a Zarr store"):
        write(tmp_path / name, overwrite=True)
    assert (tmp_path / name / "thesis.txt").read_text() == "precious"


def test_microfield_files_are_named_so(tmp_path: Path) -> None:
    for name in ("cells.tif", "cells", "cells.mfield.bak"):
        with pytest.raises(UsageError, match=r"must end in \.mfield"):
            mf.compress(VALUES, tmp_path / name, ratio=2)
    assert not os.listdir(tmp_path)


@unix
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_the_source_is_never_the_destination(tmp_path: Path, link: Callable[..., None]) -> None:
    source = tmp_path / "cells.npy"
    np.save(source, VALUES)
    content = source.read_bytes()
    link(source, tmp_path / "cells.mfield")
    with pytest.raises(UsageError, match="is the same file as"):
        mf.compress(source, tmp_path / "cells.mfield", ratio=2, overwrite=True)
    mapped = np.load(source, mmap_mode="r")
    with pytest.raises(UsageError, match="is the same file as"):
        mf.compress(mapped, tmp_path / "cells.mfield", ratio=2, overwrite=True)
    assert source.read_bytes() == content


def test_a_folder_that_holds_the_source_is_not_replaced(tmp_path: Path) -> None:
    save(tmp_path / "a.zarr")
    inside = tmp_path / "a.zarr" / "0" / "copy.mfield"
    inside.write_bytes(b"x")
    with pytest.raises(UsageError, match="which is read"):
        check_folder(tmp_path / "a.zarr", overwrite=True, sources=[inside])


@unix
def test_links_are_written_through_and_their_target_is_safe(tmp_path: Path) -> None:
    target, link = tmp_path / "target.npy", tmp_path / "link.npy"
    target.write_bytes(b"precious")
    link.symlink_to(target)
    with pytest.raises(InputError, match="exists"):
        save(link)
    assert target.read_bytes() == b"precious"
    save(link, overwrite=True)
    assert link.is_symlink()
    np.testing.assert_array_equal(np.load(target), VALUES)
    (tmp_path / "free.npy").symlink_to(tmp_path / "elsewhere.npy")
    save(tmp_path / "free.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "elsewhere.npy"), VALUES)
    (tmp_path / "round.npy").symlink_to(tmp_path / "round.npy")
    with pytest.raises(InputError, match=r"circle|cannot be"):
        save(tmp_path / "round.npy", overwrite=True)


@unix
def test_hard_links_keep_the_old_content_under_the_other_name(tmp_path: Path) -> None:
    (tmp_path / "one.npy").write_bytes(b"precious")
    os.link(tmp_path / "one.npy", tmp_path / "two.npy")
    save(tmp_path / "two.npy", overwrite=True)
    assert (tmp_path / "one.npy").read_bytes() == b"precious"


@unix
def test_permissions_stay_and_new_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save(tmp_path / "a.npy")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.npy").stat().st_mode) == 0o640
    (tmp_path / "a.npy").chmod(0o600)
    save(tmp_path / "a.npy", overwrite=True)
    assert stat.S_IMODE((tmp_path / "a.npy").stat().st_mode) == 0o600
    (tmp_path / "a.npy").chmod(0o400)
    with pytest.raises(InputError, match="write-protected"):
        save(tmp_path / "a.npy", overwrite=True)


@unix
def test_pipes_and_devices_are_refused_and_never_waited_for(tmp_path: Path) -> None:
    for name in ("a.npy", "a.tif", "a.mfield", "strange"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match="is a pipe"):
            open_image(tmp_path / name)
        with pytest.raises(InputError, match="is a pipe"):
            check_file(tmp_path / name, overwrite=True)
    with pytest.raises(InputError, match="is a device"):
        open_image("/dev/null")
    with pytest.raises(InputError, match="is a device"):
        check_file("/dev/null", overwrite=True)


def test_a_closed_folder_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match=r"nothing can be written to the folder .* \(Permission denied\)"):
        check_file(tmp_path / "a.npy")


def test_what_cannot_fit_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=50))
    check_space(tmp_path / "a.npy", 50)
    with pytest.raises(InputError, match=r"takes up to 96 bytes, and 50 bytes are free"):
        save(tmp_path / "a.npy")
    with pytest.raises(InputError, match=r"takes up to 91 bytes, and 50 bytes are free"):
        compress(tmp_path / "a.mfield")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with atomic_path(tmp_path / "free.npy") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "free.npy").read_bytes() == b"new"

    def appear(box: tuple[slice, ...]) -> Any:
        (tmp_path / "a.npy").write_bytes(b"precious")
        (tmp_path / "a.zarr").mkdir(exist_ok=True)
        (tmp_path / "a.zarr" / "zarr.json").write_text("{ }")
        return VALUES[box]

    with pytest.raises(InputError, match="exists"):
        save_image(tmp_path / "a.npy", LAYOUT, appear)
    assert (tmp_path / "a.npy").read_bytes() == b"precious"
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(InputError, match="exists"):
        save_image(tmp_path / "a.zarr", LAYOUT, appear)
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "a.zarr", "free.npy"]
    assert (tmp_path / "a.zarr" / "zarr.json").read_text() == "{ }"


@pytest.mark.parametrize("below", ["", "0"])
def test_an_output_folder_that_is_deleted_meanwhile_is_no_success(tmp_path: Path, below: str) -> None:
    def read(box: tuple[slice, ...]) -> Any:
        if box[0].start == 2:
            for folder in tmp_path.iterdir():
                shutil.rmtree(folder / below)
        return np.ones([s.stop - s.start for s in box], "uint16")

    with pytest.raises(InputError, match="deleted meanwhile"):
        save_image(tmp_path / "a.ome.zarr", Layout((4, 6, 8), "ZYX", np.dtype("uint16")), read)
    assert not os.listdir(tmp_path)


def test_foreign_things_in_a_zarr_store_keep_it_from_being_replaced(tmp_path: Path) -> None:
    save(tmp_path / "a.zarr")
    save(tmp_path / "a.zarr", overwrite=True)
    (tmp_path / "a.zarr" / "analysis").mkdir()
    with pytest.raises(InputError, match="it holds analysis"):
        save(tmp_path / "a.zarr", overwrite=True)
    (tmp_path / "a.zarr" / "analysis").rmdir()
    import zarr

    for form in (2, 3):
        zarr.save_array(str(tmp_path / f"{form}.zarr"), VALUES, zarr_format=form)
        save(tmp_path / f"{form}.zarr", overwrite=True)
        np.testing.assert_array_equal(open_image(tmp_path / f"{form}.zarr").read(), VALUES)


def test_errors_of_the_system_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"a\.npy was not written \(No space left on device\)"):
        save(tmp_path / "a.npy")
    assert not os.listdir(tmp_path)
    monkeypatch.undo()
    np.save(tmp_path / "b.npy", VALUES)
    opened = open_image(tmp_path / "b.npy")
    (tmp_path / "b.npy").unlink()
    with pytest.raises(InputError, match=r"b\.npy"):
        mf.compress(opened, tmp_path / "b.mfield", ratio=2)


def test_an_end_without_unwinding_leaves_nothing(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.npy") as temporary, atomic_directory(tmp_path / "a.zarr") as folder:
        temporary.write_bytes(b"half")
        (folder / "zarr.json").write_text("{}")
        atomic.remove_unfinished()
        assert not os.listdir(tmp_path)
        folder.mkdir()
        (folder / atomic.GUARD).touch()
        (folder / "zarr.json").write_text("{}")
        temporary.write_bytes(b"whole")
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "a.zarr"]

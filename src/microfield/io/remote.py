"""Images at URLs: what is read is fetched first, what is written is put there when it is complete. Everything fsspec knows will do.

Readers of formats need files that they can read in any order, and compressing reads all of an image anyway.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from microfield.errors import InputError, MissingExtraError
from microfield.io.destination import exists

_fetched: dict[tuple[str, str], Path] = {}
"""URL, and what tells its content from that of another time, to the local copy."""


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether something is a URL rather than the path of a file."""
    return "://" in os.fspath(path)


def fetched(url: str) -> Path:
    """A local copy of a file, or of a folder whose name ends in ``.zarr``; it lasts until this program ends.

    Raises
    ------
    InputError
        There is no such file, or it cannot be read.
    MissingExtraError
        fsspec is not installed.
    """
    fs, path = _file_system(url)
    name = path.rstrip("/").rpartition("/")[2]
    try:
        is_store = name.lower().endswith(".zarr")
        key = url, " ".join(str(fs.ukey(one)) for one in (sorted(fs.find(path)) if is_store else [path]))
        if key not in _fetched:
            folder = Path(tempfile.mkdtemp(dir=_folder()))
            fs.get(path.rstrip("/"), str(folder / name), recursive=is_store)
            _fetched[key] = folder / name
    except FileNotFoundError:
        raise InputError(f"{url} does not exist.") from None
    except Exception as error:  # File systems raise whatever their client library raises.
        raise _failed(url, "read", error) from error
    return _fetched[key]


def check_url(url: str, *, overwrite: bool = False) -> None:
    """Check where an output goes, before the work.

    Raises
    ------
    InputError
        It exists and is not to be replaced, or the place cannot be reached.
    MissingExtraError
        fsspec is not installed.
    """
    fs, path = _file_system(url)
    try:
        taken = not overwrite and fs.exists(path)
    except Exception as error:
        raise _failed(url, "reached", error) from error
    if taken:
        raise exists(url)


@contextmanager
def uploaded(url: str, overwrite: bool = False) -> Iterator[Path]:
    """A local path to write a file or folder to, which is put at a URL when the with block ends without an exception.

    What shows that a folder is a Zarr store is put there last.

    Raises
    ------
    InputError
        As `check_url`, or what was written cannot be put there.
    """
    check_url(url, overwrite=overwrite)
    fs, path = _file_system(url)
    with tempfile.TemporaryDirectory(prefix="microfield-") as folder:
        local = Path(folder) / path.rstrip("/").rpartition("/")[2]
        yield local
        try:
            if local.is_file():
                fs.put_file(str(local), path)
                return
            if fs.exists(path):
                fs.rm(path, recursive=True)
            files = [file for file in local.rglob("*") if file.is_file()]
            for file in sorted(files, key=lambda file: file.parent == local):
                place = f"{path.rstrip('/')}/{file.relative_to(local).as_posix()}"
                fs.makedirs(place.rpartition("/")[0], exist_ok=True)
                fs.put_file(str(file), place)
        except Exception as error:
            raise _failed(url, "written", error) from error


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtraError("An image at a URL", "remote") from None
    try:
        fs, path = url_to_fs(url)
    except Exception as error:
        raise _failed(url, "reached", error) from error
    return fs, str(path)


def _failed(url: str, what: str, error: Exception) -> InputError:
    detail = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{url} cannot be {what}: {detail.rstrip('.')}.")


@cache
def _folder() -> str:
    """Where copies are kept, until the program ends."""
    folder = tempfile.mkdtemp(prefix="microfield-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder

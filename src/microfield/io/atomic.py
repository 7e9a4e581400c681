"""Writing files and folders whole: under the final name stands what was there before, or the complete new one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from microfield.errors import InputError

ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Files by which a folder is known to be a Zarr store."""


@contextmanager
def atomic_path(final: str | os.PathLike[str]) -> Iterator[Path]:
    """The name of a temporary file beside ``final`` that takes its place when the with block ends without an exception.

    The temporary file keeps the suffixes of ``final``, by which libraries choose formats. On any exception, Ctrl-C included, it is
    removed and ``final`` stays as it was.

    Parameters
    ----------
    final : path
        Where the finished file goes; its folder must exist.

    Yields
    ------
    Path
        The name to write to; nothing exists there yet.

    Raises
    ------
    InputError
        The folder does not exist, or ``final`` is a folder.
    """
    target = _checked(final)
    if target.is_dir():
        raise InputError(f"{target} is a folder; give the name of a file to write.")
    temporary = _sibling(target)
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_directory(final: str | os.PathLike[str]) -> Iterator[Path]:
    """A new empty folder beside ``final`` that takes its place when the with block ends without an exception.

    A Zarr store or empty folder of that name is replaced. It is moved aside first, since no system replaces a full folder in one
    step, and moved back if the exchange fails.

    Parameters
    ----------
    final : path
        Where the finished folder goes; the folder around it must exist.

    Yields
    ------
    Path
        The folder to fill.

    Raises
    ------
    InputError
        The surrounding folder does not exist, or ``final`` is a file or a folder that is not a Zarr store.
    """
    target = _checked(final)
    if target.exists() and not is_replaceable(target):
        raise InputError(f"{target} exists and is not a Zarr store, so it is not replaced; choose another name.")
    temporary = _sibling(target)
    temporary.mkdir()
    try:
        yield temporary
        _exchange(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def is_replaceable(folder: Path) -> bool:
    """Whether a folder may be overwritten: a Zarr store, or empty."""
    return folder.is_dir() and (any((folder / mark).exists() for mark in ZARR_MARKS) or not any(folder.iterdir()))


def _checked(final: str | os.PathLike[str]) -> Path:
    """The absolute path; InputError where its folder, in which the temporary is made, does not exist."""
    target = Path(final).absolute()
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist; make it first.")
    return target


def _sibling(target: Path) -> Path:
    """A new hidden name with the same suffixes in the same folder, and so on the same disk."""
    stem = target.name.split(".")[0] or "file"
    suffixes = "".join(target.suffixes[-2:])
    return target.with_name(f".{stem[:80]}.{secrets.token_hex(4)}{suffixes}")


def _exchange(temporary: Path, target: Path) -> None:
    """Give the new folder its name, in place of an old one where there is one."""
    if not target.exists():
        os.replace(temporary, target)
        return
    old = _sibling(target)
    os.replace(target, old)
    try:
        os.replace(temporary, target)
    except BaseException:
        os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)

"""Writing files and folders whole: under the final name stands what was there before, or the complete new one.

What is written lies beside its place until it is complete, is on disk before it takes its place, and is removed where the work
ends early, by an error or by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from microfield.errors import InputError
from microfield.io.destination import check_file, check_folder, exists, reason

_unfinished: set[Path] = set()
"""Temporary files and folders of this process that have not taken their place yet."""

GUARD = ".microfield-unfinished"
"""File in an unfinished folder by which it is known to be the one that was made: libraries make a folder that was deleted anew."""


@contextmanager
def atomic_path(final: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """The name of a temporary file beside ``final`` that takes its place when the with block ends without an exception.

    The temporary file keeps the suffixes of ``final``, by which libraries choose formats. On any exception, Ctrl-C included, it is
    removed and ``final`` stays as it was. A file that is replaced passes on its permissions.

    Parameters
    ----------
    final : path
        Where the finished file goes; its folder must exist.
    overwrite : bool
        Whether a file of that name may be replaced, also one that appears while this one is written.

    Yields
    ------
    Path
        The name to write to; nothing exists there yet.

    Raises
    ------
    InputError
        The file cannot be written there (see `microfield.io.destination.check_file`), or writing fails.
    """
    target = check_file(final, overwrite=overwrite)
    temporary = _sibling(target)
    _unfinished.add(temporary)
    try:
        yield temporary
        _flush(temporary)
        _place_file(temporary, target, overwrite)
    except OSError as error:
        raise _not_written(final, error) from error
    finally:
        remove(temporary)


@contextmanager
def atomic_directory(final: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """A new empty folder beside ``final`` that takes its place when the with block ends without an exception.

    A folder that is replaced is moved aside first, since no system replaces a full folder in one step, and moved back if the
    exchange fails.

    Parameters
    ----------
    final : path
        Where the finished folder goes; the folder around it must exist.
    overwrite : bool
        Whether a Zarr store of that name may be replaced.

    Yields
    ------
    Path
        The folder to fill.

    Raises
    ------
    InputError
        The folder cannot be written there (see `microfield.io.destination.check_folder`), writing fails, or the unfinished folder
        is deleted meanwhile.
    """
    target = check_folder(final, overwrite=overwrite)
    temporary = _sibling(target)
    _unfinished.add(temporary)
    try:
        temporary.mkdir()
        (temporary / GUARD).touch()
        yield temporary
        if not (temporary / GUARD).exists():
            raise InputError(f"{final} was not written: the unfinished folder {temporary} was deleted meanwhile; start again.")
        (temporary / GUARD).unlink()
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        _place_folder(temporary, target, overwrite)
    except OSError as error:
        raise _not_written(final, error) from error
    finally:
        remove(temporary)


def remove_unfinished() -> None:
    """Remove what has not taken its place yet: for a process that is about to end without unwinding its threads."""
    for temporary in list(_unfinished):
        remove(temporary)


def remove(temporary: Path) -> None:
    """Remove a temporary file or folder where it is still there."""
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _unfinished.discard(temporary)


def _not_written(final: str | os.PathLike[str], error: OSError) -> InputError:
    return InputError(f"{final} was not written ({reason(error)}); what was there before is still there.")


def _sibling(target: Path) -> Path:
    """A new hidden name with the same suffixes in the same folder, and so on the same disk."""
    stem = target.name.split(".")[0] or "file"
    suffixes = "".join(target.suffixes[-2:])
    return target.with_name(f".{stem[:40]}.{secrets.token_hex(4)}{suffixes[-40:]}")


def _flush(file: Path) -> None:
    """Wait until a file is on disk, so that a power cut after the exchange leaves a whole one."""
    with open(file, "r+b") as opened:
        os.fsync(opened.fileno())


def _flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _place_file(temporary: Path, target: Path, overwrite: bool) -> None:
    """Give the new file its name."""
    if overwrite:
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    else:
        _place_new(temporary, target)
    _flush_folder(target.parent)


def _place_new(temporary: Path, target: Path) -> None:
    """Give the new file a name that is free; InputError where a file of that name has appeared meanwhile."""
    try:
        os.link(temporary, target)  # Unlike a rename, this fails where the name is taken.
    except FileExistsError:
        raise exists(target) from None
    except OSError:  # Not every file system has hard links.
        if os.path.lexists(target):
            raise exists(target) from None
        os.rename(temporary, target)


def _place_folder(temporary: Path, target: Path, overwrite: bool) -> None:
    """Give the new folder its name, in place of an old one where there is one."""
    check_folder(target, overwrite=overwrite)  # Again: much may have happened meanwhile.
    if not target.exists():
        os.rename(temporary, target)
        _flush_folder(target.parent)
        return
    old = _sibling(target)
    os.rename(target, old)
    try:
        os.rename(temporary, target)
    except BaseException:
        os.rename(old, target)
        raise
    _flush_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)

"""Where an output goes, checked before the work: it may be written there, and nothing of the user's is lost by it.

A name that is a symbolic link stands for what the link leads to: that is what is checked, and written. The link stays.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from microfield.errors import InputError, UsageError
from microfield.wording import argument

ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Files by which a folder is known to be a Zarr store."""

ZARR_EXTRAS = (".zmetadata", "OME", ".DS_Store", "Thumbs.db", "desktop.ini")
"""What a Zarr store may hold besides: consolidated metadata, the OME-XML that Bio-Formats leaves, and what file managers leave."""


def check_file(path: str | os.PathLike[str], *, overwrite: bool = False, sources: Iterable[str | os.PathLike[str]] = ()) -> Path:
    """What will be written, or replaced, under the name of a file.

    Parameters
    ----------
    path : path
        The name that the user gave.
    overwrite : bool
        Whether a file that exists may be replaced.
    sources : iterable of path
        What is read; none of it is ever replaced, whatever name or link leads there.

    Returns
    -------
    Path
        Absolute, without links.

    Raises
    ------
    UsageError
        It is one of the sources.
    InputError
        It exists and is not to be replaced, is no ordinary file, is write-protected, or its folder does not exist or cannot be
        written to.
    """
    target = _resolved(path)
    mode = mode_of(target)
    if mode is not None and stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder; give the name of a file to write.")
    if mode is not None and not stat.S_ISREG(mode):
        raise InputError(f"{path} is {special(mode)} and no file that can be written whole; choose another name.")
    for source in sources:
        if is_same(source, target):
            raise UsageError(f"{path} is the same file as {source}, which is read; an original is never replaced, so give the "
                             "output another name.")
    if mode is not None and not overwrite:
        raise exists(path)
    if mode is not None and not mode & 0o222:
        raise InputError(f"{path} is write-protected, so it is not replaced; choose another name, or allow writing to it.")
    _check_writable(target.parent)
    return target


def check_folder(path: str | os.PathLike[str], *, overwrite: bool = False, sources: Iterable[str | os.PathLike[str]] = (),
                 ) -> Path:
    """What will be made, or replaced, under the name of a folder that becomes a Zarr store.

    An empty folder counts as a free name. Parameters and result are those of `check_file`.

    Raises
    ------
    UsageError
        It is one of the sources, or one of them lies in it.
    InputError
        It exists and is not to be replaced, holds what is not part of a Zarr store, is a file, or the folder around it does not
        exist or cannot be written to.
    """
    target = _resolved(path)
    mode = mode_of(target)
    for source in sources:
        if mode is not None and (is_same(source, target) or _is_inside(source, target)):
            raise UsageError(f"{path} holds {source}, which is read; an original is never replaced, so give the output another "
                             "name.")
    if mode is not None and not stat.S_ISDIR(mode):
        raise InputError(f"{path} exists and is not a Zarr store, so it is not replaced; choose another name.")
    _check_writable(target.parent)
    if mode is None or not any(target.iterdir()):
        return target
    if (strange := not_zarr(target)) is not None:
        raise InputError(f"{path} exists and is not a Zarr store alone (it holds {strange}), so it is not replaced; choose another "
                         "name.")
    if not overwrite:
        raise exists(path)
    return target


def check_space(path: str | os.PathLike[str], needed: int, remedy: str = "write to another disk") -> None:
    """Refuse to begin what cannot fit.

    Raises
    ------
    InputError
        The disk of ``path`` has fewer than ``needed`` bytes free; the sentence ends with the remedy.
    """
    try:
        free = shutil.disk_usage(_resolved(path).parent).free
    except OSError:
        return  # Some network file systems do not say.
    if needed > free:
        raise InputError(f"{path} takes up to {needed} bytes, and {free} bytes are free there; {remedy}.")


def check_ending(path: str | os.PathLike[str], *endings: str) -> None:
    """Refuse a name that would hide what the file is.

    Raises
    ------
    UsageError
        It does not end in one of ``endings``, upper or lower case.
    """
    if not os.fspath(path).lower().endswith(endings):
        raise UsageError(f"the output {path} must end in {' or '.join(endings)}.")


def check_readable(path: Path) -> None:
    """Refuse to read what is neither file nor folder: reading a pipe would wait for ever.

    Raises
    ------
    InputError
        It is a pipe, a device or a socket, or does not exist.
    """
    mode = mode_of(path)
    if mode is None:
        raise InputError(f"there is no file {path}.")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path} is {special(mode)}, and images are read from files; save it as a file first.")


def exists(path: str | os.PathLike[str]) -> InputError:
    """What to say where a name is taken."""
    return InputError(f"{path} exists; choose another name, or give {argument('overwrite', True)} to replace it.")


def mode_of(path: str | os.PathLike[str]) -> int | None:
    """Kind and permissions of what a name leads to (``st_mode``); None where there is nothing.

    Raises
    ------
    InputError
        The name cannot be looked up: it is too long, holds a zero byte, or lies in a folder that is closed.
    """
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path!s} cannot be looked up ({reason(error)}).") from error


def special(mode: int) -> str:
    """In words, what something is that is neither file nor folder."""
    kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((words for test, words in kinds if test(mode)), "a device")


def is_same(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two names lead to one file or folder; False where either leads nowhere (a URL, standard input)."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def not_zarr(folder: Path) -> str | None:
    """The name of something in a folder that shows that it is not a Zarr store, or holds more than one; None where all belongs.

    A group has metadata files and folders that are Zarr nodes themselves, an array has metadata files and chunks.
    """
    names = sorted(entry.name for entry in folder.iterdir())
    if not any(mark in names for mark in ZARR_MARKS):
        return names[0] if names else None
    is_array = not any(is_node(folder / name) for name in names)
    for name in names:
        chunk = is_array and all(part.isdecimal() for part in name.removeprefix("c").split(".") if part)
        if name not in ZARR_MARKS + ZARR_EXTRAS and not chunk and not is_node(folder / name):
            return name
    return None


def is_node(folder: Path) -> bool:
    """Whether a folder is a Zarr group or array."""
    return folder.is_dir() and any((folder / mark).exists() for mark in ZARR_MARKS)


def reason(error: BaseException) -> str:
    """Why an operation failed, in the system's words, with the file it names."""
    if not isinstance(error, OSError):
        return str(error) or type(error).__name__
    about = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{about}"


def _resolved(path: str | os.PathLike[str]) -> Path:
    """The absolute path without links; InputError where it cannot be one or lies in a folder that does not exist."""
    try:
        target = Path(os.path.realpath(path))
        known = target.parent.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"{path!s} cannot be the name of a file ({reason(error)}).") from error
    if not known:
        raise InputError(f"the folder {target.parent} does not exist; make it first.")
    if os.path.islink(target):
        raise InputError(f"{path} is a link that leads in a circle; choose another name.")
    return target


def _check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made. Permissions are no proof (network shares, Windows), so one is made."""
    probe = folder / f".microfield-{secrets.token_hex(4)}"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        probe.unlink()
    except OSError as error:
        raise InputError(f"nothing can be written to the folder {folder} ({error.strerror or error}).") from error


def _is_inside(source: str | os.PathLike[str], folder: Path) -> bool:
    try:
        return folder in Path(os.path.realpath(source)).parents
    except (OSError, ValueError):
        return False

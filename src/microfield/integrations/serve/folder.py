"""The folder that is served: which files there are, and which path a name in a request stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from microfield.errors import InputError

SUFFIX = ".mfield"

MOST_FILES = 10_000
"""Files that the page lists."""


class NotServedError(InputError):
    """There is no such image in the folder, or its name leads out of it."""


@dataclass(frozen=True)
class Folder:
    """A folder of microfield files, with those of the folders in it.

    Raises InputError where it is no folder that can be read.

    Parameters
    ----------
    root : Path
        Absolute, without links; see `of`.
    """

    root: Path

    @classmethod
    def of(cls, path: str | Path) -> Folder:
        """The folder at a path."""
        root = Path(path)
        if not root.is_dir():
            raise InputError(f"{path} is no folder; give the folder that holds the .mfield files.")
        return cls(root.resolve())

    def names(self) -> list[str]:
        """Names of the files, with ``/`` between folders, sorted, the first `MOST_FILES` of them."""
        found: list[str] = []
        for name in self._walk():
            found.append(name)
            if len(found) == MOST_FILES:
                break
        return sorted(found)

    def _walk(self) -> Iterator[str]:
        for path in self.root.rglob(f"*{SUFFIX}"):
            name = path.relative_to(self.root).as_posix()
            try:
                self.path(name)
            except NotServedError:
                continue
            yield name

    def path(self, name: str) -> Path:
        """The file of a name.

        Whatever the name: the path lies in the folder, links followed, and is a file whose name ends in ``.mfield``.

        Raises
        ------
        NotServedError
            There is no such file.
        """
        parts = name.split("/")
        outside = any(part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part for part in parts)
        if outside or not name.endswith(SUFFIX):
            raise NotServedError(f"there is no image {name!r} here.")
        try:
            path = self.root.joinpath(*PurePosixPath(name).parts).resolve()
            there = path.is_relative_to(self.root) and path.suffix == SUFFIX and path.is_file()
        except OSError:  # Names that are too long, folders that may not be read.
            there = False
        if not there:
            raise NotServedError(f"there is no image {name!r} here.")
        return path

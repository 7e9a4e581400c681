"""Where the bytes of a file come from: memory, a local path, a file object, a URL or any function, all read by range."""

from __future__ import annotations

import os
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from microfield.errors import FormatError, InputError, MissingExtraError
from microfield.wording import argument

_CACHED = 4 << 20
"""Local files up to this many bytes are kept in memory after the first read."""


class Source(ABC):
    """Bytes that can be read by range, from several threads at once.

    Attributes
    ----------
    name : str
        What messages call the source.
    """

    name: str

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of bytes."""

    @property
    def knows_size(self) -> bool:
        """Whether `size` is known without fetching anything."""
        return True

    @abstractmethod
    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``.

        Raises
        ------
        FormatError
            If the source ends before ``stop``.
        """

    def head(self, most: int) -> bytes:
        """The first ``most`` bytes, or all where there are fewer."""
        return self.read(0, min(most, self.size))

    def beside(self, name: str) -> Source | None:
        """The file of this name in the same folder; None where there is none, or no folder."""
        del name
        return None


def open_source(source: Any, options: Mapping[str, Any] | None = None) -> Source:
    """A `Source` of a path, bytes, a binary file object or a URL.

    Parameters
    ----------
    source : str, os.PathLike, bytes, bytearray, memoryview, binary file object or Source
        A string with ``://`` in it is a URL; all but those of http and https are opened with fsspec.
    options : mapping, optional
        Of fsspec's file system, for a URL, which is then opened with fsspec whatever its kind.

    Raises
    ------
    InputError
        If there is no such file, or the value is none of these.
    MissingExtraError
        If a URL of another kind is given and fsspec is not installed.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return BytesSource(bytes(source))
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if options and "://" not in path:
            raise InputError(f"{argument('storage_options')} is for URLs, and {path} is none; leave it out.")
        if path.lower().startswith(("http://", "https://")) and "::" not in path and not options:
            from microfield.format.http import HttpSource

            return HttpSource(path)
        return UrlSource(path, options) if "://" in path else FileSource(path)
    if isinstance(source, Source):
        return source
    if hasattr(source, "read"):
        return _from_stream(source)
    raise InputError(f"a {type(source).__name__} cannot be opened; give a path, bytes, a binary file object or a URL.")


class BytesSource(Source):
    """Bytes in memory."""

    def __init__(self, data: bytes, name: str = "the data") -> None:
        self._data = data
        self.name = name
        self._size = len(data)

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._size

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``."""
        return exactly(self._data[start:stop], start, stop, self.name)


class FileSource(Source):
    """A local file. No handle is kept between reads, so that the file can be replaced or deleted on Windows too."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self.name = path
        self._content: bytes | None = None
        try:
            if os.path.isdir(self._path):
                raise InputError(f"{path} is a folder, not a microfield file.")
            state = os.stat(self._path)
            if not stat.S_ISREG(state.st_mode):  # Reading a pipe would wait for ever.
                raise InputError(f"{path} is a pipe or device, and files are read in any order; save it as a file first.")
            self._size = state.st_size
        except FileNotFoundError:
            raise InputError(f"{path} does not exist.") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._size

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``."""
        if self.size > _CACHED:
            return exactly(self._read_file(start, stop), start, stop, self.name)
        # Two threads may both read the file the first time; both get the same bytes.
        if self._content is None:
            self._content = self._read_file(0, self.size)
        return exactly(self._content[start:stop], start, stop, self.name)

    def _read_file(self, start: int, stop: int) -> bytes:
        try:
            with open(self._path, "rb") as file:
                file.seek(max(0, start))
                return file.read(max(0, stop - start))
        except OSError as error:
            raise InputError(f"{self.name} cannot be read: {error.strerror or error}.") from None

    def beside(self, name: str) -> Source | None:
        """The file of this name in the same folder."""
        path = os.path.join(os.path.dirname(self._path), name)
        return FileSource(path) if os.path.isfile(path) else None

    def __reduce__(self) -> tuple[Any, ...]:
        return FileSource, (self._path,)


class FsspecSource(Source):
    """A file of a file system of fsspec, which pickles as far as that does.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
    path : str
        As the file system has it.
    name : str
        What messages call it.
    """

    def __init__(self, fs: Any, path: str, name: str) -> None:
        self.name, self._fs, self._path = name, fs, path
        # File systems raise whatever their client library raises; all of it means that the file cannot be read.
        try:
            size = fs.info(path).get("size")
            self._size = int(size) if size is not None else len(fs.cat_file(path))
        except FileNotFoundError:
            raise InputError(f"{name} does not exist.") from None
        except Exception as error:
            raise _unreadable(name, error) from error

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._size

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``, in one range request."""
        if start >= stop:
            return b""
        try:
            data = bytes(self._fs.cat_file(self._path, start=start, end=min(stop, self.size)))
        except Exception as error:
            raise _unreadable(self.name, error) from error
        return exactly(data, start, stop, self.name)

    def beside(self, name: str) -> Source | None:
        """The file of this name in the same folder."""
        try:
            return FsspecSource(self._fs, _sibling(self._path, name), _sibling(self.name, name))
        except InputError:
            return None

    def __reduce__(self) -> tuple[Any, ...]:
        return FsspecSource, (self._fs, self._path, self.name)


class UrlSource(FsspecSource):
    """Anything fsspec opens: s3, gs, zip, memory, ... A pickle holds the URL and the options only.

    Parameters
    ----------
    url : str
    options : mapping, optional
        Of the file system, such as credentials or an endpoint.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise MissingExtraError("Reading a URL", "remote") from None
        self._options = dict(options or {})
        try:
            fs, path = url_to_fs(url, **self._options)
        except Exception as error:
            raise _unreadable(url, error) from error
        super().__init__(fs, path, url)

    def __reduce__(self) -> tuple[Any, ...]:
        return UrlSource, (self.name, self._options)


class StreamSource(Source):
    """A seekable binary file object, which stays the caller's to close. A pickle holds its whole content."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.name = name
        self._size = stream.seek(0, os.SEEK_END)

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._size

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``; the stream's position is not kept."""
        pieces: list[bytes] = []
        with self._lock:
            self._stream.seek(max(0, start))
            missing = stop - start
            # An unbuffered stream may give less than asked at a time.
            while missing > 0 and (piece := self._stream.read(missing)):
                pieces.append(bytes(piece))
                missing -= len(piece)
        return exactly(b"".join(pieces), start, stop, self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return BytesSource, (self.read(0, self.size), self.name)


class GetterSource(Source):
    """Bytes that a function fetches by range, such as a chunk of a Zarr store.

    Parameters
    ----------
    get : callable (start, stop) -> bytes
        Bytes ``start`` to ``stop``, or to the end where ``stop`` is None; fewer where there are no more.
    size : int, optional
        Number of bytes. Where it is not given, a stream of several parts is opened without it, since its index tells, and
        of one of a single part everything is fetched.
    name : str
        What messages call the source.
    """

    def __init__(self, get: Callable[[int, int | None], bytes], size: int | None = None, name: str = "the chunk") -> None:
        self._get, self._size, self.name = get, size, name
        self._first, self._rest = b"", b""

    @property
    def knows_size(self) -> bool:
        """Whether `size` is known without fetching anything."""
        return self._size is not None

    @property
    def size(self) -> int:
        """Number of bytes; fetches what is not there yet where nothing else tells it."""
        if self._size is None:
            start = len(self._first)
            self._rest = bytes(self._get(start, None))
            self._size = start + len(self._rest)
        return self._size

    def head(self, most: int) -> bytes:
        """The first ``most`` bytes, or all where there are fewer."""
        if len(self._first) < most:
            first = bytes(self._get(0, most if self._size is None else min(most, self._size)))
            if len(first) < most and self._size is None:
                self._size = len(first)
            self._first = first
        return self._first[:most]

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``, of what was fetched before where it lies there."""
        held = self._first + self._rest
        data = held[start:stop] if stop <= len(held) else bytes(self._get(start, stop))
        return exactly(data, start, stop, self.name)


def _from_stream(stream: Any) -> Source:
    label = getattr(stream, "name", None)
    name = label if isinstance(label, str) else f"<{type(stream).__name__}>"
    if hasattr(stream, "seekable") and stream.seekable() and stream.read(0) == b"":
        return StreamSource(stream, name)
    content = stream.read()
    if not isinstance(content, (bytes, bytearray)):
        raise InputError(f"{name} is open in text mode; open it with mode 'rb'.")
    return BytesSource(bytes(content), name)


def _sibling(path: str, name: str) -> str:
    """The path or URL of a file in the folder of another one."""
    return f"{path.rpartition('/')[0]}/{name}" if "/" in path else name


def exactly(data: bytes, start: int, stop: int, name: str) -> bytes:
    """The data that was read from ``start`` to ``stop`` of a source called ``name``; FormatError where they are not as many."""
    if start < 0 or len(data) != max(0, stop - start):
        raise FormatError(f"{name} ends before byte {stop}: it is truncated or was changed while open.")
    return data


def _unreadable(url: str, error: Exception) -> InputError:
    detail = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{url} cannot be read: {detail.rstrip('.')}.")

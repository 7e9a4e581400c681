"""Where the bytes of a file come from: memory, a local path, an open file object or a URL, all read by range."""

from __future__ import annotations

import os
import threading
from typing import Any, BinaryIO, Protocol, cast

from microfield.errors import FormatError, InputError, MissingExtraError

_CACHED = 4 << 20
"""Local files up to this many bytes are kept in memory after the first read."""


class Source(Protocol):
    """Bytes that can be read by range, from several threads at once."""

    @property
    def name(self) -> str:
        """What messages call the source."""
        ...

    @property
    def size(self) -> int:
        """Number of bytes."""
        ...

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``.

        Raises
        ------
        FormatError
            If the source ends before ``stop``.
        """
        ...


def open_source(source: Any) -> Source:
    """A `Source` of a path, bytes, a binary file object or a URL.

    Parameters
    ----------
    source : str, os.PathLike, bytes, bytearray, memoryview, binary file object or Source
        A string with ``://`` in it is a URL, opened with fsspec.

    Raises
    ------
    InputError
        If there is no such file, or the value is none of these.
    MissingExtraError
        If a URL is given and fsspec is not installed.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return BytesSource(bytes(source))
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        return UrlSource(path) if "://" in path else FileSource(path)
    if isinstance(source, (BytesSource, FileSource, UrlSource, StreamSource)):
        return source
    if hasattr(source, "read"):
        return _from_stream(source)
    if hasattr(source, "size"):
        return cast("Source", source)
    raise InputError(f"a {type(source).__name__} cannot be opened; give a path, bytes, a binary file object or a URL.")


class BytesSource:
    """Bytes in memory."""

    def __init__(self, data: bytes, name: str = "the data") -> None:
        self._data = data
        self.name = name
        self.size = len(data)

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``."""
        return _exactly(self._data[start:stop], start, stop, self.name)


class FileSource:
    """A local file. No handle is kept between reads, so that the file can be replaced or deleted on Windows too."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self.name = path
        self._content: bytes | None = None
        try:
            if os.path.isdir(self._path):
                raise InputError(f"{path} is a folder, not a microfield file.")
            self.size = os.stat(self._path).st_size
        except FileNotFoundError:
            raise InputError(f"{path} does not exist.") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``."""
        if self.size > _CACHED:
            return _exactly(self._read_file(start, stop), start, stop, self.name)
        # Two threads may both read the file the first time; both get the same bytes.
        if self._content is None:
            self._content = self._read_file(0, self.size)
        return _exactly(self._content[start:stop], start, stop, self.name)

    def _read_file(self, start: int, stop: int) -> bytes:
        try:
            with open(self._path, "rb") as file:
                file.seek(max(0, start))
                return file.read(max(0, stop - start))
        except OSError as error:
            raise InputError(f"{self.name} cannot be read: {error.strerror or error}.") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return FileSource, (self._path,)


class UrlSource:
    """Anything fsspec opens: http, s3, gs, zip, memory, ... A pickle holds the URL only."""

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise MissingExtraError("Reading a URL", "remote") from None
        self.name = url
        # File systems raise whatever their client library raises; all of it means that the URL cannot be read.
        try:
            self._fs, self._path = url_to_fs(url)
            size = self._fs.info(self._path).get("size")
            self.size = int(size) if size is not None else len(self._fs.cat_file(self._path))
        except FileNotFoundError:
            raise InputError(f"{url} does not exist.") from None
        except Exception as error:
            raise _unreadable(url, error) from error

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``, in one range request."""
        if start >= stop:
            return b""
        try:
            data = bytes(self._fs.cat_file(self._path, start=start, end=min(stop, self.size)))
        except Exception as error:
            raise _unreadable(self.name, error) from error
        return _exactly(data, start, stop, self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return UrlSource, (self.name,)


class StreamSource:
    """A seekable binary file object, which stays the caller's to close. A pickle holds its whole content."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.name = name
        self.size = stream.seek(0, os.SEEK_END)

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
        return _exactly(b"".join(pieces), start, stop, self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return BytesSource, (self.read(0, self.size), self.name)


def _from_stream(stream: Any) -> Source:
    label = getattr(stream, "name", None)
    name = label if isinstance(label, str) else f"<{type(stream).__name__}>"
    if hasattr(stream, "seekable") and stream.seekable() and stream.read(0) == b"":
        return StreamSource(stream, name)
    content = stream.read()
    if not isinstance(content, (bytes, bytearray)):
        raise InputError(f"{name} is open in text mode; open it with mode 'rb'.")
    return BytesSource(bytes(content), name)


def _exactly(data: bytes, start: int, stop: int, name: str) -> bytes:
    if start < 0 or len(data) != max(0, stop - start):
        raise FormatError(f"{name} ends before byte {stop}: it is truncated or was changed while open.")
    return data


def _unreadable(url: str, error: Exception) -> InputError:
    detail = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{url} cannot be read: {detail.rstrip('.')}.")

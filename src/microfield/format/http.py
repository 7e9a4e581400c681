"""Files on web servers, read by range with Python's own client; a server is trusted no more than a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin

from microfield.errors import FormatError, InputError
from microfield.format.source import Source, exactly

TIMEOUT = 30.0
"""Seconds that a server may stay silent."""

SLOWEST = 4096
"""A server that sends fewer bytes a second than this, `TIMEOUT` seconds aside, is given up."""

FIRST = 16 << 10
"""Bytes fetched on opening, which hold the header and index of most files."""

WHOLE_LIMIT = 64 << 20
"""From a server that cannot send a range of bytes, a file of at most this size is fetched whole (64 MiB)."""

_CHUNK = 1 << 16


class HttpSource(Source):
    """A file at an ``http`` or ``https`` URL. A pickle holds the URL only."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._first, self._size, self._ranged = self._open()

    def __reduce__(self) -> tuple[Any, ...]:
        return HttpSource, (self.name,)

    def beside(self, name: str) -> Source | None:
        """The file of this name in the same folder."""
        try:
            return HttpSource(urljoin(self.name, name))
        except InputError:
            return None

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._size

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``, in one request unless they were fetched on opening.

        Raises
        ------
        FormatError
            The file ends before ``stop``, or was changed since it was opened.
        InputError
            The server cannot be reached, is too slow, or answers with anything but these bytes.
        """
        if start >= stop or stop <= len(self._first) or not self._ranged or stop > self._size:
            return exactly(self._first[max(0, start) : max(0, stop)] if start >= 0 else b"", start, stop, self.name)
        with self._request(start, stop) as answer:
            found, size = self._range_of(answer)
            if found != start or size != self._size:
                raise FormatError(f"{self.name} was changed while it was open; open it again.")
            return exactly(self._body(answer, stop - start), start, stop, self.name)

    def _open(self) -> tuple[bytes, int, bool]:
        """The first bytes, the size of the file, and whether the server sends ranges; else the first bytes are all."""
        with self._request(0, FIRST) as answer:
            if answer.status == _NOTHING_THERE:
                return b"", 0, True
            if answer.status == _PART:
                start, size = self._range_of(answer)
                wanted = min(FIRST, size)
                return exactly(self._body(answer, wanted) if start == 0 else b"", 0, wanted, self.name), size, True
            data = self._body(answer, WHOLE_LIMIT + 1)
        if len(data) > WHOLE_LIMIT:
            raise InputError(f"{self.name} cannot be read: its server sends no ranges of bytes, and the file is larger than "
                             f"{WHOLE_LIMIT >> 20} MiB; download it first.")
        return data, len(data), False

    @contextmanager
    def _request(self, start: int, stop: int) -> Iterator[Any]:
        """The answer to a request for a range of bytes; whatever goes wrong becomes a sentence that says what it was."""
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError
        from urllib.request import Request, urlopen

        try:
            request = Request(self.name, headers={"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"})
            try:
                answer = urlopen(request, timeout=TIMEOUT)
            except HTTPError as error:
                if error.code != _NOTHING_THERE:
                    raise
                answer = error
            with answer:
                encoding = answer.headers.get("Content-Encoding", "identity").lower()
                if encoding != "identity":
                    raise InputError(f"{self.name} cannot be read: its server compresses the file on the way ({encoding}), so that "
                                     "parts of it cannot be asked for; download it first.")
                yield answer
        except HTTPError as error:
            with error:
                raise InputError(f"{self.name} {_meaning(error.code, error.reason)}.") from None
        except TimeoutError:
            raise InputError(f"{self.name} cannot be read: its server sent nothing for {TIMEOUT:g} seconds.") from None
        except URLError as error:
            reason = f"no answer within {TIMEOUT:g} seconds" if isinstance(error.reason, TimeoutError) else error.reason
            raise InputError(f"{self.name} cannot be reached: {_sentence(reason)}.") from None
        except (HTTPException, OSError, ValueError) as error:
            if isinstance(error, (InputError, FormatError)):
                raise
            raise InputError(f"{self.name} cannot be read: {_sentence(error)}.") from None

    def _range_of(self, answer: Any) -> tuple[int, int]:
        """Where the bytes of an answer begin, and the size of the file."""
        if answer.status == _NOTHING_THERE:
            raise FormatError(f"{self.name} was changed while it was open; open it again.")
        said = answer.headers.get("Content-Range", "")
        unit, _, rest = said.partition(" ")
        where, _, size = rest.partition("/")
        start = where.partition("-")[0]
        if answer.status != _PART or unit != "bytes" or not (start.isdecimal() and size.isdecimal()):
            raise InputError(f"{self.name} cannot be read: its server answered a request for a range of bytes with status "
                             f"{answer.status} and the range {said!r}; download it first.")
        return int(start), int(size)

    def _body(self, answer: Any, most: int) -> bytes:
        """The body of an answer, but no more than ``most`` bytes of it, however much the server sends."""
        pieces: list[bytes] = []
        missing, begin = most, time.monotonic()
        while missing > 0 and (piece := answer.read1(min(missing, _CHUNK))):
            pieces.append(piece)
            missing -= len(piece)
            if time.monotonic() - begin > TIMEOUT + (most - missing) / SLOWEST:
                raise InputError(f"{self.name} cannot be read: its server sends fewer than {SLOWEST} bytes a second.")
        return b"".join(pieces)


_PART, _NOTHING_THERE = 206, 416
"""Status of an answer that holds the range asked for, and of one that says the file ends before it."""


def _meaning(status: int, reason: str) -> str:
    """What a refusal of a server means for the file."""
    said = f"the server says {status} {reason}".rstrip()
    if status in (404, 410):
        return f"does not exist ({said})"
    if status in (401, 403, 407):
        return f"cannot be read: access is denied ({said}); give a URL that needs no password, or download the file first"
    if status == 429 or status >= 500:
        return f"cannot be read for now ({said}); try again later"
    return f"cannot be read ({said})"


def _sentence(reason: Any) -> str:
    """A reason in one line without a full stop."""
    return (" ".join(str(reason).split()) or type(reason).__name__).rstrip(".")

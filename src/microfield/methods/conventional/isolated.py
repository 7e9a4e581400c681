"""Decoders that do not withstand streams made to harm them run in a process of their own, with limits of time and memory.

That process reads requests from its standard input and answers on its standard output, one after another, and ends when its parent
does. If a stream ends it, or makes it stand still, the part is damaged and the next request starts another one.

    request   a line of JSON, then the bytes of the stream
    answer    a line of JSON, then the sheets as float32, little endian, in C order
"""

from __future__ import annotations

import atexit
import json
import math
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from microfield.errors import FormatError, InputError, MissingExtraError
from microfield.methods.conventional.sheets import Floats

Shape = tuple[int, int, int, int]

SECONDS, SECONDS_PER_VOXEL = 60.0, 1e-5
"""How long decoding a part may take."""

MEMORY, MEMORY_PER_VOXEL = 1 << 29, 64
"""Bytes that decoding a part may take, beside what the process has when it begins."""

_PROGRAM = "from microfield.methods.conventional.isolated import serve; serve()"


@dataclass(frozen=True)
class Request:
    """A stream to decode.

    Attributes
    ----------
    method : name of the method
    arrangement : its byte, see `Arrangement.code`
    shape : of the sheets (channels, frames, Y, X)
    layout : shape, axes and dtype of the part
    data : the stream
    """

    method: str
    arrangement: int
    shape: Shape
    layout: tuple[tuple[int, ...], str, str]
    data: bytes

    @property
    def voxels(self) -> int:
        """Number of values of the sheets."""
        return math.prod(self.shape)


def expand(request: Request) -> Floats:
    """The sheets of a stream, decoded in the other process; safe to call from several threads.

    Raises
    ------
    FormatError
        The stream cannot be decoded, or ended the process, or took too long or too much memory.
    InputError
        The other process cannot be started.
    MissingExtraError
        The codec is not installed.
    """
    with _lock:
        return _worker().decode(request)


class Worker:
    """The parent's side of the other process."""

    def __init__(self) -> None:
        if hasattr(sys, "frozen") or not sys.executable:  # A program that holds its own Python would start itself again.
            raise _no_python("this program holds its own")
        # -P: the current folder, where anybody's files may lie, is no place to import from.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        try:
            self._process = subprocess.Popen([sys.executable, "-P", "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=subprocess.DEVNULL, env=environment)
        except OSError as error:
            raise _no_python(str(error.strerror)) from None
        self._owner = os.getpid()

    @property
    def usable(self) -> bool:
        """Whether it runs, and is a child of this process rather than of one that was copied."""
        return self._owner == os.getpid() and self._process.poll() is None

    def end(self) -> None:
        """End the process, unless it belongs to another one."""
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()

    def decode(self, request: Request) -> Floats:
        """The sheets of a stream; parameters and errors are those of `expand`."""
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(SECONDS + SECONDS_PER_VOXEL * request.voxels, stop)
        timer.daemon = True
        timer.start()
        try:
            answer, values = self._ask(request)
        except (OSError, ValueError, EOFError):
            self.end()
            what = "takes too long" if late.is_set() else "ends its decoder"
            raise FormatError(f"the {request.method} stream of a part {what}: it is damaged, or made to do harm.") from None
        except BaseException:
            self.end()  # The answer is still under way.
            raise
        finally:
            timer.cancel()
        if answer["kind"] == "missing":
            raise MissingExtraError(f"Decoding with {request.method}", "codecs")
        if answer["kind"] != "sheets":
            raise FormatError(f"the {request.method} stream of a part cannot be decoded ({answer['kind']}).")
        return np.frombuffer(values, "<f4").astype(np.float32).reshape(answer["shape"])

    def _ask(self, request: Request) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for its answer; OSError, ValueError or EOFError where the process ends before it."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        head = {"method": request.method, "arrangement": request.arrangement, "shape": request.shape, "layout": request.layout,
                "length": len(request.data)}
        to.write(json.dumps(head).encode() + b"\n" + request.data)
        to.flush()
        answer: dict[str, Any] = json.loads(back.readline(1 << 16))
        if answer["kind"] == "sheets" and math.prod(answer["shape"]) != request.voxels:
            raise ValueError("other sheets than asked for")
        return answer, _exactly(back, 4 * request.voxels if answer["kind"] == "sheets" else 0)


def _no_python(reason: str) -> InputError:
    return InputError(f"no Python can be started to decode this file safely ({reason}); if you know who made it, open it with "
                      "trusted=True.")


_lock = threading.Lock()
_current: Worker | None = None


def _worker() -> Worker:
    """The process that runs, or a new one."""
    global _current
    if _current is None or not _current.usable:
        if _current is None:
            atexit.register(_end)
        else:
            _current.end()
        _current = Worker()
    return _current


def _end() -> None:
    if _current is not None:
        _current.end()


# -- the other process ----------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests until there are no more."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What a codec prints is no answer.
    while line := requests.readline():
        head = json.loads(line)
        data = _exactly(requests, head["length"])
        try:
            _limit_memory(MEMORY + MEMORY_PER_VOXEL * math.prod(head["shape"]))
            sheets = _expanded(head, data)
            kind = "sheets"
        except ImportError:
            kind, sheets = "missing", np.empty(0, np.float32)
        except Exception as error:
            kind, sheets = type(error).__name__, np.empty(0, np.float32)
        answers.write(json.dumps({"kind": kind, "shape": sheets.shape}).encode() + b"\n" + sheets.astype("<f4").tobytes())
        answers.flush()


def _expanded(head: dict[str, Any], data: bytes) -> Floats:
    from microfield.image import Layout
    from microfield.methods import get_method
    from microfield.methods.conventional.base import Arrangement, ConventionalMethod

    method = get_method(head["method"])
    assert issubclass(method, ConventionalMethod)
    extents, axes, dtype = head["layout"]
    arrangement = Arrangement.of(head["arrangement"], Layout(tuple(extents), axes, np.dtype(dtype)), method.packings)
    return method.expand(data, tuple(head["shape"]), arrangement)


def _limit_memory(more: int) -> None:
    """Let this process take ``more`` bytes than it has now, where the system can hold it to that."""
    try:
        import resource
        from pathlib import Path

        now = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = now + more
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    except (ImportError, OSError, ValueError):
        return  # Windows and macOS: its parent's limit of time is left.


def _exactly(stream: IO[bytes], n: int) -> bytes:
    """The next ``n`` bytes; EOFError where the stream ends before."""
    data = stream.read(n)
    if len(data) != n:
        raise EOFError
    return data

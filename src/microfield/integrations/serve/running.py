"""Running the web application with uvicorn until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from microfield.errors import InputError, MissingExtraError
from microfield.integrations.serve.application import CACHE_BYTES, Access, application

BACKLOG = 2048
"""Connections that may wait."""

LOOPBACK = ("127.0.0.1", "localhost")
"""Names under which only this machine is reached."""

PORT = 8000

GRACE = 3
"""Seconds that responses under way have when the server stops."""


@dataclass(frozen=True)
class Place:
    """Where the server listens.

    Parameters
    ----------
    host : str
        Name or address of a network interface of this machine; ``0.0.0.0`` is all of them.
    port : int
        0 takes any that is free.
    origins : tuple of str
        See `Access.origins`.
    """

    host: str = LOOPBACK[0]
    port: int = PORT
    origins: tuple[str, ...] = field(default_factory=tuple)

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in LOOPBACK


def serve(folder: str | Path, place: Place, *, workers: int | None = None, cache_bytes: int = CACHE_BYTES,
          ready: Callable[[str], None] | None = None) -> None:
    """Serve a folder until the process is interrupted.

    Parameters
    ----------
    folder : path
    place : Place
    workers, cache_bytes
        See `application`.
    ready : callable (address), optional
        Called once, when requests are waited for.

    Raises
    ------
    InputError
        The folder is none, or nothing can listen there.
    MissingExtraError
        starlette or uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError:
        raise MissingExtraError("Serving files", "serve") from None
    access = Access(hosts=LOOPBACK if place.local else ("*",), origins=place.origins)
    app = application(folder, access, workers=workers, cache_bytes=cache_bytes)
    with listening(place) as found:
        if ready is not None:
            host = f"[{place.host}]" if ":" in place.host else place.host
            ready(f"http://{host}:{found.getsockname()[1]}/")
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE)
        uvicorn.Server(config).run(sockets=[found])


def listening(place: Place) -> socket.socket:
    """A socket that listens at the place, where clients wait until they are answered; the caller closes it.

    Raises
    ------
    InputError
        The port is taken, or the host is none of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InputError(f"{place.host} is no address of this machine ({error.strerror or error}); leave the host out for "
                         f"{LOOPBACK[0]}.") from None
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        raise InputError(f"nothing can listen at {place.host}:{place.port} ({error.strerror}); choose another port, or 0 for any "
                         "that is free.") from None
    return found

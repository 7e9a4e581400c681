"""The web application: addresses, and what is answered to them.

======================================  ==============================================================
``/``                                   a page that lists the images
``/0.4/NAME.ome.zarr/...``              an image as OME-Zarr 0.4 (Zarr 2)
``/0.5/NAME.ome.zarr/...``              the same as OME-Zarr 0.5 (Zarr 3)
``/pictures/NAME.mfield``               a small picture as PNG
``/files/NAME.mfield``                  the microfield file itself, which `microfield.open` reads by range
======================================  ==============================================================

Only GET and HEAD are answered. What is wrong with an image is status 422 with one sentence, and harms no other image.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from microfield.errors import MicrofieldError, MissingExtraError
from microfield.integrations.serve.folder import SUFFIX, Folder, NotServedError
from microfield.integrations.serve.image import VERSIONS, ServedImage
from microfield.integrations.serve.library import Library, reason
from microfield.integrations.serve.page import page
from microfield.integrations.serve.ranges import UnsatisfiableRangeError, byte_range

if TYPE_CHECKING:
    import anyio
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

CACHE_BYTES = 1 << 28
"""Chunks and pictures that are kept (256 MiB)."""

ZARR = ".ome.zarr"

LOOPBACK = r"https?://(localhost|127\.0\.0\.1)(:\d+)?"
"""Origins of web pages that this machine serves itself."""

CLOSED = 499
"""Status of a request whose client has gone; nobody sees it."""

SAFE = {"Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'",
        "X-Content-Type-Options": "nosniff"}
"""Headers of pages: names of files cannot make a browser run anything."""

Result = TypeVar("Result")


class ImageError(MicrofieldError):
    """An image that is there cannot be served; the message says which, and why."""


@dataclass(frozen=True)
class Access:
    """Who may read.

    Parameters
    ----------
    hosts : sequence of str
        Names under which the server answers; ``*`` for any. Others are refused, so that no web page can reach it by a name
        of its own that leads to this machine.
    origins : sequence of str
        Web pages of these origins, such as ``https://hms-dbmi.github.io``, may read besides those of this machine; ``*`` for any.
    """

    hosts: Sequence[str] = ("127.0.0.1", "localhost")
    origins: Sequence[str] = ()


def application(folder: str | Path, access: Access | None = None, *, workers: int | None = None,
                cache_bytes: int = CACHE_BYTES) -> Starlette:
    """The application that serves a folder, for uvicorn or another ASGI server.

    Parameters
    ----------
    folder : path
        Holds the files, or folders of them.
    access : Access, optional
        Who may read; by default this machine.
    workers : int, optional
        Chunks that are decoded at once; by default one for each processor.
    cache_bytes : int
        Chunks and pictures that are kept, in bytes.

    Raises
    ------
    MissingExtraError
        starlette is not installed.
    InputError
        The folder is none.
    """
    try:
        import anyio
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.cors import CORSMiddleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.routing import Route
    except ImportError:
        raise MissingExtraError("Serving files", "serve") from None
    access = access or Access()
    server = _Server(Library(Folder.of(folder), cache_bytes), anyio.CapacityLimiter(workers or os.cpu_count() or 1))
    routes = [
        Route("/", server.index), Route("/pictures/{name:path}", server.picture), Route("/files/{name:path}", server.file),
        *(Route(f"/{version}/{{path:path}}", partial(server.zarr, version), name=version) for version in VERSIONS),
    ]
    cross = Middleware(CORSMiddleware, allow_origins=list(access.origins), allow_origin_regex=LOOPBACK, allow_headers=["*"],
                       allow_methods=["GET", "HEAD"], expose_headers=["Content-Range", "Content-Length", "Accept-Ranges"])
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=list(access.hosts), www_redirect=False)
    refusals: dict[type[Exception], Callable[[Request, Exception], Response]] = {
        NotServedError: _not_there, ImageError: _refused}
    return Starlette(routes=routes, middleware=[trusted, cross], exception_handlers=refusals)


class _Server:
    """Answers requests; what decodes runs in threads, as many at once as the limiter says."""

    def __init__(self, library: Library, limiter: anyio.CapacityLimiter) -> None:
        self.library, self.limiter = library, limiter

    async def index(self, request: Request) -> Response:
        from starlette.responses import HTMLResponse

        text = await self._decoded(request, "", lambda: page(self.library, str(request.url.replace(query=""))))
        return HTMLResponse(text, headers=SAFE)

    async def picture(self, request: Request) -> Response:
        from starlette.responses import Response

        name = request.path_params["name"]
        found = await self._decoded(request, name, lambda: self.library.picture(name))
        return Response(found, media_type="image/png")

    async def file(self, request: Request) -> Response:
        from starlette.responses import FileResponse

        path = self.library.folder.path(request.path_params["name"])
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    async def zarr(self, version: str, request: Request) -> Response:
        name, key = self._image_of(request.path_params["path"])
        image = await self._decoded(request, name, lambda: self.library.image(name))
        place = image.place(version, key)
        if place is None:
            return await self._document(request, image, version, key)
        size = image.chunk_bytes(place.level)
        try:
            part = byte_range(request.headers.get("range"), size)
        except UnsatisfiableRangeError as error:
            return _sentence(str(error), 416, {"Content-Range": f"bytes */{size}"})
        if request.method == "HEAD":  # Told without decoding.
            return _binary(b"", part, size, {"Content-Length": str(size if part is None else len(part))})
        return _binary(await self._decoded(request, name, lambda: self.library.chunk(name, place)), part, size, {})

    async def _document(self, request: Request, image: ServedImage, version: str, key: str) -> Response:
        from starlette.responses import Response

        found = await self._decoded(request, image.file.name, lambda: image.document(version, key))
        if found is None:
            return _sentence(f"OME-Zarr {version} of {image.file.name} has no {key or 'index page'}; give a viewer the address of "
                             f"the image, which ends in {ZARR}.", 404)
        return Response(json.dumps(found, allow_nan=False), media_type="application/json")

    def _image_of(self, path: str) -> tuple[str, str]:
        """The name of the image that an address leads into, and the key within it."""
        ends = [i for i in range(len(path)) if path.startswith(ZARR, i) and path[i + len(ZARR):i + len(ZARR) + 1] in ("", "/")]
        for end in ends:  # Folders may have such names, too.
            name = path[:end] + SUFFIX
            try:
                self.library.folder.path(name)
            except NotServedError:
                continue
            return name, path[end + len(ZARR) + 1:]
        raise NotServedError(f"there is no image {path!r} here.")

    async def _decoded(self, request: Request, name: str, work: Callable[[], Result]) -> Result:
        """What ``work`` returns, in a thread; a client that has gone by then is not worked for.

        Raises
        ------
        ImageError
            It cannot be done for the image of this name.
        """
        import anyio.to_thread
        from starlette.exceptions import HTTPException

        async with self.limiter:
            if await request.is_disconnected():
                raise HTTPException(CLOSED)
            try:
                result: Result = await anyio.to_thread.run_sync(work)
            except NotServedError:
                raise
            except (MicrofieldError, OSError, MemoryError) as error:
                raise ImageError(f"{name}: {reason(error)}") from error
            return result


def _binary(data: bytes, part: range | None, size: int, headers: dict[str, str]) -> Response:
    from starlette.responses import Response

    headers |= {"Accept-Ranges": "bytes"}
    if part is None:
        return Response(data, headers=headers, media_type="application/octet-stream")
    headers |= {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{size}"}
    return Response(data[part.start:part.stop], 206, headers, media_type="application/octet-stream")


def _sentence(text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(f"{text}\n", status, headers)


def _not_there(request: Request, error: Exception) -> Response:
    del request
    return _sentence(str(error), 404)


def _refused(request: Request, error: Exception) -> Response:
    del request
    return _sentence(str(error), 422)

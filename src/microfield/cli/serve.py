"""``microfield serve``: the files of a folder over HTTP, as plain OME-Zarr for viewers that know nothing of microfield."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any

from microfield.errors import UsageError


def add_to(commands: Any) -> None:
    """Declare the command."""
    p = commands.add_parser("serve", help="offer a folder of files to viewers, as OME-Zarr over HTTP")
    p.add_argument("folder", metavar="DIR", help="holds .mfield files, or folders of them")
    p.add_argument("--port", type=int, default=8000, metavar="N", help="0 for any that is free (default 8000)")
    p.add_argument("--host", default="127.0.0.1", metavar="NAME",
                   help="where others reach this machine, 0.0.0.0 for all its addresses; by default only this machine is served")
    p.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN",
                   help="web pages of this origin may read, too, such as https://hms-dbmi.github.io; '*' for all pages")
    p.add_argument("--threads", type=int, metavar="N", help="chunks that are decoded at once (by default one for each processor)")
    p.add_argument("--cache", default="256MB", metavar="SIZE", help="decoded chunks that are kept (default 256MB)")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; the exit status."""
    from microfield.integrations.serve.running import Place, serve
    from microfield.writing.budget import parse_bytes

    if not 0 <= arguments.port < 1 << 16:
        raise UsageError(f"--port {arguments.port} must be 0 to 65535.")
    if arguments.threads is not None and arguments.threads < 1:
        raise UsageError(f"--threads {arguments.threads} must be at least 1.")
    place = Place(arguments.host, arguments.port, tuple(arguments.allow_origin))
    if not place.local:
        print("note: whoever reaches this machine can read the images; there is no password.", file=sys.stderr)
    with contextlib.suppress(KeyboardInterrupt):
        serve(arguments.folder, place, workers=arguments.threads, cache_bytes=parse_bytes(arguments.cache),
              ready=lambda address: print(f"serving {arguments.folder} at {address} (Ctrl-C ends it)", flush=True))
    return 0

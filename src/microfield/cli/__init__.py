"""The command line: ``microfield compress | decompress | info | verify | methods | compare | bench``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from microfield.cli import bench, compare, compress, decompress, inspect
from microfield.errors import MicrofieldError, UsageError
from microfield.wording import command_line

INTERRUPTED = 130
"""Exit status after Ctrl-C: what shells report of a program that SIGINT has ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 the work failed, 2 the call was wrong, 130 interrupted."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    # These libraries log warnings on damaged files, which our error message would repeat.
    for reader in ("tifffile", "bioio"):
        logging.getLogger(reader).setLevel(logging.CRITICAL)
    try:
        with command_line():
            return int(arguments.run(arguments))
    except MicrofieldError as error:
        return _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        return _fail("interrupted; files that were complete stay, nothing half-written is left.", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has stopped (`| head`). Python would fail again when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail("not enough memory for this; select less at once, or compress in tiles (--tile).")
    except OSError as error:
        what = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{what}.")


def _fail(message: str, status: int = 1) -> int:
    """Print why the command failed, and return its exit status."""
    print(f"microfield: {message}", file=sys.stderr)
    return status


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; every module of commands adds its own."""
    from microfield import __version__

    parser = argparse.ArgumentParser(
        prog="microfield", description="Microscopy images as neural fields: small files, read voxel by voxel."
    )
    parser.add_argument("--version", action="version", version=f"microfield {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for module in (compress, decompress, inspect, compare, bench):
        module.add_to(commands)
    return parser

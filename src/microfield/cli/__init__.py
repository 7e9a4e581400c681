"""The command line: ``microfield compress | decompress | info | verify | methods | compare | bench``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from microfield.cli import bench, compare, compress, decompress, inspect
from microfield.errors import MicrofieldError, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 the work failed, 2 the call was wrong."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    # Readers log what they make of damaged files; our one sentence says it better.
    for reader in ("tifffile", "bioio"):
        logging.getLogger(reader).setLevel(logging.CRITICAL)
    try:
        return int(arguments.run(arguments))
    except MicrofieldError as error:
        return _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        return _fail("interrupted; files that were complete stay, nothing half-written is left.")
    except BrokenPipeError:
        # Somebody stopped reading our output (`| head`): not worth a message, and no second error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail("not enough memory for this; select less at once, or compress in tiles (--tile).")
    except OSError as error:
        what = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{what}.")


def _fail(message: str, status: int = 1) -> int:
    print(f"microfield: {message}", file=sys.stderr)
    return status


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, one module per command."""
    from microfield import __version__

    parser = argparse.ArgumentParser(
        prog="microfield", description="Microscopy images as neural fields: small files, read voxel by voxel."
    )
    parser.add_argument("--version", action="version", version=f"microfield {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for module in (compress, decompress, inspect, compare, bench):
        module.add_to(commands)
    return parser

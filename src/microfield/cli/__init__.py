"""The command line: ``microfield compress | decompress | info | verify | methods | compare | bench | study | serve``.

Commands are imported when one runs, so that Ctrl-C is understood as early as can be.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from microfield.cli.interrupt import INTERRUPTED, SENTENCE, leave, run_interruptibly


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 the work failed, 2 the call was wrong, 130 interrupted."""
    _prepare_streams()
    try:
        return _run(argv)
    except KeyboardInterrupt:
        if argv is None:  # The process is ours alone, and Python would wait for threads of libraries.
            leave(INTERRUPTED)
        return _fail(SENTENCE, INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has stopped (`| head`). Python would fail again when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail("not enough memory for this; select less at once, or compress in tiles (--tile).")
    except OSError as error:
        what = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{what}.")


def _prepare_streams() -> None:
    """Give closed standard streams somewhere to go, and names of files that are no text an escaped form on the terminal."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (lives as long as the process)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(argv: Sequence[str] | None) -> int:
    """Run one command; the exit status, where nothing but the user's input is wrong with it."""
    from microfield.errors import MicrofieldError, UsageError
    from microfield.wording import command_line

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
            if arguments.command in ("bench", "study", "serve"):  # Each ends itself on Ctrl-C, with what it has started.
                return int(arguments.run(arguments))
            return run_interruptibly(lambda: int(arguments.run(arguments)), own_process=argv is None)
    except MicrofieldError as error:
        return _fail(str(error), 2 if isinstance(error, UsageError) else 1)


def _fail(message: str, status: int = 1) -> int:
    """Print why the command failed, and return its exit status."""
    print(f"microfield: {message}", file=sys.stderr)
    return status


class _Version(argparse.Action):
    """Says the version and what computes, and ends; the kernel is not looked for before it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        from microfield import __version__
        from microfield.kernel import loading

        print(f"microfield {__version__}\n{loading.sentence()}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; every module of commands adds its own."""
    from microfield.cli import bench, compare, compress, decompress, inspect, serve, study

    parser = argparse.ArgumentParser(
        prog="microfield", description="Microscopy images in small files that are read like an array. Lossy: keep originals."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version, and whether the compiled kernel is used")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for module in (compress, decompress, inspect, compare, bench, study, serve):
        module.add_to(commands)
    return parser

"""Finds the compiled kernel, checks that it belongs to this version, and says whether it is used.

Without it everything is computed with NumPy: the same bytes and values, more slowly.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

from microfield.kernel.building import file_name, fingerprint

SWITCH = "MICROFIELD_KERNEL"
"""Environment variable: ``off`` computes with NumPy; the name of an `Instructions` uses none beyond these."""
FOLDER = Path(__file__).parent
"""Where the library is looked for."""


class Instructions(IntEnum):
    """Sets of instructions that the kernel chooses from; each includes those before it."""

    PLAIN = 0
    SSE2 = 1
    AVX2 = 2
    AVX512 = 3


class Found(NamedTuple):
    """What was found.

    Attributes
    ----------
    library : ctypes.CDLL or None
    sentence : str
        What is used, or why the kernel is not.
    """

    library: ctypes.CDLL | None
    sentence: str


_off = 0
_off_lock = threading.Lock()


def library() -> ctypes.CDLL | None:
    """The kernel; None where there is none, or it is switched off."""
    return None if _off else found().library


def sentence() -> str:
    """What computes, in words."""
    return found().sentence


@contextmanager
def without() -> Iterator[None]:
    """Compute with NumPy, in all threads, while anybody is inside."""
    global _off
    with _off_lock:
        _off += 1
    try:
        yield
    finally:
        with _off_lock:
            _off -= 1


@cache
def found() -> Found:
    """The kernel that is installed, opened once."""
    wanted = os.environ.get(SWITCH, "").strip().lower()
    if wanted in ("off", "0", "no"):
        return Found(None, f"NumPy computes: the environment variable {SWITCH} switches the kernel off.")
    names = {one.name.lower(): one for one in Instructions}
    if wanted and wanted not in (*names, "on", "1"):
        return Found(None, f"NumPy computes: the environment variable {SWITCH} is {wanted!r}, not off, {', '.join(names)}.")
    opened = opened_at(FOLDER / file_name())
    if opened.library is None:
        return opened
    level = Instructions(opened.library.mf_use(names.get(wanted, max(Instructions))))
    return Found(opened.library, f"the compiled kernel computes, with {level.name} instructions.")


def opened_at(path: Path) -> Found:
    """The kernel in a file, if it was made of the sources beside this module."""
    again = "compile it with `python -m microfield.kernel.building`, or install microfield again where there is a C compiler"
    if not path.is_file():
        return Found(None, f"NumPy computes: no kernel was compiled; {again}.")
    try:
        loaded = ctypes.CDLL(str(path))
        loaded.mf_sources.restype = ctypes.c_char_p
        version = loaded.mf_sources().decode("ascii", "replace")
    except (OSError, AttributeError) as error:
        return Found(None, f"NumPy computes: the kernel {path.name} cannot be loaded ({error}); {again}.")
    if version != fingerprint():
        return Found(None, f"NumPy computes: the kernel {path.name} belongs to another version of microfield; {again}.")
    return Found(loaded, "the compiled kernel computes.")

"""How much memory a read may take: what the user said, or what suits the machine."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache

from microfield.errors import InputError

USUAL = 2**32
"""Bytes that one read may return unless the user says otherwise (4 GiB)."""

UNLIMITED = 2**62
"""`max_read_bytes` for files that this program made itself."""

_MEMORY_UNKNOWN = 2**34
"""Bytes of memory that a machine is taken to have where it does not tell (16 GiB)."""


@dataclass(frozen=True)
class Limits:
    """Bytes that a read may take.

    Attributes
    ----------
    result : int
        For the values that it returns.
    working : int
        Beside them: to decode a part, and for decoded parts that are kept.
    """

    result: int
    working: int

    @classmethod
    def of(cls, max_read_bytes: int | None) -> Limits:
        """Both as the user said; by default `USUAL` for the result, and the memory of this machine to decode a part."""
        if max_read_bytes is not None:
            return cls(max_read_bytes, max_read_bytes)
        return cls(USUAL, max(USUAL, physical_memory()))

    def check(self, needed: int, name: str) -> None:
        """Refuse a read of a file called ``name`` that returns, or needs beside what it decodes, more bytes than allowed.

        Raises
        ------
        InputError
            It does; the message says what would allow it.
        """
        if needed > self.result:
            raise InputError(f"this read of {name} needs {needed:,} bytes, more than max_read_bytes={self.result:,}; "
                             f"select less or open the file with max_read_bytes={needed}.")


@cache
def physical_memory() -> int:
    """Bytes of memory of this machine."""
    if sys.platform == "win32":
        return _windows_memory()
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _MEMORY_UNKNOWN


def _windows_memory() -> int:
    import ctypes

    total = ctypes.c_ulonglong()
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (only there on Windows, so type checkers elsewhere miss it)
    return 1024 * total.value if kernel.GetPhysicallyInstalledSystemMemory(ctypes.byref(total)) else _MEMORY_UNKNOWN

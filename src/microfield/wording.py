"""How messages name what the user can change: arguments in Python, flags on the command line.

The command line says so once, when it starts (`command_line`). It holds for the whole process rather than for one thread,
since threads that decode or encode write messages, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_speaks_flags = False


@contextmanager
def command_line() -> Iterator[None]:
    """While this lasts, `argument` and `spoken` word things for the command line."""
    global _speaks_flags
    before, _speaks_flags = _speaks_flags, True
    try:
        yield
    finally:
        _speaks_flags = before


def spoken(python: str, flags: str) -> str:
    """One of two wordings: that for Python, or that for the command line where the command line runs."""
    return flags if _speaks_flags else python


def argument(name: str, value: Any = None) -> str:
    """An argument as the user writes it.

    Parameters
    ----------
    name : str
        Name of the argument in Python, such as ``nan_fill``; the flag has dashes in the place of underscores.
    value : optional
        What to give it. True is a flag without a value; with None only the argument is named.

    Returns
    -------
    str
        ``argument("nan_fill", 0)`` is ``nan_fill=0`` in Python and ``--nan-fill 0`` on the command line, ``argument("axes")``
        is ``axes=`` and ``--axes``, ``argument("not_labels", True)`` is ``not_labels=True`` and ``--not-labels``.
    """
    flag = "--" + name.replace("_", "-")
    if value is None:
        return spoken(f"{name}=", flag)
    return spoken(f"{name}={value}", flag if value is True else f"{flag} {value}")


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words in a row: ``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"

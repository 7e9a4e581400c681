"""Arguments of the wrong type: one sentence that names the argument, in the place of an error from somewhere inside.

Every function returns the argument as the callers use it, and raises UsageError where it is none of what it names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from microfield.errors import UsageError
from microfield.wording import argument


def number(name: str, value: Any, *, whole: bool = False, least: float | None = None) -> Any:
    """A number of Python's own, from one of Python or NumPy, which files and JSON can hold.

    Parameters
    ----------
    name : str
        What messages call the argument.
    value : number
        Booleans are none.
    whole : bool
        Only whole numbers will do.
    least : float, optional
        The smallest number that makes sense.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    found: Any
    kind = Integral if whole else Real
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        raise wrong(name, value, f"a {'whole ' if whole else ''}number")
    found = value.item() if isinstance(value, np.generic) else value
    if least is not None and not found >= least:
        raise wrong(name, value, f"at least {least:g}")
    return found


def path(name: str, value: Any) -> str | os.PathLike[str]:
    """The path of a file: text, or `pathlib.Path`."""
    if isinstance(value, str) or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)):
        return value
    raise wrong(name, value, "a path: text or pathlib.Path")


def letters(name: str, value: Any) -> str | None:
    """One capital letter per axis, such as ``ZYX``; None stays."""
    if value is None or isinstance(value, str):
        return value and value.upper()
    raise wrong(name, value, "text with one letter per axis, such as 'ZYX'")


def name_or_number(name: str, value: Any) -> str | int | None:
    """Which one of several, by name or by its number from 0; None stays."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    raise wrong(name, value, "a name, or a number from 0")


def mapping(name: str, value: Any, example: str) -> Mapping[Any, Any]:
    """A mapping, such as a dict; ``example`` shows one."""
    if isinstance(value, Mapping):
        return value
    raise wrong(name, value, f"a dict such as {example}")


def listener(name: str, value: Any) -> bool | Callable[[float, str], None] | None:
    """Whom a long step tells its progress: True for a line on standard error, a function, or nobody."""
    if value is None or callable(value):
        return value  # type: ignore[no-any-return]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise wrong(name, value, "True, or a function of (fraction, message)")


def switch(name: str, value: Any) -> bool:
    """True or False."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise wrong(name, value, "True or False")


def wrong(name: str, value: Any, wanted: str) -> UsageError:
    """The sentence: ``effort=2.5 must be a whole number.``; long values are shortened, arrays are told by their type."""
    shown = type(value).__name__ if hasattr(value, "__array__") and not isinstance(value, np.generic) else repr(value)
    return UsageError(f"{argument(name, shown if len(shown) <= 60 else f'{shown[:57]}...')} must be {wanted}.")

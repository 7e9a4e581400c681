"""Functions of the user's, named as ``MODULE:FUNC``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from microfield.errors import UsageError


def is_named(text: str) -> bool:
    """Whether a text has the form ``MODULE:FUNC``."""
    module, colon, name = text.partition(":")
    return bool(module and colon and name)


def imported(text: str, called: str) -> Any:
    """What ``MODULE:FUNC`` names; MODULE is that of an installed package, or a file in the folder where the program was started.

    Parameters
    ----------
    text : str
        Of the form that `is_named` asks for.
    called : str
        The argument as the user wrote it, with which messages begin.

    Raises
    ------
    UsageError
        The module cannot be imported, or holds nothing of that name.
    """
    module, _, name = text.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module.removesuffix(".py"))
    except ImportError as error:
        raise UsageError(f"{called}: the module {module} cannot be imported ({error}).") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{called}: {module} holds no {name}.")
        found = getattr(found, part)
    return found

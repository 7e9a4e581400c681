"""Options of a method: a frozen dataclass whose fields carry type, default, bounds and help.

``--option key=value``, ``microfield methods`` and the checks are generated from these fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from microfield.errors import UsageError


@dataclass(frozen=True)
class NoOptions:
    """The options of a method that has none."""


def option(default: Any, help: str, *, low: float | None = None, high: float | None = None,  # noqa: A002
           choices: tuple[str, ...] | None = None, also: tuple[str, ...] = ()) -> Any:
    """A field of an options dataclass.

    Parameters
    ----------
    default : bool, int, float or str
        Its type is the type of the option.
    help : str
        One line for ``microfield methods``.
    low, high : float, optional
        Smallest and largest value.
    choices : tuple of str, optional
        The only values allowed.
    also : tuple of str
        Other spellings of its name.
    """
    return field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices, "also": also})


def parse_options(method: str, kind: type[Any], given: Mapping[str, Any]) -> Any:
    """An instance of the options dataclass ``kind`` from text or Python values; the inverse of `options_to_dict`.

    Raises
    ------
    UsageError
        If an option is unknown, of the wrong type or out of bounds; the message names ``method`` and what is allowed.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}
    spellings = {name: f for f in fields.values() for name in (f.name, *f.metadata["also"])}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in spellings:
            known = ", ".join(sorted(fields)) or "none"
            raise UsageError(f"method {method!r} has no option {key!r}; its options: {known}.")
        spec = spellings[key]
        if spec.name in values:
            raise UsageError(f"option {spec.name} of method {method!r} is given twice, once as {key!r}.")
        values[spec.name] = _parse_one(method, spec, value)
    return kind(**values)


def options_to_dict(options: Any) -> dict[str, Any]:
    """The options that differ from their defaults, as JSON-ready values."""
    every = dataclasses.fields(options)
    return {f.name: value for f in every if (value := getattr(options, f.name)) != f.default}


def describe_options(kind: type[Any]) -> dict[str, dict[str, Any]]:
    """Name of every option to its ``default``, ``help``, ``low``, ``high`` and ``choices``."""
    return {f.name: {"default": f.default, **f.metadata} for f in dataclasses.fields(kind)}


def _parse_one(method: str, spec: dataclasses.Field[Any], value: Any) -> Any:
    kind: type[Any] = type(spec.default)
    what = f"option {spec.name}={value!r} of method {method!r}"
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in words:
            raise UsageError(f"{what} must be true or false.")
        return words[str(value).lower()]
    try:
        parsed = kind(value)
    except (TypeError, ValueError):
        raise UsageError(f"{what} must be of type {kind.__name__}.") from None
    low, high, choices = (spec.metadata[k] for k in ("low", "high", "choices"))
    if choices is not None and parsed not in choices:
        raise UsageError(f"{what} must be one of {', '.join(choices)}.")
    if (low is not None and not parsed >= low) or (high is not None and not parsed <= high):
        raise UsageError(f"{what} must lie between {low} and {high}.")
    return parsed

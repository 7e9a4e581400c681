"""The registry of methods: each under the name users write, imported when it is first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from microfield.errors import UsageError

if TYPE_CHECKING:
    from microfield.methods.base import Method

_METHODS: dict[str, str | type[Method]] = {
    "field": "microfield.methods.field.method:FieldMethod",
    "inif": "microfield.methods.coordinate.inif:Inif",
    "siren": "microfield.methods.coordinate.siren:Siren",
    "hevc": "microfield.methods.conventional.video:Hevc",
    "av1": "microfield.methods.conventional.video:Av1",
    "sperr": "microfield.methods.conventional.volumes:Sperr",
    "jpeg2000": "microfield.methods.conventional.stills:Jpeg2000",
    "htj2k": "microfield.methods.conventional.stills:HtJpeg2000",
    "jpegxl": "microfield.methods.conventional.stills:JpegXl",
    "jpegxr": "microfield.methods.conventional.stills:JpegXr",
    "avif": "microfield.methods.conventional.stills:Avif",
    "webp": "microfield.methods.conventional.stills:WebP",
    "lerc": "microfield.methods.conventional.stills:Lerc",
    "sz3": "microfield.methods.conventional.volumes:Sz3",
    "zfp": "microfield.methods.conventional.volumes:Zfp",
    "downsample": "microfield.methods.conventional.downsample:Downsample",
}

AUTO = "auto"
"""What users write to have the method chosen (`microfield.writing.auto`); no method itself."""


def names() -> tuple[str, ...]:
    """Names of all registered methods, in order of registration."""
    return tuple(_METHODS)


def register(method: type[Method]) -> type[Method]:
    """Add a method under its own name (usable as a class decorator); a method of the same name is replaced."""
    _METHODS[method.name] = method
    return method


def get_method(name: str) -> type[Method]:
    """The method of this name.

    Raises
    ------
    UsageError
        No such method is registered; the message lists those that are.
    MissingExtraError
        The method needs an optional part that is not installed.
    """
    entry = _METHODS.get(name)
    if entry is None:
        raise UsageError(f"there is no method {name!r}; choose one of {', '.join(sorted((AUTO, *_METHODS)))}.")
    if isinstance(entry, str):
        module, _, attribute = entry.partition(":")
        entry = _METHODS[name] = cast("type[Method]", getattr(importlib.import_module(module), attribute))
    return entry

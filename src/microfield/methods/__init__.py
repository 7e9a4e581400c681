"""The registry of methods: each under the name users write, imported when it is first asked for.

Three kinds of methods are found: those below, those of other packages by the entry point group ``microfield.methods`` (the
entry point's name is the method's), and those a program adds with `register`. A name below cannot be taken by another package.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, cast

from microfield.errors import InputError, UsageError

if TYPE_CHECKING:
    from microfield.methods.base import Method

GROUP = "microfield.methods"
"""Entry points of this group are methods of other packages."""

AUTO = "auto"
"""What users write to have the method chosen (`microfield.writing.auto`); no method itself."""

_METHODS: dict[str, str | type[Method]] = {
    "field": "microfield.methods.field.method:FieldMethod",
    "lossless": "microfield.methods.lossless.method:Lossless",
    "inif": "microfield.methods.coordinate.inif:Inif",
    "siren": "microfield.methods.coordinate.siren:Siren",
    "sincs": "microfield.methods.sincs.method:Sincs",
    "hybrid": "microfield.methods.hybrid.method:Hybrid",
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


def names() -> tuple[str, ...]:
    """Names of all methods: our own and registered ones in order of registration, then those of other packages."""
    return (*_METHODS, *sorted(name for name in _entry_points() if name not in _METHODS))


def register(method: type[Method]) -> type[Method]:
    """Add a method under its own name (usable as a class decorator); a method of the same name is replaced."""
    _METHODS[method.name] = method
    return method


def get_method(name: str) -> type[Method]:
    """The method of this name.

    Raises
    ------
    UsageError
        No such method is known; the message lists those that are.
    InputError
        The method belongs to another package, which cannot be imported or does not hold such a method.
    MissingExtraError
        The method needs an optional part that is not installed.
    """
    entry = _METHODS.get(name)
    if entry is None and name in _entry_points():
        entry = _METHODS[name] = _from_package(_entry_points()[name])
    if entry is None:
        raise UsageError(f"there is no method {name!r}; choose one of {', '.join(sorted((AUTO, *names())))}.")
    if isinstance(entry, str):
        module, _, attribute = entry.partition(":")
        entry = _METHODS[name] = cast("type[Method]", getattr(importlib.import_module(module), attribute))
    return entry


@cache
def _entry_points() -> dict[str, EntryPoint]:
    """Methods of other packages by name; where two packages give one name, the first counts."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if point.name not in _METHODS and point.name != AUTO:
            found.setdefault(point.name, point)
    return found


def _from_package(point: EntryPoint) -> type[Method]:
    """Import the method of another package; whatever goes wrong there is one sentence here."""
    from microfield.methods.base import Method

    owner = point.dist.name if point.dist is not None else point.value
    try:
        found = point.load()
    except Exception as error:
        raise InputError(f"method {point.name!r} of the package {owner} cannot be imported "
                         f"({type(error).__name__}: {error}); update or remove that package.") from error
    if not (isinstance(found, type) and issubclass(found, Method) and getattr(found, "name", None) == point.name):
        raise InputError(f"the package {owner} offers {point.value} as method {point.name!r}, which is no microfield method of "
                         f"that name; update or remove that package.")
    return found

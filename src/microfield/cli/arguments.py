"""What several commands read from their arguments: lists of files, pairs, times, and the name of an image."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path

from microfield.errors import UsageError

SECONDS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
"""Unit of a time on the command line to seconds."""


def expand(paths: Iterable[str]) -> list[str]:
    """Paths of inputs; wildcards that the shell left alone (on Windows) become the files that match, sorted."""
    found = []
    for path in paths:
        found += sorted(glob.glob(path)) if glob.has_magic(path) and not Path(path).exists() else [path]
    return found


def stem(path: str) -> str:
    """File name without folder and without its microscopy suffix, which may be a double one (``.ome.tif``)."""
    return re.sub(r"(\.ome)?\.(tiff?|zarr|lsm|czi|nd2|lif|png|jpe?g|npy|npz)$", "", Path(path).name, flags=re.IGNORECASE)


def key_values(items: Iterable[str], flag: str) -> dict[str, str]:
    """Pairs such as ``key=value`` as a mapping.

    Raises
    ------
    UsageError
        An item has no ``=``; the message names ``flag``.
    """
    pairs = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"{flag} {item!r} must look like key=value.")
        pairs[key.strip()] = value.strip()
    return pairs


def seconds(text: str | None) -> float | None:
    """Seconds of a time such as ``90``, ``60s``, ``5min`` or ``1h``; None without a text.

    Raises
    ------
    UsageError
        The text is no such time.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*(s|sec|m|min|h|)", text.strip().lower())
    if not match:
        raise UsageError(f"--time-limit {text!r} must be a time such as 60s, 5min or 1h.")
    return float(match[1]) * SECONDS[match[2]]

"""What several commands read from their arguments: lists of files, pairs, and the name of an image."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path

from microfield.errors import UsageError


def expand(paths: Iterable[str]) -> list[str]:
    """Paths of inputs; wildcards that the shell left alone (on Windows) become the files that match, sorted."""
    found = []
    for path in paths:
        found += sorted(glob.glob(path)) if glob.has_magic(path) and not Path(path).exists() else [path]
    return found


def stem(path: str) -> str:
    """File name without folder and without its microscopy suffix, which may be a double one (``.ome.tif``)."""
    return re.sub(r"(\.ome|\.imagej)?\.(tiff?|zarr|lsm|czi|nd2|lif|png|jpe?g|npy|npz)$", "", Path(path).name, flags=re.IGNORECASE)


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

"""How a batch knows that a file was made from this source with these settings, and so need not be made again."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microfield.cli.inputs import Input
from microfield.cli.request import saliency_file
from microfield.errors import MicrofieldError

UNRECORDED = ("command", "run", "paths", "out_dir", "overwrite", "recursive", "report", "json", "threads", "stack", "scene",
              "no_verdict")
"""Arguments that change nothing in the file, or that the input says already."""


def settings_text(arguments: argparse.Namespace, image: Input) -> str:
    """Everything that was asked for, as JSON: two calls with the same text make the same file of the same source."""
    asked = {name: value for name, value in vars(arguments).items()
             if name not in UNRECORDED and value is not None and value is not False and value != []}
    if image.scene is not None:
        asked["scene"] = image.scene_name or image.scene
    if image.stack:
        asked["stack"] = True
    for name, path in (("saliency", saliency_file(arguments)), ("reference", arguments.reference)):
        if path:
            asked[name] = [path, state_of(path)]
    return json.dumps(asked, sort_keys=True, default=str)


def state_of(source: str) -> str:
    """Bytes and time of the last change of a file, or of all files in a folder, as text; empty where that cannot be said."""
    path = Path(source)
    try:
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        states = [file.stat() for file in files]
    except OSError:
        return ""
    count = f"{len(states)} files, " if path.is_dir() else ""
    newest = max((state.st_mtime_ns for state in states), default=0)
    return f"{count}{sum(state.st_size for state in states)} bytes, {newest} ns"


def fault(destination: Path, earlier: Mapping[str, Any] | None, settings: str, state: str) -> str:
    """Why a file that exists is not what this call would make; empty where it is.

    Parameters
    ----------
    destination : Path
        The file.
    earlier : mapping, optional
        Its row in the summary.
    settings, state : str
        `settings_text` and `state_of` of the source, as they are now.
    """
    from microfield.format.container import Container
    from microfield.format.source import open_source

    try:
        container = Container.open(open_source(str(destination)))
        container.verify()
    except (MicrofieldError, OSError) as error:
        return f"{destination} exists and is no intact microfield file ({str(error).rstrip('.')})"
    # A failure to make the file anew leaves the record of the one that is there.
    if earlier is None or not (earlier["status"] in ("done", "skipped") or earlier["file_bytes"]):
        return f"{destination} exists, and the summary beside it does not say how it was made"
    if earlier["file_bytes"] != str(os.path.getsize(destination)):
        return f"{destination} exists and is not the file that the summary beside it describes"
    if earlier["settings"] != settings:
        return f"{destination} exists and was made with other settings ({_difference(earlier['settings'], settings)})"
    if not state or earlier["source_state"] != state:
        return f"{destination} exists and was made before its source last changed, or from another one"
    return ""


def _difference(before: str, now: str) -> str:
    """Settings that differ, as they were."""
    try:
        old, new = json.loads(before), json.loads(now)
    except ValueError:
        return "unknown ones"
    names = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    return ", ".join(f"{name.replace('_', '-')} {old.get(name, 'not given')}" for name in names)

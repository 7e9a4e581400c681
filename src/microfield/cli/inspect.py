"""``microfield info``, ``verify`` and ``methods``: look without decoding."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from microfield.errors import MicrofieldError

CHECKED_BYTES = 1 << 26
"""``info`` checks files up to this size, which takes no noticeable time."""

if TYPE_CHECKING:
    from microfield.reading.file import MicrofieldFile


def add_to(commands: Any) -> None:
    """Declare the commands."""
    p = commands.add_parser("info", help="what a file holds")
    p.add_argument("paths", nargs="+", metavar="FILE.mfield")
    p.add_argument("--json", action="store_true", help="one JSON object per file")
    p.set_defaults(run=run_info)
    p = commands.add_parser("verify", help="check every checksum of a file")
    p.add_argument("paths", nargs="+", metavar="FILE.mfield")
    p.set_defaults(run=run_verify)
    p = commands.add_parser("methods", help="methods and their options")
    p.add_argument("--json", action="store_true")
    p.set_defaults(run=run_methods)


def run_info(arguments: argparse.Namespace) -> int:
    """Print what files hold."""
    from microfield.reading.file import open_file

    for path in arguments.paths:
        with open_file(path) as f:
            facts = {"path": str(path), **_facts(f)}
        if facts["file_bytes"] <= CHECKED_BYTES and (fault := _fault(path)):
            facts["damaged"] = fault
        if arguments.json:
            print(json.dumps(facts))
        else:
            width = max(map(len, facts))
            print("\n".join(f"{key.replace('_', ' '):{width}}  {_plain(value)}" for key, value in facts.items()))
    return 0


def _facts(f: MicrofieldFile) -> dict[str, Any]:
    header = f.header
    facts: dict[str, Any] = {
        "axes": f.axes, "shape": list(f.shape), "dtype": str(f.dtype), "method": f.method,
        "file_bytes": f.file_bytes, "raw_bytes": f.nbytes, "ratio": round(f.ratio, 2),
        "bits_per_voxel": round(8 * f.file_bytes / f.size, 5), "parts": header.n_parts,
    }
    if f.voxel_size:
        facts["voxel_size"] = {a: [v, f.units.get(a)] for a, v in f.voxel_size.items()}
    if f.channel_names:
        facts["channels"] = list(f.channel_names)
    facts["original_checksum"] = header.checksum.hex()
    facts["metadata_bytes"] = len(f.metadata.encode()) if f.metadata else 0
    return facts


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v[0]:g} {v[1] or ''}".strip() for k, v in value.items())
    return " x ".join(map(str, value)) if isinstance(value, list) and all(isinstance(v, int) for v in value) else (
        ", ".join(value) if isinstance(value, list) else str(value))


def run_verify(arguments: argparse.Namespace) -> int:
    """Check all files and say of each whether it is intact."""
    damaged = 0
    for path in arguments.paths:
        if fault := _fault(path):
            damaged += 1
            print(f"microfield: {path}: {fault}", file=sys.stderr)
        else:
            print(f"{path}: intact")
    return 1 if damaged else 0


def _fault(path: str) -> str:
    """What is wrong with a file, one sentence; nothing for an intact one."""
    from microfield.format.container import Container
    from microfield.format.source import open_source

    try:
        Container.open(open_source(path)).verify()
    except (MicrofieldError, OSError) as error:
        return str(error)
    return ""


def run_methods(arguments: argparse.Namespace) -> int:
    """Print methods and the options generated from their dataclasses."""
    from dataclasses import fields

    from microfield.methods import AUTO, get_method, names
    from microfield.writing.auto import SUMMARY
    from microfield.writing.settings import DEFAULT_METHOD

    table: dict[str, Any] = {}
    for name in names():
        method = get_method(name)
        table[name] = {
            "summary": method.summary, "default": name == DEFAULT_METHOD, "experimental": method.experimental,
            "options": {f.name: {"default": f.default, "help": f.metadata["help"]} for f in fields(method.Options)},
        }
    table[AUTO] = {"summary": SUMMARY, "default": AUTO == DEFAULT_METHOD, "experimental": False, "options": {}}
    if arguments.json:
        print(json.dumps(table))
        return 0
    for name, entry in table.items():
        mark = " (default)" if entry["default"] else " (for comparison; files are experimental)" if entry["experimental"] else ""
        print(f"{name}{mark}: {entry['summary']}")
        for option, about in entry["options"].items():
            print(f"  {option}={about['default']}  {about['help']}")
    return 0

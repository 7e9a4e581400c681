"""``microfield info``, ``verify`` and ``methods``: what is in a file, whether it is intact, and which methods there are."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from microfield.cli.display_facts import acquisition_lines, display_facts, display_lines
from microfield.cli.strict_json import strict_json
from microfield.errors import InputError, MicrofieldError

if TYPE_CHECKING:
    from microfield.format.making import Making
    from microfield.format.task_evidence import TaskEvidence
    from microfield.reading.file import MicrofieldFile

CHECKED_BYTES = 1 << 26
"""``info`` also checks files of at most so many bytes (64 MiB), which takes no noticeable time."""

JSON_ONLY = ("display", "acquired", "safe_for", "format_version", "bitstream_version")
"""Facts that people are told otherwise, or not."""

PACKAGE = "microfield"
"""What our own methods belong to."""


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
    """Print what files hold; the exit status."""
    from microfield.format.container import fault
    from microfield.reading.file import open_file

    for path in arguments.paths:
        with open_file(path) as f:
            facts = {"path": str(path), **_facts(f)}
            display, making, acquisition, evidence = f.display, f.making, f.acquisition, f.evidence
        wrong = fault(path) if facts["file_bytes"] <= CHECKED_BYTES else ""
        if arguments.json:
            print(strict_json(facts | {"damaged": wrong or None}))
        else:
            facts = {key: value for key, value in facts.items() if value is not None and key not in JSON_ONLY}
            facts |= {"damaged": wrong} if wrong else {}
            facts = _with_making(facts, making, evidence)
            facts |= display_lines(display) | acquisition_lines(acquisition)
            width = max(map(len, facts))
            print("\n".join(f"{key.replace('_', ' '):{width}}  {_plain(value)}" for key, value in facts.items()))
    return 0


def _facts(f: MicrofieldFile) -> dict[str, Any]:
    """What the header of a file says, JSON-ready, None for what it does not say; ``voxel_size`` holds a pair of step and unit per
    axis.
    """
    header, making = f.header, f.making
    asked = None if making is None else {making.budget or "unknown": making.value, "effort": making.effort, **making.settings}
    return {
        "axes": f.axes, "shape": list(f.shape), "dtype": str(f.dtype), "method": f.method,
        "file_bytes": f.file_bytes, "raw_bytes": f.nbytes, "ratio": round(f.ratio, 2),
        "bits_per_voxel": round(8 * f.file_bytes / f.size, 5), "parts": header.n_parts,
        "voxel_size": {a: [v, f.units.get(a)] for a, v in f.voxel_size.items()} or None,
        "channels": list(f.channel_names) or None,
        "display": display_facts(f.display) if f.display else None,
        "acquired": f.acquisition.as_dict() or None,
        "psnr_when_written": None if making is None or f.exact else making.psnr,
        "exact": f.exact if f.exact or making is not None else None,
        "asked_for": asked,
        "safe_for": None if f.evidence is None else f.evidence.as_dict(),
        "builds_on": list(f.companions) or None,
        "original_checksum": header.checksum.hex() or None,
        "metadata_bytes": len(f.metadata.encode()) if f.metadata else 0,
        "format_version": f.format_version, "bitstream_version": header.bitstream_version,
    }


def _with_making(facts: dict[str, Any], making: Making | None, evidence: TaskEvidence | None) -> dict[str, Any]:
    """The facts with how the file was made in words, and what it was made safe for, after the number of parts."""
    named = {} if making is None else {"quality": making.quality or "unknown", "asked_for": making.asked}
    named |= {} if evidence is None else {"safe_for": str(evidence)}
    kept = {k: v for k, v in facts.items() if k not in ("psnr_when_written", "exact", "asked_for")}
    at = list(kept).index("parts") + 1
    return dict([*list(kept.items())[:at], *named.items(), *list(kept.items())[at:]])


def _plain(value: Any) -> str:
    """A value of `_facts` as text: ``2 x 6 x 5``, ``DAPI, GFP`` or ``Y 0.5 micrometer``."""
    if isinstance(value, dict):
        return ", ".join(f"{axis} {step:g} {unit or ''}".strip() for axis, (step, unit) in value.items())
    if not isinstance(value, list):
        return str(value)
    return (" x " if all(isinstance(v, int) for v in value) else ", ").join(map(str, value))


def run_verify(arguments: argparse.Namespace) -> int:
    """Check every checksum of all files and say of each whether it is intact; the exit status, 1 where one is damaged."""
    from microfield.format.container import fault

    damaged = 0
    for path in arguments.paths:
        if wrong := fault(path):
            damaged += 1
            print(f"microfield: {path}: {wrong}", file=sys.stderr)
        else:
            print(f"{path}: intact")
    return 1 if damaged else 0


def run_methods(arguments: argparse.Namespace) -> int:
    """Print all methods with their options; the exit status.

    A method of another package that cannot be imported or described is left out with a note on standard error.
    """
    from microfield.methods import AUTO, names
    from microfield.writing.auto import SUMMARY
    from microfield.writing.settings import DEFAULT_METHOD

    table: dict[str, Any] = {}
    for name in names():
        try:
            table[name] = {"default": name == DEFAULT_METHOD, **_described(name)}
        except MicrofieldError as error:
            print(f"note: {error}", file=sys.stderr)
    table[AUTO] = {"default": AUTO == DEFAULT_METHOD, "summary": SUMMARY, "experimental": False, "package": PACKAGE, "options": {}}
    if arguments.json:
        print(strict_json(table))
        return 0
    for name, entry in table.items():
        print(f"{name}{_mark(entry)}: {entry['summary']}")
        for option, about in entry["options"].items():
            print(f"  {option}={about['default']}  {about['help']}")
    return 0


def _described(name: str) -> dict[str, Any]:
    """Summary, origin and options of a method, JSON-ready.

    Raises
    ------
    MicrofieldError
        The method cannot be imported, or does not say of itself what a method must.
    """
    from dataclasses import fields

    from microfield.methods import get_method

    method = get_method(name)
    try:
        defaults = method().options
        options = {f.name: {"default": _plain_default(defaults, f.name), "help": f.metadata.get("help", "")}
                   for f in fields(method.Options)}
        return {"summary": str(method.summary), "experimental": bool(method.experimental),
                "package": method.__module__.partition(".")[0], "options": options}
    except Exception as error:
        raise InputError(f"method {name!r} does not describe itself ({type(error).__name__}: {error}); update or remove the "
                         f"package {method.__module__.partition('.')[0]}.") from error


def _plain_default(options: Any, name: str) -> Any:
    """The default of an option, as text where JSON has no such value."""
    value = getattr(options, name)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _mark(entry: dict[str, Any]) -> str:
    """What stands behind a method's name in the list, in brackets."""
    if entry["default"]:
        return " (default)"
    facts = [] if entry["package"] == PACKAGE else [f"of the package {entry['package']}"]
    if entry["experimental"]:
        facts.append("for comparison; files are experimental")
    return f" ({'; '.join(facts)})" if facts else ""

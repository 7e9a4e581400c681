"""The page of the command line, made from its parser, so that it says what `--help` says."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

HEAD = """# Command line

What `microfield COMMAND --help` prints, in one page. Exit statuses, and what batches do, are in [Many images](batch.md).

Settings mean the same in Python, with underscores in the place of dashes: `--time-limit 2min` is `time_limit="2min"`.
"""


def page() -> str:
    """The page as Markdown."""
    from microfield.cli import build_parser

    commands = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    summaries = {a.dest: a.help or "" for a in commands._choices_actions}
    parts = [HEAD, *(f"* [`{name}`](#{name}): {summaries[name]}" for name in commands.choices)]
    for name, parser in commands.choices.items():
        parts += ["", f"## {name}", "", f"```text\n{parser.format_usage().removeprefix('usage: ').rstrip()}\n```", ""]
        if parser.description:
            parts += [parser.description, ""]
        for group in parser._action_groups:
            rows = list(_rows(group))
            if rows:
                parts += [f"**{group.title}**", "", "| argument | meaning |", "|---|---|", *rows, ""]
    return "\n".join(parts)


def _rows(group: argparse._ArgumentGroup) -> Iterator[str]:
    """A row of the table for every argument of a group but `--help`."""
    for action in group._group_actions:
        if isinstance(action, argparse._HelpAction):
            continue
        value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
        name = ", ".join(action.option_strings) or str(value)
        shown = f"{name} {value}" if action.option_strings and value else name
        yield f"| `{_cell(shown)}` | {_cell((action.help or '').replace('%(default)s', str(action.default)))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

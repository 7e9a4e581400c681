"""Every command and every line of Python on the pages for people runs, and prints what the page says it prints.

Numbers are not compared, since the tests run the pages with small images and little effort; words are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from microfield.cli import build_parser
from page_files import make
from run_page import Block, blocks, run

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *(f"docs/{name}.md" for name in ("tutorial", "recipes", "troubleshooting", "glossary", "zarr",
                                                       "python-tools", "serve", "napari", "fiji")))
LANGUAGES = {"sh", "python", "text", "toml", "json", "ijm"}


VERDICT = re.compile(r"\s*(look|count|spots|measure|judged on)\s")
"""Beginning of a line of the verdict, which is another one for a small image."""


def words(text: str) -> list[str]:
    """The lines without numbers, checksums and spacing, but for those of the verdict."""
    lines = (re.sub(r"\b[0-9a-f]{16}\b|\d[\d.,]*", "0", line).replace("-0", "0") for line in text.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip() and not VERDICT.match(line)]


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run_and_print_what_is_shown(page: str, tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    make(tmp_path, small=True)
    ran = list(run((ROOT / page).read_text(encoding="utf-8"), tmp_path, quick=True))
    for one in ran:
        if one.expected is None:
            assert "microfield: " not in one.printed, f"fails:\n{one.block.text}\n{one.printed}"
        elif not one.expected.mark.startswith("varies"):
            printed = words(one.printed)
            missing = [line for line in words(one.expected.text) if line != "..." and line not in printed]
            assert not missing, f"{page} shows for\n{one.block.text}\nwhat is not printed any more:\n{missing}\n{one.printed}"
        else:
            assert one.printed.strip()


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_of_known_languages_and_say_why_they_are_not_run(page: str) -> None:
    for block in blocks((ROOT / page).read_text(encoding="utf-8")):
        assert block.language in LANGUAGES
        assert block.mark in ("", "varies") or re.fullmatch(r"not run: .+", block.mark), block


def test_a_block_has_a_mark_and_a_place() -> None:
    page = "a\n<!-- not run: slow -->\n```sh\nmicrofield x\n```\n\n```text\nb\n```\n"
    assert blocks(page) == [Block("sh", "microfield x\n", "not run: slow", (31, 44)), Block("text", "b\n", "", (57, 59))]


def test_the_table_of_losses_is_that_of_the_results() -> None:
    cell = re.compile(r"([\d.]+ dB).*?IoU ([\d.]+)")
    measured: dict[str, list[str]] = {}
    for line in (ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines():
        if row := re.fullmatch(r"\| \*\*(.+?)\*\* \(\d+\) \|(.*)\|", line):
            cells = [cell.search(c) for c in row[2].split("|")]
            measured.setdefault(row[1], [f"{c[1]}, IoU {c[2]}" for c in cells if c])
    shown = re.findall(r"^\| (.+?) \| ([\d.]+ dB, IoU [\d.]+) \| ([\d.]+ dB, IoU [\d.]+) \|$",
                       (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(shown) > 10
    for kind, at_32, at_128 in shown:
        assert [at_32, at_128] == [measured[kind][0], measured[kind][2]], kind


def test_messages_in_troubleshooting_are_those_of_the_code() -> None:
    """What stands in bold quotes, between ``...``, is in a message of the package."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r'^\*\*"(.+?)"\*\*', page, flags=re.MULTILINE)
    assert len(quoted) > 8
    texts = "\n".join(said for path in (ROOT / "src").rglob("*.py") for said in messages(path))
    missing = [f"{one!r}: {piece.strip()!r}" for one in quoted for piece in one.split("...") if piece.strip() not in texts]
    assert not missing, f"no message says any more {missing}"


def messages(path: Path) -> Iterator[str]:
    """Every text in a module; values that are put into it are left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "\0".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_commands_and_flags_that_pages_name_exist() -> None:
    """Also in running text and in blocks that are not run."""
    commands = next(a.choices for a in build_parser()._actions if isinstance(a.choices, dict))
    flags = {flag for parser in commands.values() for action in parser._actions for flag in action.option_strings} | {"--version"}
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert set(re.findall(r"`(--[a-z][a-z-]*)", text)) <= flags, page
        shown = [line for block in blocks(text) if block.language == "sh" for line in block.text.splitlines()]
        for line in [*(one for one in shown if one.startswith("microfield ")), *re.findall(r"`(microfield [^`]+)`", text)]:
            assert line.split()[1] in (*commands, "COMMAND", "--version"), line
            assert set(re.findall(r"(?<!\S)(--[a-z][a-z-]*)", line)) <= flags, line

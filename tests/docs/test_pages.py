"""Every command and every line of Python on the pages for people runs, and prints what the page says it prints.

Numbers are not compared, since the tests run the pages with small images and little effort; words are.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_files import make
from run_page import Block, blocks, run

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *(f"docs/{name}.md" for name in ("tutorial", "recipes", "troubleshooting", "glossary")))
LANGUAGES = {"sh", "python", "text", "toml"}


def words(text: str) -> list[str]:
    """The lines without numbers and spacing."""
    lines = (re.sub(r"\d[\d.,]*", "0", line).replace("-0", "0") for line in text.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip()]


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
            assert not missing, f"{page} shows for\n{one.block.text}\nwhat is not printed any more:\n{missing}\nbut is:\n{one.printed}"
        else:
            assert one.printed.strip()


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_of_known_languages_and_say_why_they_are_not_run(page: str) -> None:
    for block in blocks((ROOT / page).read_text(encoding="utf-8")):
        assert block.language in LANGUAGES
        assert block.mark in ("", "varies") or re.fullmatch(r"not run: .+", block.mark), block


def test_a_block_has_a_mark_and_a_place() -> None:
    page = "a\n<!-- not run: slow -->\n```sh\nmicrofield x\n```\n\n```text\nb\n```\n"
    assert blocks(page) == [Block("sh", "microfield x\n", "not run: slow", (33, 46)), Block("text", "b\n", "", (59, 61))]

"""Runs the blocks of a page: commands as the command line does, Python in one namespace, all in one folder.

``python docs/hooks/run_page.py --write docs/tutorial.md`` runs a page in a folder with the files of `page_files.py` and puts what
its blocks print into the ``text`` blocks that follow them. The tests run every page with small images and compare the words.

* A fenced block of ``sh`` is run line by line: ``microfield`` commands, ``cd`` and ``mkdir``; after a backslash at its end a line
  goes on with the next one.
* A fenced block of ``python`` is run like a cell of a notebook: what it prints, and the value of a last line that is an expression.
* A fenced block of ``text`` right after is what that prints. A line ``...`` in it stands for any lines.
* ``<!-- not run: WHY -->`` in the line before a block leaves it out; ``<!-- varies -->`` before a ``text`` block says that its
  words depend on the image.
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import run_notebook

BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes
    ----------
    language : str
        Word after the fence.
    text : str
        What is in it.
    mark : str
        The comment in the line before; empty without one.
    span : (int, int)
        Where ``text`` is in the page.
    """

    language: str
    text: str
    mark: str
    span: tuple[int, int]


@dataclass(frozen=True)
class Ran:
    """A block that was run: what it printed, and the block of text that says what it prints, if there is one."""

    block: Block
    printed: str
    expected: Block | None


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(m["language"], m["text"], m["mark"] or "", m.span("text")) for m in BLOCK.finditer(page)]


def run(page: str, folder: Path, quick: bool = False) -> Iterator[Ran]:
    """Run the blocks of a page in a folder; an error of Python is raised as it is.

    Parameters
    ----------
    page : str
        Markdown.
    folder : Path
        Where the files are that it names, and where it writes.
    quick : bool
        Compress with the least effort where the page does not say how much.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    found = blocks(page)
    with contextlib.chdir(folder), quick_compress() if quick else contextlib.nullcontext():
        for number, block in enumerate(found):
            if block.language not in ("sh", "python") or block.mark.startswith("not run"):
                continue
            with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(printed):
                if block.language == "sh":
                    for words in commands(block.text):
                        command(words, quick)
                else:
                    run_notebook.execute(block.text, f"block {number}", names)
            following = found[number + 1] if number + 1 < len(found) else None
            yield Ran(block, printed.getvalue(), following if following and following.language == "text" else None)


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command of a block."""
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def command(words: list[str], quick: bool = False) -> None:
    """Run one command in this process; the exit status is not looked at, since pages show failures, too."""
    from microfield.cli import main

    if words[0] == "cd":
        os.chdir(words[1])
    elif words[0] == "mkdir":
        Path(words[1]).mkdir()
    elif words[0] == "microfield":
        patterns = [glob.has_magic(word) and "=" not in word for word in words]
        expanded = [w for word, many in zip(words, patterns, strict=True) for w in (sorted(glob.glob(word)) if many else [word])]
        less = ["--effort", "0"] if quick and words[1] in ("compress", "bench") and "--effort" not in words else []
        with contextlib.suppress(SystemExit):  # `--help` and wrong flags
            main([*expanded[1:], *less])
    else:
        raise ValueError(f"{words[0]} is no command that pages are run with; mark the block <!-- not run: WHY -->.")


@contextlib.contextmanager
def quick_compress() -> Iterator[None]:
    """`microfield.compress` with the least effort unless told otherwise."""
    import microfield

    usual = microfield.compress

    def quick(*arguments: Any, **settings: Any) -> Any:
        return usual(*arguments, **{"effort": 0, **settings})

    microfield.__dict__["compress"] = quick
    try:
        yield
    finally:
        del microfield.__dict__["compress"]


def written(page: str, folder: Path) -> str:
    """The page with what its blocks print."""
    for ran in reversed(list(run(page, folder))):
        if ran.expected:
            start, stop = ran.expected.span
            page = page[:start] + "\n".join(line.rstrip() for line in ran.printed.strip("\n").splitlines()) + "\n" + page[stop:]
    return page


if __name__ == "__main__":
    from page_files import make

    for name in sys.argv[2:]:
        source = Path(name).resolve()
        with tempfile.TemporaryDirectory() as where:
            make(Path(where))
            source.write_text(written(source.read_text(encoding="utf-8"), Path(where)), encoding="utf-8")

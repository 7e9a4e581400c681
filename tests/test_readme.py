from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_the_first_python_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = blocks("python")
    assert code, "the README shows no Python"
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code[0], str(README), "exec"), names)
    assert list(tmp_path.glob("*.mfield"))


def test_every_command_shown_exists() -> None:
    from microfield.cli import build_parser

    shown = {words[1] for block in blocks("sh") for line in block.splitlines() if (words := line.split())[:1] == ["microfield"]}
    assert shown
    choices = next(a.choices for a in build_parser()._actions if isinstance(a.choices, dict))
    assert shown <= set(choices)

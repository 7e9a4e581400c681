from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import microfield as mf
from microfield.cli import main
from microfield.wording import argument, command_line, spoken

SOURCE = Path(mf.__file__).parent

OF_COMMANDS = ("cli", "bench", "training", "__main__.py")
"""What speaks on the command line only: commands, what they start, programs of their own."""


def test_an_argument_is_worded_for_who_reads() -> None:
    assert [argument("nan_fill", 0), argument("not_labels", True), argument("axes"), spoken("a", "b")] == [
        "nan_fill=0", "not_labels=True", "axes=", "a"]
    with command_line():
        assert [argument("nan_fill", 0), argument("not_labels", True), argument("axes"), spoken("a", "b")] == [
            "--nan-fill 0", "--not-labels", "--axes", "b"]
        with command_line():
            pass
        assert argument("axes") == "--axes"
    assert argument("axes") == "axes="


def test_no_flag_is_written_into_a_message_of_the_library() -> None:
    """Texts in code, not docstrings: both `f"..."` and plain ones."""
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).parts[0] in OF_COMMANDS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        for node in texts:
            # A page may show a whole command, as what it is, and a style sheet has names of its own.
            plain = re.sub(r"<code>.*?</code>|var\(--[\w-]+\)|--[\w-]+:", "", str(node.value))
            found = re.search(r"(?<![\w-])--[a-z][a-z-]+", plain)
            if found and id(node) not in docstrings:
                wrong.append(f"{path.relative_to(SOURCE)}, line {node.lineno}: {found[0]}")
    assert not wrong, f"name these with argument() of wording.py: {'; '.join(wrong)}"


def test_one_fault_is_worded_for_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = np.full((8, 8), np.nan, np.float32)
    np.save(tmp_path / "a.npy", image)
    with pytest.raises(mf.InputError, match="put there with nan_fill="):
        mf.compress(image, tmp_path / "a.mfield", ratio=4)
    assert main(["compress", str(tmp_path / "a.npy"), str(tmp_path / "a.mfield"), "--ratio", "4"]) == 1
    assert "put there with --nan-fill." in capsys.readouterr().err
    with pytest.raises(mf.InputError, match="ratio=0 must be"):
        mf.compress(image, tmp_path / "a.mfield", ratio=0)
    assert main(["compress", str(tmp_path / "a.npy"), str(tmp_path / "a.mfield"), "--ratio", "0"]) == 2
    assert "--ratio 0.0 must be" in capsys.readouterr().err

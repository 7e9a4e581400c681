"""The notebook of first steps does what it says, as the documentation runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "first-steps.ipynb"
RUNNER = ROOT / "docs" / "hooks" / "run_notebook.py"


def stored() -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return notebook


def test_every_cell_runs_and_leaves_nothing_behind() -> None:
    pytest.importorskip("matplotlib")
    before = sorted(path.name for path in NOTEBOOK.parent.iterdir())
    done = subprocess.run([sys.executable, "-W", "error", str(RUNNER), str(NOTEBOOK)], capture_output=True, text=True,
                          timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search("10[01] times smaller", done.stdout)
    assert "[picture of" in done.stdout
    assert "PSNR dB" in done.stdout
    assert done.stdout.rstrip().endswith("(16, 128, 128)")
    assert sorted(path.name for path in NOTEBOOK.parent.iterdir()) == before


def test_it_is_a_notebook_that_jupyter_opens() -> None:
    notebook = stored()
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["language_info"]["name"] == "python"
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(set(names)) == len(names)
    assert {cell["cell_type"] for cell in notebook["cells"]} == {"markdown", "code"}


def test_no_output_is_stored() -> None:
    """What a cell shows comes from running it: in Jupyter, or when the documentation is built."""
    for cell in stored()["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), "clear all outputs before you commit it"

"""Runs a notebook without Jupyter: its code cells one after another, in a copy of its folder, figures drawn to bytes.

``python docs/hooks/run_notebook.py examples/first-steps.ipynb`` prints what the cells print.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook; of a code cell that was run also the text and the PNG pictures it made."""

    kind: str
    source: str
    text: str = ""
    pictures: tuple[bytes, ...] = ()


def cells(path: Path) -> list[Cell]:
    """The cells as they are stored."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    return [Cell(cell["cell_type"], "".join(cell["source"])) for cell in stored["cells"]]


def run(path: Path) -> Iterator[Cell]:
    """The cells in order, those of code after they were run. An error of a cell is raised as it is."""
    import matplotlib

    matplotlib.use("Agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(path.parent, Path(folder) / path.parent.name)
        for number, cell in enumerate(cells(path)):
            if cell.kind != "code":
                yield cell
                continue
            with contextlib.chdir(copy), contextlib.redirect_stdout(io.StringIO()) as printed:
                execute(cell.source, f"{path.name}, cell {number}", names)
            yield Cell("code", cell.source, printed.getvalue(), _figures())


def execute(source: str, name: str, names: dict[str, Any]) -> None:
    """Run a cell; a last line that is an expression is printed, as a notebook shows it."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), name, "eval"), names)
        if value is not None:
            print(repr(value))


def _figures() -> tuple[bytes, ...]:
    """Every open figure as PNG; they are closed, as after a cell."""
    from matplotlib import pyplot

    drawn = []
    for number in pyplot.get_fignums():
        data = io.BytesIO()
        pyplot.figure(number).savefig(data, format="png", dpi=90)
        drawn.append(data.getvalue())
    pyplot.close("all")
    return tuple(drawn)


if __name__ == "__main__":
    for ran in run(Path(sys.argv[1])):
        print(ran.text, end="")
        for picture in ran.pictures:
            print(f"[picture of {len(picture)} bytes]")

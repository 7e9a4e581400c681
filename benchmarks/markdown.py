"""Text and tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table; columns after the first are aligned right if one of their cells starts with a digit or a sign."""
    right = [i > 0 and any(cells[i][:1].isdigit() or cells[i][:1] in "+-−" for cells in body if cells[i]) for i in range(len(head))]
    lines = [_line(head), "|" + "".join("---:|" if r else "---|" for r in right)]
    return "\n".join(lines + [_line(cells) for cells in body]) + "\n"


def text(paragraphs: str) -> str:
    """Paragraphs and list items of an indented block, each joined to one line; fenced code keeps its lines."""
    lines: list[str] = []
    fenced = False
    for line in map(str.strip, paragraphs.strip().splitlines()):
        fence = line.startswith("```")
        if line and lines and lines[-1] and not (fenced or fence or line.startswith("* ")):
            lines[-1] += " " + line
        else:
            lines.append(line)
        fenced ^= fence
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

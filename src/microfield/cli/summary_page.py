"""``microfield-summary.html``: the summary of a batch as a page, beside its CSV file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from microfield.errors import InputError

PAGE_FILE = "microfield-summary.html"
"""What ``--out-dir`` writes beside the summary."""

MARK = "microfield summary</title>"
"""What every such page holds, and by which one is known to be ours."""

Row = Mapping[str, Any]


def write_page(folder: Path, rows: Iterable[Row], pictures: Mapping[str, str]) -> None:
    """Write the page of a folder.

    Parameters
    ----------
    folder : Path
    rows : mappings of the columns of the summary, of this call (numbers) and of earlier ones (text)
    pictures : output to picture, of this call; those of earlier calls are taken from the page that is there
    """
    from microfield.io.atomic import atomic_path
    try:
        from microfield.report.folder_page import earlier_pictures, folder_page
    except ImportError:
        return  # What the page needs comes with an extra of the package.

    path = folder / PAGE_FILE
    known: dict[str, str] = {}
    if os.path.lexists(path):
        try:
            before = path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            before = ""
        if MARK not in before:
            print(f"note: {path} is no page of microfield and is not replaced; move it elsewhere.", file=sys.stderr)
            return
        known = earlier_pictures(before)
    text = folder_page([_entry(row, known | dict(pictures)) for row in rows], folder.resolve().name)
    try:
        with atomic_path(path, overwrite=True) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except (InputError, OSError) as error:
        print(f"note: {path} cannot be written ({error}).", file=sys.stderr)


def _entry(row: Row, pictures: Mapping[str, str]) -> Any:
    from microfield.report.folder_page import Entry
    from microfield.report.verdict import USES

    output = str(row["output"])
    name = Path(str(row["input"])).name + (f" ({row['scene']})" if row.get("scene") else "")
    return Entry(
        name, output, str(row["status"]), str(row.get("message") or ""), _number(row, "file_bytes"), _number(row, "ratio"),
        _number(row, "psnr"), {use: str(row.get(f"verdict_{use}") or "") for use in USES}, str(row.get("verdict_why") or ""),
        pictures.get(output, ""),
    )


def _number(row: Row, name: str) -> float | None:
    """A number of a row, which is text where an earlier call wrote it; None where there is none."""
    try:
        return float(row.get(name) or "")
    except ValueError:
        return None

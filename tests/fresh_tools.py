"""A new user of other tools, for each page an empty environment: ``make fresh-tools``, or ``python tests/fresh_tools.py``.

For every page an environment is made, what the page says is installed, and its blocks are run as they stand, with the example of
the repository and no more effort than the page asks for. Exit status 1 where a block fails, or leaves not what it should.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from fresh_user import EXAMPLE, ROOT, Fresh

PAGES = {"zarr": ("[zarr]", ()), "python-tools": ("[bioio-base,xarray,remote]", ("bioio",))}
"""Page of the documentation to the extras that it needs, and what it takes its users to have."""

RUN = f"""
import sys
sys.path.insert(0, {str(ROOT / "docs" / "hooks")!r})
from pathlib import Path
from run_page import run

for one in run(Path(sys.argv[1]).read_text(encoding="utf-8"), Path.cwd(), quick=True):
    print(one.block.text, one.printed, sep="\\n")
    assert "microfield: " not in one.printed and "Traceback" not in one.printed
"""


def main() -> None:
    """Walk through every page, or those that are named."""
    for page in sys.argv[1:] or PAGES:
        extra, others = PAGES[page]
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="microfield-fresh-") as folder:
            user = Fresh(Path(folder))
            (user.work / "cells.ome.tif").write_bytes(EXAMPLE.read_bytes())
            user.install(extra)
            if others:
                user.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *others)
            user.run("python", "-c", RUN, str(ROOT / "docs" / f"{page}.md"))
        print(f"docs/{page}.md works in an empty environment; it took {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()

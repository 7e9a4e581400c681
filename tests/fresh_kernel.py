"""The source archive in empty environments, with a C compiler and without: ``make fresh-kernel``.

Builds the archive, installs microfield from it twice and compresses the example: the kernel must be there where there is a compiler
(MICROFIELD_KERNEL_MUST=1), NumPy must compute where there is none, and both must write the same bytes. It needs Python, pip, a
package index and a C compiler. Exit status 1 with a sentence where that is not so.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from fresh_user import EXAMPLE, ROOT, Fresh

WITH, WITHOUT = {"MICROFIELD_KERNEL_MUST": "1"}, {"CC": "no-such-compiler"}
COMPRESS = ("microfield", "compress", "cells.ome.tif", "cells.mfield", "--ratio", "200", "--effort", "0")


def archive(folder: Path) -> Path:
    """The source archive, built in an environment of its own."""
    venv.create(folder / "build", with_pip=True)
    program = next((folder / "build").glob("[Bb]*/python*"))
    for words in (("pip", "install", "--quiet", "--disable-pip-version-check", "build"),
                  ("build", "--sdist", "--outdir", str(folder / "dist"), str(ROOT))):
        subprocess.run([str(program), "-m", *words], check=True, stdout=subprocess.DEVNULL)
    return next((folder / "dist").glob("*.tar.gz"))


def installed(folder: Path, source: Path, variables: dict[str, str], sentence: str) -> bytes:
    """The example as an installation from the archive compresses it; what ``--version`` says must hold a sentence."""
    folder.mkdir()
    user = Fresh(folder)
    user.variables |= variables
    (user.work / "cells.ome.tif").write_bytes(EXAMPLE.read_bytes())
    user.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(source))
    if sentence not in user.run("microfield", "--version"):
        sys.exit(f"microfield --version does not say {sentence!r}.")
    user.run(*COMPRESS)
    return user.made("cells.mfield", b"").read_bytes()


def main() -> None:
    """Install twice and compare."""
    with tempfile.TemporaryDirectory(prefix="microfield-fresh-") as name:
        folder = Path(name)
        source = archive(folder)
        files = [installed(folder / "with", source, WITH, "the compiled kernel computes"),
                 installed(folder / "without", source, WITHOUT, "NumPy computes: no kernel was compiled")]
    if files[0] != files[1]:
        sys.exit("the kernel and NumPy write different bytes.")
    print("the source archive installs with a C compiler and without, and both write the same bytes")


if __name__ == "__main__":
    main()

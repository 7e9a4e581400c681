"""The first ten minutes of a new user, in an empty environment: ``make fresh``, or ``python tests/fresh_user.py``.

Installs this repository with pip, compresses the example, asks for a report (and installs the extra that the message names), opens
the file in Python, writes it back as TIFF, and checks what every step leaves. It needs Python, pip and a package index, and nothing
that is in the repository's own environment. Exit status 1 with a sentence where a step does not do what the documentation says.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "pollen.ome.tif"

FIRST_LOOK = """
import microfield as mf

f = mf.open("cells.mfield")
original = mf.open_image("cells.ome.tif")
assert (f.shape, f.axes, f.dtype) == (original.shape, "ZYX", original.dtype), f
assert f[16].shape == (256, 256)
assert f.preview(8).shape == (4, 32, 32)
quality = mf.compare("cells.ome.tif", f)
assert quality.psnr > 30, quality
f.save("from-python.ome.tif")
mf.decompress("cells.mfield", "one-plane.ome.tif", select="z=16")
again = mf.open_image("from-python.ome.tif")
assert (again.read() == f.asarray()).all()
assert again.voxel_size == original.voxel_size, (again.voxel_size, original.voxel_size)
report = mf.compress(f.asarray(), "small.mfield", ratio=200, effort=0, axes="ZYX")
print(quality)
print(report)
"""


class Fresh:
    """An empty environment, and a folder to work in.

    Parameters
    ----------
    folder : Path
        Empty.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        venv.create(folder / "environment", with_pip=True)
        self.bin = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
        # Nothing of the environment that runs this may leak into the new one.
        self.variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}

    def run(self, *words: str, status: int = 0) -> str:
        """What a program of the environment prints; it must end with ``status``."""
        print(f"$ {' '.join(words if len(words[-1]) < 200 else words[:-1])}", flush=True)
        program = next(p for p in (self.bin / words[0], self.bin / f"{words[0]}.exe") if p.exists())
        done = subprocess.run([str(program), *words[1:]], cwd=self.work, env=self.variables, check=False,
                              capture_output=True, text=True, encoding="utf-8")
        said = done.stdout + done.stderr
        if done.returncode != status:
            sys.exit(f"{' '.join(words)} ended with {done.returncode}, not {status}:\n{said}")
        print(said.rstrip(), flush=True)
        return said

    def install(self, extra: str = "") -> None:
        """Install the repository, with an extra."""
        self.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{ROOT}{extra}")

    def made(self, name: str, first: bytes) -> Path:
        """A file that must be there and begin with certain bytes."""
        path = self.work / name
        if not path.is_file() or not path.read_bytes().startswith(first):
            sys.exit(f"{name} is not there, or not what it should be.")
        return path


def main() -> None:
    """Walk the path."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="microfield-fresh-") as folder:
        user = Fresh(Path(folder))
        (user.work / "cells.ome.tif").write_bytes(EXAMPLE.read_bytes())
        user.install()
        user.run("microfield", "--help")
        said = user.run("microfield", "compress", "cells.ome.tif", "cells.mfield", "--ratio", "100")
        if "PSNR" not in said:
            sys.exit("compress does not say what was lost.")
        if user.made("cells.mfield", b"").stat().st_size * 100 > 2 * 32 * 256 * 256:
            sys.exit("cells.mfield is larger than was asked for.")
        user.run("microfield", "compress", "cells.ome.tif", "cells.mfield", "--ratio", "100", status=1)  # never overwritten unasked
        user.run("microfield", "info", "cells.mfield")
        user.run("microfield", "verify", "cells.mfield")
        said = user.run("microfield", "compare", "cells.ome.tif", "cells.mfield", "--report", "report.html", status=1)
        extra = re.search(r"pip install 'microfield(\[\w+\])'", said)
        if extra is None:
            sys.exit("the message does not say which extra makes the report.")
        user.install(extra[1])
        user.run("microfield", "compare", "cells.ome.tif", "cells.mfield", "--report", "report.html")
        user.made("report.html", b"<!DOCTYPE html>")
        user.run("python", "-W", "error", "-c", FIRST_LOOK)
        user.run("microfield", "decompress", "cells.mfield", "back.ome.tif")
        back = user.made("back.ome.tif", b"II*\0").read_bytes()
        if len(back) != len(user.made("from-python.ome.tif", b"II*\0").read_bytes()):
            sys.exit("decompress and f.save do not write the same.")
        user.made("one-plane.ome.tif", b"II*\0")
    print(f"the first ten minutes work; they took {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()

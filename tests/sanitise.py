"""The kernel under the address and undefined behaviour sanitisers: ``make sanitise``.

Compiles it so in a copy of the package, since no other process could load such a library, runs its tests, then mutated files of
`field` for some seconds. Needs GCC or clang with the sanitisers, on Linux. Exit status 1 where one of them complains.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from microfield.kernel import building

SANITISERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
ROOT = Path(__file__).resolve().parents[1]


def environment(sources: Path) -> dict[str, str]:
    """Variables of processes that load the library of a copy of ``src``: the sanitiser must be there before Python is."""
    command = [*building.compiler(), "-print-file-name=libasan.so"]
    runtime = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if not Path(runtime).is_absolute():
        sys.exit("the C compiler has no libasan.so.")
    path = os.pathsep.join([str(sources), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    # Python never frees all that it has, and the tests of damage fill memory on purpose.
    return os.environ | {"LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1", "PYTHONPATH": path,
                         building.MUST: "1"}


def main() -> int:
    """Run; the exit status."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seconds", type=float, default=20)
    seconds = p.parse_args().seconds
    with TemporaryDirectory() as folder:
        sources = Path(folder) / "src"
        shutil.copytree(ROOT / "src", sources, ignore=shutil.ignore_patterns("__pycache__"))
        variables = environment(sources)
        building.build(sources / "microfield" / "kernel" / building.file_name(), SANITISERS)
        for words in (("pytest", "-q", "-p", "no:cacheprovider", "tests/kernel"),
                      ("fuzz", "--seconds", str(seconds), "--methods", "field")):
            status = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, env=variables, check=False).returncode
            if status:
                return status
    print("the sanitisers find nothing")
    return 0


if __name__ == "__main__":
    sys.exit(main())

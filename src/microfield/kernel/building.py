"""Compiles the kernel with the C compiler of the machine: ``python -m microfield.kernel.building``, and the build of a wheel.

Nothing but the standard library is imported, so that `hatch_build.py` can run this file by its path, before there is a package.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

SOURCES = Path(__file__).parent / "source"
"""Folder of the C sources."""
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra")
"""What makes every compiler compute the same: no fast-math, and no fused multiply-add unless the source asks for it. There is no
``-march``: what goes beyond the least processor of a kind is chosen when the library is loaded."""
MUST = "MICROFIELD_KERNEL_MUST"
"""Environment variable: set to 1, a build without a kernel is an error."""


class NoKernel(Exception):
    """The kernel cannot be compiled here; the message is a sentence that says why."""


def file_name() -> str:
    """Name of the library on this platform."""
    if sys.platform == "win32":
        return "_kernel.dll"
    return "_kernel.dylib" if sys.platform == "darwin" else "_kernel.so"


def fingerprint(folder: Path = SOURCES) -> str:
    """The first 32 hexadecimal digits of SHA-256 over the sources and their names: the version of the kernel."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:32]


def compiler() -> list[str]:
    """The command of the C compiler: the environment variable CC, else the first of cc, gcc and clang that is there.

    Raises
    ------
    NoKernel
        If there is none.
    """
    named = os.environ.get("CC", "").split()
    if named and shutil.which(named[0]):
        return named
    for name in () if named else ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise NoKernel(f"there is no C compiler {' '.join(named)!r} (environment variable CC)." if named else
                   "there is no C compiler: none of cc, gcc and clang is on the PATH.")


def build(target: Path, extra: tuple[str, ...] = (), timeout: float = 300) -> None:
    """Compile the kernel into the file ``target``, in whose place the old one, if any, stays until the new one is complete.

    Parameters
    ----------
    target : Path
    extra : tuple of str
        Further flags of the compiler.
    timeout : float
        Seconds.

    Raises
    ------
    NoKernel
        If there is no compiler, it fails, or the machine is big-endian.
    """
    if sys.byteorder != "little":
        raise NoKernel("the kernel computes on little-endian machines only.")
    command = [*compiler(), *FLAGS, *_platform_flags(), *extra, f'-DMICROFIELD_SOURCES="{fingerprint()}"']
    unfinished = target.with_name(f"{target.stem}.{os.getpid()}{target.suffix}")
    command += [*map(str, sorted(SOURCES.glob("*.c"))), "-o", str(unfinished)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
        if done.returncode:
            raise NoKernel(f"the C compiler failed: {' '.join((done.stderr or done.stdout).split())[:2000]}")
        unfinished.replace(target)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoKernel(f"the C compiler could not be run: {error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _platform_flags() -> list[str]:
    """How a shared library is made here."""
    if sys.platform == "win32":
        return ["-shared"]
    if sys.platform != "darwin":
        return ["-shared", "-fPIC"]
    flags = ["-dynamiclib", "-fPIC"]
    target = os.environ.get("MACOSX_DEPLOYMENT_TARGET") or sysconfig.get_config_var("MACOSX_DEPLOYMENT_TARGET")
    return [*flags, f"-mmacosx-version-min={target}"] if target else flags


def main() -> int:
    """Compile the kernel into this package; 1 where that is a must and fails."""
    target = Path(__file__).parent / file_name()
    try:
        build(target)
    except NoKernel as error:
        print(f"no kernel: {error} microfield computes with NumPy instead, more slowly.", file=sys.stderr)
        return int(os.environ.get(MUST) == "1")
    print(f"kernel: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

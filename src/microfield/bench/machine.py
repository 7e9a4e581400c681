"""What a measurement ran on: processor and cores, versions of the libraries involved, and the memory it took."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("microfield", "numpy")
"""Every row carries the versions of these ..."""

CODECS = ("imagecodecs", "av")
NETWORKS = ("jax",)
"""... and of these where they are loaded."""

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def machine() -> dict[str, Any]:
    """Processor, number of cores this process may use, system, and version of Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": _processor(), "cores": cores, "system": platform.system(), "python": platform.python_version()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def versions(loaded: Iterable[str] | None = None) -> dict[str, str]:
    """Versions of microfield and numpy, and of the codec and network libraries that are loaded.

    ``loaded`` are names of top-level modules, by default those in ``sys.modules``; for these libraries they are also the
    names of the distributions.
    """
    present = set(sys.modules if loaded is None else loaded)
    found = {}
    for name in (*PACKAGES, *(n for n in CODECS + NETWORKS if n in present)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def reset_peak() -> bool:
    """Let `peak_memory` start again from now; False where the system cannot do that (Linux can)."""
    try:
        _RESET.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_memory() -> int | None:
    """Most bytes of memory that this process held at once since `reset_peak`, libraries and image included.

    Where the peak cannot be reset (macOS) it is that of the process since its start; None where the system does not tell it
    (Windows).
    """
    try:
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(largest) if sys.platform == "darwin" else int(largest) * 1024

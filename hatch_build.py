"""Build hook of hatchling: compiles the kernel and puts it into the wheel, or beside the sources of an editable install.

Where there is no C compiler the wheel is pure Python, and microfield computes with NumPy. MICROFIELD_KERNEL_MUST=1 makes that an
error, and MICROFIELD_KERNEL_MUST=0 leaves the kernel out.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path("src", "microfield", "kernel")


class KernelHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled kernel to a wheel."""

    _space: tempfile.TemporaryDirectory[str] | None = None
    """Where it is compiled."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files of the wheel are collected; ``version`` is "editable" for an editable install."""
        folder = Path(self.root) / PACKAGE
        spec = importlib.util.spec_from_file_location("microfield_kernel_building", folder / "building.py")
        assert spec is not None
        assert spec.loader is not None
        building = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(building)
        if os.environ.get(building.MUST) == "0":
            return
        self._space = tempfile.TemporaryDirectory()
        target = (folder if version == "editable" else Path(self._space.name)) / building.file_name()
        try:
            building.build(target)
        except building.NoKernel as error:
            if os.environ.get(building.MUST) == "1":
                raise SystemExit(f"{error} {building.MUST}=1 asks for a kernel.") from error
            self.app.display_warning(f"no kernel: {error} microfield will compute with NumPy, more slowly.")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{self._platform()}"
        if version != "editable":
            build_data["force_include"][str(target)] = f"microfield/kernel/{target.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Throw away what was compiled for the wheel."""
        del version, build_data, artifact_path
        if self._space is not None:
            self._space.cleanup()

    def _platform(self) -> str:
        """The platform tag of this machine, as the packaging libraries spell it."""
        from packaging.tags import sys_tags

        return next(tag.platform for tag in sys_tags() if "manylinux" not in tag.platform and "musllinux" not in tag.platform)

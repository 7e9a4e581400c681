"""The pictures of napari and of the served page: ``python docs/hooks/take_pictures.py napari`` and ``... served``.

The first needs napari with a Qt binding and a display (``xvfb-run -s "-screen 0 1500x950x24"`` gives one), the second Chromium
and the extra ``serve``. Both show the pollen grains of the examples. They are written into ``docs/pictures``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

PICTURES = Path(__file__).parents[1] / "pictures"
POLLEN = files("microfield.integrations.napari").joinpath("pollen.mfield")


def wait(seconds: float) -> None:
    """Let the window work."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.instance().processEvents()
        time.sleep(0.02)


def take_napari() -> None:
    """The sample with the widget beside it, after the preview was made."""
    import napari
    from qtpy.QtCore import Qt

    viewer: Any = napari.Viewer(show=True)
    viewer.window.resize(1300, 800)
    viewer.open_sample("microfield", "pollen")
    dock, widget = viewer.window.add_plugin_dock_widget("microfield", "Compress")
    widget._path.line_edit.value = "pollen-small.mfield"  # Without the folder of this machine.
    viewer.window._qt_window.resizeDocks([dock], [360], Qt.Horizontal)
    wait(15)
    viewer.reset_view()
    wait(2)
    viewer.screenshot(str(PICTURES / "napari.png"), canvas_only=False, flash=False)


def take_served() -> None:
    """The page of a folder with a stack, two planes of it as channels, and a file that is cut off."""
    import microfield as mf

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "packed"
        folder.mkdir()
        data = POLLEN.read_bytes()
        (folder / "pollen.mfield").write_bytes(data)
        (folder / "cut-off.mfield").write_bytes(data[: len(data) // 2])
        stack = mf.open(data).asarray()
        two = mf.Image(np.stack([stack[10], stack[20]]), "CYX", {"Y": 0.2, "X": 0.2}, dict.fromkeys("YX", "micrometer"),
                       ("plane 10", "plane 20"))
        mf.compress(two, folder / "two-planes.mfield", ratio=40)
        command = [sys.executable, "-m", "microfield", "serve", str(folder), "--port", "8000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                server.stdout.readline()
                chromium = shutil.which("chromium") or shutil.which("google-chrome") or "chromium-browser"
                subprocess.run([chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={temporary}/profile",
                                "--window-size=1080,730", f"--screenshot={PICTURES / 'served.png'}", "http://127.0.0.1:8000/"],
                               check=True, capture_output=True)
            finally:
                server.terminate()


if __name__ == "__main__":
    {"napari": take_napari, "served": take_served}[sys.argv[1]]()

"""The plugin in napari itself, where that is installed with a Qt binding and there is a display; Xvfb is one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.images import blobs, scaled
from microfield.image import Image
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

pytestmark = [
    pytest.mark.skipif(not (find_spec("napari") and find_spec("qtpy") and os.environ.get("DISPLAY")),
                       reason="needs napari and a display"),
    pytest.mark.filterwarnings("default"),  # Those of napari and of what it needs are not ours.
]
PATIENCE = 60


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    """One for all tests: Qt does not like several in turn."""
    import napari

    found = napari.Viewer(show=True)
    yield found
    found.close()


@pytest.fixture
def viewer(window: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    wrong: list[BaseException] = []
    monkeypatch.setattr("sys.excepthook", lambda kind, error, trace: wrong.append(error))  # Qt would end the process.
    yield window
    window.window.remove_dock_widget("all")
    window.layers.clear()
    window.dims.ndisplay = 2
    assert not wrong, wrong


def until(true: Callable[[], bool]) -> None:
    """Let the window work until something is true."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it does not happen"
        QApplication.instance().processEvents()
        time.sleep(0.02)


@pytest.fixture
def widget(viewer: Any) -> Any:
    from microfield.integrations.napari.widget import CompressWidget

    viewer.add_image(scaled(blobs((4, 96, 80)), 100, 4000, np.uint16), name="cells", scale=(2, 0.5, 0.5))
    made = CompressWidget(viewer)
    viewer.window.add_dock_widget(made)
    return made


def test_resolutions_are_shown(viewer: Any, tmp_path: Path) -> None:
    values = np.tile(scaled(blobs((2, 110, 130)), 0, 200, np.uint8), (1, 10, 10))
    image = Image(values, "ZYX", dict.fromkeys("ZYX", 1.0), dict.fromkeys("ZYX", "micrometer"))
    path = tmp_path / "wide.mfield"
    path.write_bytes(compress_to_bytes(image, Budget.of(lossless=True), Settings(method="lossless"))[0])
    (layer,) = viewer.open(str(path), plugin="microfield")
    assert [level.shape for level in layer.data] == [(2, 1100, 1300), (1, 550, 650), (1, 275, 325)]
    viewer.window.resize(640, 420)  # A level is shown where it has more voxels than the canvas has pixels.
    until(lambda: layer.data_level == 1)
    assert viewer.screenshot(flash=False)[..., :3].max() > 100
    viewer.dims.ndisplay = 3
    until(lambda: layer.data_level == 2)


def test_the_preview_follows_the_plane(viewer: Any, widget: Any) -> None:
    until(lambda: "preview of microfield" in viewer.layers)
    shown = viewer.layers["preview of microfield"]
    assert shown.data.shape == (96, 80)
    np.testing.assert_allclose(shown.scale, (0.5, 0.5))
    before = shown.data
    assert "PSNR" in widget._said.value
    viewer.dims.set_current_step(0, 3)
    until(lambda: viewer.layers["preview of microfield"].data is not before)
    assert [layer.name for layer in viewer.layers] == ["cells", "preview of microfield", "error of the preview"]
    assert widget._layer.value.name == "cells"


@pytest.mark.parametrize("destroyed", [False, True])
def test_a_widget_that_is_closed_disturbs_nothing(viewer: Any, widget: Any, destroyed: bool) -> None:
    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QApplication

    until(lambda: widget._trial is not None)
    viewer.window.remove_dock_widget("all")
    if destroyed:
        widget.native.deleteLater()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    for _ in range(50):  # A preview that was under way may still come.
        QApplication.instance().processEvents()
        time.sleep(0.02)
    before = [layer.data for layer in viewer.layers]
    viewer.dims.set_current_step(0, 2)
    for _ in range(50):
        QApplication.instance().processEvents()
        time.sleep(0.02)
    assert all(layer.data is data for layer, data in zip(viewer.layers, before, strict=True))


def test_compressing_and_cancelling(widget: Any, tmp_path: Path) -> None:
    widget._live.value = False
    widget._path.value = tmp_path / "cells.mfield"
    widget._start.changed.emit(True)
    widget._cancel.changed.emit(True)
    until(lambda: widget._work is None)
    assert widget._said.value == "stopped."
    assert list(tmp_path.iterdir()) == []
    widget._ratio.value = 20
    widget._start.changed.emit(True)
    until(lambda: widget._work is None)
    f = open_file(tmp_path / "cells.mfield")
    assert (f.shape, f.ratio >= 20, f.channel_names) == ((4, 96, 80), True, ("cells",))
    assert "20." in widget._said.value
    widget._start.changed.emit(True)
    until(lambda: widget._work is None)
    assert "exists" in widget._said.value
    widget._overwrite.value = True
    widget._start.changed.emit(True)
    until(lambda: widget._work is None)
    assert "smaller" in widget._said.value
    widget._path.value = tmp_path / "cells.tif"
    widget._start.changed.emit(True)
    assert widget._said.value == "cells.tif must end in .mfield."

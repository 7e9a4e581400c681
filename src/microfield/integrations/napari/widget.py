"""The widget *Compress* of napari: a ratio and a method, what they make of the plane that is shown, and the file.

Only napari imports this module, since it needs its window. What is computed is in `trial`, `task` and `writer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, FloatSpinBox, Label, ProgressBar, PushButton, create_widget

from microfield.errors import MicrofieldError, UsageError
from microfield.integrations.napari.task import CancelledError, Task
from microfield.integrations.napari.trial import Trial, try_plane
from microfield.integrations.napari.writer import image_of
from microfield.methods import AUTO, names
from microfield.writing.compress import compress
from microfield.writing.report import Report
from microfield.writing.settings import DEFAULT_METHOD

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

PREVIEW, ERROR = "preview of microfield", "error of the preview"
"""Names of the layers that show what a plane becomes."""

PAUSE = 300
"""Milliseconds without a change of settings or of the plane after which a preview is made."""


class CompressWidget(Container):  # type: ignore[misc]
    """Compress an image layer.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        napari gives it.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        from qtpy.QtCore import QTimer

        self._viewer = napari_viewer
        self._layer = create_widget(label="image", annotation="napari.layers.Image")
        self._ratio = FloatSpinBox(label="times smaller", value=100, min=2, max=100_000, step=10)
        self._method = ComboBox(label="method", choices=[DEFAULT_METHOD, AUTO, *(n for n in names() if n != DEFAULT_METHOD)])
        self._live = CheckBox(label="", text="preview of the plane that is shown", value=True)
        self._said = Label(label="")
        self._path = FileEdit(label="file", mode="w", filter="*.mfield", value=Path.home() / "copy.mfield")
        self._overwrite = CheckBox(label="", text="overwrite a file that exists")
        self._start, self._cancel = PushButton(text="Compress"), PushButton(text="Cancel", enabled=False)
        self._bar = ProgressBar(label="", value=0, max=100, visible=False)
        self._trial: Task[Trial] | None = None
        self._work: Task[Report] | None = None
        self._again, self._open = False, True
        super().__init__(widgets=[self._layer, self._ratio, self._method, self._live, self._said, self._path,
                                  self._overwrite, self._start, self._cancel, self._bar])
        self._timer = QTimer(self.native, singleShot=True, interval=PAUSE)  # It ends with the window.
        self._timer.timeout.connect(self._preview)
        self.native.destroyed.connect(self._closed)
        for widget in (self._layer, self._ratio, self._method, self._live):
            widget.changed.connect(self._changed)
        napari_viewer.dims.events.current_step.connect(self._changed)
        self._start.changed.connect(self._compress)
        self._cancel.changed.connect(self._stop)
        self._changed()

    def _closed(self) -> None:
        """The window is gone: nothing may touch it any more."""
        self._open = False
        self._viewer.dims.events.current_step.disconnect(self._changed)
        for task in (self._trial, self._work):
            if task is not None:
                task.cancel()

    # -- the preview ----------------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        """A preview is made when settings and plane have stood still for a moment."""
        self._timer.start()

    def _preview(self) -> None:
        layer = self._layer.value
        if not (self._live.value and self.native.isVisible()) or layer is None or layer.name in (PREVIEW, ERROR):
            return  # A widget that was closed may live on unseen.
        if self._trial is not None:  # Its end begins the next one.
            self._again = True
            self._trial.cancel()
            return
        plane, ratio, method = self._plane(layer), self._ratio.value, self._method.value
        self._trial = Task(lambda progress: try_plane(np.asarray(plane), ratio, method, progress))
        self._follow(self._trial, lambda trial: self._show(layer, trial), self._previewed)

    def _previewed(self, failure: str) -> None:
        if failure:
            self._said.value = failure
        self._trial, again = None, self._again
        self._again = False
        if again:
            self._changed()

    def _plane(self, layer: Image) -> Any:
        """The plane of a layer at full resolution that the viewer shows, not read yet."""
        data = layer.data[0] if layer.multiscale else layer.data
        plane = 3 if layer.rgb else 2
        point = np.round(layer.world_to_data(self._viewer.dims.point[-layer.ndim:])).astype(int)
        lead = tuple(int(np.clip(i, 0, n - 1)) for i, n in zip(point, data.shape[:data.ndim - plane], strict=False))
        return data[lead]

    def _show(self, layer: Image, trial: Trial) -> None:
        """Put the plane as it decodes, and its error, over the layer."""
        scale = np.asarray(layer.scale[-2:], float)
        place = {"scale": scale, "translate": np.asarray(layer.translate[-2:]) + scale * np.array(trial.corner)}
        place |= {"units": layer.units[-2:], "axis_labels": layer.axis_labels[-2:]}
        limits = [0.0, float(np.percentile(trial.error, 99.8)) or 1.0]
        shown = {} if layer.rgb else {"colormap": layer.colormap, "contrast_limits": layer.contrast_limits}
        self._put(PREVIEW, trial.values, {**place, **shown, "rgb": layer.rgb})
        self._put(ERROR, trial.error, {**place, "colormap": "inferno", "contrast_limits": limits, "visible": False})
        self._tell(trial.words)

    def _put(self, name: str, values: Any, how: dict[str, Any]) -> None:
        """Replace the layer of this name where it stands, or add it; the layers that are chosen stay chosen."""
        chosen, selected = self._layer.value, set(self._viewer.layers.selection)
        if name in self._viewer.layers and self._viewer.layers[name].data.shape == values.shape:
            there = self._viewer.layers[name]
            there.data, there.contrast_limits = values, how.get("contrast_limits", there.contrast_limits)
            there.scale, there.translate = how["scale"], how["translate"]
            return
        if name in self._viewer.layers:
            self._viewer.layers.remove(name)
        self._viewer.add_image(values, name=name, **how)
        self._layer.value = chosen
        self._viewer.layers.selection = selected & set(self._viewer.layers)

    # -- the file -------------------------------------------------------------------------------------------------------------

    def _compress(self) -> None:
        layer, path = self._layer.value, self._path.value
        if layer is None or self._work is not None:
            return
        ratio, method, overwrite = self._ratio.value, self._method.value, self._overwrite.value
        try:
            if Path(path).suffix != ".mfield":
                raise UsageError(f"{Path(path).name} must end in .mfield.")
            image = image_of([layer.as_layer_data_tuple()])
        except MicrofieldError as error:
            self._said.value = str(error)
            return
        self._work = Task(lambda progress: compress(image, path, ratio=ratio, method=method, overwrite=overwrite,
                                                    progress=progress))
        self._start.enabled, self._cancel.enabled, self._bar.visible = False, True, True
        self._follow(self._work, lambda report: self._tell(str(report).splitlines()), self._ended)

    def _tell(self, lines: Sequence[str]) -> None:
        self._said.value = "\n".join(line.strip() for line in lines)

    def _ended(self, failure: str) -> None:
        if failure:
            self._said.value = failure
        self._work = None
        self._start.enabled, self._cancel.enabled, self._bar.visible = True, False, False

    def _stop(self) -> None:
        if self._work is not None:
            self._work.cancel()
            self._said.value = "stopping ..."

    # -- both -----------------------------------------------------------------------------------------------------------------

    def _follow(self, task: Task[Any], done: Any, ended: Any) -> None:
        """Look at a task until it ends; then call ``done`` with its result, and ``ended`` with what went wrong, if anything."""
        from napari.qt.threading import create_worker

        def steps() -> Any:
            try:
                yield from task
            except CancelledError:
                return "stopped."
            except MicrofieldError as error:
                return str(error)
            return ""

        def returned(failure: str) -> None:
            if not self._open:
                return
            if not failure:
                done(task.result)
            ended(failure)

        worker = create_worker(steps, _start_thread=False)
        if task is self._work:
            worker.yielded.connect(self._advanced)
        worker.returned.connect(returned)
        worker.errored.connect(lambda error: ended(f"{type(error).__name__}: {error}") if self._open else None)
        worker.start()

    def _advanced(self, step: tuple[float, str]) -> None:
        if self._open:
            self._bar.value = round(100 * step[0])

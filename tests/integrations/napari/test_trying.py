"""What the widget computes: a plane tried, and work that can be stopped."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.images import blobs, scaled
from microfield.errors import InputError
from microfield.integrations.napari import trial
from microfield.integrations.napari.task import CancelledError, Task
from microfield.integrations.napari.trial import try_plane
from microfield.writing.compress import compress


def test_a_plane_is_tried() -> None:
    plane = scaled(blobs((64, 48)), 100, 4000, np.uint16)
    found = try_plane(plane, 20, "field")
    assert (found.values.shape, found.values.dtype.name, found.corner) == ((64, 48), "uint16", (0, 0))
    np.testing.assert_array_equal(found.error, np.abs(found.values.astype(float) - plane).astype(np.float32))
    rms = np.sqrt(np.mean(found.error.astype(float) ** 2))
    said, psnr, error = found.words
    assert error == f"error {rms:,.1f} grey levels (root mean square)"
    assert psnr.endswith(" dB")
    assert int(said.removeprefix("this plane alone, ").split()[0]) >= 20


def test_of_a_large_plane_the_middle_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SIDE", 32)
    plane = scaled(blobs((50, 40, 3)), 0, 250, np.uint8)
    found = try_plane(plane, 10, "field")
    assert (found.corner, found.values.shape, found.error.shape) == ((9, 4), (32, 32, 3), (32, 32))
    assert found.words[0].startswith("the middle 32 x 32 of this plane alone, ")
    np.testing.assert_array_equal(found.error, np.abs(found.values.astype(float) - plane[9:41, 4:36]).max(-1))


def test_labels_are_refused_in_a_sentence() -> None:
    labels = np.kron(np.arange(16).reshape(4, 4), np.ones((16, 16), int)).astype(np.uint16)
    with pytest.raises(InputError, match="label"):
        try_plane(labels, 20, "field")


def test_a_task_reports_and_returns() -> None:
    seen = threading.Event()

    def work(progress: Any) -> int:
        progress(0.25, "begun")
        seen.wait(10)
        return 7

    task = Task(work)
    steps = []
    for step in task:
        steps.append(step)
        seen.set()
    assert steps[-1] == (1.0, "done")
    assert (0.25, "begun") in steps
    assert task.result == 7


def test_what_fails_in_a_task_is_raised() -> None:
    def work(progress: Any) -> int:
        raise InputError("this cannot be.")

    with pytest.raises(InputError, match="this cannot be"):
        list(Task(work))


def test_cancelling_a_compression_leaves_nothing(tmp_path: Path) -> None:
    image = scaled(blobs((8, 64, 64)), 100, 4000, np.uint16)
    begun = threading.Event()

    def work(progress: Any) -> Any:
        def told(fraction: float, message: str) -> None:
            progress(fraction, message)
            begun.set()

        return compress(image, tmp_path / "x.mfield", ratio=20, axes="ZYX", effort=9, progress=told)

    task = Task(work)

    def stop_when_begun() -> None:
        for _ in task:
            if begun.is_set():
                task.cancel()

    with pytest.raises(CancelledError, match="nothing was written"):
        stop_when_begun()
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_is_cancelled_before_it_begins_does_nothing() -> None:
    task = Task(lambda progress: pytest.fail("worked"))
    task.cancel()
    with pytest.raises(CancelledError):
        list(task)


def test_a_task_that_has_ended_stays_done() -> None:
    task = Task(lambda progress: 7)
    assert [*task][-1] == (1.0, "done")
    task.cancel()
    assert task.result == 7

"""A folder of small files, and a real server of it in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from helpers.images import blobs, scaled
from microfield.display import ChannelDisplay, Display
from microfield.image import Image
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

MICROMETER = dict.fromkeys("ZYX", "micrometer")


def write(path: Path, values: np.ndarray[Any, Any], axes: str, **known: Any) -> None:
    """Compress an array as cheaply as it goes."""
    path.parent.mkdir(exist_ok=True)
    image = Image(values, axes, name=path.name, **known)
    path.write_bytes(compress_to_bytes(image, Budget.of(ratio=10), Settings(effort=0, keep_metadata=True))[0])


def make_folder(folder: Path) -> Path:
    """Files of different axes and types; one with a space and an accent in its name, one in a folder, one that is cut off."""
    write(folder / "stack.mfield", scaled(blobs((6, 40, 30)), 100, 4000, np.uint16), "ZYX",
          voxel_size={"Z": 0.5, "Y": 0.1, "X": 0.1}, units=MICROMETER)
    shown = Display((ChannelDisplay((0, 0, 255), (100.0, 900.0)), ChannelDisplay((0, 255, 0), (50.0, 600.0), hidden=True)))
    write(folder / "deux é.mfield", scaled(blobs((2, 40, 30)), 0, 200, np.uint8), "CYX", channel_names=("DAPI", "GFP"),
          display=shown)
    write(folder / "plate" / "colour.mfield", scaled(blobs((40, 30, 3)), 0, 250, np.uint8), "YXS")
    write(folder / "wide.mfield", scaled(blobs((20, 600)), -3.0, 2.0, np.float32), "YX")
    whole = (folder / "stack.mfield").read_bytes()
    (folder / "cut.mfield").write_bytes(whole[:len(whole) // 2])
    return folder


@contextmanager
def running(app: Any) -> Iterator[str]:
    """A uvicorn server in a thread; gives its address."""
    import uvicorn

    from microfield.integrations.serve.running import Place, listening

    with listening(Place(port=0)) as found:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [found]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
            assert thread.is_alive()
        try:
            yield f"http://127.0.0.1:{found.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()

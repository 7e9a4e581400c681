"""How fast viewers get planes: scrolling through a stack as napari's reader gives it, and chunks from the server.

    python -m benchmarks.viewers [--window]

A stack of 60 planes of 256 x 256 (the pollen grains of the examples, some planes twice), compressed 100 times by `field`. Told
are opening and the first plane, which decode the part, and then all planes, three times over: means and the slowest.
``--window`` scrolls in a window of napari, too, which must be installed and needs a display, and compares a NumPy array there.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import microfield as mf
from microfield.integrations.napari.reader import read
from microfield.integrations.serve.image import ChunkPlace, ServedImage

EXAMPLE = Path(__file__).parents[1] / "examples" / "pollen.ome.tif"
PLANES = 60
ROUNDS = 3


def stack() -> npt.NDArray[np.uint16]:
    """60 planes of the example: upwards, then downwards."""
    values = mf.open_image(EXAMPLE).read()
    return np.concatenate([values, values[::-1]])[:PLANES]


def scrolling(path: Path) -> tuple[float, list[float]]:
    """Seconds to open the file and get its first plane, and of every later one, read as napari does from the layer's Dask array."""
    begin = time.perf_counter()
    ((data, _, _),) = read(str(path))
    np.asarray(data[PLANES // 2])
    first = time.perf_counter() - begin
    seconds = []
    for z in [*range(PLANES)] * ROUNDS:
        begin = time.perf_counter()
        np.asarray(data[z])
        seconds.append(time.perf_counter() - begin)
    return first, seconds


def serving(path: Path) -> list[float]:
    """Seconds of every chunk of a plane, made by the server of a part that is decoded."""
    image = ServedImage(mf.open(path))
    image.chunk(ChunkPlace(0, (0, 0, 0)))
    seconds = []
    for z in [*range(PLANES)] * ROUNDS:
        begin = time.perf_counter()
        image.chunk(ChunkPlace(0, (z, 0, 0)))
        seconds.append(time.perf_counter() - begin)
    return seconds


def in_window(path: Path) -> None:
    """Scroll in a window, as fast as it draws, and print the planes a second of a file and of the same values as a NumPy array."""
    import napari
    from qtpy.QtWidgets import QApplication

    def rate(viewer: Any) -> float:
        for z in range(PLANES):  # The window appears, and the part is decoded.
            viewer.dims.set_current_step(0, z)
            QApplication.instance().processEvents()
        begin = time.perf_counter()
        for z in [*range(PLANES)] * ROUNDS:
            viewer.dims.set_current_step(0, z)
            QApplication.instance().processEvents()
        return PLANES * ROUNDS / (time.perf_counter() - begin)

    viewer = napari.Viewer()
    viewer.open(str(path), plugin="microfield")
    shown, values = rate(viewer), np.asarray(viewer.layers[0].data)
    viewer.close()
    other = napari.Viewer()
    other.add_image(values)
    print(f"\nin a window of napari: {shown:.0f} planes a second, {rate(other):.0f} where the same values are a NumPy array")


def told(name: str, seconds: list[float]) -> str:
    """A row of the table."""
    return f"| {name} | {1 / np.mean(seconds):,.0f} | {1e3 * np.mean(seconds):.2f} | {1e3 * max(seconds):.2f} |"


def main() -> None:
    """Compress, read, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--window", action="store_true", help="scroll in a window of napari, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stack.mfield"
        mf.compress(stack(), path, ratio=100, axes="ZYX")
        first, seconds = scrolling(path)
        print(f"60 x 256 x 256, uint16, field, 100 times smaller; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
        print(f"opening, and the first plane, which decodes all of them: {first:.2f} s\n")
        print("| of the part that is decoded | planes a second | mean ms | slowest ms |\n|---|---|---|---|")
        print(told("napari's layer (Dask)", seconds))
        print(told("chunks of the server", serving(path)))
        if arguments.window:
            in_window(path)


if __name__ == "__main__":
    main()

"""One plane of a stack through Zarr, bioio and xarray, beside the file itself, side by side in one run.

``python -m benchmarks.integrations --data DIR`` prints the table, ``--write docs/python-tools.md`` puts it into the page.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import microfield as mf

IMAGE = "fluo3d_nuclei_confocal.ome.tif"
"""60 planes of 256 x 256, 16 bits."""

METHODS: dict[str, dict[str, Any]] = {"field": {"ratio": 128, "effort": 2}, "siren": {"ratio": 256, "effort": 0}}
"""A method that decodes the stack whole and keeps it, and one that computes the plane alone; effort changes no decoder."""

BEGIN, END = "<!-- benchmarks.integrations -->\n", "<!-- end -->\n"
"""Around the table in a page."""

Read = Callable[[int], Any]
"""Gives a plane by its number."""


def openers(folder: Path) -> dict[str, Callable[[], Read]]:
    """Name of every way to a plane, and what opens the file or the array for it."""
    import xarray
    import zarr
    from bioio import BioImage

    from microfield.integrations.zarr_codec import _open_chunks

    def through_zarr() -> Read:
        _open_chunks.clear()
        array = zarr.open_array(str(folder / "stack.zarr"), mode="r")
        return lambda z: array[z]

    def through_bioio() -> Read:
        image = BioImage(folder / "stack.mfield")
        return lambda z: image.get_image_data("YX", Z=z)

    def through_bioio_dask() -> Read:
        image = BioImage(folder / "stack.mfield")
        return lambda z: image.get_image_dask_data("YX", Z=z).compute(scheduler="synchronous")

    def through_xarray() -> Read:
        dataset = xarray.open_dataset(folder / "stack.mfield", engine="microfield")
        return lambda z: dataset.image[z].values

    return {"the file itself": lambda: mf.open(folder / "stack.mfield").__getitem__, "Zarr": through_zarr, "bioio": through_bioio,
            "bioio, Dask": through_bioio_dask, "xarray": through_xarray}


def write(folder: Path, stack: Any, method: str) -> None:
    """The stack as a file, and as the one chunk of an array."""
    import zarr

    from microfield.integrations.zarr_codec import MicrofieldCodec

    how = METHODS[method] | {"method": method}
    mf.compress(stack, folder / "stack.mfield", axes="ZYX", overwrite=True, **how)
    array = zarr.create_array(str(folder / "stack.zarr"), shape=stack.shape, chunks=stack.shape, dtype=stack.dtype, overwrite=True,
                              serializer=MicrofieldCodec(**how), compressors=None)
    array[:] = stack


def rounds(folder: Path, count: int, planes: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of processor time of the first plane after opening, and of one of the planes that follow, in every round, by name.

    Processor time of all threads: it is what the machine does for it, whatever else the machine does.
    """
    ways = openers(folder)
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
    rng = np.random.default_rng(0)
    for opened in ways.values():  # Imports and plugin discovery are not what is measured.
        opened()(0)
    for _ in range(count):
        order = rng.integers(0, planes, 8).tolist()
        for name, opened in ways.items():
            begin = time.process_time()
            read = opened()
            read(order[0])
            found[name][0].append(time.process_time() - begin)
            begin = time.process_time()
            for z in order[1:]:
                read(z)
            found[name][1].append((time.process_time() - begin) / (len(order) - 1))
    return found


def table(measured: dict[str, dict[str, tuple[list[float], list[float]]]]) -> str:
    """Markdown: medians, and of the ratio to the file itself in the same round also the smallest and the largest."""
    lines = ["| method | through | opening and the first plane | times the file itself | each plane after it |",
             "|---|---|---|---|---|"]
    for method, ways in measured.items():
        direct = ways["the file itself"][0]
        for name, (first, rest) in ways.items():
            ratios = [a / b for a, b in zip(first, direct, strict=True)]
            spread = "" if first is direct else f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            lines.append(f"| `{method}` | {name} | {1e3 * statistics.median(first):.0f} ms | {spread} | "
                         f"{1e3 * statistics.median(rest):.1f} ms |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {IMAGE}")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--write", type=Path, help="page to put the table into")
    arguments = parser.parse_args()
    stack = mf.open_image(arguments.data / IMAGE).read()
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for method in arguments.methods:
            write(Path(folder), stack, method)
            measured[method] = rounds(Path(folder), arguments.rounds, len(stack))
    text = table(measured)
    print(text)
    if arguments.write:
        page = arguments.write.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        arguments.write.write_text(before + BEGIN + "\n" + text + "\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()

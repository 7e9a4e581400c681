"""The files that the pages of the documentation name: the example image, and images made of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

import microfield as mf
from microfield.image import Layout

EXAMPLE = Path(__file__).parents[2] / "examples" / "pollen.ome.tif"


def make(folder: Path, small: bool = False) -> None:
    """Write the files into an empty folder; ``small`` ones have a quarter of the rows and columns.

    ``cells.ome.tif`` is the example, ``film.ome.tif`` a film of its planes, ``two-channels.ome.tif`` two channels of a few planes,
    ``nuclei-mask.tif`` where the example is bright, ``photon-map.npy`` floats with missing values, ``monday`` a folder of images,
    ``planes`` one of single planes.
    """
    example = mf.open_image(EXAMPLE)
    stack = example.read()
    if small:
        stack = stack[:, 96:160, 96:160]
    piece = stack[:4, -128:, -128:]
    sizes = {"T": 30.0, **dict(example.voxel_size)}
    units = {"T": "second", **dict(example.units)}
    bright = (stack > np.percentile(stack, 97)).astype(np.uint8)
    missing = piece[0].astype(np.float32)
    missing[:8, :8] = np.nan
    np.save(folder / "photon-map.npy", missing)
    two = np.stack([piece, piece[::-1, ::-1]])
    if not small:
        shutil.copy(EXAMPLE, folder / "cells.ome.tif")
    for name, values, axes, channels in (
        *([("cells.ome.tif", stack, "ZYX", ())] if small else []), ("film.ome.tif", piece, "TYX", ()),
        ("two-channels.ome.tif", two, "CZYX", ("DAPI", "GFP")),
        ("nuclei-mask.tif", bright, "ZYX", ()), ("monday/dish-1.ome.tif", piece, "ZYX", ()),
        ("monday/dish-2.ome.tif", piece[:, ::-1], "ZYX", ()),
        *((f"planes/cell_z{z:03}.tif", plane, "YX", ()) for z, plane in enumerate(piece)),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        mf.save_image(folder / name, Layout(values.shape, axes, values.dtype), values.__getitem__, voxel_size=sizes, units=units,
                      channel_names=tuple(channels))

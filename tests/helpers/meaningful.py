"""Small images in files of other people's formats, with everything that their formats say of how an image is meant to be seen."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from helpers.images import blobs, scaled
from microfield.acquisition import Acquisition

RAMP = np.arange(256)
RED, GREEN = (np.stack([RAMP * (c == i) for i in range(3)]).astype(np.uint8) for c in (0, 1))
FIRE = np.stack([np.clip(2 * RAMP, 0, 255), np.clip(2 * RAMP - 255, 0, 255), RAMP]).astype(np.uint8)
LABELS = tuple(f"t{t} z{z} c{c}" for t in range(2) for z in range(2) for c in range(3))
TAKEN = Acquisition("2024-05-06T12:30:00", "Plan-Apochromat 20x/0.8", 20.0, 0.8, {"X": 1500.5, "Y": -220.0, "Z": 12.25})
RANGES = ((10.0, 500.0), (0.0, 4095.0), (20.0, 300.5))


def values() -> npt.NDArray[np.uint16]:
    """TZCYX: two times, two planes, three channels of 24 x 20."""
    return np.asarray(scaled(blobs((2, 2, 3, 24, 20)), 100, 4000, np.uint16))


def imagej(folder: Path, **more: Any) -> Path:
    """A composite hyperstack as ImageJ saves it."""
    path = folder / "imagej.tif"
    metadata = {"axes": "TZCYX", "unit": "um", "spacing": 0.5, "finterval": 2.5, "LUTs": [RED, GREEN, FIRE], "mode": "composite",
                "Ranges": tuple(np.ravel(RANGES)), "Labels": list(LABELS), "Info": "Objective: 63x", "cf": 0, "c0": -100, "c1": 1.5,
                "vunit": "photons"}
    tifffile.imwrite(path, values(), imagej=True, resolution=(5, 4), metadata=metadata | more)
    return path


def ome_tiff(folder: Path, **more: Any) -> Path:
    """An OME-TIFF with what OME-XML says of channels, sizes and planes."""
    path = folder / "ome.ome.tif"
    channels = {"Name": ["DAPI", "GFP", "mCherry"], "Color": [65535, 16711935, -16776961], "EmissionWavelength": [450, 510, 610]}
    positions = {f"Position{a}": [1e-3 * v] * 12 for a, v in TAKEN.position.items()}
    units = {f"Position{a}Unit": ["mm"] * 12 for a in TAKEN.position}
    metadata = {"axes": "TZCYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 250, "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 0.5,
                "TimeIncrement": 2500.0, "TimeIncrementUnit": "ms", "Channel": channels, "AcquisitionDate": TAKEN.date,
                "Plane": positions | units}
    tifffile.imwrite(path, values(), metadata=metadata | more)
    text = str(tifffile.tiffcomment(path))
    lens = '<Instrument ID="Instrument:0"><Objective ID="Objective:7" Model="other"/>' \
           '<Objective ID="Objective:8" Model="Plan-Apochromat 20x/0.8" NominalMagnification="20" LensNA="0.8"/></Instrument>'
    text = text.replace("<Image ", f"{lens}<Image ", 1).replace("<Pixels ", '<ObjectiveSettings ID="Objective:8"/><Pixels ', 1)
    tifffile.tiffcomment(path, text.encode())
    return path


def ome_zarr(folder: Path, version: str = "0.4") -> Path:
    """An OME-Zarr image with the block for OMERO, of Zarr 2 (0.4) or 3 (0.5)."""
    import zarr

    path = folder / f"v{version}.ome.zarr"
    group = zarr.create_group(store=str(path), zarr_format=2 if version == "0.4" else 3)
    data = values().transpose(0, 2, 1, 3, 4)
    group.create_array("0", shape=data.shape, dtype=data.dtype, chunks=data.shape)[...] = data
    axes = [{"name": a, "type": t, "unit": u} for a, t, u in (("t", "time", "second"), ("c", "channel", None),
            *((a, "space", "micrometer") for a in "zyx"))]  # fmt: skip
    scale = [{"type": "scale", "scale": [2.5, 1, 0.5, 0.25, 0.2]},
             {"type": "translation", "translation": [0, 0, *(TAKEN.position[a] for a in "ZYX")]}]
    channels = [
        {"label": name, "color": colour, "active": i != 1, "window": {"min": 0, "max": 65535, "start": low, "end": high}}
        for i, (name, colour, (low, high)) in enumerate(zip(("DAPI", "GFP", "mCherry"), ("0000FF", "00ff00", "FF0000"), RANGES,
                                                            strict=True))
    ]  # fmt: skip
    ome = {"multiscales": [{"version": version, "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}],
           "omero": {"channels": channels, "rdefs": {"model": "greyscale"}}}
    group.attrs.update(ome if version == "0.4" else {"ome": ome | {"version": version}})
    return path


def lsm(folder: Path) -> Path:
    """A plane of three channels as Zeiss wrote it: the structure and its colours at their places, and a thumbnail."""
    path = folder / "zeiss.lsm"
    info = np.zeros(1, np.dtype(tifffile.TIFF.CZ_LSMINFO))
    for name, value in {"MagicNumber": 67127628, "StructureSize": info.nbytes, "DimensionX": 20, "DimensionY": 24, "DimensionZ": 1,
                        "DimensionChannels": 3, "DimensionTime": 1, "VoxelSizeX": 2e-7, "VoxelSizeY": 2.5e-7, "VoxelSizeZ": 5e-7,
                        "TimeIntervall": 2.5, "ScanType": 0, "OffsetChannelColors": 0xFEEDBEEF}.items():  # fmt: skip
        info[name] = value
    with tifffile.TiffWriter(path, byteorder="<") as out:
        out.write(values()[0, 0], planarconfig="separate", photometric="rgb", metadata=None,
                  extratags=[(34412, 1, info.nbytes, info.tobytes(), True)])
        out.write(values()[0, 0, :, ::4, ::4].astype(np.uint8), planarconfig="separate", photometric="rgb", subfiletype=1,
                  metadata=None)
    content = path.read_bytes()
    names = b"".join(struct.pack("<I", len(n) + 1) + n + b"\0" for n in (b"Ch1-T1", b"Ch2-T2", b"ChD"))
    colours = bytes([0, 0, 255, 0, 0, 255, 0, 0, 255, 255, 255, 0])
    block = struct.pack("<6I", 24 + 12 + len(names), 3, 3, 24, 36, 0) + colours + names
    path.write_bytes(content.replace(struct.pack("<I", 0xFEEDBEEF), struct.pack("<I", len(content))) + block)
    return path


MAKERS: Mapping[str, Callable[[Path], Path]] = {
    "imagej": imagej, "ome_tiff": ome_tiff, "lsm": lsm, "zarr 0.4": ome_zarr, "zarr 0.5": lambda folder: ome_zarr(folder, "0.5"),
}  # fmt: skip
"""Name of a format to what makes such a file in a folder."""

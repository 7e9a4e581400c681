"""``microfield decompress``: write all of a file, or a region, every n-th voxel or a mask of it, as a normal image."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microfield.cli.progress import ProgressLine
from microfield.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from microfield.format.grid import Box
    from microfield.reading.file import MicrofieldFile


def add_to(commands: Any) -> None:
    """Declare the command."""
    p = commands.add_parser("decompress", help="write a file, or part of it, as a normal image")
    p.add_argument("input", metavar="IN.mfield")
    p.add_argument("output", metavar="OUT", help="OUT.ome.tif, OUT.ome.zarr or OUT.npy")
    p.add_argument("--select", metavar="SELECTION", help="such as t=0,c=1,z=10:20,y=::4,x=::4")
    p.add_argument("--mask", metavar="IMAGE", help="decode only where this image is not zero; the rest is 0")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Decode and write; the exit status."""
    from microfield.image import Layout
    from microfield.io import save_image
    from microfield.reading.file import open_file

    line = ProgressLine(Path(arguments.output).name)
    with open_file(arguments.input) as f:
        box, axes = _box(f, arguments.select)
        layout = Layout(tuple(len(box[f.axes.index(a)]) for a in axes), axes, f.dtype)
        read = _masked(f, arguments.mask, arguments.select) if arguments.mask else _reader(f, box, axes)
        steps = {a: abs(r.step) for a, r in zip(f.axes, box, strict=True)}
        names = f.channel_names
        if names and "C" in f.axes:
            names = tuple(names[i] for i in box[f.axes.index("C")])
        try:
            save_image(
                arguments.output, layout, read, voxel_size={a: v * steps.get(a, 1) for a, v in f.voxel_size.items() if a in axes},
                units={a: u for a, u in f.units.items() if a in axes}, channel_names=names if "C" in axes else (),
                metadata=f.metadata if arguments.select is None else None,
                progress=lambda done: line(done, "decode"),
            )
        finally:
            line.close()
    print(f"{arguments.output}: {axes} {' x '.join(map(str, layout.shape))} {layout.dtype}")
    return 0


def _box(f: MicrofieldFile, text: str | None) -> tuple[Box, str]:
    """The selected positions of every axis, and the axes that the output has: Y, X and S always, others unless the selection
    names a single position.

    Raises
    ------
    UsageError
        The selection makes no sense for this file, or holds no voxel.
    """
    from microfield.reading.selection import Selection

    selection = Selection.parse(text, f.axes, f.shape) if text is not None else Selection.from_index((), f.shape)
    if any(len(r) == 0 for r in selection.box):
        raise UsageError(f"the selection {text!r} holds no voxel of an image of shape {f.shape} ({f.axes}).")
    kept = [a for i, a in enumerate(f.axes) if a in "YXS" or i not in selection.squeezed]
    return selection.box, "".join(kept)


def _reader(f: MicrofieldFile, box: Box, axes: str) -> Any:
    """A function of a box of the output that decodes it; what `save_image` asks for block by block."""

    def read(where: tuple[slice, ...]) -> npt.NDArray[np.generic]:
        """The values of a box of the output, whose slices count in selected positions of the axes that stay."""
        taken = dict(zip(axes, where, strict=True))
        key = []
        for axis, r in zip(f.axes, box, strict=True):
            part = r[taken[axis]] if axis in taken else r
            end = part.stop if part.stop >= 0 else None
            key.append(slice(part.start, end, part.step))
        values = f[tuple(key)]
        dropped = tuple(i for i, axis in enumerate(f.axes) if axis not in axes)
        block: npt.NDArray[np.generic] = values.squeeze(dropped)
        return block

    return read


def _masked(f: MicrofieldFile, path: str, select: str | None) -> Any:
    """Blocks of the output, 0 where the mask in a file is 0; only what the mask marks is decoded."""
    from microfield.cli.masks import Covered, read_mask

    if select is not None:
        raise UsageError("give --select or --mask, not both.")
    values = f.asarray(mask=read_mask(path, Covered("the file", f.axes, f.shape)))
    return lambda where: values[where]

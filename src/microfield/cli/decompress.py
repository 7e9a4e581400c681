"""``microfield decompress``: write all of a file, or a region, every n-th voxel or a mask of it, as a normal image."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from microfield.errors import UsageError
from microfield.progress import ProgressLine
from microfield.wording import listed


def add_to(commands: Any) -> None:
    """Declare the command."""
    p = commands.add_parser("decompress", help="write a file, or part of it, as a normal image")
    p.add_argument("input", metavar="IN.mfield")
    p.add_argument("output", metavar="OUT", help="OUT.ome.tif, OUT.ome.zarr, OUT.npy, or OUT.imagej.tif for Fiji")
    p.add_argument("--select", metavar="SELECTION", help="such as t=0,c=1,z=10:20,y=::4,x=::4")
    p.add_argument("--mask", metavar="IMAGE", help="decode only where this image is not zero; the rest is 0")
    p.add_argument("--ancestor", metavar="FILE", help="the ancestor-*.npz that IN builds on, where it lies elsewhere")
    p.add_argument("--overwrite", action="store_true", help="replace OUT where it exists")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Decode and write; the exit status."""
    from microfield.io import check_output
    from microfield.reading.file import open_file
    from microfield.reading.saving import save

    if arguments.select is not None and arguments.mask:
        raise UsageError("give --select or --mask, not both.")
    sources = [arguments.input, *filter(None, [arguments.mask])]
    check_output(arguments.output, overwrite=arguments.overwrite, sources=sources)
    line = ProgressLine(Path(arguments.output).name)
    with open_file(arguments.input, ancestor=arguments.ancestor) as f:
        try:
            saved = save(f, arguments.output, arguments.select, arguments.mask, arguments.overwrite, line)
        finally:
            line.close()
    layout = saved.layout
    print(f"{arguments.output}: {layout.axes} {' x '.join(map(str, layout.shape))} {layout.dtype}")
    for note in saved.notes:
        print(f"  note: {note}")
    if saved.lost:
        print(f"  note: not in {Path(arguments.output).name}: {listed(saved.lost)}.")
    return 0

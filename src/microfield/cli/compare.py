"""``microfield compare``: measure a reconstruction against its original."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_to(commands: Any) -> None:
    """Declare the command."""
    p = commands.add_parser("compare", help="measure a reconstruction against its original")
    p.add_argument("original", metavar="ORIGINAL")
    p.add_argument("reconstruction", metavar="RECONSTRUCTION", help="a .mfield file or an image")
    p.add_argument("--axes", help="axes of the original, as in compress")
    p.add_argument("--scene")
    p.add_argument("--channel")
    p.add_argument("--no-ssim", action="store_true", help="skip SSIM, which takes most of the time")
    p.add_argument("--json", action="store_true")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison."""
    from microfield.io import open_image
    from microfield.metrics import compare
    from microfield.reader import open_file

    original = open_image(arguments.original, axes=arguments.axes and arguments.axes.upper(), scene=arguments.scene,
                          channel=arguments.channel)
    if arguments.reconstruction.endswith(".mfield"):
        f = open_file(arguments.reconstruction)
        result = compare(original, f, ssim=not arguments.no_ssim, file_bytes=f.file_bytes)
    else:
        result = compare(original, open_image(arguments.reconstruction).data, ssim=not arguments.no_ssim)
    print(json.dumps(result.as_dict()) if arguments.json else result.table())
    return 0

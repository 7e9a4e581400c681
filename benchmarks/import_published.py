"""Turn a network that the authors of INIF published into a microfield file.

    python -m benchmarks.import_published IN.npz OUT.mfield

The arrays are those that their program saves, as one ``.npz`` (see `microfield.methods.coordinate.published.import_published`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from microfield.format.assembler import write
from microfield.format.header import Header
from microfield.io.atomic import atomic_path
from microfield.methods.coordinate.published import import_published


def import_file(source: str, destination: str) -> None:
    """Write the microfield file of the arrays in ``source``."""
    with np.load(source, allow_pickle=False) as arrays:
        layout, part = import_published(arrays)
    data = write(Header(method="inif", bitstream_version=1, layout=layout), [(part,)])
    with atomic_path(Path(destination)) as temporary:
        temporary.write_bytes(data)


if __name__ == "__main__":
    import_file(*sys.argv[1:3])

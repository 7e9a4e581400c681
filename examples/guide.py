"""A guide of your own: keep which voxels of a stack are brighter than a level, and see what that changes at equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import microfield as mf

LEVEL, SOFT = 9000.0, 900.0
"""Grey level of the threshold, and over how many grey levels it is soft: a step would have no gradient."""


def bright(original: Any, copy: Any) -> Any:
    """1 - overlap of the bright voxels of a block (z, y, x) of the original with those of its copy."""
    mask = (original > LEVEL).astype(jnp.float32)
    soft = jax.nn.sigmoid((copy - LEVEL) / SOFT)
    both = jnp.sum(mask * soft)
    return 1 - both / (jnp.sum(mask + soft) - both + 1)


def main() -> None:
    """Compress a crop of the stack without and with the guide, and print the overlap of the bright voxels and PSNR."""
    stack = mf.open_image(Path(__file__).parent / "pollen.ome.tif")
    crop = stack.read()[8:24, 64:192, 64:192]
    for guide in (None, bright):
        report = mf.compress(mf.Image(crop, "ZYX"), "guided.mfield", ratio=256, guide=guide, options={"nets": "a"}, overwrite=True)
        copy = np.asarray(mf.open("guided.mfield"))
        first, second = crop > LEVEL, copy > LEVEL
        overlap = np.count_nonzero(first & second) / np.count_nonzero(first | second)
        print(f"{'guided' if guide else 'plain':8}{report.file_bytes} bytes, PSNR {report.psnr:.2f} dB, overlap {overlap:.3f}")


if __name__ == "__main__":
    main()

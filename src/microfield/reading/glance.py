"""A quick look at a file: its middle plane, from as little decoding as its method allows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microfield.image import SPATIAL
from microfield.notebook.preview import Preview, look, preview

if TYPE_CHECKING:
    from microfield.reading.file import MicrofieldFile
    from microfield.reading.parts import Parts

QUICK_VOXELS = 1 << 21
"""Most voxels that a look decodes: about a second of work."""

QUICK_PARTS = 256
"""Most parts that a look opens."""


def glance(f: MicrofieldFile, parts: Parts) -> Preview | None:
    """A small picture of the middle plane of a file; None where that takes more than a second or so to decode.

    Parameters
    ----------
    f : MicrofieldFile
    parts : Parts
        Its parts; what is decoded here is kept there for later reads.
    """
    where = look(f.sizes)
    touched = math.prod(-(-k.stop // n) - k.start // n for k, n in zip(where.key, parts.grid.tile, strict=True))
    if touched > QUICK_PARTS:
        return None
    cost = f.cost(where.key).voxels
    if cost <= QUICK_VOXELS:
        return preview(f[where.key], f.axes, f.display, where.where)
    step = 1 << (where.step - 1).bit_length()  # Coarse levels halve the extents.
    if cost > QUICK_VOXELS * step**2:
        return None
    coarse = _coarse(parts, where.key, tuple(step if axis in SPATIAL else 1 for axis in f.axes))
    return None if coarse is None else preview(coarse, f.axes, f.display, where.where)


def _coarse(parts: Parts, key: tuple[slice, ...], steps: tuple[int, ...]) -> npt.NDArray[Any] | None:
    """About the means of blocks of ``steps`` voxels at ``key``, from coarse levels; None where a part has none or cuts a block."""
    first = tuple(k.start // step for k, step in zip(key, steps, strict=True))
    stop = tuple(-(-k.stop // step) for k, step in zip(key, steps, strict=True))
    out = np.zeros([b - a for a, b in zip(first, stop, strict=True)], np.float32)
    for part, *_ in parts.grid.touching(tuple(range(k.start, k.stop) for k in key)):
        box = parts.grid.box(part)
        if any(s.start % step for s, step in zip(box, steps, strict=True)):
            return None
        found = parts.averaged(part, steps)
        if found is None:
            return None
        origin = [s.start // step for s, step in zip(box, steps, strict=True)]
        begin = [max(o, a) for o, a in zip(origin, first, strict=True)]
        end = [min(o + n, b) for o, n, b in zip(origin, found.shape, stop, strict=True)]
        taken = tuple(slice(a - o, b - o) for a, b, o in zip(begin, end, origin, strict=True))
        out[tuple(slice(a - o, b - o) for a, b, o in zip(begin, end, first, strict=True))] = found[taken]
    return out

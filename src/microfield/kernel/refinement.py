"""The refinement network of `field` on a slab of a volume, by the compiled kernel.

``source/refine.c`` computes what `microfield.methods.field.refine_cells` and `microfield.methods.field.refine_whole` do.
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from microfield.kernel.networks import WholeNetwork

Floats = npt.NDArray[np.float32]

INPUTS, OUTPUTS = 128, 4
"""What the kernel's cells give a network, and take from it."""
_HALO, _FLOATS_A_CELL = 2, 5


class _Slab(ctypes.Structure):
    _fields_ = (("volume", ctypes.c_void_p), ("out", ctypes.c_void_p), ("shape", ctypes.c_int64 * 3), ("begin", ctypes.c_int64 * 3),
                ("end", ctypes.c_int64 * 3), ("step", ctypes.c_float), ("dark", ctypes.c_float), ("space", ctypes.c_void_p),
                ("network", ctypes.c_void_p), ("factors", ctypes.c_void_p))


def correct(library: ctypes.CDLL, network: WholeNetwork, factors: Floats, volume: Floats, where: tuple[slice, ...], step: float,
            dark: float, out: Floats) -> None:
    """Corrections of a slab.

    Parameters
    ----------
    library : the kernel
    network : WholeNetwork
        With `INPUTS` inputs and `OUTPUTS` outputs.
    factors : float32 array (OUTPUTS,)
        What the network's sums are multiplied by to become quantiser steps.
    volume, out : float32 arrays (z, y, x) in C order
        What is refined, and where corrections go, in the same units.
    where : three slices
        The slab: planes, rows of cells of 2 x 2 voxels, and columns of cells.
    step, dark : float
        Quantiser step, and value of the darkest places.
    """
    cells = (volume.shape[0], -(-volume.shape[1] // 2), -(-volume.shape[2] // 2))
    inside = all(0 <= s.start < s.stop <= n for s, n in zip(where, cells, strict=True))
    arrays_fit = all(a.dtype == np.float32 and a.flags.c_contiguous and a.shape == volume.shape for a in (volume, out))
    if not inside or not arrays_fit or (network.inputs, network.outputs, factors.size) != (INPUTS, OUTPUTS, OUTPUTS):
        raise ValueError("a slab does not lie in its volume, or the network is not one of refinement.")
    factors = np.ascontiguousarray(factors.reshape(-1), np.float32)
    space = np.empty(_FLOATS_A_CELL * int(np.prod([s.stop - s.start + 2 * _HALO for s in where])), np.float32)
    three = ctypes.c_int64 * 3
    slab = _Slab(volume.ctypes.data, out.ctypes.data, three(*volume.shape), three(*(s.start for s in where)),
                 three(*(s.stop for s in where)), step, dark, space.ctypes.data, ctypes.addressof(network.structure),
                 factors.ctypes.data)
    library.mf_refine(ctypes.byref(slab))

"""The context network of `field` on a slab of coefficients, by the compiled kernel: features, network, buckets.

``source/contexts.c`` computes what `microfield.methods.field.features.matrix` and `microfield.methods.field.network` do.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.kernel.networks import WholeNetwork

Bytes = npt.NDArray[np.uint8]
Group = tuple[Sequence[Bytes], Bytes]
"""Views of the magnitudes (batch, z, y, x) that are added up, and the table that gives the feature of a sum. Views of all groups
have the same strides, and that along x is 1."""

_KINDS = {np.dtype(np.uint8): 1, np.dtype(np.int8): 2, np.dtype(np.int16): 3}
"""How ``source/contexts.c`` calls types of planes; 0 is a plane of which nothing is known."""
_PARTS = 4
"""Axes of a slab."""


class _Features(ctypes.Structure):
    _fields_ = (("extents", ctypes.c_int64 * _PARTS), ("groups", ctypes.c_int32), ("planes", ctypes.c_int32),
                ("members", ctypes.c_void_p), ("neighbours", ctypes.c_void_p), ("tables", ctypes.c_void_p),
                ("neighbour_strides", ctypes.c_int64 * 3), ("kinds", ctypes.c_void_p), ("values", ctypes.c_void_p),
                ("strides", ctypes.c_void_p))


def evaluated(library: ctypes.CDLL, network: WholeNetwork, biases: npt.NDArray[np.int32], extents: tuple[int, ...],
              groups: Sequence[Group], planes: Sequence[npt.NDArray[Any] | None], logits: int, activations: int = 0,
              ) -> tuple[Bytes, Bytes | None]:
    """Buckets of the coefficients of a slab, in raster order.

    Parameters
    ----------
    library : the kernel
    network : WholeNetwork
        Its inputs are the features of the groups, then those of the planes.
    biases : int32 array (outputs of the first layer,)
        Those of the phase.
    extents : tuple of int
        Of the slab: batch, z, y, x.
    groups : sequence of Group
        A group without views is a feature of 0.
    planes : sequence of uint8, int8 or int16 arrays (batch, z, y, x), or None
    logits : int
        How many of the network's outputs are asked for.
    activations : int
        So many of the inputs of the last layer are asked for, too.

    Returns
    -------
    buckets : uint8 array (logits, coefficients)
    hidden : uint8 array (coefficients, activations) or None
    """
    if len(groups) + len(planes) != network.inputs or len(biases) > network.first or logits > network.outputs:
        raise ValueError("the network has other inputs or outputs.")
    views = [view for members, _ in groups for view in members]
    known = [plane for plane in planes if plane is not None]
    if any(array.shape != extents for array in (*views, *known)) or any(view.strides != views[0].strides for view in views):
        raise ValueError("what is known of a slab does not have its extents.")
    members = np.array([len(group) for group, _ in groups], np.int32)
    pointers = _pointers(views), _pointers([table for _, table in groups]), _pointers(planes)
    kinds = np.array([0 if plane is None else _KINDS[plane.dtype] for plane in planes], np.int32)
    strides = np.array([(0,) * _PARTS if plane is None else plane.strides for plane in planes], np.int64)
    along = views[0].strides[:3] if views else (0, 0, 0)
    features = _Features((ctypes.c_int64 * _PARTS)(*extents), len(groups), len(planes), _of(members), _of(pointers[0]),
                         _of(pointers[1]), (ctypes.c_int64 * 3)(*along), _of(kinds), _of(pointers[2]), _of(strides))
    first = np.zeros(network.first, np.int32)
    first[: len(biases)] = biases
    total = math.prod(extents)
    buckets = np.empty((logits, total), np.uint8)
    hidden = np.empty((total, activations), np.uint8) if activations else None
    library.mf_contexts(ctypes.byref(features), ctypes.byref(network.structure), _of(first), logits, _of(buckets), activations,
                        None if hidden is None else _of(hidden))
    return buckets, hidden


def _pointers(arrays: Sequence[npt.NDArray[Any] | None]) -> npt.NDArray[np.uint64]:
    """Addresses of the first elements, 0 for None."""
    return np.array([0 if array is None else array.ctypes.data for array in arrays], np.uint64)


def _of(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)

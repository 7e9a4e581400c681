"""The context network on slabs of a phase: by the compiled kernel where there is one, else with NumPy, with the same outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from microfield.kernel import contexts, loading
from microfield.methods.field.features import neighbour_table
from microfield.methods.field.lifting import Floats
from microfield.methods.field.network import LOGITS, SIGNIFICANCE, ContextNet
from microfield.methods.field.phases import Bytes
from microfield.methods.field.walk import PhaseContext

Places = npt.NDArray[np.intp] | slice
ALL = slice(None)


class Evaluated(Protocol):
    """What the network says of the n coefficients of a slab."""

    def buckets(self, logit: int, where: Places = ALL) -> Bytes:
        """Buckets of one of the logits, uint8, of some coefficients."""
        ...

    def hidden(self, where: Places = ALL) -> Floats:
        """Activations of the second layer, float32 (hidden2, k) in C order, of some coefficients."""
        ...


@dataclass(frozen=True)
class _ByNumPy:
    """Logits beyond the first are computed when they are asked for, and only where."""

    net: ContextNet
    activations: Floats
    significance: Bytes

    def buckets(self, logit: int, where: Places = ALL) -> Bytes:
        if logit == SIGNIFICANCE:
            return self.significance[where]
        return self.net.buckets(self.activations[:, where], logit)

    def hidden(self, where: Places = ALL) -> Floats:
        return np.ascontiguousarray(self.activations[:, where])


@dataclass(frozen=True)
class _Compiled:
    """All logits, (LOGITS, n), and on request the activations, (n, hidden2)."""

    logits: Bytes
    activations: Bytes | None

    def buckets(self, logit: int, where: Places = ALL) -> Bytes:
        found: Bytes = self.logits[logit][where]
        return found

    def hidden(self, where: Places = ALL) -> Floats:
        assert self.activations is not None
        return np.ascontiguousarray(self.activations[where].T, np.float32)


def evaluated(net: ContextNet, context: PhaseContext, rows: slice, hidden: bool = False) -> Evaluated:
    """Evaluate the network on a slab.

    Parameters
    ----------
    net : ContextNet
    context : PhaseContext
        What is known of the phase.
    rows : slice
        The slab: rows along the phase's y axis.
    hidden : bool
        Whether activations will be asked for.
    """
    library = loading.library()
    compiled = None if library is None else net.compiled
    if library is None or compiled is None:
        activations = net.hidden(context.features(rows), context.constants)
        return _ByNumPy(net, activations, net.buckets(activations, SIGNIFICANCE))
    neighbours = context.coded.neighbours(context.number, rows, context.groups)
    groups = [(views, neighbour_table(max(1, len(views)))) for views in neighbours]
    planes: list[npt.NDArray[Any] | None] = [None if plane is None else plane[:, :, rows] for plane in context.planes]
    shape = context.shape
    extents = (*shape[:2], rows.stop - rows.start, shape[3])
    biases = net.offsets(context.constants).astype(np.int32)
    return _Compiled(*contexts.evaluated(library, compiled, biases, extents, groups, planes, LOGITS,
                                         net.third.shape[1] if hidden else 0))

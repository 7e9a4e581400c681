"""By how much one image's signs can be trusted: a scale of the sign network's logits for every level and kind of band.

Scales are stored in 4 bits each, in eighths; the buckets of signs are those of logits times the scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from microfield.coding.bits import BitReader, BitWriter
from microfield.coding.decisions import BUCKETS, COSTS
from microfield.methods.field.exact import SUM_SCALE
from microfield.methods.field.features import LEVELS
from microfield.methods.field.lifting import Axes, Schedule
from microfield.methods.field.oriented import seen

Sums = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Kind = tuple[int, Axes]
"""Level, those from `LEVELS` - 1 on together, and axes of details of a band as it is seen."""

SCALE_BITS, SCALE_ONE = 4, 8
_HALF_LOGIT = SUM_SCALE // 2


def kind_of(level: int, details: Axes) -> Kind:
    """The kind of a band."""
    return min(level, LEVELS - 1), seen(details)


def kinds_of(schedules: Sequence[Schedule]) -> list[Kind]:
    """The kinds of all bands of schedules, in ascending order."""
    found = {kind_of(level, details) for s in schedules for level in range(len(s.levels)) for details, _ in s.bands(level)}
    return sorted(found)


def buckets(sums: Sums, scale: int) -> npt.NDArray[np.uint8]:
    """Buckets, uint8 (n,), of signs by the sums of the sign network and a scale in eighths."""
    found = (sums.astype(np.int64) * scale // (SCALE_ONE * _HALF_LOGIT)) + BUCKETS // 2
    return np.clip(found, 0, BUCKETS - 1).astype(np.uint8)


@dataclass
class LikelySigns:
    """Signs in the order of coding, with what the network says of them, until their scales are chosen.

    Attributes
    ----------
    kinds : list of Kind
        Of every slab.
    sums : list of int32 arrays
    negative : list of bool arrays
    """

    kinds: list[Kind] = field(default_factory=list)
    sums: list[Sums] = field(default_factory=list)
    negative: list[Flags] = field(default_factory=list)

    def add(self, kind: Kind, sums: Sums, negative: Flags) -> None:
        """Add the signs of a slab of a band of a kind."""
        self.kinds.append(kind)
        self.sums.append(sums)
        self.negative.append(negative)

    def scales(self, kinds: Sequence[Kind]) -> dict[Kind, int]:
        """The scales that make the signs shortest; all 1 where that takes fewer bits than writing them."""
        found, saved = {}, 0.0
        for kind in kinds:
            mine = [i for i, other in enumerate(self.kinds) if other == kind]
            costs = _costs(np.concatenate([np.zeros(0, np.int32), *(self.sums[i] for i in mine)]),
                           np.concatenate([np.zeros(0, np.bool_), *(self.negative[i] for i in mine)]))
            found[kind] = min(range(1 << SCALE_BITS), key=lambda scale: (costs[scale], abs(scale - SCALE_ONE)))
            saved += costs[SCALE_ONE] - costs[found[kind]]
        return found if saved > SCALE_BITS * len(kinds) else dict.fromkeys(kinds, SCALE_ONE)


def _costs(sums: Sums, negative: Flags) -> list[float]:
    """About the bits of signs with every scale."""
    which = negative.astype(np.intp)
    costs = [float(len(sums))]
    costs += [float(COSTS[buckets(sums, scale), which].sum(dtype=np.float64)) for scale in range(1, 1 << SCALE_BITS)]
    return costs


def write(bits: BitWriter, scales: Mapping[Kind, int]) -> None:
    """Write a bit, whether any scale is not 1, and then all in the order of their kinds."""
    chosen = any(scale != SCALE_ONE for scale in scales.values())
    bits.number(int(chosen), 1)
    for kind in sorted(scales) if chosen else ():
        bits.number(scales[kind], SCALE_BITS)


def read(bits: BitReader, kinds: Sequence[Kind]) -> dict[Kind, int]:
    """The scales of kinds, in ascending order, that `write` wrote."""
    chosen = bits.number(1)
    return {kind: bits.number(SCALE_BITS) if chosen else SCALE_ONE for kind in kinds}

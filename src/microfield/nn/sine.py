"""The sine of the format: one polynomial, in float32, used in fitting and in decoding alike.

The argument is in *turns* (1 turn = 2 pi radians), so that range reduction is one rounding. The polynomial is an odd minimax fit
of degree 7 to sin(2 pi t) on [-1/2, 1/2]. Its error of up to 2.5e-4 does not matter, since networks are fitted with this function,
not with the true sine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

COEFFICIENTS = tuple(np.float32(c) for c in (6.2786355, -41.093731, 77.930351, -56.086391))
"""sin(2 pi t) ~ t (c0 + t^2 (c1 + t^2 (c2 + t^2 c3))) for |t| <= 1/2."""

RADIANS_TO_TURNS = np.float32(0.15915494)
"""1 / (2 pi)."""

Float32 = npt.NDArray[np.float32]


def sine_turns(t: Float32, scratch_a: Float32, scratch_b: Float32) -> None:
    """Replace ``t`` by sin(2 pi t), in place.

    Parameters
    ----------
    t, scratch_a, scratch_b : float32 arrays of one shape
        The argument in turns, reduced to -1/2..1/2 already, and two work arrays. The order of the operations below is part of
        the format (docs/format.md).
    """
    c0, c1, c2, c3 = COEFFICIENTS
    np.multiply(t, t, out=scratch_b)
    np.multiply(scratch_b, c3, out=scratch_a)
    np.add(scratch_a, c2, out=scratch_a)
    np.multiply(scratch_a, scratch_b, out=scratch_a)
    np.add(scratch_a, c1, out=scratch_a)
    np.multiply(scratch_a, scratch_b, out=scratch_a)
    np.add(scratch_a, c0, out=scratch_a)
    np.multiply(scratch_a, t, out=t)

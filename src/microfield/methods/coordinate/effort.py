"""How much work a fit is: a number of multiplications, so that it is known beforehand and the same on every machine."""

from __future__ import annotations

import numpy as np

OPERATIONS = 1.25e11
"""Floating-point operations of a fit at effort 0; every step of effort doubles them."""

USUAL_VOXELS = 4e6
"""Parts of more voxels get more operations, in proportion to the root of their number."""

OPERATIONS_PER_WEIGHT = 6
"""Operations per weight and point in one step: two for the values and four for the gradient."""

STEP_OVERHEAD = 5e7
"""A step of the smallest network still takes as long as this many weights times points would."""

FEWEST_STEPS, MOST_STEPS = 320, 20000
"""Limits of the number of steps: a tiny network needs a schedule, too, and a long one gains little at its end."""


def steps_for(effort: int, voxels: int, weights: int, batch: int, fits: float = 1.0) -> int:
    """Optimiser steps of a fit at an effort of 0 to 9.

    Parameters
    ----------
    effort : int
    voxels : int
        Array elements of the part.
    weights : int
        Of the network.
    batch : int
        Points per step.
    fits : float
        Fits that share the work.
    """
    operations = OPERATIONS * 2.0**effort * max(1.0, np.sqrt(voxels / USUAL_VOXELS))
    steps = operations / (fits * OPERATIONS_PER_WEIGHT * (weights * batch + STEP_OVERHEAD))
    return int(np.clip(steps, FEWEST_STEPS, MOST_STEPS))

"""The peak signal-to-noise ratio (PSNR) of an error: the one place where errors become decibels."""

from __future__ import annotations

import math


def decibel(normalised_error: float) -> float:
    """PSNR in dB of a mean square error divided by the square of the value range: ``-10 log10(normalised_error)``.

    Parameters
    ----------
    normalised_error : float
        0 or more, without unit. Of several channels it is the mean over the channels of their normalised errors.

    Returns
    -------
    float
        Infinite where the error is 0, an exact copy.

    Raises
    ------
    ValueError
        If the error is negative or NaN: neither is a mean square error.
    """
    if not normalised_error >= 0:
        raise ValueError(f"a mean square error is 0 or more, not {normalised_error:g}.")
    return math.inf if normalised_error == 0 else -10 * math.log10(normalised_error)

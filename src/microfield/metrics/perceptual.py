"""LPIPS: how far planes differ in the features of a network, which follows what people see better than SSIM."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.metrics.similarity import Floats, channel_stacks
from microfield.perceptual.alexnet import LEAST, weights


def lpips(a: npt.NDArray[Any], b: npt.NDArray[Any], axes: str, data_range: npt.ArrayLike) -> Floats:
    """LPIPS of every channel, averaged over its YX planes: an array of shape ``(channels,)``, 0 where they are equal.

    Parameters
    ----------
    a, b : arrays of one shape
        Original and reconstruction, finite.
    axes : str
        One letter of ``TCZYXS`` per array axis.
    data_range : float or array of shape ``(channels,)``
        Range of the channels in grey levels, positive.

    Raises
    ------
    InputError
        If the shapes differ, or a plane has fewer than 31 pixels along an axis.
    MissingExtraError
        If the extra ``perceptual`` is not installed.

    Notes
    -----
    R. Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018, with AlexNet and the
    weights of version 0.1. A plane is shown to the network in grey, the minimum of the original channel as black and its maximum
    as white; colour channels are compared one by one. Values of a copy beyond that range are not clipped.
    """
    values = []
    for x, y, value_range in channel_stacks(a, b, axes, data_range):
        if not has_features(x.shape[1:]):
            raise InputError(f"LPIPS takes planes of at least {LEAST} x {LEAST} pixels, not {' x '.join(map(str, x.shape[1:]))}.")
        values.append(float(np.mean([plane_lpips(one, other, value_range) for one, other in zip(x, y, strict=True)])))
    return np.array(values)


def has_features(plane: tuple[int, ...]) -> bool:
    """Whether a plane of this shape is large enough for all layers of the network."""
    return min(plane) >= LEAST


def plane_lpips(x: Floats, y: Floats, value_range: float) -> float:
    """LPIPS of two planes that count from the minimum of the original's channel, whose range is ``value_range``."""
    first, second = ((2 / value_range * plane - 1).astype(np.float32)[None] for plane in (x, y))
    return float(_compiled()(first, second, weights())[0])


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., Any]:
    """The compiled function of two stacks of planes and the weights."""
    import jax

    from microfield.perceptual.alexnet import lpips as of_planes

    return jax.jit(of_planes)

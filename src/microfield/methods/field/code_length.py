"""Code lengths of magnitudes by their logits, and their derivatives, for fits of the context network to an image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from microfield.coding.decisions import BUCKETS
from microfield.methods.field.exact import SUM_SCALE
from microfield.methods.field.lifting import Floats
from microfield.methods.field.network import HALF_LOGIT

_LARGEST_LOGIT = 30
"""Logits are cut at this before an exponential is taken."""
_LARGEST_TAIL = 40
"""Tails are cut at this, so that a single coefficient does not decide a slope."""


def logit_slopes(logits: Floats, magnitudes: npt.NDArray[np.int32], weights: Floats) -> Floats:
    """Derivative of the weighted code length, in nats, by the logits (n, LOGITS)."""
    p = 1 / (1 + np.exp(-np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT)))
    out = np.empty_like(logits)
    out[:, 0] = p[:, 0] - (magnitudes > 0)
    out[:, 1] = np.where(magnitudes > 0, p[:, 1] - (magnitudes > 1), 0)
    tail = np.minimum(magnitudes - 2, _LARGEST_TAIL)
    out[:, 2] = np.where(magnitudes > 1, (tail + 1) * p[:, 2] - 1, 0)
    out *= weights[:, None]
    return out


def code_length(logits: Floats, magnitudes: npt.NDArray[np.int32], weights: Floats) -> float:
    """Weighted code length, in bits, at the centres of the buckets that the logits (n, LOGITS) fall into."""
    buckets_a_logit = SUM_SCALE / HALF_LOGIT
    buckets = np.clip(np.floor(logits * buckets_a_logit), -BUCKETS // 2, BUCKETS // 2 - 1)
    centres = (buckets + 0.5) / buckets_a_logit
    cost_one, cost_zero = np.logaddexp(0, -centres), np.logaddexp(0, centres)
    nats = np.where(magnitudes > 0, cost_one[:, 0], cost_zero[:, 0])
    nats += np.where(magnitudes > 0, np.where(magnitudes > 1, cost_one[:, 1], cost_zero[:, 1]), 0)
    nats += np.where(magnitudes > 1, cost_one[:, 2] + np.maximum(magnitudes - 2, 0) * cost_zero[:, 2], 0)
    return float((nats * weights).sum() / np.log(2))

"""Segmenters of other packages as analyses: ``microfield study --task segmenters:cellpose IMAGES ...``, from this folder.

Both packages are optional (``pip install cellpose``, ``pip install stardist tensorflow``) and fetch their models themselves. Each
function takes a plane of one channel and returns numbered objects, which microfield matches between original and copy.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt


@cache
def _cellpose() -> Any:
    from cellpose import models

    return models.CellposeModel(gpu=False)


def cellpose(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Cells by cellpose (C. Stringer et al., Nat. Methods 18, 2021)."""
    return np.asarray(_cellpose().eval(values)[0])


@cache
def _stardist() -> Any:
    from stardist.models import StarDist2D

    return StarDist2D.from_pretrained("2D_versatile_fluo")


def stardist(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Nuclei by StarDist (U. Schmidt et al., MICCAI 2018)."""
    low, high = np.percentile(values, (1, 99.8))
    return np.asarray(_stardist().predict_instances((values - low) / max(high - low, 1e-9))[0])

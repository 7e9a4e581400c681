"""Budgets on real images: a file never exceeds its budget and uses at least 98 % of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks.images import listed
from microfield.errors import BudgetError
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

RATIOS = (16, 64, 128, 512, 2000)
IMAGES = (
    "fluo3d_nuclei_confocal", "lightsheet_lattice_raw", "timelapse_2ch_mitosis", "multich_hips_bbbc034", "5d_celldivision",
    "fluo3d_pollen_clean", "fluo2d_nuclei_stardist", "lightsheet_mesospim_nuclei_small", "histology_ihc_rgb",
    "fluo2d_t_golgi_float",
)


def measure(folder: Path, image: str, ratio: int, seconds: float) -> dict[str, Any]:
    """The part of its budget that one file uses.

    ``bytes``, ``used`` and ``psnr`` are None where the budget cannot be met, and ``psnr`` also for an exact copy.
    """
    original = listed()[image].load(folder)
    limit = int(original.nbytes / ratio)
    row = {"image": image, "ratio": ratio, "limit": limit}
    try:
        data, report = compress_to_bytes(original, Budget("ratio", ratio), Settings(effort=9, time_limit=seconds))
    except BudgetError as refused:
        return row | {"bytes": None, "used": None, "psnr": None, "refused": str(refused)}
    psnr = report.psnr if math.isfinite(report.psnr) else None
    return row | {"bytes": len(data), "used": len(data) / limit, "psnr": psnr}


def rows(folder: Path, seconds: float) -> list[tuple[str, Any]]:
    """Name of every measurement, and the function that makes its row; a fit may take ``seconds``."""
    return [
        (f"sizes/{image}/{ratio}", lambda i=image, r=ratio: measure(folder, i, r, seconds))
        for image in IMAGES for ratio in RATIOS
    ]

"""Default inif against the published configuration at equal bytes and equal time, on five kinds of image.

Both run in this program on this machine, one after the other for every image. The published configuration is fitted with
Adamax, since the authors' learned optimiser cannot be shipped: its figures are not the paper's results.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks.images import listed
from microfield.metrics import compare
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

KINDS = {
    "fluo3d_nuclei_confocal": "3-D nuclei",
    "lightsheet_lattice_raw": "light-sheet",
    "timelapse_hela_h2b": "2-D+T",
    "multich_hips_bbbc034": "multichannel",
    "5d_celldivision": "5-D",
}
RATIO = 128.0


def measure(folder: Path, image: str, case: str, ratio: float, seconds: float) -> dict[str, Any]:
    """One fit: its bytes, PSNR in dB (None for an exact copy), SSIM and seconds."""
    method, option = {"default": ("inif", {}), "quarter": ("inif", {}), "paper inif": ("inif", {"paper": True}),
                      "paper siren": ("siren", {"paper": True})}[case]
    original = listed()[image].load(folder)
    settings = Settings(method=method, options=option, effort=9, time_limit=seconds)
    data, report = compress_to_bytes(original, Budget("ratio", ratio), settings)
    quality = compare(original, open_file(data))
    return {
        "image": image, "kind": KINDS[image], "case": case, "limit": int(original.nbytes / ratio), "bytes": len(data),
        "psnr": report.psnr if math.isfinite(report.psnr) else None, "ssim": quality["ssim"], "seconds": report.seconds,
    }


def rows(folder: Path, seconds: float) -> list[tuple[str, Any]]:
    """Names and jobs, in the order they run: the cases of one image side by side."""
    cases = (("default", RATIO), ("paper inif", RATIO), ("quarter", 4 * RATIO), ("paper siren", RATIO))
    return [
        (f"quality/{image}/{case}/{seconds:g}", lambda i=image, c=case, r=ratio: measure(folder, i, c, r, seconds))
        for image in KINDS for case, ratio in cases
    ]

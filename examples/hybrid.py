"""A codec prior and its correction: HEVC alone, HEVC with a filter, and HEVC with a network, each kept where a criterion says so.

    python examples/hybrid.py [IMAGE]

The criterion is a function of this file, named as MODULE:FUNC; it must lie where Python finds modules.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

import microfield as mf

HERE = Path(__file__).parent


def same_brightness_of_spots(original: npt.NDArray[np.generic], reconstruction: npt.NDArray[np.generic]) -> float:
    """Minus the error of the mean of the brightest hundredth of a plane: higher is better."""
    brightest = [float(np.mean(np.sort(plane, axis=None)[-max(1, plane.size // 100) :])) for plane in (original, reconstruction)]
    return -abs(brightest[0] - brightest[1])


def main() -> int:
    """Compress one image in several ways, to the same number of bytes, and print what each reaches."""
    source = mf.open_image(sys.argv[1] if len(sys.argv) > 1 else HERE / "pollen.ome.tif")
    sys.path.insert(0, str(HERE))
    ways = {
        "hevc alone": ("hevc", {}),
        "and a filter": ("hybrid", {"prior": "hevc"}),
        "the filter kept by a function": ("hybrid", {"prior": "hevc", "keep": "hybrid:same_brightness_of_spots"}),
        "and a network in 10 % of the bytes": ("hybrid", {"prior": "hevc", "residual": "inif", "keep": "ssim"}),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, (method, options) in ways.items():
            report = mf.compress(source, Path(folder) / "out.mfield", ratio=128, method=method, options=options, overwrite=True,
                                 effort=3)
            corrected = report.scores.get("corrected")
            kept = "" if corrected is None else f", corrected in {corrected:.0%} of the image"
            print(f"{name:36} {report.file_bytes} bytes, {report.psnr:.2f} dB, {report.seconds:.1f} s{kept}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Perceptual guidance: a noisy plane is compressed, without and with a clean image of another place that says how it should look.

    python examples/denoise.py

The noise is added here, so that the copies can be compared with what is really there. It takes ``microfield[perceptual]``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import microfield as mf

PHOTONS = 60.0
"""Of the brightest voxel."""


def main() -> int:
    """Compress a noisy plane twice into as many bytes, and compare both copies with the clean plane."""
    grains = mf.open_image(Path(__file__).parent / "pollen.ome.tif").read().astype(float)
    clean, other = grains[16, :, 128:], grains[12, :, :128]  # The right half is compressed, the left half is the reference.
    photons = np.random.default_rng(0).poisson(clean / clean.max() * PHOTONS).astype(np.uint8)
    noisy, reference = mf.Image(photons, "YX", name="noisy"), mf.Image(other, "YX", name="clean")
    with tempfile.TemporaryDirectory() as folder:
        for name, guide in (("plain", {}), ("guided", {"guide": "perceptual", "reference": reference})):
            path = Path(folder) / f"{name}.mfield"
            report = mf.compress(noisy, path, ratio=64, method="inif", effort=1, **guide)
            found = mf.compare(mf.Image(clean * PHOTONS / clean.max(), "YX"), path, lpips=True)
            print(f"{name:8}{report.file_bytes} bytes; against the clean plane: PSNR {found.psnr:.2f} dB, SSIM {found.ssim:.4f}, "
                  f"LPIPS {found.lpips:.4f}")
            for note in report.notes:
                print(f"        {note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compress a real confocal stack 128 times, decode it, measure what was lost, and draw it side by side."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import matplotlib
import numpy as np

import microfield as mf

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
OUT = HERE.parent / "demo-output"


def main() -> int:
    """Run the demonstration; prints sizes and qualities and writes pictures into demo-output/."""
    OUT.mkdir(exist_ok=True)
    source, packed, unpacked = HERE / "pollen.ome.tif", OUT / "pollen.mfield", OUT / "pollen.ome.tif"
    original = mf.open_image(source)
    print(f"{source.name}: confocal stack of a pollen grain, {original.axes} {original.shape}, {original.dtype}")

    # The networks "a" were trained without this image; the default ones have seen it, and would flatter.
    report = mf.compress(source, packed, ratio=128, options={"nets": "a"}, overwrite=True, progress=True)
    print(f"compressed   {report.raw_bytes} -> {report.file_bytes} bytes, {report.ratio:.1f}x, {report.seconds:.1f} s, "
          f"method {report.method}")

    begin = time.perf_counter()
    small = mf.open(packed).preview(8, average=True)
    print(f"preview      {small.shape} in {time.perf_counter() - begin:.2f} s, from coarse levels only")
    begin = time.perf_counter()
    f = mf.open(packed)
    decoded = f[:]
    print(f"decoded      {f.size / 1e6:.1f} million voxels in {time.perf_counter() - begin:.1f} s")

    quality = mf.compare(original, f)
    print(f"quality      PSNR {quality['psnr']:.2f} dB, SSIM {quality['ssim']:.3f}")
    f.save(unpacked, overwrite=True)
    draw(original.read(), decoded, OUT / "side-by-side.png", report.ratio, quality["psnr"])
    print(f"written      {packed}, {unpacked}, {OUT / 'side-by-side.png'}")
    return 0


def draw(original: np.ndarray, decoded: np.ndarray, path: Path, ratio: float, psnr: float) -> None:  # type: ignore[type-arg]
    """Middle plane and a cut along z of both, and the signed error."""
    z, y = original.shape[0] // 2, original.shape[1] // 2
    low, high = np.percentile(original, (0.1, 99.9))
    error = decoded.astype(float) - original
    bound = np.percentile(np.abs(error), 99.5)
    figure, axes = plt.subplots(2, 3, figsize=(12, 6.4), height_ratios=(5, 1.6), layout="constrained")
    columns = (("original", original, "gray", low, high), (f"decoded, {ratio:.0f}x, {psnr:.1f} dB", decoded, "gray", low, high),
               ("error", error, "RdBu_r", -bound, bound))
    for column, (title, data, colours, least, most) in enumerate(columns):
        for row, cut in enumerate((data[z], data[:, y])):
            axes[row, column].imshow(cut, cmap=colours, vmin=least, vmax=most, aspect="auto" if row else "equal")
            axes[row, column].set_axis_off()
        axes[0, column].set_title(title)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())

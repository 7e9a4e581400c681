"""What it costs to keep an image as an OME-Zarr store of microfield chunks rather than as one file, at the same number of bytes.

    python -m benchmarks.zarr_store --data DIR [--ratio 128] [--write docs/zarr.md]

Every image is compressed to the same ratio as a file and as a store, whose lower resolutions and metadata are part of it. Rows are
printed as they are made.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import microfield as mf
from benchmarks.markdown import table

IMAGES = ("fluo3d_nuclei_confocal", "lightsheet_lattice_raw", "histology_skin_rgb", "timelapse_membrane_12bit",
          "multich_hela_16bit", "em_sstem_drosophila")
"""A stack, a noisy light-sheet, colour, a film, channels, electron microscopy: of one resolution or several."""

BEGIN, END = "<!-- benchmarks.zarr_store -->\n", "<!-- end of benchmarks.zarr_store -->\n"
"""Around the table in a page."""


def row(path: Path, folder: Path, ratio: float) -> list[str]:
    """One image: PSNR as a file and as a store, and what of the bytes of the store is not the full resolution."""
    report = mf.compress(path, folder / "a.mfield", ratio=ratio, effort=2, overwrite=True, not_labels=True)
    store = mf.compress(path, folder / "a.ome.zarr", ratio=ratio, effort=2, overwrite=True, not_labels=True)
    sizes = {file: file.stat().st_size for file in (folder / "a.ome.zarr").rglob("*") if file.is_file()}
    texts = sum(size for file, size in sizes.items() if file.name == "zarr.json")
    levels = sum(size for file, size in sizes.items() if file.name != "zarr.json" and file.relative_to(folder).parts[1] != "0")
    total = sum(sizes.values())
    return [path.name.removesuffix(".ome.tif"), f"{report.psnr:.2f}", f"{store.psnr:.2f}", f"{store.psnr - report.psnr:+.2f}",
            f"{levels / total:.0%}", f"{texts / total:.1%}", f"{store.used or 0:.1%}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ratio", type=float, default=128)
    parser.add_argument("--write", type=Path, help="page to put the table into")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in IMAGES:
            rows.append(row(arguments.data / f"{name}.ome.tif", Path(folder), arguments.ratio))
            print(rows[-1], flush=True)
    head = ["image", "file, PSNR dB", "store, PSNR dB", "difference", "bytes of lower resolutions", "of metadata", "budget used"]
    text = table(head, rows)
    print(text)
    if arguments.write:
        page = arguments.write.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        arguments.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What exact copies take: every image of a folder against its file, and against its array deflated.

    python -m benchmarks.lossless --data FOLDER [--names TEXT ...] [--out FILE.jsonl]

The images are TIFF files (Deflate with a predictor, where the numbers are to mean something). Prints a line an image, and appends a
row of JSON to the file. Ends with status 1 where a copy is not smaller than both, or does not come back bit for bit.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

from microfield.io import open_image
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_stream
from microfield.writing.settings import Settings


def main() -> int:
    """Measure; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--names", nargs="*", default=[], help="only images whose name holds one of these")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    worse = 0
    for path in sorted(arguments.data.glob("*.tif")):
        if arguments.names and not any(text in path.name for text in arguments.names):
            continue
        row = measured(path)
        smaller = row["bytes"] < min(row["tiff"], row["deflated"]) and row["same"]
        worse += not smaller
        print(f"{row['image']:45} {row['bytes']:9d} bytes  {row['bytes'] / row['tiff']:.3f} of the TIFF  "
              f"{row['bytes'] / row['deflated']:.3f} of the deflated array  {row['encode']:.1f} s, decode {row['decode']:.1f} s"
              f"{'' if smaller else '  NOT SMALLER'}", flush=True)
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    return 1 if worse else 0


def measured(path: Path) -> dict[str, Any]:
    """Sizes in bytes and seconds of processor time of one image."""
    image = open_image(path)
    array = image.read()
    stream = BytesIO()
    begin = time.process_time()
    report = compress_to_stream(image, stream, Budget.of(lossless=True), Settings(method="lossless"))
    encoded = time.process_time()
    whole = open_file(stream.getvalue(), max_read_bytes=1 << 40).asarray()
    return {
        "image": path.name, "raw": array.nbytes, "bytes": report.file_bytes, "tiff": path.stat().st_size,
        "deflated": len(zlib.compress(array.tobytes(), 9)), "encode": encoded - begin, "decode": time.process_time() - encoded,
        "same": whole.tobytes() == array.tobytes(),
    }


if __name__ == "__main__":
    sys.exit(main())

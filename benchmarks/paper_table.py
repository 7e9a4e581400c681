"""The table of the INIF paper on images like its own: networks as published, our defaults, HEVC as the paper ran it and well fed.

    python -m benchmarks.paper_table --data FOLDER [--seconds 30] [--report-only]

Rows are kept in `paper_table.jsonl` and not measured again; docs/studies/paper_inif.md is written from them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

from benchmarks.comparison import unseen
from benchmarks.hybrid import middle
from benchmarks.images import listed
from benchmarks.paper_report import page
from microfield import Image
from microfield.errors import MicrofieldError
from microfield.metrics import psnr
from microfield.metrics.similarity import ssim
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

HERE = Path(__file__).parent
ROWS, PAGE = HERE / "paper_table.jsonl", HERE.parent / "docs" / "studies" / "paper_inif.md"
IMAGES = {
    "fluo3d_nuclei_confocal": "DNA, XYZ",
    "multich_hips_bbbc034": "hiPS cells, XYC",
    "5d_celldivision": "cell division, 5-D",
}
"""Stand-ins for the paper's images, which are not to be had: nuclei of hiPS cells, three stains of hiPS cells, a film of stacks."""
RATIOS = (128.0, 256.0, 512.0)
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "inif as published, Adamax": ("inif", {"paper": True}),
    "inif as published, learned optimiser": ("inif", {"paper": True, "optimiser": "learned"}),
    "SIREN as published": ("siren", {"paper": True}),
    "inif, default": ("inif", {}),
}
"""Networks by what they are called, each a method and its options."""
COLLAPSING, FEWER_RATIOS = "inif as published, Adamax", (128.0, 512.0)
"""What is not fitted to the other images, since it collapses on the first one, and the ratios of their fits."""
AS_RUN, WELL_FED, FIELD = "HEVC as the paper ran it", "HEVC well fed", "field"
PAPER_RANGE = 65535.0
"""The range that the paper's measures count in, whatever the image holds."""
DEPTH = 12
"""Bits of x265's deepest format, into which the paper's command squeezes 16."""

Array = npt.NDArray[Any]


def main() -> int:
    """Measure what is not there yet, and write the page; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with the images of images.toml")
    parser.add_argument("--seconds", type=float, default=30.0, help="processor time of a fit")
    parser.add_argument("--report-only", action="store_true")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()] if ROWS.exists() else []
    if not arguments.report_only:
        if arguments.data is None:
            parser.error("--data names the folder with the images")
        there = {(row["image"], row["ratio"], row["what"]) for row in rows}
        for name in IMAGES:
            image = middle(listed()[name].load(arguments.data))
            for what, ratio in _asked(name):
                if (name, ratio, what) in there:
                    continue
                rows.append({"image": name, "ratio": ratio, "what": what, **measured(image, what, ratio, arguments.seconds)})
                with ROWS.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(rows[-1]) + "\n")
                print(json.dumps(rows[-1]), flush=True)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(rows, IMAGES), encoding="utf-8")
    return 0


def _asked(name: str) -> Iterator[tuple[str, float]]:
    """What is measured of an image, quick things first; all fits at all ratios are made of the first image only."""
    first = name == next(iter(IMAGES))
    for what in (FIELD, WELL_FED, AS_RUN, *NETWORKS):
        for ratio in RATIOS:
            if first or what not in NETWORKS or (what != COLLAPSING and ratio in FEWER_RATIOS):
                yield what, ratio


def measured(image: Image, what: str, ratio: float, seconds: float) -> dict[str, Any]:
    """Bytes, PSNR and SSIM of one file, in the two ranges, and processor seconds."""
    begin = time.process_time()
    try:
        values, size, note = _hevc_as_run(image, ratio) if what == AS_RUN else _file(image, what, ratio, seconds)
    except MicrofieldError as refused:
        return {"refused": str(refused)}
    took = time.process_time() - begin
    layout, original = image.layout, image.read()
    axes = tuple(i for i in range(original.ndim) if i not in layout.channel_axes)
    square = ((values.astype(np.float64) - original) ** 2).mean(axis=axes).reshape(-1)
    spans = np.ptp(original, axis=axes).reshape(-1).astype(np.float64)
    return {
        "bytes": size, "seconds": round(took, 1), "note": note,
        "psnr": round(psnr(square, spans), 2), "ssim": round(float(ssim(original, values, layout.axes, spans).mean()), 4),
        "psnr_paper": round(20 * math.log10(PAPER_RANGE) - 10 * math.log10(float(square.mean())), 2),
        "ssim_paper": round(float(ssim(original, values, layout.axes, PAPER_RANGE).mean()), 5),
    }


def _file(image: Image, what: str, ratio: float, seconds: float) -> tuple[Array, int, str]:
    """A microfield file; fits are stopped by processor time."""
    if what in NETWORKS:
        method, options = NETWORKS[what]
        settings = Settings(method=method, options=options, effort=9, time_limit=seconds)
    else:
        method = "field" if what == FIELD else "hevc"
        settings = Settings(method=method, options=unseen(image.name.removesuffix(".ome.tif")) if method == "field" else {})
    with mock.patch("time.monotonic", time.process_time):
        data, _ = compress_to_bytes(image, Budget("ratio", ratio), settings)
    return open_file(data).asarray(), len(data), ""


# -- HEVC with the paper's command line -----------------------------------------------------------------------------------


def _hevc_as_run(image: Image, ratio: float) -> tuple[Array, int, str]:
    """The finest rate factor whose stream is small enough: 16-bit values cut to 12 bits, planes one after another as frames."""
    original = image.read()
    frames = original.reshape(-1, *original.shape[-2:]) >> (16 - DEPTH)
    limit, low, high = original.nbytes / ratio, 0.0, 51.0
    stream = _x265(frames, low)
    note = "rate factor 0, the finest" if len(stream) <= limit else ""
    while not note and high - low > 0.1:
        middle_of = (low + high) / 2
        if len(_x265(frames, middle_of)) > limit:
            low = middle_of
        else:
            high = middle_of
    if not note:
        stream, note = _x265(frames, high), f"rate factor {high:.1f}"
    values = _decoded(stream, frames.shape).astype(np.uint16) << (16 - DEPTH)
    return values.reshape(original.shape), len(stream), note


def _x265(frames: Array, crf: float) -> bytes:
    """An Annex B stream: preset medium, no B frames, adaptive quantisation 3, as the authors' program calls x265."""
    import av

    context: Any = av.CodecContext.create("libx265", "w")
    context.height, context.width = frames.shape[1:]
    context.pix_fmt, context.time_base, context.framerate = f"gray{DEPTH}le", Fraction(1, 25), 25
    context.options = {"preset": "medium", "crf": str(crf), "x265-params": "bframes=0:aq-mode=3:log-level=none"}
    packets = []
    for number, plane in enumerate(frames.astype(np.uint16)):
        picture: Any = av.VideoFrame(context.width, context.height, context.pix_fmt)
        target = picture.planes[0]
        line = np.zeros((target.height, target.line_size // 2), np.uint16)
        line[:, : target.width] = plane
        target.update(line.tobytes())
        picture.pts = number
        packets += context.encode(picture)
    packets += context.encode(None)
    return b"".join(bytes(packet) for packet in packets)


def _decoded(stream: bytes, shape: tuple[int, ...]) -> Array:
    """The planes of a stream."""
    import av

    context: Any = av.CodecContext.create("hevc", "r")
    pictures = [p for packet in context.parse(stream) + context.parse(b"") for p in context.decode(packet)]
    pictures += context.decode(None)
    found = []
    for picture in pictures:
        plane = picture.planes[0]
        rows = np.frombuffer(plane, np.uint16).reshape(plane.height, plane.line_size // 2)
        found.append(rows[: shape[1], : shape[2]])
    return np.stack(found).reshape(shape)


if __name__ == "__main__":
    sys.exit(main())

"""A million parts: how long planning, encoding and assembling take beyond the method, and how much memory.

The image and the method are simulated (values follow from positions, a part is four bytes), so that what is measured is ours:
looking at the image, the plan, a call for every part, the spool, the index, opening the file and reading from it.

    python -m benchmarks.million_parts [--parts 1000000]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.image import Image, Layout
from microfield.methods import register
from microfield.methods.base import Context, Decoder, Encoded, KnobTraits, Method, PartData
from microfield.methods.whole import WholeDecoder
from microfield.reading.file import open_file
from microfield.writing.assemble import write_file
from microfield.writing.budget import Budget
from microfield.writing.job import prepare
from microfield.writing.settings import Settings

SIDE = 8
"""Rows and columns of a part."""
ROW = 1024
"""Parts along X."""


class Simulated:
    """A uint8 YX image whose values follow from their positions."""

    def __init__(self, parts: int) -> None:
        self.shape = (SIDE * -(-parts // ROW), SIDE * ROW)
        self.dtype = np.dtype(np.uint8)

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[np.uint8]:
        rows, columns = (np.arange(*s.indices(n), dtype=np.uint32) for s, n in zip(key, self.shape, strict=True))
        return ((rows[:, None] * np.uint32(31) + columns * np.uint32(17)) >> np.uint32(3)).astype(np.uint8)


class Mean(WholeDecoder):
    """A part that is its mean everywhere."""

    def __init__(self, layout: Layout, data: bytes) -> None:
        super().__init__(layout, len(data))
        self.mean = data[0]

    def _decode(self) -> npt.NDArray[Any]:
        return np.full(self.layout.shape, self.mean, np.uint8)


@register
class Means(Method):
    """Four bytes a part, whatever the quality."""

    name: ClassVar[str] = "simulated"
    summary: ClassVar[str] = "The mean of a part, in four bytes."
    experimental: ClassVar[bool] = True

    @property
    def quality(self) -> KnobTraits:
        """A knob that turns nothing."""
        return KnobTraits()

    def smallest(self, layout: Layout) -> int:
        """Four bytes."""
        del layout
        return 4

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        """The mean; its error is not looked at."""
        del layout, quality, context, state
        return Encoded((bytes([int(block.mean()), 0, 0, 0]),), np.ones(1), exhausted=True)

    def finish(self, encoded: Encoded, block: npt.NDArray[Any], layout: Layout, context: Context) -> Encoded:
        """Nothing is left to do."""
        del block, layout, context
        return encoded

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> Decoder:
        """Open a part."""
        del bitstream_version
        return Mean(layout, data.own[0])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=1_000_000)
    image: Any = Image(Simulated(parser.parse_args().parts), "YX", name="simulated")
    began = time.monotonic()
    job = prepare(image, Settings(method=Means.name, tile={"y": SIDE, "x": SIDE}), Deadline(), lambda *_: None)
    print(f"{job.grid.n:,} parts of {SIDE} x {SIDE}")
    print(f"prepare (labels, statistics)       {time.monotonic() - began:6.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        path, before = Path(folder) / "simulated.mfield", time.monotonic()
        with path.open("w+b") as stream:
            report = write_file(job, Budget("ratio", 4.0), stream)
        print(f"plan, encode, assemble             {time.monotonic() - before:6.1f} s, {report.file_bytes:,} bytes")
        before = time.monotonic()
        with open_file(path) as f:
            f[f.shape[0] // 2, ::SIDE * 64]
        print(f"open, read {ROW // 64} parts                 {time.monotonic() - before:6.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"in all                             {time.monotonic() - began:6.1f} s, at most {peak:.0f} MB of memory")


if __name__ == "__main__":
    main()

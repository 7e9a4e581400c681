"""In which order the time points of a film are coded, and which earlier ones each of them is predicted from.

Time points that do not need one another form a *generation*, which is coded together. A film is cut into segments of about the
same length, which begin with a *key frame* that is predicted from nothing; all segments grow together, generation by generation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from microfield.methods.field.channels import power_of_two

Numbers = npt.NDArray[np.intp]

LONGEST_SEGMENT = 128
"""Time points from one key frame to the next, at most."""
LARGEST_GROUP, LARGEST_BLOCK = 64, 64
OFFSETS = 8
"""The quantiser steps of a generation are coarser by its depth times the offset, in so many parts of an octave."""
LARGEST_OFFSET = 15


@dataclass(frozen=True)
class Generation:
    """Time points that are coded together.

    Attributes
    ----------
    frames : int array (n,)
        Which.
    references : int array (n, r)
        The time points that each of them is predicted from, r of 0 to 2.
    depth : int
        0 for key frames, 1 for those that are predicted one after the other, more for those between.
    """

    frames: Numbers
    references: Numbers
    depth: int


Place = tuple[int, int, int]
"""Depth, place in the segment, number of references: segments code together what agrees in all three."""


@dataclass(frozen=True)
class Film:
    """How a film is predicted.

    Attributes
    ----------
    length : int
        Number of time points.
    segment : int
        Time points from one key frame to the next, 1 to `LONGEST_SEGMENT`; the last segment may be shorter.
    group : int
        A power of two up to `LARGEST_GROUP`. With 1 a time point is predicted from the two before it. Else every ``group``-th, and
        the last one of a segment, is predicted from the one before it in this row; those between, halving the distance each time,
        from the nearest that are known on either side.
    block : int
        Rows and columns of the blocks that move: 8, 16, 32 or 64.
    offset : int
        See `OFFSETS`; 0 to `LARGEST_OFFSET`.
    """

    length: int
    segment: int
    group: int = 1
    block: int = 16
    offset: int = 0

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """All of them, in the order of coding."""
        found: dict[Place, list[tuple[int, list[int]]]] = {}
        for start in range(0, self.length, self.segment):
            for place, frame, references in self._segment(start, min(self.length, start + self.segment)):
                found.setdefault(place, []).append((frame, references))
        out = []
        for place in sorted(found):
            frames = np.array([frame for frame, _ in found[place]], np.intp)
            known = np.array([references for _, references in found[place]], np.intp)
            out.append(Generation(frames, known.reshape(len(frames), place[2]), place[0]))
        return tuple(out)

    def scale(self, depth: int) -> float:
        """What the quantiser step of a generation of this depth is multiplied by."""
        return float(power_of_two(self.offset * depth / OFFSETS))

    def _segment(self, start: int, stop: int) -> Iterator[tuple[Place, int, list[int]]]:
        """Place, time point and references of the time points of a segment."""
        yield (0, 0, 0), start, []
        if self.group == 1:
            for frame in range(start + 1, stop):
                references = [frame - 1, frame - 2][: frame - start]
                yield (1, frame - start, len(references)), frame, references
            return
        row = [*range(start, stop, self.group)]
        if row[-1] < stop - 1:
            row.append(stop - 1)
        for k, (before, after) in enumerate(itertools.pairwise(row)):
            yield (1, k, 1), after, [before]
            yield from _between(before, after, 2)


def _between(before: int, after: int, depth: int) -> Iterator[tuple[Place, int, list[int]]]:
    """The time points between two that are known."""
    if after - before > 1:
        middle = (before + after) // 2
        yield (depth, 0, 2), middle, [before, after]
        yield from _between(before, middle, depth + 1)
        yield from _between(middle, after, depth + 1)


def segment_of(length: int) -> int:
    """Time points of a segment where a film is cut into as few of about the same length as there must be."""
    return -(-length // -(-length // LONGEST_SEGMENT))


class Course:
    """Where blocks go if they move on as before: vectors that are expected of a generation.

    Parameters
    ----------
    shape : tuple of int
        Planes of a time point, rows and columns of blocks.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._known: dict[int, tuple[int, npt.NDArray[np.int32]]] = {}

    def expected(self, generation: Generation) -> npt.NDArray[np.int32]:
        """Vectors (frames x planes, references, rows, columns, 2): those of the last known reference, by distance in time."""
        n, r = generation.references.shape
        planes, rows, columns = self._shape
        out = np.zeros((n, r, planes, rows, columns, 2), np.int32)
        for i, (frame, references) in enumerate(zip(generation.frames.tolist(), generation.references.tolist(), strict=True)):
            source = next((self._known[t] for t in reversed(references) if t in self._known), None)
            if source is None:
                continue
            distance, vectors = source
            for k, reference in enumerate(references):
                times = (reference - frame) * (1 if distance > 0 else -1)
                out[i, k] = (2 * times * vectors.astype(np.int64) + abs(distance)) // (2 * abs(distance))
        return out.swapaxes(1, 2).reshape(n * planes, r, rows, columns, 2)

    def add(self, generation: Generation, vectors: npt.NDArray[np.int32]) -> None:
        """The vectors (frames x planes, references, rows, columns, 2) of a generation are known."""
        of_frames = vectors.reshape(len(generation.frames), -1, *vectors.shape[1:])
        for i, (frame, references) in enumerate(zip(generation.frames.tolist(), generation.references.tolist(), strict=True)):
            self._known[frame] = references[0] - frame, of_frames[i, :, 0]

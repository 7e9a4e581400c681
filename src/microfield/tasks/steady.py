"""A goal that must hold however the image is framed: the whole, and two views that lack a margin.

A search takes the smallest file that is good enough, and thresholds make measures jump, so that what it finds may be good enough by
luck: of files found on the whole image alone, one in four failed the same task on the image without its first 13 rows and columns
(docs/trust.md). A file has to be lucky three times to get through here.
"""

from __future__ import annotations

from typing import Any

from microfield.errors import InputError
from microfield.image import Image
from microfield.tasks.base import Goal, Outcome, Task

MARGIN, LARGEST_MARGIN = 0.05, 24
"""Views lack this share of their rows and columns at one corner, at most so many of each."""
SMALLEST = 40
"""Images with fewer rows or columns are judged whole only."""

Box = tuple[slice, ...]


class SteadyGoal(Goal):
    """A task on the whole image and on its views; views on which it cannot be judged are left out."""

    def __init__(self, task: Task, original: Image) -> None:
        whole = task.goal(original)
        self.share = whole.share
        self._goals: list[tuple[Box, Goal]] = [(tuple(slice(0, n) for n in original.shape), whole)]
        for box in views(original):
            part = Image(original.read(box), original.axes, original.voxel_size, original.units, original.channel_names,
                         name=original.name)
            try:
                self._goals.append((box, task.goal(part)))
            except InputError:
                continue

    def judge(self, copy: Any) -> Outcome:
        """The worst outcome; views are looked at only where the whole is good enough."""
        worst = self._goals[0][1].judge(copy)
        for box, goal in self._goals[1:]:
            if not worst.kept:
                break
            worst = max(worst, goal.judge(copy[box]), key=lambda outcome: outcome.used)
        return worst


def views(image: Image) -> list[Box]:
    """The image without its first rows and columns, and without its last; none of a small image."""
    if min(image.sizes[a] for a in "YX") < SMALLEST:
        return []
    margins = {a: min(LARGEST_MARGIN, max(1, int(MARGIN * image.sizes[a]))) for a in "YX"}
    first = tuple(slice(margins.get(a, 0), n) for a, n in zip(image.axes, image.shape, strict=True))
    last = tuple(slice(0, n - margins.get(a, 0)) for a, n in zip(image.axes, image.shape, strict=True))
    return [first, last]

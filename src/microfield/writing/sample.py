"""Some parts of an image that stand for all of them: where its setting is looked for before, or instead of, encoding all."""

from __future__ import annotations

import math
from dataclasses import replace

from microfield.writing.request import Request

_GOLDEN = (math.sqrt(5) - 1) / 2


def sample_of(request: Request, count: int) -> list[int]:
    """Numbers of about ``count`` parts, spread over the image, together with those they build on."""
    n = len(request.parts)
    chosen: set[int] = set()
    for k in range(min(n, count)):
        # Multiples of the golden ratio fill the interval evenly and keep to no column of the grid.
        number: int | None = int((0.5 + k * _GOLDEN) % 1.0 * n)
        while number is not None and number not in chosen:
            chosen.add(number)
            number = request.references.get(number)
    return sorted(chosen)


def only(request: Request, numbers: list[int]) -> Request:
    """The request of these parts alone."""
    place = {number: i for i, number in enumerate(numbers)}
    references = {place[p]: place[r] for p, r in request.references.items() if p in place}
    return replace(request, parts=[request.parts[i] for i in numbers], references=references)

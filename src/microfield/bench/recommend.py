"""What a bench advises for one image: the method, and how far it can be compressed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from microfield.bench import summary
from microfield.bench.rows import Row

LEVEL = 0.2
"""Methods whose PSNR is so few dB apart are level."""
PREFERRED = "field"
"""Recommended where it is level with the best: its files open without the codecs of other packages."""
FOUND = 0.95
"""So much of the objects (F1) has to be found again for a ratio to be recommended for counting."""
NOISE = 1.5
"""Where objects were not measured, the error may be so many times the noise: about what losing the noise takes."""


def recommendation(rows: Sequence[Row]) -> str:
    """A sentence or two on one image, from its rows; what to do where there is too little to say.

    The method is the one that is best, or level with the best (`LEVEL`), at most of the sizes. The ratio is the largest at which
    that method keeps the objects (`FOUND`), or where these were not measured, errs little more than the noise (`NOISE`).
    """
    done = [row for row in summary.reached(rows) if row["budget"] == "ratio"]
    sizes = sorted({float(row["asked"]) for row in done})
    if not done:
        return "No recommendation: no method reached a size here."
    leaders: Counter[str] = Counter()
    for size in sizes:
        here = [row for row in done if float(row["asked"]) == size]
        best = max(row["psnr"] for row in here)
        leaders.update({row["method"] for row in here if row["psnr"] >= best - LEVEL})
    most = max(leaders.values())
    ahead = [method for method, count in leaders.items() if count == most]
    method = PREFERRED if PREFERRED in ahead else ahead[0]
    words = f"Recommended: {method}, best or within {LEVEL:g} dB of the best at {leaders[method]} of {len(sizes)} sizes."
    return f"{words} {_how_far([row for row in done if row['method'] == method])}"


def _how_far(rows: Sequence[Row]) -> str:
    """The largest ratio that is good enough, of the rows of one method."""
    if any(row.get("object_f1") is not None for row in rows):
        good = [row for row in rows if (row.get("object_f1") or 0) >= FOUND]
        kept = "at least 95 % of the objects are found again (F1)"
    elif any(row.get("noise_factor") is not None for row in rows):
        good = [row for row in rows if (row.get("noise_factor") or float("inf")) <= NOISE]
        kept = f"the error is at most {NOISE:g} times the noise"
    else:
        return "How far to go was not measured; look at the pictures."
    if not good:
        return f"At none of these sizes {kept}: take a smaller ratio, or an exact copy."
    return f"Up to {max(float(row['asked']) for row in good):g}x {kept}."

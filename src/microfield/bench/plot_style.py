"""Colours and style sheet of the plots of a bench, for light and dark backgrounds."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

PALETTE = (
    ("#0072b2", "#56a8e0"), ("#d55e00", "#ff9b57"), ("#009e73", "#38c79c"), ("#b0528f", "#e592c4"),
    ("#8a6d00", "#d9bb3b"), ("#4b4bb5", "#9c9cf5"), ("#c0392b", "#ff8a7d"), ("#2f7d32", "#84cc86"),
    ("#00788a", "#4cc3d6"), ("#7a4a21", "#cf9c6d"), ("#5f6b73", "#aab6be"), ("#8e24aa", "#d48ae6"),
)
"""Colours on a light and on a dark background; most colour-blind readers can tell the first ones apart (Okabe and Ito)."""
FIXED = ("field", "av1", "hevc", "sperr", "inif", "jpeg2000", "sz3", "jpegxl", "zfp", "downsample", "lerc", "siren", "jpegxr",
         "htj2k")
"""Methods whose colour is chosen by hand. Any other method gets one from its name and needs no entry here."""
STYLES = 2 * len(PALETTE)
"""Every colour is used twice, with a solid and with a dashed line."""

_STYLE = """
.rd{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:var(--ink,#24292f)}
.rd .grid{stroke:var(--grid,#d7dce1);stroke-width:1}.rd .axis{stroke:var(--faint,#6b7580);stroke-width:1}
.rd .faint{fill:var(--faint,#5d6770)}.rd .title{font-weight:600;font-size:13px}.rd .lead{stroke-width:1;opacity:.5}
.rd .ground{fill:var(--ground,#fff)}
"""
_DARK = ".rd{--ink:#e6e9ec;--grid:#373e47;--faint:#9aa5b0;--ground:#0d1117}"


def colour_index(method: str, methods: Iterable[str]) -> int:
    """Number of the colour of a method: index into `PALETTE`, solid lines first, then dashed ones from ``len(PALETTE)`` on.

    Methods of `FIXED` have their place there. Others get a place after these from a checksum of their name, so that a method
    looks the same on every plot; where two of ``methods``, those on one plot, would get the same, the later one in the alphabet
    takes the next free place.
    """
    if method in FIXED:
        return FIXED.index(method)
    free = STYLES - len(FIXED)
    places: dict[str, int] = {}
    for name in sorted({method, *methods} - set(FIXED)):
        place = zlib.crc32(name.encode()) % free
        while place in places.values() and len(places) < free:
            place = (place + 1) % free
        places[name] = place
    return len(FIXED) + places[method]


def style(standalone: bool = False) -> str:
    """The style sheet of plots; ``standalone`` for an SVG file, which must follow the reader's light or dark scheme by itself."""
    light = "".join(f".c{i}{{--c:{a}}}" for i, (a, _) in enumerate(PALETTE))
    dark = "".join(f".c{i}{{--c:{b}}}" for i, (_, b) in enumerate(PALETTE))
    base = _STYLE + light + ".rd .line{stroke:var(--c);fill:none;stroke-width:1.8}.rd .mark,.rd .name{fill:var(--c)}" \
        ".rd .lead{stroke:var(--c)}"
    return base + f"@media (prefers-color-scheme:dark){{{dark}{_DARK if standalone else ''}}}"

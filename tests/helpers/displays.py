"""Random ways in which an image is meant to be seen, for property tests."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from microfield.display import MODES, TABLE_BYTES, Calibration, ChannelDisplay, Display

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
BYTE = st.integers(0, 255)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@st.composite
def channels(draw: st.DrawFn) -> ChannelDisplay:
    colour = draw(st.none() | st.tuples(BYTE, BYTE, BYTE))
    ends = draw(st.none() | st.tuples(NUMBERS, NUMBERS))
    shown = None if ends is None else (min(ends), max(ends))
    table = draw(st.none() | st.binary(min_size=TABLE_BYTES, max_size=TABLE_BYTES)) if colour is not None else None
    return ChannelDisplay(colour, shown, table, draw(st.booleans()))


@st.composite
def displays(draw: st.DrawFn, sizes: dict[str, int]) -> Display:
    """Of an array with these axes and extents."""
    count, planes = sizes.get("C", 1), math.prod(n for a, n in sizes.items() if a not in "YXS")
    return Display(
        tuple(draw(channels()) for _ in range(count)) if draw(st.booleans()) else (),
        tuple(draw(TEXT) for _ in range(planes)) if draw(st.booleans()) else (),
        draw(st.none() | st.builds(Calibration, st.lists(NUMBERS, min_size=2, max_size=9).map(tuple), TEXT)),
        draw(st.none() | st.sampled_from(MODES)) if count > 1 else None,
    )


@st.composite
def sized_displays(draw: st.DrawFn) -> tuple[dict[str, int], Display]:
    """Axes and extents of an array, and a display of it."""
    axes = draw(st.sampled_from(["YX", "CYX", "YXC", "TZYX", "TCZYX", "ZYXS", "CYXS"]))
    sizes = {a: draw(st.integers(1, 3)) for a in axes}
    return sizes, draw(displays(sizes))

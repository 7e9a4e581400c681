"""Rate-distortion plots as small SVG drawings: bits per voxel on a logarithmic axis, PSNR in dB.

Drawn by hand so that a page needs no script and no library, and so that a drawing follows the light or dark scheme of the
reader. Every curve has its own colour and marker and is named at its end, so that colour alone never tells.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from microfield.bench.plot_style import PALETTE, colour_index, style

Point = tuple[float, float]

DEPTH = 8.0
"""A plot reaches so many decibels below the lowest point of the best curve: worse points would flatten all other curves."""

LABEL = 42.0
"""Width of the label of a ratio, in units of the drawing."""
NAME_GAP = 13.0
"""Least distance between the names of two curves, likewise."""

MARKERS = ("circle", "square", "triangle", "diamond")
"""Shapes of points: curves take them in turn, so that neighbours differ in more than colour."""


@dataclass(frozen=True)
class Frame:
    """Size of the drawing, its margins, and the limits of its axes.

    ``x`` holds the limits as log10 of bits per voxel, ``y`` in dB; everything else is in units of the drawing.
    """

    width: float = 560
    height: float = 330
    left: float = 58
    right: float = 102
    top: float = 52
    bottom: float = 40
    x: tuple[float, float] = (-2.0, 0.0)
    y: tuple[float, float] = (30.0, 40.0)

    def at(self, point: Point) -> Point:
        """Drawing position of (bits per voxel, dB)."""
        fx = (math.log10(point[0]) - self.x[0]) / (self.x[1] - self.x[0])
        fy = (point[1] - self.y[0]) / (self.y[1] - self.y[0])
        return (self.left + fx * (self.width - self.left - self.right),
                self.height - self.bottom - fy * (self.height - self.top - self.bottom))

    def shows(self, point: Point) -> bool:
        """Whether a point lies between the axes."""
        return self.x[0] <= math.log10(point[0]) <= self.x[1] and self.y[0] <= point[1] <= self.y[1]


def plot(curves: Mapping[str, Sequence[Point]], title: str, raw_bits: float | None = None, standalone: bool = False,
         rates: tuple[float, float] | None = None, empty: str = "no run reached its budget") -> str:
    """One drawing of rate-distortion curves.

    Parameters
    ----------
    curves : method name to points (bits per voxel > 0, finite dB)
        Curves without points are left out.
    title : str
        Any text; it is escaped.
    raw_bits : float, optional
        Bits per voxel of the raw array: then compression ratios are written along the top.
    standalone : bool
        True for the text of an .svg file, False for markup inside a page that includes `style`.
    rates : (lowest, highest) bits per voxel, optional
        What lies outside does not shape the axes and is cut off at the frame; without effect where nothing lies inside.
    empty : str
        What to write where there is no point at all.

    Returns
    -------
    str
        The ``<svg>`` element; where there is no point at all, one that says so.
    """
    near = _within(curves, rates)
    floor = _floor(near)
    named = {name: sorted(curves[name]) for name, points in near.items() if any(value >= floor for _, value in points)}
    frame = _frame([p for name in named for p in near[name] if p[1] >= floor])
    if named:
        drawn = "".join(_curve(frame, name, points, colour_index(name, list(curves))) for name, points in named.items())
        body = _axes(frame, raw_bits) + drawn + _names(frame, named, list(curves))
        body += _hidden(frame, curves, near, named)
    else:
        body = _sentence(frame, empty)
    said = f"Rate-distortion curves of {', '.join(named) or 'no method'}: {title}"
    head = '<svg xmlns="http://www.w3.org/2000/svg"' if standalone else "<svg"
    # A picture on somebody's page knows the reader's scheme but not the page's, so it brings its own ground.
    sheet = f'<style>{style(True)}</style><rect class="ground" width="100%" height="100%" rx="8"/>' if standalone else ""
    return (f'{head} class="rd" viewBox="0 0 {frame.width:g} {frame.height:g}" role="img" '
            f'aria-label="{html.escape(said)}">{sheet}'
            f'<text x="{frame.left}" y="16" class="title">{html.escape(title)}</text>{body}</svg>')


def _within(curves: Mapping[str, Sequence[Point]], rates: tuple[float, float] | None) -> dict[str, list[Point]]:
    """The points between two rates; all points where there are no limits or no point lies between them."""
    low, high = rates or (0.0, math.inf)
    inside = {name: [p for p in points if low <= p[0] <= high] for name, points in curves.items()}
    return inside if any(inside.values()) else {name: list(points) for name, points in curves.items()}


def _sentence(frame: Frame, said: str) -> str:
    """A text of several lines in the middle of an empty drawing."""
    lines = textwrap.wrap(said, 76)[:8]
    top = frame.height / 2 - 9 * (len(lines) - 1)
    return "".join(f'<text x="{frame.left}" y="{top + 18 * i}" class="faint">{html.escape(line)}</text>'
                   for i, line in enumerate(lines))


def _floor(curves: Mapping[str, Sequence[Point]]) -> float:
    """The lowest PSNR to show: some way below the lowest point of the curve that reaches highest."""
    best = max((points for points in curves.values() if points), key=lambda points: max(p[1] for p in points), default=None)
    return -math.inf if best is None else min(value for _, value in best) - DEPTH


def _frame(points: Sequence[Point]) -> Frame:
    """A frame whose axes hold all points, with a small margin."""
    if not points:
        return Frame()
    rates = [math.log10(p[0]) for p in points]
    values = [p[1] for p in points]
    x0, x1 = min(rates) - 0.06, max(rates) + 0.06
    air = max(0.5, 0.06 * (max(values) - min(values)))
    return Frame(x=(x0, x1), y=(min(values) - air, max(values) + air))


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers between two limits, 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first = math.ceil(low / step)
    return [round(i * step, 10) for i in range(first, math.floor(high / step) + 1)]


def _axes(frame: Frame, raw_bits: float | None) -> str:
    """Grid, ticks and titles of the axes."""
    parts = []
    left, right = frame.left, frame.width - frame.right
    top, bottom = frame.top, frame.height - frame.bottom
    for value in ticks(*frame.y):
        y = frame.at((10 ** frame.x[0], value))[1]
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>'
                     f'<text class="faint" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for rate in _log_ticks(*frame.x):
        x = frame.at((rate, frame.y[0]))[0]
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>'
                     f'<text class="faint" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{rate:g}</text>')
    parts.append(f'<path class="axis" d="M{left} {bottom}H{right}"/>'
                 f'<text class="faint" x="{(left + right) / 2}" y="{frame.height - 6}" text-anchor="middle">bits per voxel</text>'
                 f'<text class="faint" transform="translate(14 {(top + bottom) / 2}) rotate(-90)" '
                 f'text-anchor="middle">PSNR, dB</text>')
    return "".join(parts) + (_ratios(frame, raw_bits) if raw_bits else "")


def _ratios(frame: Frame, raw_bits: float) -> str:
    """Compression ratios along the top: powers of two, so many that their labels do not touch."""
    parts = []
    octave = (frame.width - frame.left - frame.right) * math.log10(2) / (frame.x[1] - frame.x[0])
    for power in range(0, 20, max(1, math.ceil(LABEL / octave))):
        rate = raw_bits / 2**power
        if frame.x[0] <= math.log10(rate) <= frame.x[1]:
            x = frame.at((rate, frame.y[1]))[0]
            parts.append(f'<path class="axis" d="M{x:.1f} {frame.top}v-4"/>'
                         f'<text class="faint" x="{x:.1f}" y="{frame.top - 8}" text-anchor="middle">{2**power}x</text>')
    return "".join(parts)


def _log_ticks(low: float, high: float) -> list[float]:
    """Round rates between two limits given as log10: 1, 2, 5 times powers of ten, or only these over a wide range."""
    steps = (1, 2, 5) if high - low < 2.5 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    found = [m * 10.0**p for p in powers for m in steps if low <= math.log10(m * 10.0**p) <= high]
    return found if len(found) > 2 else ticks(10**low, 10**high)


def _clipped(frame: Frame, markup: str) -> str:
    """Markup that is only seen between the axes."""
    x, y = frame.left, frame.top
    width, height = frame.width - frame.left - frame.right, frame.height - frame.top - frame.bottom
    return (f'<svg x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{x} {y} {width} {height}" overflow="hidden">'
            f"{markup}</svg>")


def _hidden(frame: Frame, curves: Mapping[str, Sequence[Point]], near: Mapping[str, Sequence[Point]],
            named: Mapping[str, Sequence[Point]]) -> str:
    """A note naming the methods below everything that is shown, and those wholly or partly at rates that are not shown."""
    below = [name for name, points in near.items() if points and name not in named]
    beside = [name for name, points in curves.items() if points and not near[name]]
    partly = [name for name in named if len(near[name]) < len(curves[name])]
    if partly:
        beside.append("points of " + (", ".join(partly) if len(partly) < 6 else f"{len(partly)} methods"))
    said = [f"{where} this plot: {', '.join(which)}" for where, which in (("outside", beside), ("below", below)) if which]
    x, y = frame.width - frame.right - 6, frame.height - frame.bottom - 8
    return "".join(f'<text class="faint" x="{x}" y="{y - 16 * i}" text-anchor="end">{html.escape(line)}</text>'
                   for i, line in enumerate(reversed(said)))


def _curve(frame: Frame, name: str, points: Sequence[Point], index: int) -> str:
    spots = [frame.at(p) for p in points]
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
    marks = "".join(_marker(MARKERS[index % len(MARKERS)], *frame.at(p)) for p in points if frame.shows(p))
    dash = ' stroke-dasharray="5 3"' if index >= len(PALETTE) else ""
    tip = html.escape(", ".join(f"{rate:.3g} bits {value:.2f} dB" for rate, value in points))
    return (f'<g class="c{index % len(PALETTE)}"><title>{html.escape(name)}: {tip}</title>'
            + _clipped(frame, f'<path class="line" d="{line}"{dash}/>') + f'<path class="mark" d="{marks}"/></g>')


def _marker(kind: str, x: float, y: float) -> str:
    shapes = {
        "circle": "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", "square": "m-2.7-2.7h5.4v5.4h-5.4z",
        "triangle": "m0-3.6l3.4 6h-6.8z", "diamond": "m0-3.7l3.7 3.7l-3.7 3.7l-3.7-3.7z",
    }
    return f"M{x:.1f} {y:.1f}{shapes[kind]}"


def _names(frame: Frame, named: Mapping[str, Sequence[Point]], methods: Sequence[str]) -> str:
    """The name of every curve in the right margin, in the order of the curves' ends, spread so that none overlap."""
    last = {name: frame.at([p for p in points if frame.shows(p)][-1]) for name, points in named.items()}
    ends = sorted((y, x, name) for name, (x, y) in last.items())
    heights = spread([y for y, _, _ in ends], NAME_GAP, frame.top - 6, frame.height - frame.bottom + 4)
    x = frame.width - frame.right + 16
    parts = []
    for (y, end, name), height in zip(ends, heights, strict=True):
        group = f'<g class="c{colour_index(name, methods) % len(PALETTE)}">'
        parts.append(f'{group}<path class="lead" fill="none" d="M{end + 5:.1f} {y:.1f}L{x - 3} {height:.1f}"/>'
                     f'<text class="name" x="{x}" y="{height + 4:.1f}">{html.escape(name)}</text></g>')
    return "".join(parts)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Rising positions near the wanted ones (rising, too), at least ``gap`` apart where low..high has room for that."""
    if not wanted:
        return []
    gap = min(gap, (high - low) / len(wanted))
    placed: list[float] = []
    for value in wanted:
        placed.append(max(value, placed[-1] + gap if placed else low))
    limit = high
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - gap
    return placed

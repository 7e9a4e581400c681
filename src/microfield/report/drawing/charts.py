"""Small charts as inline SVG, drawn with the page's own colours so that they follow its light and dark look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.report.drawing.markup import escape

Floats = npt.NDArray[Any]

WIDTH, HEIGHT = 460, 250
"""Size of a chart in units of the drawing."""
LEFT, RIGHT, TOP, BOTTOM = 68, 12, 12, 42
"""Margins around the axes, likewise."""
DIGIT = 7.5
"""Width of a digit, at the largest size that the style sheet gives them."""


@dataclass(frozen=True)
class Line:
    """A curve through points ``x``, ``y``, arrays of one shape ``(n,)``.

    ``name`` stands in the legend; ``kind`` is a class of the style sheet: original, reconstruction or reference; ``filled``
    fills the area below.
    """

    x: Floats
    y: Floats
    name: str
    kind: str
    filled: bool = False


@dataclass(frozen=True)
class Axes:
    """Labels of the axes, and the lowest and highest value along each; ``logarithmic`` is the scale of y."""

    x_label: str
    y_label: str
    x: tuple[float, float]
    y: tuple[float, float]
    logarithmic: bool = False

    def place_x(self, value: Floats) -> Floats:
        """Horizontal positions in the drawing."""
        low, high = self.x
        return np.asarray(LEFT + (np.asarray(value, float) - low) / (high - low) * (WIDTH - LEFT - RIGHT))

    def place_y(self, value: Floats) -> Floats:
        """Vertical positions in the drawing; values outside the axis are drawn at its end."""
        low, high = self.y
        shown = np.clip(np.asarray(value, float), low, high)
        if self.logarithmic:
            shown, low, high = np.log10(shown), math.log10(low), math.log10(high)
        return np.asarray(HEIGHT - BOTTOM - (shown - low) / (high - low) * (HEIGHT - TOP - BOTTOM))


def chart(lines: Sequence[Line], axes: Axes, alt: str, levels: Sequence[tuple[float, str]] = ()) -> str:
    """Draw curves with axes, grid and legend as HTML.

    ``alt`` says what the chart shows for those who cannot see it; ``levels`` are (value, name) of horizontal lines such as a
    threshold.
    """
    parts = [_grid(axes)]
    for value, name in levels:
        y = float(axes.place_y(np.array(value)))
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<text class="tick" x="{WIDTH - RIGHT - 3}" y="{y - 4:.1f}" text-anchor="end">{escape(name)}</text>')
    parts += [_curve(line, axes) for line in lines]
    body = "".join(parts)
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(alt)}"><title>{escape(alt)}</title>{body}</svg>'
    keys = "".join(f'<span class="key {line.kind}{" area" if line.filled else ""}">{escape(line.name)}</span>' for line in lines)
    return f'<div class="chart">{svg}<div class="legend">{keys}</div></div>'


def _curve(line: Line, axes: Axes) -> str:
    x, y = axes.place_x(line.x), axes.place_y(line.y)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    if len(x) == 1:
        return f'<circle class="{line.kind}" cx="{x[0]:.1f}" cy="{y[0]:.1f}" r="3"/>'
    if not line.filled:
        return f'<polyline class="curve {line.kind}" points="{points}"/>'
    base = HEIGHT - BOTTOM
    return f'<polygon class="fill {line.kind}" points="{x[0]:.1f},{base} {points} {x[-1]:.1f},{base}"/>'


def _grid(axes: Axes) -> str:
    parts = []
    for value in ticks(*axes.x):
        x = float(axes.place_x(np.array(value)))
        middle = min(x, WIDTH - DIGIT * len(_label(value)) / 2)  # the last number may reach beyond the axis, not the drawing
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
                     f'<text class="tick" x="{middle:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{_label(value)}</text>')
    for value in _decades(*axes.y) if axes.logarithmic else ticks(*axes.y):
        y = float(axes.place_y(np.array(value)))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_label(value)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    for label, place in ((axes.x_label, f"translate({(LEFT + WIDTH - RIGHT) / 2} {HEIGHT - 5})"),
                         (axes.y_label, f"translate(13 {middle}) rotate(-90)")):
        parts.append(f'<text class="label" transform="{place}" text-anchor="middle">{escape(label)}</text>')
    return "".join(parts)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers between two limits: 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(k * power for k in (1, 2, 5, 10) if k * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    step = max(1, (last - first) // 4)
    return [10.0**k for k in range(first, last + 1, step)]


def _label(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", "−")
    return f"{value:,.6g}".replace("-", "−")


def span(*values: Floats, margin: float = 0.05) -> tuple[float, float]:
    """Range of the values of all arrays, widened by a share ``margin`` at either end; never empty."""
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        return low - pad, high + pad
    return low - margin * (high - low), high + margin * (high - low)

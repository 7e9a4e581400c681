"""Arrays as pictures inside the page: grey, colour, signed error, segmentation overlay; scale bars."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import MissingExtraError
from microfield.report.drawing.markup import escape, unit_symbol

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]

# ColorBrewer RdBu (C. Brewer): red and blue stay apart for every common kind of colour blindness.
_DIVERGING = ((5, 48, 97), (67, 147, 195), (247, 247, 247), (214, 96, 77), (103, 0, 31))

OVERLAY = {"both": (240, 240, 240), "only original": (230, 159, 0), "only reconstruction": (86, 180, 233)}
"""Colours of the segmentation overlay, from the palette of Okabe and Ito (2002), which the colour-blind can tell apart."""


def to_bytes(values: Floats, contrast: tuple[float, float]) -> Bytes:
    """Values between black and white as 0..255; what lies outside is clipped."""
    low, high = contrast
    return np.asarray(np.clip((values - low) * (255.0 / (high - low)) + 0.5, 0, 255), np.uint8)


def error_bytes(error: Floats, limit: float) -> Bytes:
    """Signed error as 0..254: 127 for none, 0 and 254 for -limit and +limit and beyond."""
    return np.asarray(np.clip(np.rint(127 + error * (127 / limit)), 0, 254), np.uint8)


def shrink(values: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """Shrink the first two axes to at most ``side`` pixels each, by means over square blocks of the smallest possible width."""
    step = max(1, math.ceil(max(values.shape[:2]) / side))
    if step == 1:
        return values
    out = values.astype(np.float64)
    for axis in (0, 1):
        starts = np.arange(0, out.shape[axis], step)
        counts = np.diff([*starts, out.shape[axis]])
        out = np.add.reduceat(out, starts, axis=axis) / counts.reshape(-1, *([1] * (out.ndim - 1 - axis)))
    return out


def overlay(grey: Bytes, original: npt.NDArray[np.bool_], reconstruction: npt.NDArray[np.bool_]) -> Bytes:
    """A darkened grey picture with the agreement and the differences of two masks coloured (`OVERLAY`).

    All arrays have shape ``(Y, X)``, the result ``(Y, X, 3)``.
    """
    out = np.repeat((0.55 * grey)[..., None], 3, axis=2)
    parts = zip(
        OVERLAY.values(),
        (original & reconstruction, original & ~reconstruction, reconstruction & ~original),
        (0.35, 0.9, 0.9),
        strict=True,
    )
    for colour, where, share in parts:
        out[where] = (1 - share) * out[where] + share * np.array(colour)
    return np.asarray(out, np.uint8)


def picture(values: Bytes, alt: str, *, diverging: bool = False, aspect: float | None = None, kind: str = "") -> str:
    """An ``img`` element with the picture as PNG inside; pixels stay sharp when magnified.

    Parameters
    ----------
    values : uint8 array of shape ``(Y, X)`` or ``(Y, X, 3)``
    alt : str
        What the picture shows, for those who cannot see it.
    diverging : bool
        Colour the values as `error_bytes` gives them.
    aspect : float, optional
        Width / height on the page, where pixels are not square.
    """
    try:
        from PIL import Image as Picture
    except ImportError:
        raise MissingExtraError("the report", "report") from None
    made = Picture.fromarray(np.ascontiguousarray(values))
    if diverging:
        made.putpalette(_palette())
    buffer = io.BytesIO()
    made.save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    height, width = values.shape[:2]
    shape = f"{aspect:.4g}" if aspect else f"{width} / {height}"
    return (f'<img class="{kind}" src="data:image/png;base64,{data}" width="{width}" height="{height}" '
            f'style="aspect-ratio: {shape}" alt="{escape(alt)}">')


def _palette() -> bytes:
    anchors = np.array(_DIVERGING, float)
    at = np.arange(255) / 254 * (len(anchors) - 1)
    table = np.stack([np.interp(at, np.arange(len(anchors)), anchors[:, c]) for c in range(3)], axis=1)
    return bytes(np.rint(table).astype(np.uint8).ravel().tolist()) + bytes(3)


def framed(image: str, voxel_size: Mapping[str, float], units: Mapping[str, str], axis: str, pixels: int,
           marks: Sequence[str] = ()) -> str:
    """A picture with marks laid over it, and a scale bar where the step along its columns is known.

    Parameters
    ----------
    image : str
        The picture as HTML.
    voxel_size, units : mappings of axis to step and to unit
    axis : str
        The axis along the columns, which are ``pixels`` in number.
    marks : sequence of str
        HTML.
    """
    step = voxel_size.get(axis)
    bar = ""
    if step and step > 0 and math.isfinite(step):
        length = _round_length(step * pixels / 4)
        share = length / (step * pixels)
        if share <= 1:
            label = f"{length:g} {unit_symbol(units.get(axis, ''))}".strip()
            bar = f'<span class="bar" style="width: {100 * share:.2f}%"><span>{label}</span></span>'
    return f'<div class="frame">{image}{"".join(marks)}{bar}</div>'


def _round_length(length: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above ``length``."""
    power = 10.0 ** math.floor(math.log10(length))
    return max(k * power for k in (1, 2, 5) if k * power <= length * (1 + 1e-9))


def colour_scale(limit: str) -> str:
    """The legend of a picture of signed errors; ``limit`` is the value at its ends, as HTML."""
    stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in _DIVERGING)
    return (f'<div class="scale"><span>−{limit}</span><i style="background: linear-gradient(to right, {stops})"></i>'
            f"<span>+{limit}</span></div>")

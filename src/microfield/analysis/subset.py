"""The subset of an image that is analysed: all of a small image, of a large one spread time points and the middle of each.

Both images are read into arrays of shape ``(channels, T, Y, X)`` or ``(channels, T, Z, Y, X)``; colour samples become one
channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from microfield.analysis.ground_truth import check_labels, match_labels, read_labels, shape_of
from microfield.errors import InputError, NotFiniteError
from microfield.image import Image
from microfield.statistics import Slices, count_invalid
from microfield.wording import argument

Array = npt.NDArray[Any]

LEAST_TIMES = 10
"""Time points kept before frames are cropped: as many as traces need (`microfield.analysis.traces.LEAST_POINTS`)."""
THIN = 32
"""A volume with at most so many planes keeps them all."""
HAEMATOXYLIN = "haematoxylin"
LUMINANCE = "luminance"
WHITE_PERCENTILE = 0.999
"""White is the grey level that this share of all colour samples does not exceed: a few hot pixels do not decide it."""
BRIGHT_FIELD = 0.4
"""Above this share of white the median luminance is that of a bright ground; fluorescence is mostly dark."""


@runtime_checkable
class WithAxes(Protocol):
    """An image or a file that says what its axes are; plain arrays do not and have those of the original."""

    @property
    def axes(self) -> str:
        """One letter of ``TCZYXS`` per axis."""
        ...


@dataclass(frozen=True)
class Subset:
    """What is analysed of a pair of images.

    Attributes
    ----------
    names : one per channel
    original, reconstruction : arrays of shape ``(channels, T, [Z,] Y, X)``, finite, in grey levels
    labels : array of shape ``(T, [Z,] Y, X)``, or ``(1, ...)`` where regions do not change; None without ground truth
    voxel_size : physical step along ``[Z,] Y, X``; None where one of them is unknown
    times : indices of the time points taken
    note : what was left out, one sentence; None if nothing
    """

    names: tuple[str, ...]
    original: Array
    reconstruction: Array
    labels: Array | None
    voxel_size: tuple[float, ...] | None
    times: tuple[int, ...]
    note: str | None


def read_subset(
    original: Image, reconstruction: Any, labels: Any = None, max_voxels: int = 2**23,
    progress: Callable[[float, str], None] | None = None,
) -> Subset:
    """Read what is analysed of both images and of the ground truth.

    Parameters
    ----------
    original : Image
    reconstruction, labels
        As `microfield.analysis.judge.judge` takes them.
    max_voxels : int
        Most array elements to read of each image.
    progress : callable (fraction in 0..1, message), optional

    Raises
    ------
    InputError
        If shapes or axes do not match, either image holds NaN or infinity, or the labels hold intensities.
    """
    check_pair(original, reconstruction)
    times, box, note = choose_subset(original, max_voxels)
    truth = None if labels is None else read_labels(labels, match_labels(original, labels), original, times, box)
    if truth is not None:
        known, name = (labels.labels, labels.name) if isinstance(labels, Image) else (None, "the array")
        check_labels(truth, known, name)
    reads: tuple[Callable[[Slices], Any], ...] = (original.read, lambda key: np.asarray(reconstruction[key]))
    if isinstance(reconstruction, Image):
        reads = (original.read, reconstruction.read)
    frames: tuple[list[Array], list[Array]] = ([], [])
    for k, t in enumerate(times):
        if progress is not None:
            progress(k / len(times), "read")
        key = tuple(slice(t, t + 1) if axis == "T" else part for axis, part in zip(original.axes, box, strict=True))
        for read, kept in zip(reads, frames, strict=True):
            kept.append(_ordered(np.asarray(read(key)), original.axes))
    names, both = _channels(original, np.stack(frames[0], 1), np.stack(frames[1], 1))
    for which, values in zip((original.name, "the reconstruction"), both, strict=True):
        _refuse_invalid(which, values)
    return Subset(names, *both, truth, _voxel_size(original), times, note)


def check_pair(original: Image, reconstruction: Any) -> None:
    """Raise InputError where the shapes differ, or the axes of a reconstruction that says what its axes are."""
    shape = shape_of(reconstruction)
    if shape != original.shape:
        raise InputError(
            f"the original has shape {original.shape} and the reconstruction {shape}; "
            "only arrays of one shape can be compared."
        )
    if isinstance(reconstruction, WithAxes) and reconstruction.axes != original.axes:
        raise InputError(f"the original has axes {original.axes} and the reconstruction {reconstruction.axes}; "
                         "give both the same axes.")


def choose_subset(image: Image, max_voxels: int) -> tuple[tuple[int, ...], Slices, str | None]:
    """Choose at most ``max_voxels`` array elements of an image.

    Time points go first, evenly spread, down to `LEAST_TIMES`; then Y and X, and Z where there are more than `THIN` planes,
    shrink by one factor to their middle.

    Returns
    -------
    times : tuple of int
        Indices of the time points; (0,) without axis T.
    box : tuple of slice
        What is read of each time point, one slice per axis of the image.
    note : str or None
        One sentence on what was left out; None if nothing was.
    """
    sizes = image.sizes
    count = sizes.get("T", 1)
    frame = math.prod(image.shape) // count
    kept = min(count, max(LEAST_TIMES, max_voxels // frame))
    times = tuple(int(t) for t in np.unique(np.rint(np.linspace(0, count - 1, kept))))
    cropped = [axis for axis in "ZYX" if axis in sizes and (axis != "Z" or sizes[axis] > THIN)]
    share = min(1.0, max_voxels / len(times) / frame)
    factor = share ** (1 / len(cropped))
    box = []
    for axis, n in zip(image.axes, image.shape, strict=True):
        extent = max(1, int(n * factor)) if axis in cropped and share < 1 else n
        box.append(slice((n - extent) // 2, (n - extent) // 2 + extent))
    parts = []
    if len(times) < count:
        parts.append(f"{len(times)} of {count} time points, evenly spread")
    if share < 1:
        extents = {a: s.stop - s.start for a, s in zip(image.axes, box, strict=True) if a in cropped}
        parts.append("the middle " + " x ".join(f"{n} of {sizes[a]} ({a})" for a, n in extents.items()))
    return times, tuple(box), f"analysed were {' and '.join(parts)}." if parts else None


def _ordered(block: Array, axes: str) -> Array:
    """A block of one time point as ``(channels, [Z,] Y, X)`` plus S last where there is one."""
    order = [axes.index(axis) for axis in "TCZYXS" if axis in axes]
    kept = "".join(axes[i] for i in order)
    block = block.transpose(order)
    if "T" in kept:
        block, kept = block[0], kept[1:]
    return block if "C" in kept else block[None]


def _channels(image: Image, a: Array, b: Array) -> tuple[tuple[str, ...], tuple[Array, Array]]:
    """Channel names, and both arrays as ``(channels, T, [Z,] Y, X)``; they come as ``(C, T, [Z,] Y, X [, S])``.

    Red, green and blue become one channel per C, other samples a channel each.
    """
    count = image.sizes.get("C", 1)
    names = image.channel_names if len(image.channel_names) == count else tuple(f"C{i}" for i in range(count))
    if "S" not in image.axes:
        return names, (a, b)
    if image.sizes["S"] not in (3, 4):
        first, second = (np.moveaxis(v, -1, 1).reshape(-1, *v.shape[1:-1]) for v in (a, b))
        return tuple(f"{name} S{s}" for name in names for s in range(image.sizes["S"])), (first, second)
    stained = is_bright_field(a)
    name = HAEMATOXYLIN if stained else LUMINANCE
    white = white_level(a)
    return (
        (name,) if count == 1 else tuple(f"{n} {name}" for n in names),
        (grey(a, stained, white), grey(b, stained, white)),
    )


def white_level(colour: Array) -> float:
    """Grey level of white, estimated as a percentile (`WHITE_PERCENTILE`); at least 1e-9, so that it can be divided by.

    ``colour`` has red, green and blue in its last axis (a fourth sample is ignored).
    """
    return max(1e-9, float(np.quantile(colour[..., :3].reshape(-1)[:: max(1, colour.size >> 20)], WHITE_PERCENTILE)))


def is_bright_field(colour: Array) -> bool:
    """Whether a colour image is of stained tissue on white: its median luminance is over `BRIGHT_FIELD` of white."""
    return float(np.median(grey(colour, stained=False, white=1.0))) > BRIGHT_FIELD * white_level(colour)


def grey(colour: Array, stained: bool, white: float) -> Array:
    """One channel from red, green and blue in the last axis (a fourth is ignored), as float32.

    Stained tissue gives the amount of haematoxylin, in which nuclei are bright (A. C. Ruifrok, D. A. Johnston,
    "Quantification of histochemical staining by color deconvolution", Analytical and Quantitative Cytology and Histology
    23 (2001)); anything else gives luminance (ITU-R BT.601). ``white`` is the grey level of white (`white_level`), needed for
    stained tissue only.
    """
    rgb = colour[..., :3]
    if not stained:
        return np.asarray(rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))
    from skimage.color import rgb2hed

    return np.asarray(rgb2hed(np.clip(rgb.astype(np.float32) / np.float32(white), 0, 1))[..., 0], np.float32)


def _refuse_invalid(name: str, values: Array) -> None:
    """Raise NotFiniteError where values are NaN or infinite."""
    nan, infinite = count_invalid(values)
    if nan or infinite:
        raise NotFiniteError(f"{name} holds {nan} NaN and {infinite} infinite values; replace them in both images before comparing "
                         f"({argument('nan_fill')} replaces those of the original).")


def _voxel_size(image: Image) -> tuple[float, ...] | None:
    """Steps along the spatial axes in array order Z, Y, X; None unless all are finite and positive."""
    steps = [image.voxel_size.get(axis) for axis in "ZYX" if axis in image.axes]
    known = tuple(float(s) for s in steps if s is not None and math.isfinite(s) and s > 0)
    return known if len(known) == len(steps) else None

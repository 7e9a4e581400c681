"""Image: an array with what it means: axes, voxel size, channel names, and where it came from."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from microfield import checks
from microfield.acquisition import NOTHING_SAID, Acquisition
from microfield.axes import guess_axes, in_words, said_sizes
from microfield.display import NOTHING_KNOWN, Display
from microfield.errors import InputError
from microfield.kinds import Converted, kept
from microfield.labelled import Labelled, Meaning, meaning
from microfield.wording import argument

AXES = "TCZYXS"
"""Time, channel, depth, height, width, colour samples: every axis microfield knows."""

SPATIAL = "ZYX"
CHANNELS = "CS"
"""Axes that hold separate intensities of the same place."""

SUPPORTED_DTYPES = ("uint8", "uint16", "int16", "float32", "uint32", "int32", "float64", "int8")


class ArrayLike(Protocol):
    """Anything with a shape, a dtype and indexing by slices as in NumPy: ndarray, memmap, zarr, dask."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of every axis."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the values."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True)
class Layout:
    """Shape, axes and dtype of an array or of one part of it.

    ``axes`` has one letter of ``TCZYXS`` per array axis, in array order; ``dtype`` is a native NumPy dtype.
    """

    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Number of array elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the raw array."""
        return self.size * self.dtype.itemsize

    @cached_property
    def channel_axes(self) -> tuple[int, ...]:
        """Array positions of the axes that hold separate intensities (C and S)."""
        return tuple(i for i, axis in enumerate(self.axes) if axis in CHANNELS)

    @cached_property
    def channels(self) -> int:
        """Number of separate intensities: the product of the C and S extents, 1 without them."""
        return math.prod(self.shape[i] for i in self.channel_axes)

    def with_shape(self, shape: tuple[int, ...]) -> Layout:
        """The same axes and dtype with another shape, for a part."""
        return Layout(shape, self.axes, self.dtype)


@dataclass(frozen=True, repr=False)
class Image:
    """An array with its meaning.

    Raises InputError where the axes, the dtype (one of `SUPPORTED_DTYPES`) or an empty axis forbid compression.

    Parameters
    ----------
    data : array-like, 2-D to 5-D
        Values; may be lazy (zarr, dask, memmap), and is read by `read`.
    axes : str
        One letter of ``TCZYXS`` per array axis, in array order.
    voxel_size : mapping, optional
        Axis letter to physical step, for any of ``TZYX``.
    units : mapping, optional
        Axis letter to unit in OME-Zarr spelling (``"micrometer"``, ``"second"``).
    channel_names : tuple of str, optional
        One name per element of axis C; one name where there is no such axis.
    source_bytes : int, optional
        Bytes of the file that the array came from, for a ratio beside that of the raw array.
    metadata : str, optional
        Vendor metadata (OME-XML) as text.
    labels : bool, optional
        True where the source says that the values are object labels (a hint: see `label_images`), False where somebody said
        that they are not, else None.
    name : str
        What messages call this image.
    notes : tuple of str
        Sentences on how the image was read that the user should see: what of its file is not in it, what was assumed.
    display : Display
        Colours, shown ranges, labels of planes and what grey levels mean.
    not_kept : tuple of str
        What the source holds and an Image has no place for, in words such as ``"regions of interest"``.
    axes_guessed : bool
        Whether ``axes`` were assumed because the source does not name them.
    acquisition : Acquisition
        When, where on the stage and with which objective it was taken.
    """

    data: ArrayLike
    axes: str
    voxel_size: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    source_bytes: int | None = None
    metadata: str | None = None
    labels: bool | None = None
    name: str = "array"
    notes: tuple[str, ...] = ()
    display: Display = NOTHING_KNOWN
    not_kept: tuple[str, ...] = ()
    axes_guessed: bool = False
    acquisition: Acquisition = NOTHING_SAID

    def __post_init__(self) -> None:
        if not all(hasattr(self.data, a) for a in ("shape", "dtype", "__getitem__")):
            raise checks.wrong("data", self.data, "an array; numpy.asarray makes one of a list")
        check_axes(self.axes, len(self.data.shape), self.name)
        checks.mapping("voxel_size", self.voxel_size, "{'Y': 0.1, 'X': 0.1}")
        checks.mapping("units", self.units, "{'X': 'micrometer'}")
        dtype = np.dtype(self.data.dtype)
        if dtype.name not in SUPPORTED_DTYPES:
            raise InputError(
                f"{self.name} holds {dtype.name} values, which microfield does not compress; "
                f"convert it to one of {', '.join(SUPPORTED_DTYPES)}."
            )
        _check_texts(self)
        if self.display.fitting(self.sizes) != self.display:
            raise InputError(
                f"{self.name} of axes {self.axes} and shape {self.shape} has {len(self.display.channels)} channels to be shown and "
                f"{len(self.display.plane_labels)} plane labels; give one for each, and a mode only for several channels."
            )
        if 0 in self.data.shape:
            raise InputError(f"{self.name} has shape {tuple(self.data.shape)}: an empty axis leaves nothing to compress.")

    def __repr__(self) -> str:
        return f"<Image {self.name}: {in_words(self.axes, self.shape)}, {self.dtype.name}, {self.nbytes:,} bytes>"

    def _repr_html_(self) -> str:
        """A small picture of the middle plane and what is known of the image, for notebooks."""
        from microfield.notebook.card import Shown, card
        from microfield.notebook.preview import look, preview

        where = look(self.sizes)
        shown = Shown(preview(np.asarray(self.data[where.key]), self.axes, self.display, where.where), "")
        facts = {
            "image": f"{in_words(self.axes, self.shape)}, {self.dtype.name}", "voxel size": said_sizes(self.voxel_size, self.units),
            "channels": ", ".join(self.channel_names), "size": f"{self.nbytes:,} bytes", "notes": " ".join(self.notes),
        }
        return card(self.name, facts, [shown])

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of every axis."""
        return tuple(int(n) for n in self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values that `read` returns, in native byte order."""
        native: np.dtype[Any] = np.dtype(self.data.dtype).newbyteorder("=")
        return native

    @cached_property
    def layout(self) -> Layout:
        """Shape, axes and dtype in one value."""
        return Layout(self.shape, self.axes, self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of the raw array, which a compression ratio counts from."""
        return self.layout.nbytes

    @property
    def sizes(self) -> dict[str, int]:
        """Axis letter to extent."""
        return dict(zip(self.axes, self.shape, strict=True))

    def read(self, box: tuple[slice, ...] | None = None) -> npt.NDArray[Any]:
        """Values of a box (one slice per axis; by default of all of the image) as an array in C order and native byte order."""
        key = box if box is not None else (slice(None),) * len(self.shape)
        values = np.asarray(self.data[key])
        return np.ascontiguousarray(values, dtype=self.dtype)


@dataclass(frozen=True)
class _Filled:
    """The values of an image with ``value`` in the place of NaN and infinity."""

    image: Image
    value: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.image.dtype

    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]:
        block = self.image.read(key)
        return np.where(np.isfinite(block), block, block.dtype.type(self.value))


def filled(image: Image, value: float | None) -> Image:
    """The image with ``value`` in the place of NaN and infinity; integers, and no value at all, leave it as it is."""
    if value is None or image.dtype.kind != "f":
        return image
    return replace(image, data=_Filled(image, value))


def check_axes(axes: str, ndim: int, name: str = "the array") -> None:
    """Refuse axes that microfield does not know; the message calls the array ``name`` and says what to do.

    Raises
    ------
    InputError
        A letter is unknown or repeated, Y or X is missing, the letters are not as many as the dimensions, or these are not 2 to 5.
    """
    checks.letters("axes", axes)
    unknown = sorted(set(axes) - set(AXES))
    if unknown:
        raise InputError(
            f"{name} has axes {axes!r}, of which microfield does not know {', '.join(unknown)}; "
            f"choose a position along them first, or rename them to letters of {AXES} with {argument('axes')}."
        )
    if len(axes) != ndim or len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes) or not 2 <= ndim <= 5:
        raise InputError(
            f"{name} has {ndim} dimensions and axes {axes!r}; "
            f"give {argument('axes')} with one different letter of {AXES} per dimension (2 to 5), Y and X among them."
        )


@runtime_checkable
class _Described(Protocol):
    """An array that says what an Image does, such as a MicrofieldFile."""

    shape: tuple[int, ...]
    dtype: Any
    axes: str
    voxel_size: Mapping[str, float]
    units: Mapping[str, str]
    channel_names: tuple[str, ...]
    display: Display
    acquisition: Acquisition
    name: str
    notes: tuple[str, ...]

    def __getitem__(self, key: Any, /) -> Any: ...


def _check_texts(image: Image) -> None:
    """Refuse names, units and metadata that are no texts, and steps that are no numbers: no file could hold them."""
    names = image.channel_names
    texts = [] if isinstance(names, str) else [name for name in names if not isinstance(name, str)]
    if isinstance(names, str) or texts:
        raise InputError(f"{image.name}: channel_names must be one text a channel, not {texts[0] if texts else names!r}; write "
                         "numbers as texts.")
    for axis, unit in image.units.items():
        if not isinstance(unit, str):
            raise InputError(f"{image.name}: the unit of axis {axis} must be a text such as 'micrometer', not {unit!r}.")
    for axis, step in image.voxel_size.items():
        if not isinstance(step, numbers.Real):
            raise InputError(f"{image.name}: the step along axis {axis} must be a number, not {step!r}.")
    if image.metadata is not None and not isinstance(image.metadata, str):
        raise InputError(f"{image.name}: metadata must be a text, not {type(image.metadata).__name__}.")


def as_image(source: Any, axes: str | None = None) -> Image:
    """An `Image` of anything array-like (dask and zarr arrays stay lazy).

    Parameters
    ----------
    source : Image, MicrofieldFile, xarray.DataArray, array or sequence
        An Image is returned as it is.
    axes : str, optional
        One letter of ``TCZYXS`` per dimension. By default what the dimensions of a DataArray are called, or those that `guess_axes`
        assumes. Steps, units and channel names come from the coordinates of a DataArray (see `microfield.labelled.meaning`).
        An array of booleans is a mask, whose values are 0 and 1 (uint8); half floats and 64-bit integers are kept as types that
        hold the same values (see `microfield.kinds`).

    Raises
    ------
    InputError
        microfield cannot compress such an array, or its axes are not named and cannot be assumed.
    """
    axes = checks.letters("axes", axes)
    if isinstance(source, Image):
        if axes is None:
            return source
        display = source.display.fitting(dict(zip(axes, source.shape, strict=False)))
        return replace(source, axes=axes, display=display, axes_guessed=False)
    if isinstance(source, _Described):
        return Image(source, axes or source.axes, source.voxel_size, source.units, source.channel_names, name=source.name,
                     notes=source.notes, display=source.display, acquisition=source.acquisition)
    if isinstance(source, np.ma.MaskedArray) and np.ma.is_masked(source):
        count = int(np.ma.getmaskarray(source).sum())
        raise InputError(f"the array has {count} masked values, which would be taken for grey levels; fill them first "
                         "(source.filled(0)), or compress source.data.")
    known = meaning(source, axes) if isinstance(source, Labelled) else Meaning(axes)
    data: Any = source.data if isinstance(source, Labelled) else source
    if not all(hasattr(data, a) for a in ("shape", "dtype", "__getitem__")):
        try:
            data = np.asarray(data)
        except ValueError:
            raise InputError("the source is a list of rows that differ in length; an image is an array.") from None
    is_mask, shape = np.dtype(data.dtype) == np.bool_, tuple(int(n) for n in data.shape)
    how = kept(data, known.name)
    if how.note:
        data = data.view(np.uint8) if is_mask and isinstance(data, np.ndarray) else Converted(data, how.dtype)
    return Image(data, known.axes or guess_axes(shape, data.dtype), known.voxel_size, known.units, known.channel_names,
                 labels=True if is_mask else None, name=known.name, notes=(*known.notes, *filter(None, [how.note])),
                 display=known.display, acquisition=known.acquisition, axes_guessed=known.axes is None and len(shape) > 2)

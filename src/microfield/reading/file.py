"""The open path: MicrofieldFile, a lazy array over a container."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microfield import checks
from microfield.acquisition import Acquisition
from microfield.axes import in_words, said_sizes
from microfield.display import Display
from microfield.errors import InputError, MicrofieldError, MissingExtraError
from microfield.format.container import Container
from microfield.format.making import Making
from microfield.format.source import FileSource, Source, open_source
from microfield.format.task_evidence import TaskEvidence
from microfield.image import SPATIAL, Layout
from microfield.labelled import DENOISED, of_a_copy
from microfield.progress import Progress
from microfield.reading.averages import as_values, block_means
from microfield.reading.coordinates import coordinates_and_attributes
from microfield.reading.levels import Level, lazily, steps_of_levels
from microfield.reading.limits import Limits
from microfield.reading.parts import Parts
from microfield.reading.selection import Selection, check_mask, check_points

if TYPE_CHECKING:
    from microfield.format.header import Header
    from microfield.methods.base import Cost
    from microfield.notebook.preview import Preview
    from microfield.reading.saving import Mask

LOSSLESS = "lossless"
"""The method whose files hold the very values."""

COMPANION_LIMIT = 16 << 20
"""Most bytes that are read of a file beside this one."""

AVERAGED = 64
"""An averaging preview decodes at most so many times what one read may return."""


def open_file(source: Any, *, max_read_bytes: int | None = None, cache_parts: int = 16,
              host: Layout | None = None, trusted: bool = False, storage_options: Mapping[str, Any] | None = None,
              ancestor: str | os.PathLike[str] | None = None) -> MicrofieldFile:
    """Open a microfield file for reading; nothing but its header and index is read yet.

    Parameters
    ----------
    source : path, bytes, binary file object, URL or Source
        Where the file is; a file object stays the caller's to close.
    max_read_bytes : int, optional
        Most bytes that one read may return, and most that it may take beside them: to decode a part, with the decoded parts that
        are kept. What would take more is refused before anything is decoded, with a sentence that names what it needs. By default
        4 GiB for the values, and the memory of this machine to decode a part.
    cache_parts : int
        How many decoders of parts are kept between reads.
    host : Layout, optional
        Shape, axes and dtype of a file in the embedded profile, which leaves them out.
    trusted : bool
        You know who made the file. Decoders that do not withstand streams made to harm them (those of sperr, sz3, zfp, htj2k and
        jpegxr) then run in this process, which is faster; by default they run in one of their own, with limits.
    storage_options : mapping, optional
        For a URL: what fsspec's file system takes, such as ``{"anon": True}`` for a public bucket of s3.
    ancestor : path, optional
        The file ``ancestor-*.npz`` whose network this one builds on (method `sincs`), or the folder that holds it; by default it is
        looked for beside the file.

    Raises
    ------
    FormatError
        The bytes are not a readable microfield file.
    MissingExtraError
        The source or the method needs an optional part that is not installed.
    """
    if max_read_bytes is not None:
        max_read_bytes = int(checks.number("max_read_bytes", max_read_bytes, least=0))
    cache_parts = checks.number("cache_parts", cache_parts, whole=True, least=0)
    if host is not None and not isinstance(host, Layout):
        raise checks.wrong("host", host, "a microfield.Layout")
    options = {"max_read_bytes": max_read_bytes, "cache_parts": cache_parts, "host": host, "trusted": trusted,
               "ancestor": None if ancestor is None else os.fspath(checks.path("ancestor", ancestor))}
    if storage_options is not None:
        checks.mapping("storage_options", storage_options, "{'anon': True}")
    opened = open_source(source, storage_options)
    return MicrofieldFile(Container.open(opened, host), opened, options)


class MicrofieldFile:
    """A lazy array over a microfield file; made by `open_file`.

    ``file[key]`` takes integers, slices of any step, ``...`` and one boolean mask of the full shape, and decodes only
    what is asked. Reads from several threads are safe. A pickle holds the path or URL and the options
    (the compressed bytes where the file came from memory), not the values.
    """

    def __init__(self, container: Container, source: Source, options: dict[str, Any]) -> None:
        self._container = container
        self._source = source
        self._options = options
        self.name = os.path.basename(source.name) or source.name
        self.layout: Layout = container.header.layout
        self._limits = Limits.of(options["max_read_bytes"])
        self._parts = Parts(container, options["cache_parts"], self.name, self._limits.working,
                            options["trusted"], self._beside)

    @property
    def path(self) -> str | None:
        """Path of the file, where it is a local one."""
        return self._source.name if isinstance(self._source, FileSource) else None

    @property
    def header(self) -> Header:
        """Everything the file says about itself."""
        return self._container.header

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of every axis."""
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return self.layout.dtype

    @property
    def axes(self) -> str:
        """One letter of ``TCZYXS`` per axis."""
        return self.layout.axes

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of array elements."""
        return self.layout.size

    @property
    def sizes(self) -> dict[str, int]:
        """Axis letter to extent."""
        return dict(zip(self.axes, self.shape, strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes of the raw array."""
        return self.layout.nbytes

    @property
    def file_bytes(self) -> int:
        """Bytes of the whole file."""
        return self._container.nbytes

    @property
    def ratio(self) -> float:
        """Compression ratio: bytes of the raw array / bytes of the whole file."""
        return self.nbytes / self.file_bytes

    @property
    def method(self) -> str:
        """Name of the method the file was written with."""
        return self.header.method

    @property
    def voxel_size(self) -> dict[str, float]:
        """Axis letter to physical step, where known."""
        return dict(self.header.voxel_size)

    @property
    def units(self) -> dict[str, str]:
        """Axis letter to unit of `voxel_size`, where known."""
        return dict(self.header.units)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """One name per element of C (one where there is no C), or nothing."""
        return tuple(self.header.channel_names)

    @property
    def display(self) -> Display:
        """Colours and shown ranges of the channels, labels of planes, what grey levels mean: as far as the file says it."""
        return self.header.display

    @property
    def acquisition(self) -> Acquisition:
        """When, where on the stage and with which objective the image was taken: as far as the file says it."""
        return self.header.acquisition

    @property
    def evidence(self) -> TaskEvidence | None:
        """Which analysis the file was made safe for, and what was measured in it; None where it says nothing of that."""
        return self.header.evidence

    @property
    def making(self) -> Making | None:
        """How the file was made: PSNR as measured when it was written, what was asked for, settings; None where it does not say."""
        return self.header.making

    @property
    def companions(self) -> tuple[str, ...]:
        """Names of the files beside this one without which it cannot be decoded."""
        return self._parts.companions

    @property
    def format_version(self) -> int:
        """Version of the file format (docs/format.md)."""
        return self._container.version

    @property
    def identity(self) -> tuple[int, bytes]:
        """What tells this file from one that took its place: its size, and the checksums of its front and at its end."""
        return self._container.identity

    @property
    def exact(self) -> bool:
        """Whether the values are those of the image that the file was made from, as far as the file says."""
        if self.making is None or self.making.psnr is None:
            return self.method == LOSSLESS
        return math.isinf(self.making.psnr) and "nan_fill" not in self.making.settings

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know where the values are taken for an original: that they are a lossy copy of one."""
        return () if self.exact else (of_a_copy(self.name, self.method), *([DENOISED] if self.denoised else []))

    @property
    def denoised(self) -> bool:
        """Whether a perceptual guidance drew the values towards a clean reference, as far as the file says."""
        return self.making is not None and self.making.settings.get("guide") == "perceptual"

    @property
    def metadata(self) -> str | None:
        """Vendor metadata (OME-XML) where the file keeps it."""
        return self.header.metadata

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return (f"<MicrofieldFile {self.name}: {self.axes} {self.shape} {self.dtype.name}, method {self.method}, "
                f"{self.file_bytes:,} bytes, {self.ratio:.1f}x>")

    def _repr_html_(self) -> str:
        """A small picture and what the file says of itself, for notebooks."""
        from microfield.notebook.card import Shown, card

        shown, missing = None, "too large for a quick look"
        try:
            shown = self.glance()
        except (MicrofieldError, OSError) as error:
            missing = str(error)
        facts = {
            "image": f"{in_words(self.axes, self.shape)}, {self.dtype.name}", "voxel size": said_sizes(self.voxel_size, self.units),
            "channels": ", ".join(self.channel_names), "method": self.method,
            "size": f"{self.file_bytes:,} bytes, {self.ratio:.1f} times smaller than the array",
            "quality": "" if self.making is None else self.making.quality,
            "picture": "" if shown else missing,
        }
        return card(self.name, facts, [Shown(shown, "")] if shown else [])

    def __enter__(self) -> MicrofieldFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def limited(self, max_read_bytes: int) -> MicrofieldFile:
        """The same file with another limit of what one read may take (see `open_file`), and decoders of its own."""
        limit = int(checks.number("max_read_bytes", max_read_bytes, least=0))
        return MicrofieldFile(self._container, self._source, self._options | {"max_read_bytes": limit})

    def close(self) -> None:
        """Drop the cached decoders and the memory they hold; a later read opens what it needs again."""
        self._parts.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._source, self._options, self._container.identity)

    def __getitem__(self, key: Any) -> Any:
        selection = Selection.from_index(key, self.shape)
        if selection.mask is not None:
            return self._masked(selection.mask)
        self._check_bytes(selection.size * self.dtype.itemsize)
        return selection.squeeze(self._parts.read(selection.box))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError(f"{self.name} is decoded when read, so there is no array to share; drop copy=False.")
        return self.asarray().astype(dtype or self.dtype, copy=False)

    def at(self, points: npt.ArrayLike) -> npt.NDArray[Any]:
        """Values at integer ``points`` of shape (n, ndim), as an array of shape (n,).

        Raises
        ------
        TypeError
            The points are not integers.
        InputError
            The points have another shape, or the values need more than ``max_read_bytes``.
        IndexError
            A point is negative or out of bounds.
        """
        checked = check_points(points, self.shape)
        self._check_bytes(len(checked) * self.dtype.itemsize)
        return self._parts.at(checked)

    def asarray(self, mask: npt.ArrayLike | None = None, fill: float = 0) -> npt.NDArray[Any]:
        """The whole array, or with ``mask`` only its voxels where the mask is true, all others being ``fill``.

        Raises
        ------
        InputError
            The array needs more than ``max_read_bytes``, or ``fill`` is no value of its dtype.
        TypeError, IndexError
            The mask is not boolean or not of the file's shape.
        """
        if mask is None:
            values: npt.NDArray[Any] = self[...]
            return values
        checked = check_mask(mask, self.shape)
        fill = checks.number("fill", fill)
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            if not (limits.min <= fill <= limits.max and fill == int(fill)):
                raise InputError(f"fill={fill} is no {self.dtype.name} value; "
                                 f"give an integer from {limits.min} to {limits.max}.")
        self._check_bytes(self.nbytes)
        out = np.full(self.shape, fill, self.dtype)
        for index, values in self._parts.where(checked):
            out[index] = values
        return out

    def preview(self, n: int, average: bool = False) -> npt.NDArray[Any]:
        """The image n times smaller along Z, Y and X; all other axes are kept.

        Parameters
        ----------
        n : int
            Every n-th voxel is taken: ``preview(4)`` of axes CYX equals ``file[:, ::4, ::4]``.
        average : bool
            Instead of one voxel, the mean of the n voxels along every spatial axis (of those that exist at the far
            edges). Integer images are rounded to the nearest integer, halves to the even one. All voxels are decoded,
            slab by slab, so that memory holds little more than the result, but for methods that have coarse levels:
            `field` averages what its coarse levels alone make of the image, without the refinement. That is close (the
            tests hold it within 1 % of the range, root mean square), not equal.
        """
        n = checks.number("n", n, whole=True, least=1)
        steps = tuple(n if axis in SPATIAL else 1 for axis in self.axes)
        if not average or n == 1:
            return np.asarray(self[tuple(slice(None, None, step) for step in steps)])
        shape = tuple(-(-extent // step) for extent, step in zip(self.shape, steps, strict=True))
        self._check_bytes(math.prod(shape) * (16 + self.dtype.itemsize))  # Sums and counts are 8 bytes each.
        if self.nbytes > AVERAGED * self._limits.result:
            raise InputError(f"averaging decodes all of {self.name}, {self.nbytes:,} bytes, more than {AVERAGED} times the "
                             f"{self._limits.result:,} allowed for a read; take every {n}th voxel instead, or open the file with "
                             f"max_read_bytes={-(-self.nbytes // AVERAGED)}.")
        means = block_means(self._parts, steps, tuple(map(range, shape)), self._parts.averaged)
        return as_values(means, self.dtype)

    def levels(self) -> tuple[Level, ...]:
        """Resolutions for viewers: all of the image first, then half as many rows and columns every time, as lazy arrays.

        The last one has planes of at most 512 voxels a side; a smaller image has one resolution only. Z is halved, too, as far as
        that makes voxels more like cubes. They are no part of the file: what that takes to decode is said at
        `microfield.reading.levels.Level`.
        """
        return tuple(Level(self, self._parts, self._limits, steps) for steps in steps_of_levels(self.sizes, self.voxel_size))

    def save(self, path: str | os.PathLike[str], *, select: Any = None, mask: Mask | None = None,
             overwrite: bool = False, progress: bool | Progress | None = None) -> None:
        """Write the image, or part of it, in a format that other programs open, with its voxel sizes and names.

        The image is decoded and written piece by piece, so memory holds little of it. Either the whole new file appears, or what
        was there before stays.

        Parameters
        ----------
        path : path
            ``.tif`` or ``.tiff`` (OME-TIFF, but for names in ``.imagej.tif``: a hyperstack for ImageJ and Fiji), ``.zarr``
            (OME-Zarr 0.5, needs ``microfield[zarr]``) or ``.npy``.
        select : str, int, slice or tuple of these, optional
            What to write: text as on the command line, such as ``"t=0,z=10:20,y=::4,x=::4"``, or what stands between the square
            brackets of ``file[...]``. An axis with a single number is left out, but for Y, X and S.
        mask : boolean array of the file's shape, or path of an image, optional
            Only what is true is decoded; the rest is 0. Not together with ``select``.
        overwrite : bool
            Replace a file, or a Zarr store, that exists. This file itself is never replaced.
        progress : bool or callable (fraction, message), optional
            True shows a line on standard error.

        Raises
        ------
        UsageError
            The suffix of the path or the selection cannot be used.
        InputError
            The path exists or cannot be written, or a read needs more than ``max_read_bytes``.
        MissingExtraError
            The format needs an optional part of microfield.
        """
        from microfield.reading.saving import save

        save(self, path, select, mask, overwrite, progress)

    def glance(self) -> Preview | None:
        """A small picture of the middle plane, as notebooks show it; None where that takes more than a second or so to decode."""
        from microfield.reading.glance import glance

        return glance(self, self._parts)

    def cost(self, key: Any) -> Cost:
        """What reading ``file[key]`` must touch; for a mask an upper bound."""
        selection = Selection.from_index(key, self.shape)
        if selection.mask is not None:
            self._check_bytes(selection.mask.size)
            return self._parts.cost_where(selection.mask)
        return self._parts.cost(selection.box)

    def to_dask(self, chunks: Any = None) -> Any:
        """A lazy dask array.

        Parameters
        ----------
        chunks : optional
            As dask takes it. By default a YX plane (with its colour samples) is a chunk and, where the image is cut into several
            parts, one part or a few of them: none is decoded for two chunks, whatever the order and on how many machines.

        Raises
        ------
        InputError
            There are more than a million chunks.
        MissingExtraError
            Dask is not installed.
        """
        return lazily(self, self.name, chunks, self.header.tile)

    def to_xarray(self) -> Any:
        """A lazy `xarray.DataArray`: dimensions are the axes, coordinates physical positions and channel names.

        A coordinate's unit is its attribute ``units``, and ``step`` the step of an axis of one position. Colours and display ranges
        of channels and labels of planes are coordinates, too (`microfield.display_coordinates`). The array's attributes hold the
        method, the ratio and what grey levels mean. `microfield.compress` reads all that back.
        """
        try:
            import xarray
        except ImportError:
            raise MissingExtraError("an xarray.DataArray", "xarray") from None
        coordinates, attributes = self.coordinates()
        return xarray.DataArray(self.to_dask(), coordinates, tuple(self.axes), name=self.name, attrs=attributes)

    def coordinates(self) -> tuple[dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]], dict[str, Any]]:
        """What `to_xarray` says beside the values: name to dimensions, values and attributes of every coordinate; attributes.

        Raises
        ------
        InputError
            The positions need more than ``max_read_bytes``.
        """
        self._check_bytes(8 * sum(extent for axis, extent in self.sizes.items() if axis in self.voxel_size))
        return coordinates_and_attributes(self)

    def _beside(self, name: str) -> bytes | None:
        """Content of a file that this one needs, from where the user says that it is, or beside this one."""
        given = self._options["ancestor"]
        if given is not None:
            given = os.path.join(given, name) if os.path.isdir(given) else given
        source = self._source.beside(name) if given is None else open_source(given)
        return None if source is None else source.head(COMPANION_LIMIT)

    def _masked(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """Voxels where ``mask`` is true, in C order; their flat indices are needed to put the parts in order."""
        self._check_bytes(mask.size)  # What a mask is made of; one that is broadcast may claim any size.
        self._check_bytes(int(np.count_nonzero(mask)) * (self.dtype.itemsize + 8))
        wanted = np.flatnonzero(mask)
        out = np.empty(len(wanted), self.dtype)
        for index, values in self._parts.where(mask):
            out[np.searchsorted(wanted, np.ravel_multi_index(index, self.shape))] = values
        return out

    def _check_bytes(self, needed: int) -> None:
        self._limits.check(needed, self.name)


def _reopen(source: Source, options: dict[str, Any], identity: tuple[int, bytes]) -> MicrofieldFile:
    """The file of a pickle.

    Raises
    ------
    InputError
        Another file has its place by now.
    """
    found = open_file(source, **options)
    if found.identity != identity:
        raise InputError(f"{found.name} is not the file any more that was pickled: another one has taken its place; open it again.")
    return found

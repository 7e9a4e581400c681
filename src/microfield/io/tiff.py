"""Reading TIFF in the dialects that microscopes write: OME-TIFF, ImageJ, LSM, STK and plain, all by tifffile.

Axes are those that the file states. A bare sequence of pages, which states none, is taken for depth, since it is most often a
z-stack; ``--axes TYX`` says otherwise. tifffile leaves out axes of extent 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from microfield.errors import InputError, MissingExtraError
from microfield.io.found import Found, choose_scene, left_out, scene_name
from microfield.io.lazy import Key, MappedArray, expand_key
from microfield.io.meaning import Meaning
from microfield.io.tiff_metadata import read_meaning

CACHE_BYTES = 1 << 28
"""Decoded pages kept between reads of a compressed file, so that reading it in tiles decodes each page once."""

BIG_PAGE_BYTES = 1 << 27
"""Pages above this (whole slides) are decoded strip by strip or tile by tile, not as a whole."""

DAMAGE = (tifffile.TiffFileError, struct.error, zlib.error, ValueError, IndexError, KeyError, TypeError,
          RuntimeError, EOFError, ImportError, OSError, AttributeError, MemoryError)  # fmt: skip
"""Exceptions that parsing or decoding a damaged TIFF raises."""


def read(path: Path, scene: int | str | None = None) -> Found:
    """A series of a TIFF file as it stands there; its values are read when they are asked for.

    Parameters
    ----------
    path : Path
        The file; of a multi-file OME-TIFF, any of its files.
    scene : int or str, optional
        Series by index or name; the first by default.

    Raises
    ------
    InputError
        The file is no TIFF, or damaged.
    UsageError
        There is no such scene.
    MissingExtraError
        Its compression needs imagecodecs.
    """
    with _as_input_error(path.name), tifffile.TiffFile(path) as tif:
        _refuse_cut_off(tif, path.name)
        series_list = _series(tif, path.name)
        names = _names(series_list)
        index = choose_scene(scene, names, path.name)
        series = series_list[index]
        meaning = _meaning(tif, series, index, len(series_list))
        source_bytes = path.stat().st_size
        if series.is_multifile:
            parts = {p.parent.filehandle.path for p in series.pages if p is not None}
            source_bytes = sum(Path(p).stat().st_size for p in parts)
        data = _array(path, series, index)
        return Found(
            data, series.axes, scene_name(path.name, index, names), meaning.voxel_size, meaning.units,
            meaning.channel_names, source_bytes, meaning.metadata, display=meaning.display, not_kept=meaning.not_kept,
            doubt=meaning.doubt, acquisition=meaning.acquisition, notes=left_out(scene, index, names, "series"),
        )  # fmt: skip


def scenes(path: Path) -> list[str]:
    """Names of the series of a TIFF file.

    Raises
    ------
    InputError
        The file is no TIFF, or damaged.
    """
    with _as_input_error(path.name), tifffile.TiffFile(path) as tif:
        return _names(_series(tif, path.name))


def _series(tif: tifffile.TiffFile, name: str) -> list[tifffile.TiffPageSeries]:
    """The series that are images: an LSM file has thumbnails as further ones."""
    found = tif.series[:1] if tif.is_lsm else tif.series
    if not found:
        raise InputError(f"{name} holds no image.")
    return list(found)


def _names(series: list[tifffile.TiffPageSeries]) -> list[str]:
    return [s.name or f"series {i}" for i, s in enumerate(series)]


def _meaning(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, index: int, count: int) -> Meaning:
    """What the file says beside the values; where that is damaged, the values are read all the same, and it is said."""
    try:
        return read_meaning(tif, series, index, count)
    except DAMAGE:
        return Meaning(not_kept=("sizes, names and colours, which cannot be understood,",))


def _refuse_cut_off(tif: tifffile.TiffFile, name: str) -> None:
    """Refuse a file whose chain of pages does not end with 0, of which tifffile would give the pages before the break only."""
    if tif.is_ndpi or len(tif.pages) == 0 or tif.pages.next_page_offset is None:
        return
    layout = tif.tiff
    tif.filehandle.seek(tif.pages.next_page_offset)
    following = tif.filehandle.read(layout.offsetsize)
    if len(following) < layout.offsetsize or struct.unpack(layout.offsetformat, following)[0] != 0:
        raise InputError(f"{name} is cut off or damaged: page {len(tif.pages)} is missing; copy it again.")


def _array(path: Path, series: tifffile.TiffPageSeries, index: int) -> MappedArray | PagedArray:
    """The series: mapped from the file where it lies there uncompressed and in one piece, else read page by page."""
    offset = series.dataoffset
    plain = series.keyframe.is_memmappable and not series.is_multifile
    if offset is not None and plain and series.dtype is not None:
        stored = np.dtype(series.dtype).newbyteorder(series.keyframe.parent.byteorder)
        mapped = MappedArray(path.absolute(), tuple(series.shape), stored, offset)
        mapped.check()
        return mapped
    if series.dtype is None:
        raise InputError(f"{path.name} has pixels of a kind that cannot be read ({series.keyframe.bitspersample} bits).")
    return PagedArray(path.absolute(), index, tuple(series.shape), np.dtype(series.dtype))


class PagedArray:
    """One series of a TIFF, decoded page by page as it is indexed; pickles as its path.

    Parameters
    ----------
    path : Path
        The file.
    series : int
        Index of the series.
    shape : tuple of int
        Extent of every axis.
    dtype : dtype
        Native-endian type of the values.
    """

    def __init__(self, path: Path, series: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.series, self.shape, self.dtype = path, series, shape, dtype
        self._lock = RLock()
        self._tif: tifffile.TiffFile | None = None
        self._cache: OrderedDict[int, npt.NDArray[Any]] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return PagedArray, (self.path, self.series, self.shape, self.dtype)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Values of the part asked for; other pages are not touched."""
        full = expand_key(key, len(self.shape))
        with self._lock, _as_input_error(self.path.name), self._open() as tif:
            series = tif.series[self.series]
            page_shape = tuple(n for n in series.keyframe.shape if n > 1 or len(series.keyframe.shape) <= 2)
            lead = _leading_axes(self.shape, page_shape, len(series.pages))
            if lead is None:
                return self._whole(series)[full]
            pages = np.arange(len(series.pages)).reshape(self.shape[:lead])[full[:lead]]
            planes = [self._page(series, int(i), page_shape, full[lead:]) for i in np.asarray(pages).flat]
            if not planes:
                return np.empty(self.shape, self.dtype)[full]
            return np.stack(planes).reshape(np.shape(pages) + planes[0].shape)

    @contextmanager
    def _open(self) -> Iterator[tifffile.TiffFile]:
        """The parsed file, open within the with block; what was parsed is kept, the file handle is closed."""
        if self._tif is None:
            tif = tifffile.TiffFile(self.path)
            _ = tif.series
            self._tif = tif
        else:
            self._tif.filehandle.open()
        try:
            yield self._tif
        finally:
            self._tif.filehandle.close()

    def _page(self, series: tifffile.TiffPageSeries, index: int, shape: tuple[int, ...], key: Key) -> npt.NDArray[Any]:
        """Part of one page; a page that the file leaves out is 0."""
        page = series.pages[index]
        if page is None:
            return np.zeros(shape, self.dtype)[key]
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index][key]
        with _opened(page.parent.filehandle) as handle:
            ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
            if ends and max(ends) > handle.size:
                raise InputError(f"{self.path.name} is cut off: it has {handle.size} of {max(ends)} bytes; copy it again.")
            if page.nbytes > BIG_PAGE_BYTES and page.axes in ("YX", "YXS", "SYX") and page.shape == shape:
                return _decode_box(page, key).astype(self.dtype, copy=False)
            values = np.asarray(page.asarray()).reshape(shape).astype(self.dtype, copy=False)
        self._remember(index, values)
        return values[key]

    def _remember(self, index: int, values: npt.NDArray[Any]) -> None:
        """Keep a decoded page, and drop those unused for longest where all together exceed `CACHE_BYTES`."""
        self._cache[index] = values
        while len(self._cache) > 1 and sum(v.nbytes for v in self._cache.values()) > CACHE_BYTES:
            self._cache.popitem(last=False)

    def _whole(self, series: tifffile.TiffPageSeries) -> npt.NDArray[Any]:
        """All values, for the rare series whose pages are not its last axes; they are kept."""
        if -1 not in self._cache:
            self._cache[-1] = np.asarray(series.asarray()).reshape(self.shape).astype(self.dtype, copy=False)
        return self._cache[-1]


def _leading_axes(shape: tuple[int, ...], page: tuple[int, ...], pages: int) -> int | None:
    """Number of leading axes along which the pages follow each other in C order; None where pages are not the last axes."""
    lead = len(shape) - len(page)
    fits = lead >= 0 and shape[lead:] == page and math.prod(shape[:lead]) == pages
    return lead if fits else None


def _decode_box(page: tifffile.TiffPage | tifffile.TiffFrame, key: Key) -> npt.NDArray[Any]:
    """Part of a large page, decoding only the strips or tiles that it meets."""
    frame: Any = page.keyframe
    bounds = [_bounds(entry, n) for entry, n in zip(key, page.shape, strict=True)]
    out = np.zeros([stop - start for start, stop in bounds], frame.dtype)
    handle = page.parent.filehandle
    tables = frame.jpegtables
    chunks = (1,) * (len(frame.chunked) - len(frame.chunks)) + tuple(frame.chunks)  # Separate planes: one sample each.
    for index in range(math.prod(frame.chunked)):
        grid = np.unravel_index(index, frame.chunked)
        corner = [int(g) * c for g, c in zip(grid, chunks, strict=True)]
        span = [(max(o, a), min(o + c, b)) for o, c, (a, b) in zip(corner, chunks, bounds, strict=True)]
        if any(a >= b for a, b in span) or page.databytecounts[index] == 0:
            continue
        handle.seek(page.dataoffsets[index])
        decoded = frame.decode(handle.read(page.databytecounts[index]), index, jpegtables=tables)[0]
        if decoded is None:
            continue
        chunk = np.asarray(decoded).reshape([n for n, axis in zip(decoded.shape, "DYXS", strict=True)
                                             if axis in page.axes.lstrip("S")])  # fmt: skip
        chunk = chunk[None] if page.axes == "SYX" else chunk
        span = [(a, min(b, o + n)) for (a, b), o, n in zip(span, corner, chunk.shape, strict=True)]
        inside = tuple(slice(a - o, b - o) for (a, b), o in zip(span, corner, strict=True))
        place = tuple(slice(a - s, b - s) for (a, b), (s, _) in zip(span, bounds, strict=True))
        out[place] = chunk[inside]
    return out[tuple(_within(entry, n, start) for entry, n, (start, _) in zip(key, page.shape, bounds, strict=True))]


def _bounds(entry: int | slice, size: int) -> tuple[int, int]:
    """First and one past the last position that an index touches."""
    taken = range(size)[entry]
    if isinstance(taken, int):
        return taken, taken + 1
    return (min(taken[0], taken[-1]), max(taken[0], taken[-1]) + 1) if len(taken) else (0, 0)


def _within(entry: int | slice, size: int, start: int) -> int | slice:
    """The same index counted from ``start``."""
    taken = range(size)[entry]
    if isinstance(taken, int):
        return taken - start
    stop = taken.stop - start
    return slice(taken.start - start, stop if stop >= 0 else None, taken.step) if len(taken) else slice(0, 0)


@contextmanager
def _opened(handle: tifffile.FileHandle) -> Iterator[tifffile.FileHandle]:
    """A file handle, open within the with block: the files of a multi-file series are closed until they are needed."""
    was_closed = handle.closed
    if was_closed:
        handle.open()
    try:
        yield handle
    finally:
        if was_closed:
            handle.close()


@contextmanager
def _as_input_error(name: str) -> Iterator[None]:
    """Turn what tifffile raises within the with block into one sentence."""
    try:
        yield
    except (InputError, MissingExtraError):
        raise
    except DAMAGE as error:
        if "imagecodecs" in str(error) or isinstance(error, ImportError):
            raise MissingExtraError("Reading this compressed TIFF", "codecs") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"{name} cannot be read as TIFF ({reason}); it may be damaged or cut off.") from error

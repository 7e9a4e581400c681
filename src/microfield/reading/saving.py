"""All of a microfield file, a selection or a mask of it, written as a normal image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from microfield import checks
from microfield.acquisition import Acquisition
from microfield.display import Display
from microfield.errors import InputError, MicrofieldError, UsageError
from microfield.format.grid import Box, as_slice
from microfield.image import Layout
from microfield.progress import Progress, shown
from microfield.reading.selection import Selection
from microfield.wording import argument

if TYPE_CHECKING:
    from microfield.reading.file import MicrofieldFile

Mask: TypeAlias = npt.ArrayLike | str | os.PathLike[str]
"""A boolean array, or the path of an image whose voxels are marked where they are not 0."""


def selected(f: MicrofieldFile, select: Any) -> Selection:
    """What a user selects of a file: text as on the command line (``"t=0,y=::4"``), or what stands between square brackets.

    Raises
    ------
    UsageError
        The selection makes no sense for this file, or holds no voxel.
    IndexError, TypeError
        It is not text, and NumPy would not take it either.
    """
    if select is None:
        return Selection.from_index((), f.shape)
    selection = Selection.parse(select, f.axes, f.shape) if isinstance(select, str) else Selection.from_index(select, f.shape)
    if selection.mask is not None:
        raise UsageError(f"a selection takes numbers and slices; give a mask with {argument('mask')}.")
    if any(len(r) == 0 for r in selection.box):
        raise UsageError(f"the selection {select!r} holds no voxel of an image of shape {f.shape} ({f.axes}).")
    return selection


def _marked(f: MicrofieldFile, mask: Mask) -> npt.ArrayLike:
    """What a mask marks, which may be in an image file; such a file may lack axes of the image."""
    if not isinstance(mask, (str, os.PathLike)):
        return mask
    from microfield.io.masks import Covered, read_mask

    return read_mask(mask, Covered(f.name, f.axes, f.shape))


@dataclass(frozen=True)
class Excerpt:
    """A selection of a file as an image of its own.

    Attributes
    ----------
    file : MicrofieldFile
    box : tuple of range
        The selected positions of every axis of the file.
    axes : str
        The axes of the excerpt: Y, X and S always, others unless the selection names a single position.
    """

    file: MicrofieldFile
    box: Box
    axes: str

    @classmethod
    def of(cls, f: MicrofieldFile, selection: Selection) -> Excerpt:
        """What a selection without mask takes of a file."""
        kept = [a for i, a in enumerate(f.axes) if a in "YXS" or i not in selection.squeezed]
        return cls(f, selection.box, "".join(kept))

    @property
    def layout(self) -> Layout:
        """Shape, axes and dtype of the excerpt."""
        return Layout(tuple(len(self.positions(a)) for a in self.axes), self.axes, self.file.dtype)

    def positions(self, axis: str) -> range:
        """The selected positions along an axis of the file."""
        return self.box[self.file.axes.index(axis)]

    @property
    def voxel_size(self) -> dict[str, float]:
        """Axis letter to physical step; where only every n-th voxel is taken, n times that of the file."""
        return {a: v * abs(self.positions(a).step) for a, v in self.file.voxel_size.items() if a in self.axes}

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels that are selected; one where a single channel is taken."""
        names = self.file.channel_names
        return tuple(names[i] for i in self.positions("C")) if names and "C" in self.file.axes else names

    @property
    def display(self) -> Display:
        """How what is selected is meant to be seen."""
        return self.file.display.cut(self.file.sizes, {a: self.positions(a) for a in self.file.axes})

    @property
    def acquisition(self) -> Acquisition:
        """How it was taken, its position moved to the first voxel that is selected."""
        f = self.file
        steps = {a: v for a, v in f.voxel_size.items() if f.units.get(a) == "micrometer"}
        return f.acquisition.shifted({a: min(self.positions(a)[0], self.positions(a)[-1]) * v for a, v in steps.items()})

    def __getitem__(self, where: tuple[slice, ...]) -> npt.NDArray[np.generic]:
        """The values of a box of the excerpt, whose slices count in selected positions of the axes that stay."""
        taken = dict(zip(self.axes, where, strict=True))
        key = []
        for axis, r in zip(self.file.axes, self.box, strict=True):
            part = r[taken[axis]] if axis in taken else r
            end = part.stop if part.stop >= 0 else None
            key.append(slice(part.start, end, part.step))
        dropped = tuple(i for i, axis in enumerate(self.file.axes) if axis not in self.axes)
        block: npt.NDArray[np.generic] = self.file[tuple(key)].squeeze(dropped)
        return block


@dataclass(frozen=True)
class Saved:
    """What was written: its layout, in words what the file says that is not in it, and what became of the selection."""

    layout: Layout
    lost: tuple[str, ...]
    notes: tuple[str, ...] = ()


def save(f: MicrofieldFile, path: str | os.PathLike[str], select: Any = None, mask: Mask | None = None,
         overwrite: bool = False, progress: bool | Progress | None = None) -> Saved:
    """Write a file, or part of it, as a normal image (see `MicrofieldFile.save`)."""
    from microfield.io import check_output, save_image

    checks.path("path", path)
    checks.listener("progress", progress)
    checks.switch("overwrite", overwrite)
    if select is not None and mask is not None:
        raise UsageError(f"give {argument('select')} or {argument('mask')}, not both.")
    chosen = selected(f, select)
    excerpt = Excerpt.of(f, chosen)
    sources = [source for source in (f.path, mask) if isinstance(source, (str, os.PathLike))]
    check_output(path, excerpt.layout, overwrite=overwrite, sources=sources)
    if overwrite:
        _check_not_original(f, Path(path))
    values = excerpt if mask is None else f.asarray(mask=_marked(f, mask))
    with shown(progress, Path(path).name) as tell:
        lost = save_image(
            path, excerpt.layout, lambda box: values[box], voxel_size=excerpt.voxel_size,
            units={a: u for a, u in f.units.items() if a in excerpt.axes}, channel_names=excerpt.channel_names,
            metadata=f.metadata if select is None else None, display=excerpt.display,
            acquisition=excerpt.acquisition,
            overwrite=overwrite, progress=None if tell is None else lambda done: tell(done, "decode"),
        )
    if f.metadata and select is not None:
        lost = (*lost, "metadata of the source, which describe all of the image")
    return Saved(excerpt.layout, lost, chosen.notes)


def _check_not_original(f: MicrofieldFile, path: Path) -> None:
    """Refuse to replace the very image that a lossy file was made from, which its checksum tells.

    Raises
    ------
    InputError
        The path holds that image.
    """
    from microfield.io import open_image
    from microfield.reading.original import original_checksum

    if not path.exists() or f.exact or not f.header.checksum:
        return
    try:
        there = open_image(path)
        same = there.layout.nbytes == f.layout.nbytes and original_checksum(there) == f.header.checksum
    except MicrofieldError:
        return  # What cannot be read as an image is not the original.
    if same:
        raise InputError(f"{path} is the original that {f.name} was made from, and is not replaced by its lossy copy; choose "
                         "another name.")


@overload
def decompress(source: Any, destination: None = None, *, select: Any = ..., mask: Mask | None = ..., overwrite: bool = ...,
               progress: bool | Progress | None = ..., max_read_bytes: int | None = ...) -> npt.NDArray[Any]: ...


@overload
def decompress(source: Any, destination: str | os.PathLike[str], *, select: Any = ..., mask: Mask | None = ...,
               overwrite: bool = ..., progress: bool | Progress | None = ..., max_read_bytes: int | None = ...) -> None: ...


def decompress(source: Any, destination: str | os.PathLike[str] | None = None, *, select: Any = None,
               mask: Mask | None = None, overwrite: bool = False, progress: bool | Progress | None = None,
               max_read_bytes: int | None = None) -> npt.NDArray[Any] | None:
    """The values of a microfield file as an array, or written as a normal image.

    Parameters
    ----------
    source : path, bytes, binary file object, URL or MicrofieldFile
        What to decode.
    destination : path, optional
        Where to write an image, as `MicrofieldFile.save` does: ``.ome.tif``, ``.ome.zarr`` or ``.npy``. Without it the values are
        returned as an array.
    select : str, int, slice or tuple of these, optional
        What to decode: text such as ``"t=0,z=10:20,y=::4,x=::4"``, or what stands between the square brackets of ``file[...]``.
    mask : boolean array of the file's shape, or path of an image, optional
        Only what is true (in an image: not 0) is decoded; the rest is 0. Not together with ``select``.
    overwrite : bool
        Replace a destination that exists. The source itself is never replaced.
    progress : bool or callable (fraction, message), optional
        True shows a line on standard error while a file is written.
    max_read_bytes : int, optional
        Most bytes that may be decoded at once.

    Returns
    -------
    array or None
        The array; None where a file was written.

    Raises
    ------
    FormatError
        The source is not a readable microfield file.
    UsageError
        The selection or the suffix of the destination cannot be used.
    InputError
        The destination exists or cannot be written, or a read needs more than ``max_read_bytes``.
    """
    from microfield.reading.file import MicrofieldFile, open_file

    if not isinstance(source, MicrofieldFile):
        f = open_file(source, max_read_bytes=max_read_bytes)
    else:
        f = source if max_read_bytes is None else source.limited(max_read_bytes)
    try:
        if destination is not None:
            save(f, destination, select, mask, overwrite, progress)
            return None
        if select is not None and mask is not None:
            raise UsageError(f"give {argument('select')} or {argument('mask')}, not both.")
        if mask is not None:
            return f.asarray(mask=_marked(f, mask))
        chosen = selected(f, select)
        return np.asarray(f[tuple(i.start if axis in chosen.squeezed else as_slice(i) for axis, i in enumerate(chosen.box))])
    finally:
        if f is not source:
            f.close()

"""A folder of files that are planes of one image, put together as their names say (`microfield.io.planes`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.axes import guess_axes
from microfield.display import NOTHING_KNOWN
from microfield.errors import InputError
from microfield.io.found import UNNAMED, Found, choose_scene
from microfield.io.lazy import expand_key
from microfield.io.planes import BARE, PlaneName, arrange, by_stack
from microfield.wording import argument, spoken


@dataclass(frozen=True)
class StackedArray:
    """Files of one shape and type as one array; a read opens those it needs and closes them again.

    Parameters
    ----------
    files : tuple of Path
        In C order of the axes that they are put together along.
    lead : tuple of int
        Extents of these axes.
    plane : tuple of int
        Shape of every file.
    dtype : dtype
        Type of their values.
    """

    files: tuple[Path, ...]
    lead: tuple[int, ...]
    plane: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of every axis, those of a file last."""
        return self.lead + self.plane

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Values of the part asked for."""
        full = expand_key(key, len(self.shape))
        lead, inner = full[: len(self.lead)], full[len(self.lead) :]
        which = np.arange(math.prod(self.lead)).reshape(self.lead)[lead]
        parts = [np.asarray(_found(self.files[int(i)]).data[inner]) for i in np.asarray(which).flat]
        if not parts:
            return np.empty(self.shape, self.dtype)[full]
        return np.stack(parts).reshape(np.shape(which) + parts[0].shape)


def read(folder: Path, scene: int | str | None = None) -> Found:
    """The stack in a folder, its planes read when they are asked for.

    Parameters
    ----------
    folder : Path
    scene : int or str, optional
        Which stack, where names differ in more than numbers of planes (wells, positions).

    Raises
    ------
    InputError
        The folder holds no image, several stacks of which none is chosen, a stack with planes missing, there twice, or of different
        shapes or types; or one of its files cannot be read.
    UsageError
        There is no such stack.
    """
    files = _files(folder)
    stacks = by_stack(list(files))
    names = list(stacks)
    if len(names) > 1 and scene is None:
        listed = ", ".join(f"{n or folder.name!r} ({len(stacks[n])} files)" for n in names[:5]) + (", ..." if names[5:] else "")
        every = spoken("", f", or all with {argument('scene', 'all')} {argument('out_dir', 'DIR')}")
        raise InputError(f"{folder} holds {len(names)} stacks: {listed}; choose one with {argument('scene', 'NAME')}{every}.")
    name = names[choose_scene(scene, names, str(folder))]
    title = folder.name if len(names) == 1 else f"{folder.name} ({name})"
    return _stacked(stacks[name], files, title)


def scenes(folder: Path) -> list[str]:
    """Names of the stacks in a folder; InputError where it holds no image."""
    return list(by_stack(list(_files(folder))))


def _files(folder: Path) -> dict[str, Path]:
    """Name without suffix to file, of the images in a folder; hidden files are none.

    Raises
    ------
    InputError
        It is no folder, holds no image, or two that differ in their suffix only.
    """
    from microfield.io import is_image

    if not folder.is_dir():
        raise InputError(f"{folder} is a file; {argument('stack', True)} takes a folder of planes.")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file() or not is_image(path):
            continue
        stem = path.name.removesuffix(path.suffix).removesuffix(".ome")
        if stem in files:
            raise InputError(f"{folder} holds {files[stem].name} and {path.name}, of which only one can be a plane; remove the "
                             "other.")
        files[stem] = path
    if not files:
        raise InputError(f"{folder} holds no image files that could be stacked.")
    return files


def _stacked(planes: dict[str, PlaneName], files: dict[str, Path], title: str) -> Found:
    """The stack of these planes, with the meaning that its first file has."""
    values, places = arrange(planes, title)
    paths = tuple(files[places[place]] for place in sorted(places))
    first = _found(paths[0])
    total = 0
    for path in paths:
        one = _found(path)
        if (one.shape, one.data.dtype, one.axes) != (first.shape, first.data.dtype, first.axes):
            raise InputError(f"{title}: {path.name} has shape {one.shape} ({one.axes}, {one.data.dtype}) and {paths[0].name} "
                             f"{first.shape} ({first.axes}, {first.data.dtype}); only planes of one kind can be stacked.")
        total += one.source_bytes or 0
    axes = "".join(values)
    own = _own_axes(first, axes)
    if clash := [a for a in axes if a in own]:
        raise InputError(f"{title}: the names of the files count along {clash[0]}, and so does each file by itself ({own}); give "
                         f"one file alone, without {argument('stack', True)}, or rename them.")
    channels = tuple(map(str, values["C"])) if any(isinstance(v, str) for v in values.get("C", ())) else ()
    known = first.channel_names if "C" not in axes else ()
    if "C" in axes:  # What the first file says of its one channel does not hold for the others.
        first = replace(first, display=NOTHING_KNOWN, channel_names=())
    data = StackedArray(paths, tuple(len(v) for v in values.values()), first.shape, np.dtype(first.data.dtype))
    put = ", ".join(f"{len(v)} along {'an unnamed axis' if a == BARE else a}" for a, v in values.items())
    return replace(first, data=data, axes=axes + own, name=title, channel_names=channels or known, source_bytes=total,
                   notes=(f"stacked from {len(paths)} files: {put or 'one plane'}.",))


def _own_axes(first: Found, lead: str) -> str:
    """Axes of a file: pages without a meaning are depth where the names give the time, and the other way round."""
    own = first.axes
    if set(own) <= set(UNNAMED):
        own = guess_axes(first.shape, first.data.dtype, first.name)
    unnamed = [a for a in own if a in UNNAMED]
    if len(unnamed) == 1 and lead and (free := next((a for a in "ZT" if a not in own + lead), None)):
        return own.replace(unnamed[0], free)
    return own


def _found(path: Path) -> Found:
    """What the reader of a file finds in it."""
    from microfield.io import read_found

    return read_found(path)

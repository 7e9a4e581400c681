"""What a reader finds in a file, and how it becomes an `Image` with the axes and the channel that the caller asked for."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from microfield.acquisition import NOTHING_SAID, Acquisition
from microfield.axes import guess_axes, guess_leading
from microfield.display import NOTHING_KNOWN, Display
from microfield.errors import InputError, UsageError
from microfield.image import AXES, ArrayLike, Image
from microfield.io.lazy import View
from microfield.kinds import kept
from microfield.wording import argument, listed, spoken

UNNAMED = "IQ"
"""Letters that tifffile gives to axes of which the file does not say what they are: a bare sequence of pages."""

AXIS_WORDS = {
    "A": "angle", "E": "wavelength", "H": "lifetime or phase", "M": "mosaic tile", "P": "position", "R": "tile",
    "I": "unnamed", "Q": "unnamed", "V": "view", "B": "block",
}  # fmt: skip
"""Letters of axes that `Image` does not know, in words."""


@dataclass(frozen=True)
class Found:
    """An array as it stands in a file.

    Attributes are those of `Image`. ``axes`` may hold letters that `Image` does not know, those of `UNNAMED` where the file does
    not say. ``doubt`` is a sentence where the file names the axes but is likely to be wrong: it is the refusal unless the caller
    names them.
    """

    data: ArrayLike
    axes: str
    name: str
    voxel_size: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    source_bytes: int | None = None
    metadata: str | None = None
    labels: bool | None = None
    notes: tuple[str, ...] = ()
    display: Display = NOTHING_KNOWN
    not_kept: tuple[str, ...] = ()
    doubt: str | None = None
    acquisition: Acquisition = NOTHING_SAID

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of every axis."""
        return tuple(int(n) for n in self.data.shape)


def to_image(found: Found, axes: str | None = None, channel: int | str | None = None,
             beside: Mapping[str, int] | None = None) -> Image:
    """The Image of what was found.

    Axes of extent 1 that `Image` does not know are dropped. Axes that the file does not name are guessed (see
    `microfield.axes.guess_axes`); where it names others, a single one is taken for depth, or for time where there is depth.
    Booleans become uint8, marked as labels; half floats and 64-bit integers become types that hold the same values.

    Parameters
    ----------
    found : Found
        From a reader.
    axes : str, optional
        Letters that replace the file's, one per axis; axes that are dropped may have one or not.
    channel : int or str, optional
        The element of C to take, by index from 0 or by name; the axis disappears.
    beside : mapping of str to int, optional
        Axis letter to extent of an image, whose axes of the same extents are taken instead of a guess.

    Raises
    ------
    InputError
        An axis cannot be used, or the axes are not named and what could be assumed is unlikely.
    UsageError
        The letters are not as many as the axes, or there is no such channel.
    """
    given = axes if axes is not None else _axes_beside(found, beside or {})
    if given is None and found.doubt is not None:
        raise InputError(found.doubt)
    unnamed = [a for a, n in zip(found.axes, found.shape, strict=True) if a in UNNAMED and n > 1]
    guessed = given is None and bool(unnamed) and len(found.shape) > 2
    if given is None and found.axes and set(found.axes) <= set(UNNAMED):
        found = replace(found, axes=guess_axes(found.shape, found.data.dtype, found.name))
    if given is not None and len(given) == len(found.shape):
        found, given = replace(found, axes=given), None
    dropped = [a not in AXES and n == 1 for a, n in zip(found.axes, found.shape, strict=True)]
    letters = "".join(a for a, gone in zip(found.axes, dropped, strict=True) if not gone)
    extents = [n for n, gone in zip(found.shape, dropped, strict=True) if not gone]
    letters = _renamed(letters, extents, given, found)
    return _image(found, letters, [0 if gone else None for gone in dropped], channel, guessed)


def _image(found: Found, letters: str, fixed: list[int | None], channel: int | str | None, guessed: bool) -> Image:
    """The Image along the axes that stay, called ``letters``, or of one channel of it; ``fixed`` is as in `View`."""
    extents = [n for n, at in zip(found.shape, fixed, strict=True) if at is None]
    sizes = dict(zip(letters, extents, strict=True))
    name, names, display = found.name, found.channel_names, found.display.fitting(sizes)
    if channel is not None:
        index = _channel_index(channel, names, found, letters)
        name = f"{name}, channel {names[index] if index < len(names) else index}"
        if "C" in letters:
            fixed[[i for i, at in enumerate(fixed) if at is None][letters.index("C")]] = index
            display, names = display.cut(sizes, {"C": [index]}), names[index : index + 1]
            letters = letters.replace("C", "")
    data, note = _as_supported(found, fixed)
    sizes = dict(zip(letters, data.shape, strict=True))
    return Image(
        data, letters,
        voxel_size={a: v for a, v in found.voxel_size.items() if a in letters},
        units={a: u for a, u in found.units.items() if a in letters and a in found.voxel_size},
        channel_names=names if len(names) == sizes.get("C", 1) else (),
        source_bytes=found.source_bytes, metadata=found.metadata,
        labels=True if np.dtype(found.data.dtype) == np.bool_ else found.labels, name=name,
        notes=(*found.notes, *filter(None, [note])), display=display, not_kept=found.not_kept,
        axes_guessed=guessed, acquisition=found.acquisition,
    )  # fmt: skip


def _axes_beside(found: Found, sizes: Mapping[str, int]) -> str | None:
    """Axes of another image with the extents of a file that does not name its own; None where there is not exactly one choice."""
    if found.doubt is None and not set(found.axes) & set(UNNAMED):
        return None
    said = [a if found.doubt is None and a not in UNNAMED else None for a in found.axes]
    choices = [
        "".join(letters) for letters in itertools.combinations(sizes, len(found.shape))
        if all(n in (1, sizes[a]) and b in (None, a) for a, b, n in zip(letters, said, found.shape, strict=True))
    ]  # fmt: skip
    if not choices and len(sizes) == len(found.shape):
        return "".join(sizes)  # The extents differ, and whoever compares them says so.
    return choices[0] if len(choices) == 1 else None


def _renamed(letters: str, extents: Sequence[int], given: str | None, found: Found) -> str:
    """The caller's letters, or the file's, of which those without a meaning are guessed.

    Raises
    ------
    UsageError
        The caller's letters are not as many as the axes.
    InputError
        An axis of the file is none of TCZYXS.
    """
    if given is not None:
        if len(given) != len(letters):
            raise UsageError(
                f"{found.name} has {len(letters)} dimensions ({letters}, shape {found.shape}) "
                f"but {argument('axes', given)} names {len(given)}; give one letter of {AXES} for each."
            )
        return given
    unnamed = [a for a in letters if a in UNNAMED]
    if unnamed and letters.endswith("YX") and len(unnamed) == len(letters) - 2:
        return guess_leading(tuple(extents[:-2]), tuple(extents[-2:]), found.name) + "YX"
    if len(unnamed) == 1:
        free = next((a for a in "ZT" if a not in letters), None)
        if free is not None:
            return letters.replace(unnamed[0], free)
    unknown = [a for a in dict.fromkeys(letters) if a not in AXES]
    if unknown:
        words = ", ".join(f"{a} ({AXIS_WORDS.get(a, 'other')})" for a in unknown)
        raise InputError(
            f"{found.name} has shape {found.shape} with the axes {found.axes}, of which {words} cannot be used; "
            f"say with {argument('axes')} what they are, one letter of {AXES} per axis, or save one position of them as a file."
        )
    return letters


def _channel_index(channel: int | str, names: tuple[str, ...], found: Found, letters: str) -> int:
    """Position of a channel given by index from 0 or by name; UsageError, which lists the channels, where there is none."""
    count = dict(zip(found.axes, found.shape, strict=True)).get("C", 1) if "C" in letters else 1
    if isinstance(channel, str) and names.count(channel) == 1:
        return names.index(channel)
    if isinstance(channel, int) or channel.isdecimal():
        index = int(channel)
        if 0 <= index < count:
            return index
    if channel in names:
        raise UsageError(_ambiguous("channel", str(channel), names, found.name))
    listed = ", ".join(f"{i} {n!r}" for i, n in enumerate(names)) if names else f"0 to {count - 1}"
    raise UsageError(f"{found.name} has no channel {channel!r}; it has {count}: {listed}.")


def _as_supported(found: Found, fixed: Sequence[int | None]) -> tuple[ArrayLike, str]:
    """The array without the axes that are fixed at an index and with values of a type that `Image` takes; what to say of that."""
    stored, how = np.dtype(found.data.dtype), kept(found.data, found.name)
    if not how.note and stored.isnative and all(at is None for at in fixed):
        return found.data, ""
    return View(found.data, tuple(fixed), how.dtype), how.note


def choose_scene(scene: int | str | None, names: Sequence[str], file: str) -> int:
    """Index of the scene that is asked for by index or name; 0 where none is.

    Raises
    ------
    UsageError
        There is no such scene; the message lists those there are.
    """
    if scene is None:
        return 0
    if isinstance(scene, str) and list(names).count(scene) == 1:
        return list(names).index(scene)
    if (isinstance(scene, int) or scene.isdecimal()) and 0 <= int(scene) < len(names):
        return int(scene)
    if scene in names:
        raise UsageError(_ambiguous("scene", str(scene), names, file))
    listed = ", ".join(f"{i} {n!r}" for i, n in enumerate(names[:20])) + (", ..." if len(names) > 20 else "")
    raise UsageError(f"{file} has no scene {scene!r}; it has {len(names)}: {listed}.")


def _ambiguous(kind: str, name: str, names: Sequence[str], file: str) -> str:
    """What to say where a name belongs to several scenes or channels."""
    numbers = [str(i) for i, other in enumerate(names) if other == name]
    return (f"{file} has {len(numbers)} {kind}s named {name!r}, number {listed(numbers)}; choose one by its number, such as "
            f"{argument(kind, numbers[0])}.")


def left_out(scene: int | str | None, index: int, names: Sequence[str], many: str = "scenes") -> tuple[str, ...]:
    """What to say where a file holds several scenes and the caller named none: which one is taken, and how many are not.

    ``many`` is the word for what the file holds.
    """
    if scene is not None or len(names) < 2:
        return ()
    others = [name for i, name in enumerate(names) if i != index]
    listed = ", ".join(map(repr, others[:5])) + (", ..." if len(others) > 5 else "")
    how = spoken("microfield.list_scenes names them, and scene= takes one", f"{argument('scene', 'all')} writes one file each")
    return (f"{len(others)} of {len(names)} {many} are not in this: {listed}; it is {names[index]!r} alone. {how}.",)


def scene_name(file: str, index: int, names: Sequence[str]) -> str:
    """What to call an image: its file and, where there are several scenes, which one of how many."""
    return file if len(names) < 2 else f"{file} (scene {index} of {len(names)}: {names[index]})"

"""What ``compress`` is to read: the images that the given paths stand for, each with the name of its output."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from microfield.cli.arguments import expand, stem
from microfield.errors import MicrofieldError, UsageError
from microfield.progress import ProgressLine

ALL = "all"
"""What ``--scene`` is given for one file per scene."""


@dataclass(frozen=True)
class Input:
    """One image to compress.

    Attributes
    ----------
    source : str
        Path as the user gave it or as it was found, or ``-``.
    name : str
        Of the output, without suffix; where folders are walked with the folders below the one that was given, after ``/``.
    scene : str or int, optional
        Which image of the source.
    scene_name : str
        Its name, where it is one of all.
    stack : bool
        Whether the source is a folder of planes.
    """

    source: str
    name: str
    scene: str | int | None = None
    scene_name: str = ""
    stack: bool = False

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.source} ({self.scene_name})" if self.scene_name else self.source


def gather(arguments: argparse.Namespace) -> list[Input]:
    """All images that the arguments name, in order.

    Raises
    ------
    UsageError
        A pattern or a folder that is walked holds no image, or two images would become one file.
    """
    found: list[Input] = []
    for path in expand(arguments.paths):
        found += _of_path(path, arguments.recursive, arguments.stack, arguments.out_dir)
    if not found:
        raise UsageError(f"no file matches {', '.join(arguments.paths)}.")
    found = _of_all_scenes(found) if arguments.scene == ALL else [replace(image, scene=arguments.scene) for image in found]
    _check_names(found, arguments.out_dir)
    return found


def _of_path(path: str, recursive: bool, stack: bool, out_dir: Path) -> list[Input]:
    """The images that one path stands for: itself, or those below it where folders are walked."""
    from microfield.io.destination import is_node

    root = Path(path)
    if not recursive or not root.is_dir() or is_node(root):
        name = root.resolve().name if root.is_dir() and stack else stem(path)
        return [Input(path, name, stack=stack)]
    others = 0
    found: list[Input] = []
    for folder, images, left in _walk(root, out_dir):
        others += left
        below = folder.relative_to(root).as_posix().removeprefix(".").strip("/")
        planes = _planes(images, numbers=stack)
        if planes and stack:
            found.append(Input(str(folder), below or root.resolve().name, stack=True))
            images = [image for image in images if image.is_dir()]
        elif planes:
            print(f"note: {planes} files in {folder} have names of planes of one image; --stack would put them together.",
                  file=sys.stderr)
        found += [Input(str(image), f"{below}/{stem(str(image))}".strip("/")) for image in images]
    if not found:
        raise UsageError(f"{path} holds no image of a kind that --recursive looks for, by suffix; give files of other kinds one by "
                         "one.")
    if others:
        print(f"note: {others} files below {path} are no images by their suffix and are left out.", file=sys.stderr)
    return found


def _walk(root: Path, out_dir: Path) -> Iterator[tuple[Path, list[Path], int]]:
    """Every folder below one with the images in it, sorted, and how many files are none. What is hidden and the outputs are no
    inputs; a Zarr store is an image.
    """
    from microfield.io import is_image

    for at, folders, files in os.walk(root):
        folder = Path(at)
        entries = [folder / name for name in sorted(folders + files) if not name.startswith(".")]
        images = [entry for entry in entries if is_image(entry)]
        stores = {image.name for image in images if image.is_dir()}
        folders[:] = sorted(name for name in folders if name not in stores and not name.startswith(".")
                            and not _same(folder / name, out_dir))
        left = sum(1 for entry in entries if entry.is_file() and entry not in images and entry.suffix.lower() != ".mfield")
        yield folder, images, left


def _planes(images: list[Path], numbers: bool) -> int:
    """How many files of a folder are planes of stacks, by their names; with ``numbers`` also those with nothing but a number."""
    from microfield.io.planes import BARE, by_stack

    stacks = by_stack([stem(image.name) for image in images if image.is_file()])
    return sum(len(planes) for planes in stacks.values()
               if len(planes) > 1 and (numbers or all(BARE not in plane.positions for plane in planes.values())))


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _of_all_scenes(images: list[Input]) -> list[Input]:
    """One input per scene of all of them."""
    found: list[Input] = []
    line = ProgressLine("scenes")
    try:
        for i, image in enumerate(images):
            line(i / len(images), image.source)
            found += _of_scenes(image)
    finally:
        line.close()
    return found


def _of_scenes(image: Input) -> list[Input]:
    """One input per scene; one alone keeps its name, and what cannot be listed will say so when it is read."""
    from microfield.io import list_scenes

    if image.source == "-":
        return [image]
    try:
        names = list_scenes(image.source, stack=image.stack)
    except MicrofieldError:
        return [image]
    if len(names) == 1:
        return [replace(image, scene=0)]
    plain = [re.sub(r"[^\w.+-]+", "_", name).strip("_.")[:80] or str(i) for i, name in enumerate(names)]
    folded = [name.casefold() for name in plain]
    plain = [name if folded.count(name.casefold()) == 1 else f"{name}-{i}" for i, name in enumerate(plain)]
    return [replace(image, name=f"{image.name}-{word}", scene=i, scene_name=name)
            for i, (name, word) in enumerate(zip(names, plain, strict=True))]


def _check_names(found: list[Input], out_dir: Path) -> None:
    """Refuse two inputs of one output, also on file systems that do not tell upper from lower case."""
    first: dict[str, Input] = {}
    for image in found:
        other = first.setdefault(image.name.casefold(), image)
        if other is not image:
            raise UsageError(f"{other.title} and {image.title} would both become {out_dir / image.name}.mfield; compress them into "
                             "different folders.")

"""Reading OME-Zarr (0.1 to 0.5, so Zarr 2 and 3) and bare Zarr arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from microfield.acquisition import Acquisition
from microfield.errors import InputError, MissingExtraError
from microfield.io.annotations import with_annotation
from microfield.io.found import UNNAMED, Found, choose_scene, left_out, scene_name
from microfield.io.lazy import StoredArray
from microfield.io.ome import acquisition_in
from microfield.io.omero import read_omero
from microfield.labelled import of_a_copy
from microfield.units import to_standard, unit_name
from microfield.wording import argument, spoken

AXIS_OF_TYPE = {"time": "T", "channel": "C"}
"""Type of an axis to its letter, where the type says which axis it is."""

KNOWN_ATTRIBUTES = {"multiscales", "omero", "ome", "image-label", "labels", "microfield", "bioformats2raw.layout", "_creator"}
"""Attributes of a group that an Image keeps, or that say how the store is laid out."""

CONVERTED_XML = Path("OME") / "METADATA.ome.xml"
"""Where Bio-Formats leaves the OME-XML of what it converted, beside the images."""

MOST_XML = 64 << 20
"""Bytes of OME-XML that are read."""

OWN_ATTRIBUTES = "microfield"
"""Attribute of a group under which the Zarr writer keeps what OME-Zarr has no place for."""


def read(path: Path, scene: int | str | None = None) -> Found:
    """The full-resolution array of an OME-Zarr image, or a bare Zarr array; values are read when they are asked for.

    Parameters
    ----------
    path : Path
        Folder of the image's group or of one array.
    scene : int or str, optional
        Which image, where the folder holds several (a well, or a file that Bio-Formats converted).

    Raises
    ------
    InputError
        The folder holds no image or a whole plate, or is damaged.
    UsageError
        There is no such scene.
    MissingExtraError
        zarr is not installed.
    """
    with _opened(path) as node:
        return _image(node, path, scene) if _is_group(node) else _bare(node, path)


def scenes(path: Path) -> list[str]:
    """Names of the images in a folder: of a plate ``A/1/0``, of a well or what Bio-Formats converted ``0``, else its own name.

    Raises
    ------
    InputError
        The folder holds no image, or is damaged.
    MissingExtraError
        zarr is not installed.
    """
    with _opened(path) as node:
        return _scenes(node, path) if _is_group(node) else [path.name]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The group or array of a folder; what zarr raises within the with block becomes one sentence."""
    try:
        import zarr
    except ImportError:
        raise MissingExtraError("Reading Zarr", "zarr") from None
    try:
        yield zarr.open(store=str(path.absolute()), mode="r")
    except InputError:
        raise
    except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError, json.JSONDecodeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"{path.name} cannot be read as Zarr ({why}); it may be damaged or incomplete.") from error


def _is_group(node: Any) -> bool:
    import zarr

    return isinstance(node, zarr.Group)


def _bare(array: Any, path: Path) -> Found:
    """An array without a group; Zarr 3 may name its dimensions."""
    shape = tuple(int(n) for n in array.shape)
    names = array.metadata.to_dict().get("dimension_names") or ()
    axes = "".join(str(name)[:1].upper() for name in names if name)
    if len(axes) != len(shape) or len(set(axes)) != len(axes):
        axes = UNNAMED[0] * len(shape)
    return Found(StoredArray(array, path.absolute()), axes, path.name, source_bytes=_bytes(path),
                 notes=_copied(array, path.name))


def _image(group: Any, path: Path, scene: int | str | None) -> Found:
    """The image in a group, or one of the images in it or below it.

    Raises
    ------
    InputError
        There is no image, or it is a plate and no image of it is chosen: nobody wants the first of 96 wells alone.
    """
    attributes = _attributes(group)
    names = _scenes(group, path)
    if "plate" in attributes and scene is None:
        wells = len(attributes["plate"].get("wells") or ())
        example = f", such as {argument('scene', repr(names[0]))} or the path {path / names[0]}" if names else ""
        every = spoken("", f", or all of them with {argument('scene', 'all')} {argument('out_dir', 'DIR')}")
        raise InputError(f"{path.name} is a plate of {wells} wells with {len(names)} images; take one{example}{every}.")
    if not names:
        raise InputError(f"{path.name} is a Zarr group without an OME-Zarr image; give the path of an array in it.")
    index = choose_scene(scene, names, path.name)
    name, notes = scene_name(path.name, index, names), left_out(scene, index, names, "images")
    if "multiscales" in attributes:
        found = _multiscale(group, path, name, index)
    else:
        found = _multiscale(group[names[index]], path / names[index], name)
    return replace(found, notes=notes + found.notes)


def _attributes(group: Any) -> dict[str, Any]:
    """The OME attributes: under ``ome`` since 0.5, at the top before."""
    everything = dict(group.attrs.asdict())
    ome = everything.get("ome", everything)
    return dict(ome)


def _scenes(group: Any, path: Path) -> list[str]:
    """Names of the images of a group: its own multiscales, or paths below it to those of a plate, a well or a converted file."""
    attributes = _attributes(group)
    if "plate" in attributes:
        wells = [str(well["path"]) for well in attributes["plate"].get("wells") or ()]
        return [f"{well}/{image}" for well in wells for image in _scenes(group[well], path / well)]
    if "multiscales" in attributes:
        images = attributes["multiscales"]
        return [path.name] if len(images) == 1 else [str(m.get("name") or f"image {i}") for i, m in enumerate(images)]
    if "well" in attributes:
        return [str(image["path"]) for image in attributes["well"]["images"]]
    children = sorted((str(name) for name, _ in group.groups()), key=lambda name: (len(name), name))
    return [name for name in children if "multiscales" in _attributes(group[name])]


def _multiscale(group: Any, path: Path, name: str, index: int = 0) -> Found:
    """The highest resolution of one multiscale of an image, nearly always its only one."""
    attributes = _attributes(group)
    multiscale = attributes["multiscales"][index]
    dataset = multiscale["datasets"][0]
    array = group[dataset["path"]]
    shape = tuple(int(n) for n in array.shape)
    described = [a if isinstance(a, dict) else {"name": a} for a in multiscale.get("axes") or ()]
    described = described or [{"name": a} for a in "tczyx"][-len(shape) :]
    axes = "".join(_letter(a) for a in described)
    if len(axes) != len(shape):
        raise InputError(f"{name} has {len(shape)} dimensions but names {len(axes)} axes; give {argument('axes')}.")
    scale = _scale(dataset, len(shape))
    scale = [a * b for a, b in zip(scale, _scale(multiscale, len(shape)), strict=True)]
    voxel_size, units = _steps(axes, scale, described)
    names, shown = read_omero(attributes)
    kept = dict(group.attrs.asdict()).get(OWN_ATTRIBUTES)
    own = kept if isinstance(kept, dict) else {}
    metadata, display = own.get("source_metadata"), own.get("display")
    if isinstance(display, dict):
        shown = with_annotation(shown, display, dict(zip(axes, shape, strict=True)))
    companion = _converted(path)
    position = _position(axes, units, _translation((dataset, multiscale), len(shape)))
    taken = acquisition_in(companion or "", index)
    taken = replace(taken, position=position or taken.position)
    if "acquisition" in own:
        taken = Acquisition.from_dict(own["acquisition"])
    place = path / str(dataset["path"])
    return Found(
        StoredArray(array, place.absolute()), axes, name, voxel_size, units, names, _bytes(place),
        metadata if isinstance(metadata, str) else companion, True if "image-label" in attributes else None, display=shown,
        not_kept=_not_kept(group, (dataset, multiscale), bool(position)), notes=_copied(array, name), acquisition=taken,
    )  # fmt: skip


def _copied(array: Any, name: str) -> tuple[str, ...]:
    """What to say of an array whose chunks the codec ``microfield`` has encoded with loss; nothing of others."""
    waiting = list(array.metadata.to_dict().get("codecs") or ())
    while waiting:
        codec = waiting.pop()
        about = codec.get("configuration") or {}
        if codec.get("name") == "microfield" and "lossless" not in about:
            return (of_a_copy(name, str(about.get("method", "field"))),)
        waiting += about.get("codecs") or ()  # Those of the chunks in a shard.
    return ()


def _converted(path: Path) -> str | None:
    """The OME-XML that Bio-Formats leaves beside the images that it converted to Zarr; None where there is none."""
    file = path.parent / CONVERTED_XML
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() and file.stat().st_size <= MOST_XML else None


def _translation(holders: Sequence[Mapping[str, Any]], ndim: int) -> list[float]:
    """The sum of the translations of a dataset and of its multiscale, one number per axis."""
    total = [0.0] * ndim
    for holder in holders:
        for transformation in holder.get("coordinateTransformations") or ():
            moved = transformation.get("translation") or ()
            if transformation.get("type") == "translation" and len(moved) == ndim:
                total = [a + float(b) for a, b in zip(total, moved, strict=True)]
    return total


def _position(axes: str, units: Mapping[str, str], translation: Sequence[float]) -> dict[str, float]:
    """Micrometers along the axes whose unit is a length; nothing where an image is not moved at all."""
    return {a: v for a, v in zip(axes, translation, strict=True) if a in "ZYX" and units.get(a) == "micrometer"} \
        if any(translation) else {}


def _not_kept(group: Any, holders: Sequence[Mapping[str, Any]], placed: bool) -> tuple[str, ...]:
    """What the attributes of an image say that an Image has no place for, in words."""
    other = sorted(set(group.attrs.asdict()) - KNOWN_ATTRIBUTES)
    moved = not placed and any(any(t.get("translation") or ()) for h in holders for t in h.get("coordinateTransformations") or ())
    return (*(["the position (translation)"] if moved else []), *([f"attributes ({', '.join(other)})"] if other else []))


def _letter(axis: Mapping[str, Any]) -> str:
    """Letter of an axis: its name where that is one letter, else by its type (`AXIS_OF_TYPE`), else the name's first letter."""
    name = str(axis["name"])
    return AXIS_OF_TYPE.get(str(axis.get("type")), name[:1].upper()) if len(name) > 1 else name.upper()


def _scale(holder: Mapping[str, Any], ndim: int) -> Sequence[float]:
    """The scale among the transformations of a dataset or multiscale, one number per axis; ones where there is none."""
    for transformation in holder.get("coordinateTransformations") or ():
        if transformation.get("type") == "scale" and len(transformation.get("scale") or ()) == ndim:
            return [float(v) for v in transformation["scale"]]
    return [1.0] * ndim


def _steps(
    axes: str, scale: Sequence[float], described: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, float], dict[str, str]]:
    """Voxel sizes and units by axis; a scale of 1 without a unit says nothing and is left out."""
    voxel_size: dict[str, float] = {}
    units: dict[str, str] = {}
    for axis, step, about in zip(axes, scale, described, strict=True):
        unit = str(about.get("unit") or "")
        if axis not in "TZYX" or not math.isfinite(step) or step <= 0:
            continue
        standard = to_standard(step, unit, axis)
        if standard is not None:
            voxel_size[axis], units[axis] = standard
        elif unit_name(unit) is None and step != 1.0:
            voxel_size[axis] = step
    return voxel_size, units


def _bytes(folder: Path) -> int:
    """Bytes of all files of an array (the pyramid's smaller levels are not counted)."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

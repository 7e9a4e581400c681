"""The table of `docs/formats.md`: what each reader finds, and what each writer keeps so that a reader finds it again.

Files of every format go through a microfield file into every format that is written. ``python tests/helpers/kept.py`` prints the
table; ``make pages`` puts it into the page, and a test says where the page is out of date.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tifffile

import microfield as mf
from helpers.meaningful import MAKERS

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
BEGIN, END = "<!-- tests/helpers/kept.py -->\n", "<!-- end -->\n"
"""Around the table in the page."""

READ = {"ome_tiff": "OME-TIFF", "imagej": "ImageJ", "lsm": "LSM", "zarr 0.4": "OME-Zarr 0.4", "zarr 0.5": "OME-Zarr 0.5"}
"""Formats of `MAKERS` as the page calls them."""

WRITTEN = {"OME-TIFF": "ome.tif", "ImageJ": "imagej.tif", "OME-Zarr": "ome.zarr", "NPY": "npy"}
"""Formats that are written as the page calls them, and the ends of their names."""

FACTS: dict[str, Callable[[Any], Any]] = {
    "voxel sizes, with their units": lambda i: {a: (round(i.voxel_size[a], 6), i.units.get(a)) for a in "ZYX" if a in i.voxel_size},
    "time increment": lambda i: i.voxel_size.get("T"),
    "channel names": lambda i: i.channel_names,
    "colours of channels": lambda i: tuple(c.colour for c in i.display.channels if c.colour is not None),
    "lookup tables that are no plain colour": lambda i: tuple(c.table for c in i.display.channels if c.table is not None),
    "display ranges": lambda i: tuple(c.range for c in i.display.channels if c.range is not None),
    "channels switched off": lambda i: tuple(k for k, c in enumerate(i.display.channels) if c.hidden),
    "labels of planes": lambda i: sorted(i.display.plane_labels),
    "what grey levels mean (Hounsfield units, photons)": lambda i: i.display.calibration,
    "composite, colour or grey": lambda i: i.display.mode,
    "date of acquisition": lambda i: i.acquisition.date,
    "objective": lambda i: i.acquisition.lens,
    "position on the stage, of the first plane": lambda i: dict(i.acquisition.position),
    "all else, as text (OME-XML, `Info`)": lambda i: i.metadata,
}
"""What an image may say, in words, and how to get it from an Image or a microfield file."""


def table() -> str:
    """The table in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        sources = {name: mf.open_image(make(Path(folder))) for name, make in MAKERS.items()}
        kept = {name: _kept(source, Path(folder), name) for name, source in sources.items()}
        lines = ["| what | read from | in a `.mfield` file | written to |", "|---|---|---|---|"]
        for fact, get in FACTS.items():
            having = [name for name in READ if get(sources[name])]
            read = _short([READ[name] for name in having])
            packed = "yes" if all(kept[name]["mfield"][fact] == "yes" for name in having) else "no"
            written = [f"{format_}{'' if answers == {'yes'} else chr(92) + '*'}" for format_ in WRITTEN
                       if "no" not in (answers := {kept[name][format_][fact] for name in having})]
            lines.append(f"| {fact} | {read} | {packed} | {', '.join(written)} |")
        return "\n".join(lines) + "\n"


def _short(names: list[str]) -> str:
    """Names in a row; both versions of OME-Zarr are one."""
    return re.sub(r"OME-Zarr 0.4, OME-Zarr 0.5", "OME-Zarr", ", ".join(names))


def _kept(source: Any, folder: Path, name: str) -> dict[str, dict[str, str]]:
    """For every format what becomes of every fact: ``yes``; ``ours`` where only an annotation of our own has it; ``no``."""
    path = folder / f"{name}.mfield"
    mf.compress(source, path, lossless=True, keep_metadata=True)
    found = {}
    with mf.open(path) as f:
        found["mfield"] = {fact: "yes" if get(f) == get(source) else "no" for fact, get in FACTS.items()}
        for format_, suffix in WRITTEN.items():
            written = folder / f"{name}-out.{suffix}"
            f.save(written)
            back = mf.open_image(written, axes=f.axes if suffix == "npy" else None)
            _strip(written)
            plain = mf.open_image(written, axes=f.axes if suffix == "npy" else None)
            found[format_] = {fact: "yes" if _same(get(plain), get(f)) else "ours" if _same(get(back), get(f)) else "no"
                              for fact, get in FACTS.items()}
    return found


def _same(one: Any, other: Any) -> bool:
    """Whether a fact is what it was; numbers of a time increment may be rounded."""
    return bool(one == other or (isinstance(one, float) and isinstance(other, float) and abs(one - other) < 1e-6 * abs(other)))


def _strip(path: Path) -> None:
    """Take out of a file what other programs do not look for: our annotations and our attribute."""
    if path.name.endswith(".ome.tif"):
        text = re.sub("<StructuredAnnotations>.*</StructuredAnnotations>", "", str(tifffile.tiffcomment(path)), flags=re.DOTALL)
        tifffile.tiffcomment(path, text.encode())
    elif path.suffix == ".zarr":
        about = json.loads((path / "zarr.json").read_text())
        about["attributes"].pop("microfield", None)
        (path / "zarr.json").write_text(json.dumps(about))


def of_page(page: str) -> str:
    """The table that a page has."""
    return page.partition(BEGIN)[2].partition(END)[0].strip() + "\n"


if __name__ == "__main__":
    text = table()
    print(text)
    if "--write" in sys.argv:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")

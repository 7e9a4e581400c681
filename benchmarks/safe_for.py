"""Whether ``compress --safe-for`` keeps what it says: every task on crops of many images, each file opened anew and judged again.

Three judgements of every file. *Again*: the task on the file as it is opened, made ready afresh; it must agree with the evidence
in the header. *Inner*: the task on the middle of image and copy, a fifth of every side cut off, where thresholds, sizes and
pipeline are found anew. *Shifted*: the task on the image without its first rows and columns. The last two the encoder has not seen.
Rows are appended to a file, one a case, and are not repeated when the program is started again; ``--page`` prints the table of
docs/trust.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.comparison import unseen
from benchmarks.markdown import table
from microfield import Image, open_image
from microfield.errors import MicrofieldError
from microfield.reading.file import open_file
from microfield.tasks.base import Outcome, Task
from microfield.tasks.choose import task_of
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

ROWS = Path(__file__).parent / "safe_for.jsonl"
SIDE, PLANES, TIMES = 256, 8, 16
"""Extents of the crops, at most."""
EDGE, SHIFT = 0.2, 13
"""Share of a side that *inner* cuts off on either end, and rows and columns that *shifted* leaves out."""
METHODS = ("jpegxl", "hevc", "field")
TASKS = ("look", "count", "measure", "segment", "trace", "benchmarks.safe_for:bright_area", "benchmarks.safe_for:otsu_mask")
IMAGES = (
    "fluo2d_nuclei_offset32768", "fluo2d_nuclei_stardist", "fluo2d_bacteria_cords", "fluo2d_maize_membranes",
    "multich_nuclei_golgi", "multich_hela_16bit", "multich_dapi_tubulin_8bit", "phase_yeast_yeaz",
    "timelapse_mitocheck_h2b", "timelapse_ecoli_phase_a",
    "lowlight_photoncount_small", "fluo3d_nuclei_confocal", "labelfree_celegans_bf_gfp", "em_fibsem_drosophila_b", "mri_brain1",
    "spots2d_terra", "calcium_fluo4_jurkat", "timelapse_hela_h2b",
)

Row = dict[str, Any]


def otsu_mask(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """A mask as a user's script makes it: what is brighter than Otsu's threshold of the slightly smoothed image."""
    from scipy.ndimage import gaussian_filter
    from skimage.filters import threshold_otsu

    smooth = gaussian_filter(values.astype(np.float32), (0,) * (values.ndim - 2) + (1, 1))
    return np.asarray(smooth > threshold_otsu(smooth))


def bright_area(values: npt.NDArray[Any]) -> dict[str, float]:
    """Two numbers as a user's script gives them: the share of `otsu_mask`, and the mean of what it marks above the rest."""
    mask = otsu_mask(values)
    return {"area": float(mask.mean()), "contrast": float(values[mask].mean() - values[~mask].mean())}


def crop(image: Image) -> Image:
    """The middle of an image, at most so large as a case may be."""
    most = {"Y": SIDE, "X": SIDE, "Z": PLANES, "T": TIMES, "C": 2}
    box = tuple(slice((n - min(n, most.get(a, n))) // 2, (n - min(n, most.get(a, n))) // 2 + min(n, most.get(a, n)))
                for a, n in zip(image.axes, image.shape, strict=True))
    return Image(image.read(box), image.axes, image.voxel_size, image.units, name=image.name)


def inner(image: Image, copy: npt.NDArray[Any]) -> tuple[Image, npt.NDArray[Any]]:
    """The middle of both."""
    return _cut(image, copy, {a: slice(int(EDGE * n), n - int(EDGE * n)) for a, n in image.sizes.items() if a in "YX"})


def shifted(image: Image, copy: npt.NDArray[Any]) -> tuple[Image, npt.NDArray[Any]]:
    """Both without the first rows and columns."""
    return _cut(image, copy, {a: slice(SHIFT, None) for a in "YX"})


def _cut(image: Image, copy: npt.NDArray[Any], where: dict[str, slice]) -> tuple[Image, npt.NDArray[Any]]:
    box = tuple(where.get(a, slice(None)) for a in image.axes)
    values = image.read(tuple(slice(*s.indices(n)) for s, n in zip(box, image.shape, strict=True)))
    return Image(values, image.axes, image.voxel_size, image.units, name=image.name), copy[box]


def case(image: Image, name: str, task: Task, method: str) -> Row:
    """One file, judged three times."""
    row: Row = {"image": name, "task": task.name, "method": method}
    options = unseen(name) if method == "field" else {}
    settings = Settings(method=method, options=options, effort=1, not_labels=True)
    try:
        data, report = compress_to_bytes(image, Budget("safe_for", 0.0, task), settings)
    except MicrofieldError as error:
        return row | {"refused": str(error)}
    with open_file(data) as file:
        copy = file[...]
        evidence = file.evidence
    assert evidence is not None
    row |= {"ratio": round(report.ratio, 1), "psnr": round(report.psnr, 2), "seconds": round(report.seconds, 1),
            "recorded": evidence.value, "limit": evidence.limit, "rising": evidence.rising}
    for which, (part, same) in {"again": (image, copy), "inner": inner(image, copy), "shifted": shifted(image, copy)}.items():
        row[which] = judged(task, part, same)
    return row


def judged(task: Task, image: Image, copy: npt.NDArray[Any]) -> Row | None:
    """What a task measures in a pair; None where it cannot be judged on this one."""
    try:
        found: Outcome = task.goal(image).judge(copy)
    except MicrofieldError:
        return None
    return {"measure": found.measure, "value": _finite(found.value), "used": _finite(found.used), "kept": found.kept}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def runs(data: Path, done: set[tuple[str, str, str]]) -> Iterator[Row]:
    """What is not done yet, a task and a method of every image in turn, so that an unfinished run has seen all images."""
    for method in METHODS:
        for task in TASKS:
            for name in IMAGES:
                path = data / f"{name}.ome.tif"
                if (name, task, method) in done or not path.exists():
                    continue
                image = crop(open_image(path))
                if task == "trace" and "T" not in image.axes:
                    continue
                if method == "hevc" and not {"T", "Z"} & set(image.axes):
                    continue
                yield case(image, name, task_of(task), method)


def read(rows: Path) -> list[Row]:
    """Rows that were measured."""
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] if rows.exists() else []


def page(rows: Sequence[Row]) -> str:
    """Cases within the tolerance, by task."""
    made = [row for row in rows if "refused" not in row]
    body = []
    for task in (*dict.fromkeys(row["task"] for row in made), "all"):
        mine = [row for row in made if task in ("all", row["task"])]
        cells = [_share([row[which] for row in mine]) for which in ("again", "inner", "shifted")]
        middle = f"{np.median([row['ratio'] for row in mine]):.0f} ({min(r['ratio'] for r in mine):.0f} to " \
                 f"{max(r['ratio'] for r in mine):.0f})"
        body.append([task.rpartition(":")[2], str(len(mine)), middle, *cells])
    return table(["task", "files", "ratio: median (range)", "the file again", "its middle", "shifted"], body)


def kinds(rows: Sequence[Row]) -> str:
    """By image, of every task the largest ratio at which a file kept it, over the methods; a dash where there is no file."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    body = []
    for name in IMAGES:
        cells = []
        for task in tasks:
            found = [row["ratio"] for row in rows if (row["image"], row["task"]) == (name, task) and "refused" not in row]
            cells.append(f"{max(found):.0f}" if found else "-")
        body.append([f"`{name}`", *cells])
    return table(["image (crop)", *(task.rpartition(":")[2] for task in tasks)], body)


def _share(found: Sequence[Row | None]) -> str:
    """How many of those that could be judged are within the tolerance, and the worst."""
    known = [one for one in found if one is not None]
    if not known:
        return "-"
    worst = max((np.inf if one["used"] is None else one["used"]) for one in known)
    kept = sum(one["kept"] for one in known)
    return f"{kept} of {len(known)} ({kept / len(known):.0%}); worst {worst:.1f} of the tolerance"


def main() -> None:
    """Measure what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of images")
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--page", action="store_true", help="print the table of the rows that are there")
    arguments = parser.parse_args()
    before = read(arguments.rows)
    if arguments.page or arguments.data is None:
        print(page(before))
        print(kinds(before))
        return
    done = {(row["image"], row["task"], row["method"]) for row in before}
    for row in runs(arguments.data, done):
        with arguments.rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


if __name__ == "__main__":
    main()

"""The label-free study: fluorescence predicted from bright field, before and after compression.

The five comparisons of Zhou et al. (Biological Imaging, 2024), for image x, reconstruction x^, truth t and predictor f: x with x^;
bits; f(x) with t; f(x^) with t; f(x) with f(x^). Also a predictor g, trained on compressed images (their figure 6). A field is
split: its left part trains, its right part is measured, with a gap between them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError, MicrofieldError, UsageError
from microfield.image import Image
from microfield.io import open_image
from microfield.metrics import compare
from microfield.reading.file import open_file
from microfield.study.unet import STRIDE, Float32, Params, Training, predicted, trained
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

TRAINING_SHARE, GAP = 0.6, 16
"""Share of the columns that train, and columns between them and those that are measured."""
CROP = 64
"""Extent of the training crops along Y and X, at most."""
MORE = 1 / 6
"""Further steps of training, relative to the first ones: of f on x, of g on x^, both from the same weights."""
PAIRS = {"x with x^": ("x", "c"), "f(x) with t": ("fx", "t"), "f(x^) with t": ("fc", "t"), "f(x) with f(x^)": ("fx", "fc"),
         "g(x^) with t": ("gc", "t"), "g(x) with t": ("gx", "t")}
"""Comparison to the two images that it compares, the first one against the second; bits are the file's."""

Row = dict[str, Any]


@dataclass(frozen=True)
class LabelFreePlan:
    """Everything a label-free study does.

    Attributes
    ----------
    images : files with a bright-field and a fluorescence channel
    methods : method to its options
    ratios : compression ratios of the bright-field channel
    out : folder for the rows
    source, target : numbers of the bright-field and of the fluorescence channel
    steps : of the first training
    effort, seed : as in `microfield.compress`
    """

    images: tuple[Path, ...]
    methods: Mapping[str, Mapping[str, str]]
    ratios: tuple[float, ...]
    out: Path
    source: int = 0
    target: int = 1
    steps: int = 300
    effort: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Field:
    """A pair of channels of one field: float32 of shape ``(Y, X)`` or ``(Z, Y, X)``, in units of the training part's deviation."""

    image: Image
    source: Float32
    target: Float32
    mean: float
    deviation: float

    @classmethod
    def of(cls, image: Image, source: int, target: int) -> Field:
        """The channels of an image.

        Raises
        ------
        InputError
            The image has not these channels, or is too small to be split and trained on.
        """
        if "C" not in image.axes or max(source, target) >= image.sizes["C"] or set(image.axes) - set("CZYX"):
            raise InputError(f"the study labelfree needs a bright-field and a fluorescence channel, numbers {source} and {target}, "
                             f"in planes or volumes; {image.name} has axes {image.axes} and shape {image.shape}.")
        values = np.moveaxis(image.read(), image.axes.index("C"), 0)
        if values.shape[-1] < 4 * GAP or values.shape[-2] < STRIDE * 4:
            raise InputError(f"{image.name} is too small to be split into a part to train on and one to measure: {image.shape}.")
        axes = image.axes.replace("C", "")
        light = Image(np.ascontiguousarray(values[source]), axes, image.voxel_size, image.units, name=image.name)
        known = values[:, ..., : columns(values.shape[-1])[0].stop].astype(np.float32)
        mean, deviation = float(known[source].mean()), float(known[source].std())
        truth = values[target].astype(np.float32)
        middle, spread = float(np.median(known[target])), float(known[target].std())
        if not deviation or not spread:
            raise InputError(f"a channel of {image.name} has one value only where the predictor is trained.")
        before = ((light.read() - mean) / deviation).astype(np.float32)
        return cls(light, before, (truth - middle) / np.float32(spread), mean, deviation)

    def scaled(self, values: npt.NDArray[Any]) -> Float32:
        """A reconstruction of the bright-field channel in the units of `source`."""
        return ((values.astype(np.float32) - np.float32(self.mean)) / np.float32(self.deviation)).astype(np.float32)


def columns(n: int) -> tuple[slice, slice]:
    """Which of ``n`` columns train, and which are measured."""
    end = int(TRAINING_SHARE * n)
    return slice(0, end), slice(end + GAP, n)


def run(plan: LabelFreePlan, progress: Callable[[float, str], None] | None = None) -> list[Row]:
    """Do what is not done yet, row by row, each on disk when it is finished; all rows of the plan.

    An image or a method that fails gives rows that say why, and the study goes on.
    """
    say = progress or (lambda _done, _what: None)
    plan.out.mkdir(parents=True, exist_ok=True)
    log = plan.out / "labelfree.jsonl"
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    wanted = [(path, method, ratio) for path in plan.images for method in plan.methods for ratio in plan.ratios]
    done = {_key(row) for row in rows if "message" not in row}
    rows = [row for row in rows if _key(row) in done]
    for path in plan.images:
        missing = [(m, r) for p, m, r in wanted if p == path and (path.name, m, r, plan.steps, plan.seed) not in done]
        for row in _field_rows(plan, path, missing, lambda f, what: say((len(rows) + f) / len(wanted), what)) if missing else ():
            rows.append(row)
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    return rows


def _key(row: Row) -> tuple[str, str, float, int, int]:
    return row["image"], row["method"], row["ratio"], row["steps"], row["seed"]


def _field_rows(plan: LabelFreePlan, path: Path, missing: list[tuple[str, float]], say: Callable[[float, str], None],
                ) -> Iterator[Row]:
    """Rows of one field: the predictor f once, then every method and ratio."""
    about = {"image": path.name, "steps": plan.steps, "seed": plan.seed}
    try:
        field = Field.of(open_image(str(path)), plan.source, plan.target)
    except MicrofieldError as error:
        yield from ({**about, "method": m, "ratio": r, "message": str(error)} for m, r in missing)
        return
    say(0.0, f"{path.name}: train the predictor")
    start = trained([_part(field.source, field.target)], _training(plan, field, plan.steps), progress=say)
    onward = _training(plan, field, int(plan.steps * MORE))
    f = trained([_part(field.source, field.target)], onward, start)
    for method, ratio in missing:
        row = {**about, "method": method, "ratio": ratio}
        say(0.0, f"{path.name}: {method} at {ratio:g}")
        try:
            yield row | _compared(plan, field, f, start, onward, method, ratio)
        except MicrofieldError as error:
            yield row | {"message": str(error)}


def _compared(plan: LabelFreePlan, field: Field, f: Params, start: Params, onward: Training, method: str, ratio: float) -> Row:
    """The comparisons of one reconstruction."""
    settings = Settings(method=method, options=dict(plan.methods[method]), effort=plan.effort, seed=plan.seed, not_labels=True)
    data, report = compress_to_bytes(field.image, Budget.of(ratio=ratio), settings)
    with open_file(data, trusted=True) as file:
        copy = field.scaled(np.asarray(file[...]))
    g = trained([_part(copy, field.target)], onward, start)
    seen = columns(field.source.shape[-1])[1]
    before, after, truth = field.source[..., seen], copy[..., seen], field.target[..., seen]
    images = {"x": before, "c": after, "t": truth, "fx": predicted(f, before), "fc": predicted(f, after),
              "gx": predicted(g, before), "gc": predicted(g, after)}
    found: Row = {"bytes": len(data), "bits_per_voxel": 8 * len(data) / field.image.layout.size, "reached": report.ratio}
    for name, (one, other) in PAIRS.items():
        found[name] = measured(images[other], images[one], field.image.axes)
    return found


def measured(first: Float32, second: Float32, axes: str) -> dict[str, float | None]:
    """Mean squared error, PSNR, SSIM and Pearson correlation of ``second`` against ``first``; what there is none of is None."""
    result = compare(Image(np.ascontiguousarray(first), axes), np.ascontiguousarray(second))
    numbers = {"mse": float(np.mean((second - first) ** 2)), "psnr": result.psnr, "ssim": result.ssim, "pearson": result.pearson}
    return {name: float(value) if value is not None and np.isfinite(value) else None for name, value in numbers.items()}


def _part(source: Float32, target: Float32) -> tuple[Float32, Float32]:
    """What trains of a pair."""
    where = columns(source.shape[-1])[0]
    return source[..., where], target[..., where]


def _training(plan: LabelFreePlan, field: Field, steps: int) -> Training:
    shape = field.source[..., columns(field.source.shape[-1])[0]].shape
    crop = tuple(min(n, CROP if axis in "YX" else CROP // 8) // STRIDE * STRIDE
                 for n, axis in zip(shape, field.image.axes, strict=True))
    if min(crop) < STRIDE:
        raise UsageError(f"{field.image.name} is smaller than the network's stride of {STRIDE} along an axis: {field.image.shape}.")
    return Training(max(1, steps), crop, seed=plan.seed)

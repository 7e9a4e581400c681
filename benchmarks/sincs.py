"""What `sincs` does, part by part and against others: rows for docs/studies/sincs.md.

    python -m benchmarks.sincs --data FOLDER [--task transfer] [--effort 2]

Rows are appended to benchmarks/sincs.jsonl, one a run, and are not repeated when the program is started again. At the end it
writes the page. Tasks:

* ``transfer``: the steps that a group's fit needs from its ancestor's weights to be as good as a fit from random ones;
* ``residual``: bytes of the weights as differences, and coded each alone with the same quantiser;
* ``saliency``: PSNR inside and outside of structures, points drawn by structure and uniformly, at equal bytes and steps;
* ``similarity``: how alike the weights of groups are, and how alike their images;
* ``ancestor``: images of one kind in files of one size, each for itself and building on a network that they share;
* ``comparison``: `sincs`, `inif`, `field`, `hevc` and `av1` in the same bytes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import sincs_report
from benchmarks.sincs_report import ROWS, read
from microfield import Image, open_image
from microfield.analysis.judge import judge
from microfield.errors import MicrofieldError
from microfield.methods.base import Context
from microfield.methods.sincs.decoder import SincsDecoder
from microfield.methods.sincs.design import Design, Recipe, designed
from microfield.methods.sincs.encoder import PartEncoder
from microfield.methods.sincs.transfer import to_tensors
from microfield.nn.fit import FitSchedule, fit
from microfield.nn.network import Params
from microfield.nn.optimisers import optimiser_and_rate
from microfield.reading.file import open_file
from microfield.statistics import channel_statistics
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress, compress_to_bytes

Row = dict[str, Any]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """An image to measure on: a file of the folder, what is taken of it, and the groups it is cut into."""

    file: str
    axes: str
    cut: tuple[slice | int, ...]
    grouping: str
    groups: int
    labels: str = ""
    copies: int = 1
    """How many copies of the stack are put one behind the other along its first axis, each of them turned, mirrored or reversed."""

    def load(self, folder: Path) -> tuple[Image, Array | None]:
        """The image, and the labels of its objects."""
        loaded = [self._one(folder / f"{name}.ome.tif") for name in (self.file, self.labels) if name]
        labels = loaded[1] if self.labels else None
        return Image(loaded[0], self.axes, name=self.file), labels

    def _one(self, path: Path) -> Array:
        stack = np.ascontiguousarray(open_image(path).read()[self.cut])
        return np.ascontiguousarray(np.concatenate([turned(stack, k) for k in range(self.copies)]))


def turned(stack: Array, number: int) -> Array:
    """One of eight different copies of a stack: square planes turned and mirrored, others mirrored and in reverse order."""
    if stack.shape[-2] == stack.shape[-1]:
        return np.asarray(np.rot90(stack[..., ::-1] if number & 4 else stack, number % 4, (-2, -1)))
    return stack[:: -1 if number & 4 else 1, ..., :: -1 if number & 2 else 1, :: -1 if number & 1 else 1]


WHOLE = slice(None)
RATIOS = (500, 700, 2000)
"""Of the comparison: how many times smaller the files are."""
SMALL = {
    "nuclei over time": Case("timelapse3d_cho", "TYX", (slice(8), 2, slice(100, 228), slice(100, 228)), "time", 4),
    "nuclei, slices": Case("fluo3d_nuclei_confocal", "ZYX", (slice(16, 32), slice(64, 160), slice(64, 160)), "slices", 4,
                           "fluo3d_nuclei_confocal_labels"),
    "nuclei, blocks": Case("fluo3d_nuclei_confocal", "ZYX", (slice(16, 32), slice(64, 160), slice(64, 160)), "blocks", 4,
                           "fluo3d_nuclei_confocal_labels"),
    "calcium": Case("calcium_2p_sima", "TYX", (slice(8), slice(96), slice(64, 192)), "time", 4),
}
"""Pieces of real stacks that a fit of some seconds suits."""

LARGE = {
    "3-D nuclei": Case("fluo3d_nuclei_confocal", "ZYX", (WHOLE,), "auto", 0, "fluo3d_nuclei_confocal_labels"),
    "time-lapse": Case("timelapse_2ch_mitosis", "TYX", (WHOLE, 0), "auto", 0),
    "calcium": Case("calcium_2p_sima", "TYX", (WHOLE,), "auto", 0),
    "3-D nuclei, 8 turned copies (63 MB)":
        Case("fluo3d_nuclei_confocal", "ZYX", (WHOLE,), "auto", 0, "fluo3d_nuclei_confocal_labels", 8),
    "calcium, 8 mirrored copies (57 MB)": Case("calcium_fluo4_jurkat", "TYX", (WHOLE,), "auto", 0, copies=8),
    "3-D time-lapse, 4 mirrored copies (54 MB)": Case("timelapse3d_cho", "TZYX", (WHOLE,), "auto", 0, "timelapse3d_cho_labels", 4),
}
"""What all methods compress."""

METHODS = ("sincs", "inif", "field", "hevc", "av1")
SHARES = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
"""Parts of the steps of a cold fit that a warm one is given in turn."""
STEPS, WIDTH_BYTES = 400, 1400
"""Steps of a cold fit of the task ``transfer``, and bytes that its groups are designed for."""
BINS = 64
"""Of histograms of weights and of grey levels."""


def encoder(image: Image, recipe: Recipe, seed: int, effort: int = 2) -> PartEncoder:
    """The encoder of an image as one part."""
    statistics = channel_statistics(image)
    context = Context(statistics.range, np.ones(len(statistics.range)), seed=seed, effort=effort)
    return PartEncoder(image.read(), image.layout, recipe, context)


def recipe_of(case: Case, **changed: Any) -> Recipe:
    """The settings of a case: uniform points and one initial frequency, unless something else is measured."""
    return replace(Recipe(case.grouping, case.groups, sampling="uniform", frequency=0.16), **changed)


# -- transfer -------------------------------------------------------------------------------------------------------------------


def fits_of(image: Image, case: Case, seed: int) -> tuple[PartEncoder, Design, list[Params], list[float], Callable[..., Any]]:
    """All groups of a case fitted from random weights: encoder, design, parameters, losses, and the fit of a group."""
    made = encoder(image, recipe_of(case), seed)
    design = designed(image.layout, made.recipe, made.targets.mapping, WIDTH_BYTES)
    assert design is not None
    optimiser, rate = optimiser_and_rate("soap")

    def run(group: int, begin: Params, share: float, start: float) -> Any:
        schedule = FitSchedule(int(STEPS * share), 4096, rate, start=start, seed=seed, learn_frequency=False)
        return fit(made.targets.of(design, group), begin, optimiser, schedule)

    cold = [run(g, made.fits.initial(design, 0.16), 1.0, 0.0) for g in range(design.groups.n)]
    return made, design, [c.params for c in cold], [c.loss for c in cold], run


def transfer(name: str, data: Path, seed: int, effort: int, start: float) -> Iterator[Row]:
    """The smallest share of the steps with which a warm fit is as good as the cold one of the same group.

    ``start`` is where on the schedule of rates warm fits begin.
    """
    del effort
    case = SMALL[name]
    image, _ = case.load(data)
    _, design, fitted, losses, run = fits_of(image, case, seed)
    for group in range(1, design.groups.n):
        tried = {}
        for share in SHARES:
            tried[share] = run(group, fitted[group - 1], share, start).loss
            if tried[share] <= losses[group]:
                break
        reached = [s for s, loss in tried.items() if loss <= losses[group]]
        yield {"group": group, "share": reached[0] if reached else None, "cold": losses[group],
               "warm": {str(s): loss for s, loss in tried.items()}}


# -- residuals and similarity ---------------------------------------------------------------------------------------------------


def residual(name: str, data: Path, seed: int, effort: int) -> Iterator[Row]:
    """Bytes of the weights as differences and alone, with the quantiser of the file, for several prices of bits."""
    case = SMALL[name]
    image, _ = case.load(data)
    limit = image.read().nbytes // 100
    for pull in (0.0, 1.0, 8.0):
        made = encoder(image, recipe_of(case, pull=pull), seed, effort)
        coded = made.encode(limit)
        assert coded.state is not None
        search = made.coder.search(coded.state)
        found = search.search(limit)
        assert found is not None
        alone = replace(search.forest, alone=True).encode(found[0])
        copy = SincsDecoder(image.layout, (coded.data,)).read(tuple(range(n) for n in image.shape))
        yield {"pull": pull, "bytes": sum(map(len, found[1])), "alone": sum(map(len, alone)), "psnr": psnr_where(image, copy, None)}


def compress_as(image: Image, case: Case, nbytes: int, seed: int, effort: int, options: Mapping[str, Any]) -> tuple[bytes, Any]:
    """A file of sincs of a case."""
    given = {"grouping": case.grouping, "groups": case.groups, "sampling": "uniform", "frequency": 0.16, **options}
    return compress_to_bytes(image, Budget("max_bytes", nbytes), Settings(method="sincs", effort=effort, seed=seed, options=given))


def similarity(name: str, data: Path, seed: int, effort: int) -> Iterator[Row]:
    """Distances between groups: of their weights after transfer and after fits from random weights, and of their images."""
    del effort
    case = SMALL[name]
    image, _ = case.load(data)
    made, design, cold, _, run = fits_of(image, case, seed)
    warm = [cold[0]]
    for group in range(1, design.groups.n):
        warm.append(run(group, warm[-1], 0.4, 0.0).params)
    flat = {kind: [np.concatenate([t.ravel() for t in to_tensors(p, design.shape)]) for p in params]
            for kind, params in (("transferred", warm), ("random", cold))}
    images = [image.read()[design.groups.box(g)].ravel().astype(np.float64) for g in range(design.groups.n)]
    for kind, values in (*flat.items(), ("image", images)):
        yield {"kind": kind, **{name: distances(values, measure).tolist() for name, measure in
                                (("js", _histogram_distance), ("wasserstein", _sorted_distance), ("correlation", _correlation))}}
    assert made.recipe.transfer


def distances(values: list[Array], measure: Callable[[Array, Array], float]) -> Array:
    """A measure between all pairs of samples."""
    return np.asarray([[measure(a, b) for b in values] for a in values])


def _histogram_distance(a: Array, b: Array) -> float:
    from scipy.spatial.distance import jensenshannon

    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    one, other = (np.histogram(v, BINS, (low, high))[0].astype(np.float64) for v in (a, b))
    return float(jensenshannon(one, other, base=2))


def _sorted_distance(a: Array, b: Array) -> float:
    """Wasserstein distance, in units of the common standard deviation."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(a, b) / np.concatenate([a, b]).std())


def _correlation(a: Array, b: Array) -> float:
    n = min(a.size, b.size)
    return float(np.corrcoef(a[:n], b[:n])[0, 1])


# -- saliency -------------------------------------------------------------------------------------------------------------------


def saliency(name: str, data: Path, seed: int, effort: int) -> Iterator[Row]:
    """PSNR inside and outside structures for both ways to draw points."""
    case = SMALL[name]
    image, labels = case.load(data)
    inside = structures(image, labels)
    for sampling in ("uniform", "structure"):
        packed, _ = compress_as(image, case, image.read().nbytes // 100, seed, effort, {"sampling": sampling})
        whole = np.asarray(open_file(packed)[...])
        yield {"sampling": sampling, "inside": psnr_where(image, whole, inside), "outside": psnr_where(image, whole, ~inside),
               "share": float(inside.mean())}


def structures(image: Image, labels: Array | None) -> npt.NDArray[np.bool_]:
    """Where objects are: the labels, or what is above Otsu's threshold after smoothing."""
    from scipy.ndimage import gaussian_filter
    from skimage.filters import threshold_otsu

    if labels is not None:
        return np.asarray(labels > 0)
    smooth = gaussian_filter(image.read().astype(np.float64), [2 if a in "YX" else 0 for a in image.axes])
    return np.asarray(smooth > threshold_otsu(smooth))


def psnr_where(image: Image, copy: Array, where: npt.NDArray[np.bool_] | None) -> float:
    """PSNR of some voxels on the range of the image, in dB."""
    original = image.read().astype(np.float64)
    square = (copy - original) ** 2
    return float(-10 * np.log10((square if where is None else square[where]).mean() / np.ptp(original) ** 2))


# -- an ancestor for many files -------------------------------------------------------------------------------------------------

ALIKE: dict[str, tuple[Case, tuple[tuple[slice | int, ...], ...]]] = {
    "frames of a time-lapse": (Case("timelapse_hela_h2b", "YX", (), "auto", 1),
                               tuple((t, slice(200, 456), slice(300, 556)) for t in range(4))),
    "fields of one slide": (Case("timelapse_hela_h2b", "YX", (), "auto", 1),
                            tuple((0, slice(y, y + 200), slice(x, x + 200)) for y in (100, 400) for x in (100, 600))),
    "stacks over time": (Case("timelapse3d_cho", "ZYX", (), "auto", 1),
                         tuple((t, slice(None), slice(100, 292), slice(100, 292)) for t in range(4))),
}
"""Images of one kind, each a piece of a real one."""


def ancestor(name: str, data: Path, seed: int, effort: int) -> Iterator[Row]:
    """PSNR of every image by itself and with an ancestor in the folder, 100 times smaller."""
    case, cuts = ALIKE[name]
    settings: dict[str, Any] = {"method": "sincs", "effort": effort, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        for number, cut in enumerate(cuts):
            image, _ = replace(case, cut=cut).load(data)
            row: Row = {"number": number}
            for label, options in (("alone", {}), ("shared", {"ancestor": "shared"})):
                path = Path(folder) / f"{label}-{number}.mfield"
                row[label] = compress(image, path, ratio=100, options={"frequency": 0.16, **options}, **settings).psnr
                row["bytes"] = path.stat().st_size
            yield row | {"ancestor": sum(p.stat().st_size for p in Path(folder).glob("ancestor-*"))}


# -- comparison -----------------------------------------------------------------------------------------------------------------


def comparison(name: str, data: Path, seed: int, effort: int, method: str, ratio: int) -> Iterator[Row]:
    """One method on one image at one ratio."""
    case = LARGE[name]
    image, labels = case.load(data)
    options = {"nets": "a"} if method == "field" else {}
    settings = Settings(method=method, effort=effort if method in ("sincs", "inif") else 5, seed=seed, options=options)
    begin, worked = time.monotonic(), time.process_time()
    packed, report = compress_to_bytes(image, Budget("ratio", float(ratio)), settings)
    row: Row = {"bytes": len(packed), "psnr": report.psnr, "seconds": round(time.monotonic() - begin, 1),
                "processor": round(time.process_time() - worked, 1)}
    whole = np.asarray(open_file(packed, trusted=True)[...])
    inside = structures(image, labels)
    found = judge(image, whole, labels=labels).channels[0]
    yield row | {"inside": psnr_where(image, whole, inside), "iou": found.iou, "count": found.count_reconstruction,
                 "count_original": found.count_original, "trace": trace_correlation(image, whole, inside)}


def trace_correlation(image: Image, copy: Array, inside: npt.NDArray[np.bool_]) -> float | None:
    """Median correlation of the mean grey levels over time of regions of the mean image; None without time points."""
    from scipy.ndimage import label, mean

    if image.axes[0] != "T":
        return None
    regions, n = label(inside.mean(0) > 0.5)
    sizes = np.bincount(regions.ravel(), minlength=n + 1)[1:]
    kept = np.flatnonzero(sizes >= 20) + 1
    if not kept.size:
        return None
    traces = [np.asarray([mean(frame, regions, kept) for frame in values]) for values in (image.read(), copy)]
    pairs = zip(traces[0].T, traces[1].T, strict=True)
    return float(np.median([np.corrcoef(a, b)[0, 1] if np.ptp(b) > 0 else 0.0 for a, b in pairs]))


# -- running --------------------------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[..., Iterator[Row]]] = {
    "transfer": transfer, "residual": residual, "saliency": saliency, "similarity": similarity, "ancestor": ancestor,
}


def tasks(wanted: str, effort: int, seeds: int) -> Iterator[tuple[Row, Callable[[Path], Iterator[Row]]]]:
    """What there is to measure: what names it, and how it is measured."""
    for task, run in PARTS.items():
        for name in (ALIKE if task == "ancestor" else SMALL) if wanted in ("", task) else ():
            for seed in range(seeds if task not in ("similarity", "ancestor") else 1):
                variants: tuple[Row, ...] = ({"start": 0.0}, {"start": 0.3}) if task == "transfer" else ({},)
                for more in variants:
                    yield ({"task": task, "image": name, "seed": seed, "effort": effort, **more},
                           partial(run, name, seed=seed, effort=effort, **more))
    for ratio in RATIOS if wanted in ("", "comparison") else ():
        for name in LARGE:
            for method in METHODS:
                yield ({"task": "comparison", "image": name, "method": method, "ratio": ratio, "effort": effort},
                       partial(comparison, name, seed=0, effort=effort, method=method, ratio=ratio))


def main() -> None:
    """Parse the command line, measure what is missing, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the images of images.toml; without it the page is written")
    parser.add_argument("--task", default="", choices=("", *PARTS, "comparison"))
    parser.add_argument("--effort", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=Path, default=ROWS)
    arguments = parser.parse_args()
    for task, run in tasks(arguments.task, arguments.effort, arguments.seeds) if arguments.data else ():
        if any(row.items() >= task.items() for row in read(arguments.rows)):
            continue
        try:
            found = [task | row for row in run(arguments.data)]
        except MicrofieldError as error:
            found = [task | {"refused": str(error)}]
        with arguments.rows.open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(row) + "\n" for row in found)
        for row in found:
            print({k: v for k, v in row.items() if k not in ("js", "wasserstein", "correlation", "warm")}, flush=True)
    sincs_report.write(read(arguments.rows))


if __name__ == "__main__":
    main()

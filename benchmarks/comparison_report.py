"""The sections of docs/results.md on all images together: how it was measured, differences, BD-rate, shares, times."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from benchmarks.advice import deficits
from benchmarks.markdown import table, text
from microfield.bench import summary, summary_text
from microfield.bench.bjontegaard import MAX_GAP
from microfield.bench.rows import Row
from microfield.bench.summary import unique
from microfield.errors import MicrofieldError


def sections(rows: Sequence[Row]) -> list[str]:
    """All sections over all images."""
    return [_how(rows), _settings(rows), _differences(rows), _bjontegaard(rows), _shares(rows)]


def _how(rows: Sequence[Row]) -> str:
    machines = list(dict.fromkeys(
        f"{m['cores']} cores ({m['processor']}), {m['system']}, Python {m['python']}" for r in rows if (m := r.get("machine"))))
    versions = dict.fromkeys(f"{name} {v}" for r in rows for name, v in (r.get("versions") or {}).items())
    limits = sorted({r["time_limit"] for r in rows if r.get("time_limit")})
    efforts = sorted({r["effort"] for r in rows if r.get("effort") is not None})
    stop = ", ".join(f"{x:g}" for x in limits)
    stopped = f"; fits of networks stopped after {stop} s (one seed; such a fit differs from run to run)" if limits else ""
    return text(f"""
        ## How it was measured

        * **Bytes** are those of the whole `.mfield` file, header, index and checksums included; the **ratio** is raw array bytes
          over them. 8-bit content stored as uint16 flatters every ratio by two, for all methods alike.
        * Every method gets the same byte limit and searches its own knob for the best quality within it; nothing is padded.
          Intensities are stretched to the codec's full depth first.
        * **PSNR** and **SSIM** are on every channel's own range (max - min); the overall PSNR comes from the mean of the channels'
          normalised square errors. Measured on the decoded file, opened afresh.
        * **IoU** compares the segmentation of the decoded image with that of the original, each thresholded on its own as a user
          would; **F1** is the matching of single objects at IoU 0.5.
        * Effort {', '.join(map(str, efforts)) or '-'}, seed 0{stopped}.
        * Each image and method runs in a process of its own, codecs two at a time on a machine with other work: seconds are
          rough, ratios between methods are what counts. Encode seconds include looking at the image and the search for the
          quality; decode seconds are for the whole image from a freshly opened file.
        * The codecs are fed as well as we know how: x265 and SVT-AV1 tuned for PSNR, planes of a stack as one mosaic for picture
          codecs, colour decorrelated, all of the codec's depth used (docs/architecture.md says how and why).
        * Measured on {'; '.join(machines)}. {', '.join(versions)}.

        Every row is repeated by one command, such as

        ```sh
        {_example(rows)}
        ```

        with `DATA` for the folder of the images; the command of every image stands above its table. More methods, ratios and
        measures, on your own images: `microfield bench --help`.
    """)


def _example(rows: Sequence[Row]) -> str:
    from benchmarks.image_tables import command_of

    return command_of(summary.reached(rows)[0] if summary.reached(rows) else rows[0])


def _settings(rows: Sequence[Row]) -> str:
    """A table of what every method is and of its options."""
    from microfield.methods import get_method

    body = []
    for name in unique(rows, "method"):
        try:
            method = get_method(name)
        except MicrofieldError:
            continue
        options = [f"{f.name}={f.default}" for f in dataclasses.fields(method.Options)]
        body.append([f"`{name}`", method.summary.rstrip("."), ", ".join(options) or "none"])
    return "\n".join(["<details><summary>Settings of every method (the defaults of the package)</summary>", "",
                      table(["method", "what it is", "options"], body), "</details>", ""])


def _differences(rows: Sequence[Row]) -> str:
    kinds, behind = unique(rows, "kind"), deficits(rows)
    methods = sorted(unique(rows, "method"), key=lambda m: statistics.fmean(behind[m]) if behind[m] else math.inf)
    body = []
    for kind in kinds:
        mine = [r for r in rows if r["kind"] == kind]
        of_kind = deficits(mine)
        cases = len({(r["image"], r["asked"]) for r in mine})
        body.append([kind, *(_behind(of_kind.get(m, []), cases) for m in methods)])
    cases = len({(r["image"], r["asked"]) for r in rows})
    body.append(["**all**", *(_behind(behind[m], cases) for m in methods)])
    return text("""
        ## How far behind the best

        Mean PSNR difference to the best method of each image and ratio, in dB (0.00 is always best), over the cases a method
        reached; in brackets the share of cases it reached where that is not all. Cases it cannot reach do not count against a
        method here, so read both.
    """) + "\n" + table(["kind", *methods], body)


def _behind(values: Sequence[float], cases: int) -> str:
    """Mean difference to the best method, and the share of cases that were reached."""
    if not values:
        return "-"
    share = "" if len(values) == cases else f" ({len(values) / cases:.0%})"
    return f"{-statistics.fmean(values):+.2f}{share}".replace("+0.00", "0.00").replace("-0.00", "0.00")


def _bjontegaard(rows: Sequence[Row]) -> str:
    anchor = summary.anchor_of(rows)
    body = [
        [line.method, *(["reference"] * 2 if line.method == anchor else summary_text.bd_cells(line, ".0f", ".2f"))]
        for line in summary.lines(rows, anchor)
    ]
    return text(f"""
        ## BD-rate and BD-PSNR against `{anchor}`

        After Bjøntegaard (VCEG-M33, 2001), with monotone cubics: how many percent more bytes than `{anchor}` for the same PSNR
        (geometric mean over images), and how many dB above it at the same bytes (mean). In brackets over how many images: only
        where two curves of at least {summary.MIN_POINTS} points share qualities or rates; curves are cut where neighbouring rates
        lie more than {MAX_GAP:g}x apart. A value with ~ rests on curves of fewer than {summary.SURE_POINTS} points and is a rough
        one. A BD-rate over few images says little.
    """) + "\n" + table(["method", "BD-rate %", "BD-PSNR dB"], body)


def _shares(rows: Sequence[Row]) -> str:
    body = []
    for method in unique(rows, "method"):
        runs = [r for r in rows if r["method"] == method and r["status"] == "ok"]
        if not runs:
            continue
        used = [r["used"] for r in runs]
        voxels = [r["bytes"] * 8 / r["bits_per_voxel"] / 1e6 for r in runs]
        encode = statistics.median(r["encode_seconds"] / v for r, v in zip(runs, voxels, strict=True))
        decode = statistics.median(r["decode_seconds"] / v for r, v in zip(runs, voxels, strict=True))
        memory = max((r["encode_memory"] or 0) for r in runs) / 1e6
        shares = [f"{share:.1%}" for share in (min(used), statistics.median(used), max(used))]
        body.append([method, *shares, f"{encode:.2f}", f"{decode:.3f}", f"{memory:.0f}"])
    return text("""
        ## Budget, time and memory

        Share of the allowed bytes that the files use: never above 100 %. Codecs with a coarse knob take the largest setting that
        fits. Seconds per million voxels, medians; most memory of the process while encoding, in MB, libraries and image included.
    """) + "\n" + table(["method", "lowest share", "median share", "highest share", "encode s", "decode s", "memory MB"], body)

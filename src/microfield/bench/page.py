"""The page of a bench: a summary, the plots of all images, then the rows of every image. One HTML file that loads nothing."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from microfield.bench import plot_style, plots, summary, summary_text
from microfield.bench.bjontegaard import stretch
from microfield.bench.recommend import recommendation
from microfield.bench.rows import Row, exact

_CSS = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1f2328;--faint:#59636e;--grid:#d9dee3;--panel:#f6f8fa;--link:#0969da;
--bad:#b42318}
@media (prefers-color-scheme:dark){:root{--ground:#0f1318;--ink:#e6e9ec;--faint:#9aa5b0;--grid:#323a43;--panel:#181d23;
--link:#6cb0ff;--bad:#ff8b7e}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 20px 80px}h1{font-size:26px;margin:0 0 4px}
h2{font-size:19px;margin:40px 0 10px;border-bottom:1px solid var(--grid);padding-bottom:4px}h3{font-size:16px;margin:26px 0 2px}
p{max-width:78ch;margin:8px 0}.faint{color:var(--faint)}a{color:var(--link)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13.5px;margin:10px 0}
th,td{padding:4px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}
th{font-weight:600;background:var(--panel)}
th:first-child,td:first-child,.runs th:nth-child(2),.runs td:nth-child(2){text-align:left}
ul{margin:8px 0;padding-left:20px}td.best{font-weight:700}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(480px,100%),1fr));gap:18px}
.plots figure{margin:0;padding:10px;border:1px solid var(--grid);border-radius:8px;background:var(--panel)}
.plots figure>svg{width:100%;height:auto;display:block}details{margin:8px 0}summary{cursor:pointer;padding:3px 0}
code{font:12px ui-monospace,monospace;overflow-wrap:anywhere;white-space:normal}
.pictures{display:flex;flex-wrap:wrap;gap:12px}.pictures figure{margin:0;width:190px;font-size:12.5px;color:var(--faint)}
.pictures img{width:100%;image-rendering:pixelated;display:block;border-radius:4px}
@media print{details{display:block}}
"""

_NUMBERS = (
    ("bytes", "bytes", ",d"), ("ratio", "ratio", ".1f"), ("bits_per_voxel", "bits/voxel", ".4f"), ("used", "used", ".1%"),
    ("psnr", "PSNR dB", ".2f"), ("ssim", "SSIM", ".4f"), ("iou", "IoU", ".3f"), ("object_f1", "object F1", ".3f"),
    ("psnr_robust", "PSNR 0.1-99.9 %", ".2f"),
    ("ssim_3d", "SSIM 3-D", ".4f"), ("ms_ssim", "MS-SSIM", ".4f"), ("noise_factor", "error/noise", ".2f"),
    ("max_error", "max error", ".4g"), ("encode_seconds", "encode s", ".2f"), ("decode_seconds", "decode s", ".2f"),
    ("encode_memory", "peak MB", "mb"),
)
"""Fields of a row that have a column of their own: name, heading, format (``mb``: bytes shown in MB)."""
_ANALYSIS = (
    ("iou", "IoU", "IoU: overlap of the segmentation of the decoded image with that of the original (1 is the same)."),
    ("object_f1", "F1", "F1: share of objects found again, matched at IoU 0.5."),
    ("truth_f1_reconstruction", "F1 of labels", "F1 of labels: objects of the decoded image matched with the given labels."),
)
"""Fields of the measure ``downstream`` that the page sums up: name, heading, explanation."""
_HIDDEN = frozenset((
    "image", "kind", "axes", "axes_given", "shape", "dtype", "raw_bytes", "source_bytes", "method", "options", "budget", "asked",
    "status", "message", "limit", "effort", "seed", "time_limit", "measures", "notes", "versions", "machine", "date", "file",
    "fingerprint", "nan_fill", "not_labels", "labels", "command", "decode_memory",
))
"""Fields that are shown elsewhere or not as numbers."""


def page(rows: Sequence[Row], anchor: str | None = None, shown: Mapping[str, str] | None = None) -> str:
    """The whole page, as text.

    Parameters
    ----------
    rows : rows of a bench
    anchor : str, optional
        The method that the others are compared with; by default the first of av1, hevc, sperr, inif that has rows.
    shown : mapping of image to HTML, optional
        Pictures to show (`microfield.bench.pictures.pictures`).
    """
    chosen = summary.anchor_of(rows, anchor)
    images = summary.unique(rows, "image")
    methods = summary.unique(rows, "method")
    by_image = {image: [r for r in rows if r["image"] == image] for image in images}
    parts = [
        "<h1>Rate and distortion</h1>", f'<p class="faint">{len(rows)} runs: {len(images)} images, {len(methods)} methods. '
        f"{_conditions(rows)}</p>",
        "<h2>Methods</h2>", _explanation(rows, chosen), table(*summary_text.methods_table(rows, chosen)),
        _downstream(rows, [line.method for line in summary.lines(rows, chosen)]),
        "<h2>Curves</h2>", _plots(rows, images, methods),
        "<h2>Every run</h2>", *(_image(image, mine, (shown or {}).get(image, "")) for image, mine in by_image.items()),
    ]
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width,initial-scale=1"><title>microfield bench</title>'
            f"<style>{_CSS}{plot_style.style()}</style></head><body><main>{''.join(parts)}</main></body></html>\n")


def _conditions(rows: Sequence[Row]) -> str:
    """Machines and versions of all rows, each once."""
    machines = dict.fromkeys(
        f"{m['cores']} cores, {m['processor']}, {m['system']}, Python {m['python']}" for r in rows if (m := r.get("machine"))
    )
    found = dict.fromkeys(f"{name} {number}" for r in rows for name, number in r.get("versions", {}).items())
    return html.escape(f"{'; '.join(machines)}. {', '.join(found)}.")


def _explanation(rows: Sequence[Row], anchor: str | None) -> str:
    said = ["Mean PSNR over the images, at every ratio; in brackets over how many, where other methods have more.",
            *summary_text.remarks(rows, anchor),
            "Used: share of the allowed bytes, median. PSNR is on each channel's own range; bytes are those of the whole file."]
    return f"<p>{html.escape(' '.join(said))}</p>"


def _downstream(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """A table of what the analysis finds in the decoded images, method by method; empty where it was not measured."""
    columns = [(b, name, f"{summary.asked(*b)} {short}") for name, short, _ in _ANALYSIS for b in summary.budgets(rows)
               if any(r.get(name) is not None for r in rows)]
    if not columns:
        return ""
    body = [[m, *(summary_text.mean_of(rows, m, b, name, ".3f") for b, name, _ in columns)] for m in methods]
    said = " ".join(what for name, _, what in _ANALYSIS if any(c[1] == name for c in columns))
    truth = [r["truth_f1_original"] for r in rows if r.get("truth_f1_original") is not None]
    if truth:
        said += f" The originals themselves reach {statistics.fmean(truth):.3f} on average."
    return (f"<h2>Segmentation and objects</h2><p>Means over the images. {html.escape(said)}</p>"
            + table(["method", *(c[2] for c in columns)], body))


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """An HTML table; cells are escaped."""
    first = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in head)
    rest = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + "</tr>" for cells in body)
    return f'<div class="wide"><table><thead><tr>{first}</tr></thead><tbody>{rest}</tbody></table></div>'


def _plots(rows: Sequence[Row], images: Sequence[str], methods: Sequence[str]) -> str:
    figures = []
    for image in images:
        figures.append(f"<figure>{drawing(rows, image, methods)}</figure>")
    return f'<div class="plots">{"".join(figures)}</div>'


def drawing(rows: Sequence[Row], image: str, methods: Sequence[str], standalone: bool = False) -> str:
    """The rate-distortion plot of one image; where it has no point, its reason.

    ``methods`` is their order; ``standalone`` as in `microfield.bench.plots.plot`.
    """
    found = summary.curves(rows, image)
    ordered = {method: found[method] for method in methods if method in found}
    why = "" if ordered else summary_text.no_curve([r for r in rows if r["image"] == image])
    return plots.plot(ordered, image, raw_bits(rows, image), standalone, rate_limits(rows, image), why)


def raw_bits(rows: Sequence[Row], image: str) -> float | None:
    """Bits per voxel of the raw array of an image, from any of its finished rows."""
    found = next((r for r in rows if r["image"] == image and r.get("bits_per_voxel")), None)
    return None if found is None else float(found["bits_per_voxel"] * found["ratio"])


def rate_limits(rows: Sequence[Row], image: str) -> tuple[float, float] | None:
    """Bits per voxel worth drawing: those of the asked ratios and a factor of 2 beyond; None where a quality was asked.

    Of ratios that lie far apart (`microfield.bench.bjontegaard.stretch`) only the group with most of them shapes the plot.
    """
    raw = raw_bits(rows, image)
    mine = [r for r in rows if r["image"] == image]
    if raw is None or any(r["budget"] != "ratio" for r in mine):
        return None
    asked = summary.unique(mine, "asked")
    together = [ratio for ratio, _ in stretch([(ratio, ratio) for ratio in asked])]
    ratios = together if len(together) > 1 else asked
    return raw / (2 * max(ratios)), 2 * raw / min(ratios)


def _image(image: str, rows: Sequence[Row], shown: str) -> str:
    known = next((r for r in rows if r.get("shape")), rows[0])
    about = ""
    if known.get("shape"):
        about = f"{known['axes']} {'x'.join(map(str, known['shape']))} {known['dtype']}, {known['raw_bytes']:,} bytes raw"
    kind = f"{known['kind']}, " if known.get("kind") else ""
    return (f'<details><summary><b>{html.escape(image)}</b> <span class="faint">{html.escape(kind + about)}</span></summary>'
            f"<p>{html.escape(recommendation(rows))}</p>{shown}"
            f"{_runs([r for r in rows if r['status'] == 'ok'])}{_missing(rows)}"
            "<p class='faint'>The command of every row is in rows.csv (with --again it "
            "runs anew); the first: "
            f"<code>{html.escape(rows[0].get('command', ''))}</code></p></details>")


def _runs(rows: Sequence[Row]) -> str:
    """The finished runs of one image: budget by budget, the best PSNR first and in bold."""
    if not rows:
        return ""
    numbers = [n for n in _NUMBERS if any(r.get(n[0]) is not None or (n[0] == "psnr" and exact(r)) for r in rows)]
    known = _HIDDEN.union(name for name, _, _ in _NUMBERS)
    extra = dict.fromkeys(k for r in rows for k, v in r.items() if k not in known and isinstance(v, (int, float)))
    numbers += [(name, name.replace("_", " "), ".4g") for name in extra]
    head = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in ("budget", "method", *(n[1] for n in numbers)))
    body, seen = [], set()
    for row in sorted(rows, key=lambda r: (r["budget"], r["asked"], -_rank(r))):
        best = (row["budget"], row["asked"]) not in seen
        seen.add((row["budget"], row["asked"]))
        cells = "".join(_cell("exact" if name in ("psnr", "psnr_robust") and exact(row) else row.get(name), spec,
                              best and name == "psnr") for name, _, spec in numbers)
        budget = html.escape(summary.asked(row["budget"], row["asked"]))
        body.append(f"<tr><td>{budget}</td><td>{html.escape(row['method'])}</td>{cells}</tr>")
    return f'<div class="wide"><table class="runs"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _rank(row: Row) -> float:
    """PSNR; an exact copy ranks above all, a row without a measured PSNR below."""
    if row.get("psnr") is not None:
        return float(row["psnr"])
    return math.inf if exact(row) else -math.inf


def _missing(rows: Sequence[Row]) -> str:
    """Why the other runs of one image have no numbers."""
    items = [f"<li>{html.escape(said)}</li>" for said in summary_text.complaints(rows)]
    return f"<ul class=\"faint\">{''.join(items)}</ul>" if items else ""


def _cell(value: Any, spec: str, best: bool) -> str:
    if value is None:
        return "<td>-</td>"
    shown = value if isinstance(value, str) else f"{value / 1e6:.0f}" if spec == "mb" else format(value, spec)
    shown = html.escape(shown)
    return f'<td class="best">{shown}</td>' if best else f"<td>{shown}</td>"

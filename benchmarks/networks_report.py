"""The sections of docs/results.md on our own networks: quality, sizes, speed, from the rows of results.json."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.markdown import table

Rows = dict[str, dict[str, Any]]
"""Name of a measurement, such as ``speed/train/64``, to its row of results.json, which quality.py, sizes.py or speed.py made."""


def sections(rows: Rows) -> list[str]:
    """The sections that there are rows for, as Markdown."""
    return [s for s in (_quality(rows), _sizes(rows), _speed(rows)) if s]


def _under(rows: Rows, prefix: str) -> list[dict[str, Any]]:
    """Rows whose name begins with ``prefix``, in order of their names."""
    return [row for name, row in sorted(rows.items()) if name.startswith(prefix)]


def _quality(rows: Rows) -> str:
    """Default inif against the published configuration: a table, and the mean gains."""
    found = _under(rows, "quality/")
    by_image: dict[str, dict[str, dict[str, Any]]] = {}
    for row in found:
        by_image.setdefault(row["image"], {})[row["case"]] = row
    complete = {image: cases for image, cases in by_image.items() if {"default", "paper inif", "quarter"} <= set(cases)}
    if not complete:
        return ""
    body = [[f"{cases['default']['kind']} ({image})", str(cases["default"]["limit"]),
             *(_cell(cases.get(case)) for case in ("default", "quarter", "paper inif", "paper siren"))]
            for image, cases in complete.items()]
    text = [
        "## Coordinate networks: default against the published configuration",
        "",
        f"Every fit stopped after {found[0]['seconds']:.0f} s. *Default* is `inif` with quantised, entropy-coded weights; "
        "*a quarter* is the same method with a quarter of the bytes; the two last columns are `--option paper=true` (7 layers, "
        "float32 weights, w0 90 and learned for inif, w0 30 and fixed for siren), fitted with Adamax. The authors use a learned "
        "optimiser instead, so these columns are **not the paper's results**. One seed. PSNR in dB.",
        "",
        table(["image", "bytes allowed", "default inif", "a quarter of the bytes", "paper=true inif", "paper=true siren"],
              body),
        *_gains(complete),
    ]
    return "\n".join([*text, ""])


def _gains(complete: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Sentences on what the default and a quarter of its bytes gain over the published configurations."""
    mean = statistics.fmean

    def gains(case: str, published: str) -> list[float]:
        """Differences of PSNR on the images that both were measured on."""
        return [cases[case]["psnr"] - cases[published]["psnr"] for cases in complete.values() if published in cases]

    default, quarter = gains("default", "paper inif"), gains("quarter", "paper inif")
    sentences = [
        f"Default inif gains {mean(default):+.2f} dB on average over paper=true inif at equal bytes and time (from "
        f"{min(default):+.2f} to {max(default):+.2f}); with a quarter of the bytes it is still {mean(quarter):+.2f} dB (from "
        f"{min(quarter):+.2f}).",
    ]
    default, quarter = gains("default", "paper siren"), gains("quarter", "paper siren")
    if default:
        sentences.append(
            f"Against paper=true siren, which Adamax fits far better, the gains are {mean(default):+.2f} dB at equal "
            f"bytes (from {min(default):+.2f}) and {mean(quarter):+.2f} dB with a quarter of them (from "
            f"{min(quarter):+.2f})."
        )
    return sentences


def _cell(row: dict[str, Any] | None) -> str:
    """PSNR of a row; empty for none."""
    return "" if row is None else f"{row['psnr']:.2f}"


def _sizes(rows: Rows) -> str:
    """The part of every budget that was used."""
    found = _under(rows, "sizes/")
    if not found:
        return ""
    ratios = sorted({row["ratio"] for row in found})
    cells = {(row["image"], row["ratio"]): row for row in found}
    body = [[image, *(_used(cells.get((image, r))) for r in ratios)] for image in sorted({row["image"] for row in found})]
    shares = [row["used"] for row in found if row["used"] is not None]
    return "\n".join([
        "## Size: share of the budget used", "",
        "Default `inif`, short fits. Percent of the allowed bytes, never above 100; in brackets the bytes of the file.", "",
        table(["image", *(f"{r}x" for r in ratios)], body),
        f"Lowest share {min(shares):.2%}, highest {max(shares):.2%} over {len(shares)} files.", "",
    ])


def _used(row: dict[str, Any] | None) -> str:
    """The part of its budget that a file uses, and its bytes; empty for no row."""
    if row is None:
        return ""
    return "refused" if row["used"] is None else f"{row['used']:.2%} ({row['bytes']})"


def _speed(rows: Rows) -> str:
    """Training step, decoder, start-up and one slice."""
    parts = []
    for prefix, title, what in (
        ("speed/train/", "Training step",
         "65,536 points, six sine layers: ours (polynomial sine, cache-sized blocks) against plain `jnp.sin`"),
        ("speed/decode/", "Decoder", "262,144 points, six sine layers: our numpy decoder against jitted `jnp.sin` inference"),
    ):
        found = sorted(_under(rows, prefix), key=lambda r: r["width"])
        if found:
            body = [[str(r["width"]), f"{r['ours_ms']:.0f} ms", f"{r['theirs_ms']:.0f} ms",
                     f"{r['ratio']:.2f} ({r['low']:.2f} to {r['high']:.2f})"] for r in found]
            parts += [f"## {title}", "", what + ".", "", table(["width", "ours", "plain", "times as fast"], body)]
    if start := rows.get("speed/startup"):
        parts += ["## Start-up", "", f"Whole processes: python alone {start['python']:.2f} s, `import microfield` "
                  f"{start['import']:.2f} s, `microfield info` {start['info']:.2f} s.", ""]
    if one := rows.get("speed/slice"):
        parts += ["## One slice", "", f"One of {one['planes']} Z planes decodes in {one['slice_ms']:.0f} ms, "
                  f"{one['times_its_share']:.2f} times its share of the whole decode ({one['full_ms']:.0f} ms).", ""]
    return "\n".join(parts)

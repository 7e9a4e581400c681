"""The summary: what was compared, what the reconstruction is good for, and how that verdict is made."""

from __future__ import annotations

import math

from microfield.report.drawing.grade import Grade, badge
from microfield.report.drawing.markup import escape, facts, number, section, size, table, unit_symbol, whole
from microfield.report.evidence import Evidence
from microfield.report.verdict import Finding, Verdict
from microfield.wording import argument


def summary_header(evidence: Evidence, title: str) -> str:
    """The header of the page: its title and the facts about image and file."""
    pair, comparison = evidence.pair, evidence.comparison
    original, file = pair.original, pair.file
    steps = ", ".join(
        f"{axis} {number(step)} {unit_symbol(original.units.get(axis, ''))}".strip()
        for axis, step in original.voxel_size.items() if math.isfinite(step)
    )
    ratio = f"{number(comparison.ratio, 4)}×" if comparison.ratio else ""
    if comparison.source_ratio:
        ratio += f" <small>({number(comparison.source_ratio)}× of the {size(original.source_bytes)} source file)</small>"
    names = ", ".join(map(escape, original.channel_names[:8])) + (" …" if len(original.channel_names) > 8 else "")
    shown = facts({
        "Axes": f"{escape(original.axes)}, {' × '.join(map(str, original.shape))}",
        "Values": f"{original.dtype.name}, {_range(evidence)}",
        "Voxel size": steps,
        "Channels": names,
        "Method": "" if file is None else escape(file.method),
        "Size": f"{size(comparison.file_bytes)} <small>of {size(comparison.raw_bytes)}</small>" if comparison.file_bytes else
                f"{size(comparison.raw_bytes)} <small>uncompressed</small>",
        "Ratio": ratio,
        "PSNR": f"{number(comparison.psnr)} dB" if math.isfinite(comparison.psnr) else "exact copy",
    })
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in original.notes)
    return f'<header class="top"><p class="kicker">Compression report</p><h1>{escape(title)}</h1>{shown}{notes}</header>'


def _range(evidence: Evidence) -> str:
    """Smallest to largest grey level of the original, over all channels."""
    known, integers = evidence.pair.statistics, evidence.pair.layout.dtype.kind in "iu"
    ends = (float(known.minimum.min()), float(known.maximum.max()))
    return " to ".join(whole(int(end)).replace("-", "−") if integers else number(end) for end in ends)


def verdict_section(evidence: Evidence, verdicts: tuple[Verdict, ...]) -> str:
    """A card per use, and where there are several channels a table of their grades."""
    cards = "".join(_card(verdict) for verdict in verdicts)
    body = f'<div class="cards">{cards}</div>{_advice(verdicts)}{_by_channel(evidence, verdicts)}'
    missed = evidence.analysis.truth_missed()
    if missed:
        body += f'<p class="note">{escape(missed[0].upper() + missed[1:])} The verdict there is made as without labels.</p>'
    return section("verdict", "What it is good for", body + _constant(evidence))


def _constant(evidence: Evidence) -> str:
    """Notes on the channels that have one value only; empty without any."""
    pair, text = evidence.pair, ""
    every = [c for c in range(pair.layout.channels) if pair.is_constant(c)]
    ends = {True: "and the copy has it, too.", False: "so there is nothing to judge in it; the copy differs by up to"}
    for exact, end in ends.items():
        found = [c for c in every if (evidence.comparison.channels[c].max_error == 0) == exact]
        if found:
            which = f"Channel {', '.join(pair.names[c] for c in found)} has" if pair.layout.channels > 1 else "The original has"
            worst = "" if exact else f" {number(max(evidence.comparison.channels[c].max_error for c in found))} grey levels."
            text += f'<p class="note">{escape(which)} the same value everywhere, {end}{worst}</p>'
    return text


def _card(verdict: Verdict) -> str:
    """One use: its grade and the numbers behind it."""
    judged = [f for f in verdict.findings if f.grade != Grade.NOT_JUDGED]
    items = "".join(_item(f) for f in judged)
    if verdict.exact:
        items = f'<li class="fine"><b>exact copy</b> every value is that of the original</li>{items}'
    for finding in verdict.unjudged:
        where = f" ({escape(', '.join(finding.unjudged))})" if finding.unjudged and len(finding.unjudged) > 1 else ""
        items += (f'<li class="not-judged"><b>not judged:</b> {escape(finding.criterion.name)}{where} '
                  f"<small>{escape(finding.criterion.silent)}</small></li>")
    if verdict.forward:
        items += f'<li class="forward">{escape(verdict.forward[0].upper() + verdict.forward[1:])}.</li>'
    items = items or "<li>Nothing in this image could be judged for this use.</li>"
    kind = verdict.grade.name.lower().replace("_", "-")
    return (f'<article class="card {kind}"><h3>{escape(verdict.use.capitalize())} {badge(verdict.grade)}</h3>'
            f"<p>{escape(verdict.question)}</p><ul>{items}</ul></article>")


def _item(finding: Finding) -> str:
    where = f" in {escape(finding.where)}" if finding.where else ""
    kind = finding.grade.name.lower().replace("_", "-")
    return (f'<li class="{kind}"><b>{finding.criterion.show(finding.value)}</b> {escape(finding.criterion.name)}{where} '
            f"<small>{finding.criterion.limit}</small></li>")


def _advice(verdicts: tuple[Verdict, ...]) -> str:
    """What to do about the uses that are not fine."""
    failed = [v.use for v in verdicts if v.grade == Grade.NOT_ADVISED]
    careful = [v.use for v in verdicts if v.grade == Grade.WITH_CARE]
    told = ""
    if failed:
        told += (f'<p class="advice not-advised">To <b>{_join(_verbs(failed))}</b>, keep the original or an exact copy of it '
                 f"(<code>{argument('lossless', True)}</code>), or compress less.</p>")
    if careful:
        told += (f'<p class="advice with-care">Before you <b>{_join(_verbs(careful))}</b>, look at the pictures below and at the '
                 "places that matter to you; to be safe, keep an exact copy of the images that carry the conclusion.</p>")
    if not told and any(v.grade == Grade.FINE for v in verdicts):
        grey = [v.use for v in verdicts if v.grade == Grade.NOT_JUDGED]
        rest = f" Whether you can <b>{_join(_verbs(grey))}</b> could not be judged on this image." if grey else ""
        told = f'<p class="advice fine">Within these limits nothing speaks against working with the reconstruction.{rest}</p>'
    return told


def _verbs(uses: list[str]) -> list[str]:
    """Uses as verbs."""
    return ["find spots" if use == "spots" else use for use in uses]


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _by_channel(evidence: Evidence, verdicts: tuple[Verdict, ...]) -> str:
    """A table of the grades of every view; empty for an image of one view."""
    views = evidence.pair.views
    if len(views) < 2:
        return ""
    rows = []
    for view in views:
        cells = [escape(view.name)]
        for verdict in verdicts:
            grades = [f.by_name[view.name] for f in verdict.findings if view.name in f.by_name]
            cells.append(badge(Grade.FINE if evidence.is_exact(view) else min(grades, default=Grade.NOT_JUDGED)))
        rows.append(cells)
    return table(["Channel", *(v.use.capitalize() for v in verdicts)], rows, "Verdict by channel", "grades")


def thresholds_section(verdicts: tuple[Verdict, ...]) -> str:
    """Every criterion with its number, its limits and why."""
    rows = []
    for verdict in verdicts:
        for finding in verdict.findings:
            c = finding.criterion
            rows.append([escape(f"{c.use.capitalize()}: {c.name}"), c.show(finding.value), badge(finding.grade), c.limit,
                         escape(c.reason)])
    note = ("A use is as good as its worst number, and a number as its worst channel. Limits are conventions; the reasons say "
            "where they come from. A reconstruction can pass here and still fail a question not asked here.")
    return section("thresholds", "How the verdict is made",
                   table(["Criterion", "Measured", "Grade", "Limits", "Why"], rows, "Criteria and limits", "wide"), note)

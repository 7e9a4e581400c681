"""HTML as strings. Every text from outside goes through `escape`, every number through `number`, `percent` or `whole`.

None is shown as a dash; NaN is an error of the caller.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence


def escape(text: object) -> str:
    """Text that is harmless as HTML content and inside a quoted attribute; bytes of a file's name that are no text are escaped."""
    return html.escape(str(text).encode("utf-8", "backslashreplace").decode("utf-8"), quote=True)


def number(value: float | None, digits: int = 3) -> str:
    """A number as HTML: ``digits`` significant digits, no exponent between 0.001 and a million, a dash for None.

    Raises
    ------
    ValueError
        If the value is NaN.
    """
    if value is None:
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size and not 1e-3 <= size < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa.replace('-', '−')}·10<sup>{int(exponent)}</sup>".replace("<sup>-", "<sup>−")
    decimals = max(0, digits - 1 - math.floor(math.log10(size))) if size else 0
    return f"{value:,.{decimals}f}".replace("-", "−")


def percent(value: float | None) -> str:
    """A fraction as a percentage: two significant digits below 10 %, none after the point above, a dash for None."""
    if value is None:
        return "–"
    shown = 100 * value
    return f"{shown:.{0 if abs(shown) >= 10 else 1 if abs(shown) >= 1 else 2}f}\u00a0%".replace("-", "−")


def whole(value: int | None) -> str:
    """A count, a dash for None."""
    return "–" if value is None else f"{value:,}"


def size(nbytes: float | None) -> str:
    """A number of bytes with a decimal unit, a dash for None."""
    if nbytes is None:
        return "–"
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= step:
            return f"{number(nbytes / step)} {unit}"
    return f"{int(nbytes)} bytes"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, kind: str = "") -> str:
    """A table of cells that are HTML already; the first cell of a row is its header.

    ``caption`` is plain text. The table scrolls sideways where it is wider than the page.
    """
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="{kind}">'
            f"<caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>")


def limit(value: float) -> str:
    """A round number such as a threshold, as it is."""
    return f"{value:g}"


def percent_limit(value: float) -> str:
    """A round fraction such as a threshold, in percent."""
    return f"{100 * value:g}\u00a0%"


_UNITS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "second": "s", "millisecond": "ms", "minute": "min"}


def unit_symbol(unit: str) -> str:
    """The symbol of a unit in OME-Zarr spelling, as HTML; other units stay as they are."""
    return escape(_UNITS.get(unit, unit))


Measure = tuple[str, Sequence[str], str]
"""A heading, one HTML cell per column, and an explanation."""

FEW_COLUMNS = 5
"""Tables of more columns than this are turned, so that they do not grow wider than a page."""
MOST_FACTS = 5
"""Most facts in a row of the header."""


def by_channel(columns: Sequence[str], measures: Sequence[Measure], caption: str) -> str:
    """A table with a row per measure and its explanation; of more than `FEW_COLUMNS` columns, with a row per column.

    ``columns`` are HTML, headings and explanations are plain text.
    """
    if len(columns) <= FEW_COLUMNS:
        rows = [[escape(name), *cells, escape(meaning)] for name, cells, meaning in measures]
        return table(["", *columns, "What it says"], rows, caption, "measures")
    turned = [[column, *(cells[i] for _, cells, _ in measures)] for i, column in enumerate(columns)]
    meanings = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(meaning)}</dd></div>" for name, _, meaning in measures)
    return table(["Channel", *(escape(m[0]) for m in measures)], turned, caption) + f'<dl class="meanings">{meanings}</dl>'


def facts(pairs: Mapping[str, str]) -> str:
    """A list of names (plain text) and values (HTML) in rows of nearly equal length; empty values are left out."""
    known = [f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in pairs.items() if value]
    columns = fewest_columns(len(known))
    return f'<dl class="facts" style="--columns: {columns}">{"".join(known)}</dl>'


def fewest_columns(count: int) -> int:
    """Number of columns for ``count`` cells: as few rows as `MOST_FACTS` in a row allow, all as long as possible."""
    return max(1, math.ceil(count / max(1, math.ceil(count / MOST_FACTS))))


def plain(markup: str) -> str:
    """The text of a piece of HTML, with ordinary spaces."""
    return html.unescape(re.sub(r"<[^>]*>", "", markup)).replace("\u00a0", " ").replace("\u2212", "-")


def section(key: str, title: str, body: str, note: str = "") -> str:
    """A numbered part of the page that the table of contents points to; ``note`` is its introduction, in HTML."""
    lead = f'<p class="note">{note}</p>' if note else ""
    return f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{escape(title)}</h2>{lead}{body}</section>'


def side_by_side(sections: Iterable[str], narrow: bool) -> str:
    """Sections two in a row where each is narrow enough."""
    body = "".join(sections)
    return f'<div class="columns">{body}</div>' if narrow and body else body


def figure(body: str, caption: str, kind: str = "") -> str:
    """A figure with a caption in HTML."""
    return f'<figure class="{kind}">{body}<figcaption>{caption}</figcaption></figure>'

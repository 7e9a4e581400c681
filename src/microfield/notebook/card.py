"""HTML of an object in a notebook: pictures beside a table of facts. All text is escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from microfield.notebook.png import png
from microfield.notebook.preview import Preview

SHOWN = 160
"""Width of a picture on the page in pixels; small ones are magnified to it, with sharp pixels."""


class Shown(NamedTuple):
    """A picture and what stands below it."""

    preview: Preview
    caption: str


def card(title: str, facts: Mapping[str, str], pictures: Sequence[Shown] = (), table: str = "") -> str:
    """HTML with a title, pictures and facts.

    Parameters
    ----------
    title : str
        Plain text.
    facts : mapping of str to str
        Plain texts; facts that are empty are left out.
    pictures : sequence of Shown
    table : str
        Plain text that is shown below in letters of one width, such as a table of metrics.
    """
    rows = "".join(f'<tr><th style="text-align: left; padding: 0 1em 0 0; font-weight: normal; opacity: .7">{escape(name)}</th>'
                   f'<td style="text-align: left; padding: 0">{escape(fact)}</td></tr>' for name, fact in facts.items() if fact)
    drawn = "".join(map(_figure, pictures))
    below = f'<pre style="margin: .5em 0 0; overflow-x: auto">{escape(table)}</pre>' if table else ""
    return (f'<div><div style="display: flex; gap: 1em; align-items: flex-start; flex-wrap: wrap">{drawn}'
            f"<div><strong>{escape(title)}</strong><table>{rows}</table></div></div>{below}</div>")


def _figure(shown: Shown) -> str:
    picture = shown.preview.picture
    data = base64.b64encode(png(picture)).decode("ascii")
    height, width = picture.shape[:2]
    size = SHOWN if width >= height else max(1, round(SHOWN * width / height))
    caption = escape(" ".join(filter(None, (shown.caption, f"({shown.preview.where})" if shown.preview.where else ""))))
    return (f'<figure style="margin: 0; max-width: {SHOWN}px"><img src="data:image/png;base64,{data}" '
            f'alt="{caption or "preview"}" style="width: {size}px; image-rendering: pixelated">'
            f'<figcaption style="font-size: smaller; opacity: .7">{caption}</figcaption></figure>')

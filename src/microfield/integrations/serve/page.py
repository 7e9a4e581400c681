"""The page that lists the images of a folder: a picture, what is known, and the addresses for viewers."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from microfield.axes import in_words, said_sizes
from microfield.errors import MicrofieldError
from microfield.integrations.serve.folder import MOST_FILES, SUFFIX
from microfield.integrations.serve.library import Library, reason

if TYPE_CHECKING:
    from microfield.integrations.serve.image import ServedImage

STYLE = """
:root { color-scheme: light dark; --line: #dcdfe3; --quiet: #586069; --panel: #f5f6f7; --bad: #a31d32; }
@media (prefers-color-scheme: dark) { :root { --line: #343a40; --quiet: #a3abb3; --panel: #1d2125; --bad: #f59aa5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 2rem 1.25rem 4rem; font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
p { margin: 0 0 .8rem; color: var(--quiet); max-width: 74ch; }
article { display: grid; grid-template-columns: 160px 1fr; gap: 1.25rem; padding: 1.1rem 0; border-top: 1px solid var(--line); }
figure { margin: 0; min-height: 60px; background: var(--panel); border-radius: 6px; display: grid; place-items: center;
  overflow: hidden; }
figure img { display: block; max-width: 100%; color: var(--quiet); font-size: .8rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0; font-size: .92rem; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
code { font: .86rem ui-monospace, Consolas, monospace; user-select: all; }
.damaged { color: var(--bad); }
@media (max-width: 560px) { article { grid-template-columns: 1fr; } }
"""


def page(library: Library, base: str) -> str:
    """The page as HTML.

    Parameters
    ----------
    library : Library
    base : str
        Address of the server as the browser knows it, with a ``/`` at its end.
    """
    names = library.folder.names()
    title = escape(library.folder.root.name or str(library.folder.root))
    count = "1 image" if len(names) == 1 else f"{len(names):,} images"
    more = f" These are the first {MOST_FILES:,}." if len(names) == MOST_FILES else ""
    articles = "\n".join(_article(library, base, name) for name in names)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>
<body><h1>{title}</h1>
<p>{count}, compressed by microfield and decoded while you look.{more} Give a viewer that reads OME-Zarr one of the addresses.
Grey values are not exactly those of the originals, unless an image says "exact".</p>
{articles}
</body></html>
"""


def _article(library: Library, base: str, name: str) -> str:
    """One image; one that cannot be opened says why."""
    try:
        facts, picture = _facts(library.image(name), name, base), f"{base}pictures/{quote(name)}"
    except (MicrofieldError, OSError) as error:
        return (f'<article class="damaged"><figure></figure><div><h2>{escape(name)}</h2>'
                f"<dl><dt>not served</dt><dd>{escape(reason(error))}</dd></dl></div></article>")
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{value}</dd>" for key, value in facts.items() if value)
    return (f'<article><figure><img loading="lazy" src="{escape(picture)}" alt="no quick look"></figure>'
            f"<div><h2>{escape(name)}</h2><dl>{rows}</dl></div></article>")


def _facts(image: ServedImage, name: str, base: str) -> dict[str, str]:
    """What is known of an image, as HTML; empty texts where something is not."""
    f = image.file
    said = {
        "image": f"{in_words(f.axes, f.shape)}, {f.dtype.name}", "voxel size": said_sizes(f.voxel_size, f.units),
        "channels": ", ".join(f.channel_names),
        "size": f"{f.file_bytes:,} bytes, {f.ratio:.1f} times smaller than the array (method {f.method})",
        "quality": "exact" if f.exact else "" if f.making is None else f.making.quality,
        "resolutions": str(len(image.levels)) if len(image.levels) > 1 else "",
    }
    facts = {key: escape(value) for key, value in said.items()}
    stem = quote(name.removesuffix(SUFFIX))
    for version in ("0.5", "0.4"):
        facts[f"OME-Zarr {version}"] = f"<code>{escape(f'{base}{version}/{stem}.ome.zarr')}</code>"
    address = escape(f"{base}files/{quote(name)}")
    facts["microfield"] = f'<a href="{address}"><code>{address}</code></a>'
    return facts

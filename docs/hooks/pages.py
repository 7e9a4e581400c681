"""Pages of the site that are kept elsewhere in the repository or made from the code: a hook of mkdocs.

README, CONTRIBUTING and CHANGELOG are where everybody looks for them, the notebook is with the other examples. Here they
become pages, with their links rewritten; the notebook is run, so that what it shows is what the package does. The page of the
command line is made from its parser. The page of Python must name every public function, setting, property and method.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import command_line
import run_notebook

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = PurePosixPath("docs")
NOTEBOOK = "examples/first-steps.ipynb"

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""File in the repository to page of the site."""

STEPS = "first-steps"
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, before mkdocs looks at the navigation."""
    from mkdocs.structure.files import File

    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=with_links(text, source, config.repo_url or "")))
    for name, content in notebook_files(ROOT / NOTEBOOK):
        files.append(File.generated(config, name, content=content))
    files.append(File.generated(config, "command-line.md", content=command_line.page()))
    return files


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page of Python that leaves something out."""
    if page.file.src_uri == "api.md":
        missing = [name for name in public_names() if not re.search(rf"\b{name}\b", output)]
        if missing:
            raise ValueError(f"docs/api.md does not show {', '.join(missing)}")
    return output


def public_names() -> list[str]:
    """Public functions and classes, settings, and what the classes offer."""
    from dataclasses import fields

    import microfield as mf

    names = [name for name in mf.__all__ if not name.startswith("_")] + [field.name for field in fields(mf.Settings)]
    for offered in (mf.MicrofieldFile, mf.Image, mf.Report, mf.Comparison):
        names += [name for name in vars(offered) if not name.startswith("_")]
    return list(dict.fromkeys(names))


def with_links(text: str, source: str, repository: str) -> str:
    """Links between files of the repository become links between pages, or to the repository where there is no page."""
    return LINK.sub(_rewrite(PurePosixPath(source).parent, repository), text)


def _rewrite(folder: PurePosixPath, repository: str) -> Callable[[re.Match[str]], str]:
    def rewritten(link: re.Match[str]) -> str:
        label, target, place = link[1], link[2], link[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        path = os.path.normpath(folder / target)
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"a page links to {path}, which is not there")
        if path in PAGES:
            return f"{label}({PAGES[path]}{place})"
        if PurePosixPath(path).is_relative_to(DOCS):
            return f"{label}({PurePosixPath(path).relative_to(DOCS)}{place})"
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{label}({repository.rstrip('/')}/{kind}/main/{path}{place})"

    return rewritten


def notebook_files(path: Path) -> Iterator[tuple[str, str | bytes]]:
    """The page of a notebook, and its pictures."""
    parts = []
    for number, cell in enumerate(run_notebook.run(path)):
        parts.append(cell.source if cell.kind == "markdown" else f"```python\n{cell.source}\n```")
        if cell.text:
            parts.append(f"```text\n{cell.text.rstrip()}\n```")
        for k, picture in enumerate(cell.pictures):
            name = f"{STEPS}-{number}-{k}.png"
            parts.append(f"![what this cell draws]({name})")
            yield name, picture
    yield f"{STEPS}.md", "\n\n".join(parts) + "\n"

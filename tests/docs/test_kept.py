"""The table of what is kept from each reader to each writer is that of the formats as they are now."""

from __future__ import annotations

import pytest

from helpers import kept

pytest.importorskip("zarr")


def test_the_page_of_formats_says_what_is_kept() -> None:
    made, shown = kept.table(), kept.of_page(kept.PAGE.read_text(encoding="utf-8"))
    assert made == shown, f"docs/formats.md is out of date; `make pages` makes it:\n{made}"

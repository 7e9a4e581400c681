"""`docs/format.md` is enough to decode ``field``: a decoder written from it alone reads the test vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.independent_field import decode_section, gap_rows, gap_table
from microfield.coding import gap_tables
from microfield.format.container import Container
from microfield.format.source import open_source
from microfield.methods.field.head import WHOLE_REFINEMENT, pinned

VECTORS = sorted((Path(__file__).parent.parent.parent / "vectors").glob("field-*.mfield"))


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 6


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_independent_decoder_reads_the_vectors(path: Path) -> None:
    container = Container.open(open_source(path))
    assert container.header.n_parts == 1
    (section,), layout = container.part(0), container.part_layout(0)
    expected = np.load(path.with_suffix(".npy"))
    version = container.header.bitstream_version
    values = decode_section(section, layout.axes, layout.shape, layout.dtype, pinned(version), version)
    assert values.dtype == expected.dtype
    assert values.shape == expected.shape
    if version >= WHOLE_REFINEMENT:
        np.testing.assert_array_equal(values, expected)
    step = 1 if values.dtype.kind in "iu" else (float(expected.max()) - float(expected.min())) / 65535
    assert np.abs(values.astype(float) - expected.astype(float)).max() <= step


def test_gap_tables_of_the_page_are_those_of_the_code() -> None:
    code, rows = gap_tables.gap_tables(), gap_rows()
    p = 1 / (1 + np.exp(-(np.arange(len(rows)) - 39) / 4))
    ratios = gap_tables.symbol_ratios(p, code.raw_bits).round().astype(int).tolist()
    assert rows == list(zip(code.raw_bits.tolist(), ratios, strict=True))
    tables = [gap_table(*row) for row in rows]
    assert [table.last for table in tables] == code.escape.tolist()
    for row, table in enumerate(tables):
        symbols = np.arange(table.last + 1)
        start, freq = code.tables.intervals(symbols, np.full(len(symbols), row))
        assert table.cumulative == [*start.tolist(), int(start[-1]) + int(freq[-1])]
        assert freq.tolist() == np.diff(table.cumulative).tolist()

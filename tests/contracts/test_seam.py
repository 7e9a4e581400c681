"""What the seam refuses: chains of parts, sections, settings and methods of other packages that are not as they should be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.files import settings
from helpers.images import image
from helpers.seam_methods import Differences, Nested, Shared
from microfield import methods
from microfield.errors import FormatError, InputError, UsageError
from microfield.format.assembler import write
from microfield.format.container import Container
from microfield.format.header import LONGEST_CHAIN, Header
from microfield.format.source import BytesSource
from microfield.image import Image, Layout
from microfield.methods.base import Context, Encoded
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

ROW = Layout((70, 4), "YX", np.dtype(np.uint8))
TILED = {"y": 24, "x": 20}


def packed(method: str, **changed: Any) -> tuple[bytes, Image]:
    source = image("uint8")
    data, _ = compress_to_bytes(source, Budget("max_bytes", 4000), replace(settings(method), tile=TILED, **changed))
    return data, source


# -- parts that build on parts ----------------------------------------------------------------------------------------


def test_references_are_written_read_and_counted() -> None:
    data, source = packed(Differences.name)
    with open_file(data, cache_parts=0) as f:
        assert f.header.references == (None, 0, 1, 2)
        first, last = (f.cost(key) for key in ((slice(0, 1), slice(0, 1)), (slice(30, 31), slice(30, 31))))
        assert last.voxels == 4 * first.voxels
        assert last.nbytes > 3 * first.nbytes
        alone = f[30, 30]
        assert abs(int(f.asarray()[30, 30]) - int(source.read()[30, 30])) < 20
        assert alone == f.asarray()[30, 30]
        f.at([[47, 39], [0, 0]])


@pytest.mark.parametrize("references", [(0,), (None, 1), (None, 2, None)], ids=["itself", "itself later", "forward"])
def test_references_point_backwards(references: tuple[int | None, ...]) -> None:
    layout = Layout((len(references), 4), "YX", np.dtype(np.uint8))
    with pytest.raises(InputError, match="earlier part"):
        Header("field", 1, layout, tile=(1, 4), references=references)


def test_chains_are_bounded_when_written_and_when_read() -> None:
    chain = (None, *range(LONGEST_CHAIN))
    longest = Header(Differences.name, 1, Layout((len(chain), 4), "YX", np.dtype(np.uint8)), tile=(1, 4), references=chain)
    open_file(write(longest, [(b"x",)] * len(chain)))
    with pytest.raises(InputError, match="chain of 65 earlier parts"):
        Header(Differences.name, 1, ROW, tile=(1, 4), references=(None, *range(69)))
    # A file that says so, with valid checksums: the header of 66 parts that each build on the one before.
    too_long = Header(Differences.name, 1, Layout((66, 4), "YX", np.dtype(np.uint8)), tile=(1, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("microfield.format.header.LONGEST_CHAIN", 99)
        data = write(replace(too_long, references=(None, *range(65))), [(b"x",)] * 66)
    with pytest.raises(FormatError, match="chain of 65 earlier parts"):
        open_file(data)


def test_a_method_that_never_refers_does_not_decode_references() -> None:
    header = Header("field", 1, Layout((2, 4), "YX", np.dtype(np.uint8)), tile=(1, 4), references=(None, 0))
    with open_file(write(header, [(b"\x10\x80\x07",)] * 2)) as f, pytest.raises(FormatError, match="never does"):
        f[1]


@pytest.mark.parametrize(("wanted", "message"), [
    ((None, 1, None, None), "does not come before"), ((None, 0, 1), "references for 3 parts of 4"),
    ((None, 0, 1, 2), "chain of 2 parts"), ((None, -1, None, None), "does not come before"),
])
def test_a_method_that_asks_for_impossible_references_is_told(monkeypatch: pytest.MonkeyPatch, wanted: Any, message: str) -> None:
    monkeypatch.setattr(Differences, "references", lambda self, parts, context: wanted)
    monkeypatch.setattr(Differences, "longest_chain", 1)
    with pytest.raises(InputError, match=message):
        packed(Differences.name)


def test_a_method_that_builds_on_what_it_was_not_given_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(self: Any, block: Any, layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        return Encoded((b"",), np.zeros(1), reference=7)

    monkeypatch.setattr(Differences, "encode", encode)
    with pytest.raises(ValueError, match="was not given"):
        packed(Differences.name)


# -- sections ---------------------------------------------------------------------------------------------------------


def test_shared_sections_are_written_once_and_read() -> None:
    data, source = packed(Shared.name)
    container = Container.open(BytesSource(data))
    assert len(container.shared) == 2
    assert abs(open_file(data).asarray().astype(float) - source.read()).mean() < 3
    header = replace(container.header, references=None)
    parts = [container.part(i) for i in range(4)]
    for shared in ((), container.shared[:1], (*container.shared, b"more")):
        with open_file(write(header, parts, shared)) as f, pytest.raises(FormatError, match="shared"):
            f.asarray()


def test_sections_that_are_missing_or_too_many_are_refused() -> None:
    data, _ = packed(Nested.name)
    container = Container.open(BytesSource(data))
    assert container.header.sections == 2
    for count in (1, 3):
        parts = [(*container.part(i), b"")[:count] for i in range(4)]
        with open_file(write(replace(container.header, sections=count), parts)) as f, pytest.raises(FormatError, match="sections"):
            f.asarray()


def test_a_method_that_gives_other_sections_than_it_declares_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Nested, "sections", 3)
    with pytest.raises(ValueError, match="declares 3"):
        packed(Nested.name)


# -- margins ----------------------------------------------------------------------------------------------------------


def test_parts_are_seen_with_their_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[int, ...], bool]] = []
    encode = Shared.encode

    def watching(self: Shared, block: Any, layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        around = context.surroundings
        assert around is not None
        seen.append((around.values.shape, bool((around.values[around.inside] == block).all())))
        return encode(self, block, layout, quality, context, state)

    monkeypatch.setattr(Shared, "encode", watching)
    monkeypatch.setattr(Shared, "margin", lambda self, layout: (3, 5))
    packed(Shared.name)
    # 48 x 40 in parts of 24 x 20: the margin is cut off at the borders of the image.
    assert set(seen) == {((27, 25), True)}


# -- saliency ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("saliency", "message"), [
    (np.ones((3, 3), bool), "shape"), (np.zeros((48, 40)), "zero everywhere"), (np.full((48, 40), np.nan), "NaN"),
    (np.full((48, 40), -1.0), "negative"), (np.zeros((48, 40), bool), "empty"), (np.full((48, 40), "a"), "booleans or numbers"),
    (Image(np.ones((48, 41), np.uint8), "YX"), "shape"),
])
def test_a_saliency_that_is_none_is_refused(saliency: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compress_to_bytes(image("uint8"), Budget("max_bytes", 300), settings("inif", saliency=saliency))


def test_one_mask_serves_all_channels() -> None:
    source = image("channels")
    mask = np.zeros(source.shape[1:], np.uint8)
    mask[8:20, 5:15] = 1
    weights = Settings(saliency=Image(mask.astype(bool).view(np.uint8), "YX")).objective(source).weights
    assert weights is not None
    np.testing.assert_array_equal(weights, np.broadcast_to(mask, source.shape).astype(np.float32))


# -- methods of other packages ----------------------------------------------------------------------------------------

PACKAGE = '''
from helpers.seam_methods import Shared

class Foreign(Shared):
    name = "foreign"
'''


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package installed beside microfield, with one method that works and two that do not."""
    (tmp_path / "foreign_package.py").write_text(PACKAGE)
    info = tmp_path / "foreign_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[microfield.methods]\nforeign = foreign_package:Foreign\nbroken = foreign_package_that_is_not_there:X\n"
        "other = foreign_package:PACKAGE_CONSTANT\nfield = foreign_package:Foreign\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    methods._entry_points.cache_clear()
    yield
    methods._entry_points.cache_clear()
    sys.modules.pop("foreign_package", None)


@pytest.mark.usefixtures("foreign")
def test_a_method_of_another_package_is_found_by_its_entry_point() -> None:
    assert {"foreign", "broken", "other"} <= set(methods.names())
    data, source = packed("foreign")
    with open_file(data) as f:
        assert f.method == "foreign"
        assert abs(f.asarray().astype(float) - source.read()).mean() < 3
    assert methods.get_method("field").__module__.startswith("microfield.")


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("name", ["broken", "other"])
def test_a_broken_package_is_one_sentence_and_harms_nothing(name: str) -> None:
    with pytest.raises(InputError, match="foreign-package") as told:
        packed(name)
    assert str(told.value).count(". ") == 0
    data, _ = packed("foreign")
    assert open_file(data).method == "foreign"
    with pytest.raises(UsageError, match="cannot use optimiser"):
        packed("foreign", optimiser=object)


def test_files_of_an_unknown_package_say_so() -> None:
    header = Header("nobody", 1, Layout((2, 4), "YX", np.dtype(np.uint8)))
    with pytest.raises(FormatError, match="package that added it"):
        open_file(write(header, [(b"x",)]))

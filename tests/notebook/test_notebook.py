"""What objects show of themselves in a notebook."""

from __future__ import annotations

import base64
import io
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microfield as mf
from helpers.files import Packed, compressed
from helpers.images import KINDS, blobs, image, scaled
from microfield.display import ChannelDisplay, Display
from microfield.notebook.png import png
from microfield.notebook.preview import MOST_PIXELS, SIDE, like, look, preview
from microfield.reading import glance
from microfield.writing.budget import Budget

pillow = pytest.importorskip("PIL.Image")


class Page(HTMLParser):
    """Text and pictures of a piece of HTML whose tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        assert not self.open
        assert "<script" not in text
        found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
        self.pictures = [np.asarray(pillow.open(io.BytesIO(base64.b64decode(data)))) for data in found]

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += f"{data}\n"


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (3, 200), (6, 4, 3)])
def test_png_is_what_other_programs_read(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(pillow.open(io.BytesIO(png(values)))), values)


@pytest.mark.parametrize("kind", KINDS)
def test_images(kind: str) -> None:
    page = Page(image(kind)._repr_html_())
    height, width = (image(kind).sizes[a] for a in "YX")
    assert page.pictures[0].shape[:2] == (height, width)
    assert page.pictures[0].max() > 200
    assert kind in page.words
    assert repr(image(kind)).startswith(f"<Image {kind}: {image(kind).axes}: ")


def test_names_are_escaped() -> None:
    cruel = replace(image("channels"), name="<script>alert(1)</script>.tif", channel_names=("<b>", '"&'), notes=("a < b",))
    text = cruel._repr_html_()
    page = Page(text)
    assert "<b>," not in text
    assert cruel.name in page.words
    assert '<b>, "&' in page.words


def test_a_lazy_image_gives_a_few_values_only() -> None:
    asked = []

    class Lazy:
        shape, dtype = (50, 8000, 6000), np.dtype(np.uint16)

        def __getitem__(self, key: Any) -> Any:
            asked.append(key)
            extents = [len(range(*k.indices(n))) for k, n in zip(key, self.shape, strict=True)]
            return np.arange(np.prod(extents), dtype=np.uint16).reshape(extents)

    page = Page(mf.Image(Lazy(), "ZYX")._repr_html_())
    assert len(asked) == 1
    z, y, x = asked[0]
    assert z == slice(25, 26)
    assert (y.stop - y.start) * (x.stop - x.start) <= MOST_PIXELS
    assert max(page.pictures[0].shape) <= SIDE
    assert "plane 25 of 50, its middle" in page.words


def test_channels_have_their_colours_and_ranges() -> None:
    display = Display((ChannelDisplay((0, 0, 255)), ChannelDisplay((0, 255, 0))))
    shown = replace(image("channels"), display=display)
    picture = Page(shown._repr_html_()).pictures[0]
    assert picture[..., 0].max() == 0
    assert picture[..., 2].max() == 255
    first = preview(shown.read(), "CYX", display)
    darker = like(shown.read() // 2, "CYX", first)
    assert darker.colours == first.colours
    assert darker.picture.sum() < first.picture.sum()


@pytest.mark.parametrize("values", [np.zeros((9, 9), np.uint16), np.full((9, 9), np.nan, np.float32)])
def test_images_without_contrast(values: Any) -> None:
    assert Page(mf.Image(values, "YX")._repr_html_()).pictures[0].shape == (9, 9)


def test_where_to_look() -> None:
    assert look({"Y": 100, "X": 160}).key == (slice(0, 100, 1), slice(0, 160, 1))
    assert look({"T": 9, "C": 200, "Y": 100, "X": 161}).key == (slice(4, 5), slice(0, 6), slice(0, 100, 2), slice(0, 161, 2))


def test_files(packed: Callable[[str, str], Packed]) -> None:
    with mf.open(packed("field", "series")[0]) as f:
        page = Page(f._repr_html_())
        np.testing.assert_array_equal(page.pictures[0].shape[:2], f.shape[-2:])
        for words in ("TCZYX: 2 time points, 2 channels, 3 planes, 16 x 14, uint16", "field", "times smaller", "time 1 of 2"):
            assert words in page.words


def test_a_file_that_is_long_to_decode_shows_its_coarse_levels_or_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    big = scaled(blobs((2, 100, 340), count=30), 100, 30000, np.uint16)
    data, _ = compressed(mf.Image(big, "ZYX"), "field", Budget("ratio", 30))
    with mf.open(data) as f:
        exact = f.glance()
        assert "dB as measured when written" in Page(f._repr_html_()).words
    monkeypatch.setattr(glance, "QUICK_VOXELS", big.size // 2)
    with mf.open(data) as f:
        coarse = f.glance()
    assert exact is not None
    assert coarse is not None
    small = big.reshape(2, 25, 4, 85, 4).mean((0, 2, 4))
    rms = np.sqrt(np.mean((coarse.values[0] - small) ** 2))
    assert rms < 0.02 * (float(big.max()) - float(big.min()))
    monkeypatch.setattr(glance, "QUICK_PARTS", 0)
    with mf.open(data) as f:
        assert f.glance() is None
    monkeypatch.setattr(glance, "QUICK_PARTS", 9)
    monkeypatch.setattr(glance, "QUICK_VOXELS", 1)
    with mf.open(data) as f:
        page = Page(f._repr_html_())
    assert not page.pictures
    assert "too large for a quick look" in page.words


def test_a_damaged_file_shows_what_is_wrong(packed: Callable[[str, str], Packed]) -> None:
    data = bytearray(packed("field", "stack")[0])
    data[-40] ^= 255
    with mf.open(bytes(data)) as f:
        page = Page(f._repr_html_())
    assert not page.pictures
    assert "damaged" in page.words or "checksum" in page.words


def test_reports(tmp_path: Path) -> None:
    report = mf.compress(image("channels"), tmp_path / "a.mfield", ratio=16, effort=0)
    page = Page(report._repr_html_())
    original, copy = page.pictures
    assert original.shape == copy.shape
    assert 0 < np.abs(original.astype(int) - copy).mean() < 20
    assert f"{report.psnr:.2f} dB" in page.words
    assert repr(report).startswith("<Report ")
    assert str(report).startswith(f"{tmp_path / 'a.mfield'}: ")
    assert not {"original", "path"} & set(report.as_dict())
    (tmp_path / "a.mfield").unlink()
    assert len(Page(report._repr_html_()).pictures) == 1


def test_comparisons(packed: Callable[[str, str], Packed]) -> None:
    found = mf.compare(image("channels"), packed("field", "channels")[0])
    page = Page(found._repr_html_())
    assert len(page.pictures) == 2
    assert found.table().splitlines()[0] in page.words
    assert "previews" not in found.as_dict()
    assert "previews" not in dict(found)
    assert repr(found).startswith("<Comparison of 2 channels: PSNR ")
    assert str(found).startswith(found.table())


def test_verdicts(packed: Callable[[str, str], Packed]) -> None:
    pytest.importorskip("skimage")
    found = mf.verdict(image("channels"), packed("field", "channels")[0])
    page = Page(found._repr_html_())
    assert all(use in page.words for use in ("look", "count", "spots", "measure"))
    again = pickle.loads(pickle.dumps(found))
    assert str(again) == str(found)
    assert again.verdicts[0].findings[0].criterion is found.verdicts[0].findings[0].criterion

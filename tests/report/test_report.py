"""The comparison report as a whole: every kind of image gives a page that is valid, complete in itself and says what it must."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from helpers.files import random_file
from helpers.images import KINDS, blobs, image, scaled
from microfield.display import ChannelDisplay, Display
from microfield.errors import InputError
from microfield.image import Image
from microfield.reading.file import open_file
from microfield.report import write_report
from microfield.report.crop_choice import choose_crops
from microfield.report.drawing.charts import DIGIT, WIDTH, Axes, chart
from microfield.report.drawing.composite import TRANSMITTED, channel_colours, composite
from microfield.report.drawing.grade import Grade
from microfield.report.drawing.markup import by_channel, escape, facts, fewest_columns, number, percent, size, table
from microfield.report.drawing.pictures import error_bytes, framed, overlay, shrink, to_bytes
from microfield.report.evidence import Evidence
from microfield.report.pair import make_pair
from microfield.report.tile_errors import measure_tiles
from microfield.report.verdict import judge_uses

Array = npt.NDArray[Any]


class Checker(HTMLParser):
    """Collects what a page holds and whether its tags are balanced."""

    VOID = ("meta", "img", "br", "line", "circle", "polyline", "polygon", "col", "hr", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "script" not in self.open:
            self.text += f" {data}"


def check(path: Path) -> Checker:
    """A page that is well formed, loads nothing, and describes its pictures."""
    source = path.read_text(encoding="utf-8")
    page = Checker()
    page.feed(source)
    assert page.open == []
    assert not any(tag in ("link", "iframe", "object") for tag, _ in page.tags)
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]  # our own, which loads nothing
    assert "http" not in source
    assert "url(" not in source.replace("url(#gamma)", "")
    for tag, attributes in page.tags:
        if tag == "img":
            assert (attributes["src"] or "").startswith("data:image/png;base64,")
            assert attributes["alt"]
        if tag == "svg" and "aria-hidden" not in attributes:
            assert attributes["aria-label"]
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = [(a["href"] or "")[1:] for tag, a in page.tags if tag == "a"]
    assert links
    assert set(links) <= set(ids)
    assert not re.search(r"\b(nan|inf|None|Traceback)\b", page.text)
    return page


def blurred(original: Image, sigma: float = 1.0) -> Array:
    values = original.read()
    sigmas = [sigma if axis in "YX" else 0 for axis in original.axes]
    return np.asarray(gaussian_filter(values.astype(float), sigmas).astype(values.dtype))


def report(original: Image, reconstruction: Any, folder: Path, **options: Any) -> tuple[Evidence, Checker]:
    evidence = write_report(original, reconstruction, folder / "report.html", overwrite=True, **options)
    return evidence, check(folder / "report.html")


# -- every kind of image ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_gives_a_page(kind: str, tmp_path: Path) -> None:
    _, page = report(image(kind), blurred(image(kind)), tmp_path)
    for words in ("What it is good for", "Close up", "All metrics", "How the verdict is made", "fine at most"):
        assert words in page.text
    ids = {a.get("id") for _, a in page.tags}
    assert ("time" in ids) == ("T" in image(kind).axes)
    assert ("colocalisation" in ids) == (image(kind).sizes.get("C", 1) > 1)


ODD: Mapping[str, tuple[Array, str]] = {
    "one pixel": (np.full((1, 1), 5, np.uint8), "YX"),
    "one column": (scaled(blobs((40, 3)), 100, 4000, np.uint16)[:, :1], "YX"),
    "small": (blobs((5, 7)).astype(np.float32), "YX"),
    "axes of size 1": (scaled(blobs((50, 60)), 100, 4000, np.uint16)[None, None, None], "TCZYX"),
    "alpha": (scaled(np.stack([blobs((50, 60), s) for s in range(4)], -1), 0, 255, np.uint8), "YXS"),
    "two samples": (scaled(np.stack([blobs((50, 60), s) for s in range(2)], -1), 0, 255, np.uint8), "YXS"),
    "colour channels": (scaled(np.stack([[blobs((40, 50), s)] * 3 for s in range(2)]), 0, 255, np.uint8), "CSYX"),
    "huge": (blobs((40, 50)) * 1e200, "YX"),
    "tiny": ((blobs((40, 50)) * 1e-30).astype(np.float32), "YX"),
    "int32": (scaled(blobs((40, 50)), -1e9, 1e9, np.int32), "YX"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_images_give_a_page(name: str, tmp_path: Path) -> None:
    values, axes = ODD[name]
    original = Image(values, axes, name=name)
    report(original, blurred(original), tmp_path)


def test_constant_image_says_so(tmp_path: Path) -> None:
    original = Image(np.full((3, 40, 40), 7, np.uint16), "ZYX")
    _, page = report(original, original.read(), tmp_path)
    assert "the same value everywhere, and the copy has it, too" in page.text
    assert [a["class"] for tag, a in page.tags if tag == "article"] == ["card fine"] * 4
    assert page.text.count("exact copy") == 5  # the head and every use
    worse = original.read().copy()
    worse[1, 5, 5] = 9
    _, page = report(original, worse, tmp_path)
    assert [a["class"] for tag, a in page.tags if tag == "article"] == ["card not-judged"] * 4
    assert "differs by up to 2.00 grey levels" in page.text


def test_exact_copy_is_fine_for_all_uses(tmp_path: Path) -> None:
    original = Image(scaled(blobs((96, 96), count=40), 100, 4000, np.uint16), "YX")
    _, page = report(original, original.read(), tmp_path)
    assert "exact copy" in page.text
    assert "nothing speaks against" in page.text
    cards = [a["class"] for tag, a in page.tags if tag == "article"]
    assert cards == ["card fine"] * 4


def test_many_channels_show_a_selection_and_say_so(tmp_path: Path) -> None:
    values = scaled(np.stack([blobs((48, 40), s) for s in range(7)]), 100, 4000, np.uint16)
    original = Image(values, "CYX", channel_names=tuple(f"marker {i}" for i in range(7)))
    worse = blurred(original, 0.4)
    worse[5] = gaussian_filter(values[5], 6)
    evidence, page = report(original, worse, tmp_path)
    names = [view.name for view, _ in evidence.shown]
    assert len(names) == 4
    assert {"marker 0", "marker 5"} <= set(names)
    assert "4 of 7 channels have pictures" in page.text


# -- what a page says -------------------------------------------------------------------------------------------------


def test_microfield_file_names_its_method_and_size(tmp_path: Path) -> None:
    original = image("stack")
    f = open_file(random_file(original.layout))
    _, page = report(original, f, tmp_path)
    assert "inif" in page.text
    assert f"{number(original.nbytes / f.file_bytes, 4)}×" in page.text


def test_names_from_files_are_harmless(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>'
    values = scaled(np.stack([blobs((40, 40), s) for s in (1, 2)]), 100, 4000, np.uint16)
    original = Image(values, "CYX", channel_names=(evil, '"><img src=x onerror=alert(1)>'), name=evil,
                     units={"X": evil, "Y": evil}, voxel_size={"X": 0.5, "Y": 0.5})
    _, page = report(original, blurred(original), tmp_path, title=evil)
    assert page.text.count(evil) > 3
    assert not any("onerror" in a for _, a in page.tags)


def test_scale_bar_where_the_voxel_size_is_known(tmp_path: Path) -> None:
    values = image("uint8").read()
    known = Image(values, "YX", voxel_size={"Y": 0.25, "X": 0.25}, units={"Y": "micrometer", "X": "micrometer"})
    _, page = report(known, blurred(known), tmp_path)
    bars = [a for tag, a in page.tags if tag == "span" and a.get("class") == "bar"]
    assert bars
    assert "2 µm" in page.text
    _, page = report(image("uint8"), blurred(image("uint8")), tmp_path)
    assert not [a for tag, a in page.tags if a.get("class") == "bar"]


def test_labels_are_scored(tmp_path: Path) -> None:
    values = blobs((96, 96), count=30)
    original = Image(scaled(values, 100, 4000, np.uint16), "YX")
    _, page = report(original, blurred(original), tmp_path, labels=(values > 0.2).astype(np.uint8))
    assert "against the labels" in page.text
    with pytest.raises(InputError, match="labels have shape"):
        report(original, blurred(original), tmp_path, labels=np.zeros((5, 5), np.uint8))


def test_labels_that_are_not_found_do_not_make_it_fine(tmp_path: Path) -> None:
    """Labels in another place: no loss against them, as nothing of them was found; the damage shows in the agreement."""
    values = blobs((128, 128), count=40)
    original, labels = Image(scaled(values, 100, 4000, np.uint16), "YX"), np.zeros(values.shape, np.uint8)
    labels[4:8] = 1
    evidence, page = report(original, blurred(original, 5), tmp_path, labels=labels)
    assert evidence.analysis.channels[0].meets_truth is False
    assert page.text.count("does not find these labels") == 2
    assert "as without labels" in page.text
    without, _ = report(original, blurred(original, 5), tmp_path)
    for one, other in zip(judge_uses(evidence), judge_uses(without), strict=True):
        assert one.grade == other.grade
    counting = judge_uses(evidence)[1]
    assert counting.grade == Grade.NOT_ADVISED
    (loss,) = [f for f in counting.findings if "ground truth" in f.criterion.name]
    assert (loss.value, loss.grade) == (None, Grade.NOT_JUDGED)


def test_traces_that_say_nothing_are_not_judged(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    still = np.stack([scaled(blobs((64, 64), count=12), 100, 1000, np.uint16) + rng.integers(0, 60, (64, 64)) for _ in range(12)])
    for movie, why in ((still, "no region of the original changes"), (still[:5], "with 5 time points")):
        original = Image(movie.astype(np.uint16), "TYX")
        other = (movie + rng.integers(0, 60, movie.shape)).astype(np.uint16)
        evidence, page = report(original, other, tmp_path)
        (finding,) = [f for v in judge_uses(evidence) for f in v.findings if "traces" in f.criterion.name]
        assert evidence.analysis.channels[0].trace_correlation is not None
        assert finding.grade == Grade.NOT_JUDGED
        assert why in page.text


def test_what_the_page_says_of_detail_is_not_resolution(tmp_path: Path) -> None:
    _, page = report(image("stack"), blurred(image("stack")), tmp_path)
    assert "resolution" not in page.text.lower()
    assert "no measure of sharpness" in page.text
    assert "without the noise, all else kept" in page.text
    assert "where it runs above, the copy kept part of the noise" in page.text
    assert "Far fewer" not in page.text


def test_page_of_pure_noise_stays_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (3, 4, 400, 400), np.uint16)
    write_report(Image(noise, "TCYX"), np.roll(noise, 1, axis=2), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


# -- what is refused --------------------------------------------------------------------------------------------------


def refused(original: Image, reconstruction: Any, folder: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as found:
        write_report(original, reconstruction, folder / "report.html")
    assert str(found.value).count("\n") == 0
    assert list(folder.iterdir()) == []


def test_what_cannot_be_compared_is_refused_in_a_sentence(tmp_path: Path) -> None:
    original = image("stack")
    refused(original, np.zeros((2, 3), np.uint16), tmp_path, "only arrays of one shape")
    refused(original, Image(original.read(), "TYX"), tmp_path, "axes ZYX and the reconstruction TYX")
    holes = image("float32").read().copy()
    holes[3, 4] = np.nan
    refused(image("float32"), holes, tmp_path, "1 NaN")
    refused(Image(holes, "YX"), image("float32").read(), tmp_path, "1 NaN")
    labels = np.kron(np.arange(4).reshape(2, 2), np.ones((150, 150))).astype(np.uint16)
    refused(Image(labels, "YX", labels=True), labels, tmp_path, "object labels")


def test_destination_is_checked_before_the_work(tmp_path: Path) -> None:
    for name, match in (("report.pdf", r"end in \.html"), ("nowhere/report.html", "does not exist")):
        with pytest.raises(InputError, match=match):
            write_report(image("uint8"), np.zeros((2, 3)), tmp_path / name)


# -- pieces -----------------------------------------------------------------------------------------------------------


def test_facts_fill_their_rows() -> None:
    assert [fewest_columns(n) for n in range(1, 11)] == [1, 2, 3, 4, 5, 3, 4, 4, 5, 5]
    page = facts({f"fact {i}": "x" if i else "" for i in range(7)})  # one is empty
    assert "--columns: 3" in page
    assert page.count("<dt>") == 6


def test_numbers_on_an_axis_stay_inside_the_drawing() -> None:
    drawn = chart([], Axes("x", "y", (-150000, 150000), (0, 1)), "t")
    assert re.findall(r'text-anchor="middle">([^<x]+)<', drawn)[:-1] == ["−1e5", "0", "1e5"]
    drawn = chart([], Axes("x", "y", (0, 250000), (0, 1)), "t")
    assert re.findall(r'text-anchor="middle">([^<x]+)<', drawn)[:-1] == ["0", "50,000", "1e5", "1.5e5", "2e5", "2.5e5"]
    for end in (9, 1500, 20000):
        drawn = chart([], Axes("x", "y", (0, end), (0, 1)), "t")
        *_, (place, text) = re.findall(r'x="([0-9.]+)"[^>]*text-anchor="middle">([0-9,]+)<', drawn)
        assert float(place) + DIGIT * len(text) / 2 <= WIDTH + 0.1
        assert float(place) > WIDTH - 0.2 * WIDTH


def test_numbers_read_well() -> None:
    assert [number(v) for v in (None, 0.0, 1.0, 12345.6, -0.5, float("inf"))] == ["–", "0", "1.00", "12,346", "−0.500", "∞"]
    assert number(1.5e-7) == "1.50·10<sup>−7</sup>"
    assert [percent(v) for v in (0.5, 0.05, 0.005)] == ["50\u00a0%", "5.0\u00a0%", "0.50\u00a0%"]
    assert [size(v) for v in (999, 1500, 2_000_000)] == ["999 bytes", "1.50 kB", "2.00 MB"]


def test_tables_escape_captions_and_turn_with_many_columns() -> None:
    assert "&lt;b&gt;" in table(["a"], [["x"]], "<b>")
    assert escape("<&\"'>") == "&lt;&amp;&quot;&#x27;&gt;"
    few = by_channel(["A", "B"], [("PSNR", ["1", "2"], "why")], "t")
    assert few.count('scope="row"') == 1
    many = by_channel(list("ABCDEFG"), [("PSNR", list("1234567"), "why")], "t")
    assert many.count('scope="row"') == 7


def test_pictures_map_values_to_grey_and_colour() -> None:
    assert to_bytes(np.array([-1.0, 0.0, 0.5, 1.0, 9.0]), (0.0, 1.0)).tolist() == [0, 0, 128, 255, 255]
    assert error_bytes(np.array([-9.0, -2.0, 0.0, 1.0, 2.0]), 2.0).tolist() == [0, 0, 127, 190, 254]
    a, b = np.array([[True, True, False]]), np.array([[True, False, True]])
    coloured = overlay(np.zeros((1, 3), np.uint8), a, b)
    assert coloured[0, 1].argmax() == 0  # lost: orange
    assert coloured[0, 2].argmax() == 2  # invented: blue
    means = shrink(np.arange(25.0).reshape(5, 5), 3)
    assert means.shape == (3, 3)
    assert means[0, 0] == np.mean([0, 1, 5, 6])
    assert means[2, 2] == 24


def test_scale_bars_are_round_and_at_most_a_quarter() -> None:
    frame = framed("", {"X": 0.13}, {"X": "micrometer"}, "X", 300)  # a quarter is 9.75 µm
    assert "5 µm" in frame
    assert f"{100 * 5 / 39:.2f}%" in frame
    assert "bar" not in framed("", {}, {}, "X", 300)


def test_large_images_are_read_in_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from microfield.report import pair, tile_errors

    monkeypatch.setattr(pair, "KEEP_BYTES", 0)
    monkeypatch.setattr(tile_errors, "MOST_VOXELS", 3 * 16 * 14)
    original = image("series")
    evidence, page = report(original, open_file(random_file(original.layout)), tmp_path)
    assert len(evidence.tiles.planes) < evidence.tiles.total == 6
    assert not isinstance(evidence.pair.reconstruction, np.ndarray)
    assert "of 6 planes" in page.text


def test_a_page_of_several_channels_shows_them_together_and_folds_the_rest(tmp_path: Path) -> None:
    cells = scaled(blobs((96, 96), count=20), 100, 4000, np.uint16)
    original = Image(np.stack([cells, cells.T]), "CYX", channel_names=("GFP", "Brightfield"))
    _, page = report(original, original.read() + 3, tmp_path)
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {"together", "words", "viewer", "flicker", "gamma-slider"} <= ids
    folded = [attributes for tag, attributes in page.tags if tag == "details" and attributes.get("class") == "channel"]
    assert ["open" in attributes for attributes in folded] == [True, False, True, False]  # close up, whole planes
    kinds = [attributes["class"] for tag, attributes in page.tags if tag == "img" and attributes["class"]]
    assert kinds.count("original") == kinds.count("reconstruction") > 4


def test_colours_of_channels_add_up_and_transmitted_light_stays_grey() -> None:
    assert channel_colours(Display(), 1) == ((255, 255, 255),)
    known = Display((ChannelDisplay((0, 0, 255)), ChannelDisplay()))
    assert channel_colours(known, 2)[0] == (0, 0, 255)
    assert channel_colours(Display(), 3, ("DAPI", "DIC", "GFP"))[1] == TRANSMITTED
    assert len(set(channel_colours(Display(), 6))) == 6
    ramp = np.linspace(0, 1, 8).reshape(2, 4)
    made = composite([ramp, 1 - ramp], [(255, 0, 0), (0, 255, 0)])
    assert made.shape == (2, 4, 3)
    assert (made[0, 0].tolist(), made[1, 3].tolist()) == ([0, 255, 0], [255, 0, 0])
    assert composite([ramp, ramp], [(200, 0, 0), (200, 0, 0)])[1, 3, 0] == 255


def test_the_random_place_is_not_empty_background() -> None:
    original = 100 + np.random.default_rng(0).normal(0, 1, (512, 512))
    original[:, 300:] += 300 * blobs((512, 212), count=200)
    pair = make_pair(Image(original, "YX"), original + 0.1)
    crops = {c.reason: c for c in choose_crops(pair, measure_tiles(pair), pair.views[0])}
    assert crops["random place"].x.stop > 300
    original[:, 300:] = original[:, :212]
    original[200:330, 300:430] += 300 * blobs((130, 130), count=30)
    pair = make_pair(Image(original, "YX"), original + 0.1)
    assert "random place" not in {c.reason for c in choose_crops(pair, measure_tiles(pair), pair.views[0])}

"""`hybrid`: a prior corrected by a fitted filter or a network, unit by unit where a criterion says so."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from helpers.files import compressed
from helpers.images import blobs, blurred, pollen, scaled, smooth
from microfield.coding.bytes_reader import ByteReader
from microfield.errors import BudgetError, FormatError, InputError, UsageError
from microfield.format.assembler import write
from microfield.format.container import Container
from microfield.format.header import Header
from microfield.format.source import BytesSource
from microfield.image import Image, Layout
from microfield.methods import get_method
from microfield.methods.field.refine import Refinement
from microfield.methods.field.taps import features, places
from microfield.methods.hybrid.criteria import criterion
from microfield.methods.hybrid.decoder import HybridDecoder, network_of
from microfield.methods.hybrid.filters import KINDS, PLANE_SETS, Filter, Kind, fitted
from microfield.methods.hybrid.head import Head
from microfield.methods.hybrid.units import FIRST_TILE, SLICE, Units, finest
from microfield.reading.file import open_file
from microfield.writing.budget import Budget

Array = npt.NDArray[Any]


def head_of(data: bytes) -> Head:
    opened = Container.open(BytesSource(data))
    return Head.unpack(opened.part(0)[0], opened.header.part_layout(0))[0]


def plain_network() -> Refinement:
    return network_of(b"")


# -- the file against its prior ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["field", "hevc", "av1"])
def test_a_corrected_file_is_no_worse_than_its_prior_alone_in_the_same_bytes(prior: str) -> None:
    budget = Budget("max_bytes", 3000)
    data, report = compressed(pollen(), "hybrid", budget, options={"prior": prior})
    alone = compressed(pollen(), prior, budget)[1]
    assert len(data) <= 3000
    # The codecs' knobs are coarse, so that a file may leave some bytes.
    assert report.psnr > alone.psnr - 0.03
    assert head_of(data).prior == prior


def test_hevc_is_corrected_by_filter_and_network_and_clearly_better_for_it() -> None:
    budget = Budget("max_bytes", 6000)
    data, report = compressed(pollen(), "hybrid", budget, options={"prior": "hevc"})
    head = head_of(data)
    assert head.residual == "filter"
    assert head.filters[0].step
    assert report.psnr > compressed(pollen(), "hevc", budget)[1].psnr + 0.05


def test_where_a_filter_costs_more_than_it_gives_the_file_is_the_prior_and_a_byte() -> None:
    noise = Image(np.random.default_rng(0).integers(0, 256, (24, 20)).astype(np.uint8), "YX")
    data, report = compressed(noise, "hybrid", Budget("max_bytes", 220))
    head = head_of(data)
    assert head.residual == "none"
    assert len(head.pack()) == 1
    assert report.scores["corrected"] == 0


def test_a_published_share_goes_to_hevc_and_the_rest_to_a_network_or_all_to_hevc() -> None:
    source = Image(scaled(blobs((48, 40)), 20, 200, np.uint8), "YX")
    options = {"prior": "hevc", "residual": "inif", "share": 0.6, "units": "16"}
    budget = Budget("max_bytes", 600)
    data, report = compressed(source, "hybrid", budget, options=options)
    assert len(data) <= 600
    # The header holds a longer name and options.
    assert report.psnr >= compressed(source, "hevc", Budget("max_bytes", 520))[1].psnr
    head = head_of(data)
    assert head.residual in ("inif", "none")
    whole, span = open_file(data).asarray().astype(float), float(np.ptp(source.read()))
    assert report.psnr == pytest.approx(-10 * np.log10(np.mean((whole - source.read()) ** 2) / span**2))


def test_a_network_may_correct_part_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the prior alone out of the way, units keep what the network improves, and nothing else."""
    def refused(*_: Any) -> None:
        raise BudgetError("left out")

    monkeypatch.setattr("microfield.methods.hybrid.shared_bytes._alone", refused)
    source = Image(scaled(blobs((48, 40)), 20, 200, np.uint8), "YX")
    data, report = compressed(source, "hybrid", Budget("max_bytes", 500),
                              options={"prior": "hevc", "residual": "siren", "share": 0.85, "units": "16"})
    head = head_of(data)
    assert head.residual == "siren"
    assert head.units is not None
    assert report.scores["corrected"] == pytest.approx(np.mean(head.kept))
    opened = Container.open(BytesSource(data))
    decoder = get_method("hybrid").decoder(source.layout, 1, part_data(opened.part(0)))
    assert isinstance(decoder, HybridDecoder)
    prior = decoder.prior.read((range(48), range(40))).astype(float)
    squares = [(open_file(data).asarray() - source.read().astype(float)) ** 2, (prior - source.read()) ** 2]
    for keep, (_, _, rows, columns) in zip(head.kept, head.units.boxes(), strict=True):
        found, plain = (s[rows, columns].sum() for s in squares)
        assert found <= plain if keep else found == plain


def part_data(sections: tuple[bytes, ...]) -> Any:
    from microfield.methods.base import PartData

    return PartData(sections)


# -- criteria and units -----------------------------------------------------------------------------------------------


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's with criteria."""
    module = ModuleType("mine_for_tests")
    monkeypatch.setitem(sys.modules, "mine_for_tests", module)
    return module


def with_criterion(module: ModuleType, function: Any, **options: Any) -> Head:
    vars(module)["judge"] = function
    data, _ = compressed(pollen(), "hybrid", Budget("max_bytes", 6000),
                         options={"prior": "hevc", "keep": "mine_for_tests:judge", **options})
    return head_of(data)


def test_a_function_of_the_users_decides_plane_by_plane(mine: ModuleType) -> None:
    level = float(np.mean(pollen().read()))
    seen = set()

    def judge(original: Array, reconstruction: Array) -> float:
        """The better one in bright planes, the worse one in dark ones."""
        seen.add(original.shape)
        error = float(np.mean((reconstruction.astype(float) - original) ** 2))
        return -error if original.mean() > level else error

    head = with_criterion(mine, judge)
    assert head.units is not None
    assert head.units.grid == (1, 6, 1, 1)
    np.testing.assert_array_equal(head.kept, np.asarray(pollen().read(), float).mean(axis=(1, 2)) > level)
    assert seen == {(128, 128)}


def test_a_criterion_that_prefers_the_plain_result_gives_the_prior(mine: ModuleType) -> None:
    head = with_criterion(mine, lambda a, b: float(np.mean((b.astype(float) - a) ** 2)), units="channel")
    assert head.residual == "none"


def test_a_criterion_may_like_a_stronger_correction_than_the_least_error(mine: ModuleType) -> None:
    """The least contrast between neighbours, in a smooth image that the prior makes restless."""
    vars(mine)["judge"] = lambda original, other: -float(np.abs(np.diff(other.astype(float))).mean())
    found = [head_of(compressed(smooth(), "hybrid", Budget("max_bytes", 12000), options={"units": "channel", **keep})[0]).filters[0]
             for keep in ({}, {"keep": "mine_for_tests:judge"})]
    assert abs(found[1].weights).sum() > 1.5 * abs(found[0].weights).sum()


@pytest.mark.parametrize(("function", "words"), [
    (lambda a, b: float("nan"), "returned nan for a plane of shape"),
    (lambda a, b: np.zeros(3), r"returned an array of shape \(3,\)"),
    (lambda a, b: "good", "returned a str"),
    (lambda a, b: 1 / 0, "failed on a plane of shape"),
])
def test_a_criterion_that_gives_no_number_is_refused(mine: ModuleType, function: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"mine_for_tests:judge.*{words}"):
        with_criterion(mine, function)


@pytest.mark.parametrize(("keep", "words"), [
    ("sharpness", "must be one of psnr, ssim, spots, or MODULE:FUNC"), ("no_such_module_here:f", "cannot be imported"),
    ("math:no_such_function", "has no function 'no_such_function'"), ("math:pi", "has no function 'pi'"),
])
def test_unknown_criteria_are_refused_before_the_work(keep: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        get_method("hybrid").with_options({"keep": keep})


def test_unknown_priors_are_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"prior='jpeg'.*field, hevc, av1"):
        get_method("hybrid").with_options({"prior": "jpeg"})


def test_a_prior_that_cannot_reach_its_share_is_named_with_the_remedy() -> None:
    with pytest.raises(BudgetError, match=r"prior hevc cannot reach its share of \d+ bytes.*larger file, or take another prior"):
        compressed(pollen(), "hybrid", Budget("max_bytes", 140), options={"prior": "hevc", "residual": "inif"})


def test_criteria_tell_better_from_worse() -> None:
    original = np.zeros((1, 40, 40), np.uint16)
    original[0, 8:32:8, 8:32:8] = 1000
    original = blurred(original).astype(np.uint16)
    lost = original.copy()
    lost[0, :20] = 0
    noisy = original + np.random.default_rng(0).integers(0, 30, original.shape).astype(np.uint16)
    soft = blurred(original).astype(np.uint16)
    units = Units(SLICE, (1, *original.shape))
    for name, better in (("spots", noisy), ("psnr", soft), ("ssim", soft)):
        judge = criterion(name)
        for other, kept in ((better, True), (lost, False)):
            worse = lost if kept else better
            assert judge.kept(original[None], other[None], worse[None], units).tolist() == [kept]
            assert (judge.of_all(original[None], other[None]) > judge.of_all(original[None], worse[None])) is kept
        assert judge.kept(original[None], lost[None], lost[None], units).all()


def test_spots_are_counted_where_they_lie() -> None:
    planes = np.zeros((1, 2, 64, 64))
    planes[0, 0, 8::16, 8:32:16] = 1000
    planes[0, 1, 40, 40] = 1000
    original = np.stack([blurred(planes[0])])
    units = Units(FIRST_TILE + 1, original.shape)
    np.testing.assert_array_equal(criterion("spots").of_units(original, original, units), 0)
    nothing = np.zeros_like(original)
    np.testing.assert_array_equal(criterion("spots").of_units(original, nothing, units), [-4, 0, -4, 0, 0, 0, 0, -1])
    assert criterion("spots").of_all(original, nothing) == -9


def test_units_cut_channels_completely_and_survive_their_bytes() -> None:
    shape = (2, 3, 50, 37)
    seen = np.zeros(shape, int)
    for code in range(9):
        units = Units(code, shape)
        boxes = list(units.boxes())
        assert len(boxes) == units.size
        seen[...] = 0
        for box in boxes:
            seen[box] += 1
        assert (seen == 1).all()
        bits = np.random.default_rng(code).random(units.size) > 0.5
        packed = units.pack(bits)
        assert len(packed) == units.nbytes
        np.testing.assert_array_equal(units.unpack(packed), bits)
    assert finest(shape, 100).code == 2
    assert finest(shape, 1).code == 4
    assert finest(shape, 0).code == 0


# -- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 9, 11), (1, 4, 6, 5), (3, 2, 5, 7), (2, 1, 4, 4)])
def test_features_are_neighbours_less_the_voxel(shape: tuple[int, ...]) -> None:
    volume = np.random.default_rng(1).random(shape, np.float32)
    offsets = [(0, 0, dy, dx) for dy, dx in PLANE_SETS[2]]
    offsets += [(0, 1, 0, 0)] * (shape[1] > 1) + [(1, 0, 0, 0)] * (shape[0] > 1)
    for place in places(shape):
        found = features(volume, place, PLANE_SETS[2])
        assert len(found) == len(offsets)
        for k, offset in enumerate(offsets):
            for y in range(place.rows.start, place.rows.stop):
                for x in range(shape[3]):
                    here = np.array([place.batch, place.plane, y, x])
                    pair = [volume[tuple(np.clip(here + s * np.array(offset), 0, np.array(shape) - 1))] for s in (-1, 1)]
                    wanted = np.float32(pair[0] + pair[1]) - np.float32(2) * volume[tuple(here)]
                    assert found[k, y - place.rows.start, x] == wanted


def test_a_filter_undoes_some_blur_and_says_by_how_much() -> None:
    original = np.asarray(smooth().read(), np.float32)[None] / np.float32(65535)
    soft = blurred(original[0]).astype(np.float32)[None]
    before = float(((original - soft) ** 2).sum())
    left = []
    for kind in (Kind(taps=1), Kind(taps=2), Kind(network=True, taps=2)):
        found, removed = fitted(soft, original - soft, plain_network).best(kind)
        after = float(((original - soft - found.correction(soft, plain_network)) ** 2).sum())
        assert before - after == pytest.approx(removed, rel=1e-3)
        left.append(after)
    assert left[0] < 0.8 * before
    assert left[1] < 0.9 * left[0]
    assert left[2] <= left[1]


def test_filters_survive_their_bytes() -> None:
    rng = np.random.default_rng(2)
    shape = (1, 3, 8, 8)
    for kind in KINDS:
        codes = tuple(int(c) for c in rng.integers(-127, 128, kind.size(shape) - 2 - 2 * kind.network)) if kind.taps else ()
        one = Filter(9 if kind.network else 0, 50 if kind.network else 0, kind.taps, 8 if kind.taps else 0, codes)
        packed = one.pack()
        assert len(packed) == kind.size(shape)
        fields = ByteReader(packed, "its filter")
        assert Filter.unpack(fields.next(1)[0], fields, shape) == one
        assert not fields.rest()


def test_the_page_of_the_format_is_enough_to_apply_a_filter() -> None:
    """A decoder that follows docs/format.md, without the network, gives the same grey levels."""
    data, _ = compressed(smooth(), "hybrid", Budget("max_bytes", 8000))
    section = Container.open(BytesSource(data)).part(0)[0]
    assert section[0] & 3 == 0
    assert section[0] >> 5 == 1  # A filter, no map.
    mode = section[1]
    taps = mode >> 1
    assert mode & 1 == 0
    assert taps in (1, 2)
    n = (4 if taps == 1 else 12) + 1
    weights = np.frombuffer(section[3 : 3 + n], np.int8).astype(np.float32) * np.float32(2.0 ** -section[2])
    decoder = get_method("field").decoder(smooth().layout, (section[0] >> 2 & 7) + 1, part_data((section[3 + n :],)))
    plain = decoder.read(tuple(range(k) for k in pollen().shape))
    low, high = (float(e[0]) for e in decoder.extremes or ((0,), (0,)))
    v = ((plain.astype(np.float64) - low) / (high - low)).astype(np.float32)
    pairs = [(0, 1), (1, -1), (1, 0), (1, 1), (0, 2), (1, -2), (1, 2), (2, -1), (2, 0), (2, 1), (0, 3), (3, 0)][: n - 1]
    wide = np.pad(v, 3, mode="edge")
    total = np.zeros_like(v)
    for w, (dz, dy, dx) in zip(weights, [*((0, *p) for p in pairs), (1, 0, 0)], strict=True):
        before, after = (wide[tuple(slice(3 + s * d, 3 + s * d + n) for d, n in zip((dz, dy, dx), v.shape, strict=True))]
                         for s in (-1, 1))
        total += w * ((before + after) - np.float32(2) * v)
    grey = np.rint(np.clip(plain.astype(np.float64) + total.astype(np.float64) * (high - low), low, high))
    np.testing.assert_array_equal(open_file(data).asarray(), grey.astype(plain.dtype))


@pytest.mark.parametrize("section", [b"", b"\x03", b"\x80", b"\xa0\x09", b"\x20", b"\x20\x07", b"\x21\x01\x00\x00", b"\x20\x02\x40",
                                     b"\x40\x01\xff\x01"])
def test_heads_that_cannot_be_are_refused(section: bytes) -> None:
    layout = Layout((8, 8), "YX", np.dtype(np.uint8))
    with pytest.raises(FormatError):
        Head.unpack(section, layout)


def test_a_time_limit_leaves_the_prior_as_it_is_and_says_so() -> None:
    _, report = compressed(pollen(), "hybrid", Budget("max_bytes", 3000), options={"prior": "field"}, time_limit=1e-3)
    assert any("correction of the prior" in note for note in report.notes)
    assert report.scores["corrected"] == 0


def test_a_residual_network_that_claims_too_much_memory_is_refused() -> None:
    source = Image(scaled(blobs((48, 40)), 20, 200, np.uint8), "YX")
    prior = get_method("field").with_options({})
    alone = compressed(source, "field", Budget("max_bytes", 400))[0]
    section = Container.open(BytesSource(alone)).part(0)[0]
    claim = bytes([15, 0]) + b"\xff\xff\x7f" + bytes(40)  # A network of 2 million units a layer.
    head = Head("field", prior.bitstream_version, "siren", part=claim)
    hostile = write(Header(method="hybrid", bitstream_version=1, layout=source.layout), [(head.pack() + section,)])
    with pytest.raises(FormatError):
        open_file(hostile).asarray()

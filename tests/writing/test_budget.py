from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from helpers.images import blobs, image, scaled
from helpers.raw_method import RawDecoder
from microfield import methods
from microfield.deadline import Deadline
from microfield.errors import BudgetError, InputError
from microfield.format.framing import part_size
from microfield.image import Image, Layout
from microfield.methods.base import Context, Encoded, KnobTraits, Method, PartData, measure_error
from microfield.reading.file import open_file
from microfield.writing.budget import Budget, parse_bytes
from microfield.writing.compress import compress_to_bytes, predictions
from microfield.writing.job import prepare
from microfield.writing.prediction import Spectrum, predicted_psnr, spectrum, water_level
from microfield.writing.report import Report
from microfield.writing.request import Request
from microfield.writing.settings import Settings
from microfield.writing.to_a_size import shares

# -- what may be asked ------------------------------------------------------------------------------------------------


def test_exactly_one_budget_must_be_given() -> None:
    assert Budget.of(ratio=128, psnr=None) == Budget("ratio", 128.0)
    assert Budget.of(max_bytes="300kB") == Budget("max_bytes", 300_000.0)
    with pytest.raises(InputError, match="none"):
        Budget.of(ratio=None, psnr=None)
    with pytest.raises(InputError, match="ratio= and psnr="):
        Budget.of(ratio=10, psnr=40)


@pytest.mark.parametrize("bad", [0, -3, math.nan, math.inf, "many"])
@pytest.mark.parametrize("kind", ["ratio", "bits_per_voxel", "max_bytes", "psnr", "least_psnr", "noise_factor"])
def test_budgets_without_sense_are_refused(kind: str, bad: float | str) -> None:
    with pytest.raises(InputError):
        Budget.of(**{kind: bad})


@pytest.mark.parametrize(("text", "expected"), [
    ("300kB", 300_000), ("2MiB", 2 << 20), ("1.5 kb", 1500), ("77", 77), (1234, 1234), ("1GB", 10**9), ("12 B", 12),
    ("0.5KiB", 512),
])
def test_sizes_are_read_as_people_write_them(text: str | float, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "kB", "3 apples", "1.2.3", "-5", ".", "5 kB kB", "1e6"])
def test_other_texts_are_no_sizes(text: str) -> None:
    with pytest.raises(InputError, match="not a size"):
        parse_bytes(text)


def test_sizes_become_byte_limits() -> None:
    layout = Layout((10, 20), "YX", np.dtype("uint16"))
    assert Budget("ratio", 3).byte_limit(layout) == 133
    assert Budget("bits_per_voxel", 1.5).byte_limit(layout) == 37
    assert Budget("max_bytes", 99.0).byte_limit(layout) == 99
    assert Budget("psnr", 40).byte_limit(layout) is None


# -- predicted rates --------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=5), min_size=1, max_size=4), st.floats(8, 1500))
@hypothesis_settings(deadline=None)
def test_the_water_level_spends_the_bits(variances: list[list[float]], bits: float) -> None:
    spectra = [Spectrum(np.array(v), np.full(len(v), 100.0)) for v in variances]
    theta = water_level(spectra, bits)
    assert sum(s.bits(theta) for s in spectra) == pytest.approx(bits, rel=1e-3)
    assert sum(s.bits(theta / 2) for s in spectra) > bits


def test_activity_and_noise_raise_the_predicted_bytes() -> None:
    rng = np.random.default_rng(0)
    layout = Layout((64, 64), "YX", np.dtype("float32"))
    smooth = blobs((64, 64)).astype(np.float32)
    noisy = smooth + rng.normal(0, 0.1, smooth.shape).astype(np.float32)
    one = np.ones(1)
    quiet, loud = spectrum(smooth, layout, one), spectrum(noisy, layout, one)
    assert loud.bits(1e-3) > 3 * quiet.bits(1e-3)
    assert spectrum(np.full((64, 64), 3, np.float32), layout, one).bits(1e-6) == 0
    assert predicted_psnr([quiet], 64 * 64, 1000) > predicted_psnr([quiet], 64 * 64, 100) > 20


def test_predictions_fall_with_the_ratio() -> None:
    rows = predictions(image("uint8"), Settings())
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert all(size == int(48 * 40 / ratio) for ratio, size, _ in rows)
    qualities = [q for _, _, q in rows]
    assert qualities == sorted(qualities, reverse=True)
    assert qualities[0] > qualities[-1] + 3


# -- sharing ----------------------------------------------------------------------------------------------------------


def request_of(array: npt.NDArray[Any], tile: dict[str, int], method: str = "inif") -> Request:
    job = prepare(Image(array, "YX"), Settings(method=method, tile=tile), Deadline(), lambda *_: None)
    return Request(job.method, job.parts, job.context).with_curves()


def test_shares_sum_to_the_limit_and_are_of_equal_slope() -> None:
    array = np.zeros((64, 192))
    array[:, :64] = blobs((64, 64), 1, 20)
    array[:, 64:128] = blobs((64, 64), 2, 5) * 0.3
    request = request_of(scaled(array, 0, 250, np.uint8), {"x": 64})
    limit = 3000
    planned = shares(request, limit)
    assert planned.sum() == pytest.approx(limit)
    floor = np.array([request.smallest(p) for p in request.parts])
    assert (planned >= floor).all()
    assert planned[0] > planned[1] > planned[2]
    assert planned[2] == pytest.approx(floor[2])
    # Equal slope: what every part gets over its floor is what it takes at one common level.
    theta = water_level(request.curves, 8 * (limit - floor.sum()))
    bits = np.array([s.bits(theta) for s in request.curves])
    np.testing.assert_allclose((planned - floor) / (planned - floor).sum(), bits / bits.sum(), rtol=1e-6, atol=1e-9)


def test_parts_that_are_all_constant_share_evenly() -> None:
    request = request_of(np.full((20, 40), 5, np.uint8), {"x": 10})
    planned = shares(request, 400)
    assert planned.sum() == pytest.approx(400)
    np.testing.assert_allclose(planned, 100)


# -- a method with a knob ---------------------------------------------------------------------------------------------




class Rounding(Method):
    """Grey values divided by a step: quality is the knob, and size follows from it."""

    name: ClassVar[str] = "rounding-for-tests"
    summary: ClassVar[str] = "Rounds."
    experimental: ClassVar[bool] = True
    asked: ClassVar[list[float]] = []

    @property
    def quality(self) -> KnobTraits:
        return KnobTraits()

    def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        del context, state
        import zlib

        self.asked.append(quality)
        step = 2.0 ** (11 - quality / 90)
        data = np.float64(step).tobytes() + zlib.compress(np.rint(block / step).astype("<i2").tobytes(), 9)
        return Encoded((data,), measure_error(self.decoder(layout, 1, PartData((data,))), block, layout))

    def smallest(self, layout: Layout) -> int:
        del layout
        return 20

    @classmethod
    def decoder(cls, layout: Layout, bitstream_version: int, data: PartData) -> RawDecoder:
        import zlib

        del bitstream_version
        step = float(np.frombuffer(data.own[0][:8])[0])
        steps = np.frombuffer(zlib.decompress(data.own[0][8:]), "<i2").reshape(layout.shape)
        return RawDecoder(np.clip(np.rint(steps * step), 0, 65535).astype(layout.dtype), layout)


@pytest.fixture
def knob(monkeypatch: pytest.MonkeyPatch) -> type[Rounding]:
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    monkeypatch.setattr(Rounding, "asked", [])
    methods.register(Rounding)
    return Rounding


Try = Callable[[Budget], tuple[bytes, Report]]


def attempt(budget: Budget, **settings: Any) -> tuple[bytes, Report]:
    array = scaled(blobs((48, 40)), 0, 3000, np.uint16)
    return compress_to_bytes(Image(array, "YX"), budget, Settings(method=Rounding.name, **settings))


@pytest.mark.parametrize("limit", [300, 700, 1500])
def test_a_knob_is_turned_to_the_finest_setting_that_fits(knob: type[Rounding], limit: int) -> None:
    data, report = attempt(Budget("max_bytes", limit))
    assert 0.9 * limit <= len(data) <= limit
    best = max(q for q in tuple(knob.asked) if _size(q) <= limit - 40)
    assert report.psnr == pytest.approx(_psnr(best), abs=0.5)
    assert open_file(data).shape == (48, 40)


def _encoded(quality: float) -> Encoded:
    array = scaled(blobs((48, 40)), 0, 3000, np.uint16)
    context = Context(np.ones(1), np.ones(1))
    return Rounding().encode(array, Image(array, "YX").layout, quality, context)


def _size(quality: float) -> int:
    return part_size(_encoded(quality).sections)


def _psnr(quality: float) -> float:
    array = scaled(blobs((48, 40)), 0, 3000, np.uint16)
    return -10 * math.log10(float(_encoded(quality).measured[0]) / float(np.ptp(array)) ** 2)


def test_parts_of_a_knob_method_share_one_setting(knob: type[Rounding]) -> None:
    data, report = attempt(Budget("max_bytes", 1200), tile={"y": 24})
    assert len(data) <= 1200
    assert report.parts == 2
    assert len(set(knob.asked[-2:])) == 1


@pytest.mark.parametrize("goal", [30.0, 36.0])
def test_a_knob_reaches_an_asked_quality_in_few_bytes(knob: type[Rounding], goal: float) -> None:
    data, report = attempt(Budget("psnr", goal))
    assert goal <= report.psnr <= goal + 0.1
    assert len(data) <= 1.05 * (_size(min(q for q in tuple(knob.asked) if _psnr(q) >= goal)) + 40)
    assert len(set(knob.asked)) <= 12


def test_a_knob_cannot_exceed_a_quarter_of_the_raw_size(knob: type[Rounding]) -> None:
    del knob
    with pytest.raises(BudgetError, match="quarter of the raw size"):
        attempt(Budget("psnr", 90))


def test_a_knob_that_cannot_go_coarse_enough_is_refused(knob: type[Rounding]) -> None:
    del knob
    with pytest.raises(BudgetError):
        attempt(Budget("max_bytes", 110))


def test_a_quality_of_an_image_smaller_than_any_file_names_the_size(knob: type[Rounding]) -> None:
    del knob
    tiny = Image(np.arange(12, dtype=np.uint8).reshape(3, 4), "YX", name="tiny")
    with pytest.raises(BudgetError, match=r"tiny takes at least \d+ bytes with method inif, more than a quarter"):
        compress_to_bytes(tiny, Budget("psnr", 30), Settings(method="inif"))

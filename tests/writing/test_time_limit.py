"""Time limits of whole calls: the best that fits comes out, near its limit, and a note says what was lost.

The clock is made to run fast, so that limits end searches that take no time.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from helpers.clock import Clock, stopped_clock
from helpers.images import blobs, scaled
from microfield import methods
from microfield.image import Image, Layout
from microfield.methods.base import Context, Encoded
from microfield.methods.field.method import FieldMethod
from microfield.reading.file import open_file
from microfield.writing import assemble, auto
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

IMAGE = Image(scaled(blobs((6, 64, 80), count=30), 100, 3000, np.uint16), "ZYX")


def limited(budget: Budget, seconds: float | None, tick: float, image: Image = IMAGE, **settings: Any) -> tuple[bytes, Any, Clock]:
    """File, report and clock of a call during which every look at the clock takes ``tick`` seconds."""
    with stopped_clock(tick) as clock:
        data, report = compress_to_bytes(image, budget, Settings(time_limit=seconds, **settings))
    return data, report, clock


@pytest.mark.parametrize("tick", [0.02, 0.2, 3.0])
@pytest.mark.parametrize("ratio", [25, 150])
def test_a_size_is_used_although_the_time_is_up(tick: float, ratio: float) -> None:
    data, report, _ = limited(Budget("ratio", ratio), 1.0, tick)
    assert 0.9 <= report.used <= 1
    free, whole, _ = limited(Budget("ratio", ratio), None, tick)
    assert report.psnr > whole.psnr - 2
    assert open_file(data).shape == IMAGE.shape
    assert not whole.cut_short
    assert not any("time limit" in note for note in whole.notes)
    del free


def test_the_note_says_what_the_limit_cost() -> None:
    _, report, _ = limited(Budget("ratio", 40), 1.0, 0.3)
    note = next(note for note in report.notes if "time limit" in note)
    assert re.search(r"the time limit of 1 s ended the search after \d+ attempts?; \d+% of the budget is used", note)
    assert "left out" in note
    assert "the refinement" in note
    assert report.cut_short


def test_a_quality_is_met_although_the_time_is_up() -> None:
    _, report, _ = limited(Budget("psnr", 36), 1.0, 0.4)
    assert report.psnr >= 36
    assert report.psnr < 37.5
    assert any("the quality asked for is" in note for note in report.notes)


def test_a_limit_that_is_long_enough_changes_nothing() -> None:
    limited_file, report, _ = limited(Budget("ratio", 40), 1e6, 0.01)
    free_file, _, _ = limited(Budget("ratio", 40), None, 0.01)
    assert limited_file == free_file
    assert not report.notes


def test_time_for_finishing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts take 2 s (at a safe setting 1 s), the refinement 2 s: in 9 s there are three attempts, and it is not left out."""
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    with stopped_clock() as clock:
        class Slow(FieldMethod):
            name: ClassVar[str] = "field"

            def encode(self, block: npt.NDArray[Any], layout: Layout, quality: float, context: Context,
                       state: Any = None) -> Encoded:
                clock.now += 1 if context.reuse else 2
                return super().encode(block, layout, quality, context, state)

            def finish(self, encoded: Encoded, block: npt.NDArray[Any], layout: Layout, context: Context) -> Encoded:
                clock.now += 2
                return super().finish(encoded, block, layout, context)

        methods.register(Slow)
        _, report = compress_to_bytes(IMAGE, Budget("ratio", 40), Settings(time_limit=9))
        assert clock.now <= 9
    assert (report.used or 0) > 0.9


def test_large_images_end_near_their_budget_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "WHOLE_VOXELS", 1 << 10)
    _, report, _ = limited(Budget("ratio", 40), 1.0, 0.2, tile={"y": 32, "x": 40})
    assert report.parts == 4
    assert report.used > 0.85


@pytest.mark.parametrize("budget", [Budget("ratio", 12), Budget("psnr", 34)], ids=["size", "quality"])
def test_many_parts_are_encoded_hardly_more_than_once(budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    """No attempt can be cut off, so the first one at all parts begins where a search among some of them has led."""
    calls = []
    encode = FieldMethod.encode

    def counted(self: FieldMethod, block: npt.NDArray[Any], *rest: Any) -> Encoded:
        calls.append(block.size)
        return encode(self, block, *rest)

    monkeypatch.setattr(FieldMethod, "encode", counted)
    rng = np.random.default_rng(0)
    values = gaussian_filter(rng.normal(size=(192, 192)), 1.5) + rng.normal(0, 0.005, (192, 192))
    image = Image(scaled((values - values.min()) / np.ptp(values), 100, 3000, np.uint16), "YX")
    told: list[float] = []
    with stopped_clock(0.05):
        settings = Settings(time_limit=1, tile={"y": 24, "x": 24})
        data, report = compress_to_bytes(image, budget, settings, lambda done, _: told.append(done))
    assert report.parts == 64
    assert sum(calls) < 2 * image.layout.size
    assert 0.9 <= report.used <= 1 if report.used is not None else 34 <= report.psnr < 34.5
    assert told == sorted(told)
    assert open_file(data).shape == image.shape


# -- auto -------------------------------------------------------------------------------------------------------------


def test_auto_drops_candidates_that_did_not_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that the limit ended at a third of the size says nothing of its method, however good it looks."""
    made = assemble.write_file

    def ended(job: Any, budget: Budget, stream: Any) -> Any:
        report = made(job, budget, stream)
        if job.method.name == "field":
            return report
        return replace(report, cut_short=True, used=0.4, psnr=99.0)

    monkeypatch.setattr("microfield.writing.auto.write_file", ended)
    chosen = auto.choose(IMAGE, Budget("ratio", 40), Settings(method="auto", effort=0), _deadline(60), _silent,
                         ("field", "downsample"))
    assert chosen.methods[0] == "field"
    assert any("too short to judge downsample" in note for note in chosen.notes)


def test_auto_tries_no_other_method_when_the_first_one_took_all_the_time() -> None:
    with stopped_clock(0.5):
        data, report = compress_to_bytes(IMAGE, Budget("ratio", 40), Settings(method="auto", time_limit=2, effort=0))
    assert report.method == "field"
    assert (report.used or 0) > 0.9
    assert any("too short to judge field prior=hevc and field prior=av1" in note for note in report.notes)
    assert open_file(data).method == "field"


def _deadline(seconds: float) -> Any:
    from microfield.deadline import Deadline

    return Deadline.after(seconds)


def _silent(done: float, what: str) -> None:
    del done, what

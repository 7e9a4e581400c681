"""`--method auto`: which method is taken and why, on real runs over small images."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pytest

import helpers.raw_method  # noqa: F401 (registers its method)
import microfield as mf
from helpers.files import compressed
from helpers.images import blobs, image, scaled
from microfield.bench import plan as bench
from microfield.bench.plan import BenchImage, BenchPlan
from microfield.cli import main
from microfield.deadline import Deadline
from microfield.errors import BudgetError, InputError, UsageError
from microfield.image import Image, Layout
from microfield.methods import AUTO
from microfield.reading.file import open_file
from microfield.statistics import channel_statistics
from microfield.writing import auto as auto_module
from microfield.writing.assemble import write_file
from microfield.writing.auto import Trial, choose, crop, crop_shape, parted, ranking
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes, predictions
from microfield.writing.job import Job, prepare
from microfield.writing.report import Report
from microfield.writing.settings import Settings

pytest.importorskip("av")
CANDIDATES = auto_module.CANDIDATES
SIZE = Budget("max_bytes", 400)


def auto(source: Image, budget: Budget, **changed: Any) -> tuple[bytes, Report]:
    return compress_to_bytes(source, budget, Settings(**{"method": AUTO, "effort": 0, **changed}))


def chosen_by(report: Report) -> str:
    """The candidate that was taken, as the first note says."""
    found = re.match(r"auto chose (.*?): ", report.notes[0])
    assert found is not None
    return found[1]


def large() -> Image:
    """Objects in one quarter only."""
    values = np.random.default_rng(0).normal(0, 0.015, (6, 160, 200))
    values[:, 80:, 100:] += blobs((6, 80, 100), 3, 40)
    return Image(scaled(values, 100, 4000, np.uint16), "ZYX", name="large")


def report_of(psnr: float, size: int, method: str) -> Trial:
    report = Report(method, 1000, size, 1000 / size, None, psnr, (psnr,), None, None, 1, 0.0)
    return Trial(method, bytes(size), report)


# -- the whole image --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["uint8", "channels", "series"])
@pytest.mark.parametrize("budget", [SIZE, Budget("psnr", 32.0)], ids=["size", "psnr"])
def test_the_best_of_the_direct_runs_is_taken_to_the_byte(kind: str, budget: Budget) -> None:
    direct = {name: compressed(image(kind), "field", budget, options=parted(name)[1]) for name in CANDIDATES}
    data, report = auto(image(kind), budget)
    chosen = chosen_by(report)
    assert data == direct[chosen][0]
    assert open_file(data).method == report.method == "field"
    qualities = {name: r.psnr for name, (_, r) in direct.items()}
    sizes = {name: len(d) for name, (d, _) in direct.items()}
    note = report.notes[0]
    assert "the whole image" in note
    if budget is SIZE:
        assert len(data) <= SIZE.value
        assert qualities[chosen] >= max(qualities.values()) - (0.02 if chosen == "field" else 0)
        assert all(f"{q:.2f} dB" in note for q in qualities.values())
    else:
        assert report.psnr >= 32
        assert len(data) <= min(sizes.values()) * (1.005 if chosen == "field" else 1)
        assert all(f"{n} bytes" in note for n in sizes.values())
    fields = (replace(report, notes=(), seconds=0.0), replace(direct[chosen][1], notes=(), seconds=0.0))
    assert fields[0] == fields[1]


def test_a_noise_factor_is_met() -> None:
    _, report = auto(image("uint8"), Budget("noise_factor", 1.5))
    assert report.noise_factor is not None
    assert report.noise_factor <= 1.5
    assert "bytes on the whole image for this quality" in report.notes[0]


@pytest.mark.parametrize(("size", "figures", "expected"), [
    (True, {"field": (30.0, 99), "av1": (30.01, 90), "hevc": (29.0, 80)}, ["field", "av1", "hevc"]),
    (True, {"field": (30.0, 99), "av1": (30.03, 90), "hevc": (31.0, 80)}, ["hevc", "av1", "field"]),
    (True, {"field": (np.inf, 99), "av1": (np.inf, 90), "hevc": (31.0, 80)}, ["field", "av1", "hevc"]),
    (False, {"field": (30.0, 1004), "av1": (30.1, 1000)}, ["field", "av1"]),
    (False, {"field": (30.0, 1006), "av1": (30.1, 1000)}, ["av1", "field"]),
    (False, {"hevc": (30.0, 1001), "av1": (30.1, 1000)}, ["av1", "hevc"]),
])
def test_ties_go_to_field(size: bool, figures: dict[str, tuple[float, int]], expected: list[str]) -> None:
    tried = [report_of(psnr, n, name) for name, (psnr, n) in figures.items()]
    budget = SIZE if size else Budget("psnr", 30.0)
    assert [t.method for t in ranking(tried, budget)] == expected


def test_refused_candidates_lose_and_the_first_refusal_is_raised_where_all_do() -> None:
    with pytest.raises(BudgetError, match="with method field"):
        auto(image("uint8"), Budget("max_bytes", 5))
    chosen = choose(image("uint8"), SIZE, Settings(method=AUTO, effort=0), Deadline(), lambda *_: None,
                    ("raw-for-tests", "hevc"))
    assert chosen.methods[0] == "hevc"
    assert "raw-for-tests cannot reach it" in chosen.notes[0]


def test_a_candidate_that_fails_otherwise_is_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    from microfield.methods.conventional.video import Av1

    def too_large(*_: Any) -> bytes:
        raise ValueError("no such picture size")

    monkeypatch.setattr(Av1, "compress", too_large)
    data, report = auto(image("uint8"), SIZE)
    assert chosen_by(report) != "field prior=av1"
    assert len(data) <= SIZE.value
    assert "av1" not in report.notes[0]
    assert re.match(r"auto left out field prior=av1: .*av1 cannot code a part of shape .*no such picture size", report.notes[1])


def test_the_image_is_refused_as_by_any_method() -> None:
    with pytest.raises(InputError, match="labels"):
        auto(Image(np.arange(16, dtype=np.uint8).reshape(4, 4).repeat(16, 0).repeat(16, 1), "YX"), SIZE)
    holes = image("float32").read().copy()
    holes[0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        auto(Image(holes, "YX"), SIZE)
    _, report = auto(Image(holes, "YX"), SIZE, nan_fill=0.0)
    assert any("are now 0" in note for note in report.notes)


# -- who takes part ---------------------------------------------------------------------------------------------------


def test_without_the_codecs_field_is_taken_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_module, "installed", lambda name: "prior" not in name)
    data, report = auto(image("uint8"), SIZE)
    assert data == compressed(image("uint8"), "field", SIZE)[0]
    assert report.notes == ("auto chose field: there was no other method to try.",
                            "field prior=av1 and field prior=hevc are not installed (microfield[codecs]).")


def test_with_nothing_installed_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_module, "installed", lambda name: False)
    with pytest.raises(InputError, match="installed"):
        auto(image("uint8"), SIZE)


def test_only_those_take_part_that_can_use_what_is_given() -> None:
    weights = np.ones(image("uint8").shape, np.float32)
    with pytest.raises(UsageError, match="cannot use optimiser"):
        auto(image("uint8"), SIZE, optimiser=object)
    chosen = choose(image("uint8"), SIZE, Settings(method=AUTO, saliency=weights), Deadline(), lambda *_: None,
                    ("inif", "hevc"))
    assert chosen.methods == ("inif",)
    assert "auto left out hevc, which cannot use saliency." in chosen.notes
    _, report = auto(image("channels"), SIZE, channel_weights=(1.0, 0.25))
    assert chosen_by(report) in CANDIDATES
    _, report = auto(image("uint8"), SIZE, saliency=weights)
    assert chosen_by(report) == "field"
    assert "auto left out field prior=hevc, which cannot use saliency." in report.notes


def test_options_are_an_error() -> None:
    with pytest.raises(UsageError, match="takes no options"):
        auto(image("uint8"), SIZE, options={"preset": "fast"})
    with pytest.raises(UsageError, match="takes no options"):
        predictions(image("uint8"), Settings(method=AUTO, options={"preset": "fast"}))
    assert predictions(image("uint8"), Settings(method=AUTO)) == predictions(image("uint8"), Settings())


def test_a_time_limit_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def watched(image: Image, settings: Settings, deadline: Deadline, *rest: Any) -> Job:
        given.append(deadline.remaining)
        return prepare(image, settings, deadline, *rest)

    monkeypatch.setattr(auto_module, "prepare", watched)
    auto(image("uint8"), SIZE, time_limit=900.0)
    assert given[1] == pytest.approx(900 / len(CANDIDATES), abs=20)
    assert given[-1] == pytest.approx(900, abs=60)
    assert given[1:] == sorted(given[1:])


# -- crops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [Budget("ratio", 60.0), Budget("max_bytes", 6400.0), Budget("psnr", 33.0)],
                         ids=["ratio", "bytes", "psnr"])
def test_a_large_image_is_tried_on_a_crop(monkeypatch: pytest.MonkeyPatch, budget: Budget) -> None:
    monkeypatch.setattr(auto_module, "LIMIT", 100_000)
    told: list[tuple[float, str]] = []
    original = large()
    settings = Settings(method=AUTO, effort=0)
    data, report = compress_to_bytes(original, budget, settings, lambda done, what: told.append((done, what)))
    assert data == compressed(original, "field", budget, options=parted(chosen_by(report))[1])[0]
    assert "on a crop of 6 x 128 x 128 " in report.notes[0]
    assert report.notes[0].count(" dB" if budget.kind != "psnr" else " bytes") == len(CANDIDATES)
    limit = budget.byte_limit(original.layout)
    assert report.psnr >= budget.value if limit is None else len(data) <= limit
    tries = [what for _, what in told if what.startswith("try ")]
    assert {what.split(" (")[0] for what in tries} == {f"try {name}" for name in CANDIDATES}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert 0 < told[-1][0] <= 1


def test_the_crop_is_judged_on_the_ranges_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_module, "LIMIT", 100_000)
    values = large().read()
    values[0, 0, 0] = 40_000
    chosen = choose(Image(values, "ZYX"), Budget("ratio", 60.0), Settings(method=AUTO, effort=0), Deadline(), lambda *_: None)
    plain = choose(large(), Budget("ratio", 60.0), Settings(method=AUTO, effort=0), Deadline(), lambda *_: None)
    best = [float(re.findall(r"([0-9.]+) dB", c.notes[0])[0]) for c in (chosen, plain)]
    assert best[0] > best[1] + 10


def test_where_no_candidate_manages_the_crop_the_whole_image_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_module, "LIMIT", 20_000)
    data, report = auto(large(), Budget("max_bytes", 400))
    assert len(data) <= 400
    assert "no method reached what was asked" in report.notes[0]
    with pytest.raises(BudgetError, match="too few"):
        auto(large(), Budget("max_bytes", 20))


def test_the_next_best_is_taken_where_the_best_fails_on_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_module, "LIMIT", 100_000)
    settings = Settings(method=AUTO, effort=0)
    first, second, *_ = choose(large(), Budget("ratio", 60.0), settings, Deadline(), lambda *_: None).methods

    def failing(job: Job, budget: Budget, stream: IO[bytes]) -> Report:
        if job.image.shape == large().shape and (job.settings.options or {}) == parted(first)[1]:
            raise InputError("the picture is too large.")
        return write_file(job, budget, stream)

    monkeypatch.setattr(auto_module, "write_file", failing)
    _, report = auto(large(), Budget("ratio", 60.0))
    assert report.method == "field"
    assert f"auto took {second} instead: {first}: the picture is too large." in report.notes


def test_tiled_images_are_tried_on_a_crop_of_whole_parts() -> None:
    original, tile = large(), {"y": 80, "x": 50}
    data, report = auto(original, Budget("ratio", 40.0), tile=tile)
    assert "on a crop of 6 x 80 x 100 " in report.notes[0]
    assert report.parts == 8
    options = parted(chosen_by(report))[1]
    assert data == compressed(original, "field", Budget("ratio", 40.0), options=options, tile=tile)[0]


@pytest.mark.parametrize(("axes", "shape", "expected"), [
    ("ZYX", (48, 2048, 2048), (48, 288, 288)),
    ("YX", (40_000, 30_000), (2352, 1760)),
    ("YX", (3_000_000, 40), (104_848, 40)),
    ("TCZYX", (500, 2, 60, 1024, 1024), (16, 2, 8, 128, 128)),
    ("CYX", (3000, 512, 512), (3000, 32, 32)),
    ("ZYX", (5000, 100, 100), (419, 100, 100)),
    ("TYX", (9, 100, 100), (9, 100, 100)),
])
def test_crops_keep_channels_planes_and_proportions(axes: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert crop_shape(Layout(shape, axes, np.dtype("uint16")), auto_module.LIMIT) == expected


def test_a_crop_lies_where_something_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_module, "LIMIT", 4096)
    values: npt.NDArray[np.uint8] = np.zeros((1000, 1000), np.uint8)
    values[650:900, 100:400] = np.random.default_rng(0).integers(0, 200, (250, 300))
    picture = Image(values, "YX")
    rows, columns = crop(picture, None, channel_statistics(picture))
    assert values[rows, columns].std() > 40


# -- everything around ------------------------------------------------------------------------------------------------


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "cells.npy", tmp_path / "cells.mfield"
    np.save(source, image("uint8").read())
    call = ["compress", str(source), str(out), "--max-bytes", "300", "--method", "auto", "--effort", "0", "--overwrite"]
    assert main(call) == 0
    printed = capsys.readouterr().out
    method = mf.open(out).method
    assert f"method {method}," in printed
    assert f"note: auto chose {method}: " in printed
    assert main([*call, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["method"] == method
    assert told["notes"][0].startswith(f"auto chose {method}: ")
    assert main([*call, "--option", "preset=fast"]) == 2
    assert "takes no options" in capsys.readouterr().err
    assert main(["compress", str(source), str(out), "--method", "auto"]) == 2
    assert "predicted PSNR" in capsys.readouterr().err


def test_methods_lists_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    assert sum(line.startswith("auto: ") for line in capsys.readouterr().out.splitlines()) == 1
    with pytest.raises(UsageError, match=r"choose one of auto, "):
        auto(image("uint8"), SIZE, method="atuo")


def test_a_bench_runs_it(tmp_path: Path) -> None:
    source = tmp_path / "cells.npy"
    np.save(source, image("uint8").read())
    plan = BenchPlan(images=(BenchImage(source, "cells"),), methods={AUTO: {}}, budgets=(Budget("ratio", 6.4),),
                out=tmp_path / "out", effort=0)
    (row,) = bench.run(plan)
    assert (row["status"], row["method"]) == ("ok", AUTO)
    with mf.open(plan.out / row["file"]) as file:
        assert row["notes"][0].startswith(f"auto chose {file.method}: ")
    with pytest.raises(UsageError, match="takes no options"):
        bench.run(replace(plan, methods={AUTO: {"preset": "fast"}}))

"""Settings as a person writes them."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microfield as mf
from helpers.images import image
from microfield.errors import UsageError
from microfield.writing.budget import Budget, parse_bytes
from microfield.writing.settings import Given, Settings


def test_texts_are_read_as_on_the_command_line() -> None:
    read = Settings.of(time_limit="2min", tile="y=512, X=256", channel_weights="1,1,4")
    assert (read.time_limit, read.tile, read.channel_weights) == (120.0, {"y": 512, "X": 256}, (1.0, 1.0, 4.0))
    assert Settings.of(time_limit=1.5, tile={"y": 8}, channel_weights=[2, 1]) == Settings(
        time_limit=1.5, tile={"y": 8}, channel_weights=(2.0, 1.0))
    assert [Settings.of(time_limit=t).time_limit for t in ("90", "90s", "1h", ".5min")] == [90, 90, 3600, 30]
    assert [parse_bytes(b) for b in ("300kB", 2e5, float(np.int64(7)), "2MiB")] == [300_000, 200_000, 7, 2 << 20]


@pytest.mark.parametrize(("given", "words"), [
    ({"time_limit": "soon"}, "time_limit='soon' must be a time such as 60s, 5min or 1h"),
    ({"time_limit": 0}, "time_limit=0 must be a positive number"),
    ({"tile": "512"}, "tile='512' must look like y=512,x=512"),
    ({"tile": "y=-4"}, "must look like"),
    ({"channel_weights": "1,two"}, "channel_weights='1,two' must be numbers, such as 1,1,4"),
    ({"channel_weights": 3}, "channel_weights=3 must be numbers"),
    ({"timelimit": 3}, r"there is no setting timelimit=; did you mean time_limit=\?"),
    ({"colour": 3}, "there is no setting colour=; the settings are method, options,"),
])
def test_what_cannot_be_read(given: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Settings.of(**given)


def test_compress_reads_them(tmp_path: Path) -> None:
    source = image("uint8")
    report = mf.compress(source, tmp_path / "a.mfield", max_bytes="600B", effort=0, tile="y=24,x=20", time_limit="1h")
    assert (report.parts, report.file_bytes <= 600) == (4, True)
    with pytest.raises(UsageError, match="there is no setting tiles=; did you mean tile="):
        mf.compress(source, tmp_path / "b.mfield", ratio=8, tiles="y=24")  # type: ignore[call-arg]


def test_a_saliency_may_be_a_file(tmp_path: Path) -> None:
    source = image("uint8")
    marked = np.zeros(source.shape, np.uint8)
    marked[10:20, 10:20] = 7
    np.save(tmp_path / "mask.npy", marked)
    told = mf.compress(source, tmp_path / "a.mfield", ratio=8, effort=0, saliency=tmp_path / "mask.npy")
    same = mf.compress(source, tmp_path / "b.mfield", ratio=8, effort=0, saliency=marked > 0)
    assert (told.psnr_inside, told.psnr) == (same.psnr_inside, same.psnr)
    with pytest.raises(mf.InputError, match=r"there is no file nothing\.tif"):
        mf.compress(source, tmp_path / "c.mfield", ratio=8, saliency="nothing.tif")


def test_every_setting_is_in_the_signature_and_the_help() -> None:
    """Completion reads the signature, type checkers the typed dictionary, people the help."""
    names = [f.name for f in fields(Settings)]
    assert list(Given.__annotations__) == names
    shown = inspect.signature(mf.compress).parameters
    documented = inspect.getdoc(mf.compress) or ""
    for field in fields(Settings):
        assert shown[field.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert f"\n{field.name} : " in documented
    assert (shown["method"].default, shown["effort"].default, shown["time_limit"].default) == ("field", 5, None)
    assert "ForwardRef" not in str(inspect.signature(mf.compress))
    assert "settings" not in shown


def test_progress_is_a_line_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("microfield.progress.DRAW_SECONDS", 0.0)
    mf.compress(image("uint8"), tmp_path / "a.mfield", ratio=8, effort=0, progress=True)
    shown = capsys.readouterr().err
    assert "uint8 [" in shown
    assert shown.endswith("\r"), "the line is wiped at the end"
    mf.compress(image("uint8"), tmp_path / "b.mfield", ratio=8, effort=0, progress=False)
    assert capsys.readouterr().err == ""


def test_progress_in_a_log_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from microfield import progress

    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    with progress.shown(True, "cells.tif") as tell:
        assert tell is not None
        tell(0.5, "fit")
    assert capsys.readouterr().err == "cells.tif [############............]  50% fit 0 s\n"


def test_budgets_are_texts_too() -> None:
    assert Budget.of(max_bytes="300kB").value == 300_000
    assert Budget.of(ratio="100").value == 100

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microfield.errors import FormatError
from microfield.format.header import Header, pack, unpack
from microfield.format.making import BUDGETS, Making, pack_making, unpack_making
from microfield.format.task_evidence import TaskEvidence
from microfield.image import Layout

HEADER = Header("field", 1, Layout((6, 5), "YX", np.dtype(np.uint16)))


@given(st.one_of(st.none(), st.just(math.inf), st.integers(1, 65534).map(lambda n: n / 100)), st.sampled_from(BUDGETS[:6]),
       st.one_of(st.floats(1e-6, 1e15), st.integers(1, 10**6).map(float)), st.integers(0, 9))
def test_what_is_written_comes_back(psnr: float | None, budget: str, value: float, effort: int) -> None:
    making = Making(psnr, budget, value, effort)
    assert unpack_making(pack_making(making), {}) == making


def test_the_length_does_not_depend_on_the_psnr_and_is_small() -> None:
    lengths = {len(pack_making(Making(psnr, "ratio", 128))) for psnr in (None, -3.0, 0.0, 41.234, 700.0, math.inf)}
    assert lengths == {5}
    assert unpack_making(pack_making(Making(-3.0, "ratio", 128)), {}).psnr == 0.01
    plain = len(pack(HEADER, 0, False))
    assert len(pack(replace(HEADER, making=Making(41.0, "ratio", 128)), 0, False)) - plain <= 8


@pytest.mark.parametrize("data", [
    b"", b"\0\0", b"\0\0\x51", b"\0\0\x50\1", b"\0\0\x57\1", b"\0\0\x58\1", b"\0\0\x59", b"\0\0\xa1\1",
    b"\0\0\x51\x80\0", b"\0\0\x51" + bytes(8), b"\0\0\x51" + b"\xff" * 8, b"\0\0\x51\1\1"])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        unpack_making(data, {})


def test_the_header_keeps_settings_and_the_embedded_profile_leaves_all_out() -> None:
    settings: dict[str, Any] = {"seed": 3, "options": {"nets": "b"}, "channel_weights": [1.0, 0.25], "saliency": True}
    header = replace(HEADER, making=Making(41.2, "psnr", 41.25, 7, settings))
    assert unpack(pack(header, 0, False), None)[0].making == header.making
    assert pack(header, 0, True) == pack(HEADER, 0, True)


def test_it_is_said_in_words() -> None:
    settings = {"seed": 3, "options": {"nets": "b"}, "channel_weights": [1.0, 0.25], "saliency": True}
    making = Making(41.2, "max_bytes", 300000, 7, settings)
    assert making.quality == "PSNR 41.20 dB as measured when written"
    assert making.asked == "max bytes 300000, effort 7, seed 3, options nets=b, channel weights 1,0.25, saliency yes"
    assert Making(math.inf, "lossless").quality == "exact copy"
    assert Making(budget="lossless").asked == "lossless, effort 5"
    assert Making(budget="safe_for", effort=2).asked == "safe for an analysis, effort 2"


@pytest.mark.parametrize("changed", [("value", math.nan), ("task", ""), ("share", 0.0), ("share", 1.5), ("rising", 1),
                                     ("limit", 1)])
def test_the_header_keeps_evidence_and_refuses_what_is_none(changed: tuple[str, Any]) -> None:
    evidence = TaskEvidence("count", "1", "objects found again", 0.97, 0.95, True, 0.5)
    header = replace(HEADER, evidence=evidence)
    assert unpack(pack(header, 0, False), None)[0].evidence == evidence
    assert pack(header, 0, True) == pack(HEADER, 0, True)
    assert str(evidence) == "count (version 1): objects found again 0.97, at least 0.95, judged on 0.5 of the image"
    damaged = pack(replace(header, evidence=replace(evidence, **dict([changed]))), 0, False)
    with pytest.raises(FormatError, match="evidence"):
        unpack(damaged, None)

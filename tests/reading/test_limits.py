from __future__ import annotations

import os

import pytest

from microfield.reading.limits import USUAL, Limits, physical_memory


def test_what_the_user_says_holds_for_both() -> None:
    assert Limits.of(5) == Limits(5, 5)


def test_by_default_decoding_may_take_the_memory_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Limits.of(None) == Limits(USUAL, max(USUAL, physical_memory()))
    assert physical_memory() > 1 << 28
    physical_memory.cache_clear()
    monkeypatch.setattr("sys.platform", "other")
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert physical_memory() == 1 << 34
    physical_memory.cache_clear()

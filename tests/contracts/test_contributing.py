"""CONTRIBUTING.md: the method it shows is run as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from helpers.images import KINDS, image
from microfield import methods
from microfield.errors import FormatError
from microfield.format.assembler import write
from microfield.format.container import Container
from microfield.format.source import BytesSource
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

PAGE = Path(__file__).parent.parent.parent / "CONTRIBUTING.md"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    module = ModuleType("shown_in_contributing")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(found[1], str(PAGE), "exec"), module.__dict__)
    return found[1]


def test_it_is_as_short_as_it_says(shown: str) -> None:
    assert len([line for line in shown.splitlines() if line.strip()]) <= 60


# One step for all channels is not fair to weak ones.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "channels"])
def test_it_compresses_what_there_is(shown: str, kind: str) -> None:
    source = image(kind)
    data, report = compress_to_bytes(source, Budget("psnr", 16.0), Settings(method="rounding", options={"level": 3}))
    assert 16 <= report.psnr < 20
    assert np.abs(open_file(data).asarray().astype(float) - source.read()).max() > 0
    sized, report = compress_to_bytes(source, Budget("max_bytes", len(data)), Settings(method="rounding"))
    assert 0.8 * len(data) < len(sized) <= len(data)


def test_it_refuses_damage(shown: str) -> None:
    data, _ = compress_to_bytes(image("uint8"), Budget("psnr", 16.0), Settings(method="rounding"))
    container = Container.open(BytesSource(data))
    for section in (b"", container.part(0)[0][:30], bytes(60)):
        with pytest.raises(FormatError):
            open_file(write(container.header, [(section,)])).asarray()

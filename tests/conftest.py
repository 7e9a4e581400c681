"""What all tests run under: a cache of their own for compiled code, and files compressed once per session.

jax's compiled code is kept in a folder of the session, which all workers share and which the user's cache never sees.
"""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import hypothesis
import pytest

from helpers.files import Packed, compressed
from helpers.images import ROOM, image, room
from microfield.writing.budget import Budget

_CACHE = "MICROFIELD_TESTS_CACHE"
"""Names the session's folder; only the process that made it removes it."""


def pytest_configure(config: pytest.Config) -> None:
    # A slow machine is no defect of the code.
    hypothesis.settings.register_profile("microfield", deadline=None)
    hypothesis.settings.load_profile("microfield")
    if _CACHE not in os.environ:
        folder = tempfile.mkdtemp(prefix="microfield-tests-")
        os.environ[_CACHE] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["XDG_CACHE_HOME"] = os.environ["LOCALAPPDATA"] = os.environ[_CACHE]


@pytest.fixture(scope="session")
def packed() -> Callable[[str, str], Packed]:
    """Method and kind of image to file and report, compressed when first asked for."""
    return cache(lambda method, kind: _shared(f"{method} {kind}", lambda: compressed(
        image(kind), method, Budget("max_bytes", room(method, kind)))))


@pytest.fixture(scope="session")
def packed_tiles() -> Callable[[str], Packed]:
    """Method to file and report of the 2-D image cut into 2 by 2 parts."""
    return cache(lambda method: _shared(f"{method} tiles", lambda: compressed(
        image("uint8"), method, Budget("max_bytes", int(800 * ROOM.get(method, 1))), tile={"y": 24, "x": 20})))


def _shared(name: str, make: Callable[[], Packed]) -> Packed:
    """What ``make`` gives, or gave another worker of the session, whose folder keeps it."""
    path = Path(os.environ[_CACHE]) / f"{name}.packed"
    if path.exists():
        found: Packed = pickle.loads(path.read_bytes())
        return found
    made = make()
    begun = path.with_suffix(f".{os.getpid()}")
    begun.write_bytes(pickle.dumps(made))
    begun.replace(path)
    return made

"""CZI, ND2 and LIF by bioio.

Sample files of these formats cannot be made here and are too large or too unclear in licence to keep: the tests of real
files run over the folder that the environment variable MICROFIELD_VENDOR_SAMPLES names.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microfield.errors import InputError, MissingExtraError
from microfield.io import open_image

FOLDER = os.environ.get("MICROFIELD_VENDOR_SAMPLES")
SAMPLES = sorted(p for p in Path(FOLDER).iterdir() if p.suffix in (".czi", ".nd2", ".lif")) if FOLDER else []
HAS_BIOIO = importlib.util.find_spec("bioio") is not None

needs_bioio = pytest.mark.skipif(not HAS_BIOIO, reason="bioio is not installed")


@pytest.mark.parametrize("suffix", ["czi", "nd2", "lif"])
def test_without_bioio_the_extra_is_named(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(b"anything")
    code = (
        "import sys; sys.modules['bioio'] = None\nfrom microfield.io import open_image\n"
        "from microfield.errors import MissingExtraError\n"
        f"try: open_image({str(tmp_path / f'a.{suffix}')!r})\nexcept MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(MissingExtraError(f"Reading {suffix.upper()} files", "bioio"))


def test_an_unknown_kind_is_told_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.docx is of no kind that can be opened; what can: \.tif, \.tiff"):
        open_image(tmp_path / "a.docx")


@needs_bioio
@pytest.mark.parametrize("suffix", ["czi", "nd2", "lif"])
def test_damage_is_told_in_one_sentence(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(b"anything")
    with pytest.raises(InputError, match=f"a.{suffix} cannot be read"):
        open_image(tmp_path / f"a.{suffix}")


@needs_bioio
@pytest.mark.skipif(not SAMPLES, reason="MICROFIELD_VENDOR_SAMPLES names no folder with CZI, ND2 or LIF files")
@pytest.mark.filterwarnings("default")  # The plugins and their libraries warn about matters of their own.
@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.name)
def test_real_files_are_read_or_refused_in_one_sentence(path: Path) -> None:
    try:
        image = open_image(path)
        values = image.read()
    except InputError as error:
        assert "\n" not in str(error)
        pytest.skip(str(error))
    assert image.axes[-2:] == "YX" or image.axes.endswith("YXS")
    assert all(n > 1 for a, n in image.sizes.items() if a not in "YX")
    assert set(image.voxel_size) == set(image.units) <= set(image.axes)
    assert len(image.channel_names) in (0, image.sizes.get("C", 0))
    box = tuple(slice(n // 3, n // 3 + max(1, n // 2)) for n in image.shape)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image)).read(box), values[box])
    if "C" in image.sizes:
        one = open_image(path, channel=1)
        np.testing.assert_array_equal(one.read(), values.take(1, image.axes.index("C")))

"""CZI, ND2 and LIF by bioio.

Sample files of these formats cannot be made here and are too large or too unclear in licence to keep: the tests of real
files run over the folder that the environment variable MICROFIELD_VENDOR_SAMPLES names.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microfield.errors import InputError, MissingExtraError
from microfield.io import list_scenes, open_image

FOLDER = os.environ.get("MICROFIELD_VENDOR_SAMPLES")
SAMPLES = sorted(p for p in Path(FOLDER).iterdir() if p.suffix in (".czi", ".nd2", ".lif")) if FOLDER else []
HAS_BIOIO = all(importlib.util.find_spec(plugin) is not None for plugin in ("bioio", "bioio_czi", "bioio_nd2", "bioio_lif"))

needs_bioio = pytest.mark.skipif(not HAS_BIOIO, reason="bioio or one of its plugins is not installed")


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


def write_lif(path: Path, *stacks: np.ndarray[Any, Any]) -> None:
    """A minimal Leica file of z-stacks of two channels, uint16 of shape (z, c, y, x), 2 x 0.5 x 0.25 micrometers."""
    elements = "".join(_element(i, values) for i, values in enumerate(stacks))
    text = (
        '<LMSDataContainerHeader Version="2"><Element Name="project" Visibility="1" CopyOption="1">'
        f'<Memory Size="0" MemoryBlockID="MemBlock_0"/><Children>{elements}</Children></Element></LMSDataContainerHeader>'
    )

    def block(before: bytes, words: str) -> bytes:
        body = before + struct.pack("<BI", 0x2A, len(words)) + words.encode("utf-16-le")
        return struct.pack("<II", 0x70, len(body)) + body

    content = block(b"", text) + block(struct.pack("<BQ", 0x2A, 0), "MemBlock_0")
    for i, values in enumerate(stacks):
        content += block(struct.pack("<BQ", 0x2A, values.nbytes), f"MemBlock_{i + 1}") + values.astype("<u2").tobytes()
    path.write_bytes(content)


def _element(index: int, values: np.ndarray[Any, Any]) -> str:
    """What the XML of a Leica file says of one stack."""
    z, c, y, x = values.shape
    dimensions = "".join(
        f'<DimensionDescription DimID="{i}" NumberOfElements="{n}" Origin="0" Length="{(n - 1) * step}" Unit="m" '
        f'BitInc="0" BytesInc="{stride}"/>'
        for i, n, step, stride in ((1, x, 0.25e-6, 2), (2, y, 0.5e-6, 2 * x), (3, z, 2e-6, 2 * x * y * c))
    )
    channels = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" NameOfMeasuredQuantity="" Min="0" Max="65535" '
        f'Unit="" LUTName="{name}" IsLUTInverted="0" BytesInc="{2 * x * y * i}" BitInc="0"/>'
        for i, name in enumerate(("Green", "Red"))
    )
    return (
        f'<Element Name="stack {index}" Visibility="1" CopyOption="1">'
        f"<Data><Image TextDescription=''><ImageDescription><Channels>{channels}</Channels>"
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{values.nbytes}" MemoryBlockID="MemBlock_{index + 1}"/></Element>'
    )


@needs_bioio
@pytest.mark.filterwarnings("default")  # The plugins and their libraries warn about matters of their own.
def test_lif(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 60000, (3, 2, 8, 9)).astype("uint16")
    write_lif(tmp_path / "a.lif", values)
    image = open_image(tmp_path / "a.lif")
    assert image.voxel_size == pytest.approx({"Z": 2, "Y": 0.5, "X": 0.25})
    assert image.channel_names == ("Green", "Red")
    assert [c.colour for c in image.display.channels] == [(0, 255, 0), (255, 0, 0)]
    order = ["ZCYX".index(a) for a in image.axes]
    np.testing.assert_array_equal(image.read(), values.transpose(order))
    np.testing.assert_array_equal(open_image(tmp_path / "a.lif", channel="Red").read(), values[:, 1])


@needs_bioio
@pytest.mark.filterwarnings("default")  # The plugins and their libraries warn about matters of their own.
def test_scenes_of_a_lif(tmp_path: Path) -> None:
    stacks = [np.random.default_rng(n).integers(0, 60000, (3, 2, 8, 9 + n)).astype("uint16") for n in range(3)]
    write_lif(tmp_path / "a.lif", *stacks)
    names = list_scenes(tmp_path / "a.lif")
    assert [name.rpartition("stack ")[2] for name in names] == ["0", "1", "2"]
    first = open_image(tmp_path / "a.lif")
    assert first.notes[0].startswith(f"2 of 3 scenes are not in this: {names[1]!r}, {names[2]!r}; it is {names[0]!r} alone.")
    for index, values in enumerate(stacks):
        image = open_image(tmp_path / "a.lif", scene=index)
        assert image.name == open_image(tmp_path / "a.lif", scene=names[index]).name
        assert not image.notes
        np.testing.assert_array_equal(image.read(), values.transpose(["ZCYX".index(a) for a in image.axes]))


@needs_bioio
@pytest.mark.skipif(not SAMPLES, reason="MICROFIELD_VENDOR_SAMPLES names no folder with CZI, ND2 or LIF files")
@pytest.mark.filterwarnings("default")  # The plugins and their libraries warn about matters of their own.
@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.name)
def test_real_files_are_read_or_refused_in_one_sentence(path: Path) -> None:
    try:
        image = open_image(path)
        values = image.read()
    except InputError as error:
        refusal = str(error)
        pytest.skip(refusal) if "\n" not in refusal else pytest.fail(refusal)
    assert image.axes[-2:] == "YX" or image.axes.endswith("YXS")
    assert all(n > 1 for a, n in image.sizes.items() if a not in "YX")
    assert set(image.voxel_size) == set(image.units) <= set(image.axes)
    assert len(image.channel_names) in (0, image.sizes.get("C", 1))
    box = tuple(slice(n // 3, n // 3 + max(1, n // 2)) for n in image.shape)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image)).read(box), values[box])
    if "C" in image.sizes:
        one = open_image(path, channel=1)
        np.testing.assert_array_equal(one.read(), values.take(1, image.axes.index("C")))

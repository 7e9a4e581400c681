"""An ancestor network that files share: made by the first file of a folder, needed by the others, found beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microfield as mf
from helpers.images import blobs, scaled
from microfield.cli import main
from microfield.errors import FormatError, InputError, UsageError
from microfield.methods.coordinate.bitstream import Shape
from microfield.methods.sincs.ancestor import Ancestor
from microfield.methods.sincs.bitstream import tensor_extents

OPTIONS = {"frequency": 0.16, "optimiser": "adam", "depth": 1, "ancestor": "shared"}


def picture(shift: int) -> np.ndarray:
    """The same cells, a little further on."""
    rng = np.random.default_rng(shift)
    return scaled(np.roll(blobs((40, 36), count=5), shift, 1) + rng.normal(0, 0.01, (40, 36)), 100, 3000, np.uint16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files that share an ancestor, and the ancestor."""
    found = tmp_path_factory.mktemp("shared")
    for shift in range(3):
        mf.compress(picture(shift), found / f"{shift}.mfield", axes="YX", max_bytes=420, method="sincs", effort=0, options=OPTIONS)
    return found


def test_the_first_file_leaves_the_ancestor_and_the_others_build_on_it(folder: Path) -> None:
    (ancestor,) = folder.glob("ancestor-*.npz")
    first, second = (mf.open(folder / f"{k}.mfield") for k in (0, 2))
    assert first.companions == ()
    assert second.companions == (ancestor.name,)
    for k, f in ((0, first), (2, second)):
        assert np.corrcoef(f.asarray().ravel(), picture(k).ravel())[0, 1] > 0.7
    assert np.array_equal(second[3:9, ::2], second.asarray()[3:9, ::2])
    assert second.file_bytes <= 420


def test_a_missing_or_wrong_ancestor_is_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ancestor,) = folder.glob("ancestor-*.npz")
    moved = Path(shutil.copy(folder / "1.mfield", tmp_path))
    with pytest.raises(InputError, match=f"{ancestor.name}, which does not lie beside it"):
        mf.open(moved).asarray()
    expected = mf.open(folder / "1.mfield").asarray()
    for place in (ancestor, folder):
        np.testing.assert_array_equal(mf.open(moved, ancestor=place).asarray(), expected)
    assert main(["decompress", str(moved), str(tmp_path / "copy.npy"), "--ancestor", str(ancestor)]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "copy.npy"), expected)
    for content in (b"", b"no network", other(ancestor).pack()):
        (tmp_path / ancestor.name).write_bytes(content)
        with pytest.raises(FormatError, match=r"holds (no|the) network"):
            mf.open(moved).asarray()
    assert main(["info", str(moved)]) == 0
    assert ancestor.name in capsys.readouterr().out


def other(path: Path) -> Ancestor:
    """A network that differs from another one in a single weight."""
    found = Ancestor.read(path.read_bytes(), path.name)
    changed = [w.copy() for w in found.weights]
    changed[0][0, 0] += 1
    return Ancestor(found.shape, found.rectified, found.steps, tuple(changed))


def test_bytes_that_were_changed_are_refused(folder: Path) -> None:
    (path,) = folder.glob("ancestor-*.npz")
    data, key = path.read_bytes(), bytes.fromhex(path.stem.partition("-")[2])
    for at in range(0, len(data), 7):
        hurt = data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]
        try:
            found = Ancestor.unpack(hurt, key, "x")
        except FormatError:
            continue
        assert found.key == key


def test_an_ancestor_goes_where_the_file_goes_or_is_refused(folder: Path, tmp_path: Path) -> None:
    (ancestor,) = folder.glob("ancestor-*.npz")
    named = {**OPTIONS, "ancestor": str(ancestor)}
    mf.compress(picture(1), tmp_path / "a.mfield", axes="YX", max_bytes=420, method="sincs", effort=0, options=named)
    assert (tmp_path / ancestor.name).read_bytes() == ancestor.read_bytes()
    assert str(tmp_path) not in str(mf.open(tmp_path / "a.mfield").making)
    for wrong, message in (({**OPTIONS, "ancestor": str(tmp_path / "none.npz")}, "cannot be read"),
                           ({**OPTIONS, "ancestor": str(tmp_path / "a.mfield")}, "holds no network")):
        with pytest.raises((InputError, FormatError), match=message):
            mf.compress(picture(1), tmp_path / "b.mfield", axes="YX", max_bytes=420, method="sincs", options=wrong)
    with pytest.raises(UsageError, match="leave out the option ancestor"):
        mf.compress(picture(1), tmp_path / "b.zarr", axes="YX", max_bytes=420, method="sincs", options=OPTIONS)
    (tmp_path / "ancestor-00000000.npz").touch()
    with pytest.raises(InputError, match="holds 2 ancestors"):
        mf.compress(picture(1), tmp_path / "b.mfield", axes="YX", max_bytes=420, method="sincs", options=OPTIONS)


@given(st.integers(1, 4), st.integers(4, 12), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_a_network_survives_its_file(inputs: int, width: int, depth: int, outputs: int, seed: int) -> None:
    rng, shape = np.random.default_rng(seed), Shape(inputs, width, depth, outputs)
    weights = tuple(np.rint(rng.laplace(0, 9, size)).astype(np.int64) for size in tensor_extents(shape))
    ancestor = Ancestor(shape, bool(seed & 1), tuple(range(3, 3 + len(weights))), weights)
    found = Ancestor.unpack(ancestor.pack(), ancestor.key, "x")
    assert (found.shape, found.rectified, found.steps) == (shape, ancestor.rectified, ancestor.steps)
    for one, two in zip(found.weights, weights, strict=True):
        np.testing.assert_array_equal(one, two)

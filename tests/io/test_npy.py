"""NPY and NPZ."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microfield.errors import InputError
from microfield.image import Layout
from microfield.io import blocks, list_scenes, npy, open_image, save_image
from microfield.io.lazy import MappedArray, View


def save(path: Path, values: np.ndarray[Any, Any], axes: str) -> None:
    save_image(path, Layout(values.shape, axes, values.dtype), lambda box: values[box], overwrite=True)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, 7), min_size=2, max_size=5),
    st.sampled_from(["uint8", "uint16", "int16", "float32", "uint32", "int32", "float64", "int8"]),
    st.integers(1, 60),
)
def test_what_is_written_comes_back(tmp_path: Path, shape: list[int], dtype: str, limit: int) -> None:
    values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npy, "WRITE_VOXELS", limit)
        save(tmp_path / "a.npy", values, "TCZYX"[-len(shape) :])
    back = open_image(tmp_path / "a.npy")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back.read(), values)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), values)
    assert os.listdir(tmp_path) == ["a.npy"]


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.integers(1, 50))
def test_blocks_follow_each_other_in_memory_order(shape: list[int], limit: int) -> None:
    index = np.arange(np.prod(shape)).reshape(shape)
    boxes = list(blocks.contiguous_boxes(tuple(shape), limit))
    np.testing.assert_array_equal(np.concatenate([index[box].ravel() for box in boxes]), index.ravel())
    assert all(index[box].size <= max(limit, shape[-1]) for box in boxes)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", ">f4"])
def test_mapped_not_read(tmp_path: Path, order: Any, dtype: str) -> None:
    values = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(dtype, order=order)
    np.save(tmp_path / "a.npy", values)
    image = open_image(tmp_path / "a.npy")
    stored = image.data.source if isinstance(image.data, View) else image.data
    assert isinstance(stored, MappedArray)
    assert len(pickle.dumps(image)) < 1000
    assert image.read().dtype.isnative
    np.testing.assert_array_equal(image.read((slice(1, 3), slice(0, 5), slice(2, 4))), values[1:3, :, 2:4])


def test_axes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 6), "uint8"))
    assert open_image(tmp_path / "a.npy").axes == "ZYX"
    assert open_image(tmp_path / "a.npy", axes="TYX").axes == "TYX"
    np.save(tmp_path / "b.npy", np.zeros((40, 50, 3), "uint8"))
    assert open_image(tmp_path / "b.npy").axes == "YXS"
    assert open_image(tmp_path / "a.npy", axes="CYX", channel=3).shape == (5, 6)


def test_bool_is_a_mask(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(5, dtype=bool))
    image = open_image(tmp_path / "a.npy")
    assert (image.dtype, image.labels) == (np.dtype("uint8"), True)


def test_npz(tmp_path: Path) -> None:
    values = np.arange(30, dtype="uint16").reshape(5, 6)
    np.savez_compressed(tmp_path / "one.npz", anything=values)
    np.savez(tmp_path / "two.npz", data=values, other=values + 1)
    np.savez(tmp_path / "three.npz", a=values, b=values + 1)
    np.testing.assert_array_equal(open_image(tmp_path / "one.npz").read(), values)
    np.testing.assert_array_equal(open_image(tmp_path / "two.npz").read(), values)
    np.testing.assert_array_equal(open_image(tmp_path / "three.npz", scene="b").read(), values + 1)
    with pytest.raises(InputError, match=r"2 arrays, none of them called 'data'; it holds a, b: choose one with scene=NAME"):
        open_image(tmp_path / "three.npz")
    assert list_scenes(tmp_path / "three.npz") == ["a", "b"]
    with pytest.raises(InputError, match="no scene 'c'"):
        open_image(tmp_path / "three.npz", scene="c")


def test_refused_in_one_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.save(tmp_path / "line.npy", np.zeros(5))
    np.save(tmp_path / "long.npy", np.full((5, 6), 1 << 60, "uint64"))
    np.save(tmp_path / "cut.npy", np.zeros((50, 60)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:1000])
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00\x10\x00garbage garbage!")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 no archive")
    for name, words in (
        ("objects.npy", "Python objects"), ("line.npy", "1 dimensions"), ("long.npy", "uint64"),
        ("cut.npy", "is cut off: it has 1000 of 24128 bytes"), ("bad.npy", "cannot be read"), ("bad.npz", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words) as caught:
            open_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    save(tmp_path / "a.npy", np.ones((4, 5), "uint8"), "YX")

    def read(box: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_image(tmp_path / "a.npy", Layout((4, 5), "YX", np.dtype("uint8")), read, overwrite=True)
    assert open_image(tmp_path / "a.npy").read().sum() == 20
    assert os.listdir(tmp_path) == ["a.npy"]

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microfield.errors import InputError
from microfield.format.grid import as_slice
from microfield.reading.selection import Selection, check_points

SHAPES = hnp.array_shapes(min_dims=2, max_dims=5, min_side=1, max_side=6)


def ramp(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape)).reshape(shape)


@given(st.data())
def test_equals_numpy_indexing(data: st.DataObject) -> None:
    array = ramp(data.draw(SHAPES))
    key = data.draw(hnp.basic_indices(array.shape, allow_newaxis=False, allow_ellipsis=True))
    selection = Selection.from_index(key, array.shape)
    expected = array[key]
    assert selection.shape == expected.shape
    assert selection.size == expected.size
    np.testing.assert_array_equal(selection.apply(array), expected)
    np.testing.assert_array_equal(selection.squeeze(array[np.ix_(*selection.box)]), expected)


@given(st.data())
def test_mask_equals_numpy_indexing(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    mask = data.draw(hnp.arrays(np.bool_, shape))
    array = ramp(shape)
    for key in (mask, (mask,), (..., mask)):
        selection = Selection.from_index(key, shape)
        assert selection.shape == array[mask].shape
        np.testing.assert_array_equal(selection.apply(array), array[mask])


@given(st.slices(9))
def test_as_slice_takes_the_same_elements(item: slice) -> None:
    indices = range(*item.indices(9))
    np.testing.assert_array_equal(np.arange(9)[as_slice(indices)], np.arange(9)[item])


def test_integer_like_scalars_are_integers() -> None:
    selection = Selection.from_index((np.int64(-1), np.array(2, np.uint8), slice(np.int16(1), None)), (3, 4, 5))
    assert selection.box == (range(2, 3), range(2, 3), range(1, 5))
    assert selection.squeezed == (0, 1)
    assert selection.kept_axes("ZYX") == "X"


def test_a_single_voxel_is_a_scalar() -> None:
    assert Selection.from_index((1, -1), (2, 3)).apply(ramp((2, 3))) == 5
    assert np.isscalar(Selection.from_index((1, -1), (2, 3)).apply(ramp((2, 3))))


@pytest.mark.parametrize("key", [[0, 1], np.array([0, 1]), ([0], slice(None)), None, 1.0, "Y", np.array(1.5)])
def test_fancy_indexing_points_to_at(key: Any) -> None:
    with pytest.raises(TypeError, match=r"at\(points\)"):
        Selection.from_index(key, (3, 4))


@pytest.mark.parametrize("key", [True, np.True_, (np.ones((3, 4), bool), 0), (np.ones(3, bool), np.ones(4, bool))])
def test_a_mask_stands_alone(key: Any) -> None:
    with pytest.raises(TypeError, match="only index"):
        Selection.from_index(key, (3, 4))


@pytest.mark.parametrize(("key", "message"), [
    (3, "index 3 is out of bounds for axis 0 with size 3"),
    ((0, -5), "index -5 is out of bounds for axis 1 with size 4"),
    ((0, 0, 0), "too many indices"),
    ((..., 0, ...), "ellipsis"),
    (np.ones((4, 3), bool), r"mask has shape \(4, 3\)"),
])
def test_index_errors(key: Any, message: str) -> None:
    with pytest.raises(IndexError, match=message):
        Selection.from_index(key, (3, 4))


def test_zero_step_is_refused_as_in_numpy() -> None:
    with pytest.raises(ValueError, match="zero"):
        Selection.from_index(slice(None, None, 0), (3, 4))


def test_parse() -> None:
    shape = (2, 3, 30, 40, 50)
    text = "t=0, C=-1,z=10:20,y=::4,x=::-1"
    expected = Selection.from_index((0, -1, slice(10, 20), slice(None, None, 4), slice(None, None, -1)), shape)
    selection = Selection.parse(text, "TCZYX", shape)
    assert (selection.box, selection.squeezed) == (expected.box, expected.squeezed)
    assert Selection.parse("x=:7", "YX", (5, 9)).box == (range(5), range(7))


@pytest.mark.parametrize("text", [
    "q=1", "z=1,Z=2", "z=a", "z=1.5", "z=", "z", "=3", "", "z=1:2:3:4", "z=::0", "z=30", "z=-31", "zy=1", "z=1,",
])
def test_parse_errors_name_the_axes(text: str) -> None:
    with pytest.raises(InputError, match="ZYX") as error:
        Selection.parse(text, "ZYX", (30, 40, 50))
    assert str(error.value).endswith(".")


@given(st.data())
def test_points_inside_are_kept(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    dtype = data.draw(st.sampled_from([np.int64, np.int32, np.uint8, np.uint64]))
    rows = data.draw(st.lists(st.tuples(*(st.integers(0, n - 1) for n in shape)), max_size=5))
    points = np.array(rows, dtype).reshape(-1, len(shape))
    checked = check_points(points, shape)
    assert checked.dtype == np.int64
    np.testing.assert_array_equal(checked, points)


def test_points_errors() -> None:
    with pytest.raises(TypeError, match="float64"):
        check_points([[0.0, 1.0]], (3, 4))
    with pytest.raises(TypeError, match="bool"):
        check_points([[True, False]], (3, 4))
    with pytest.raises(IndexError, match="point 1 has index -1 on axis 1"):
        check_points([[0, 0], [0, -1]], (3, 4))
    with pytest.raises(IndexError, match="point 0 has index 3 on axis 0, whose size is 3"):
        check_points([[3, 0]], (3, 4))
    with pytest.raises(IndexError):
        check_points(np.array([[2**64 - 1, 0]], np.uint64), (3, 4))
    for points in ([0, 1], [[0, 1, 2]]):
        with pytest.raises(InputError, match=r"\(n, 2\)"):
            check_points(points, (3, 4))

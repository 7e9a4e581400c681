"""Guidance: filters, recipes, functions of the user's, and what they do to files of `field` and `inif`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

import microfield as mf
from helpers.images import blobs
from microfield.analysis.segmentation import SEGMENTERS, overlap
from microfield.cli import main
from microfield.errors import InputError, MissingExtraError, UsageError
from microfield.guidance import filters, function, whole
from microfield.guidance.function import FunctionOfBlocks, guidance_of
from microfield.guidance.segmentation import Segmentation, fields_of
from microfield.guidance.whole import Seen, SegmentedPart, boxes, whole_part
from microfield.image import Image, Layout
from microfield.objective import GuidedBlock
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

Array = npt.NDArray[Any]


@cache
def lines(size: int = 128, seed: int = 1) -> Array:
    """A plane of crossing lines of different brightness over an offset, with noise: uint16."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image = rng.normal(0, 0.015, (size, size))
    for angle, place, bright in zip(rng.uniform(0, np.pi, 14), rng.uniform(-0.6, 0.6, 14), np.linspace(0.25, 1, 14), strict=True):
        away = (x - size / 2) * np.cos(angle) + (y - size / 2) * np.sin(angle) - place * size
        image += bright * np.exp(-(away**2) / 4)
    return np.clip(1000 + 8000 * image, 0, 65535).astype(np.uint16)


def as_block(target: Array, prediction: Array, **arrays: Array) -> GuidedBlock:
    """Two planes as a block of one output, already normalised."""
    more = {name: jnp.asarray(value)[..., None] for name, value in arrays.items()}
    ones = jnp.ones((*target.shape, 1))
    return GuidedBlock(jnp.asarray(prediction)[..., None], jnp.asarray(target)[..., None], None, more, ones, 0 * ones, "YX")


# -- filters ----------------------------------------------------------------------------------------------------------


def test_eigenvalues_of_3_and_their_gradient() -> None:
    matrices = np.random.default_rng(0).normal(size=(50, 3, 3)).astype(np.float32)
    matrices += matrices.transpose(0, 2, 1)
    upper = tuple(jnp.asarray(matrices[:, i, j]) for i in range(3) for j in range(i, 3))
    expected, vectors = np.linalg.eigh(matrices)
    lowest, highest = filters.extreme_eigenvalues(upper)
    np.testing.assert_allclose(lowest, expected[:, 0], atol=1e-4)
    np.testing.assert_allclose(highest, expected[:, 2], atol=1e-4)
    slopes = jax.grad(lambda h: jnp.sum(filters.extreme_eigenvalues(h)[0]))(upper)
    v = vectors[:, :, 0]
    outer = [v[:, i] * v[:, j] * (1 if i == j else 2) for i in range(3) for j in range(i, 3)]
    np.testing.assert_allclose(np.stack(slopes), np.stack(outer), atol=2e-3)


def test_equal_eigenvalues_have_a_finite_gradient() -> None:
    for field in (jnp.zeros((8, 8, 8)), jnp.full((8, 8), 7.0)):
        slope = jax.jit(jax.grad(lambda f: jnp.sum(filters.line_strength(f, 1.0, (1.0,) * f.ndim))))(field)
        assert np.isfinite(slope).all()


@pytest.mark.parametrize("ndim", [2, 3])
def test_lines_answer_and_blobs_do_not(ndim: int) -> None:
    grid = np.meshgrid(*(np.arange(21) - 10,) * ndim, indexing="ij")
    steps = (1.0,) * ndim
    line = np.exp(-sum(g**2 for g in grid[1:]) / 4).astype(np.float32)
    blob = np.exp(-sum(g**2 for g in grid) / 4).astype(np.float32)
    middle = (10,) * ndim
    strength = [float(filters.line_strength(jnp.asarray(f), 1.5, steps)[middle]) for f in (line, blob)]
    assert strength[0] > 5 * abs(strength[1])
    assert float(filters.spot_strength(jnp.asarray(blob), 1.5, steps)[middle]) > 0.2


def test_coarse_axes_are_smoothed_by_fewer_planes() -> None:
    point = np.zeros((9, 9, 9), np.float32)
    point[4, 4, 4] = 1
    along_z, along_x = (np.asarray(filters.smoothed(jnp.asarray(point), 1.0, (3.0, 1.0, 1.0)))[k] for k in ((3, 4, 4), (4, 4, 3)))
    assert along_z < 0.05 * along_x


# -- whole parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "largest", "margin"), [((70, 31), (32, 32), 5), ((5, 40), (8, 24), 9), ((16,), (16,), 2)])
def test_boxes_cover_a_field_once_with_their_margins(shape: tuple[int, ...], largest: tuple[int, ...], margin: int) -> None:
    seen = np.zeros(shape, int)
    sizes = set()
    for box in boxes(shape, largest, margin):
        seen[box.own] += 1
        sizes.add(tuple(s.stop - s.start for s in box.whole))
        for w, o, n in zip(box.whole, box.own, shape, strict=True):
            assert w.start <= max(0, o.start - margin)
            assert w.stop >= min(n, o.stop + margin)
    assert (seen == 1).all()
    assert len(sizes) == 1


@pytest.mark.parametrize("kind", function.RECIPES)
def test_gradient_of_a_part_is_that_of_its_loss(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By differences; in one box and in many it is the same."""
    original = ((lines(64) - 1000.0) / 9000).astype(np.float32)[None]
    decoded = original + np.random.default_rng(1).normal(0, 0.05, original.shape).astype(np.float32)
    recipe = Segmentation(kind)
    part = SegmentedPart(recipe, original)
    found = part.gradient(decoded)
    assert kind == "spots" or part.gradient(original).loss < found.loss  # There are no spots.
    monkeypatch.setattr(whole, "PLANE_BOX", (32, 40))
    cut = SegmentedPart(recipe, original).gradient(decoded)
    assert cut.loss == pytest.approx(found.loss, rel=1e-5)
    np.testing.assert_allclose(cut.slope, found.slope, atol=1e-3 * np.abs(found.slope).max())
    levels = recipe.levels(np.asarray(recipe.response(jnp.asarray(decoded[0]))))
    monkeypatch.setattr(Segmentation, "levels", lambda *_: levels)  # Thresholds are held where they are.
    direction = np.asarray(found.slope / np.linalg.norm(found.slope), np.float32)
    up, down = (part.gradient(decoded + s * np.float32(0.002) * direction, slope=False).loss for s in (1, -1))
    assert (up - down) / 0.004 == pytest.approx(float(np.sum(found.slope * direction)), rel=0.05)


def test_any_guidance_sees_grey_levels_places_and_arrays_of_a_part() -> None:
    grey = np.arange(2 * 100 * 70, dtype=np.float32).reshape(2, 100, 70)
    seen = Seen(np.zeros(2), np.full(2, 1000.0), {"marks": grey}, (5, 7), np.arange(2))

    class Sees(FunctionOfBlocks):
        def loss(self, block: GuidedBlock) -> Any:
            assert block.axes == "YX"
            wanted = block.coordinates[..., :1] - 5
            row = jnp.floor(block.arrays["marks"] % 7000 / 70)
            return jnp.mean((row - wanted) ** 2) + jnp.mean((block.prediction * block.scale + block.offset - 3) ** 2)

    part = whole_part(Sees(lambda a, b: a), (grey / 1000).astype(np.float32), seen)
    loss, slope = part.gradient(np.zeros_like(grey))
    assert loss == pytest.approx(9, rel=1e-4)
    assert (slope < 0).all()


def test_fields_of_a_part_are_planes_or_volumes() -> None:
    array = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    assert fields_of(array, Layout(array.shape, "TCZYX", np.dtype(int))).shape == (6, 4, 5, 6)
    assert fields_of(array[:, :, :1], Layout((2, 3, 1, 5, 6), "TCZYX", np.dtype(int))).shape == (6, 5, 6)
    assert fields_of(array[0, 0], Layout((4, 5, 6), "YXS", np.dtype(int))).shape == (6, 4, 5)


def test_fields_of_a_block_are_those_of_its_outputs() -> None:
    values = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    found = as_block(lines(), lines())._replace(axes="CZYX").fields(jnp.asarray(values))
    np.testing.assert_array_equal(found, values.transpose(0, 4, 1, 2, 3).reshape(12, 3, 4, 5))
    assert as_block(lines(), lines())._replace(axes="TZYX").fields(values[:, :1]).shape == (12, 4, 5)


# -- what a guide may be ----------------------------------------------------------------------------------------------


def step(original: Any, found: Any) -> Any:
    return jnp.mean(jnp.where(found > 3000, 1.0, 0.0))


WRONG: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "an array": (lambda a, b: (a - b) ** 2, "gives an array of shape .*; it must give one number"),
    "NaN": (lambda a, b: jnp.sqrt(jnp.mean(a - b) * 0 - 1), "NaN or infinite"),
    "NaN gradient": (lambda a, b: jnp.mean(jnp.sqrt(jnp.maximum(b * 0, 0))), "NaN or infinite"),
    "numpy": (lambda a, b: float(np.mean((np.asarray(b) - a) ** 2)), "cannot be differentiated by jax"),
    "a step": (step, "its gradient is zero everywhere"),
    "an error": (lambda a, b: b[0, 0, 0, 0, 0], "failed on two blocks|cannot be differentiated"),
    "one block": (lambda a: a, "cannot be differentiated|failed"),  # type: ignore[dict-item, misc]
}


@pytest.mark.parametrize("what", WRONG)
def test_functions_that_cannot_guide_are_one_sentence(what: str) -> None:
    wrong, sentence = WRONG[what]
    with pytest.raises(InputError, match=sentence) as caught:
        guidance_of(wrong, Image(lines(), "YX"))
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(("guide", "sentence"), [
    ("filaments", "is no recipe; the recipes are filament, spots and nuclei"), ("nowhere_at_all:f", "cannot be imported"),
    ("math:nothing", "holds no nothing"), (7, "must be filament, spots, nuclei or perceptual"), ("math:pi", "must be filament"),
])
def test_guides_that_do_not_exist_are_one_sentence(guide: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        guidance_of(guide, Image(lines(), "YX"))


def test_a_guide_needs_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"microfield\[compress\]"):
        guidance_of("spots", Image(lines(), "YX"))


def test_recipes_know_the_voxel_size() -> None:
    image = Image(np.zeros((4, 5, 6), np.uint8), "ZYX", {"Z": 0.6, "Y": 0.2, "X": 0.2})
    found = guidance_of("nuclei", image)
    assert isinstance(found, Segmentation)
    assert found.steps == (3.0, 1.0, 1.0)


# -- files ------------------------------------------------------------------------------------------------------------


def agreement(original: Array, copy: Array, segmenter: str) -> float:
    return overlap(SEGMENTERS[segmenter](original), SEGMENTERS[segmenter](copy)).iou


def made(guide: Any, **settings: Any) -> tuple[Array, Any]:
    data, report = compress_to_bytes(Image(lines(), "YX"), Budget("ratio", 100.0), Settings(guide=guide, **settings))
    return np.asarray(mf.open(data)[...]), report


def test_field_keeps_more_lines_in_as_many_bytes() -> None:
    (plain, before), (guided, after) = made(None), made("filament")
    assert after.file_bytes <= len(lines().tobytes()) / 100
    assert agreement(lines(), guided, "filament") > agreement(lines(), plain, "filament") + 0.01
    assert after.psnr > before.psnr - 0.4


def test_inif_keeps_more_lines_in_as_many_bytes() -> None:
    plane = lines()[:64, :64]
    recipe, options = Segmentation("filament"), {"depth": 1, "frequency": 0.16}
    target, losses = plane.astype(np.float32), []
    for guide in (None, "filament"):
        settings = Settings(guide=guide, method="inif", effort=0, options=options)
        data = compress_to_bytes(Image(plane, "YX"), Budget("ratio", 20.0), settings)[0]
        known = recipe.arrays(plane, Layout(plane.shape, "YX", plane.dtype))
        copy = np.asarray(mf.open(data)[...], np.float32)
        losses.append(float(recipe.loss(as_block(target, copy, **known))))
    assert losses[1] < losses[0]


def test_channels_and_times_are_guided_each_by_itself() -> None:
    volumes = np.stack([np.stack([blobs((6, 24, 20), seed=2 * t + c) for c in range(2)]) for t in range(3)])
    image = Image((1000 * volumes).clip(0).astype(np.uint16), "TCZYX")
    assert compress_to_bytes(image, Budget("ratio", 30.0), Settings(guide="nuclei", effort=0))[1].ratio >= 30


def test_the_command_takes_a_function_and_records_a_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    text = "import jax.numpy as jnp\n\ndef edges(a, b):\n    return jnp.mean(jnp.abs(jnp.diff(a) - jnp.diff(b)))\n"
    (tmp_path / "my_guide_of_edges.py").write_text(text)
    np.save("lines.npy", lines())
    asked = ["compress", "lines.npy", "out.mfield", "--axes", "YX", "--ratio", "8", "--effort", "0", "--no-verdict", "--guide"]
    assert main([*asked, "my_guide_of_edges:edges"]) == 0
    assert "my_guide_of_edges:edges" in str(mf.open("out.mfield").making)
    capsys.readouterr()
    assert main([*asked, "filamint", "--overwrite"]) == 2
    assert "--guide filamint is no recipe" in capsys.readouterr().err
    assert main([*asked, "spots", "--overwrite", "--method", "downsample"]) == 2
    assert "cannot use guide" in capsys.readouterr().err

"""Perceptual guidance: what can be a reference, what is compared, and what it does to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

import microfield as mf
from helpers.images import blobs
from microfield.cli import main
from microfield.errors import InputError, MissingExtraError, UsageError
from microfield.guidance.function import guidance_of
from microfield.guidance.look import SIZE, best_blur
from microfield.guidance.perceptual import Perceptual
from microfield.guidance.reference import Reference, averages, reference_for
from microfield.image import Image, Layout
from microfield.labelled import DENOISED
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.guidance import BlockSampler
from microfield.nn.sampling import Target
from microfield.objective import GuidedBlock
from microfield.perceptual import alexnet
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings
from perceptual.test_perceptual import made_up

Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def any_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed weights, or random ones where there are none."""
    try:
        alexnet.weights()
    except MissingExtraError:
        known = made_up()
        monkeypatch.setattr(alexnet, "weights", lambda: known)


def fibres(shape: tuple[int, int] = (96, 80), seed: int = 0) -> Array:
    """A clean plane of structure at one scale, 0..1, float64."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return np.asarray(np.clip(field / np.abs(field).max(), 0, 1))


def noisy(clean: Array, seed: int = 9) -> Array:
    """Other grey levels of a clean plane, with noise: uint16."""
    grey = 300 + 200 * clean + np.random.default_rng(seed).normal(0, 30, clean.shape)
    return np.clip(grey.round(), 0, 65535).astype(np.uint16)


def several() -> Array:
    return np.stack([fibres(seed=s) for s in range(3)])


def small(seed: int = 1) -> Image:
    """A clean reference, grey levels of its own."""
    return Image((20000 * fibres(seed=seed)).astype(np.uint16), "YX", name="clean")


# -- what can be a reference ------------------------------------------------------------------------------------------


def test_levels_of_a_reference_are_those_of_the_image() -> None:
    """Found without noise: what is black in the reference is where the same structure is black in the image."""
    image = Image(noisy(fibres(seed=1)[::-1]), "YX")
    found = reference_for(small(), image)
    assert found.planes[0].shape == (1, 96, 80)
    assert found.planes[0].min() == pytest.approx(-1, abs=0.01)
    assert found.low[0] == pytest.approx(300, abs=10)
    white = 300 + 200 * np.percentile(fibres(seed=1), 99.9)
    assert found.low[0] + found.span[0] == pytest.approx(white, abs=15)
    assert 0.5 <= found.blur <= 2.8


def test_averages_cover_what_there_is() -> None:
    values = np.arange(2 * 17 * 5).reshape(2, 17, 5)
    found = averages(values, 8)
    assert found.shape == (2, 2, 1)
    assert found[1, 1, 0] == values[1, 8:16].mean()


@pytest.mark.parametrize("axes", ["ZYX", "CZYX", "TCYX", "YXS"])
def test_channels_have_planes_of_their_own(axes: str) -> None:
    extents = {"T": 3, "C": 2, "Z": 4, "Y": 40, "X": 36, "S": 3}
    values = np.random.default_rng(0).normal(size=[extents[a] for a in axes])
    channel = [i for i, a in enumerate(axes) if a in "CS"]
    levels = np.arange(values.shape[channel[0]]) * 100 if channel else np.zeros(1)
    grey = values + levels.reshape([-1 if i in channel else 1 for i in range(len(axes))]) if channel else values
    found = reference_for(Image(grey, axes), Image(values[..., ::-1, :].copy() if "S" not in axes else values[::-1], axes))
    assert len(found.planes) == len(levels)
    assert all(p.shape == (int(np.prod([extents[a] for a in axes if a in "TZ"])), 40, 36) for p in found.planes)
    np.testing.assert_allclose(found.low, found.low[0], atol=1)


WRONG: dict[str, tuple[Image, str]] = {
    "another dimension": (Image(several(), "ZYX", name="r"), "r holds volumes of 1 channel, and"),
    "other channels": (Image(several(), "CYX", name="r"), "r holds planes of 3 channels, and"),
    "the image itself": (Image(noisy(fibres()), "YX", name="r"), r"r shows the same field as .* \(correlation 1.00\)"),
    "the same field, clean": (Image(fibres(), "YX", name="r"), "r shows the same field as"),
    "a field around it": (Image(np.pad(fibres(), ((31, 9), (4, 50)), mode="wrap"), "YX", name="r"), "r shows the same field as"),
    "NaN": (Image(np.where(fibres(seed=1) > 0.5, np.nan, 1.0), "YX", name="r"), "r holds NaN or infinite"),
    "nothing": (Image(np.full((50, 50), 7.0), "YX", name="r"), "channel 0 of the reference r holds"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_a_reference_is_one_sentence(what: str) -> None:
    reference, sentence = WRONG[what]
    with pytest.raises(InputError, match=sentence) as caught:
        guidance_of("perceptual", Image(noisy(fibres()), "YX"), reference)
    assert "\n" not in str(caught.value)


def test_guides_and_references_go_together() -> None:
    image = Image(noisy(fibres()), "YX")
    with pytest.raises(UsageError, match=r"guide=perceptual needs a clean image of other fields.*reference="):
        guidance_of("perceptual", image)
    for guide in (None, "filament"):
        with pytest.raises(UsageError, match="reference= is of use to guide=perceptual only"):
            compress_to_bytes(image, Budget("ratio", 20.0), Settings(guide=guide, reference=small()))


# -- what is compared -------------------------------------------------------------------------------------------------


def reference(plane: Array, blur: float = 0.0) -> Reference:
    return Reference((plane[None].astype(np.float32),), np.array([300.0]), np.array([200.0]), blur)


def as_block(prediction: Array, guidance: Perceptual, seed: int = 0, **arrays: Array) -> GuidedBlock:
    """A plane, -1 black and 1 white, as a block of one output; arrays in grey levels."""
    grey = (jnp.asarray(prediction) + 1) / 2 * guidance.reference.span[0] + guidance.reference.low[0]
    ones = jnp.ones((*prediction.shape, 1))
    beside = guidance.beside(np.random.default_rng(seed), np.zeros(1, np.intp))
    known = {name: jnp.asarray(values)[..., None] for name, values in arrays.items()}
    return GuidedBlock((grey[..., None] - 50) / 10, 0 * ones, None, known, 10 * ones, 50 * ones, "YX", beside)


def test_a_clean_reference_says_how_much_to_blur() -> None:
    clean, other = (fibres((200, 200), seed)[None].astype(np.float32) for seed in (3, 4))
    rough = clean + np.random.default_rng(0).normal(0, 0.15, clean.shape).astype(np.float32)
    assert best_blur(2 * clean - 1, 2 * other - 1) <= 1
    assert 0.5 <= best_blur(2 * rough - 1, 2 * other - 1) <= 2
    # The reference, too, may need it: then there is nothing to be done.
    assert best_blur(2 * rough[:, ::-1] - 1, 2 * rough - 1) == 0


def test_a_copy_is_compared_with_the_original_without_its_noise() -> None:
    clean = fibres((SIZE, SIZE), 4)
    grey = 300 + 200 * clean
    guidance = Perceptual(reference(2 * fibres((200, 200), 3) - 1, 1.0))
    rough_grey = grey + np.random.default_rng(0).normal(0, 20, clean.shape)
    denoised = guidance.arrays(rough_grey, Layout(clean.shape, "YX", np.dtype(float)))["denoised"]
    loss = jax.jit(lambda plane: guidance.loss(as_block(plane, guidance, denoised=denoised)))
    blurred = gaussian_filter(clean, np.hypot(1.0, 2.0), mode="nearest")
    same, rough, shifted = (float(loss(2 * v - 1)) for v in (blurred, clean + np.random.default_rng(1).normal(0, 0.1, clean.shape),
                                                           np.roll(blurred, 20, 0)))
    assert same < 0.2 * rough
    assert same < 0.2 * shifted


def test_the_published_form_prefers_the_look_of_the_reference() -> None:
    guidance = Perceptual(reference(2 * fibres((200, 200), 3) - 1), published=True)
    alike = 2 * fibres((SIZE, SIZE), 4) - 1
    rough = alike + np.random.default_rng(0).normal(0, 0.3, alike.shape)
    loss = jax.jit(lambda plane, beside: guidance.loss(as_block(plane, guidance)._replace(beside=beside)))
    values = [np.mean([float(loss(v, as_block(v, guidance, seed).beside)) for seed in range(4)]) for v in (alike, rough)]
    assert values[0] < 0.95 * values[1]


@pytest.mark.parametrize(("plane", "published"), [(fibres((9, 40)), False), (np.zeros((SIZE, SIZE)), True)], ids=["small", "flat"])
def test_the_loss_has_a_finite_gradient_also_of_small_and_flat_blocks(plane: Array, published: bool) -> None:
    guidance = Perceptual(reference(2 * fibres((20, 200), 3) - 1), published)  # The reference, too, is smaller than a block.
    block = as_block(plane, guidance, denoised=np.full(plane.shape, 400.0))
    slope = jax.jit(jax.grad(lambda p: guidance.loss(block._replace(prediction=p))))(block.prediction)
    assert np.isfinite(slope).all()


def test_channels_have_levels_and_blocks_of_their_own() -> None:
    planes = tuple(np.full((2, 70, 100), level, np.float32) for level in (0.0, 0.5))
    guidance = Perceptual(Reference(planes, np.array([1.0, 2.0]), np.array([3.0, 4.0]), 0.0), published=True)
    drawn = guidance.beside(np.random.default_rng(0), np.array([1, 0, 1]))
    np.testing.assert_array_equal(drawn["reference"].mean((1, 2, 3)), [0.5, 0, 0.5])
    np.testing.assert_array_equal(drawn["low"], [2, 1, 2])
    np.testing.assert_array_equal(drawn["span"], [4, 3, 4])
    assert guidance == Perceptual(Reference(planes[:1], np.zeros(1), np.ones(1), 1.0), published=True)
    assert guidance != Perceptual(guidance.reference)
    assert guidance.block_shape("TZYX", (5, 9, 100, 40)) == (1, 1, SIZE, 40)


def test_planes_of_any_layout_are_blurred_each_by_itself() -> None:
    values = np.random.default_rng(0).normal(size=(40, 3, 36)) * 50 + 1000
    found = Perceptual(reference(fibres(), 1.5)).arrays(values, Layout(values.shape, "YCX", np.dtype(float)))["denoised"]
    for channel in range(3):
        expected = gaussian_filter(values[:, channel].astype(np.float32), 2.5, mode="nearest")
        np.testing.assert_allclose(found[:, channel], expected, rtol=1e-5)


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_file_says_that_it_is_denoised() -> None:
    image = Image(noisy(fibres((200, 200))), "YX", name="noisy")
    for guide, other in (("perceptual", small()), (None, None)):  # By `field`, which is quicker.
        settings = Settings(guide=guide, reference=other, effort=0)
        with mf.open(compress_to_bytes(image, Budget("ratio", 12.0), settings)[0]) as file:
            assert file.making is not None
            assert file.denoised == (guide is not None)
            assert dict(file.making.settings).get("reference") == (True if guide else None)
            assert (DENOISED in mf.compare(image, file).notes) == file.denoised


def test_channels_of_a_stack_each_have_their_reference() -> None:
    """Also where a part holds only the second channel, and where channels are outputs of the network."""
    volumes = np.stack([100 + 1000 * (1 + c) * blobs((3, 40, 36), seed=c) for c in range(2)])
    guidance = guidance_of("perceptual", Image(volumes, "CZYX"), Image(volumes[:, :, ::-1].copy(), "CZYX"))
    assert isinstance(guidance, Perceptual)
    for part, outputs, first, channels in ((volumes, "C", 0, [0, 1]), (volumes[1:], "C", 1, [1]), (volumes, "", 0, [0, 1])):
        layout = Layout(part.shape, "CZYX", part.dtype)
        target = Target(CoordinateMap(layout, outputs), part, np.ones(len(part), np.float32), np.zeros(len(part), np.float32),
                        np.ones(len(part), np.float32))
        sampler = BlockSampler(target, guidance, {}, (first, 0, 0, 0), first)
        drawn = [float(low) for low in np.ravel(sampler.draw(np.random.default_rng(0), 16).beside["low"])]
        assert set(drawn) == {float(np.float32(guidance.reference.low[c])) for c in channels}
    assert len(set(guidance.reference.low)) == 2


def test_the_command_takes_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("noisy.npy", noisy(fibres((64, 64))))
    np.save("clean.npy", fibres((70, 90), 1))
    np.save("stack.npy", several())
    asked = ["compress", "noisy.npy", "out.mfield", "--axes", "YX", "--ratio", "30", "--effort", "0", "--no-verdict", "--method",
             "siren", "--option", "depth=1", "--option", "frequency=0.2", "--guide", "perceptual"]
    assert main([*asked, "--reference", "clean.npy"]) == 0
    assert "is denoised, not only compressed" in capsys.readouterr().out
    for wrong, status, sentence in (([], 2, "--guide perceptual needs"), (["--reference", "noisy.npy"], 1, "shows the same field"),
                                    (["--reference", "stack.npy"], 1, "holds volumes"), (["--reference", "no.npy"], 1, "no.npy")):
        assert main([*asked, *wrong, "--overwrite"]) == status
        said = capsys.readouterr().err
        assert sentence in said
        assert said.count("\n") == 1
    assert main([*asked, "--reference", "out.mfield", "--overwrite"]) == 2  # An output never replaces what is read.


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> alexnet.Weights:
        raise MissingExtraError("LPIPS and perceptual guidance", alexnet.EXTRA)

    monkeypatch.setattr(alexnet, "weights", missing)
    with pytest.raises(MissingExtraError, match=r"microfield\[perceptual\]"):
        guidance_of("perceptual", Image(noisy(fibres()), "YX"), small())

"""The search for a schedule: the lattice of splits, its costs, and what `field` makes of images that repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from helpers.images import blobs, scaled
from microfield import Image
from microfield.coding.bytes_reader import ByteReader
from microfield.errors import FormatError
from microfield.format.container import Container
from microfield.format.source import open_source
from microfield.image import Layout
from microfield.methods.field.groups import Groups
from microfield.methods.field.head import Head
from microfield.methods.field.lifting import Schedule, inverse
from microfield.methods.field.rotation import of_alike
from microfield.methods.field.schedules import NAMES, TEXTS, WORDS, packed, schedule, shortest, unpacked
from microfield.methods.field.structure import Lattice, cheapest, estimate, price, synthesis_norms
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

VECTORS = Path(__file__).parent.parent.parent / "vectors"

words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)


def psnr(array: npt.NDArray[np.generic], axes: str, nbytes: int) -> float:
    return compress_to_bytes(Image(array, axes), Budget("max_bytes", nbytes), Settings())[1].psnr


# -- words ------------------------------------------------------------------------------------------------------------


@given(text=words)
def test_words_come_back_from_their_bytes(text: str) -> None:
    fields = ByteReader(packed(text) + b"more", "words")
    assert unpacked(fields) == text
    assert fields.rest() == b"more"


def test_words_without_an_end_or_with_something_behind_it_are_refused() -> None:
    for bad in (b"\x55" * 20, bytes([0b01_00_01_00]), b"\x55"):
        with pytest.raises(FormatError):
            unpacked(ByteReader(bad, "words"))


@given(text=words, shape=st.tuples(st.just(1), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)))
@hypothesis_settings(deadline=None)
def test_the_shortest_words_mean_the_same(text: str, shape: tuple[int, int, int, int]) -> None:
    def splits(transform: str) -> list[tuple[int, ...]]:
        found = schedule(transform, shape)
        return [axes for k in range(len(found.levels)) if (axes := found.split(k))]

    short = shortest(text, shape)
    assert splits(short) == splits(text)
    assert short in NAMES or len(short) <= len(text)


def test_levels_that_split_nothing_are_refused() -> None:
    Groups(1, (1, 4, 20, 20), "z z yx").check()
    for text in ("z z z", "yx yx yx yx yx yx"):
        with pytest.raises(FormatError, match="nothing"):
            Groups(1, (1, 4, 20, 20), text).check()


def test_version_1_has_none_of_it() -> None:
    for path in VECTORS.glob("field-2-*.mfield"):
        container = Container.open(open_source(path))
        (section,), layout = container.part(0), container.part_layout(0)
        Head.unpack(section, layout, 2)
        with pytest.raises(FormatError, match="version"):
            Head.unpack(section, layout, 1)


# -- the lattice ------------------------------------------------------------------------------------------------------


def test_norms_are_those_of_the_inverse() -> None:
    for extent, splits in ((5, 0), (5, 3), (64, 6), (13, 2)):
        norms = synthesis_norms(extent, splits)
        one = np.zeros((extent, 1), np.float32)
        one[extent // 3] = 1
        exact = np.linalg.norm(inverse(one, Schedule(((0,),) * splits, one.shape)))
        assert norms.shape == (extent,)
        assert norms[extent // 3] == pytest.approx(exact, rel=1e-5)


def test_the_estimate_counts_errors_and_bits() -> None:
    assert estimate(np.zeros((1, 3, 8, 8), np.float32), 1.0) == 0
    small = np.full((1, 3, 8, 8), 0.1, np.float32)
    assert estimate(small, 1.0) == pytest.approx(0.01 * small.size, rel=1e-4)
    rng = np.random.default_rng(0)
    scattered_ones = (rng.random((1, 3, 40, 40)) < 0.1).astype(np.float32)
    together = np.zeros_like(scattered_ones)
    together[..., :4] = 1
    assert 0 < estimate(together, 1.0) < 0.6 * estimate(scattered_ones, 1.0)


def test_the_cheapest_path_costs_no_more_than_any_named_schedule() -> None:
    values = np.stack([blobs((40, 36), seed // 3, 9) for seed in range(13)])[None].astype(np.float32)
    lattice = Lattice(values, 0.02)
    best = price(lattice, schedule(cheapest(lattice), values.shape))
    for name in TEXTS:
        assert best <= price(lattice, schedule(name, values.shape)) * (1 + 1e-6)


def test_planes_that_repeat_are_split_to_the_end() -> None:
    same = np.repeat(blobs((48, 48), 1, 9)[None, None], 16, axis=1).astype(np.float32)
    assert cheapest(Lattice(same, 0.02)).split()[:4] == ["z"] * 4


# -- what repeats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("axes", "repeated", "n"), [("YX", "Z", 20), ("YX", "T", 9), ("YX", "C", 11), ("ZYX", "T", 4)])
def test_what_repeats_costs_next_to_nothing(axes: str, repeated: str, n: int) -> None:
    shape = (5, 40, 42)[-len(axes) :]
    base = scaled(np.stack([blobs(shape[-2:], k, 9) for k in range(shape[0])]) if len(axes) == 3 else blobs(shape, 1, 9),
                  100, 20000, np.uint16)
    nbytes = 700 * (len(axes) - 1)
    once = psnr(base, axes, nbytes)
    # A channel has extremes, a dark level, a place in the rotation, and lists of zeros.
    more = 16 * n if repeated == "C" else 8 * n
    assert psnr(np.repeat(base[None], n, axis=0), repeated + axes, nbytes + more) > once - 0.5


def test_inverted_and_constant_channels_are_nearly_free() -> None:
    three = np.stack([scaled(blobs((48, 52), k, 9), 100, 20000, np.uint16) for k in range(3)])
    many = np.concatenate([three, 30000 - three, three, np.full((2, 48, 52), 7, np.uint16), 30000 - three])
    assert psnr(many, "CYX", 1600) > psnr(three, "CYX", 1400) - 0.5


def test_only_channels_that_are_alike_are_mixed() -> None:
    rng = np.random.default_rng(1)
    sources = rng.normal(size=(3, 500))
    samples = np.concatenate([sources, -2 * sources[:1], sources[1:2]])
    found = of_alike(np.cov(samples), 0.9)
    assert found is not None
    assert found.pairs is not None
    assert sorted(found.pairs) == [(0, 3), (1, 4)]
    turned = samples.astype(np.float32)
    found.forward(turned)
    assert (turned.std(axis=1) < 0.03).sum() == 2
    assert of_alike(np.cov(sources), 0.9) is None


def test_a_preview_of_time_as_an_axis_is_right() -> None:
    """Coarse levels do not suffice there, so it comes from all of them."""
    import microfield as mf

    f = mf.open(VECTORS / "field-2-volumes.mfield")
    (section,) = Container.open(open_source(VECTORS / "field-2-volumes.mfield")).part(0)
    assert Head.unpack(section, Layout(f.shape, f.axes, f.dtype), 2)[0].along_time
    quick, whole = f.preview(2, average=True), f[...]
    assert quick.shape == (9, 2, 7, 8)
    np.testing.assert_allclose(quick[0, 0, 0, 0], whole[0, :2, :2, :2].mean(), atol=1)

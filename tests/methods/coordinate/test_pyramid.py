"""`inif` with latent grids: where they serve, that they gain, that their files read alike, and what is refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from helpers.files import compressed, random_part
from helpers.images import blobs, scaled
from microfield.coding.latents import estimate_bits
from microfield.errors import FormatError, InputError
from microfield.image import Image, Layout
from microfield.methods.coordinate.bitstream import PYRAMID_FLAG, unpack
from microfield.methods.coordinate.pyramid_encoder import LEAST_BYTES
from microfield.methods.coordinate.pyramid_start import cut_to, first_latents
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.pyramid import Pyramid
from microfield.nn.sampling import Target
from microfield.reading.file import open_file
from microfield.writing.budget import Budget

OPTIONS = {"optimiser": "adam", "frequency": 0.16}
LIMIT = LEAST_BYTES + 600


@cache
def picture() -> Image:
    return Image(scaled(blobs((96, 90), 4, 60), 100, 3000, np.uint16), "YX")


@cache
def file_with(grids: str, limit: int = LIMIT) -> bytes:
    return compressed(picture(), "inif", Budget("max_bytes", limit), options={**OPTIONS, "grids": grids})[0]


def error_of(data: bytes) -> float:
    return float(np.mean((open_file(data).asarray().astype(float) - picture().read()) ** 2))


def test_grids_gain_in_equal_bytes_and_effort() -> None:
    assert error_of(file_with("auto")) < 0.8 * error_of(file_with("none"))
    assert 0.98 * LIMIT < len(file_with("auto")) <= LIMIT


def test_a_region_and_single_voxels_equal_the_whole() -> None:
    f = open_file(file_with("auto"))
    whole = f.asarray()
    assert f.cost(np.s_[:3, :5]).voxels == 15
    np.testing.assert_array_equal(f[7:50:3, ::-2], whole[7:50:3, ::-2])
    points = np.random.default_rng(0).integers(0, whole.shape, (50, 2))
    np.testing.assert_array_equal(f.at(points), whole[tuple(points.T)])


def test_a_part_of_few_bytes_is_a_network_of_coordinates_alone() -> None:
    assert file_with("auto", LEAST_BYTES - 300) == file_with("none", LEAST_BYTES - 300)


# -- where a fit begins -----------------------------------------------------------------------------------------------


def test_a_fit_begins_near_the_image_in_the_bits_that_there_are() -> None:
    layout, values = picture().layout, picture().read()
    deviation = np.full(1, values.std(), np.float32)
    target = Target(CoordinateMap(layout, ""), values, deviation, np.full(1, values.mean(), np.float32), np.ones(1, np.float32))
    pyramid = Pyramid(layout.shape, (1, 1), 4, 1)
    latents, gain = first_latents(target, pyramid, 8000)
    assert estimate_bits([z.astype(np.int64) for z in latents]) <= 8000
    shown = pyramid.values(latents, np.unravel_index(np.arange(values.size), layout.shape)).sum(0) * gain
    assert np.mean((shown - target.batch(np.arange(values.size)).y[:, 0]) ** 2) < 0.2  # Of the image's variance.


def test_the_least_latents_are_left_out_where_bits_are_few() -> None:
    latents = [np.random.default_rng(0).laplace(0, 2, (1, 30, 30))]
    rounded = [np.rint(z).astype(np.int64) for z in latents]
    all_bits = estimate_bits(rounded)
    np.testing.assert_array_equal(cut_to(latents, all_bits, estimate_bits, 8)[0], rounded[0])
    cut = cut_to(latents, 0.6 * all_bits, estimate_bits, 12)[0]
    assert 0.55 * all_bits < estimate_bits([cut]) <= 0.6 * all_bits
    kept = cut != 0
    np.testing.assert_array_equal(cut[kept], rounded[0][kept])
    assert np.abs(latents[0][kept]).min() >= np.abs(latents[0][~kept]).max()


# -- what is refused --------------------------------------------------------------------------------------------------


LAYOUT = Layout((3, 12, 10), "ZYX", np.dtype("uint16"))


def part_with_pyramid(layout: Layout = LAYOUT) -> bytearray:
    return bytearray(random_part(layout, np.random.default_rng(0), levels=3))


def test_pyramids_are_unknown_to_version_1() -> None:
    part = bytes(part_with_pyramid())
    assert part[0] & PYRAMID_FLAG
    assert unpack(part, LAYOUT, 2).pyramid is not None
    with pytest.raises(FormatError, match="does not know"):
        unpack(part, LAYOUT, 1)


@pytest.mark.parametrize(("at", "value", "words"), [
    (0, PYRAMID_FLAG, "does not know"), (0, 2 | PYRAMID_FLAG | 16, "does not know"), (3, 0, "cannot be"), (4, 99, "cannot be"),
    (7, 0x7F, "cut short|length|end"), (8, 9, "cut short"),
])
def test_damaged_pyramids_are_refused(at: int, value: int, words: str) -> None:
    """Bytes: layers, output axes, width, levels and features, an exponent for each of three axes, length, groups of tables."""
    part = part_with_pyramid()
    part[at] = value
    with pytest.raises(FormatError, match=words):
        unpack(bytes(part), LAYOUT, 2)


def test_channels_are_no_axes_of_a_pyramid() -> None:
    channels = Layout((3, 12, 10), "CYX", np.dtype("uint16"))
    with pytest.raises(FormatError, match="CYX"):
        unpack(bytes(part_with_pyramid()), channels, 2)


def test_latents_that_are_only_claimed_cost_no_memory() -> None:
    huge = Layout((30_000, 1_000_000, 1_000_000), "ZYX", np.dtype("uint16"))
    with pytest.raises(FormatError, match="cannot hold a pyramid"):
        unpack(bytes(part_with_pyramid()), huge, 2)


def test_latents_beyond_the_memory_that_is_allowed_are_refused() -> None:
    large = Layout((1, 1500, 1500), "ZYX", np.dtype("uint16"))
    part = bytes([2 | PYRAMID_FLAG, 0, 6, 1, 16, 16, 0]) + bytes(20_000)
    with pytest.raises(InputError, match="2,250,000 latents"):
        unpack(part, large, 2, working=1 << 20)

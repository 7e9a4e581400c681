"""The contracts of the design, over every registered method: one section per contract, in its order.

``python tests/test_contracts.py`` writes the vector files anew after a wanted change of a bitstream.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import helpers.seam_methods  # noqa: F401 (registers its methods)
import microfield as mf
from helpers.files import QUICK, Packed, compressed, random_file, random_groups_file, random_part, settings
from helpers.images import KINDS, ROOM, blobs, image, room, scaled
from microfield.errors import BudgetError, FormatError, InputError
from microfield.format.assembler import Assembler, write
from microfield.format.container import Container
from microfield.format.header import Header, checksum
from microfield.format.source import BytesSource
from microfield.image import Image, Layout
from microfield.methods import get_method, names
from microfield.methods.coordinate.bitstream import Published, Shape, pack_published
from microfield.methods.field import filter_fit
from microfield.methods.field import method as field_method
from microfield.methods.field.network import ContextNet
from microfield.methods.field.tuning import FIRST, LAST, Changes
from microfield.methods.lossless.method import Way, packed_as
from microfield.methods.lossless.values import to_planes
from microfield.methods.options import options_to_dict
from microfield.metrics import psnr, square_errors
from microfield.reading.file import MicrofieldFile, open_file
from microfield.statistics import channel_statistics
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes

SEAM = ("differences-for-tests", "nested-for-tests", "shared-for-tests")
"""Methods that exist to prove what the seam carries."""
METHODS = (*(name for name in names() if not name.endswith("-for-tests")), *SEAM)
NETWORKS = ("siren", "inif")
FITTED = (*NETWORKS, "sincs")
"""Methods whose files come from a fit."""
CODECS = ("hevc", "av1", "sperr", "jpeg2000", "htj2k", "jpegxl", "jpegxr", "avif", "webp", "lerc", "sz3", "zfp")
"""Methods whose streams are made and read by other people's libraries."""
OWN = tuple(name for name in METHODS if name not in (*CODECS, *SEAM))
FRAGILE = ("sperr", "sz3", "zfp", "htj2k", "jpegxr")
"""Codecs whose native decoders do not survive streams made to harm them: checksums are what guards their files."""
WEAK = ("lerc", "zfp", "sz3", "downsample", *SEAM)
"""Methods that reach less at the same size."""
EXACT = ("lossless",)
"""Methods whose files are exact copies."""
VECTORS = Path(__file__).parent.parent / "vectors"

Array = npt.NDArray[Any]
Files = Callable[[str, str], Packed]

every_method = pytest.mark.parametrize("method", METHODS)
every_lossy_method = pytest.mark.parametrize("method", [name for name in METHODS if name not in EXACT])
every_compact_method = pytest.mark.parametrize("method", [name for name in METHODS if name not in SEAM])
every_own_method = pytest.mark.parametrize("method", OWN)
every_robust_method = pytest.mark.parametrize("method", [name for name in METHODS if name not in FRAGILE])


def continuous(method: str) -> bool:
    return get_method(method).with_options(QUICK.get(method, {})).quality.fills


def measured_psnr(original: Image, data: bytes) -> float:
    """PSNR of the file as it decodes, from the definition: channels on their own ranges."""
    f = open_file(data)
    errors = square_errors(original, lambda box: np.asarray(f[box]))
    return psnr(errors, channel_statistics(original).range)


# -- 1 size -----------------------------------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_fits_its_budget_and_uses_it(packed: Files, method: str, kind: str) -> None:
    data, report = packed(method, kind)
    limit = room(method, kind)
    assert len(data) <= limit
    if continuous(method):
        assert len(data) >= 0.98 * limit
    assert report.file_bytes == len(data)
    assert report.used == len(data) / limit
    assert report.ratio == pytest.approx(image(kind).nbytes / len(data))
    assert open_file(data).ratio == report.ratio


@every_method
@pytest.mark.parametrize("kind", ["ratio", "bits_per_voxel"])
def test_ratio_and_bits_per_voxel_are_sizes(method: str, kind: str) -> None:
    original = image("uint8")
    limit = int(48 * 40 / 6.4 * ROOM.get(method, 1))
    budget = Budget(kind, 48 * 40 / limit if kind == "ratio" else 8 * limit / (48 * 40))
    assert budget.byte_limit(original.layout) == limit
    data, _ = compressed(original, method, budget)
    assert len(data) <= limit
    assert len(data) >= 0.98 * limit or not continuous(method)


@every_method
def test_the_report_is_measured_on_the_file_as_it_decodes(packed: Files, method: str) -> None:
    for kind in ("channels", "rgb", "float32"):
        data, report = packed(method, kind)
        assert report.psnr == pytest.approx(measured_psnr(image(kind), data), abs=1e-6)


@every_own_method
def test_no_byte_of_a_file_is_padding(packed: Files, method: str) -> None:
    """Entropy-coded bytes do not end in a run of equal ones, and none can be left out without being missed."""
    data, _ = packed(method, "uint8")
    part = Container.open(BytesSource(data)).part(0)[-1]
    assert len(set(part[-8:])) > 1
    whole = open_file(data).asarray()
    for shorter in (part[:-1], part[:-2], part[1:]):
        try:
            changed = open_file(rebuilt(data, [(shorter,)])).asarray()
        except FormatError:
            continue
        assert (changed != whole).any()


@every_method
@pytest.mark.parametrize(("kind", "tile"), [
    ("uint8", None), ("channels", None), ("float32", None), ("rgb", None), ("uint8", {"y": 24, "x": 20}),
])
def test_too_small_a_budget_names_the_size_that_works(method: str, kind: str, tile: dict[str, int] | None) -> None:
    def attempt(limit: int) -> Packed:
        return compressed(image(kind), method, Budget("max_bytes", limit), tile=tile)

    with pytest.raises(BudgetError) as refused:
        attempt(20)
    named = re.search(r"at least (\d+) bytes", str(refused.value))
    assert named is not None
    size = int(named[1])
    with pytest.raises(BudgetError):
        # A codec's coarsest setting is not always its smallest stream, so there only clearly less is impossible.
        attempt(size - 1 if method in OWN else int(0.7 * size))
    data, _ = attempt(size)
    assert len(data) <= size
    assert open_file(data)[...].shape == image(kind).shape


@every_method
@pytest.mark.parametrize("budget", [Budget("psnr", 32.0), Budget("noise_factor", 1.5)], ids=["psnr", "noise_factor"])
def test_an_asked_quality_is_reached_and_hardly_exceeded(method: str, budget: Budget) -> None:
    if method in WEAK:
        budget = Budget("psnr", 25.0) if budget.kind == "psnr" else Budget("noise_factor", 3.0)
    if method == "nested-for-tests":
        budget = Budget("psnr", 20.0) if budget.kind == "psnr" else Budget("noise_factor", 6.0)
    shape, count = (160, 144), 60
    if method in FITTED:  # A search fits them again and again.
        shape, count = (64, 56), 4
        budget = Budget("noise_factor", 2.5) if budget.kind == "noise_factor" else budget
    original = Image(scaled(blobs(shape, count=count), 20, 200, np.uint8), "YX")
    data, report = compressed(original, method, budget)
    errors = square_errors(original, lambda box: np.asarray(open_file(data)[box]))
    scale = channel_statistics(original).range if budget.kind == "psnr" else channel_statistics(original).noise
    reached = psnr(errors, scale)
    goal = budget.value if budget.kind == "psnr" else -20 * np.log10(budget.value)
    assert reached >= goal
    if continuous(method):
        # The contract's 0.1 dB, and what single bytes are worth in a file of one or two thousand of them.
        assert reached <= goal + 0.1 + 500 / len(data)
    told = report.psnr if budget.kind == "psnr" else report.noise_factor
    assert told == pytest.approx(reached if budget.kind == "psnr" else 10 ** (-reached / 20), abs=1e-6)
    assert report.used is None


@every_lossy_method
def test_a_quality_beyond_a_quarter_of_the_raw_size_is_refused(method: str) -> None:
    noisy = Image(scaled(np.random.default_rng(0).random((32, 28)), 0, 255, np.uint8), "YX")
    with pytest.raises(BudgetError, match="quarter of the raw size"):
        compressed(noisy, method, Budget("psnr", 60))


@every_compact_method
def test_tiles_share_the_budget_by_activity(method: str) -> None:
    array = np.full((32, 84), 100, np.uint8)
    array[:, :28] = scaled(blobs((32, 28), 1, 12), 20, 220, np.uint8)
    array[:, 28:56] = scaled(blobs((32, 28), 2, 2) * 0.15, 100, 200, np.uint8)
    limit = int(700 * ROOM.get(method, 1))
    data, report = compressed(Image(array, "YX"), method, Budget("max_bytes", limit), tile={"x": 28})
    assert report.parts == 3
    assert len(data) <= limit
    assert len(data) >= 0.98 * limit or not continuous(method)
    opened = Container.open(BytesSource(data))
    busy, quiet, constant = (stop - start for start, stop in (opened.part_range(i) for i in range(3)))
    assert busy > 1.5 * quiet
    assert quiet > 2 * constant
    assert constant <= 24
    np.testing.assert_array_equal(open_file(data)[:, 56:], array[:, 56:])


# -- 2 selection ------------------------------------------------------------------------------------------------------


LAYOUTS = [
    Layout((9, 11), "YX", np.dtype("uint8")), Layout((3, 9, 11), "ZYX", np.dtype("uint16")),
    Layout((2, 40, 31), "CYX", np.dtype("float32")), Layout((7, 9, 3), "YXS", np.dtype("uint8")),
    Layout((2, 3, 1, 8, 5), "TCZYX", np.dtype("int16")), Layout((5, 2, 6), "YCX", np.dtype("int32")),
    Layout((1, 1), "YX", np.dtype("uint16")), Layout((1, 6, 7), "ZYX", np.dtype("float64")),
]
"""Decoding is tested on these with random weights, so that nothing has to be fitted."""


@st.composite
def networks(draw: st.DrawFn) -> MicrofieldFile:
    layout = draw(st.sampled_from(LAYOUTS))
    tile = draw(st.none() | st.tuples(*(st.integers(1, n) for n in layout.shape)))
    axes = draw(st.sampled_from(["", "C", "S", "T", "CT"]))
    outputs = "".join(a for a in layout.axes if a in axes)
    depth = draw(st.integers(0, 3)) if fits_flat(layout, outputs) else draw(st.integers(1, 3))
    return open_file(random_file(layout, draw(st.sampled_from(NETWORKS)), draw(st.integers(0, 99)), tile,
                                 output_axes=outputs, depth=depth))


@st.composite
def networks_with_pyramids(draw: st.DrawFn) -> MicrofieldFile:
    """Files of `inif` whose networks see the latents of a pyramid, which colours and channels do not have as axes."""
    layout = draw(st.sampled_from(LAYOUTS))
    outputs = "".join(a for a in layout.axes if a in draw(st.sampled_from(["CS", "CST"])))
    whole = all(n == 1 or axis in outputs for axis, n in zip(layout.axes, layout.shape, strict=True))
    return open_file(random_file(layout, "inif", draw(st.integers(0, 99)), output_axes=outputs, depth=draw(st.integers(1, 2)),
                                 levels=0 if whole else draw(st.integers(1, 5))))


def fits_flat(layout: Layout, outputs: str) -> bool:
    """Whether a network without sine layers, which knows no coordinates, can make this layout."""
    return all(n == 1 or axis in outputs for axis, n in zip(layout.axes, layout.shape, strict=True) if axis in "CS")


@given(networks() | networks_with_pyramids(), st.data())
@hypothesis_settings(deadline=None, max_examples=60)
def test_a_selection_equals_the_same_selection_of_the_whole(f: MicrofieldFile, data: st.DataObject) -> None:
    whole = f.asarray()
    assert whole.shape == f.shape
    assert whole.dtype == f.dtype
    key = data.draw(hnp.basic_indices(f.shape, allow_newaxis=False))
    np.testing.assert_array_equal(f[key], whole[key], strict=True)
    mask = data.draw(hnp.arrays(np.bool_, f.shape))
    np.testing.assert_array_equal(f[mask], whole[mask], strict=True)
    np.testing.assert_array_equal(f.asarray(mask, fill=7), np.where(mask, whole, whole.dtype.type(7)), strict=True)
    points = np.argwhere(mask)
    np.testing.assert_array_equal(f.at(points), whole[mask], strict=True)
    n = data.draw(st.integers(1, 4))
    steps = tuple(slice(None, None, n if axis in "ZYX" else 1) for axis in f.axes)
    np.testing.assert_array_equal(f.preview(n), whole[steps], strict=True)


@every_method
@pytest.mark.parametrize("kind", ["uint8", "channels", "series", "rgb", "float32"])
def test_regions_planes_and_voxels_of_a_fitted_file(packed: Files, method: str, kind: str) -> None:
    f = open_file(packed(method, kind)[0])
    whole = f.asarray()
    rng = np.random.default_rng(0)
    for _ in range(12):
        ends = [sorted(int(k) for k in rng.integers(0, n + 1, 2)) for n in f.shape]
        key = tuple(slice(start, stop, int(rng.integers(1, 4))) for start, stop in ends)
        np.testing.assert_array_equal(f[key], whole[key])
    np.testing.assert_array_equal(f[..., ::-3], whole[..., ::-3])
    points = rng.integers(0, f.shape, (40, f.ndim))
    np.testing.assert_array_equal(f.at(points), whole[tuple(points.T)])
    for point in points[:5]:
        assert f[tuple(point)] == whole[tuple(point)]


@every_method
def test_tiles_read_like_one_image(packed_tiles: Callable[[str], Packed], method: str) -> None:
    f = open_file(packed_tiles(method)[0])
    whole = f.asarray()
    for key in (np.s_[20:30, 15:25], np.s_[::-5, ::7], np.s_[23:25], np.s_[:, 19], np.s_[47, 39]):
        np.testing.assert_array_equal(f[key], whole[key])


def test_threads_do_not_change_a_voxel(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_file(Layout((3, 70, 50), "ZYX", np.dtype("uint16")), width=16)
    read = {}
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("MICROFIELD_THREADS", threads)
        read[threads] = open_file(data).asarray()
    np.testing.assert_array_equal(read["1"], read["2"])
    np.testing.assert_array_equal(read["1"], read["5"])
    assert len(np.unique(read["1"])) > 20


def test_cost_counts_the_voxels_asked_for_and_the_bytes_of_their_parts(packed_tiles: Callable[[str], Packed]) -> None:
    f = open_file(packed_tiles(NETWORKS[0])[0])
    corner, whole = f.cost(np.s_[:3, :5]), f.cost(...)
    assert corner.voxels == 15
    assert whole.voxels == 48 * 40
    assert 0 < corner.nbytes < whole.nbytes < f.file_bytes


# -- 3 reproducible ---------------------------------------------------------------------------------------------------


@every_method
def test_the_same_call_gives_the_same_file_and_another_seed_another(packed: Files, method: str) -> None:
    data, _ = packed(method, "int16")
    budget = Budget("max_bytes", room(method, "int16"))
    assert compressed(image("int16"), method, budget)[0] == data
    # A file keeps its seed, so that files differ where values do not.
    one, other = (open_file(compressed(image("int16"), method, budget, seed=seed)[0])[...] for seed in (1, 2))
    assert (not np.array_equal(one, other)) is (method in FITTED)


@pytest.mark.parametrize("method", ["field", "inif"])
def test_the_same_call_gives_the_same_file_in_another_process(packed: Files, method: str) -> None:
    program = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        from helpers.files import compressed
        from helpers.images import BYTES, image
        from microfield.writing.budget import Budget
        data, _ = compressed(image("int16"), {method!r}, Budget("max_bytes", BYTES["int16"]))
        print(data.hex())
    """
    assert in_python(program).strip() == packed(method, "int16")[0].hex()


def in_python(program: str, *arguments: str) -> str:
    """What a program prints in a fresh interpreter that treats warnings as errors."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(program), *arguments],
                          capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout


def vector_files() -> dict[str, bytes]:
    """Small files of every kind of bitstream that stays; those of random weights are the same on every machine."""
    u1, u2, f4 = np.dtype("uint8"), np.dtype("uint16"), np.dtype("float32")
    plane, stack = Layout((24, 20), "YX", u1), Layout((3, 12, 10), "ZYX", u2)
    return {
        "siren": compressed(Image(image("uint8").read()[8:40, 8:36], "YX"), "siren", Budget("max_bytes", 260))[0],
        "inif": compressed(Image(image("stack").read()[2:6, :20, :16], "ZYX"), "inif", Budget("max_bytes", 260))[0],
        "siren-paper": write(Header("siren", 1, plane, checksum=bytes(8)), [(published_part(plane, 30.0, 255),)]),
        "inif-paper": write(Header("inif", 1, stack, checksum=bytes(8)), [(published_part(stack, 93.5, 4000),)]),
        "inif-2-pyramid": random_file(Layout((2, 5, 21, 34), "CZYX", u2), seed=3, output_axes="C", levels=3),
        "inif-float32": random_file(Layout((2, 10, 9), "CYX", f4), output_axes="C"),
        "sincs-parts": compressed(image("stack"), "sincs", Budget("max_bytes", 700), tile={"z": 4})[0],
        "sincs-tree": random_groups_file(Layout((7, 14, 10), "ZYX", u2), 9, counts=(7, 1, 1), ancestors=(3, 0, 1, None, 3, 4, 4)),
        "sincs-turns": random_groups_file(Layout((3, 7, 9, 8), "CZYX", u2), 4, counts=(2, 3, 1, 1), in_turn=True, output_axes="C"),
        "sincs-paper": random_groups_file(Layout((6, 16, 15), "ZYX", u2), 5, counts=(3, 1, 1), in_turn=True, rectified=True),
        "siren-tiles": random_file(Layout((16, 14, 3), "YXS", u1), "siren", tile=(8, 7, 3), output_axes="S", width=4),
        **{f"{name}-{kind}": compressed(image(kind), name, Budget("max_bytes", 450))[0]
           for name in ("hevc", "av1") for kind in ("series", "rgb")},
        **{f"field-{kind}": compressed(image(kind), "field", Budget("max_bytes", 600))[0]
           for kind in ("uint8", "stack", "series", "rgb", "float32")},
        **{f"lossless-{kind}": compressed(exact_vector(kind), "lossless", Budget("lossless", 1), effort=5)[0]
           for kind in EXACT_KINDS},
        "lossless-ways": all_ways(),
        "field-rolled": compressed(rolled(), "field", Budget("max_bytes", 4000), effort=5, options={"nets": "b"})[0],
        **fifth_version(),
    }


def fifth_version() -> dict[str, bytes]:
    """Files of version 5 of `field`: a stack, channels over time, a film, and planes for which a layer of the network changed."""
    stack = image("stack").read()
    found = {"field-5-stack": compressed(Image(stack[:5, :26, :22], "ZYX"), "field", Budget("max_bytes", 420))[0]}
    series = np.stack([stack[:3, :20, :18], stack[1:4, 2:22, :18]], axis=1)
    found["field-5-series"] = compressed(Image(series, "TCYX"), "field", Budget("max_bytes", 420), effort=5)[0]
    film = {"options": {"transform": "film"}}
    found["field-5-film"] = compressed(Image(stack[:5, :20, :24], "TYX"), "field", Budget("max_bytes", 500), **film)[0]
    found["field-5-plane"] = compressed(Image(image("uint8").read()[:48, :40], "YX"), "field", Budget("max_bytes", 450))[0]
    y, x = np.mgrid[:31, :37]
    sharp = np.stack([[900 * ((y + x + z) // 6 % 2) + 500 * np.sin(y / 5) for z in range(4)],
                      [800 * ((y - x + 40) // 7 % 2) + 300 * np.cos(x / 4) for z in range(4)]]) + 2000
    with mock.patch.multiple(filter_fit, LEAST_BYTES=(100, 200, 300), LEAST_VOXELS=1):
        filters = Image(sharp.astype(np.uint16), "CZYX")
        found["field-5-filters"] = compressed(filters, "field", Budget("max_bytes", 1200), effort=5)[0]
    rng, net = np.random.default_rng(5), ContextNet.load("all")
    for name, sort, counts in (("first", FIRST, [len(net.planes)] * 2 + [3]), ("last", LAST, [net.third.shape[1] + 1] * 3)):
        changes = Changes(sort, tuple(rng.integers(-4, 5, n).astype(np.int32) for n in counts))
        with mock.patch.multiple(field_method, TUNED_FROM=0, tuned=lambda *_, given=changes: (given, 1.0)):
            plane = Image(image("uint8").read()[:40, :36], "YX")
            found[f"field-5-{name}"] = compressed(plane, "field", Budget("max_bytes", 600), effort=5)[0]
    return found


EXACT_KINDS = ("labels", "float32", "counts", "float64")
"""Vectors of `lossless` that were made as users make them; every predictor and compressor is in "lossless-ways"."""


def all_ways() -> bytes:
    """A file of `lossless` with a part for every predictor, alternating in everything else."""
    array = np.random.default_rng(5).normal(3000, 60, (12, 3, 8, 10, 3)).astype(np.uint16)
    header = Header("lossless", 1, Layout(array.shape, "TZYXS", array.dtype), checksum=checksum([array]), tile=(1, 3, 8, 10, 3))
    parts = []
    for i, block in enumerate(array):
        layout = header.part_layout(i)
        way = Way(i % 6, i % 3, interleaved=i % 4 > 1, colour=i > 5)
        parts.append((packed_as(to_planes(block[None], layout), way, layout, 5),))
    return write(header, parts)


def exact_vector(kind: str) -> Image:
    """Images that are kept exactly."""
    if kind == "labels":
        y, x = np.mgrid[:60, :70]
        return Image((((y // 12) * 7 + x // 11 + 1) * ((y % 12 > 1) & (x % 11 > 2))).astype(np.uint16), "YX")
    if kind == "counts":
        return Image(np.random.default_rng(0).poisson(40, (2, 20, 30)).astype(np.float32), "CYX")
    if kind == "float64":
        return Image(image("float32").read().astype(np.float64) / 3, "YX")
    array = image("float32").read().copy()
    array[3, :5] = [np.nan, np.inf, -np.inf, -0.0, 1e-45]
    return Image(array, "YX")


def rolled() -> Image:
    """A stack whose planes move sideways: what makes the encoder align them; large enough that it adapts its network."""
    rng = np.random.default_rng(3)
    plane = image("uint8").read().astype(float)[:40, :40] + rng.normal(0, 8, (40, 40))
    planes = [np.roll(plane, (i, 3 * i), (0, 1)) + rng.normal(0, 2, plane.shape) for i in range(10)]
    return Image(np.clip(planes, 0, 255).astype(np.uint8), "ZYX")


def published_part(layout: Layout, frequency: float, span: float) -> bytes:
    """A network of the published configuration as it is before the fit, but with some output."""
    rng = np.random.default_rng(7)
    shape = Shape(sum(n > 1 for n in layout.shape), 5, 6, 1)
    matrices = [rng.uniform(-1, 1, fan) * np.sqrt(6 / 5) / frequency for fan in shape.fans]
    matrices[0] *= frequency / np.sqrt(6 / 5) / len(layout.shape) / 4
    matrices[-1] *= frequency * 20
    biases = [rng.uniform(-0.01, 0.01, b) for _, b in shape.fans]
    net = Published(shape, tuple(m.astype(np.float32) for m in matrices), tuple(b.astype(np.float32) for b in biases),
                    np.float32(frequency), np.float32(span / 100), np.float32(span / 2))
    return pack_published(net, "")


@pytest.mark.parametrize("name", ["siren", "siren-paper", "inif", "inif-2-pyramid", "inif-paper", "inif-float32", "siren-tiles",
                                  "sincs-parts", "sincs-tree", "sincs-turns", "sincs-paper",
                                  "hevc-series", "hevc-rgb", "av1-series", "av1-rgb", "field-uint8", "field-stack",
                                  "field-series", "field-rgb", "field-float32", "field-rolled", "field-5-stack",
                                  "field-5-series", "field-5-film", "field-5-first", "field-5-last"])
def test_old_files_decode_as_they_always_did(name: str) -> None:
    """Files in the repository decode within one grey level of what is written beside them, on any machine."""
    f = mf.open(VECTORS / f"{name}.mfield")
    expected = np.load(VECTORS / f"{name}.npy")
    assert f.dtype == expected.dtype
    whole = f.asarray()
    assert whole.shape == expected.shape
    step = 1 if f.dtype.kind in "iu" else (float(expected.max()) - float(expected.min())) / 65535
    assert np.abs(whole.astype(float) - expected.astype(float)).max() <= step
    assert len(np.unique(expected)) > 50


@pytest.mark.parametrize("kind", [*EXACT_KINDS, "ways"])
def test_old_exact_copies_decode_bit_for_bit(kind: str) -> None:
    whole = mf.open(VECTORS / f"lossless-{kind}.mfield").asarray()
    expected = np.load(VECTORS / f"lossless-{kind}.npy")
    assert whole.dtype == expected.dtype
    assert whole.tobytes() == expected.tobytes()


# -- 4 self-contained -------------------------------------------------------------------------------------------------


@every_own_method
def test_decoding_needs_the_file_and_numpy_only(packed: Files, method: str, tmp_path: Path) -> None:
    data, _ = packed(method, "channels")
    path = tmp_path / "alone.mfield"
    path.write_bytes(data)
    program = """
        import sys
        for name in ("jax", "jaxlib", "optax", "scipy", "skimage", "imagecodecs", "zarr", "dask", "tifffile"):
            sys.modules[name] = None
        import hashlib
        import microfield as mf
        f = mf.open(sys.argv[1])
        print(hashlib.sha256(f[...].tobytes()).hexdigest(), f[0, 3, 4], f.preview(4).shape)
    """
    digest, voxel, *_ = in_python(program, str(path)).split()
    whole = open_file(data).asarray()
    assert digest == hashlib.sha256(whole.tobytes()).hexdigest()
    assert int(voxel) == whole[0, 3, 4]


def test_nothing_in_the_package_unpickles_or_executes_what_it_reads() -> None:
    package = Path(mf.__file__).parent
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    assert len(sources) > 30
    # They read pickles of others with classes of their own in the place of all that these name: tests/perceptual.
    for reader in ("unpickle.py", "torch_file.py"):
        del sources[package / "perceptual" / reader]
    for path, text in sources.items():
        assert not re.search(r"\bpickle\.loads?\b|\bimport pickle\b|\beval\(|\bexec\(|allow_pickle=True|marshal", text), path


@every_method
def test_a_file_holds_a_checksum_of_the_original_and_no_part_of_it(packed: Files, method: str) -> None:
    data, _ = packed(method, "uint8")
    original = image("uint8").read()
    assert open_file(data).header.checksum == checksum([original])
    rows = [original[i, j : j + 6].tobytes() for i in range(48) for j in range(0, 34, 2)]
    assert not any(row in data for row in rows)


# -- 5 hostile --------------------------------------------------------------------------------------------------------


def read_all(data: bytes) -> Array:
    return open_file(data, max_read_bytes=1 << 24).asarray()


def rebuilt(data: bytes, parts: list[tuple[bytes, ...]]) -> bytes:
    """The same file around other parts, every checksum right."""
    opened = Container.open(BytesSource(data))
    return write(opened.header, parts, opened.shared)


def hostile_files() -> dict[str, bytes]:
    u1 = np.dtype("uint8")
    return {
        "one part": random_file(Layout((7, 9), "YX", u1), width=4, depth=1),
        "tiles": random_file(Layout((2, 8, 6), "CYX", u1), tile=(2, 4, 3), width=4, depth=1, output_axes="C"),
    }


@pytest.mark.parametrize("name", hostile_files())
def test_every_flipped_byte_is_noticed(name: str) -> None:
    data = hostile_files()[name]
    read_all(data)
    for position in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :]
            with pytest.raises(FormatError):
                read_all(damaged)


@pytest.mark.parametrize("name", hostile_files())
def test_every_truncation_is_noticed(name: str) -> None:
    data = hostile_files()[name]
    for length in range(len(data)):
        with pytest.raises(FormatError):
            read_all(data[:length])
    with pytest.raises(FormatError):
        read_all(data + b"\0")


@every_method
def test_fitted_files_notice_damage(packed: Files, packed_tiles: Callable[[str], Packed], method: str) -> None:
    for data in (packed(method, "channels")[0], packed_tiles(method)[0]):
        for position in range(0, len(data), 7):
            with pytest.raises(FormatError):
                read_all(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
            with pytest.raises(FormatError):
                read_all(data[:position])


def decodes_or_refuses(data: bytes) -> bool:
    """Whether a file of right checksums decodes; anything but a FormatError is a failure of the test."""
    try:
        f = open_file(data, max_read_bytes=1 << 24)
        whole = f.asarray()
    except FormatError:
        return False
    assert whole.shape == f.shape
    assert whole.dtype == f.dtype
    assert f.method in EXACT or np.isfinite(whole.astype(float)).all()
    return True


@every_robust_method
@given(edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
       kind=st.sampled_from(["uint8", "channels", "float32"]))
@hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_resigned_damage_decodes_or_is_refused(packed: Files, method: str, edits: list[tuple[int, int]], kind: str) -> None:
    data = packed(method, kind)[0]
    (section, *others) = Container.open(BytesSource(data)).part(0)
    part = bytearray(section)
    for position, value in edits:
        part[position % len(part)] = value
    decodes_or_refuses(rebuilt(data, [(bytes(part), *others)]))


@every_robust_method
def test_every_byte_of_a_part_may_lie(packed: Files, method: str) -> None:
    """The first bytes carry the structure: each takes every value, and the checksums are right."""
    data = packed(method, "uint8")[0]
    part, *others = Container.open(BytesSource(data)).part(0)
    outcomes = set()
    for position in range(min(14, len(part))):
        for value in range(0, 256, 5 if method in SEAM else 11):
            changed = part[:position] + bytes([value]) + part[position + 1 :]
            outcomes.add(decodes_or_refuses(rebuilt(data, [(changed, *others)])))
    assert outcomes == {True, False}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32", "float32", "float64"])
@given(part=st.binary(max_size=60) | st.binary(max_size=60).map(lambda b: b"\x01\x00\x04" + b)
       | st.binary(max_size=60).map(lambda b: b"\x11\x00\x01" + b))
@hypothesis_settings(deadline=None, max_examples=60)
def test_random_bytes_for_a_part_decode_or_are_refused(dtype: str, part: bytes) -> None:
    header = Header(method="siren", bitstream_version=1, layout=Layout((5, 6), "YX", np.dtype(dtype)))
    decodes_or_refuses(write(header, [(part,)]))


def test_a_huge_claim_is_refused_before_memory_is_taken() -> None:
    layout = Layout((8, 8), "YX", np.dtype("uint8"))
    small = random_part(layout, np.random.default_rng(0), width=4, depth=1)
    assert small[2] == 4
    for wide in (b"\xff\xff\x7f", b"\xff\xff\xff\xff\xff\xff\x0f", b"\xff\x7f"):
        for depth in (1, 15):
            claimed = bytes([depth, small[1]]) + wide + small[3:]
            data = write(Header(method="siren", bitstream_version=1, layout=layout), [(claimed,)])
            tracemalloc.start()
            begin = time.process_time()
            with pytest.raises(FormatError):
                open_file(data)[0, 0]
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 1 << 22
            assert time.process_time() - begin < 20


def test_a_huge_image_in_a_small_file_opens_and_reads_a_voxel() -> None:
    layout = Layout((1 << 20, 1 << 30), "YX", np.dtype("uint8"))
    header = Header(method="siren", bitstream_version=1, layout=layout)
    network = random_part(Layout((8, 8), "YX", np.dtype("uint8")), np.random.default_rng(0))
    f = open_file(write(header, [(network,)]))
    with pytest.raises(InputError, match="max_read_bytes"):
        f.asarray()
    with pytest.raises(InputError, match="max_read_bytes"):
        f[:8]
    tracemalloc.start()
    corner = f[-1, -3:]
    assert f.at([[5, 1 << 29]]).shape == (1,)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert corner.shape == (3,)
    assert peak < 1 << 22


def test_a_read_above_max_read_bytes_is_refused_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_file(Layout((20, 20), "YX", np.dtype("uint16")))
    f = open_file(data, max_read_bytes=400)

    def touched(*args: Any) -> None:
        raise AssertionError(f"decoded {args}")

    monkeypatch.setattr("microfield.methods.coordinate.decoder.evaluate", touched)
    for refused in (lambda: f[...], lambda: f.asarray(), lambda: f[:11], lambda: f.at(np.zeros((201, 2), int)),
                    lambda: f[np.ones((20, 20), bool)], lambda: f.preview(1)):
        with pytest.raises(InputError, match="max_read_bytes"):
            refused()
    with pytest.raises(AssertionError, match="decoded"):
        f[:10]


# -- 6 atomic ---------------------------------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_compression_leaves_the_old_file(method: str, error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "cells.mfield"
    path.write_bytes(b"what was there before")
    calls = []

    def stop(fraction: float, message: str) -> None:
        calls.append(fraction)
        if len(calls) > 2:
            raise error(message)

    with pytest.raises(error):
        mf.compress(image("uint8").read(), path, max_bytes=room(method, "uint8"), effort=0, method=method,
                    options=QUICK.get(method), overwrite=True, progress=stop)
    assert len(calls) == 3
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


@every_method
def test_a_finished_compression_replaces_the_old_file(packed: Files, method: str, tmp_path: Path) -> None:
    path = tmp_path / "cells.mfield"
    path.write_bytes(b"what was there before")
    shown = []
    mf.compress(image("uint8"), path, max_bytes=room(method, "uint8"), effort=0, method=method, options=QUICK.get(method),
                overwrite=True, progress=lambda fraction, _: shown.append(fraction))
    assert path.read_bytes() == packed(method, "uint8")[0]
    assert list(tmp_path.iterdir()) == [path]
    assert 0 <= min(shown) <= max(shown) <= 1


def test_a_failing_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "flat.mfield"
    path.write_bytes(b"old")

    def full(self: Assembler, stream: IO[bytes]) -> int:
        stream.write(b"begun")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Assembler, "write", full)
    with pytest.raises(InputError, match="No space left"):
        mf.compress(np.full((20, 20), 7, np.uint8), path, max_bytes=200, method=METHODS[0], overwrite=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# -- 7 any image ------------------------------------------------------------------------------------------------------


DTYPES = ("uint8", "uint16", "int16", "float32", "uint32", "int32", "float64", "int8")


@every_method
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(method: str, dtype: str) -> None:
    low, high = {"uint8": (0, 250), "int8": (-120, 120), "uint32": (2**31, 2**32 - 9), "int32": (-(2**31), 2**31 - 9),
                 "float64": (-1e9, 1e9)}.get(dtype, (-2000, 30000) if dtype != "uint16" else (32768, 65000))
    values = blobs((32, 28), 5)
    array = scaled((values - values.min()) / np.ptp(values), low, high, dtype)
    original = Image(array, "YX")
    data, _ = compressed(original, method, Budget("max_bytes", room(method, "int16")))
    f = open_file(data)
    whole = f.asarray()
    assert whole.dtype == f.dtype == np.dtype(dtype)
    assert measured_psnr(original, data) > 22
    assert array.min() <= whole.min()
    assert whole.max() <= array.max()


@every_method
@pytest.mark.parametrize(("shape", "axes"), [
    ((6, 5), "YX"), ((1, 1), "YX"), ((3, 6, 5), "ZYX"), ((6, 5, 3), "YXS"), ((2, 6, 5), "CYX"), ((2, 3, 6, 5), "CZYX"),
    ((2, 3, 4, 6, 5), "TCZYX"), ((6, 3, 5), "YCX"), ((5, 6, 4), "XYS"), ((4, 6, 5), "TYX"),
])
def test_constant_images_of_any_shape_are_exact(method: str, shape: tuple[int, ...], axes: str) -> None:
    values = {"uint8": 255, "uint16": 40000, "int16": -32768, "float32": -1.5e-3, "uint32": 2**32 - 1, "float64": 1 / 3}
    for dtype, value in values.items():
        array = np.full(shape, value, dtype)
        data, report = compressed(Image(array, axes), method, Budget("max_bytes", 400))
        np.testing.assert_array_equal(open_file(data).asarray(), array, strict=True)
        assert report.psnr == np.inf
        # The methods that prove the seam store levels and steps as doubles, twice where they nest.
        assert len(data) < (110 + 13 * Layout(shape, axes, np.dtype(dtype)).channels) * (3 if method in SEAM else 1), dtype


@every_compact_method
def test_channels_that_are_constant_each_are_exact(method: str) -> None:
    array = np.repeat([7, 60000, 0], 30).reshape(3, 6, 5).astype(np.uint16)
    data, _ = compressed(Image(array, "CYX"), method, Budget("max_bytes", 200))
    np.testing.assert_array_equal(open_file(data).asarray(), array)


@every_method
@pytest.mark.parametrize(("shape", "axes"), [((1, 1, 1, 32, 28), "TCZYX"), ((32, 28, 1), "YXZ"), ((1, 32, 28), "SYX")])
def test_axes_of_extent_one_cost_nothing(packed: Files, method: str, shape: tuple[int, ...], axes: str) -> None:
    original = Image(image("int16").read().reshape(shape), axes)
    data, report = compressed(original, method, Budget("max_bytes", room(method, "int16")))
    assert open_file(data).shape == shape
    assert report.psnr >= packed(method, "int16")[1].psnr - 1.5


@every_method
def test_saturation_and_offsets_stay_in_the_dtype(method: str) -> None:
    array = np.clip(blobs((32, 28), 5) * 500, 0, 255).astype(np.uint8)
    assert (array == 255).sum() > 20
    data, _ = compressed(Image(array, "YX"), method, Budget("max_bytes", room(method, "int16")))
    assert np.abs(open_file(data).asarray().astype(float) - array).max() < 200  # no wrap-around from 255 to 0
    plain = image("int16").read().astype(np.int32)
    for offset, dtype in ((2000, np.uint16), (32768, np.uint16), (-20000, np.int16)):
        shifted = Image((plain + offset).astype(dtype), "YX")
        shifted_data, _ = compressed(shifted, method, Budget("max_bytes", room(method, "int16")))
        assert measured_psnr(shifted, shifted_data) > 25


@every_lossy_method
def test_a_weak_marker_is_not_starved(packed: Files, method: str) -> None:
    """Two channels of the same sort, one a hundred times brighter, are coded about equally well."""
    _, report = packed(method, "channels")
    bright, weak = report.channel_psnr
    assert abs(bright - weak) < 6
    assert report.psnr == pytest.approx(-10 * np.log10((10 ** (-bright / 10) + 10 ** (-weak / 10)) / 2))


@every_method
def test_channel_weights_shift_the_quality(method: str) -> None:
    if "channel_weights" not in get_method(method).accepts:
        with pytest.raises(InputError, match="cannot use channel weights"):
            compressed(image("channels"), method, Budget("max_bytes", 300), channel_weights=(2.0, 1.0))
        return
    budget = Budget("max_bytes", room(method, "channels"))
    difference = []
    for weights in ((30.0, 1.0), (1.0, 30.0)):
        _, report = compressed(image("channels"), method, budget, channel_weights=weights)
        difference.append(report.channel_psnr[0] - report.channel_psnr[1])
    assert difference[0] > difference[1] + 2


def test_channel_weights_that_make_no_sense_are_refused() -> None:
    for weights in ((1.0,), (0.0, 0.0), (1.0, -1.0)):
        with pytest.raises(InputError, match="channel_weights= must be 2 numbers"):
            compressed(image("channels"), METHODS[0], Budget("max_bytes", 300), channel_weights=weights)


def test_nan_and_infinity_are_refused_with_their_count() -> None:
    array = image("float32").read().copy()
    array[3, 4:9] = np.nan
    array[7, 0], array[7, 1] = np.inf, -np.inf
    with pytest.raises(InputError, match=r"5 NaN and 2 infinite"):
        compressed(Image(array, "YX"), METHODS[0], Budget("max_bytes", 300))


@every_lossy_method
def test_nan_fill_replaces_what_is_not_finite(method: str) -> None:
    array = image("float32").read().copy()
    filled = array.copy()
    array[3, 4:9], array[7, 0] = np.nan, np.inf
    filled[3, 4:9], filled[7, 0] = 0.25, 0.25
    budget = Budget("max_bytes", room(method, "float32"))
    data, report = compressed(Image(array, "YX"), method, budget, nan_fill=0.25)
    assert data[-150:] == compressed(Image(filled, "YX"), method, budget, nan_fill=0.25)[0][-150:]
    assert report.psnr == pytest.approx(measured_psnr(Image(filled, "YX"), data), abs=1e-6)


def test_labels_are_refused_unless_told() -> None:
    y, x = np.mgrid[:40, :40]
    labels = np.where((y % 20 - 10) ** 2 + (x % 20 - 10) ** 2 < 50, 1 + y // 20 * 2 + x // 20, 0).astype(np.uint16)
    with pytest.raises(InputError, match="labels"):
        compressed(Image(labels, "YX"), METHODS[0], Budget("max_bytes", 300))
    data, _ = compressed(Image(labels, "YX"), METHODS[0], Budget("max_bytes", 300), not_labels=True)
    assert open_file(data).shape == labels.shape


def test_unknown_axes_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="axes="):
        Image(np.zeros((2, 3, 4), np.uint8), "AYX")
    with pytest.raises(InputError, match="axes="):
        Image(np.zeros((2, 3, 4), np.uint8), "YX")


# -- the options every method declares, and the Python API ------------------------------------------------------------


@every_method
def test_options_are_checked(method: str) -> None:
    chosen = get_method(method)
    with pytest.raises(InputError, match="no option 'wings'"):
        chosen.with_options({"wings": 2})
    assert chosen.with_options({}).options == chosen.Options()
    assert chosen.name == method
    assert chosen.summary


@pytest.mark.parametrize("method", NETWORKS)
def test_option_bounds(method: str) -> None:
    chosen = get_method(method)
    made = chosen.with_options({"depth": "3", "paper": "yes"}).options
    assert made == chosen.Options(depth=3, paper=True)
    assert options_to_dict(made) == {"depth": 3, "paper": True}
    assert chosen.with_options(options_to_dict(made)).options == made
    for bad in ({"depth": 99}, {"depth": "deep"}, {"optimiser": "magic"}, {"paper": "perhaps"}, {"frequency": -1}):
        with pytest.raises(InputError, match=next(iter(bad))):
            chosen.with_options(bad)


@pytest.mark.parametrize("method", NETWORKS)
def test_the_chosen_depth_and_outputs_reach_the_file(method: str) -> None:
    options = {**QUICK[method], "depth": 1, "outputs": "none"}
    data, _ = compressed(image("channels"), method, Budget("max_bytes", room(method, "channels")), options=options)
    (part,) = Container.open(BytesSource(data)).part(0)
    assert part[0] == 1
    assert part[1] == 0


def test_the_reader_tells_what_the_image_was(packed: Files) -> None:
    del packed
    source = Image(np.full((2, 6, 5), 9, np.uint16), "CYX", {"Y": 0.2, "X": 0.1}, {"Y": "micrometer", "X": "nanometer"},
                   ("DAPI", "GFP"), source_bytes=1000, metadata="<OME/>")
    data, report = compress_to_bytes(source, Budget("max_bytes", 400), settings(METHODS[0], keep_metadata=True))
    f = open_file(data)
    assert (f.shape, f.axes, f.dtype.name, f.ndim, f.size, f.nbytes) == ((2, 6, 5), "CYX", "uint16", 3, 60, 120)
    assert f.sizes == {"C": 2, "Y": 6, "X": 5}
    assert f.voxel_size == {"Y": 0.2, "X": 0.1}
    assert f.units == {"Y": "micrometer", "X": "nanometer"}
    assert f.channel_names == ("DAPI", "GFP")
    assert f.method == METHODS[0]
    assert f.metadata == "<OME/>"
    assert f.ratio == 120 / len(data)
    assert f.file_bytes == len(data) == report.file_bytes
    assert report.source_bytes == 1000
    assert len(f) == 2
    assert [plane.shape for plane in f] == [(6, 5)] * 2


def test_vendor_metadata_is_dropped_where_it_is_dear_and_that_is_said() -> None:
    rng = np.random.default_rng(0)
    text = "".join(chr(c) for c in rng.integers(33, 126, 500))
    data, report = compressed(replace(image("uint8"), metadata=text), METHODS[0], Budget("max_bytes", 300))
    assert open_file(data).metadata is None
    assert any("keep_metadata" in note for note in report.notes)
    constant = Image(np.full((200, 200), 3, np.uint16), "YX", metadata="<OME/>")
    data, report = compressed(constant, METHODS[0], Budget("max_bytes", 4000))
    assert open_file(data).metadata == "<OME/>"
    assert not report.notes


def test_dask_and_xarray_are_lazy_views(packed: Files) -> None:
    pytest.importorskip("dask.array")
    xarray = pytest.importorskip("xarray")
    f = open_file(packed(METHODS[0], "channels")[0])
    lazy = f.to_dask()
    assert lazy.shape == f.shape
    np.testing.assert_array_equal(lazy[1, ::2].compute(), f[1, ::2])
    array = f.to_xarray()
    assert isinstance(array, xarray.DataArray)
    assert array.dims == tuple(f.axes)


def test_fancy_indexing_points_to_at(packed: Files) -> None:
    f = open_file(packed(METHODS[0], "uint8")[0])
    with pytest.raises(TypeError, match="at"):
        f[[1, 2], [3, 4]]


if __name__ == "__main__":
    # Files that are there stay: what they decode to is the promise.
    missing = {name: content for name, content in vector_files().items() if not (VECTORS / f"{name}.mfield").exists()}
    for vector, content in missing.items():
        (VECTORS / f"{vector}.mfield").write_bytes(content)
        np.save(VECTORS / f"{vector}.npy", open_file(content).asarray())

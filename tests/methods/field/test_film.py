"""Films: time points predicted from decoded ones by the motion of blocks."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, shift

import microfield as mf
from microfield.errors import FormatError
from microfield.format.container import Container
from microfield.format.source import open_source
from microfield.image import Layout
from microfield.methods.field import coefficients, film_search, motion_code
from microfield.methods.field.attempt import Prepared, coded_by
from microfield.methods.field.channels import Channels
from microfield.methods.field.decoder import FieldDecoder, contexts_of, refinement_of
from microfield.methods.field.film import Refiner, assembled, gain_of, unpacked
from microfield.methods.field.film_order import LONGEST_SEGMENT, Course, Film, Generation, segment_of
from microfield.methods.field.groups import Groups
from microfield.methods.field.head import LATEST, Head, packed_film, pinned, read_film, step_of
from microfield.methods.field.lifting import forward
from microfield.methods.field.motion import FIRST, MEAN, NONE, SECOND, Motion, predicted, ramp
from microfield.methods.field.motion_code import MotionReader, MotionWriter, code_motion, code_weights, visits
from microfield.methods.field.motion_search import searched
from microfield.methods.field.quantise import PLAIN
from microfield.methods.field.schedules import schedule

VECTORS = Path(__file__).parent.parent.parent / "vectors"
Array = npt.NDArray[np.generic]
films = st.builds(lambda length, segment, group: Film(length, min(segment, length), group),
                  st.integers(2, 40), st.integers(1, 40), st.sampled_from([1, 2, 4, 8, 64]))


def texture(side: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Grain of some pixels, 0 to 1."""
    grain = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 2)
    return np.asarray((grain - grain.min()) / np.ptp(grain))


def pan(times: int, shape: tuple[int, int], step: tuple[float, float], seed: int = 0) -> npt.NDArray[np.uint16]:
    """A film that moves over a texture by ``step`` pixels (y, x) a time point."""
    wide = texture(max(shape) + 40, seed)
    frames = [shift(wide, (t * step[0], t * step[1]), order=3)[20 : 20 + shape[0], 20 : 20 + shape[1]] for t in range(times)]
    return np.asarray(np.clip(np.rint(1000 + 3000 * np.stack(frames)), 0, 65535), np.uint16)


# -- order ------------------------------------------------------------------------------------------------------------


@given(film=films)
@hypothesis_settings(deadline=None)
def test_every_time_point_comes_once_and_after_its_references(film: Film) -> None:
    known: set[int] = set()
    for generation in film.generations:
        assert list(generation.frames) == sorted(generation.frames)
        assert generation.references.shape[0] == len(generation.frames)
        for frame, references in zip(generation.frames.tolist(), generation.references.tolist(), strict=True):
            assert set(references) <= known
            assert {r // film.segment for r in references} <= {frame // film.segment}, "segments stand alone"
            assert bool(references) == (frame % film.segment != 0)
        known |= set(generation.frames.tolist())
    assert known == set(range(film.length))


@given(length=st.integers(2, 1000))
def test_segments_are_of_about_the_same_length(length: int) -> None:
    segment = segment_of(length)
    assert 1 < segment <= LONGEST_SEGMENT
    assert -(-length // segment) == -(-length // LONGEST_SEGMENT)


@given(film=films, offset=st.integers(0, 15), block=st.sampled_from([8, 16, 32, 64]))
def test_a_film_survives_its_bytes(film: Film, offset: int, block: int) -> None:
    whole = Film(film.length, film.segment, film.group, block, offset)
    assert read_film(packed_film(whole), film.length) == whole


def test_blocks_go_on_as_before() -> None:
    course = Course((1, 1, 1))
    first = Generation(np.array([4]), np.array([[0]]), 1)
    assert not course.expected(first).any()
    course.add(first, np.array([8, -6], np.int32).reshape(1, 1, 1, 1, 2))
    # From 4 to 0 are four time points: half of it goes back to 0, half, the other way, on to 4.
    between = course.expected(Generation(np.array([2]), np.array([[0, 4]]), 2))
    assert between.reshape(2, 2).tolist() == [[4, -3], [-4, 3]]


# -- motion -----------------------------------------------------------------------------------------------------------


@given(rows=st.integers(1, 19), columns=st.integers(1, 19))
@hypothesis_settings(deadline=None)
def test_every_block_is_visited_once_and_after_its_neighbours(rows: int, columns: int) -> None:
    known = np.zeros((rows, columns), int)
    for visit in visits(rows, columns):
        assert known[visit.near].all()
        np.add.at(known, (visit.rows, visit.columns), 1)
    assert (known == 1).all()


@given(data=st.data(), planes=st.integers(1, 3), references=st.integers(1, 2), rows=st.integers(1, 6), columns=st.integers(1, 6))
@hypothesis_settings(deadline=None, max_examples=60)
def test_motion_survives_its_bytes(data: st.DataObject, planes: int, references: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    spread = data.draw(st.sampled_from([1, 3, 40, 4000]))
    vectors, before = (rng.integers(-spread, spread + 1, (planes, references, rows, columns, 2)).astype(np.int32) for _ in range(2))
    vectors[rng.random(vectors.shape[:-1]) < 0.5] = 3
    modes = rng.choice([FIRST, NONE] if references == 1 else [FIRST, SECOND, MEAN, NONE], (planes, rows, columns)).astype(np.uint8)
    weights = rng.integers(0, 9, (planes, 7)).astype(np.uint8)
    writer = MotionWriter()
    wanted = code_motion(writer, Motion(16, vectors, modes), before)
    code_weights(writer, weights)
    np.testing.assert_array_equal(wanted.modes, modes)
    for k in range(references):
        used = (modes == k) | (modes == MEAN)
        np.testing.assert_array_equal(wanted.vectors[:, k][used], vectors[:, k][used])
    reader = MotionReader(*writer.finish(), 16 * vectors.size + weights.size)
    found = code_motion(reader, Motion(16, np.zeros_like(vectors), np.zeros_like(modes)), before)
    np.testing.assert_array_equal(code_weights(reader, np.zeros_like(weights)), weights)
    reader.finish()
    np.testing.assert_array_equal(found.vectors, wanted.vectors)
    np.testing.assert_array_equal(found.modes, modes)


@pytest.mark.parametrize("block", [8, 16, 32, 64])
def test_windows_of_neighbours_add_up(block: int) -> None:
    weights = ramp(block)
    np.testing.assert_array_equal(weights[:block] + weights[block:], 1)
    assert (np.diff(weights[:block]) >= 0).all()


def moved(plane: npt.NDArray[np.float32], vector: tuple[int, int], block: int = 16) -> npt.NDArray[np.float32]:
    """A plane predicted by one vector everywhere."""
    grid = tuple(-(-n // block) for n in plane.shape)
    vectors = np.broadcast_to(np.array(vector, np.int32), (1, 1, *grid, 2))
    return np.asarray(predicted(plane[None, None], Motion(block, vectors, np.zeros((1, *grid), np.uint8)))[0])


def test_still_blocks_are_the_reference() -> None:
    plane = texture(50).astype(np.float32)[:45]
    np.testing.assert_allclose(moved(plane, (0, 0)), plane, atol=1e-6)


def test_vectors_say_where_blocks_come_from() -> None:
    plane = texture(60).astype(np.float32)
    np.testing.assert_allclose(moved(plane, (8, -12))[:50, 10:], plane[2:52, 7:57], atol=1e-6)
    # Quarters of a pixel: an even slope comes out nearly exactly.
    slope = (2 * np.arange(60)[:, None] + np.arange(60)).astype(np.float32)
    np.testing.assert_allclose(moved(slope, (3, 1))[8:50, 8:50], slope[8:50, 8:50] + 2 * 0.75 + 0.25, atol=0.02)


def test_vectors_that_point_outside_repeat_the_edge() -> None:
    plane = texture(40).astype(np.float32)
    np.testing.assert_allclose(moved(plane, (4000, 0)), np.broadcast_to(plane[-1], plane.shape), atol=1e-6)


def test_motion_is_found() -> None:
    film = pan(2, (96, 96), (2.5, -3)).astype(np.float32)
    found = searched(film[1:, None], film[:1, None, None], 16, 10.0, np.zeros((1, 1, 6, 6, 2), np.int32))
    assert (found.modes[0, 1:-1, 1:-1] == FIRST).all()
    assert (found.vectors[0, 0, 1:-1, 1:-1] == [-10, 12]).all()


# -- the loop ---------------------------------------------------------------------------------------------------------


def looped(film: Film, extents: tuple[int, int, int, int], channels: int = 1, before: film_search.Found | None = None,
           ) -> tuple[Groups, bytes, film_search.FilmPredictor]:
    """A textured film coded: its groups, bytes, and what predicted it."""
    t, z, y, x = extents
    values = np.stack([pan(t * z, (y, x), (0.75, 1.5), c) for c in range(channels)]).astype(np.float32) / np.float32(4000)
    groups = Groups(channels, extents, "flat" if z == 1 else "zyx", film=film)
    groups.check()
    prepared = Prepared(Head(Channels(np.zeros(channels), np.ones(channels))), groups, groups.forward(values), 300.0, found=before,
                        network=refinement_of(pinned(LATEST)[1]))
    coded = coded_by(prepared, PLAIN, 25000, contexts_of(pinned(LATEST)[0]))
    assert coded.found is not None
    predictor = film_search.FilmPredictor(groups, prepared.coefficients, 1.0)
    predictor.decided = coded.found.decided
    return groups, coded.data, predictor


@pytest.mark.parametrize(("film", "extents", "channels"), [
    (Film(7, 7, 1, 8, 4), (7, 1, 33, 41), 1), (Film(13, 5, 4, 16, 3), (13, 1, 20, 37), 2), (Film(5, 5, 2, 32), (5, 3, 24, 19), 1),
    (Film(2, 2, 64, 64), (2, 1, 9, 7), 1), (Film(3, 1), (3, 1, 16, 16), 1)])
def test_what_the_encoder_predicts_from_is_what_the_decoder_has(film: Film, extents: tuple[int, int, int, int], channels: int,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    loops = []
    predictor = film_search.FilmPredictor

    class Watched(predictor):  # type: ignore[misc, valid-type]
        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            loops.append(self)

    monkeypatch.setattr("microfield.methods.field.attempt.FilmPredictor", Watched)
    groups, data, _ = looped(film, extents, channels)
    decided, rest = unpacked(data, groups, refined=True)
    assert decided.alphas.max() > 0
    step = step_of(25000)
    values = coefficients.decode(rest, groups.order, step, contexts_of(pinned(LATEST)[0]))
    found = assembled(groups, decided, values, Refiner(refinement_of(pinned(LATEST)[1]), step))
    np.testing.assert_array_equal(found.reshape(channels, *extents), loops[0]._loop.decoded)
    assert found.std() > 0.05


def test_damage_to_the_motion_is_a_format_error_or_other_motion() -> None:
    groups, data, _ = looped(Film(5, 5, 2, 8), (5, 1, 24, 24))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        bad = bytearray(data)
        bad[rng.integers(0, min(len(bad), 60))] ^= 1 << rng.integers(0, 8)
        try:
            decided, _ = unpacked(bytes(bad), groups, refined=True)
        except FormatError:
            refused += 1
        else:
            assert len(decided.guesses) == len(groups.order.schedules)
    assert refused > 20
    for length in range(0, 40, 7):
        with pytest.raises(FormatError):
            unpacked(data[:length], groups, refined=True)


@given(factor=st.floats(0.52, 1.45), seed=st.integers(0, 9))
@hypothesis_settings(deadline=None, max_examples=20)
def test_the_gain_is_how_much_brighter_a_time_point_is(factor: float, seed: int) -> None:
    split = schedule("flat", (2, 1, 40, 32))
    seen = forward(np.stack([texture(40, seed)[:, :32], texture(40, seed + 1)[:, :32]])[:, None].astype(np.float32), split)
    wanted = seen * np.array([1, factor], np.float32)[:, None, None, None]
    gains = gain_of(film_search.gains_of(wanted, seen, split, 0.001))
    assert gains[0] == 1
    assert abs(gains[1] - factor) <= 1 / 128 + 1e-6


def test_a_film_that_bleaches_keeps_its_gains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    film = (0.95 ** np.arange(8)[:, None, None] * pan(8, (48, 56), (0.5, 1.0))).astype(np.uint16)

    def quality() -> float:
        path = tmp_path / "film.mfield"
        found = mf.compress(film, path, axes="TYX", max_bytes=900, options={"transform": "film"}, overwrite=True)
        return float(found.psnr)

    with_gains = quality()
    monkeypatch.setattr(film_search, "BRIGHTER", 0.0)
    assert with_gains > quality() + 0.2


@pytest.mark.parametrize("data", [bytes([0x70, 0, 3]), bytes([0x04, 0, 3]), bytes([0, 16, 3]), bytes([0, 0, 128])])
def test_films_beyond_their_bounds_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="predicts"):
        read_film(data, 9)


def test_no_version_before_3_holds_films_and_only_of_time_points() -> None:
    path = VECTORS / "field-3-film.mfield"
    container = Container.open(open_source(path))
    (section,), layout = container.part(0), container.part_layout(0)
    assert Head.unpack(section, layout, 3)[0].film is not None
    with pytest.raises(FormatError, match="version"):
        FieldDecoder(layout, section, 2)
    stack = Layout(layout.shape, "ZYX", layout.dtype)
    with pytest.raises(FormatError, match="film"):
        FieldDecoder(stack, section, 3)


# -- as users meet them -----------------------------------------------------------------------------------------------


def psnr(original: Array, found: Array) -> float:
    """In decibel of the range."""
    error = np.mean((original.astype(float) - found.astype(float)) ** 2)
    return float(10 * np.log10(float(np.ptp(original)) ** 2 / error))


def test_a_pan_is_predicted(tmp_path: Path) -> None:
    film = pan(8, (80, 80), (1.5, -2.0))
    found = {}
    for transform in ("auto", "STD"):
        report = mf.compress(film, tmp_path / f"{transform}.mfield", axes="TYX", ratio=60, options={"transform": transform})
        with mf.open(tmp_path / f"{transform}.mfield") as f:
            found[transform] = psnr(film, np.asarray(f[...]))
        assert found[transform] == pytest.approx(report.psnr, abs=0.01)
    assert found["auto"] > found["STD"] + 3


@pytest.mark.parametrize(("shape", "axes"), [((2, 31, 29), "TYX"), ((7, 3, 24, 33), "TZYX"), ((5, 2, 30, 30), "TCYX")])
def test_films_of_all_shapes(tmp_path: Path, shape: tuple[int, ...], axes: str) -> None:
    frames = pan(int(np.prod(shape[:-2])), (shape[-2], shape[-1]), (0.2, 0.4)).reshape(shape)
    mf.compress(frames, tmp_path / "f.mfield", axes=axes, psnr=30, options={"transform": "film"})
    with mf.open(tmp_path / "f.mfield") as f:
        found = np.asarray(f[...])
        np.testing.assert_array_equal(f[shape[0] // 2], found[shape[0] // 2])
    assert psnr(frames, found) >= 29.99


def test_what_stands_still_is_no_film(tmp_path: Path) -> None:
    repeated = np.repeat(pan(1, (64, 64), (0, 0)), 16, axis=0)
    mf.compress(repeated, tmp_path / "f.mfield", axes="TYX", ratio=300)
    container = Container.open(open_source(tmp_path / "f.mfield"))
    assert Head.unpack(container.part(0)[0], container.part_layout(0), LATEST)[0].film is None


def test_odd_frames_are_coded_as_they_are(tmp_path: Path) -> None:
    film = pan(8, (64, 64), (0, 2))
    film[4] = 4000 - film[4, ::-1]
    mf.compress(film, tmp_path / "f.mfield", axes="TYX", ratio=40, options={"transform": "film"})
    with mf.open(tmp_path / "f.mfield") as f:
        found = np.asarray(f[...])
    of_frames = [psnr(a, b) for a, b in zip(film, found, strict=True)]
    assert min(of_frames) > max(of_frames) - 12


def test_pairs_of_contexts_do_not_overlap() -> None:
    firsts = [motion_code.IS_NONE, motion_code.IS_MEAN, motion_code.IS_SECOND, motion_code.AS_EXPECTED, motion_code.AS_CANDIDATE,
              motion_code.SAME_Y, motion_code.SAME_X, motion_code.OCTAVE, motion_code.LESS]
    assert all(b - a == 4 for a, b in itertools.pairwise([*firsts, motion_code.CONTEXTS]))

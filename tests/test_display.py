"""How an image is meant to be seen: tables that are plain colours, selections, labels in other orders."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.displays import sized_displays
from microfield.display import Calibration, ChannelDisplay, Display, rearranged
from microfield.errors import InputError
from microfield.image import Image
from microfield.io.annotations import annotation_of, with_annotation

RAMP = np.arange(256)
FIRE = np.stack([np.clip(2 * RAMP, 0, 255), np.clip(2 * RAMP - 255, 0, 255), RAMP]).astype(np.uint8)
SIZES = {"T": 2, "C": 3, "Z": 2, "Y": 4, "X": 5}
CHANNELS = (ChannelDisplay((255, 0, 0), (10.0, 500.0)), ChannelDisplay(hidden=True), ChannelDisplay.of_table(FIRE, (0.0, 1.5)))
LABELS = tuple(f"t{t} c{c} z{z}" for t in range(2) for c in range(3) for z in range(2))
DISPLAY = Display(CHANNELS, LABELS, Calibration((-1024.0, 1.0), "Hounsfield"), "composite")


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 128, 255), (255, 255, 255), (3, 200, 90)])
def test_a_ramp_is_a_colour(colour: tuple[int, int, int]) -> None:
    for rounded in (np.rint, np.floor):
        table = rounded(np.outer(colour, RAMP) / 255)
        assert ChannelDisplay.of_table(table) == ChannelDisplay(colour)
    assert np.array_equal(ChannelDisplay(colour).entries, np.rint(np.outer(colour, RAMP) / 255))


def test_other_tables_are_kept_with_a_colour_that_can_be_seen() -> None:
    assert CHANNELS[2].colour == (255, 255, 255)
    assert np.array_equal(CHANNELS[2].entries, FIRE)
    inverted = ChannelDisplay.of_table(np.tile(255 - RAMP, (3, 1)))
    assert inverted.colour == (255, 255, 255)
    assert inverted.entries[0, 0] == 255


def test_a_selection() -> None:
    cut = DISPLAY.cut(SIZES, {"T": range(1, 2), "C": range(2, -1, -2), "Y": range(0, 4, 3)})
    assert cut.channels == (CHANNELS[2], CHANNELS[0])
    assert cut.plane_labels == ("t1 c2 z0", "t1 c2 z1", "t1 c0 z0", "t1 c0 z1")
    assert (cut.calibration, cut.mode) == (DISPLAY.calibration, "composite")
    assert DISPLAY.cut(SIZES, {}) == DISPLAY
    one = DISPLAY.cut(SIZES, {"C": [0]})
    assert (one.channels, one.mode) == (CHANNELS[:1], None)
    # A plane alone: what has no axis C is one channel.
    assert one.cut({"T": 2, "Z": 2, "Y": 4, "X": 5}, {"Z": [1]}).plane_labels == ("t0 c0 z1", "t1 c0 z1")


@settings(deadline=None, max_examples=80)
@given(sized_displays(), st.data())
def test_any_selection_is_that_of_arrays(case: tuple[dict[str, int], Display], data: st.DataObject) -> None:
    sizes, display = case
    taken = {a: data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=3)) for a, n in sizes.items()}
    cut = display.cut(sizes, taken)
    lead = [a for a in sizes if a not in "YXS"]
    if display.plane_labels:
        labels = np.array(display.plane_labels, object).reshape([sizes[a] for a in lead])
        expected = tuple(labels[np.ix_(*(taken[a] for a in lead))].ravel()) if lead else display.plane_labels
        assert cut.plane_labels == (expected if any(expected) else ())
    if display.channels:
        chosen = tuple(display.channels[i] for i in taken["C"]) if "C" in sizes else display.channels
        assert cut == replace(cut, channels=chosen)


@settings(deadline=None, max_examples=80)
@given(sized_displays(), st.randoms(use_true_random=False))
def test_what_an_annotation_keeps_comes_back_in_any_order_of_axes(case: tuple[dict[str, int], Display], random: Any) -> None:
    sizes, display = case
    kept = json.loads(json.dumps(annotation_of(display, "".join(sizes), ranges=True)))
    colours = Display(tuple(ChannelDisplay(c.colour) for c in display.channels))
    assert with_annotation(colours, kept, sizes) == display
    axes = random.sample(list(sizes), len(sizes))
    other = {a: sizes[a] for a in axes}
    there = with_annotation(colours, kept, other)
    lead = "".join(a for a in other if a not in "YXS")
    assert rearranged(there.plane_labels, lead, sizes) == display.plane_labels or not display.plane_labels


def test_what_does_not_fit_is_left_out_or_refused() -> None:
    assert DISPLAY.fitting({"Y": 4, "X": 5}) == Display(calibration=DISPLAY.calibration)
    with pytest.raises(InputError, match="3 channels to be shown and 12 plane labels"):
        Image(np.zeros((4, 5), np.uint8), "YX", display=DISPLAY)
    assert not Display((ChannelDisplay(), ChannelDisplay()), ("", ""))


@pytest.mark.parametrize("wrong", [
    lambda: ChannelDisplay((0, 0, 256)), lambda: ChannelDisplay(range=(2.0, 1.0)), lambda: ChannelDisplay(range=(0.0, np.inf)),
    lambda: ChannelDisplay(table=b"abc"), lambda: Calibration((1.0,)), lambda: Calibration((1.0, np.nan)),
    lambda: Display(mode="fire"), lambda: Display(plane_labels=("a\0b",)),
])
def test_what_no_display_is(wrong: Any) -> None:
    with pytest.raises(InputError):
        wrong()


def test_what_grey_levels_mean() -> None:
    hounsfield = Calibration((-1024.0, 1.0, 0.5), "Hounsfield")
    np.testing.assert_array_equal(hounsfield(np.array([[0, 2]], np.uint16)), [[-1024.0, -1020.0]])


def test_labels_in_another_order() -> None:
    assert rearranged(("a", "b", "c", "d", "e", "f"), "TZ", {"Z": 3, "T": 2, "Y": 1, "X": 1}) == ("a", "d", "b", "e", "c", "f")
    assert rearranged(("a", "b"), "T", {"T": 2, "C": 3, "Y": 1, "X": 1, "S": 3}) == ("a", "a", "a", "b", "b", "b")
    assert rearranged(("a", "b"), "TZ", {"T": 2, "Y": 1, "X": 1}) == ("a", "b")
    assert rearranged(("a", "b"), "T", {"T": 3, "Y": 1, "X": 1}) == ()
    assert rearranged(("a",), "", {"Y": 1, "X": 1}) == ("a",)


def test_facts_in_words() -> None:
    assert DISPLAY.facts() == ["colours", "lookup tables", "display ranges", "hidden channels", "plane labels", "value calibration",
                               "display mode"]
    assert Display().facts() == []

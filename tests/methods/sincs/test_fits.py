"""Fitted groups: that they begin at one another, and what users may ask for that does not fit the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from helpers.files import compressed
from helpers.images import blobs, scaled
from microfield.image import Image, Layout
from microfield.methods import get_method
from microfield.methods.base import Context, Parent, PartData
from microfield.methods.sincs.decoder import SincsDecoder
from microfield.reading.file import open_file
from microfield.writing.budget import Budget

QUICK = {"frequency": 0.16, "optimiser": "adam", "depth": 1}


def film(points: int = 6, height: int = 24) -> Image:
    """A still picture that flickers."""
    rng = np.random.default_rng(0)
    still = blobs((height, 20), count=5)
    frames = [still * (1 + 0.3 * np.sin(t)) + rng.normal(0, 0.01, still.shape) for t in range(points)]
    return Image(scaled(np.stack(frames), 100, 3000, np.uint16), "TYX")


def packed(image: Image, nbytes: int = 900, **options: Any) -> SincsDecoder:
    """The decoder of the one part of a file."""
    data, _ = compressed(image, "sincs", Budget("max_bytes", nbytes), options={**QUICK, **options})
    assert len(data) <= nbytes
    f = open_file(data)
    assert np.corrcoef(f.asarray().ravel(), image.read().ravel())[0, 1] > 0.7
    decoder = f._parts._decoders.get(0)
    assert isinstance(decoder, SincsDecoder)
    return decoder


def test_groups_are_differences_that_take_fewer_bytes_and_a_chain_begins_anew() -> None:
    decoder = packed(film(), groups=6, grouping="time", chain=3)
    assert decoder.groups.counts == (6, 1, 1)
    assert decoder.head.ancestors == (None, 0, 1, None, 3, 4)
    sizes = list(map(len, decoder.part.weights))
    assert max(sizes[1:3]) < sizes[0]
    image = film().read().astype(float)
    errors = [np.sqrt(np.mean((decoder.read((range(t, t + 1), range(24), range(20))) - image[t]) ** 2)) for t in range(6)]
    assert max(errors) < 3 * min(errors)


@pytest.mark.parametrize(("options", "image", "counts"), [
    ({"groups": 99, "grouping": "time"}, film(), (6, 1, 1)),  # Fewer time points than groups.
    ({"groups": 6, "grouping": "time", "residual": False, "reset": "published", "pull": 0}, film(), (6, 1, 1)),
    ({"groups": 6, "grouping": "time"}, film(1), (1, 1, 1)),  # One time point.
    ({"groups": 2, "grouping": "blocks"}, film(1, 37), (1, 2, 1)),  # Groups of unequal size at the border.
])
def test_what_is_asked_for_is_kept_to_as_far_as_the_image_goes(options: dict[str, Any], image: Image, counts: tuple[int, ...],
                                                               ) -> None:
    decoder = packed(image, **options)
    assert decoder.groups.counts == counts
    assert ("residual" in options) is (decoder.head.ancestors == (None,) * decoder.groups.n and decoder.groups.n > 1)


def test_the_published_network() -> None:
    data, _ = compressed(film(6, 32), "sincs", Budget("max_bytes", 2500), options={"paper": True}, effort=0)
    f = open_file(data)
    decoder = f._parts._decoders.get(0)
    assert isinstance(decoder, SincsDecoder)
    assert decoder.head.rectified
    assert decoder.head.shape.depth == 6
    assert decoder.head.shape.inputs == 3 + 2 * 6 * 10 + 2 * 6
    assert (decoder.groups.counts, decoder.groups.in_turn) == ((3, 1, 1), (True, False, False))
    whole = f.asarray()
    assert np.corrcoef(whole.ravel(), film(6, 32).read().ravel())[0, 1] > 0.5
    np.testing.assert_array_equal(f[3, ::2, 5], whole[3, ::2, 5])


def test_a_state_is_of_use_whatever_became_of_the_parent() -> None:
    """A search encodes parts again and again; the parent of a part may then have another shape than the part's own state."""
    method = get_method("sincs").with_options(QUICK)
    layout, block = Layout((2, 24, 20), "TYX", np.dtype("uint16")), film().read()
    context = Context(np.asarray([3000.0]), np.ones(1), effort=0)
    small, alone = (method.encode(block[:2], layout, size, context) for size in (300, 420))
    parent = Parent(0, method.decoder(layout, 1, PartData(small.sections)))
    for reuse in (False, True):
        coded = method.encode(block[2:4], layout, 420, replace(context, parent=parent, reuse=reuse), alone.state)
        assert coded.payload <= 420
        data = PartData(coded.sections, (), None if coded.reference is None else parent.decoder)
        assert method.decoder(layout, 1, data).read(tuple(map(range, layout.shape))).shape == layout.shape


def test_parts_build_on_parts() -> None:
    data, report = compressed(film(8), "sincs", Budget("max_bytes", 1500), tile={"t": 4}, options=QUICK)
    f = open_file(data)
    assert f.header.references == (None, 0)
    whole = f.asarray()
    np.testing.assert_array_equal(f[6, 3:9, ::2], whole[6, 3:9, ::2])
    assert report.parts == 2

"""`field` with a codec in the place of the wavelet."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.files import compressed
from helpers.images import image, pollen, smooth
from microfield.errors import FormatError, MicrofieldError, UsageError
from microfield.format.container import Container
from microfield.format.source import BytesSource
from microfield.image import Image, Layout
from microfield.methods.field.decoder import FieldDecoder
from microfield.methods.field.head import LATEST, Head
from microfield.reading.file import open_file
from microfield.writing.budget import Budget

pytest.importorskip("av")


@pytest.mark.parametrize("prior", ["hevc", "av1"])
def test_it_is_better_than_the_codec_and_opens_as_field(prior: str) -> None:
    budget = Budget("max_bytes", 8000)
    data, report = compressed(smooth(), "field", budget, options={"prior": prior})
    alone = compressed(smooth(), prior, budget)[1]
    opened = open_file(data)
    assert opened.method == "field"
    assert len(data) <= 8000
    error = np.mean((opened.asarray().astype(float) - smooth().read()) ** 2)
    assert report.psnr == pytest.approx(10 * np.log10(float(np.ptp(smooth().read())) ** 2 / error), abs=0.01)
    assert alone.psnr is not None
    assert report.psnr > alone.psnr + 0.1
    assert opened.preview(4, average=True).shape == (2, 32, 32)


@pytest.mark.parametrize("kind", ["channels", "series", "float32", "rgb"])
def test_every_kind_of_image_comes_back_in_its_shape(kind: str) -> None:
    original = image(kind)
    data, report = compressed(original, "field", Budget("max_bytes", 900), options={"prior": "hevc"})
    found = open_file(data).asarray()
    assert (found.shape, found.dtype) == (original.shape, original.dtype)
    assert report.psnr > 15


def test_a_quality_is_reached_and_constant_channels_are_kept() -> None:
    values = np.stack([pollen().read(), np.full(pollen().shape, 7, np.uint16)])
    data, report = compressed(Image(values, "CZYX"), "field", Budget("psnr", 33.0), options={"prior": "av1"})
    assert report.psnr >= 33
    assert (open_file(data).asarray()[1] == 7).all()
    flat = compressed(Image(np.full((9, 9), 3, np.uint8), "YX"), "field", Budget("max_bytes", 900), options={"prior": "av1"})[0]
    assert (open_file(flat).asarray() == 3).all()


def test_weights_are_refused_in_a_sentence() -> None:
    weights = np.ones(pollen().shape, np.float32)
    weights[:, :20] = 4
    with pytest.raises(UsageError, match="method field cannot use saliency with these options"):
        compressed(pollen(), "field", Budget("max_bytes", 4000), options={"prior": "hevc"}, saliency=weights)


def test_damaged_parts_are_refused() -> None:
    data, _ = compressed(pollen(), "field", Budget("max_bytes", 2000), options={"prior": "hevc"})
    container = Container.open(BytesSource(data))
    (section,), layout = container.part(0), container.part_layout(0)
    head, stream = Head.unpack(section, layout, LATEST)
    assert head.prior is not None
    start = len(section) - len(stream)
    for bad in (section[:start], section[: start - 2] + bytes([2, 1]) + stream, section[: start - 2] + bytes([0, 0]) + stream,
                section[: start - 2] + bytes([0, 99]) + stream, section[: start + len(stream) // 2]):
        with pytest.raises(MicrofieldError):
            FieldDecoder(layout, bad, LATEST).read(tuple(range(n) for n in layout.shape))
    with pytest.raises(FormatError):
        Head.unpack(section, Layout((3, *layout.shape), "CZYX", layout.dtype), LATEST)

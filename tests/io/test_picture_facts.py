"""What PNG and JPEG files say beside the pixels, in files built chunk by chunk."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from microfield.io import open_image
from microfield.io.picture_facts import not_kept, pixel_size

imagecodecs = pytest.importorskip("imagecodecs")

PIXELS = np.arange(99, dtype=np.uint8).reshape(9, 11)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with these chunks after its header."""
    plain = bytes(imagecodecs.png_encode(PIXELS))
    made = b"".join(struct.pack(">I", len(d)) + n + d + zlib.crc32(n + d).to_bytes(4, "big") for n, d in chunks)
    return plain[:33] + made + plain[33:]


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    """A JPEG with these segments at its head."""
    plain = bytes(imagecodecs.jpeg8_encode(PIXELS))
    return plain[:2] + b"".join(bytes([0xFF, mark]) + struct.pack(">H", len(d) + 2) + d for mark, d in segments) + plain[2:]


def test_the_size_of_a_pixel(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png((b"pHYs", struct.pack(">IIB", 5_000_000, 4_000_000, 1))))
    image = open_image(tmp_path / "a.png")
    assert image.voxel_size == {"Y": 0.25, "X": 0.2}
    assert image.units == {"Y": "micrometer", "X": "micrometer"}
    np.testing.assert_array_equal(image.read(), PIXELS)
    for numbers in ((2835, 2835, 1), (5_000_000, 4_000_000, 0), (0, 5, 1)):  # For a printer, without a unit, none.
        assert pixel_size(png((b"pHYs", struct.pack(">IIB", *numbers))), "png") == {}


def test_what_is_not_kept_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png((b"tEXt", b"Title\0cells"), (b"tEXt", b"Author\0me"), (b"eXIf", b"MM\0*")))
    assert open_image(tmp_path / "a.png").not_kept == ("texts", "EXIF data")
    assert not_kept(png(), "png") == ()
    (tmp_path / "a.jpg").write_bytes(jpeg((0xE1, b"Exif\0\0MM\0*"), (0xFE, b"a comment"), (0xE2, b"ICC_PROFILE\0\1\1")))
    image = open_image(tmp_path / "a.jpg")
    assert set(image.not_kept) == {"EXIF data", "texts", "a colour profile"}
    assert image.shape == PIXELS.shape
    assert not_kept(jpeg(), "jpeg") == ()
    assert not_kept(b"BM" + bytes(60), "bmp") == ()


@pytest.mark.parametrize("length", [0, 8, 20, 33, 40, 60])
def test_files_that_end_early_say_nothing(length: int) -> None:
    for kind, content in (("png", png((b"tEXt", b"Title\0cells"))), ("jpeg", jpeg((0xE1, b"Exif\0\0")))):
        assert len(not_kept(content[:length], kind)) <= 1
        assert pixel_size(content[:length], kind) == {}

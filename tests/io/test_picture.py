"""PNG, JPEG, BMP and WebP, by imagecodecs and by Pillow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microfield.errors import InputError, MissingExtraError
from microfield.io import open_image

imagecodecs = pytest.importorskip("imagecodecs")


def run_without(modules: list[str], path: Path, then: str) -> str:
    """What another interpreter, in which these modules cannot be imported, prints about a picture."""
    code = (
        f"import sys\nfor name in {modules!r}: sys.modules[name] = None\n"
        "import numpy as np\nfrom microfield.io import open_image\nfrom microfield.errors import MicrofieldError\n"
        f"try:\n    image = open_image({str(path)!r}); values = image.read()\n    print({then})\n"
        "except MicrofieldError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 3)])
def test_png_keeps_every_bit(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    image = open_image(tmp_path / "a.png")
    assert (image.axes, image.dtype.name, image.labels) == ("YXS" if len(shape) == 3 else "YX", dtype, None)
    assert image.source_bytes == (tmp_path / "a.png").stat().st_size
    np.testing.assert_array_equal(image.read(), values)


@pytest.mark.parametrize("samples", [2, 4])
def test_alpha_is_dropped_where_it_hides_nothing(tmp_path: Path, samples: int) -> None:
    values = np.random.default_rng(0).integers(0, 255, (9, 11, samples)).astype("uint8")
    (tmp_path / "seen.png").write_bytes(imagecodecs.png_encode(values))
    values[..., -1] = 255
    (tmp_path / "opaque.png").write_bytes(imagecodecs.png_encode(values))
    assert open_image(tmp_path / "seen.png").shape == (9, 11, samples)
    opaque = open_image(tmp_path / "opaque.png")
    np.testing.assert_array_equal(opaque.read(), values[..., 0] if samples == 2 else values[..., :3])


@pytest.mark.parametrize("kind", ["jpeg8", "webp", "bmp"])
def test_other_formats(tmp_path: Path, kind: str) -> None:
    values = np.zeros((16, 24, 3), "uint8")
    values[:, 12:] = (200, 100, 50)
    path = tmp_path / f"a.{kind.rstrip('8')}"
    path.write_bytes(getattr(imagecodecs, f"{kind}_encode")(values))
    image = open_image(path)
    assert image.axes == "YXS"
    assert np.abs(image.read().astype(int) - values).mean() < 5


def test_pillow_reads_what_imagecodecs_does(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    for name, shape, dtype in (("g8", (9, 11), "u1"), ("c8", (9, 11, 3), "u1"), ("g16", (9, 11), "u2"), ("a8", (9, 11, 4), "u1")):
        values = (np.arange(np.prod(shape)).reshape(shape) * 7).astype(dtype)
        (tmp_path / f"{name}.png").write_bytes(imagecodecs.png_encode(values))
        seen = run_without(["imagecodecs"], tmp_path / f"{name}.png", "image.axes, image.dtype, int(values.sum())")
        assert seen == f"{'YX' if len(shape) == 2 else 'YXS'} {np.dtype(dtype)} {int(values.sum())}"


def test_pillow_would_lose_bits(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.zeros((4, 5, 3), "uint16")))
    said = run_without(["imagecodecs"], tmp_path / "a.png", "values")
    assert said == f"MissingExtraError {MissingExtraError('Reading the 16-bit colour picture a.png', 'codecs')}"


def test_without_any_decoder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.zeros((4, 5), "uint8")))
    said = run_without(["imagecodecs", "PIL"], tmp_path / "a.png", "values")
    assert said == f"MissingExtraError {MissingExtraError('Reading PNG pictures', 'codecs')}"


def test_damage_is_told_in_one_sentence(tmp_path: Path) -> None:
    whole = imagecodecs.png_encode(np.random.default_rng(0).integers(0, 255, (60, 60)).astype("uint8"))
    contents = {"cut.png": whole[:200], "text.png": b"no picture", "empty.jpg": b"", "cut.jpg": b"\xff\xd8\xff\xe0"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name) as caught:
            open_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    (tmp_path / "whole.png").write_bytes(whole)
    with pytest.raises(InputError, match="one picture"):
        open_image(tmp_path / "whole.png", scene=2)

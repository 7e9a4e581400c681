"""PNG, JPEG, BMP and WebP: one grey or colour plane, through imagecodecs or, where that is missing, Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError, MissingExtraError
from microfield.io.found import Found
from microfield.io.picture_facts import not_kept, pixel_size

SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"BM": "bmp", b"RIFF": "webp"}
"""First bytes to the name of the format."""


def read(path: Path, scene: int | str | None = None) -> Found:
    """The picture, grey as YX and colour as YXS, 8 or 16 bits as stored; an alpha channel that is opaque everywhere is dropped.

    Raises
    ------
    InputError
        The file is damaged or of another format, or a scene is asked for.
    MissingExtraError
        Neither imagecodecs nor Pillow is installed, or Pillow cannot keep all bits of this picture.
    """
    if scene not in (None, 0, "0"):
        raise InputError(f"{path.name} holds one picture, not scene {scene!r}.")
    content = path.read_bytes()
    kind = next((name for mark, name in SIGNATURES.items() if content.startswith(mark)), None)
    if kind is None:
        raise InputError(f"{path.name} is not a PNG, JPEG, BMP or WebP picture; it may be damaged.")
    try:
        values = _decode(content, kind, path)
    except (InputError, MissingExtraError):
        raise
    except (RuntimeError, ValueError, OSError, SyntaxError, EOFError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"{path.name} cannot be decoded ({reason}); it may be damaged or cut off.") from error
    values = _without_alpha(values)
    steps = pixel_size(content, kind)
    return Found(values, "YXS" if values.ndim == 3 else "YX", path.name, steps, dict.fromkeys(steps, "micrometer"),
                 source_bytes=len(content), not_kept=not_kept(content, kind))


def scenes(path: Path) -> list[str]:
    """The one picture, by the name of its file."""
    return [path.name]


def _decode(content: bytes, kind: str, path: Path) -> npt.NDArray[Any]:
    """Pixels of shape (y, x) or (y, x, samples)."""
    try:
        import imagecodecs
    except ImportError:
        return _decode_pillow(content, kind, path)
    if kind == "jpeg":
        return np.asarray(imagecodecs.jpeg8_decode(content))
    return np.asarray(getattr(imagecodecs, f"{kind}_decode")(content))


def _decode_pillow(content: bytes, kind: str, path: Path) -> npt.NDArray[Any]:
    """Pixels of shape (y, x) or (y, x, samples), by Pillow; MissingExtraError for 16-bit colour, of which it keeps 8 bits."""
    try:
        from io import BytesIO

        from PIL import Image as Pictures
    except ImportError:
        raise MissingExtraError(f"Reading {kind.upper()} pictures", "codecs") from None
    depth, colour = content[24:26] if kind == "png" else (8, 0)
    if depth == 16 and colour != 0:
        raise MissingExtraError(f"Reading the 16-bit colour picture {path.name}", "codecs")
    with Pictures.open(BytesIO(content)) as picture:
        if picture.mode == "P":
            return np.asarray(picture.convert("RGBA" if "transparency" in picture.info else "RGB"))
        if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            return np.asarray(picture.convert("RGB"))
        if picture.mode == "I":
            return np.asarray(picture).astype(np.uint16)
        return np.asarray(picture)


def _without_alpha(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Drop a last sample that is opaque everywhere, and the axis of a single sample."""
    if values.ndim == 3 and values.shape[2] in (2, 4):
        limit = np.iinfo(values.dtype).max
        if np.all(values[..., -1] == limit):
            values = values[..., :-1]
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    return np.ascontiguousarray(values)

"""The option ``optimiser`` of `inif` and `siren`: what it chooses, its two spellings, and VeLO's checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.files import settings
from helpers.images import blobs
from microfield.errors import InputError, UsageError
from microfield.image import Image
from microfield.methods import get_method
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes

VECTORS = Path(__file__).parents[2] / "vectors" / "velo.npz"


def packed(**options: Any) -> tuple[bytes, float]:
    image = (1000 * blobs((40, 44), 3)).astype(np.uint16)
    data, report = compress_to_bytes(Image(image, "YX"), Budget("max_bytes", 700),
                                     settings("inif", options={"frequency": 0.16, "depth": 1, **options}))
    assert report.psnr is not None
    return data, report.psnr


def test_the_learned_optimiser_fits_and_optimizer_is_another_spelling() -> None:
    assert packed(optimiser="learned")[1] > packed(optimiser="adam")[1] - 1
    one, other = (get_method("inif").with_options({spelling: "learned"}).options for spelling in ("optimiser", "optimizer"))
    assert one == other
    with pytest.raises(UsageError, match="given twice, once as 'optimizer'"):
        get_method("inif").with_options({"optimiser": "adam", "optimizer": "soap"})


def test_velo_reads_the_checkpoint_of_the_option(tmp_path: Path) -> None:
    with np.load(VECTORS) as vectors:
        (tmp_path / "params").write_bytes(vectors["usual_checkpoint"].tobytes())
    assert packed(optimiser="velo", velo=str(tmp_path))[0][:4] == packed(optimiser="adam")[0][:4]


def test_what_cannot_be_meant_is_one_sentence(tmp_path: Path) -> None:
    inif = get_method("inif")
    with pytest.raises(UsageError, match="must be one of auto, soap, learned, velo"):
        inif.with_options({"optimizer": "magic"})
    with pytest.raises(UsageError, match="needs the path of a checkpoint"):
        inif.with_options({"optimiser": "velo"})
    with pytest.raises(UsageError, match="needs option optimiser='velo'"):
        inif.with_options({"velo": "params"})
    with pytest.raises(InputError, match="params cannot be read"):
        packed(optimiser="velo", velo=str(tmp_path))
    (tmp_path / "params").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="is no VeLO checkpoint"):
        packed(optimiser="velo", velo=str(tmp_path))

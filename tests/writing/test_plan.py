"""Large images: the setting from sampled parts, parts encoded one by one, files assembled from them."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from helpers import seam_methods
from helpers.files import QUICK
from helpers.images import blobs, scaled
from microfield.deadline import Deadline
from microfield.errors import BudgetError
from microfield.image import Image, Layout
from microfield.methods import get_method
from microfield.methods.base import Context, Encoded, Parent, PartData
from microfield.reading.file import open_file
from microfield.writing import assemble
from microfield.writing import planned as planned_module
from microfield.writing.assemble import plan_file, put_together
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.job import Job, prepare
from microfield.writing.plan import JobPlan, encode_planned
from microfield.writing.settings import Settings

METHODS = ("field", "hevc", "nested-for-tests", "differences-for-tests", "shared-for-tests")
ROOM = {"differences-for-tests": 4, "nested-for-tests": 6, "shared-for-tests": 4, "hevc": 2}


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Image:
    """A small image that counts as a large one."""
    monkeypatch.setattr(assemble, "WHOLE_VOXELS", 0)
    return Image(scaled(blobs((96, 120), 3, 40), 100, 3000, np.uint16), "YX", name="large")


def settings(method: str, **changed: Any) -> Settings:
    return Settings(**{"method": method, "effort": 0, "options": QUICK.get(method), "tile": {"y": 32, "x": 50}, **changed})


@pytest.mark.parametrize("method", METHODS)
def test_a_size_is_kept_and_used(large: Image, method: str) -> None:
    limit = 2400 * ROOM.get(method, 1)
    data, report = compress_to_bytes(large, Budget("max_bytes", limit), settings(method))
    assert report.parts == 9
    assert 0.9 * limit < len(data) <= limit
    assert report.file_bytes == len(data)
    with open_file(data) as f:
        error = np.mean((f.asarray().astype(float) - large.read()) ** 2)
    assert report.psnr == pytest.approx(20 * np.log10(np.ptp(large.read()) / np.sqrt(error)), abs=1e-6)


@pytest.mark.parametrize("method", ["field", "hevc", "nested-for-tests"])
def test_a_quality_is_reached(large: Image, method: str) -> None:
    goal = 20.0 if method == "nested-for-tests" else 32.0
    _, report = compress_to_bytes(large, Budget("psnr", goal), settings(method))
    assert goal <= report.psnr < goal + (4 if method == "nested-for-tests" else 0.3)


def test_a_noise_factor_is_reached(large: Image) -> None:
    _, report = compress_to_bytes(large, Budget("noise_factor", 2.0), settings("field"))
    assert report.noise_factor is not None
    assert 1.9 < report.noise_factor <= 2.0


@pytest.mark.parametrize("budget", [Budget("max_bytes", 60), Budget("psnr", 90.0)], ids=["size", "psnr"])
@pytest.mark.parametrize("method", ["field", "nested-for-tests"])
def test_what_cannot_be_met_is_refused(large: Image, method: str, budget: Budget) -> None:
    with pytest.raises(BudgetError, match=r"too few|quarter"):
        compress_to_bytes(large, budget, settings(method))


def planned(image: Image, method: str, budget: Budget) -> tuple[Job, JobPlan, Any]:
    job = prepare(image, settings(method), Deadline(), lambda *_: None)
    plan, around = plan_file(job, budget)
    return job, JobPlan.from_dict(json.loads(json.dumps(plan.to_dict()))), around


@pytest.mark.parametrize("method", METHODS)
def test_parts_encoded_from_a_plan_on_disk_make_a_file(large: Image, method: str) -> None:
    _, plan, around = planned(large, method, Budget("max_bytes", 2400 * ROOM.get(method, 1)))
    kind = get_method(method)
    decoders: dict[int, Any] = {}
    parts = []
    for i in range(9):
        wanted = plan.references.get(i)
        parent = None if wanted is None else Parent(wanted, decoders[wanted])
        encoded = encode_planned(plan, large, i, parent)
        again = encode_planned(plan, large, i, parent)
        assert again.sections == encoded.sections
        layout = plan.request(large, plan.context()).parts[i].layout
        base = None if encoded.reference is None else decoders[encoded.reference]
        decoders[i] = kind.decoder(layout, kind.bitstream_version, PartData(encoded.sections, plan.shared, base))
        parts.append((encoded.sections, encoded.reference))
    stream = io.BytesIO()
    size = put_together(around, parts, stream)
    assert size == len(stream.getvalue()) < 2600 * ROOM.get(method, 1)
    with open_file(stream.getvalue()) as f:
        assert np.corrcoef(f.asarray().ravel(), large.read().ravel())[0, 1] > 0.8
        assert (f.header.references is not None) == (method == "differences-for-tests")


def test_time_is_shared_among_parts(large: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part of a pass gets what its share of the voxels is of the time left."""
    given: list[float] = []
    encode = seam_methods.Shared.encode

    def watching(self: Any, block: Any, layout: Layout, quality: float, context: Context, state: Any = None) -> Encoded:
        given.append(context.deadline.remaining)
        return encode(self, block, layout, quality, context, state)

    monkeypatch.setattr(seam_methods.Shared, "encode", watching)
    monkeypatch.setattr(planned_module, "PASSES", 1)
    compress_to_bytes(large, Budget("max_bytes", 9600), settings("shared-for-tests", time_limit=900.0))
    shares = np.array([32 * 50, 32 * 50, 32 * 20] * 3) / (96 * 120)
    left = 900 * np.array([share / shares[i:].sum() for i, share in enumerate(shares)])
    np.testing.assert_allclose(given[-9:], left, rtol=0.1)

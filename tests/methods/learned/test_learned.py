"""Learned codecs: exact layers, blocks without seams, latents there and back, images of every shape."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.files import compressed
from helpers.images import blobs, scaled
from microfield.coding.range_coder import Decoder, Encoder
from microfield.errors import FormatError, InputError
from microfield.image import Image
from microfield.methods import register
from microfield.methods.learned import blocks, stream
from microfield.methods.learned.form import Form, codec
from microfield.methods.learned.layers import UNITS, Values, computed, run
from microfield.methods.learned.method import Factorized, Hyperprior
from microfield.methods.learned.model import Model, packed, unpacked
from microfield.methods.learned.symbols import SPREADS, ValueTables, rows_of
from microfield.models import pack
from microfield.reading.file import open_file
from microfield.training.codec_export import exported
from microfield.training.codec_network import begin
from microfield.writing.budget import Budget


@register
class FactorizedForTests(Factorized):
    """Under a name that contracts leave out: there is no network that ships."""

    name = "factorized-for-tests"


@register
class HyperpriorForTests(Hyperprior):
    name = "hyperprior-for-tests"


METHODS = {"factorized-for-tests": "factorised", "hyperprior-for-tests": "hyperprior"}
FORMS = {
    "factorised": codec((4, 6, 8), (5, 5, 3)),
    "hyperprior": codec((4, 6, 8), (5, 5, 3), (4, 5)),
    "volumes": codec((4, 6, 8), (5, 3, 3), (4, 5), (1, 2, 2)),
}


@cache
def model(name: str) -> Model:
    """A codec that has learnt nothing: its transforms are wavelets, and a little noise."""
    return Model.of(b"test", exported(FORMS[name], begin(FORMS[name], 3)))


def weights(method: str, folder: Path) -> dict[str, str]:
    """The option that takes a file of weights of nothing learnt."""
    path, form = folder / "mine.npz", FORMS[METHODS[method]]
    path.write_bytes(pack(exported(form, begin(form, 3))))
    return {"model": str(path)}


def volume(shape: tuple[int, ...], seed: int = 0) -> Values:
    return np.asarray(blobs(shape, seed, 6) * 40, np.float32)[None, ..., None]


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_read_as_it_was_written(name: str) -> None:
    assert Form.of(FORMS[name].rows()) == FORMS[name]


@given(place=st.integers(0, 65), value=st.integers(-3, 2000))
def test_a_changed_form_is_another_one_or_is_refused(place: int, value: int) -> None:
    rows = FORMS["factorised"].rows()
    rows.flat[place] = value
    try:
        found = Form.of(rows)
    except FormatError:
        return
    assert np.array_equal(found.rows(), rows)


@pytest.mark.parametrize("name", FORMS)
def test_sums_are_exact_in_any_order(name: str) -> None:
    """The decoder's values do not depend on the order in which a BLAS adds: channels in another order give the same bits."""
    form, arrays = FORMS[name], unpacked(FORMS[name], exported(FORMS[name], begin(FORMS[name], 5)))
    layers = [{k: arrays[f"{k}{i}"] for k in ("weight", "bias", "beta", "gamma") if f"{k}{i}" in arrays}
              for i in range(len(form.layers))]
    latents = np.random.default_rng(1).integers(-300, 300, (1, 2, 5, 4, form.latents)).astype(float)
    whole = run(computed(form, layers, "synthesis"), latents)
    order = np.random.default_rng(2).permutation(form.latents)
    first = form.network("synthesis")[0][0]
    layers[first] = layers[first] | {"weight": layers[first]["weight"][:, :, :, order]}
    np.testing.assert_array_equal(run(computed(form, layers, "synthesis"), latents[..., order]), whole)
    assert np.array_equal(np.rint(np.ldexp(whole, UNITS)), np.ldexp(whole, UNITS))


@pytest.mark.parametrize("name", ["hyperprior", "volumes"])
def test_blocks_leave_no_seam(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = np.random.default_rng(0).normal(0, 20, (2, 7, 19, 23, 8)).round()
    whole = run(model(name).synthesis, latents)
    monkeypatch.setattr(blocks, "BLOCK", (2, 4, 5))
    np.testing.assert_array_equal(blocks.synthesised(model(name).synthesis, latents), whole)
    images = np.asarray(whole[..., :48, :64, :][:1, :4], np.float32)
    apart = blocks.analysed(model(name).analysis, images)
    np.testing.assert_allclose(apart, run(model(name).analysis, images), rtol=1e-4, atol=0.01)


def test_layers_are_those_that_are_trained() -> None:
    """The exact layers compute what jax does in training, but for the rounding of weights and values."""
    pytest.importorskip("jax")
    from microfield.training.codec_network import GAMMA_UNIT, apply

    for name in ("hyperprior", "volumes"):
        form, params = FORMS[name], begin(FORMS[name], 4)
        arrays = exported(form, params)
        # Weights are those of the file on both sides.
        rounded = unpacked(form, arrays)
        for k, array in rounded.items():
            unit = GAMMA_UNIT if k.startswith("gamma") else 1
            params[k] = np.sqrt(array) / unit if k.startswith(("beta", "gamma")) else array
        image = volume((4, 24, 32))
        latents = np.asarray(apply(params, form, "analysis", image))
        np.testing.assert_allclose(run(model_of(arrays).analysis, image), latents, rtol=1e-3, atol=0.01)
        decoded = np.asarray(apply(params, form, "synthesis", latents))
        np.testing.assert_allclose(run(model_of(arrays).synthesis, latents.astype(float)), decoded, rtol=1e-2, atol=0.05)


def model_of(arrays: dict[str, Values]) -> Model:
    return Model.of(b"test", arrays)


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_values_come_back_from_their_tables(data: st.DataObject) -> None:
    n, lanes = data.draw(st.integers(0, 60)), data.draw(st.sampled_from([1, 4, 16]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rows = rng.integers(0, SPREADS, n)
    tables = model("hyperprior").scaled
    values = tables.clipped(np.rint(rng.standard_cauchy(n) * data.draw(st.sampled_from([0.1, 3, 900]))).astype(np.int64), rows)
    encoder = Encoder(lanes)
    tables.put(encoder, values, rows)
    decoder = Decoder(encoder.finish(), lanes)
    np.testing.assert_array_equal(tables.get(decoder, rows), values)
    decoder.finish()


def test_tables_suit_their_scales() -> None:
    """A table's own standard deviation is about the scale that chooses it."""
    scales = np.array([1.0, 4.0, 20.0])
    for row, scale in zip(rows_of(scales), scales, strict=True):
        tables: ValueTables = model("hyperprior").scaled
        values = np.arange(tables.low[row], tables.high[row] + 1)
        freq = tables.tables.freq.reshape(SPREADS, -1)[row, : len(values)]
        assert np.sqrt((freq * values**2).sum() / 2**15) == pytest.approx(np.hypot(scale, 12**-0.5), rel=0.1)


@pytest.mark.parametrize("name", FORMS)
def test_latents_decode_as_they_were_coded(name: str) -> None:
    found = model(name)
    latents = run(found.analysis, volume((4, 40, 24)))
    hyper = run(found.hyper_analysis, latents) if found.form.hyperprior else None
    coded = stream.code(found, latents, hyper)
    np.testing.assert_array_equal(stream.decode(found, coded.data, latents.shape), coded.latents)
    assert np.abs(coded.latents - latents).max() <= 1.5
    with pytest.raises(FormatError):
        stream.decode(found, b"", latents.shape)


def test_rounded_weights_are_near() -> None:
    form, params = FORMS["hyperprior"], begin(FORMS["hyperprior"], 3)
    found = unpacked(form, packed(form, params | {k: v**2 for k, v in params.items() if k[:4] in ("beta", "gamm")}, {}))
    for name, array in found.items():
        if name.startswith("weight"):
            assert np.abs(array - params[name]).max() <= 0.006


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (17, 9)])
def test_images_smaller_than_the_stride(method: str, shape: tuple[int, int], tmp_path: Path) -> None:
    original = Image(scaled(blobs(shape, 5, 3), 100, 60000, np.uint16), "YX")
    data, _ = compressed(original, method, Budget("max_bytes", 60_000), options=weights(method, tmp_path))
    found = open_file(data)[...]
    assert found.shape == shape
    error = found.astype(float) - original.read()
    assert np.sqrt((error**2).mean()) <= 0.5 * original.read().std()


@pytest.mark.parametrize("method", METHODS)
def test_parts_show_no_seam(method: str, tmp_path: Path) -> None:
    """Beside the borders of parts the error is about what it is elsewhere."""
    array = scaled(blobs((128, 128), 3, 120), 100, 4000, np.uint16)
    data, _ = compressed(Image(array, "YX"), method, Budget("max_bytes", 60_000), tile={"y": 64, "x": 64},
                         options=weights(method, tmp_path))
    error = (open_file(data)[...].astype(float) - array) ** 2
    beside = np.zeros((128, 128), bool)
    beside[62:66] = beside[:, 62:66] = True
    assert error[beside].mean() < 2 * error[~beside].mean()


def test_a_file_carries_the_weights_that_it_was_given(tmp_path: Path) -> None:
    options = weights("factorized-for-tests", tmp_path)
    original = Image(scaled(blobs((48, 40)), 20, 200, np.uint8), "YX")
    data, _ = compressed(original, "factorized-for-tests", Budget("max_bytes", 60_000), options=options)
    assert np.abs(open_file(data)[...].astype(float) - original.read()).mean() < 6
    with pytest.raises(InputError, match="weights of factorized"):
        compressed(original, "hyperprior-for-tests", Budget("max_bytes", 60_000), options=options)
    Path(options["model"]).write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"mine\.npz holds no weights"):
        compressed(original, "factorized-for-tests", Budget("max_bytes", 60_000), options=options)

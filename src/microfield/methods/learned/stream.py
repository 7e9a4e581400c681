"""The latents of a part as bytes, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microfield.coding.range_coder import MAX_LANES, Decoder, Encoder, lanes_for
from microfield.errors import FormatError
from microfield.methods.learned.layers import Values
from microfield.methods.learned.model import Model
from microfield.methods.learned.symbols import Ints, ValueTables, rows_of

EXCHANGE = 0.12
"""Squared steps that a bit is worth where a latent is rounded."""


@dataclass(frozen=True)
class Coded:
    """Latents as they decode, float64 (batch, z, y, x, channels), and their bytes."""

    latents: Values
    data: bytes


def code(model: Model, latents: Values, hyper: Values | None) -> Coded:
    """Round latents, and hyper-latents where the codec has them, and code them.

    Of the two whole numbers around a latent the one nearer to its mean is taken where the bits that this saves are worth the error.
    """
    outer = None if hyper is None else model.tables.clipped(np.rint(hyper).astype(np.int64).ravel(), _channel_rows(hyper.shape))
    means, rows, tables = _expected(model, outer, latents.shape)
    per_set = tables.tables.n_tables // model.sets
    wanted = latents.ravel().astype(np.float64) - means
    plain = tables.clipped(np.rint(wanted).astype(np.int64), rows)
    sizes = []
    for number in range(model.sets):
        bits = tables.bits(plain, rows + number * per_set).sum()
        if outer is not None and hyper is not None:
            bits += model.tables.bits(outer, _channel_rows(hyper.shape, number)).sum()
        sizes.append(float(bits))
    number = int(np.argmin(sizes))
    rows = rows + number * per_set
    values = cheap(wanted, tables, rows)
    lanes = lanes_for(float(tables.bits(values, rows).sum()) / 8)
    encoder = Encoder(lanes)
    if outer is not None and hyper is not None:
        model.tables.put(encoder, outer, _channel_rows(hyper.shape, number))
    tables.put(encoder, values, rows)
    return Coded((means + values).reshape(latents.shape), bytes([lanes.bit_length() - 1 | number << 4]) + encoder.finish())


def _expected(model: Model, hyper: Ints | None, shape: tuple[int, ...]) -> tuple[Values, Ints, ValueTables]:
    """Of latents of ``shape``, in their order: their means, the rows of their tables in the first set, and the tables."""
    if hyper is None:
        return np.zeros(int(np.prod(shape))), _channel_rows(shape), model.tables
    means, scales = model.predicted(hyper.reshape(model.hyper_shape(shape)), shape)
    return means.ravel(), rows_of(scales.ravel()), model.scaled


def decode(model: Model, data: bytes, shape: tuple[int, ...]) -> Values:
    """Latents of ``shape`` (batch, z, y, x, channels), float64.

    Raises
    ------
    FormatError
        The bytes are no such latents.
    """
    if not data:
        raise FormatError("a part ends before its latents.")
    lanes, number = 1 << (data[0] & 15), data[0] >> 4
    if lanes > MAX_LANES or number >= model.sets:
        raise FormatError("the latents of a part are coded in an unknown way.")
    decoder, hyper = Decoder(data[1:], lanes), None
    if model.form.hyperprior:
        hyper = model.tables.get(decoder, _channel_rows(model.hyper_shape(shape), number))
    means, rows, tables = _expected(model, hyper, shape)
    values = tables.get(decoder, rows + number * (tables.tables.n_tables // model.sets))
    decoder.finish()
    return (means + values).reshape(shape)


def _channel_rows(shape: tuple[int, ...], number: int = 0) -> Ints:
    """The table of every value of an array with channels last: its channel's in a set of tables."""
    return np.tile(np.arange(shape[-1]) + number * shape[-1], int(np.prod(shape[:-1])))


def cheap(wanted: Values, tables: ValueTables, rows: Ints) -> Ints:
    """Whole numbers near ``wanted`` (n,): the nearest, or the one below it in magnitude where the bits saved pay for the error."""
    nearest = tables.clipped(np.rint(wanted).astype(np.int64), rows)
    lower = nearest - np.sign(nearest)
    saved = tables.bits(nearest, rows) - tables.bits(lower, rows)
    worse = (wanted - lower) ** 2 - (wanted - nearest) ** 2
    return np.where(worse < EXCHANGE * saved, lower, nearest)

"""The range coder. ``python tests/coding/test_range_coder.py`` writes the vectors anew after a wanted change of the bitstream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microfield.coding import range_coder as rc
from microfield.errors import FormatError

VECTORS = Path(__file__).parent.parent / "vectors" / "range_coder.json"
LANES = [1, 2, 5, 11, 12, 16, 64, 256]


def tables_of(rng: np.random.Generator, n_tables: int, n_symbols: int) -> Any:
    weights = rng.integers(0, 1000, (n_tables, n_symbols)) ** 3
    weights[:, rng.integers(n_symbols)] += 1
    return rc.cumulate(rc.frequencies(weights))


def draw(rng: np.random.Generator, cumulative: Any, n: int) -> tuple[Any, Any]:
    table = rng.integers(0, len(cumulative), n)
    slots = rng.integers(0, 1 << rc.PRECISION, n)
    symbols = np.array([np.searchsorted(cumulative[t], s, side="right") - 1 for t, s in zip(table, slots, strict=True)])
    return symbols.astype(np.int64), table


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(LANES), st.integers(0, 700), st.integers(1, 4), st.integers(1, 40))
def test_round_trip(seed: int, lanes: int, n: int, n_tables: int, n_symbols: int) -> None:
    rng = np.random.default_rng(seed)
    cumulative = tables_of(rng, n_tables, n_symbols)
    symbols, table = draw(rng, cumulative, n)
    data = rc.encode(symbols, table, cumulative, lanes)
    assert rc.decode(data, table, cumulative, lanes).tolist() == symbols.tolist()
    assert scalar_decode(data, lanes, [("symbols", cumulative.tolist(), table.tolist())]) == [symbols.tolist()]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from(LANES), st.lists(st.integers(0, 300), max_size=5))
def test_batches(seed: int, lanes: int, lengths: list[int]) -> None:
    rng = np.random.default_rng(seed)
    cumulative = tables_of(rng, 3, 17)
    prepared = rc.Tables(cumulative)
    encoder, batches = rc.Encoder(lanes), []
    for n in lengths:
        symbols, table = draw(rng, cumulative, n)
        k = int(rng.integers(0, 16))
        bits = rng.integers(0, 1 << k, n)
        encoder.put_symbols(symbols, prepared, table)
        encoder.put_bits(bits, k)
        batches.append((symbols, table, bits, k))
    decoder = rc.Decoder(encoder.finish(), lanes)
    for i, (symbols, table, bits, k) in enumerate(batches):
        assert decoder.get(prepared if i % 2 else cumulative, table).tolist() == symbols.tolist()
        assert decoder.get_bits(len(bits), k).tolist() == bits.tolist()
    decoder.finish()


@pytest.mark.parametrize("lanes", [1, 12, 64])
def test_lookup_and_search_agree(lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    cumulative = tables_of(rng, 2, 300)
    symbols, table = draw(rng, cumulative, 20000)
    data = rc.encode(symbols, table, cumulative, lanes)
    assert rc.Tables(cumulative).lookup(20000) is not None
    assert (rc.decode(data, table, cumulative, lanes) == symbols).all()
    decoder, step = rc.Decoder(data, lanes), 100 * lanes
    for begin in range(0, 20000, step):
        stop = begin + step
        assert (decoder.get(cumulative, table[begin:stop]) == symbols[begin:stop]).all()
    decoder.finish()


@pytest.mark.parametrize("n", [0, 1, 5, 50, 300, 3000, 100_000, 300_000])
def test_size_is_near_the_entropy(n: int) -> None:
    rng = np.random.default_rng(n)
    freq = rc.frequencies((1e6 * np.exp(-np.abs(np.arange(64) - 31) / 4)).astype(np.int64) + 1)
    symbols = rng.choice(64, n, p=freq / freq.sum())
    entropy = float(np.sum(rc.PRECISION - np.log2(freq[symbols]))) / 8
    lanes = rc.lanes_for(entropy)
    data = rc.encode(symbols, np.zeros(n, int), rc.cumulate(freq)[None], lanes)
    assert len(data) <= entropy * 1.005 + 3
    assert len(data) >= entropy - 1.5  # The state starts at 0, which gives away less than two first symbols.


def test_one_lane_wastes_less_than_three_bytes() -> None:
    rng = np.random.default_rng(3)
    cumulative = tables_of(rng, 1, 30)
    freq = np.diff(cumulative[0])
    for n in range(1, 150):
        symbols, table = draw(rng, cumulative, n)
        entropy = float(np.sum(rc.PRECISION - np.log2(freq[symbols]))) / 8
        assert len(rc.encode(symbols, table, cumulative, 1)) <= entropy + 2.9


def test_certain_symbols_are_free() -> None:
    certain = np.array([[0, 1 << rc.PRECISION, 1 << rc.PRECISION]])
    for lanes, size in ((1, 0), (4, 16), (64, 256)):
        data = rc.encode(np.zeros(1000, int), np.zeros(1000, int), certain, lanes)
        assert len(data) == size
        assert not rc.decode(data, np.zeros(1000, int), certain, lanes).any()


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**40)), min_size=1, max_size=300).filter(any))
def test_frequencies(weights: list[int]) -> None:
    freq = rc.frequencies(np.array(weights))
    total = sum(weights)
    assert freq.sum() == 1 << rc.PRECISION
    assert ((freq > 0) == (np.array(weights) > 0)).all()
    if min(w for w in weights if w) << rc.PRECISION >= total:
        assert all(abs(int(f) - (w << rc.PRECISION) / total) < 1 for f, w in zip(freq, weights, strict=True))
    assert (rc.frequencies(np.array([weights, weights])) == freq).all()


def test_frequencies_known_values() -> None:
    assert rc.frequencies(np.array([1, 1, 1])).tolist() == [10923, 10923, 10922]
    assert rc.frequencies(np.array([0, 7])).tolist() == [0, 32768]
    assert rc.frequencies(np.array([1, 10**9, 1, 10**9])).tolist() == [1, 16383, 1, 16383]
    assert rc.frequencies(np.ones(1 << 15, np.int64)).max() == 1


@pytest.mark.parametrize("weights", [[], [0, 0], [-1, 2], [1 << 47], [1 << 46, 1 << 46], [1] * 32769, [0.5]])
def test_bad_weights(weights: list[Any]) -> None:
    with pytest.raises(FormatError):
        rc.frequencies(np.array(weights))


@pytest.mark.parametrize("rows", [[[0, 5]], [[1, 1 << 15]], [[0, 9, 8, 1 << 15]], [[0]], [0.0, 2.0**15], [[[0, 1 << 15]]]])
def test_bad_tables(rows: list[Any]) -> None:
    with pytest.raises(FormatError):
        rc.Tables(np.array(rows))


def test_wrong_calls() -> None:
    cumulative = np.array([[0, 1 << 15, 1 << 15]])
    for symbol in (1, 2, -1):
        with pytest.raises(ValueError, match="symbol"):
            rc.encode(np.array([symbol]), np.array([0]), cumulative, 1)
    with pytest.raises(FormatError):
        rc.decode(b"", np.array([1]), cumulative, 1)
    with pytest.raises(ValueError, match="bits"):
        rc.Encoder(1).put_bits(np.array([4]), 2)
    with pytest.raises(ValueError, match="bits"):
        rc.Decoder(b"", 1).get_bits(1, 16)
    for lanes in (0, 257):
        with pytest.raises(ValueError, match="lanes"):
            rc.Encoder(lanes)


def test_lanes_for() -> None:
    assert [rc.lanes_for(n) for n in (0, 1199, 1200, 10_000, 10**9)] == [1, 1, 2, 16, 256]


@pytest.mark.parametrize("lanes", LANES)
def test_cuts_are_noticed(lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    cumulative = tables_of(rng, 2, 20)
    symbols, table = draw(rng, cumulative, 800)
    data = rc.encode(symbols, table, cumulative, lanes)
    cuts = range(len(data)) if len(data) < 700 else range(0, len(data), 7)
    missed = 0
    for cut in cuts:
        try:
            rc.decode(data[:cut], table, cumulative, lanes)
            missed += 1
        except FormatError:
            pass
    assert missed <= (0.02 * len(data) if lanes == 1 else 0)  # One lane has few bits of check, see the module.
    with pytest.raises(FormatError):
        rc.decode(data + b"\0\0", table, cumulative, lanes)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([1, 3, 12, 16]), st.integers(0, 300))
def test_any_bytes(data: bytes, lanes: int, n: int) -> None:
    cumulative = tables_of(np.random.default_rng(n), 2, 9)
    table = np.arange(n) % 2
    try:
        decoder = rc.Decoder(data, lanes)
        symbols = decoder.get(cumulative, table)
        decoder.get_bits(n, 3)
        decoder.finish()
    except FormatError:
        return
    assert symbols.min(initial=0) >= 0
    assert symbols.max(initial=0) < 9


# -- a decoder as one would write it in JavaScript: unsigned 32-bit numbers, one symbol at a time --------------------


def u32(value: int) -> int:
    assert 0 <= value < 1 << 32
    return value


def scalar_decode(data: bytes, lanes: int, batches: list[tuple[Any, ...]]) -> list[list[int]]:
    if lanes > 1:
        head = 4 * lanes
        states = [int.from_bytes(data[4 * i : 4 * i + 4], "little") for i in range(lanes)]
    else:
        head = len(data) if len(data) <= 2 else 4 - len(data) % 2
        states = [int.from_bytes(data[:head], "little")]
    at, out = head, []
    for kind, first, second in batches:
        symbols = []
        for j in range(first if kind == "bits" else len(second)):
            x = states[j % lanes]
            slot = x & 32767
            if kind == "bits":
                freq = 1 << (15 - second)
                symbol, start = slot // freq, slot // freq * freq
            else:
                row = first[second[j]]
                symbol = 0
                while row[symbol + 1] <= slot:
                    symbol += 1
                start, freq = row[symbol], row[symbol + 1] - row[symbol]
            x = u32(u32(freq * (x >> 15)) + slot - start)
            if x < 65536 and at < len(data):
                x = u32(x << 16 | data[at] | data[at + 1] << 8)
                at += 2
            elif x < 65536:
                assert lanes == 1
            states[j % lanes] = x
            symbols.append(symbol)
        out.append(symbols)
    assert at == len(data)
    assert states == [0 if lanes == 1 else 65536] * lanes
    return out


def make_vectors() -> list[dict[str, Any]]:
    """The cases of ``vectors/range_coder.json``: weights to frequencies, then batches to bytes, for several lanes."""
    cases = []
    for lanes, n in ((1, 0), (1, 1), (1, 3), (1, 40), (2, 40), (4, 41), (16, 100), (64, 150)):
        i = np.arange(n)
        weights = np.array([[1, 2, 3, 4, 50, 0], [1000, 100, 10, 1, 0, 0], [7, 7, 7, 7, 7, 7]])
        cumulative = rc.cumulate(rc.frequencies(weights))
        table = i * i % 3
        symbols = (i * 7 + i // 5) % np.array([5, 4, 6])[table]
        bits = (i * 2654435761 >> 7) % 32
        encoder = rc.Encoder(lanes)
        encoder.put_symbols(symbols, rc.Tables(cumulative), table)
        encoder.put_bits(bits, 5)
        cases.append({
            "lanes": lanes, "weights": weights.tolist(), "cumulative": cumulative.tolist(), "table": table.tolist(),
            "symbols": symbols.tolist(), "bits": bits.tolist(), "bits_k": 5, "hex": encoder.finish().hex(),
        })
    return cases


def test_vectors() -> None:
    cases = json.loads(VECTORS.read_text())
    assert cases == make_vectors()
    for case in cases:
        data, lanes = bytes.fromhex(case["hex"]), case["lanes"]
        cumulative, table = case["cumulative"], case["table"]
        expected = [case["symbols"], case["bits"]]
        batches = [("symbols", cumulative, table), ("bits", len(case["bits"]), case["bits_k"])]
        assert scalar_decode(data, lanes, batches) == expected
        decoder = rc.Decoder(data, lanes)
        symbols = decoder.get(np.array(cumulative), np.array(table, int))
        assert [symbols.tolist(), decoder.get_bits(len(case["bits"]), case["bits_k"]).tolist()] == expected
        decoder.finish()


if __name__ == "__main__":
    VECTORS.write_text("[\n" + ",\n".join(json.dumps(case) for case in make_vectors()) + "\n]\n")

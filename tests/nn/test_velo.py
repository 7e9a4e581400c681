"""VeLO: the rule, step by step as the public program takes it, and checkpoints that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microfield.errors import InputError
from microfield.nn.checkpoint import unpack
from microfield.nn.velo_checkpoint import load_velo

VECTORS = Path(__file__).parents[1] / "vectors" / "velo.npz"
"""Two fits of the public program (google/learned_optimization at 32186aa, jax 0.10.2) with random weights of 6 units and 4 small
networks: ``usual`` as VeLO was published, ``old`` with both settings of older checkpoints. For tensors of four shapes: start,
gradients, losses and the parameters after every step."""

CONFIG = ("# a comment\nHyperV2.lstm_hidden_size = 6\nHyperV2.use_bugged_loss_features = {0}\n"
          "HyperV2.use_bugged_next_lstm_state = {0}\n")


def written(folder: Path, case: str) -> Path:
    with np.load(VECTORS) as vectors:
        (folder / "params").write_bytes(vectors[f"{case}_checkpoint"].tobytes())
    (folder / "config.gin").write_text(CONFIG.format(case == "old"))
    return folder


@pytest.mark.parametrize("case", ["usual", "old"])
def test_every_step_is_that_of_the_public_program(case: str, tmp_path: Path) -> None:
    velo = load_velo(written(tmp_path, case))
    with np.load(VECTORS) as vectors:
        starts, grads, after = ([vectors[f"{case}_{what}_{i}"] for i in range(4)] for what in ("start", "grads", "params"))
        losses, steps = vectors[f"{case}_loss"], int(vectors[f"{case}_steps"])
    params: Any = [jnp.asarray(p) for p in starts]
    state = velo.init(params)
    update = jax.jit(velo.update)
    for k in range(steps):
        progress = jnp.float32(k / steps)
        params, state = update(params, [g[k] for g in grads], state, loss=losses[k], progress=progress, rate=jnp.float32(1))
        for p, expected, start in zip(params, after, starts, strict=True):
            moved = np.abs(expected[k] - start).max()
            np.testing.assert_allclose(p, expected[k], rtol=2e-5, atol=2e-3 * moved + 1e-6)


def test_the_file_alone_is_enough(tmp_path: Path) -> None:
    folder = written(tmp_path, "usual")
    assert load_velo(folder / "params") == load_velo(folder)
    (folder / "config.gin").unlink()
    assert not load_velo(folder / "params").old_losses


@pytest.mark.parametrize(("content", "why"), [
    (b"", "cut short"), (b"PK\x03\x04 a zip file", "left over"), (b"\x81\xa1a\x01", "no 'params'"),
    (b"\x92\x01\x02", "other kinds"), (b"\x81\xa6params\x80", "no 'rnn_params'"), (b"\xc1", "no MessagePack"),
    (b"\x81\x01\x02", "no text"), (b"\x91" * 40, "nested"), (b"\xdf\xff\xff\xff\xff", "cut"),
], ids=["empty", "zip", "another map", "a list", "no weights", "a bad byte", "keys", "deep", "a huge map"])
def test_what_is_no_checkpoint_is_one_sentence(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "params").write_bytes(content)
    with pytest.raises(InputError, match=f"is no VeLO checkpoint: .*{why}"):
        load_velo(tmp_path)


def test_other_shapes_settings_and_missing_files_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, "usual")
    with pytest.raises(InputError, match="cannot be read"):
        load_velo(folder / "nothing")
    whole = (folder / "params").read_bytes()
    (folder / "params").write_bytes(whole[:-200])
    with pytest.raises(InputError, match="cut short"):
        load_velo(folder)
    (folder / "params").write_bytes(whole.replace(b"\xa9step_size", b"\xa9step_sise"))
    with pytest.raises(InputError, match="no 'step_size'"):
        load_velo(folder)
    (folder / "params").write_bytes(whole)
    (folder / "config.gin").write_text("HyperV2.ff_hidden_size = 8\n")
    with pytest.raises(InputError, match=r"config.gin asks for ff_hidden_size = 8"):
        load_velo(folder)


def test_messagepack_of_every_kind() -> None:
    assert unpack(b"\x94\xc0\xc3\xff\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00") == [None, True, -1, 1.5]
    assert unpack(b"\xd9\x02ab") == "ab"
    assert unpack(b"\xdc\x00\x02\xcd\x01\x00\xd0\xfe") == [256, -2]
    assert bytes(unpack(b"\xc4\x01z")) == b"z"
    np.testing.assert_array_equal(unpack(b"\xc7\x11\x01\x93\x91\x01\xa7float32\xc4\x04\x00\x00\x80\x3f"), [1.0])

"""Checkpoints of VeLO in the published layout: the file ``params``, and ``config.gin`` beside it."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from microfield.errors import InputError
from microfield.nn.checkpoint import read
from microfield.nn.velo import HIDDEN, INPUTS, TENSOR_FEATURES, Velo

SETTING = re.compile(r"^HyperV2\.(\w+)\s*=\s*(.+?)\s*$", re.MULTILINE)
FLAGS = {"use_bugged_loss_features": "old_losses", "use_bugged_next_lstm_state": "forgetful"}
"""Settings of the public program that are known here."""


def load_velo(path: str | Path) -> Velo:
    """VeLO with the weights of a checkpoint.

    Parameters
    ----------
    path : path
        The file ``params``, or the folder that holds it. Settings are read from ``config.gin`` beside it; without that file
        they are those of VeLO as published.

    Raises
    ------
    InputError
        There is no such checkpoint.
    """
    file = Path(path) / "params" if Path(path).is_dir() else Path(path)
    try:
        stat = file.stat()
        return _load(file, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise InputError(f"The VeLO checkpoint {file} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file} is no VeLO checkpoint: {_why(error)}.") from error


def _why(error: Exception) -> str:
    """What is wrong, from what reading raised."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}"
    return str(error) if isinstance(error, ValueError) else "its values are of other kinds"


@lru_cache(4)
def _load(file: Path, changed: int, size: int) -> Velo:
    """The checkpoint in a file that was last changed then."""
    held = read(file)["params"]
    rnn = held["rnn_params"]
    tables = {name: rnn[name] for name in ("linear_1", "linear_2", "rnn/linear", "rnn_to_controls", "step_size")}
    tables |= {"memory": held["lstm_init_state"], "small": held["ff_mod_stack"]["~"]}
    weights = {f"{table}/{k}": np.asarray(v, np.float32) for table, arrays in tables.items() for k, v in arrays.items()}
    units, nets = weights["memory/hidden"].shape[-1], weights["small/b0"].shape[0]
    for name, shape in _shapes(units, nets).items():
        if weights[name].shape != shape:
            raise ValueError(f"its {name} is {weights[name].shape} where {shape} belongs")
        if not np.isfinite(weights[name]).all():
            raise ValueError(f"its {name} holds values that are not finite")
    return Velo(f"{units} {nets}", weights, **_settings(file.parent / "config.gin"))


def _shapes(units: int, nets: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights, for so many units of memory and so many small networks to mix."""
    shapes: dict[str, tuple[int, ...]] = {"memory/hidden": (1, units), "memory/cell": (1, units)}
    linear = {"linear_1": (TENSOR_FEATURES, units), "linear_2": (TENSOR_FEATURES, units), "rnn/linear": (2 * units, 4 * units),
              "rnn_to_controls": (units, nets), "step_size": (units, 1)}
    for name, (a, b) in linear.items():
        shapes |= {f"{name}/w": (a, b), f"{name}/b": (b,)}
    small: dict[str, tuple[int, ...]] = {f"w0__{i}": (n, HIDDEN) for i, n in enumerate(INPUTS)}
    small |= {"w1": (HIDDEN, HIDDEN), "w2": (HIDDEN, 3), "b0": (HIDDEN,), "b1": (HIDDEN,), "b2": (3,)}
    return shapes | {f"small/{k}": (nets, *s) for k, s in small.items()}


def _settings(config: Path) -> dict[str, bool]:
    """The settings of `Velo` that a configuration gives; others but sizes, which the weights tell, are refused."""
    if not config.is_file():
        return {}
    found = {}
    for name, value in SETTING.findall(config.read_text("utf-8", errors="replace")):
        if name in FLAGS and value in ("True", "False"):
            found[FLAGS[name]] = value == "True"
        elif name not in ("lstm_hidden_size", "param_inits"):
            raise ValueError(f"its {config.name} asks for {name} = {value}, which this version does not know")
    return found

"""Checkpoints of CompressAI: files as PyTorch writes them, with random tensors, against a convolution written out here."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from microfield.errors import InputError
from microfield.methods.learned.layers import run
from microfield.methods.learned.model import Model
from microfield.perceptual.torch_file import read_tensors
from microfield.training.compressai import read_compressai

N, M = 4, 6
Array = npt.NDArray[Any]


def state(means: bool | None, rng: np.random.Generator) -> dict[str, Array]:
    """The tensors of a model of these widths, named as CompressAI names them; ``means`` None: a factorised prior."""
    found: dict[str, Array] = OrderedDict()

    def convolution(name: str, shape: tuple[int, ...], outputs: int) -> None:
        found[f"{name}.weight"] = rng.normal(0, 0.15, shape).astype("f4")
        found[f"{name}.bias"] = rng.normal(0, 0.1, outputs).astype("f4")

    for prefix, widths in (("g_a", (3, N, N, N, M)), ("g_s", (M, N, N, N, 3))):
        for i in range(4):
            a, b = widths[i : i + 2]
            convolution(f"{prefix}.{2 * i}", ((a, b) if prefix == "g_s" else (b, a)) + (5, 5), b)
            if i < 3:
                found[f"{prefix}.{2 * i + 1}.beta"] = np.sqrt(np.ones(b, "f4") + 2**-36)
                found[f"{prefix}.{2 * i + 1}.gamma"] = np.sqrt(0.1 * np.eye(b, dtype="f4") + 2**-36)
    if means is not None:
        wide = M * 3 // 2 if means else N
        for name, a, b, k, down in (("h_a.0", M, N, 3, True), ("h_a.2", N, N, 5, True), ("h_a.4", N, N, 5, True),
                                    ("h_s.0", N, M if means else N, 5, False), ("h_s.2", M if means else N, wide, 5, False),
                                    ("h_s.4", wide, 2 * M if means else M, 3, True)):
            convolution(name, ((b, a) if down else (a, b)) + (k, k), b)
    channels = M if means is None else N
    for i, (m, n) in enumerate(((1, 3), (3, 3), (3, 3), (3, 3), (3, 1))):
        found[f"entropy_bottleneck._matrix{i}"] = rng.normal(0, 0.5, (channels, n, m)).astype("f4")
        found[f"entropy_bottleneck._bias{i}"] = rng.uniform(-0.5, 0.5, (channels, n, 1)).astype("f4")
        if i < 4:
            found[f"entropy_bottleneck._factor{i}"] = np.zeros((channels, n, 1), "f4")
    return found


class _Storage:
    """Pickled as PyTorch pickles a tensor: a function, and a storage by its persistent id."""

    def __init__(self, key: str, values: Array) -> None:
        self.key, self.values = key, values


PYTHON_PICKLER: Any = vars(pickle)["_Pickler"]


class _Pickler(PYTHON_PICKLER):  # type: ignore[misc]
    """Writes tensors as torch.save does, without torch."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        names = {_rebuild: ("torch._utils", "_rebuild_tensor_v2"), _float: ("torch", "FloatStorage")}
        if obj in names:
            module, attribute = names[obj]
            self.write(pickle.GLOBAL + f"{module}\n{attribute}\n".encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    dispatch: ClassVar[dict[Any, Any]] = {**PYTHON_PICKLER.dispatch, type(lambda: None): save_global}

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, _Storage):
            return ("storage", _float, obj.key, "cpu", obj.values.size)
        return None


def _rebuild() -> None:
    """Stands for torch._utils._rebuild_tensor_v2."""


def _float() -> None:
    """Stands for torch.FloatStorage."""


class _Tensor:
    def __init__(self, storage: _Storage) -> None:
        self.storage = storage

    def __reduce__(self) -> Any:
        shape = self.storage.values.shape
        strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
        return _rebuild, (self.storage, 0, shape, strides, False, OrderedDict())


def checkpoint(tensors: dict[str, Array]) -> bytes:
    """The file that torch.save would write."""
    out, wrapped = io.BytesIO(), OrderedDict()
    with zipfile.ZipFile(out, "w") as archive:
        for number, (name, values) in enumerate(tensors.items()):
            archive.writestr(f"model/data/{number}", values.astype("<f4").tobytes())
            wrapped[name] = _Tensor(_Storage(str(number), values))
        text = io.BytesIO()
        _Pickler(text, 2).dump(wrapped)
        archive.writestr("model/data.pkl", text.getvalue())
        archive.writestr("model/version", "3\n")
    return out.getvalue()


def convolved(weight: Array, bias: Array, image: Array) -> Array:
    """A convolution of stride 2 as PyTorch defines it: weight (out, in, y, x), image (channels, y, x)."""
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
    out = np.zeros((len(weight), image.shape[1] // 2, image.shape[2] // 2))
    for y, x in np.ndindex(*out.shape[1:]):
        out[:, y, x] = (weight * padded[None, :, 2 * y : 2 * y + 5, 2 * x : 2 * x + 5]).sum((1, 2, 3)) + bias
    return out


@pytest.mark.parametrize("means", [None, False, True], ids=["factorized", "hyperprior", "mean-scale"])
def test_a_checkpoint_becomes_a_codec(means: bool | None) -> None:
    tensors = state(means, np.random.default_rng(0))
    found = read_tensors(checkpoint(tensors), "model.pth")
    assert found.keys() == tensors.keys()
    for name, values in tensors.items():
        np.testing.assert_array_equal(found[name], values)
    form, arrays = read_compressai(found, "model.pth")
    model = Model.of(b"test", arrays)
    assert form.inputs == 3
    assert form.hyperprior is (means is not None)
    assert form.absolute is (means is False)
    # The analysis, away from the borders, where they pad with black and we with the middle.
    grey = np.random.default_rng(1).integers(0, 256, (3, 96, 96)) / 255
    theirs = grey
    for i in range(4):
        theirs = convolved(tensors[f"g_a.{2 * i}.weight"], tensors[f"g_a.{2 * i}.bias"], theirs)
        if i < 3:
            gamma = 0.1 * np.eye(N)
            theirs = theirs / np.sqrt(np.tensordot(gamma, theirs**2, 1) + 1)
    ours = run(model.analysis, np.moveaxis((grey - 0.5) * 255, 0, -1)[None, None].astype(np.float32))[0, 0]
    np.testing.assert_allclose(ours[2:-2, 2:-2], np.moveaxis(theirs, 0, -1)[2:-2, 2:-2], atol=0.05)


def test_another_architecture_is_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="autoregressive model"):
        read_compressai(state(True, rng) | {"context_prediction.weight": np.zeros(3)}, "mbt2018.pth")
    with pytest.raises(InputError, match="residual blocks"):
        read_compressai({"g_a.0.conv1.weight": np.zeros(3)}, "cheng2020.pth")
    with pytest.raises(InputError, match=r"has no g_a\.0\.weight"):
        read_compressai({"layer.weight": np.zeros(3)}, "resnet.pth")
    with pytest.raises(InputError, match=r"g_a\.2\.weight for 7 channels"):
        read_compressai(state(None, rng) | {"g_a.2.weight": np.zeros((N, 7, 5, 5))}, "odd.pth")


def test_nothing_of_a_checkpoint_is_executed(tmp_path: Any) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "made"), "w")

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"state_dict": {"a": Harm()}}))
    assert read_tensors(out.getvalue(), "harm.pth") == {}
    assert not (tmp_path / "made").exists()
    with pytest.raises(InputError, match=r"harm\.pth is no checkpoint"):
        read_tensors(b"PK no archive", "harm.pth")

"""A reader of PyTorch's checkpoint files (.pth, .pth.tar, .pt): tensors by name, nothing of them executed, PyTorch not needed.

Such a file is a zip archive: ``NAME/data.pkl`` is a pickle of dicts whose tensors name a storage by a persistent id, and
``NAME/data/KEY`` holds that storage's bytes, little-endian.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.perceptual.unpickle import reason

TYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "IntStorage": "<i4", "LongStorage": "<i8",
         "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?"}
"""PyTorch's names of storages, and the types of their values."""
LARGEST = 1 << 31
"""Most bytes of a checkpoint, unpacked."""


class Storage:
    """Stands for a type of storage, which a pickle names."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Tensor:
    """Stands for what a function that rebuilds a tensor gives: keeps its values."""

    __slots__ = ("values",)

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values = values


class Ignored:
    """Stands for everything else that a checkpoint may name: it keeps nothing and does nothing."""

    __slots__ = ()

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    """The tensor of a storage, checked to lie within it."""
    whole = all(type(sizes) is tuple and all(type(n) is int and n >= 0 for n in sizes) for sizes in (shape, strides))
    if not isinstance(storage, np.ndarray) or not whole:
        raise ValueError("a tensor is not described by whole numbers")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if math.prod(shape) else offset
    if type(offset) is not int or offset < 0 or (math.prod(shape) and last >= len(storage)) or math.prod(shape) > len(storage):
        raise ValueError("a tensor does not lie within its storage")
    view = np.lib.stride_tricks.as_strided(storage[offset:], shape, [step * storage.itemsize for step in strides], writeable=False)
    return Tensor(np.ascontiguousarray(view))


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(data))
        self.archive, self.folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for: none of it is looked up."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name in TYPES:
            return Storage(name)
        return Ignored

    def persistent_load(self, pid: Any) -> Any:
        """The values of a storage."""
        kind, storage, key, *_ = pid
        if kind != "storage" or not isinstance(storage, Storage) or not isinstance(key, str):
            raise ValueError("a tensor names no storage")
        return np.frombuffer(self.archive.read(f"{self.folder}/data/{key}"), TYPES[storage.kind])


def read_tensors(data: bytes, name: str) -> dict[str, npt.NDArray[Any]]:
    """Tensors of a checkpoint by their names in its state dict, which may lie under the key ``state_dict``.

    Parameters
    ----------
    data : bytes
    name : str
        What messages call the file.

    Raises
    ------
    InputError
        It is no such file, or damaged; files of PyTorch before 1.6, which are no archives, are not read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise ValueError("it is too large")
            inside = [n for n in archive.namelist() if n.endswith("/data.pkl")]
            if len(inside) != 1:
                raise ValueError("it holds no data.pkl")
            found = _Reader(archive.read(inside[0]), archive, inside[0].removesuffix("/data.pkl")).load()
    except Exception as error:  # A hostile pickle can make the reader raise almost anything; nothing of it has been executed.
        raise InputError(f"{name} is no checkpoint of PyTorch 1.6 or newer ({reason(error)}).") from None
    if type(found) is dict and type(found.get("state_dict")) is dict:
        found = found["state_dict"]
    if type(found) is not dict:
        raise InputError(f"{name} is no checkpoint of PyTorch that holds tensors by name.")
    return {str(key).removeprefix("module."): value.values for key, value in found.items() if isinstance(value, Tensor)}

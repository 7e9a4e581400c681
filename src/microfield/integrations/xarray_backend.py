"""The engine ``microfield`` of `xarray.open_dataset`, found by the entry point group ``xarray.backends``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from xarray import Dataset, Variable
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from microfield.format.framing import MAGIC
from microfield.reading.file import MicrofieldFile, open_file
from microfield.reading.levels import usual_chunks

VARIABLE = "image"
"""Name of the one variable of a dataset."""


class MicrofieldBackend(BackendEntrypoint):  # type: ignore[misc]
    """Opens a microfield file as a dataset with the variable ``image``, whose values are decoded when they are asked for.

    Dimensions are the axes (``T``, ``C``, ``Z``, ``Y``, ``X``, ``S``); coordinates and attributes are those of
    `MicrofieldFile.to_xarray`.
    """

    description = "Open microfield files (.mfield)"
    url = "https://github.com/microfield/microfield"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "storage_options", "max_read_bytes")

    def open_dataset(self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None,
                     storage_options: Mapping[str, Any] | None = None, max_read_bytes: int | None = None) -> Dataset:
        """Open a file.

        Parameters
        ----------
        filename_or_obj : path, URL, bytes or binary file object
            As in `microfield.open`.
        drop_variables : str or iterable of str, optional
            Variables and coordinates to leave out.
        storage_options, max_read_bytes : optional
            As in `microfield.open`.

        Raises
        ------
        FileNotFoundError
            There is no such local file.
        FormatError
            It is not a readable microfield file: damaged, truncated or of another kind.
        """
        if isinstance(filename_or_obj, (str, os.PathLike)) and "://" not in (path := os.fspath(filename_or_obj)) \
                and not os.path.exists(path):
            raise FileNotFoundError(f"{path} does not exist.")
        f = open_file(filename_or_obj, storage_options=storage_options, max_read_bytes=max_read_bytes)
        coordinates, attributes = f.coordinates()
        chunks = dict(zip(f.axes, usual_chunks(f.sizes, f.dtype.itemsize, f.header.tile), strict=True))
        image = Variable(tuple(f.axes), indexing.LazilyIndexedArray(_Lazy(f)), attributes, {"preferred_chunks": chunks})
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        kept = {name: value for name, value in coordinates.items() if name not in dropped}
        dataset = Dataset({} if VARIABLE in dropped else {VARIABLE: image}, kept)
        dataset.set_close(f.close)
        return dataset

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether the name ends in ``.mfield``, or bytes begin as a microfield file does."""
        if isinstance(filename_or_obj, (bytes, memoryview)):
            return bytes(filename_or_obj[: len(MAGIC)]) == MAGIC
        return isinstance(filename_or_obj, (str, os.PathLike)) and os.fspath(filename_or_obj).lower().endswith(".mfield")


class _Lazy(BackendArray):  # type: ignore[misc]
    """A file as xarray indexes it; pickles as the file does."""

    def __init__(self, file: MicrofieldFile) -> None:
        self.file = file
        self.shape, self.dtype = file.shape, file.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        return np.asarray(self.file[key])

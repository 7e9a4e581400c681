"""Networks that ship with the package: small, named by a hash of their weights, found by it.

A file says by four bytes of hash which network decodes it; `index.json` says which hash has which name, and how each
network was trained. The weights of one network are one file of compressed arrays, without any code in it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError

Arrays = dict[str, npt.NDArray[Any]]

KINDS = ("contexts", "refinement")
HASH = 4
"""Bytes of hash that name a network."""
LARGEST = 1 << 20
"""No file of weights is larger, packed; none of its arrays, unpacked."""


def fingerprint(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """SHA-256 over names, types, shapes and values of arrays, in the order of their names; 32 bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = _canonical(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.digest()


def load(kind: str, hash4: bytes) -> Arrays:
    """Arrays of a network; they are not to be written to.

    Parameters
    ----------
    kind : "contexts" or "refinement"
    hash4 : the first four bytes of its `fingerprint`

    Raises
    ------
    FormatError
        If no such network is installed, or its file is damaged.
    """
    return dict(_load(kind, bytes(hash4)))


def named(kind: str, name: str) -> bytes:
    """The four bytes that name a network: "all" is trained on all images, "a" and "b" on one half each.

    Raises
    ------
    FormatError
        If there is none of that name.
    """
    entry = index().get(kind, {}).get(name)
    if entry is None:
        raise FormatError(f"No {kind} network named {name!r} is installed.")
    return bytes.fromhex(str(entry["hash"]))


def index() -> dict[str, dict[str, dict[str, Any]]]:
    """For every kind the networks by name: their hash and how they were trained."""
    file = resources.files(__name__) / "index.json"
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return found


def file_name(kind: str, hash4: bytes) -> str:
    """The file in this package that holds a network."""
    return f"{kind}-{hash4.hex()}.npz"


def save(kind: str, name: str, arrays: Mapping[str, npt.NDArray[Any]], record: Mapping[str, Any],
         folder: Path | None = None) -> bytes:
    """Install a trained network under a name, in place of the one of that name; its four bytes of hash.

    Parameters
    ----------
    kind : "contexts" or "refinement"
    name : "all", "a" or "b"
    arrays : its weights, as they are to be loaded
    record : how it was trained, what JSON can hold: date, images, steps, seed, loss, versions
    folder : where to; by default this package

    Notes
    -----
    Files are the same to the byte for the same arrays.
    """
    if kind not in KINDS:
        raise ValueError(f"networks are {' or '.join(KINDS)}, not {kind!r}")
    folder = Path(__file__).parent if folder is None else folder
    key = fingerprint(arrays)[:HASH]
    (folder / file_name(kind, key)).write_bytes(_pack(arrays))
    table = folder / "index.json"
    known: dict[str, dict[str, Any]] = json.loads(table.read_text("utf-8")) if table.exists() else {}
    old = known.setdefault(kind, {}).get(name)
    known[kind][name] = {"hash": key.hex(), "trained": dict(record)}
    table.write_bytes((json.dumps(known, indent=1, sort_keys=True) + "\n").encode())
    used = {entry["hash"] for entry in known[kind].values()}
    if old is not None and old["hash"] not in used:
        (folder / file_name(kind, bytes.fromhex(old["hash"]))).unlink(missing_ok=True)
    _load.cache_clear()
    return key


@cache
def _load(kind: str, hash4: bytes) -> Arrays:
    missing = f"This file needs the {kind} network {hash4.hex()}, which this version of microfield does not have."
    if kind not in KINDS or len(hash4) != HASH:
        raise FormatError(missing)
    file = resources.files(__name__) / file_name(kind, hash4)
    if not file.is_file():
        raise FormatError(missing)
    try:
        arrays = _unpack(file.read_bytes())
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise FormatError(f"The installed {kind} network {hash4.hex()} is damaged: install microfield again.") from error
    if fingerprint(arrays)[:HASH] != hash4:
        raise FormatError(f"The installed {kind} network {hash4.hex()} is not what its name says: install microfield again.")
    return arrays


def _canonical(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """In C order, little-endian."""
    array = np.asarray(array)
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _pack(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """As NPZ, in the order of names and with no date."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(arrays):
            data = io.BytesIO()
            np.lib.format.write_array(data, _canonical(arrays[name]), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, data.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return out.getvalue()


def _unpack(data: bytes) -> Arrays:
    if len(data) > LARGEST:
        raise ValueError("too large")
    arrays: Arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if entry.file_size > LARGEST:
                raise ValueError("too large")
            with archive.open(entry) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            array.setflags(write=False)
            arrays[entry.filename.removesuffix(".npy")] = array
    return arrays

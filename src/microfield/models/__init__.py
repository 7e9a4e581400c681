"""Small networks that ship with the package, each found by a hash of its weights.

A microfield file says by four bytes of that hash which network decodes it. `index.json` says which name has which hash, and how the
network was trained. The weights of a network are one NPZ file of arrays, without any code in it.
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

KINDS = ("contexts", "refinement", "optimiser", "codec")
"""What networks do: predict the coefficients of `field`, refine its decoded images, take the steps of a fit of `inif`, and code
images (`microfield.methods.learned`, of which none ships yet)."""

HASH = 4
"""Bytes of the hash that name a network."""

LARGEST = 1 << 20
"""Most bytes of a file of weights, and of each of its arrays unpacked (1 MiB)."""

MOST_ARRAYS = 64
"""In one file."""

DAMAGED = (ValueError, OSError, EOFError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What `unpack` raises for bytes that are no such file."""


def fingerprint(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """SHA-256 (32 bytes) over names, types, shapes and values of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = _canonical(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.digest()


def load(kind: str, hash4: bytes) -> Arrays:
    """The arrays of a network, read-only, by name.

    Parameters
    ----------
    kind : one of `KINDS`
    hash4 : bytes
        The first four bytes of its `fingerprint`.

    Raises
    ------
    FormatError
        No such network is installed, or its file is damaged.
    """
    return dict(_load(kind, bytes(hash4)))


def named(kind: str, name: str) -> bytes:
    """The four bytes of hash of the network of a kind that has this name.

    "all" was trained on all images, "a" and "b" on one half each, so that either can be tested on the other's images.

    Raises
    ------
    FormatError
        There is none of that name.
    """
    entry = index().get(kind, {}).get(name)
    if entry is None:
        raise FormatError(f"No {kind} network named {name!r} is installed.")
    return bytes.fromhex(str(entry["hash"]))


def index() -> dict[str, dict[str, dict[str, Any]]]:
    """Kind to name to ``hash`` (hexadecimal) and ``trained``, which says how the network was trained."""
    file = resources.files(__name__) / "index.json"
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return found


def file_name(kind: str, hash4: bytes) -> str:
    """Name of the file in this package that holds a network."""
    return f"{kind}-{hash4.hex()}.npz"


def save(kind: str, name: str, arrays: Mapping[str, npt.NDArray[Any]], record: Mapping[str, Any],
         folder: Path | None = None) -> bytes:
    """Install a trained network under a name, in place of the one of that name; the same arrays give the same bytes.

    Parameters
    ----------
    kind : one of `KINDS`
    name : "all", "a" or "b"
    arrays : mapping of name to array
        Its weights, as `load` is to give them.
    record : mapping
        How it was trained, JSON-ready: date, images, steps, seed, loss, versions.
    folder : Path, optional
        Where to install it; by default this package.

    Returns
    -------
    bytes
        Its four bytes of hash.

    Raises
    ------
    ValueError
        There is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"networks are {' or '.join(KINDS)}, not {kind!r}")
    folder = Path(__file__).parent if folder is None else folder
    key = fingerprint(arrays)[:HASH]
    (folder / file_name(kind, key)).write_bytes(pack(arrays))
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
    """The arrays of a network, read and checked once."""
    missing = f"This file needs the {kind} network {hash4.hex()}, which this version of microfield does not have."
    if kind not in KINDS or len(hash4) != HASH:
        raise FormatError(missing)
    file = resources.files(__name__) / file_name(kind, hash4)
    if not file.is_file():
        raise FormatError(missing)
    try:
        arrays = unpack(file.read_bytes())
    except DAMAGED as error:
        raise FormatError(f"The installed {kind} network {hash4.hex()} is damaged: install microfield again.") from error
    if fingerprint(arrays)[:HASH] != hash4:
        raise FormatError(f"The installed {kind} network {hash4.hex()} is not what its name says: install microfield again.")
    return arrays


def _canonical(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array in C order and little-endian, as it is hashed and stored."""
    array = np.asarray(array)
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def pack(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Arrays as an NPZ file that depends on nothing else: in the order of their names, and all of one date."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(arrays):
            data = io.BytesIO()
            np.lib.format.write_array(data, _canonical(arrays[name]), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, data.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return out.getvalue()


def unpack(data: bytes, largest: int = LARGEST) -> Arrays:
    """Arrays of an NPZ file, read-only; one of `DAMAGED` where it is none, or it or one of them has more than ``largest`` bytes."""
    if len(data) > largest:
        raise ValueError("too large")
    arrays: Arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if len(archive.infolist()) > MOST_ARRAYS:
            raise ValueError("too many arrays")
        for entry in archive.infolist():
            if entry.file_size > largest:
                raise ValueError("too large")
            with archive.open(entry) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            array.setflags(write=False)
            arrays[entry.filename.removesuffix(".npy")] = array
    return arrays

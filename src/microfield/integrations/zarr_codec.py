"""The codec ``microfield`` of Zarr 3: every chunk is a microfield stream in the embedded profile.

An array-to-bytes codec with partial decoding: Zarr hands it the selection as it stands between the square brackets, and it decodes
no more than that. Zarr finds it by the entry point group ``zarr.codecs``. `docs/zarr.md` specifies its configuration and bytes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.abc.store import ByteGetter, OffsetByteRequest, RangeByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import StorePath

from microfield.errors import UsageError
from microfield.format.container import FIRST_READ, has_index
from microfield.format.source import GetterSource
from microfield.image import AXES, SUPPORTED_DTYPES, Layout, check_axes
from microfield.integrations.open_chunks import OpenChunks
from microfield.methods import get_method
from microfield.reading.file import open_file
from microfield.writing.chunk import ChunkSettings, encode_chunk

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

NAME = "microfield"
"""Of the codec, in the metadata of arrays."""

VERSION = 1
"""Of the configuration. Others are refused, since what they say might mean something else."""

_open_chunks = OpenChunks()


@dataclass(frozen=True, init=False, eq=False)
class MicrofieldCodec(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):  # type: ignore[misc]
    """Encodes chunks of 2 to 5 dimensions with any method of microfield.

    Give it to ``zarr.create_array(..., serializer=MicrofieldCodec(ratio=128), compressors=None)``: what compresses bytes gains
    nothing on top, and Zarr then could not decode parts of a chunk.

    Parameters
    ----------
    axes : str, optional
        One letter of ``TCZYXS`` per dimension of the array; by default the last ones of ``TCZYX``.
    **configuration
        Exactly one of ``ratio``, ``bits_per_voxel``, ``max_bytes``, ``psnr``, ``least_psnr``, ``noise_factor`` (of every chunk),
        ``lossless=True`` and ``quality`` (the same setting of the method's knob, 0 to 1000, in all chunks); besides ``method``,
        ``options``, ``effort``, ``tile`` and the other attributes of `microfield.writing.settings.Settings`; and what the chunks
        share, ``channel_range`` and ``noise`` (see `ChunkSettings`).

    Raises
    ------
    UsageError
        There is not exactly one budget, or a setting is unknown or wrong, or the configuration is of another version.
    """

    is_fixed_size = False

    axes: str | None
    chunk: ChunkSettings

    def __init__(self, *, axes: str | None = None, version: int = VERSION, **configuration: Any) -> None:
        if version != VERSION:
            raise UsageError(f"this array was written with version {version!r} of the codec {NAME}, and this microfield reads "
                             f"version {VERSION}; update microfield.")
        if configuration.get("lossless"):
            configuration.setdefault("method", "lossless")
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "chunk", ChunkSettings.from_dict(configuration))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MicrofieldCodec:
        """The codec that an entry of ``codecs`` in an array's metadata describes."""
        if data.get("name") != NAME or not isinstance(data.get("configuration", {}), Mapping):
            raise UsageError(f"{json.dumps(data, default=str)} is no entry of the codec {NAME}.")
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        """The entry of ``codecs``, JSON-ready."""
        axes = {} if self.axes is None else {"axes": self.axes}
        return {"name": NAME, "configuration": {"version": VERSION, **axes, **self.chunk.to_dict()}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MicrofieldCodec) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> MicrofieldCodec:
        """The same with the axes of an array, where they were not given."""
        if self.axes is not None:
            return self
        axes = AXES.removesuffix("S")[-len(array_spec.shape) :]
        return MicrofieldCodec(axes=axes, **self.chunk.to_dict())

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that cannot be encoded, before anything is written; UsageError or InputError says why."""
        del chunk_grid
        name = _native(dtype).name
        if name not in SUPPORTED_DTYPES:
            raise UsageError(f"the codec {NAME} takes {', '.join(SUPPORTED_DTYPES)} values, not {name}.")
        check_axes(self.axes or "", len(shape), "the array")
        get_method(self.chunk.settings.method).with_options(self.chunk.settings.options or {})

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Not known before a chunk is encoded."""
        raise NotImplementedError

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        layout = self._layout(chunk_spec)
        block = np.ascontiguousarray(chunk_array.as_numpy_array(), layout.dtype)
        return chunk_spec.prototype.buffer.from_bytes(encode_chunk(block, layout, self.chunk))

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        values = _open_chunks.get(chunk_bytes.to_bytes(), self._layout(chunk_spec)).asarray()
        return chunk_spec.prototype.nd_buffer.from_numpy_array(values)

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_array, chunk_spec)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)

    async def _decode_partial_single(self, byte_getter: ByteGetter, selection: Any, chunk_spec: ArraySpec) -> NDBuffer | None:
        """The selected values of a chunk; None where it is not stored. Of a chunk of many parts only those touched are fetched."""
        front = await _fetch(byte_getter, 0, FIRST_READ)
        if front is None:
            return None
        loop = asyncio.get_running_loop()

        def get(start: int, stop: int | None) -> bytes:
            if stop is not None and (stop <= len(front) or len(front) < FIRST_READ):
                return front[start:stop]
            found = asyncio.run_coroutine_threadsafe(_fetch(byte_getter, start, stop), loop).result()
            return b"" if found is None else found

        name = f"chunk {byte_getter.path}" if isinstance(byte_getter, StorePath) else "the chunk"
        source = GetterSource(get, len(front) if len(front) < FIRST_READ else None, name)
        values = await asyncio.to_thread(self._select, source, selection, chunk_spec)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(values)

    def _select(self, source: GetterSource, selection: Any, chunk_spec: ArraySpec) -> npt.NDArray[Any]:
        """What a selection takes of a chunk."""
        layout = self._layout(chunk_spec)
        first = source.head(FIRST_READ)
        if has_index(first) and not source.knows_size:
            f = open_file(source, host=layout)
        else:
            f = _open_chunks.get(source.read(0, source.size), layout, source.name)
        keys = selection if isinstance(selection, tuple) else (selection,)
        if all(isinstance(key, (int, np.integer, slice)) or key is Ellipsis for key in keys):
            return np.asarray(f[keys])
        # Lists of coordinates and what Zarr makes of orthogonal selections.
        return np.asarray(f.asarray()[selection])

    def _layout(self, chunk_spec: ArraySpec) -> Layout:
        shape = tuple(int(n) for n in chunk_spec.shape)
        return Layout(shape, self.axes or AXES.removesuffix("S")[-len(shape) :], _native(chunk_spec.dtype))


async def _fetch(byte_getter: ByteGetter, start: int, stop: int | None) -> bytes | None:
    """Bytes of a stored chunk from ``start`` to ``stop``, or to its end; None where there is no such chunk."""
    where = OffsetByteRequest(start) if stop is None else RangeByteRequest(start, stop)
    found = await byte_getter.get(prototype=default_buffer_prototype(), byte_range=where)
    return None if found is None else found.to_bytes()


def _native(dtype: Any) -> np.dtype[Any]:
    """NumPy's dtype of a data type of Zarr, in native byte order."""
    native: np.dtype[Any] = dtype.to_native_dtype().newbyteorder("=")
    return native

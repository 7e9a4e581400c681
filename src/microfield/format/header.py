"""The header of a microfield file: its fields, declared once, used to write, to read and check, and to document it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.acquisition import NOTHING_SAID, Acquisition
from microfield.coding import varint
from microfield.display import NOTHING_KNOWN, Display
from microfield.errors import FormatError, InputError
from microfield.format import cbor
from microfield.format.acquisition_field import are_facts, pack_acquisition, unpack_acquisition
from microfield.format.display_fields import are_channels, is_calibration, pack_display, unpack_display
from microfield.format.grid import Grid
from microfield.format.making import Making, are_settings, pack_making, unpack_making
from microfield.format.task_evidence import TaskEvidence, is_evidence, pack_evidence, unpack_evidence
from microfield.image import Layout, check_axes

DTYPES = {"u1": "uint8", "u2": "uint16", "u4": "uint32", "i1": "int8", "i2": "int16", "i4": "int32", "f4": "float32",
          "f8": "float64"}
METADATA_LIMIT = 64 << 20
"""Vendor metadata takes at most this many bytes once unpacked."""
LONGEST_CHAIN = 64
"""No part builds on more than this many earlier parts, one behind the other."""

_TIMED = "TZYX"
_COUNT_LIMIT = varint.LIMIT


class Field(NamedTuple):
    """One entry of the header map."""

    key: int
    name: str
    kind: str
    meaning: str
    default: Any = None
    required: bool = False
    embedded: bool = True
    """Whether the embedded profile has it too."""


FIELDS = (
    Field(1, "method", "text", "Name of the compression method.", required=True),
    Field(2, "bitstream_version", "uint", "Version of the method's own bitstream, from 1 on.", 1),
    Field(3, "shape", "uints", "Extent of every array axis.", required=True, embedded=False),
    Field(4, "axes", "text", "One letter of TCZYXS per array axis; the default is the last ones of TCZYX.",
          embedded=False),
    Field(5, "dtype", "text", f"Type of the values, one of {', '.join(DTYPES)}.", "u2", embedded=False),
    Field(6, "voxel_size", "steps", "Physical step along each axis out of T, Z, Y, X that the array has, in array "
          "order; null where unknown.", embedded=False),
    Field(7, "units", "units", "Unit of each voxel_size entry that is not micrometer (for T: second), by axis letter.",
          embedded=False),
    Field(8, "channel_names", "texts", "One name per element of axis C.", embedded=False),
    Field(9, "checksum", "bytes", "BLAKE2b with an 8-byte digest, over the original array in C order, little endian.",
          embedded=False),
    Field(10, "tile", "uints", "Extents of a part along every axis; without it the array is one part."),
    Field(11, "references", "bytes", "One varint per part: how many parts before it the part lies that it builds on; "
          "0 for none. No chain of references is longer than 64."),
    Field(12, "sections", "uint", "Number of sections of every part, from 1 on.", 1),
    Field(13, "shared", "uint", "Bytes of the block that all parts share, without its CRC, from 1 on."),
    Field(14, "experimental", "bool", "The method's bitstream may change without notice. No longer written in the "
          "embedded profile.", False),
    Field(15, "metadata", "bytes", "Vendor metadata: UTF-8 text in a zlib stream, at most 64 MiB unpacked.",
          embedded=False),
    Field(16, "channel_display", "channels", "One array per element of axis C (one where there is no such axis), see "
          "[Display](#display).", embedded=False),
    Field(17, "plane_labels", "bytes", "Label of every plane: UTF-8 texts with a zero byte between them, in a zlib stream, at most "
          "16 MiB and 262,144 labels unpacked. Planes are the positions along all axes but Y, X and S, in C order.",
          embedded=False),
    Field(18, "value_calibration", "calibration", "What a grey level means: a unit (which may be empty), then 2 to 9 coefficients "
          "of a polynomial of the grey level, the constant first.", embedded=False),
    Field(19, "display_mode", "uint", "How several channels are shown: 1 together in their colours, 2 one at a time in its "
          "colour, 3 one at a time in grey.", embedded=False),
    Field(20, "making", "bytes", "How the file was made, see [Making](#making).", embedded=False),
    Field(21, "settings", "settings", "Settings that differ from their defaults, see [Making](#making); only with `making`.",
          embedded=False),
    Field(22, "acquisition", "acquisition", "How the image was taken: date, model of the objective (texts), nominal "
          "magnification, numerical aperture, position of the first voxel on the stage along X, Y and Z in micrometers (floats); "
          "null where unknown, and left out at the end.", embedded=False),
    Field(23, "evidence", "evidence", "Which analysis the file was made safe for: its name, its version (which may be empty) and "
          "what was measured (texts), the value, the worst value that is good enough (floats), whether larger values are better, "
          "and the part of the array that was looked at, above 0 and up to 1.", embedded=False),
)

_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("text string", lambda v: type(v) is str),
    "uint": ("unsigned integer below 2^53", lambda v: type(v) is int and 0 <= v < _COUNT_LIMIT),
    "bool": ("true", lambda v: v is True),
    "bytes": ("byte string", lambda v: type(v) is bytes),
    "uints": ("array of unsigned integers below 2^53",
              lambda v: type(v) is list and all(type(n) is int and 0 <= n < _COUNT_LIMIT for n in v)),
    "steps": ("array of positive floats or null",
              lambda v: type(v) is list and all(n is None or (type(n) is float and 0 < n < float("inf")) for n in v)),
    "units": ("map of text to text",
              lambda v: type(v) is dict and all(type(a) is str and type(u) is str for a, u in v.items())),
    "texts": ("array of text strings", lambda v: type(v) is list and all(type(n) is str for n in v)),
    "channels": ("array of arrays", are_channels),
    "calibration": ("array of a text string and floats", is_calibration),
    "acquisition": ("array of texts, floats and null", are_facts),
    "evidence": ("array of texts, floats and a boolean", is_evidence),
    "settings": ("map of text to values", are_settings),
}


class _Metadata:
    """The attribute `Header.metadata`: text, or the bytes of a file, which are unpacked when they are first asked for."""

    def __get__(self, header: Header | None, owner: type[Header]) -> str | None:
        if header is None:
            return None  # What the dataclass takes for the default.
        value = header.__dict__["_metadata"]
        if isinstance(value, bytes):
            value = header.__dict__["_metadata"] = _unpack_text(value)
        text: str | None = value
        return text

    def __set__(self, header: Header, value: str | bytes | None) -> None:
        header.__dict__["_metadata"] = value


def _packed_metadata(header: Header) -> bytes | None:
    """The metadata as a file holds them."""
    value: str | bytes | None = header.__dict__["_metadata"]
    return _pack_text(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Header:
    """What a file says about itself.

    Attributes
    ----------
    method, bitstream_version : str, int
        What wrote the parts.
    layout : Layout
        Of the whole array.
    voxel_size : dict
        Axis letter (of ``TZYX``) to physical step.
    units : dict
        Axis letter to unit, for exactly the axes of `voxel_size`: micrometer (T: second) where nothing else is given.
    channel_names : tuple of str
        One per element of axis C (one where there is no such axis), or empty.
    checksum : bytes
        8 bytes, see `Checksum`; empty where unknown.
    tile : tuple of int, optional
        Extents of a part, cut to the array; None for one part.
    references : tuple of (int or None), optional
        For every part the earlier part it builds on; None where no part does.
    experimental : bool
        The method's bitstream may still change.
    metadata : str, optional
        Vendor metadata. Those of a file are unpacked when asked for; FormatError where they cannot be.
    sections : int
        Sections of every part, at least 1.
    display : Display
        How the image is meant to be seen.
    making : Making, optional
        How the file was made, where it says so.
    acquisition : Acquisition
        How the image was taken.
    evidence : TaskEvidence, optional
        Which analysis the file was made safe for, and what was measured in it.
    """

    method: str
    bitstream_version: int
    layout: Layout
    voxel_size: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    checksum: bytes = b""
    tile: tuple[int, ...] | None = None
    references: tuple[int | None, ...] | None = None
    experimental: bool = False
    metadata: _Metadata = _Metadata()
    sections: int = 1
    display: Display = NOTHING_KNOWN
    making: Making | None = None
    acquisition: Acquisition = NOTHING_SAID
    evidence: TaskEvidence | None = None

    def __post_init__(self) -> None:
        stepped = [a for a in self.layout.axes if a in self.voxel_size]
        own: dict[str, Any] = {
            "voxel_size": {a: float(self.voxel_size[a]) for a in stepped},
            "units": {a: self.units.get(a, default_unit(a)) for a in stepped},
        }
        if self.tile is not None:
            tile = tuple(min(t, n) for t, n in zip(self.tile, self.layout.shape, strict=True))
            own["tile"] = None if tile == self.layout.shape else tile
        if self.references is not None and all(r is None for r in self.references):
            own["references"] = None
        for name, value in own.items():
            object.__setattr__(self, name, value)
        _check(self)

    @property
    def _grid(self) -> Grid:
        return Grid(self.layout.shape, self.tile or self.layout.shape)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of parts along every axis; parts are numbered in C order."""
        return self._grid.counts

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return self._grid.n

    def part_box(self, part: int) -> tuple[slice, ...]:
        """Where a part lies in the array."""
        return self._grid.box(part)

    def part_layout(self, part: int) -> Layout:
        """Shape, axes and dtype of a part."""
        return self.layout.with_shape(self._grid.part_shape(part))


class Checksum:
    """The 8-byte checksum of an array, fed block by block in C order (slabs along the first axis)."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=8)

    def update(self, values: npt.NDArray[Any]) -> None:
        """Add the next block, of any shape."""
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        self._hash.update(little.reshape(-1).view(np.uint8).data)

    def digest(self) -> bytes:
        """The checksum of everything added."""
        return self._hash.digest()


def checksum(blocks: Iterable[npt.NDArray[Any]]) -> bytes:
    """The 8-byte checksum of an array given as blocks in C order."""
    total = Checksum()
    for block in blocks:
        total.update(block)
    return total.digest()


def pack(header: Header, shared: int, embedded: bool) -> bytes:
    """The header as CBOR; ``shared`` is the length of the shared block, 0 for none."""
    values = _stored(header, shared) | {"metadata": _packed_metadata(header), **pack_display(header.display)}
    if embedded:
        values["experimental"] = False
    return cbor.dump({f.key: values[f.name] for f in FIELDS
                      if values[f.name] != f.default and (f.embedded or not embedded)})


def _stored(header: Header, shared: int) -> dict[str, Any]:
    """Values of the fields by name, as a file holds them, but for those that are deflated; the default where none is written."""
    layout, axes = header.layout, header.layout.axes
    code = {name: short for short, name in DTYPES.items()}[layout.dtype.name]
    steps = [header.voxel_size.get(a) for a in axes if a in _TIMED]
    return {
        "method": header.method,
        "bitstream_version": header.bitstream_version,
        "shape": list(layout.shape),
        "axes": None if axes == _usual_axes(len(layout.shape)) else axes,
        "dtype": code,
        "voxel_size": steps if header.voxel_size else None,
        "units": {a: u for a, u in header.units.items() if u != default_unit(a)} or None,
        "channel_names": list(header.channel_names) or None,
        "checksum": header.checksum or None,
        "tile": None if header.tile is None else list(header.tile),
        "references": None if header.references is None else _pack_references(header.references),
        "sections": header.sections,
        "shared": shared or None,
        "experimental": header.experimental,
        "making": None if header.making is None else pack_making(header.making),
        "acquisition": pack_acquisition(header.acquisition),
        "evidence": pack_evidence(header.evidence),
        "settings": None if header.making is None else dict(header.making.settings) or None,
    }


def unpack(data: bytes, host: Layout | None) -> tuple[Header, int]:
    """Read and check a header; the second value is the length of the shared block.

    Parameters
    ----------
    data : bytes
        The CBOR map.
    host : Layout, optional
        Given for the embedded profile, which leaves the layout out.

    Raises
    ------
    FormatError
        If anything in it is not as `FIELDS` says.
    """
    stored = cbor.load(data)
    values = _values(stored, host is not None)
    try:
        layout = host if host is not None else _layout(values)
        steps = _steps(values["voxel_size"], layout.axes)
        units = values["units"] or {}
        if not set(units) <= set(steps):
            raise FormatError("The file gives a unit to an axis without a voxel size: it is damaged.")
        tile = None if values["tile"] is None else tuple(values["tile"])
        if tile is not None and (len(tile) != len(layout.shape) or tile == layout.shape
                                 or not all(1 <= t <= n for t, n in zip(tile, layout.shape, strict=True))):
            raise FormatError(f"The file has tiles of {tile} in an array of {layout.shape}: it is damaged.")
        coded = values["references"]
        references = None if coded is None else _unpack_references(coded, Grid(layout.shape, tile or layout.shape).n)
        header = Header(
            values["method"], values["bitstream_version"], layout, steps, units, tuple(values["channel_names"] or ()),
            values["checksum"] or b"", tile, references, values["experimental"],
            values["metadata"], values["sections"],
            unpack_display(values), _making(values), unpack_acquisition(values["acquisition"]),
            unpack_evidence(values["evidence"]),
        )
    except InputError as error:
        raise FormatError(f"The header of the file is damaged: {error}") from None
    written = {f.name for f in FIELDS if f.key in stored}
    for name, value in _stored(header, values["shared"] or 0).items():
        if name in written and values[name] != value:
            raise FormatError(f"Field {name!r} of the header is written in another way than it should be: the file is damaged.")
    return header, values["shared"] or 0


def _making(values: Mapping[str, Any]) -> Making | None:
    if values["making"] is None:
        if values["settings"] is not None:
            raise FormatError("The file holds settings without saying how it was made: it is damaged.")
        return None
    return unpack_making(values["making"], values["settings"] or {})


def describe() -> str:
    """The fields of the header as a Markdown table."""
    lines = ["| Key | Field | Type | Default | Embedded | Meaning |", "| ---: | --- | --- | --- | --- | --- |"]
    for f in FIELDS:
        default = "required" if f.required else "none" if f.default is None else str(f.default).lower()
        kept = "yes" if f.embedded else "no"
        lines.append(f"| {f.key} | `{f.name}` | {_KINDS[f.kind][0]} | {default} | {kept} | {f.meaning} |")
    return "\n".join(lines) + "\n"


def default_unit(axis: str) -> str:
    """Unit of an axis of which none is stored."""
    return "second" if axis == "T" else "micrometer"


def _usual_axes(ndim: int) -> str:
    return "TCZYX"[max(0, 5 - ndim):]


def _check(header: Header) -> None:
    """Refuse what no file can hold; the limits are the same for writing and reading."""
    layout = header.layout
    check_axes(layout.axes, len(layout.shape), "the image")
    if min(layout.shape) < 1 or layout.size >= _COUNT_LIMIT:
        raise InputError(f"an array of shape {layout.shape} has no elements or too many of them.")
    if layout.dtype.name not in DTYPES.values():
        raise InputError(f"{layout.dtype.name} values cannot be stored.")
    if not header.method or not 1 <= header.bitstream_version < _COUNT_LIMIT or not 1 <= header.sections < 1 << 16:
        raise InputError(f"method {header.method!r}, bitstream version {header.bitstream_version} and "
                         f"{header.sections} sections cannot be stored.")
    if len(header.checksum) not in (0, 8):
        raise InputError(f"a checksum has 8 bytes, not {len(header.checksum)}.")
    channels = dict(zip(layout.axes, layout.shape, strict=True)).get("C", 1)
    if header.channel_names and len(header.channel_names) != channels:
        raise InputError(f"{len(header.channel_names)} channel names were given for {channels} channels.")
    if header.display.fitting(dict(zip(layout.axes, layout.shape, strict=True))) != header.display:
        raise InputError(f"colours, ranges or labels do not fit an array of axes {layout.axes} and shape {layout.shape}.")
    for axis, step in header.voxel_size.items():
        if axis not in _TIMED or not 0 < step < float("inf"):
            raise InputError(f"a voxel size of {step} along {axis} cannot be stored; it must be positive.")
    if header.references is not None:
        _check_references(header.references, header.n_parts)


def _check_references(references: tuple[int | None, ...], n_parts: int) -> None:
    """Refuse references that do not point backwards, and chains of them that are too long."""
    if len(references) != n_parts or any(r is not None and not 0 <= r < i for i, r in enumerate(references)):
        raise InputError("a part may only refer to an earlier part.")
    depth: list[int] = []
    for part, reference in enumerate(references):
        depth.append(0 if reference is None else depth[reference] + 1)
        if depth[-1] > LONGEST_CHAIN:
            raise InputError(f"part {part} builds on a chain of {depth[-1]} earlier parts, more than the {LONGEST_CHAIN} allowed.")


def _values(stored: Mapping[Any, Any], embedded: bool) -> dict[str, Any]:
    """Field name to value, defaults filled in, every type checked."""
    known = {f.key: f for f in FIELDS if f.embedded or not embedded}
    if unknown := [key for key in stored if type(key) is not int or key not in known]:
        raise FormatError(f"The header of the file has an unknown field {unknown[0]!r}: update microfield to open it.")
    values: dict[str, Any] = {f.name: f.default for f in FIELDS}
    for key, value in stored.items():
        f = known[key]
        kind, fits = _KINDS[f.kind]
        if not fits(value) or value == f.default:
            raise FormatError(f"Field {f.name!r} of the header is not of type {kind}, or is written without need: "
                              "the file is damaged.")
        values[f.name] = value
    for f in known.values():
        if f.required and f.key not in stored:
            raise FormatError(f"The header of the file lacks the field {f.name!r}: it is damaged.")
    if values["shared"] == 0:
        raise FormatError("The file has an empty shared block: it is damaged.")
    return values


def _layout(values: Mapping[str, Any]) -> Layout:
    shape = tuple(values["shape"])
    if values["dtype"] not in DTYPES:
        raise FormatError(f"The file holds values of the unknown type {values['dtype']!r}: update microfield.")
    axes = values["axes"] if values["axes"] is not None else _usual_axes(len(shape))
    check_axes(axes, len(shape), "the image")
    if min(shape) < 1:
        raise FormatError(f"The file holds an array of shape {shape}, which has no elements: it is damaged.")
    return Layout(shape, axes, np.dtype(DTYPES[values["dtype"]]))


def _steps(stored: list[float | None] | None, axes: str) -> dict[str, float]:
    if stored is None:
        return {}
    stepped = [a for a in axes if a in _TIMED]
    if len(stored) != len(stepped):
        raise FormatError(f"The file has {len(stored)} voxel sizes for the axes {axes}: it is damaged.")
    return {a: step for a, step in zip(stepped, stored, strict=True) if step is not None}


def _pack_references(references: tuple[int | None, ...]) -> bytes:
    return varint.encode([0 if r is None else i - r for i, r in enumerate(references)])


def _unpack_references(data: bytes, n_parts: int) -> tuple[int | None, ...]:
    distances, end = varint.decode(data, n_parts)
    if end != len(data) or bool((distances > np.arange(n_parts)).any()):
        raise FormatError("A part of the file refers to a part that does not come before it: the file is damaged.")
    return tuple(None if d == 0 else i - d for i, d in enumerate(distances.tolist()))


@lru_cache(maxsize=4)
def _pack_text(text: str) -> bytes:
    # A budget search asks for the size of the same header again and again.
    packed = text.encode()
    if len(packed) > METADATA_LIMIT:
        raise InputError(f"the metadata take {len(packed)} bytes, more than the {METADATA_LIMIT} a file can hold.")
    return zlib.compress(packed, 9)


def _unpack_text(data: bytes) -> str:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, METADATA_LIMIT + 1)
        if not unpacker.eof or unpacker.unused_data or len(text) > METADATA_LIMIT:
            raise FormatError("The metadata of the file are incomplete, or larger than 64 MiB: the file is damaged.")
        return text.decode()
    except (zlib.error, UnicodeDecodeError):
        raise FormatError("The metadata of the file are not readable: the file is damaged.") from None

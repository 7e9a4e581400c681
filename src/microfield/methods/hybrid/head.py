"""The bytes of a part before those of its prior: which prior and residual there are, which units are kept, and the residual."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from microfield.coding.bytes_reader import ByteReader
from microfield.coding.varint import decode_one, encode_one
from microfield.errors import FormatError
from microfield.image import Layout
from microfield.methods.hybrid.filters import Filter
from microfield.methods.hybrid.units import Bits, Units
from microfield.methods.hybrid.volumes import frames_shape, volume_shape

PRIORS = ("field", "hevc", "av1")
"""Methods that can be a prior; a file stores the index."""
NONE, FILTER, NETWORKS = "none", "filter", ("inif", "siren")
RESIDUALS = (NONE, FILTER, *NETWORKS)
"""What corrects the prior; a file stores the index."""
MOST_VERSION = 8
"""Bitstream versions of priors from 1 to this can be stored."""
MAP = 0x80
"""Bit of the first byte: a map of units follows; without it all are kept."""
NAMED = 0xFF
"""First byte of the filters where a network is named; no mode byte of a filter is this."""
HASH = 4
"""Bytes that name a network."""


def _no_bits() -> Bits:
    return np.zeros(0, np.bool_)


@dataclass(frozen=True)
class Head:
    """What a part says of itself before its prior's bytes.

    Attributes
    ----------
    prior : str, one of `PRIORS`
    version : int, 1..`MOST_VERSION`
        Bitstream version of the prior.
    residual : str, one of `RESIDUALS`
    filters : tuple of Filter
        Of every channel, where the residual is a filter.
    network : bytes
        Hash of the refinement network; empty for the one that needs no name.
    part, part_version : bytes, int
        A part of the network method that is the residual, and its bitstream version.
    units, kept : Units and its bits
        None where the corrected result is kept everywhere.
    """

    prior: str
    version: int
    residual: str = NONE
    filters: tuple[Filter, ...] = ()
    network: bytes = b""
    part: bytes = b""
    part_version: int = 1
    units: Units | None = None
    kept: Bits = field(default_factory=_no_bits)

    def pack(self) -> bytes:
        """The bytes of the head."""
        first = PRIORS.index(self.prior) | (self.version - 1) << 2 | RESIDUALS.index(self.residual) << 5
        out = [bytes([first | (MAP if self.units is not None else 0)])]
        if self.units is not None:
            out += [bytes([self.units.code]), self.units.pack(self.kept)]
        if self.residual == FILTER:
            out += [bytes([NAMED]) + self.network if self.network else b"", *(f.pack() for f in self.filters)]
        elif self.residual in NETWORKS:
            out += [bytes([self.part_version]), encode_one(len(self.part)), self.part]
        return b"".join(out)

    @classmethod
    def unpack(cls, section: bytes, layout: Layout) -> tuple[Head, bytes]:
        """The head at the start of a part of this layout, and the bytes of the prior; FormatError for damage."""
        fields = ByteReader(section, "its head")
        first = fields.next(1)[0]
        prior, residual = first & 3, RESIDUALS[first >> 5 & 3]
        if prior >= len(PRIORS) or (first & MAP and residual == NONE):
            raise FormatError("a part has an unknown prior.")
        head = cls(PRIORS[prior], (first >> 2 & 7) + 1, residual)
        units, kept = None, head.kept
        if first & MAP:
            units = Units(fields.next(1)[0], frames_shape(layout))
            kept = units.unpack(fields.next(units.nbytes))
        if residual == FILTER:
            network, filters = _unpack_filters(fields, layout)
            head = cls(head.prior, head.version, residual, filters, network, units=units, kept=kept)
        elif residual in NETWORKS:
            version = fields.next(1)[0]
            rest = fields.rest()
            length, at = decode_one(rest, 0)
            if length > len(rest) - at:
                raise FormatError("a part ends within its residual.")
            part, behind = rest[at : at + length], rest[at + length :]
            return cls(head.prior, head.version, residual, part=part, part_version=version, units=units, kept=kept), behind
        return head, fields.rest()


def _unpack_filters(fields: ByteReader, layout: Layout) -> tuple[bytes, tuple[Filter, ...]]:
    """The name of the network, empty where it has none, and the filters of all channels."""
    mode, network = fields.next(1)[0], b""
    if mode == NAMED:
        network, mode = fields.next(HASH), fields.next(1)[0]
    shape, filters = volume_shape(layout), []
    for channel in range(layout.channels):
        filters.append(Filter.unpack(fields.next(1)[0] if channel else mode, fields, shape))
    return network, tuple(filters)

"""The bytes before a part's coefficients: everything the decoder must know, and nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from microfield.coding.bits import BitReader, BitWriter
from microfield.coding.bytes_reader import ByteReader
from microfield.errors import FormatError
from microfield.image import Layout
from microfield.methods.field import rotation
from microfield.methods.field.adaptive_filter import Filter
from microfield.methods.field.align import Shifts
from microfield.methods.field.channels import Channels, power_of_two
from microfield.methods.field.film_order import LARGEST_BLOCK, LARGEST_GROUP, LARGEST_OFFSET, LONGEST_SEGMENT, Film
from microfield.methods.field.groups import Groups, extents_of
from microfield.methods.field.rotation import Rotation
from microfield.methods.field.schedules import NAMES, OCTAVES, packed, unpacked

CONSTANT, GAINS, ROTATED, MORE = 0x10, 0x20, 0x40, 0x80
"""Flags of the first byte: some channels are constant; gains are not all 1; channels are rotated; a second byte of flags."""
_TRANSFORM_MASK = 0x0F
"""The low bits of the first byte: index of the schedule."""
FREE = 0x0F
"""The index that says that the levels of the schedule stand at the end of the head."""
NETS, SHIFTED, ALONG_TIME = 1, 2, 0x80
"""Flags of the second byte: networks are named; planes are rolled; T takes the place of Z."""
_TIMES_SHIFT, _TIMES_MASK = 2, 0x1F
"""Between them how often T is split. Where that is not 0 and T takes the place of Z, which excludes it, the part is a film."""
_FILM = ALONG_TIME | 1 << _TIMES_SHIFT
"""Those flags of a film, as they are written."""
_FIRST_VERSION_TIMES = 3
"""Files of bitstream version 1 split T at most so often."""
_FILM_VERSION = 3
"""Files of earlier bitstream versions hold no films."""
WHOLE_REFINEMENT = 4
"""The bitstream version from which on the refinement is computed in whole numbers, in films of every decoded time point."""
LATEST = FILTERED = ORIENTED_CONTEXTS = 5
"""The bitstream version that is written; from this one on channels may be filtered, contexts see bands along their details, and
signs are predicted."""
FILTERS, PRIOR = 1, 2
"""Flags of the last byte of the head, which versions from `FILTERED` on have: channels are filtered; a codec made the values."""
PRIORS = ("hevc", "av1")
"""Codecs that can; a file stores the index."""
LARGEST_STEP_CODE = 65535
"""Code of the finest quantiser step."""
_COARSEST_STEP_OCTAVE = 1
"""Step code 0 is a step of 2 to this power."""
_LARGEST_SHIFT = 1 << 24
"""Planes are not rolled further."""
PINNED = (bytes.fromhex("809bb9f1"), bytes.fromhex("f20a4af3"))
"""Hashes of the context and the refinement network that a file of bitstream versions 1 to 4 need not name. They stay for ever."""
PINNED_ORIENTED = (bytes.fromhex("82a351a3"), bytes.fromhex("f20a4af3"))
"""Those of version 5."""
ALPHA = 128
"""The code of alpha, the factor of the refinement's correction, that stands for 1."""


def pinned(version: int) -> tuple[bytes, bytes]:
    """The networks that a file of a bitstream version need not name."""
    return PINNED_ORIENTED if version >= ORIENTED_CONTEXTS else PINNED


def step_of(code: int) -> float:
    """The quantiser step of a code 0 ... `LARGEST_STEP_CODE`, evenly in octaves: 2 down to 2**-16."""
    return float(power_of_two(_COARSEST_STEP_OCTAVE - code * OCTAVES / LARGEST_STEP_CODE))


@dataclass(frozen=True)
class Prior:
    """The codec whose stream follows the head in the place of coefficients.

    Attributes
    ----------
    name : str, one of `PRIORS`
    version : int
        Bitstream version of that method.
    """

    name: str
    version: int


@dataclass(frozen=True)
class Head:
    """All that a decoder must know before the coefficients of a part.

    Attributes
    ----------
    channels : Channels
        How grey levels became what was transformed.
    transform : str
        See `schedules`.
    times : int
        How often T is split, 0 to 31.
    along_time : bool
        Whether T takes the place of Z in the wavelet.
    step : int
        Code of the quantiser step: see `step_of`.
    alpha : int
        Factor of the refinement's correction, in parts of `ALPHA`; 0 leaves the refinement out.
    nets : pair of 4 bytes
        Hashes of the context network and of the refinement network; None means those of `pinned`.
    shifts : int32 array (planes, 2), optional
        By how much planes were rolled along y and x.
    film : Film, optional
        How time points are predicted from others.
    version : int
        Of the bitstream.
    filters : tuple of Filter
        Of every coded channel; empty where no channel is filtered.
    prior : Prior, optional
        The codec that made the values; the part then has no coefficients.
    """

    channels: Channels
    transform: str = NAMES[0]
    times: int = 0
    step: int = 0
    alpha: int = 0
    nets: tuple[bytes, bytes] | None = None
    shifts: Shifts | None = None
    along_time: bool = False
    film: Film | None = None
    version: int = LATEST
    filters: tuple[Filter, ...] = ()
    prior: Prior | None = None

    def pack(self, layout: Layout) -> bytes:
        """The head as bytes."""
        known, kind = self.channels, layout.dtype.newbyteorder("<")
        constant, flags, free = ~known.coded, 0, b""
        parts: list[bytes] = []
        if constant.any():
            flags |= CONSTANT
            parts.append(np.packbits(constant).tobytes())
        if not constant.all():
            named = self.transform in NAMES
            flags |= NAMES.index(self.transform) if named else FREE
            free = b"" if named else packed(self.transform)
            parts.append(self.step.to_bytes(2, "little") + bytes([self.alpha]))
        parts += [known.low.astype(kind).tobytes(), known.high[known.coded].astype(kind).tobytes()]
        if known.gains.any():
            flags |= GAINS
            parts.append(known.gains.astype("<i2").tobytes())
        parts.append(known.darks.astype("<i2").tobytes())
        if known.rotation is not None:
            flags |= ROTATED
            parts.append(packed_rotation(known.rotation, int(known.coded.sum())))
        more = b"" if constant.all() else self._more()
        if more:
            flags |= MORE
        return bytes([flags]) + b"".join(parts) + more + free + self._last(not constant.all())

    def _last(self, coded: bool) -> bytes:
        """The end of the head of a part with coded channels: a byte of flags, the filters, the codec."""
        if not coded or self.version < FILTERED:
            return b""
        flags = (FILTERS if self.filters else 0) | (PRIOR if self.prior is not None else 0)
        codec = b"" if self.prior is None else bytes([PRIORS.index(self.prior.name), self.prior.version])
        return bytes([flags]) + b"".join(one.pack() for one in self.filters) + codec

    def _more(self) -> bytes:
        """What only few parts have, after a byte of its own flags; empty where this part has none of it."""
        flags = self.times << _TIMES_SHIFT | (ALONG_TIME if self.along_time else 0)
        parts: list[bytes] = []
        if self.film is not None:
            flags |= _FILM
            parts.append(packed_film(self.film))
        if self.nets is not None and self.nets != pinned(self.version):
            flags |= NETS
            parts.extend(self.nets)
        if self.shifts is not None:
            flags |= SHIFTED
            parts.append(_packed_lists([np.diff(self.shifts[:, axis], prepend=0).tolist() for axis in range(2)]))
        return bytes([flags]) + b"".join(parts) if flags else b""

    @classmethod
    def unpack(cls, data: bytes, layout: Layout, version: int) -> tuple[Head, bytes]:
        """The head of a part written in a bitstream version, 1 to 5, and what follows it.

        Raises
        ------
        FormatError
            If the bytes are no head of such a part.
        """
        if layout.channels * layout.dtype.itemsize > len(data):  # Before anything is allocated for so many channels.
            raise FormatError("a part ends before the minima of its channels.")
        fields = ByteReader(data, "its head")
        flags = fields.next(1)[0]
        constant = _read_constant(fields, layout.channels) if flags & CONSTANT else np.zeros(layout.channels, bool)
        if constant.all() and flags != CONSTANT:
            raise FormatError("a part of constant channels only holds more than that.")
        step, alpha = (0, 0) if constant.all() else (int.from_bytes(fields.next(2), "little"), fields.next(1)[0])
        channels = _read_channels(fields, flags, constant, layout)
        head = cls(channels, "", 0, step, alpha, version=version)
        if flags & MORE:
            head = _with_more(head, fields, layout)
        code = flags & _TRANSFORM_MASK
        if code >= len(NAMES) and code != FREE:
            raise FormatError("a part is transformed in a way that this version does not know.")
        head = replace(head, transform=unpacked(fields) if code == FREE else NAMES[code])
        many = channels.rotation is not None and len(channels.darks) > rotation.WHOLE
        first = code == FREE or many or head.along_time or head.times > _FIRST_VERSION_TIMES
        if (version < _FILM_VERSION and head.film is not None) or (version == 1 and first):
            raise FormatError("a part holds what its bitstream version does not have.")
        if version >= FILTERED and not constant.all():
            head = _with_last(head, fields, layout)
        return head, fields.rest()

    @property
    def networks(self) -> tuple[bytes, bytes]:
        """Hashes of the context network and of the refinement network."""
        return self.nets or pinned(self.version)

    def groups(self, layout: Layout) -> Groups:
        """How the coefficients are grouped.

        Raises
        ------
        FormatError
            If a part of this layout cannot be grouped so.
        """
        coded = int(self.channels.coded.sum())
        groups = Groups(coded, extents_of(layout), self.transform, self.times, self.shifts, self.along_time, self.film)
        groups.check()
        return groups


def _with_last(head: Head, fields: ByteReader, layout: Layout) -> Head:
    """A head with what `Head._last` gave: filters of all coded channels, the codec."""
    flags = fields.next(1)[0]
    if flags & ~(FILTERS | PRIOR):
        raise FormatError("a part has flags that this version does not know.")
    filters = tuple(Filter.unpack(fields, extents_of(layout)) for _ in head.channels.darks) if flags & FILTERS else ()
    if not flags & PRIOR:
        return replace(head, filters=filters)
    number, version = fields.next(2)
    if number >= len(PRIORS) or not version or head.film is not None or head.shifts is not None or head.along_time:
        raise FormatError("a part was made by a codec in a way that this version does not know.")
    return replace(head, filters=filters, prior=Prior(PRIORS[number], version))


def _read_constant(fields: ByteReader, n: int) -> npt.NDArray[np.bool_]:
    """Which of n channels are constant."""
    bits = np.unpackbits(np.frombuffer(fields.next(-(-n // 8)), np.uint8)).astype(bool)
    constant = bits[:n]
    if bits[n:].any() or not constant.any():
        raise FormatError("a part names constant channels that it does not have.")
    return constant


def _read_channels(fields: ByteReader, flags: int, constant: npt.NDArray[np.bool_], layout: Layout) -> Channels:
    """Extremes, gains, dark levels, rotation."""
    kind, coded = layout.dtype.newbyteorder("<"), int((~constant).sum())
    # Converting what is no number, and the difference of infinities, warn; both are refused here.
    with np.errstate(over="ignore", invalid="ignore"):
        low = np.frombuffer(fields.next(layout.channels * kind.itemsize), kind).astype(np.float64)
        high = low.copy()
        high[~constant] = np.frombuffer(fields.next(coded * kind.itemsize), kind).astype(np.float64)
        if not (np.isfinite(high - low).all() and np.isfinite(low).all() and (high[~constant] > low[~constant]).all()):
            raise FormatError("the grey levels of a part are not a range.")
    gains = np.zeros(coded, np.int16)
    if flags & GAINS:
        gains = np.frombuffer(fields.next(2 * coded), "<i2").astype(np.int16)
    darks = np.frombuffer(fields.next(2 * coded), "<i2").astype(np.int16)
    return Channels(low, high, gains, darks, _read_rotation(fields, coded) if flags & ROTATED else None)


def _read_rotation(fields: ByteReader, channels: int) -> Rotation:
    """The rotation of so many channels."""
    if not 2 <= channels <= rotation.MOST_ROTATED:
        raise FormatError("a part rotates channels that it does not have.")
    if channels <= rotation.WHOLE:
        angles = np.frombuffer(fields.next(rotation.count(channels)), np.int8).astype(np.int16)
        found = Rotation(angles, fields.next(1)[0])
    else:
        leading, precision = fields.next(2)
        if leading >= channels or not rotation.PRECISION <= precision <= rotation.FINEST:
            raise FormatError("a part rotates channels that it does not have.")
        pairs = None if leading else _read_pairs(fields, channels)
        (angles,) = _read_lists(fields, 1, rotation.count(channels, leading) if pairs is None else len(pairs))
        if (angles < -(1 << precision)).any() or (angles >= 1 << precision).any():
            raise FormatError("a part rotates channels by more than a right angle.")
        signs = int.from_bytes(fields.next(-(-channels // 8)), "little")
        found = Rotation(angles.astype(np.int16), signs, leading or None, precision, pairs)
    if found.signs >> channels:
        raise FormatError("a part turns over channels that it does not have.")
    return found


def _read_pairs(fields: ByteReader, channels: int) -> tuple[tuple[int, int], ...]:
    """The planes of a rotation that names them."""
    n = int.from_bytes(fields.next(2), "little")
    pairs = _read_lists(fields, 2, n)
    if not 1 <= n < channels or not ((pairs >= 0) & (pairs < channels)).all() or (pairs[0] >= pairs[1]).any():
        raise FormatError("a part rotates channels that it does not have.")
    return tuple((int(i), int(j)) for i, j in pairs.T)


def packed_rotation(found: Rotation, channels: int) -> bytes:
    """The rotation of so many channels as bytes: an angle a byte for few; for many the number of leading axes, or 0 and the
    planes, and the angles as Rice codes.
    """
    if channels <= rotation.WHOLE:
        return found.angles.astype(np.int8).tobytes() + bytes([found.signs])
    signs = found.signs.to_bytes(-(-channels // 8), "little")
    planes = b""
    if found.pairs is not None:
        planes = len(found.pairs).to_bytes(2, "little") + _packed_lists([[p[k] for p in found.pairs] for k in range(2)])
    return bytes([found.leading or 0, found.precision]) + planes + _packed_lists([found.angles.tolist()]) + signs


def _packed_lists(lists: Sequence[Sequence[int]]) -> bytes:
    """Lists of whole numbers in Rice codes, with the number of bytes before them."""
    bits = BitWriter()
    for values in lists:
        bits.rice(values)
    coded = bits.finish()
    return len(coded).to_bytes(3, "little") + coded


def _read_lists(fields: ByteReader, lists: int, count: int) -> npt.NDArray[np.int64]:
    """The inverse of `_packed_lists`, for so many lists of ``count`` numbers: int64 of shape (lists, count)."""
    data = fields.next(int.from_bytes(fields.next(3), "little"))
    if lists * count > 8 * len(data):
        raise FormatError("a part ends inside its numbers.")
    bits = BitReader(data)
    found = [bits.rice(count) for _ in range(lists)]
    bits.finish()
    return np.asarray(found, np.int64).reshape(lists, count)


def _with_more(head: Head, fields: ByteReader, layout: Layout) -> Head:
    """A head with what `Head._more` gave: how T is split, networks, shifts."""
    flags = fields.next(1)[0]
    if not flags:
        raise FormatError("a part has flags that this version does not know.")
    times, along_time, film = flags >> _TIMES_SHIFT & _TIMES_MASK, bool(flags & ALONG_TIME), None
    if times and along_time:
        if flags & ~(NETS | SHIFTED) != _FILM:
            raise FormatError("a part is a film of a kind that this version does not know.")
        film, times, along_time = read_film(fields.next(_FILM_BYTES), extents_of(layout)[0]), 0, False
    nets = (fields.next(4), fields.next(4)) if flags & NETS else None
    head = replace(head, times=times, along_time=along_time, nets=nets, film=film)
    if not flags & SHIFTED:
        return head
    t, z, y, x = extents_of(layout)
    shifts = np.cumsum(_read_lists(fields, 2, t if t > 1 else z), axis=1).T
    if (np.abs(shifts) > _LARGEST_SHIFT).any():
        raise FormatError("a part rolls planes beyond all bounds.")
    # Rolling by whole extents changes nothing.
    return replace(head, shifts=np.fmod(shifts, (y, x)).astype(np.int32))


_FILM_BYTES = 3
_SMALLEST_BLOCK = 8


def packed_film(film: Film) -> bytes:
    """How a film is predicted: octaves of group and block, offset, length of a segment."""
    octaves = (film.group.bit_length() - 1) << 4 | (film.block // _SMALLEST_BLOCK).bit_length() - 1
    return bytes([octaves, film.offset, film.segment - 1])


def read_film(data: bytes, length: int) -> Film:
    """The inverse of `packed_film`, for so many time points.

    Raises
    ------
    FormatError
        Where a number is beyond its bounds.
    """
    octaves, offset, segment = data
    film = Film(length, segment + 1, 1 << (octaves >> 4), _SMALLEST_BLOCK << (octaves & 15), offset)
    if film.segment > LONGEST_SEGMENT or film.group > LARGEST_GROUP or film.block > LARGEST_BLOCK or offset > LARGEST_OFFSET:
        raise FormatError("a part predicts its time points in a way that this version does not know.")
    return film

"""The bytes before a part's coefficients: everything the decoder must know, and nothing twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microfield.coding.bits import BitReader, BitWriter
from microfield.errors import FormatError
from microfield.image import Layout
from microfield.methods.field import rotation
from microfield.methods.field.align import Shifts
from microfield.methods.field.channels import Channels, power_of_two
from microfield.methods.field.groups import Groups, extents_of
from microfield.methods.field.rotation import Rotation
from microfield.methods.field.schedules import NAMES, OCTAVES

CONSTANT, GAINS, ROTATED, MORE = 0x10, 0x20, 0x40, 0x80
"""Flags of the first byte, the last for another byte of flags; below them the transform (4 bits)."""
NETS, SHIFTED = 1, 2
"""Flags of the second byte; above them how often T is split (2 bits)."""
STEPS = 65535
PINNED = (bytes.fromhex("809bb9f1"), bytes.fromhex("f20a4af3"))
"""Networks that a file of bitstream version 1 need not name: contexts, refinement. They belong to the bitstream and stay."""
ALPHA = 128
"""The share of the refinement that is added is stored in such parts."""


def step_of(code: int) -> float:
    """The quantiser step of a code 0..65535: 2 down to 2**-16."""
    return float(power_of_two(1 - code * OCTAVES / STEPS))


@dataclass(frozen=True)
class Head:
    """What precedes the coefficients of a part.

    Attributes
    ----------
    channels : Channels
    transform : int
        Index into `schedules.NAMES`.
    times : int
        How often T is split, 0 to 3.
    step : int
        Code of the quantiser step.
    alpha : int
        How much of the refinement is added, in parts of `ALPHA`; 0 leaves it out.
    nets : pair of 4 bytes
        Hashes of the context network and of the refinement network; None means `PINNED`.
    shifts : int32 array (planes, 2), optional
        How planes were rolled.
    """

    channels: Channels
    transform: int = 0
    times: int = 0
    step: int = 0
    alpha: int = 0
    nets: tuple[bytes, bytes] | None = None
    shifts: Shifts | None = None

    def pack(self, layout: Layout) -> bytes:
        """The head as bytes."""
        known, kind = self.channels, layout.dtype.newbyteorder("<")
        constant, flags = ~known.coded, 0
        parts: list[bytes] = []
        if constant.any():
            flags |= CONSTANT
            parts.append(np.packbits(constant).tobytes())
        if not constant.all():
            flags |= self.transform
            parts.append(self.step.to_bytes(2, "little") + bytes([self.alpha]))
        parts += [known.low.astype(kind).tobytes(), known.high[known.coded].astype(kind).tobytes()]
        if known.gains.any():
            flags |= GAINS
            parts.append(known.gains.astype("<i2").tobytes())
        parts.append(known.darks.astype("<i2").tobytes())
        if known.rotation is not None:
            flags |= ROTATED
            parts.append(known.rotation.angles.tobytes() + bytes([known.rotation.signs]))
        more = b"" if constant.all() else self._more()
        if more:
            flags |= MORE
        return bytes([flags]) + b"".join(parts) + more

    def _more(self) -> bytes:
        """What few parts have, behind its own flags."""
        flags = self.times << 2
        parts: list[bytes] = []
        if self.nets is not None and self.nets != PINNED:
            flags |= NETS
            parts.extend(self.nets)
        if self.shifts is not None:
            flags |= SHIFTED
            bits = BitWriter()
            for axis in range(2):
                bits.rice(np.diff(self.shifts[:, axis], prepend=0).tolist())
            coded = bits.finish()
            parts.append(len(coded).to_bytes(3, "little") + coded)
        return bytes([flags]) + b"".join(parts) if flags else b""

    @classmethod
    def unpack(cls, data: bytes, layout: Layout) -> tuple[Head, bytes]:
        """The head and what follows it.

        Raises
        ------
        FormatError
            The bytes are no head of such a part.
        """
        take = _Taker(data)
        flags = take.next(1)[0]
        n, kind = layout.channels, layout.dtype.newbyteorder("<")
        constant = np.zeros(n, bool)
        if flags & CONSTANT:
            bits = np.unpackbits(np.frombuffer(take.next(-(-n // 8)), np.uint8)).astype(bool)
            constant = bits[:n]
            if bits[n:].any() or not constant.any():
                raise FormatError("a part names constant channels that it does not have.")
        if constant.all() and flags != CONSTANT:
            raise FormatError("a part of constant channels only holds more than that.")
        step, alpha = (0, 0) if constant.all() else (int.from_bytes(take.next(2), "little"), take.next(1)[0])
        coded = int((~constant).sum())
        # What is no number, or the difference of infinities, is refused below.
        with np.errstate(over="ignore", invalid="ignore"):
            low = np.frombuffer(take.next(n * kind.itemsize), kind).astype(np.float64)
            high = low.copy()
            high[~constant] = np.frombuffer(take.next(coded * kind.itemsize), kind).astype(np.float64)
            if not (np.isfinite(high - low).all() and np.isfinite(low).all() and (high[~constant] > low[~constant]).all()):
                raise FormatError("the grey levels of a part are not a range.")
        gains = np.zeros(coded, np.int16)
        if flags & GAINS:
            gains = np.frombuffer(take.next(2 * coded), "<i2").astype(np.int16)
        darks = np.frombuffer(take.next(2 * coded), "<i2").astype(np.int16)
        turned = None
        if flags & ROTATED:
            if not 2 <= coded <= rotation.MOST:
                raise FormatError("a part rotates channels that it does not have.")
            angles = np.frombuffer(take.next(rotation.count(coded)), np.int8)
            turned = Rotation(angles, take.next(1)[0])
            if turned.signs >> coded:
                raise FormatError("a part turns over channels that it does not have.")
        times, nets, shifts = _read_more(take, layout) if flags & MORE else (0, None, None)
        if flags & 15 >= len(NAMES):
            raise FormatError("a part is transformed in a way that this version does not know.")
        known = Channels(low, high, gains, darks, turned)
        return cls(known, flags & 15, times, step, alpha, nets, shifts), take.rest()

    def groups(self, layout: Layout) -> Groups:
        """How the coefficients are grouped; FormatError where such a part cannot be."""
        return Groups.checked(int(self.channels.coded.sum()), layout, NAMES[self.transform], self.times, self.shifts)


def _read_more(take: _Taker, layout: Layout) -> tuple[int, tuple[bytes, bytes] | None, Shifts | None]:
    """How often T is split, networks, shifts."""
    flags = take.next(1)[0]
    times = flags >> 2
    if not flags or times > 3:
        raise FormatError("a part has flags that this version does not know.")
    nets = (take.next(4), take.next(4)) if flags & NETS else None
    if not flags & SHIFTED:
        return times, nets, None
    t, z, y, x = extents_of(layout)
    n = t if t > 1 else z
    bits = BitReader(take.next(int.from_bytes(take.next(3), "little")))
    shifts = np.cumsum([bits.rice(n) for _ in range(2)], axis=1).T
    bits.finish()
    if (np.abs(shifts) > 1 << 24).any():
        raise FormatError("a part rolls planes beyond all bounds.")
    # Rolling by whole extents changes nothing.
    return times, nets, np.fmod(shifts, (y, x)).astype(np.int32)


def with_alpha(section: bytes, alpha: int, layout: Layout) -> bytes:
    """The same part (one that is not constant) with another alpha."""
    at = 3 + (-(-layout.channels // 8) if section[0] & CONSTANT else 0)
    return section[:at] + bytes([alpha]) + section[at + 1 :]


class _Taker:
    """Takes bytes from the front and refuses to run out."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def next(self, n: int) -> bytes:
        if self.at + n > len(self.data):
            raise FormatError("a part ends within its head.")
        self.at += n
        return self.data[self.at - n : self.at]

    def rest(self) -> bytes:
        return self.data[self.at :]

"""How a file was made: the quality that was measured when it was written, what was asked for, and the settings."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from microfield.coding import varint
from microfield.errors import FormatError

BUDGETS = ("ratio", "bits_per_voxel", "max_bytes", "psnr", "noise_factor", "least_psnr", "lossless", "safe_for")
"""What can be asked for; a file holds the place in this list, from 1 on, and 0 for anything else."""

WITHOUT_VALUE = ("", "lossless", "safe_for")
"""Budgets that no number belongs to; what a file was made safe for is in the header's field `evidence`."""

_UNKNOWN, _EXACT = 0, 65535
_STEPS = 100
"""PSNR is stored in this fraction of a dB, and so are the numbers of budgets that are whole in it."""
_VARINTS = 1 << 49
"""Larger numbers would take as many bytes as a float and could not be told from one."""


@dataclass(frozen=True)
class Making:
    """How a file was made.

    Attributes
    ----------
    psnr : float, optional
        Overall PSNR in dB as measured when the file was written, to 0.01 dB; infinite for an exact copy, None where unknown.
    budget : str
        What was asked for, one of `BUDGETS`; empty where unknown.
    value : float
        The number that belongs to it, such as the ratio; 0 where none does.
    effort : int, 0 to 9
    settings : mapping of str to value
        Settings that differ from their defaults, apart from method, effort and tile: text, numbers, booleans, and lists and
        mappings of them. An array or a function is there as ``True``.
    """

    psnr: float | None = None
    budget: str = ""
    value: float = 0.0
    effort: int = 5
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def quality(self) -> str:
        """The quality in words, such as ``PSNR 41.20 dB as measured when written``; empty where unknown."""
        if self.psnr is None:
            return ""
        return "exact copy" if math.isinf(self.psnr) else f"PSNR {self.psnr:.2f} dB as measured when written"

    @property
    def asked(self) -> str:
        """What was asked for in words, such as ``ratio 128, effort 5, seed 3``."""
        others = [f"{name.replace('_', ' ')} {_in_words(value)}" for name, value in self.settings.items()]
        if self.budget == "safe_for":
            return ", ".join(["safe for an analysis", f"effort {self.effort}", *others])
        number = "" if self.budget in WITHOUT_VALUE else f" {self.value:.12g}"
        return ", ".join(filter(None, [f"{self.budget.replace('_', ' ')}{number}", f"effort {self.effort}", *others]))


def _in_words(value: Any) -> str:
    """A setting as a person would write it."""
    if isinstance(value, Mapping):
        return " ".join(f"{k}={_in_words(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(_in_words, value))
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def pack_making(making: Making) -> bytes:
    """Field `making`; its length does not depend on the PSNR, which is known only when the parts are there."""
    code = BUDGETS.index(making.budget) + 1 if making.budget in BUDGETS else 0
    head = struct.pack("<HB", _psnr_code(making.psnr), code | making.effort << 4)
    if not code or making.budget in WITHOUT_VALUE:
        return head
    scaled = making.value * _STEPS
    whole = 0 <= scaled < _VARINTS and float(round(scaled)) / _STEPS == making.value
    return head + (varint.encode_one(round(scaled)) if whole else struct.pack("<d", making.value))


def _psnr_code(psnr: float | None) -> int:
    if psnr is None or math.isnan(psnr):
        return _UNKNOWN
    return _EXACT if psnr == math.inf else min(max(round(psnr * _STEPS), _UNKNOWN + 1), _EXACT - 1)


def unpack_making(data: bytes, settings: Mapping[str, Any]) -> Making:
    """The inverse of `pack_making`, with the settings of the other field.

    Raises
    ------
    FormatError
        The bytes are not what `pack_making` writes.
    """
    making = _unpacked(data, settings)
    if making is None or pack_making(making) != data:
        raise FormatError("The file says in a way that cannot be read how it was made: it is damaged.")
    return making


def _unpacked(data: bytes, settings: Mapping[str, Any]) -> Making | None:
    """What the bytes say; None where they are too few or too many."""
    if len(data) < 3:
        return None
    coded, code = struct.unpack_from("<HB", data)
    if code & 15 > len(BUDGETS) or code >> 4 > 9:
        raise FormatError("The file was made with a budget or an effort that is not known: update microfield to open it.")
    psnr = None if coded == _UNKNOWN else math.inf if coded == _EXACT else coded / _STEPS
    budget = BUDGETS[(code & 15) - 1] if code & 15 else ""
    value = 0.0
    if len(data) == 3 + 8:
        value = struct.unpack_from("<d", data, 3)[0]
    elif len(data) > 3:
        value = varint.decode_one(data, 3)[0] / _STEPS
    return Making(psnr, budget, value, code >> 4, dict(settings)) if math.isfinite(value) else None


def are_settings(value: Any) -> bool:
    """Whether a value of the header is a mapping as `Making.settings` describes it."""
    return type(value) is dict and bool(value) and _is_plain(value, 3)


def _is_plain(value: Any, depth: int) -> bool:
    """Whether a value is text, a number, a boolean or a collection of them, nested at most ``depth`` deep."""
    if type(value) in (str, bool):
        return True
    if type(value) in (int, float):
        return math.isfinite(value)
    if depth == 0 or type(value) not in (dict, list):
        return False
    inner = value if type(value) is list else value.values()
    return all(type(key) is str for key in (value if type(value) is dict else ())) and all(_is_plain(v, depth - 1) for v in inner)

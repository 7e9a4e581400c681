"""Metadata that instruments write into TIFF files, as text: nothing of it is understood, and none of it is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tifffile

INSTRUMENTS: tuple[Callable[[tifffile.TiffFile], Any], ...] = (
    lambda tif: tif.fei_metadata, lambda tif: tif.sem_metadata, lambda tif: tif.tvips_metadata, lambda tif: tif.sis_metadata,
    lambda tif: tif.scanimage_metadata, lambda tif: tif.metaseries_metadata, lambda tif: tif.andor_metadata,
    lambda tif: tif.fluoview_metadata, lambda tif: tif.micromanager_metadata, lambda tif: tif.philips_metadata,
)  # fmt: skip
"""What tifffile reads of FEI, Zeiss SEM, TVIPS, Olympus, ScanImage, MetaSeries, Andor, FluoView, Micro-Manager, Philips files."""

LAYOUT = {"shape", "axes", "truncate"}
"""Entries of tifffile's description that say how the array lies in the file."""


def as_text(stated: Mapping[str, Any]) -> str | None:
    """A vendor's metadata as JSON, arrays as lists; None where it cannot be."""
    try:
        return json.dumps(stated, default=lambda v: v.tolist() if isinstance(v, (np.ndarray, np.generic)) else str(v))
    except (TypeError, ValueError, RecursionError):
        return None


def instrument_text(tif: tifffile.TiffFile) -> str | None:
    """What an instrument or a person wrote beside the values of a TIFF; None where nothing is there.

    It is the instrument's own block where there is one, else the description of the first page. Of one in which tifffile wrote the
    shape of the array, it is what else stands there.
    """
    for ask in INSTRUMENTS:
        stated = ask(tif)
        if isinstance(stated, str) and stated.strip():
            return stated
        if isinstance(stated, Mapping) and stated:
            return as_text(stated)
    page = tif.pages.first
    if page.is_shaped:
        more = {key: value for key, value in (tif.shaped_metadata or ({},))[0].items() if key not in LAYOUT}
        return as_text(more) if more else None
    return str(page.description or "").strip() or None

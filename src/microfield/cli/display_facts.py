"""How an image is meant to be seen and how it was taken, as ``info`` says it: for JSON and in lines of text."""

from __future__ import annotations

from typing import Any

from microfield.acquisition import Acquisition
from microfield.display import Calibration, ChannelDisplay, Display

SHOWN_LABELS = 3
"""Plane labels that are printed; JSON has all of them."""

LABEL_LENGTH = 60
"""Characters of a label that are printed: those of medical stacks hold whole headers."""


def display_facts(display: Display) -> dict[str, Any]:
    """What is known of the display, JSON-ready; colours as ``#RRGGBB``, tables as whether there is one."""
    facts: dict[str, Any] = {}
    channels = display.channels
    if any(c.colour is not None for c in channels):
        facts["colours"] = [_hexadecimal(c) for c in channels]
    if any(c.table is not None for c in channels):
        facts["lookup_tables"] = [c.table is not None for c in channels]
    if any(c.range is not None for c in channels):
        facts["display_ranges"] = [None if c.range is None else list(c.range) for c in channels]
    if any(c.hidden for c in channels):
        facts["hidden_channels"] = [i for i, c in enumerate(channels) if c.hidden]
    if display.mode is not None:
        facts["display_mode"] = display.mode
    if display.calibration is not None:
        facts["value_calibration"] = {"coefficients": list(display.calibration.coefficients), "unit": display.calibration.unit}
    if display.plane_labels:
        facts["plane_labels"] = list(display.plane_labels)
    return facts


def display_lines(display: Display) -> dict[str, str]:
    """The same for people, one line a fact."""
    lines = {key: str(value) for key, value in display_facts(display).items()}
    channels, labels = display.channels, [f"{t[:LABEL_LENGTH]}..." if len(t) > LABEL_LENGTH else t for t in display.plane_labels]
    said = {
        "colours": ", ".join(f"{_hexadecimal(c) or 'none'}{' (lookup table)' if c.table is not None else ''}" for c in channels),
        "display_ranges": ", ".join("none" if c.range is None else f"{c.range[0]:g} to {c.range[1]:g}" for c in channels),
        "hidden_channels": ", ".join(str(i) for i, c in enumerate(channels) if c.hidden),
        "value_calibration": "" if display.calibration is None else _formula(display.calibration),
        "plane_labels": f"{len(labels)}: {', '.join(labels[:SHOWN_LABELS])}{', ...' if len(labels) > SHOWN_LABELS else ''}",
    }
    lines.pop("lookup_tables", None)
    return {key: said.get(key, value).replace("\n", " ") for key, value in lines.items()}


def acquisition_lines(acquisition: Acquisition) -> dict[str, str]:
    """How an image was taken, for people, one line a fact."""
    lines = {"acquired": acquisition.date or "", "objective": acquisition.lens,
             "stage_position": ", ".join(f"{axis} {v:g} micrometer" for axis, v in acquisition.position.items())}
    return {key: line.replace("\n", " ") for key, line in lines.items() if line}


def _hexadecimal(channel: ChannelDisplay) -> str | None:
    return None if channel.colour is None else "#" + bytes(channel.colour).hex().upper()


def _formula(calibration: Calibration) -> str:
    """A calibration such as ``-1024 + 1 g (Hounsfield), g the grey level``."""
    terms = [f"{c:g}{'' if i == 0 else ' g' if i == 1 else f' g^{i}'}" for i, c in enumerate(calibration.coefficients)]
    return f"{' + '.join(terms)}{f' {calibration.unit}' if calibration.unit else ''}, g the grey level"

"""siren: a sine network of fixed frequency (Sitzmann et al. 2020), quantised and entropy coded."""

from __future__ import annotations

from microfield.methods.coordinate.method import CoordinateMethod


class Siren(CoordinateMethod):
    """Sine network with a fixed frequency."""

    name = "siren"
    summary = "sine coordinate network of fixed frequency"
    learn_frequency = False
    published_frequency = 30.0

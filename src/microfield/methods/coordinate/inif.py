"""inif: a sine network whose frequency is learned (Dai et al. 2024), quantised and entropy coded."""

from __future__ import annotations

from microfield.methods.coordinate.method import CoordinateMethod


class Inif(CoordinateMethod):
    """Sine network with a learned frequency."""

    name = "inif"
    summary = "sine coordinate network with a learned frequency (implicit neural image field)"
    bitstream_version = 2  # Since which there are pyramids of latent grids.
    pyramids = True
    learn_frequency = True
    published_frequency = 90.0

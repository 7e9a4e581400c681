"""What the options of `hybrid` come to, for the two ways of encoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from microfield.methods.base import Method
from microfield.methods.field.refine import Refinement
from microfield.methods.hybrid.criteria import Criterion
from microfield.methods.hybrid.decoder import network_of


@dataclass(frozen=True)
class Recipe:
    """Settings of an encode.

    Attributes
    ----------
    prior : Method
        It codes the image first; its quality is a knob.
    residual : str
        ``"filter"``, or the method of the network.
    share : float
        Part of the bytes that the prior takes beside a network; 0 tries several.
    criterion : Criterion
        By which units keep the corrected result.
    units : str
        ``"auto"``, or one of `units.NAMES`.
    network : bytes
        Hash of the refinement network; empty for the one that needs no name.
    """

    prior: Method
    residual: str
    share: float
    criterion: Criterion
    units: str
    network: bytes

    @property
    def source(self) -> Callable[[], Refinement]:
        """Gives the refinement network."""
        return partial(network_of, self.network)

    @property
    def refines(self) -> bool:
        """Whether the refinement network is worth a look: not where the prior has a refinement of its own."""
        return self.prior.name != "field"

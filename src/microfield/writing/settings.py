"""How to compress, apart from the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError, UsageError
from microfield.image import Image
from microfield.objective import Guidance, Objective
from microfield.wording import argument

DEFAULT_METHOD = "field"

_IN_MEMORY = ("saliency", "guidance", "guidance_arrays", "optimiser")
"""Settings that are arrays or functions, which a plan on disk cannot hold."""


@dataclass(frozen=True)
class Settings:
    """How to compress, apart from the budget.

    Attributes
    ----------
    method : str
        Name of a registered method, or ``"auto"`` to have one chosen (see `microfield.writing.auto`).
    options : mapping
        Options of the method (text or Python values).
    effort : int, 0 to 9
        How much work; what a step means is the method's own.
    time_limit : float, optional
        Seconds the fit may take.
    seed : int
        Of everything that is drawn at random.
    tile : mapping, optional
        Axis letter to extent: cuts the image into a regular grid of parts.
    channel_weights : sequence of float, optional
        Relative importance of every channel's error.
    nan_fill : float, optional
        Value that replaces NaN and infinity; without it they are refused.
    not_labels : bool
        Compress even what looks like object labels.
    keep_metadata : bool
        Keep vendor metadata whatever it costs.
    saliency : array or Image, optional
        What matters most. Booleans: True voxels weigh ``saliency_weight`` times as much as the others. Numbers: the relative
        weight of every voxel's squared error, not negative. Of the image's shape; an Image may lack axes that the image has
        (one mask for all channels or times).
    saliency_weight : float, above 0
        Weight of what a boolean saliency marks.
    guidance : `microfield.objective.Guidance`, optional
        A differentiable function of blocks, added to the squared error.
    guidance_arrays : mapping of name to array of the image's shape
        What the guidance sees beside the image.
    optimiser : callable () -> `microfield.nn.optimisers.Optimiser`, optional
        Replaces the method's own optimiser.
    """

    method: str = DEFAULT_METHOD
    options: Mapping[str, Any] | None = None
    effort: int = 5
    time_limit: float | None = None
    seed: int = 0
    tile: Mapping[str, int] | None = None
    channel_weights: tuple[float, ...] | None = None
    nan_fill: float | None = None
    not_labels: bool = False
    keep_metadata: bool = False
    saliency: npt.NDArray[Any] | Image | None = None
    saliency_weight: float = 4.0
    guidance: Guidance | None = None
    guidance_arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    optimiser: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.effort <= 9:
            raise UsageError(f"{argument('effort', self.effort)} must be 0 to 9.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UsageError(f"{argument('time_limit', self.time_limit)} must be a positive number of seconds.")
        if not 0 < self.saliency_weight < float("inf"):
            raise UsageError(f"{argument('saliency_weight', self.saliency_weight)} must be a positive number.")

    def objective(self, image: Image) -> Objective:
        """What an encode of this image minimises.

        Raises
        ------
        InputError
            The saliency or an array does not fit the image, or the weights are not numbers from 0 on with one above 0.
        """
        weights = None
        if self.saliency is not None:
            weights = _weights(self.saliency, image, self.saliency_weight)
        found = Objective(weights, self.guidance_arrays, self.guidance)
        found.check(image.shape)
        return found

    def used(self) -> frozenset[str]:
        """Those of `Method.accepts` that these settings ask for."""
        return frozenset(name for name in ("channel_weights", "saliency", "guidance", "optimiser")
                         if getattr(self, name) is not None)

    def to_dict(self) -> dict[str, Any]:
        """The settings that differ from their defaults, JSON-ready; `from_dict` gives them back.

        Raises
        ------
        InputError
            A setting is an array or a function.
        """
        if held := [name for name in _IN_MEMORY if getattr(self, name) is not None and name != "guidance_arrays"]:
            raise InputError(f"settings with {' and '.join(held)} hold what JSON cannot; give them again where they are used.")
        default = asdict(Settings())
        return {k: v for k, v in asdict(self).items() if v != default[k]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """The inverse of `to_dict`.

        Raises
        ------
        UsageError
            A setting is unknown.
        """
        known = {f.name for f in fields(cls)} - set(_IN_MEMORY)
        if unknown := sorted(set(values) - known):
            raise UsageError(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}.")
        found = dict(values)
        if found.get("channel_weights") is not None:
            found["channel_weights"] = tuple(found["channel_weights"])
        return cls(**found)


def _weights(saliency: npt.NDArray[Any] | Image, image: Image, inside: float) -> npt.NDArray[np.float32]:
    """A saliency as weights of the image's shape."""
    values = saliency.read() if isinstance(saliency, Image) else np.asarray(saliency)
    if isinstance(saliency, Image) and saliency.axes != image.axes and set(saliency.axes) <= set(image.axes):
        order = [saliency.axes.index(a) for a in image.axes if a in saliency.axes]
        own = dict(zip(saliency.axes, values.shape, strict=True))
        values = values.transpose(order).reshape([own.get(a, 1) for a in image.axes])
        if all(n in (1, m) for n, m in zip(values.shape, image.shape, strict=True)):
            values = np.broadcast_to(values, image.shape)
    if values.dtype == np.bool_:
        if not values.any():
            raise InputError("the saliency mask is empty; it must mark at least one voxel that matters.")
        return np.where(values, np.float32(inside), np.float32(1))
    if values.dtype.kind not in "iuf":
        raise InputError(f"a saliency holds booleans or numbers, not {values.dtype.name} values.")
    return values.astype(np.float32)

"""Large images: a plan whose setting is found from sampled parts, and parts that are encoded from it one by one.

A `JobPlan` is small and goes into JSON, whatever the number of parts; `encode_planned` is a function of the plan, the image and
the number of a part (and the part it builds on) alone, so that parts can be encoded in any order, by any number of machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from microfield.deadline import Deadline
from microfield.format.framing import Sections
from microfield.format.grid import Grid
from microfield.image import Image, Layout
from microfield.methods import get_method
from microfield.methods.base import Context, Encoded, Method, Parent, Part
from microfield.methods.options import options_to_dict
from microfield.objective import Objective
from microfield.writing.partition import Partition
from microfield.writing.rate_control import BlockRateControl
from microfield.writing.request import Request, encode_part, part_context, rate_curve


@dataclass(frozen=True)
class ByteShares:
    """How methods whose quality is a byte limit share a budget: every part gets its smallest size and so much a predicted bit.

    Attributes
    ----------
    theta : float
        Mean squared error, in squared units, at which the curves of the parts say how many bits they need.
    bytes_per_bit : float
    """

    theta: float
    bytes_per_bit: float


@dataclass(frozen=True)
class JobPlan:
    """All that encoding a part needs beside the image.

    Attributes
    ----------
    method : str
    options : mapping
        Those that are not at their defaults.
    effort, seed : int
    layout : Layout
        Of the whole image.
    tile : tuple of int
        Extents of a part.
    channel_range, channel_weights, noise : tuples of float
        As in `Context`; ``noise`` is None where errors are counted in ranges.
    setting : float or ByteShares
        The quality that all parts have in common.
    shared : tuple of bytes
        Sections that all parts share.
    references : mapping of int to int
        Number of a part to that of the earlier part that it may build on.
    """

    method: str
    options: Mapping[str, Any]
    effort: int
    seed: int
    layout: Layout
    tile: tuple[int, ...]
    channel_range: tuple[float, ...]
    channel_weights: tuple[float, ...]
    noise: tuple[float, ...] | None
    setting: float | ByteShares
    shared: Sections = ()
    references: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, method: Method, context: Context, grid: Grid, layout: Layout, setting: float | ByteShares,
           references: Mapping[int, int]) -> JobPlan:
        """The plan of a job whose setting is found."""
        return cls(
            method.name, options_to_dict(method.options), context.effort, context.seed, layout, grid.tile,
            tuple(context.channel_range.tolist()), tuple(context.channel_weights.tolist()),
            None if context.noise is None else tuple(context.noise.tolist()), setting, context.shared, references,
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan, JSON-ready."""
        setting = self.setting
        return {
            "method": self.method, "options": dict(self.options), "effort": self.effort, "seed": self.seed,
            "shape": list(self.layout.shape), "axes": self.layout.axes, "dtype": self.layout.dtype.name, "tile": list(self.tile),
            "channel_range": list(self.channel_range), "channel_weights": list(self.channel_weights),
            "noise": None if self.noise is None else list(self.noise),
            "setting": [setting.theta, setting.bytes_per_bit] if isinstance(setting, ByteShares) else setting,
            "shared": [s.hex() for s in self.shared], "references": [[p, r] for p, r in sorted(self.references.items())],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> JobPlan:
        """The inverse of `to_dict`."""
        noise, setting = values["noise"], values["setting"]
        return cls(
            values["method"], values["options"], values["effort"], values["seed"],
            Layout(tuple(values["shape"]), values["axes"], np.dtype(values["dtype"])), tuple(values["tile"]),
            tuple(values["channel_range"]), tuple(values["channel_weights"]), None if noise is None else tuple(noise),
            ByteShares(*setting) if isinstance(setting, list) else float(setting),
            tuple(bytes.fromhex(s) for s in values["shared"]), dict(values["references"]),
        )

    def context(self, deadline: Deadline | None = None, objective: Objective | None = None) -> Context:
        """The context of the whole image."""
        return Context(
            np.array(self.channel_range), np.array(self.channel_weights), None if self.noise is None else np.array(self.noise),
            seed=self.seed, effort=self.effort, deadline=deadline or Deadline(), objective=objective or Objective(),
            shared=self.shared, rate_control=BlockRateControl(),
        )

    def request(self, image: Image, context: Context) -> Request:
        """The parts as a request."""
        method = get_method(self.method).with_options(self.options)
        return Request(method, Partition(image, Grid(self.layout.shape, self.tile)), context, self.references)


def encode_planned(plan: JobPlan, image: Image, index: int, parent: Parent | None = None, context: Context | None = None,
                   ) -> Encoded:
    """Encode one part as a plan says, with its error.

    Parameters
    ----------
    image : Image
        The whole image, NaN already replaced.
    parent : Parent, optional
        What `JobPlan.references` names for the part.
    context : Context, optional
        From `JobPlan.context`, where a deadline, an objective or progress is wanted.
    """
    whole = context or plan.context()
    request = plan.request(image, whole)
    return encode_of(request, request.parts[index], plan.setting, parent)


def encode_of(request: Request, part: Part, setting: float | ByteShares, parent: Parent | None) -> Encoded:
    """Encode one part of a request at a setting, with its error."""
    block = part.read()
    if not isinstance(setting, ByteShares):
        # What is left to `finish` is left to it, as in a search.
        context = part_context(request.context, part, parent=parent, measure=False)
        encoded = encode_part(request.method, part, block, setting, context)
        return request.method.finish(encoded, block, part.layout, context)
    bits = rate_curve(request.method, part, request.context).bits(setting.theta)
    share = request.smallest(part) + int(bits * setting.bytes_per_bit)
    context = part_context(request.context, part, parent=parent)
    return encode_part(request.method, part, block, request.payload(share), context)

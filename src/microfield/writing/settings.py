"""How to compress, apart from the budget."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from inspect import Parameter, getdoc, signature
from typing import Any, TypedDict, TypeVar, Unpack

import numpy as np
import numpy.typing as npt

from microfield import checks
from microfield.errors import InputError, UsageError
from microfield.guidance.function import PERCEPTUAL, Guide, guidance_of
from microfield.image import Image, as_image
from microfield.io import open_image
from microfield.objective import Objective
from microfield.saliency import structure_map
from microfield.wording import argument
from microfield.writing.words import extents, numbers, seconds

DEFAULT_METHOD = "field"

AUTO_SALIENCY = "auto"
"""The saliency that is computed from the image."""

_Function = TypeVar("_Function", bound=Callable[..., Any])

_IN_MEMORY = ("saliency", "guide", "guide_arrays", "reference", "optimiser")
"""Settings that are arrays or functions, which a plan on disk cannot hold."""
_OR_TEXT = ("guide", "saliency", "reference")
"""Those of them that may also be texts, which it can hold."""


class Given(TypedDict, total=False):
    """The settings as a person writes them: what `microfield.compress` takes beside the budget (see `Settings`)."""

    method: str
    options: Mapping[str, Any] | None
    effort: int
    time_limit: float | str | None
    seed: int
    tile: Mapping[str, int] | str | None
    channel_weights: Sequence[float] | str | None
    nan_fill: float | None
    not_labels: bool
    keep_metadata: bool
    saliency: npt.NDArray[Any] | Image | str | os.PathLike[str] | None
    saliency_weight: float
    guide: Guide | None
    guide_arrays: Mapping[str, npt.NDArray[Any]]
    reference: npt.NDArray[Any] | Image | str | os.PathLike[str] | None
    optimiser: Callable[[], Any] | None


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
        Seconds the fit may take; also a text such as ``"90s"``, ``"2min"`` or ``"1h"``.
    seed : int
        Of everything that is drawn at random.
    tile : mapping, optional
        Axis letter to extent, which cuts the image into a regular grid of parts: ``{"y": 512, "x": 512}`` or ``"y=512,x=512"``.
    channel_weights : sequence of float, optional
        Relative importance of every channel's error, such as ``(1, 1, 4)`` or ``"1,1,4"``.
    nan_fill : float, optional
        Value that replaces NaN and infinity; without it they are refused.
    not_labels : bool
        Compress even what looks like object labels.
    keep_metadata : bool
        Keep vendor metadata, colours, ranges and labels whatever they cost.
    saliency : array or Image, optional
        What matters most. Booleans: True voxels weigh ``saliency_weight`` times as much as the others. Numbers: the relative
        weight of every voxel's squared error, not negative. Of the image's shape; an Image may lack axes that the image has
        (one mask for all channels or times). `microfield.compress` takes the path of an image, too, whose voxels are marked where
        they are not 0, or weighed by its values where it holds floats. ``"auto"``: the structure that the image shows above its
        noise, from weight 1 where there is none to ``saliency_weight`` where there is most.
    saliency_weight : float, above 0
        Weight of what a boolean saliency marks, or of the most structure.
    guide : str, callable or `microfield.objective.Guidance`, optional
        What is kept beside grey levels. ``"filament"``, ``"spots"``, ``"nuclei"``: the segmentation of lines and membranes,
        puncta, or separate bright objects. ``"perceptual"``: the look of a clean ``reference``; the copy is denoised.
        ``"MODULE:FUNC"`` or a function of two blocks, the original's and the copy's, planes
        (y, x) or volumes (z, y, x) of one channel and time in grey levels: a number, the smaller the better, differentiable by jax.
    guide_arrays : mapping of name to array of the image's shape
        What a `Guidance` sees beside the image.
    reference : path, array or Image, optional
        For ``guide="perceptual"``: a clean image of *other* fields of such a specimen, with as many channels, in planes or volumes
        as the image. Its grey levels may differ by gain and offset.
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
    saliency: npt.NDArray[Any] | Image | str | None = None
    saliency_weight: float = 4.0
    guide: Guide | None = None
    guide_arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    reference: npt.NDArray[Any] | Image | str | None = None
    optimiser: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        for name, whole in _NUMBERS.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, checks.number(name, value, whole=whole))
        for name in ("not_labels", "keep_metadata"):
            checks.switch(name, getattr(self, name))
        if not isinstance(self.method, str):
            raise checks.wrong("method", self.method, "the name of a method, such as 'field'")
        if self.channel_weights is not None:
            weights = tuple(checks.number("channel_weights", w) for w in self.channel_weights)
            object.__setattr__(self, "channel_weights", weights)
        if self.tile is not None:
            cut = checks.mapping("tile", self.tile, "{'y': 512, 'x': 512}")
            object.__setattr__(self, "tile", {axis: checks.number("tile", n, whole=True) for axis, n in cut.items()})
        if self.options is not None:
            checks.mapping("options", self.options, "{'refine': False}")
        checks.mapping("guide_arrays", self.guide_arrays, "{'edges': array}")
        if isinstance(self.reference, os.PathLike):
            object.__setattr__(self, "reference", os.fspath(self.reference))
        if not 0 <= self.effort <= 9:
            raise UsageError(f"{argument('effort', self.effort)} must be 0 to 9.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UsageError(f"{argument('time_limit', self.time_limit)} must be a positive number of seconds.")
        if isinstance(self.saliency, str) and self.saliency != AUTO_SALIENCY:
            raise checks.wrong("saliency", self.saliency, "an array or an image of weights, or 'auto'")
        if not 0 < self.saliency_weight < float("inf"):
            raise UsageError(f"{argument('saliency_weight', self.saliency_weight)} must be a positive number.")

    @classmethod
    def of(cls, **given: Unpack[Given]) -> Settings:
        """Settings from what a person writes: values as the attributes take them, or texts as on the command line.

        ``Settings.of(time_limit="2min", tile="y=512,x=512", channel_weights="1,1,4")``

        Raises
        ------
        UsageError
            There is no such setting, or a text cannot be read.
        """
        known = [f.name for f in fields(cls)]
        for name in given:
            if name not in known:
                close = get_close_matches(name, known, 1)
                hint = f"did you mean {argument(close[0])}?" if close else f"the settings are {', '.join(known)}."
                raise UsageError(f"there is no setting {argument(name)}; {hint}")
        values: dict[str, Any] = dict(given)
        for name, read in (("time_limit", seconds), ("tile", extents), ("channel_weights", numbers)):
            if name in values:
                values[name] = read(values[name])
        return cls(**values)

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
        if self.reference is not None and self.guide != PERCEPTUAL:
            raise UsageError(f"{argument('reference')} is of use to {argument('guide', PERCEPTUAL)} only; give both or neither.")
        reference = None if self.reference is None else _opened(self.reference, image)
        guidance = None if self.guide is None else guidance_of(self.guide, image, reference)
        found = Objective(weights, self.guide_arrays, guidance)
        found.check(image.shape)
        return found

    def used(self) -> frozenset[str]:
        """Those of `Method.accepts` that these settings ask for."""
        return frozenset(name for name in ("channel_weights", "saliency", "guide", "optimiser")
                         if getattr(self, name) is not None)

    def to_dict(self) -> dict[str, Any]:
        """The settings that differ from their defaults, JSON-ready; `from_dict` gives them back.

        Raises
        ------
        InputError
            A setting is an array or a function.
        """
        if held := [name for name in _IN_MEMORY if getattr(self, name) is not None and name != "guide_arrays"
                    and not (name in _OR_TEXT and isinstance(getattr(self, name), str))]:
            raise InputError(f"settings with {' and '.join(held)} hold what JSON cannot; give them again where they are used.")
        default = asdict(Settings())
        return {k: v for k, v in asdict(self).items() if v != default[k]}

    def record(self) -> dict[str, Any]:
        """The settings that a file keeps beside its method, effort and tile: those that differ from their defaults and that the
        values depend on. Arrays and functions are ``True``. A time limit is left out: one that is long enough changes nothing.
        """
        found: dict[str, Any] = {}
        for name in ("options", "seed", "channel_weights", "nan_fill", "saliency_weight"):
            value = getattr(self, name)
            if value != getattr(Settings, name) and value != {}:
                found[name] = _recorded(value)
        more = {"guide_arrays": bool(self.guide_arrays), "reference": self.reference is not None}
        held = self.used() - {"channel_weights"} | {name for name, given in more.items() if given}
        texts = {name: value for name, value in (("guide", self.guide), ("saliency", self.saliency)) if isinstance(value, str)}
        return found | {name: texts.get(name, True) for name in sorted(held)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """The inverse of `to_dict`.

        Raises
        ------
        UsageError
            A setting is unknown.
        """
        known = {f.name for f in fields(cls)} - set(_IN_MEMORY) | set(_OR_TEXT)
        if unknown := sorted(set(values) - known):
            raise UsageError(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}.")
        found = dict(values)
        if found.get("channel_weights") is not None:
            found["channel_weights"] = tuple(found["channel_weights"])
        return cls(**found)


def _recorded(value: Any) -> Any:
    """A setting as plain data: text, numbers, booleans, lists and mappings; of a path the name alone."""
    if isinstance(value, Mapping):
        return {str(k): _recorded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_recorded(v) for v in value]
    return value if isinstance(value, (bool, int, float)) else os.path.basename(str(value))


def show_settings(function: _Function) -> _Function:
    """Let a function with ``**settings`` show every setting in its signature and its help, with default and meaning."""
    parameters = list(signature(function).parameters.values())
    types = {name: getattr(written, "__forward_arg__", written) for name, written in Given.__annotations__.items()}
    named = [Parameter(f.name, Parameter.KEYWORD_ONLY, annotation=types[f.name],
                       default={} if f.default is MISSING else f.default) for f in fields(Settings)]
    shown = signature(function).replace(parameters=[*parameters[:-1], *named])
    function.__signature__ = shown  # type: ignore[attr-defined]
    lines = (getdoc(function) or "").split("\n")
    about = (getdoc(Settings) or "").partition("----------\n")[2].split("\n")
    at = next((i for i, line in enumerate(lines) if line.startswith("**settings")), None)
    if at is not None:
        function.__doc__ = "\n".join([*lines[:at], *about, *lines[at + 2:]])
    return function


_NUMBERS = {"effort": True, "seed": True, "time_limit": False, "saliency_weight": False, "nan_fill": False}
"""Settings that are numbers, and whether only whole ones will do."""


def _opened(reference: npt.NDArray[Any] | Image | str, image: Image) -> Image:
    """A reference, whose axes are those of the image where it has as many and does not name them."""
    if isinstance(reference, str):
        found = open_image(reference, beside=image.sizes)
        return replace(found, axes=image.axes) if found.axes_guessed and len(found.axes) == len(image.axes) else found
    if isinstance(reference, Image):
        return reference
    return as_image(reference, image.axes if np.ndim(reference) == len(image.axes) else None)


def _weights(saliency: npt.NDArray[Any] | Image | str, image: Image, inside: float) -> npt.NDArray[np.float32]:
    """A saliency as weights of the image's shape."""
    if isinstance(saliency, str):
        found = structure_map(image.read(), image.layout)
        if not found.any():
            raise InputError(f"{image.name} shows no structure above its noise to make a saliency of; mark what matters yourself "
                             f"with {argument('saliency')}, or leave it out.")
        return np.asarray(1 + (np.float32(inside) - 1) * found)
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

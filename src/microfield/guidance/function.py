"""What ``guide`` names: a recipe, a reference's look, a function of the user's, or a `Guidance`; checked before the work begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from microfield.errors import InputError, MissingExtraError, UsageError
from microfield.guidance.segmentation import Segmentation
from microfield.image import Image
from microfield.objective import Guidance, GuidedBlock
from microfield.user_functions import imported, is_named
from microfield.wording import argument, listed

RECIPES = ("filament", "spots", "nuclei")
"""Names of recipes."""
PERCEPTUAL = "perceptual"
"""Name of the guidance by a clean reference."""

Guide = str | Guidance | Callable[[Any, Any], Any]
"""A recipe's name, ``perceptual``, ``MODULE:FUNC``, a function of (original block, reconstructed block), or a guidance."""

_OFF = 0.05
"""A function is tried on a block and on the same block moved by so much of its range."""


@dataclass(frozen=True)
class FunctionOfBlocks(Guidance):
    """A function of the user's.

    Attributes
    ----------
    function : callable (original, reconstruction) -> scalar
        Of two planes (y, x) or volumes (z, y, x) of one channel and time, grey levels in float32; smaller is better. Differentiable
        by jax with respect to the second.
    """

    function: Callable[[Any, Any], Any]

    def loss(self, block: GuidedBlock) -> Any:
        """Mean of the function over the fields of the block."""
        import jax.numpy as jnp

        original, found = (block.fields(values * block.scale + block.offset) for values in (block.target, block.prediction))
        return sum((jnp.asarray(self.function(a, b)) for a, b in zip(original, found, strict=True)), jnp.float32(0)) / len(original)


def guidance_of(guide: Guide, image: Image, reference: Image | None = None) -> Guidance:
    """The guidance that an image is compressed with.

    Parameters
    ----------
    guide : str, callable or Guidance
    image : Image
    reference : Image, optional
        A clean image of other fields, for ``perceptual``.

    Raises
    ------
    UsageError
        There is no such recipe, module or function, or a reference is missing.
    InputError
        A function is not differentiable, or does not give one finite number; or the reference cannot serve.
    MissingExtraError
        jax, or what a perceptual guidance needs, is not installed.
    """
    if guide == PERCEPTUAL:
        return _perceptual(image, reference)
    if find_spec("jax") is None:
        raise MissingExtraError("a guidance", "compress")
    if isinstance(guide, str) and guide in RECIPES:
        return Segmentation(guide, _steps(image))
    if isinstance(guide, str):
        guide = _function(guide)
    if isinstance(guide, Guidance):
        return guide
    if not callable(guide):
        raise UsageError(f"{argument('guide', guide)} must be {listed((*RECIPES, PERCEPTUAL), 'or')}, MODULE:FUNC, a function of "
                         "two blocks or a Guidance.")
    found = FunctionOfBlocks(guide)
    _check(found, image)
    return found


def _perceptual(image: Image, reference: Image | None) -> Guidance:
    """The guidance by a reference."""
    if reference is None:
        raise UsageError(f"{argument('guide', PERCEPTUAL)} needs a clean image of other fields of such a specimen: give it with "
                         f"{argument('reference')}.")
    from microfield.guidance.perceptual import Perceptual
    from microfield.guidance.reference import reference_for
    from microfield.perceptual import alexnet

    alexnet.weights()
    return Perceptual(reference_for(reference, image))


def _steps(image: Image) -> tuple[float, float, float]:
    """Relative length of a voxel along z, y, x, where the image knows it along all that it has; to two digits."""
    sizes = image.voxel_size
    known = [float(sizes.get(axis, 0) or 0) for axis in "ZYX" if axis in image.axes]
    if not all(known):
        return (1.0, 1.0, 1.0)
    steps = [float(f"{size / min(known):.2g}") for size in known]
    return (*((1.0,) * (3 - len(steps))), *steps)  # type: ignore[return-value]


def _function(text: str) -> Any:
    """What ``MODULE:FUNC`` names (`microfield.user_functions.imported`)."""
    if not is_named(text):
        raise UsageError(f"{argument('guide', text)} is no recipe; the recipes are {listed(RECIPES)}, or give {PERCEPTUAL} with "
                         f"{argument('reference')}, or MODULE:FUNC.")
    return imported(text, argument("guide", text))


def _check(guidance: FunctionOfBlocks, image: Image) -> None:
    """Try a function on a block of the image, moved a little."""
    import jax

    name = getattr(guidance.function, "__name__", "the guide")
    where = tuple(slice((n - min(n, b)) // 2, (n - min(n, b)) // 2 + min(n, b)) if axis in "ZYX" else slice(0, 1)
                  for axis, n, b in zip(image.axes, image.shape, guidance.block_shape(image.axes, image.shape), strict=True))
    axes = [i for i, axis in enumerate(image.axes) if axis in "YX" or (axis == "Z" and image.shape[i] > 1)]
    block = np.asarray(image.read(where), np.float32)
    block = block.transpose([i for i in range(block.ndim) if i not in axes] + axes).reshape([block.shape[i] for i in axes])
    block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
    noise = np.random.default_rng(0).standard_normal(block.shape).astype(np.float32)
    moved = block * np.float32(0.9) + noise * np.float32(_OFF) * (np.ptp(block) or np.float32(1))
    try:
        shape = np.shape(guidance.function(block, jax.numpy.asarray(moved)))
        if shape != ():
            raise InputError(f"{name} gives an array of shape {shape} for two blocks of shape {block.shape}; it must give one "
                             "number.")
        loss, slope = jax.value_and_grad(lambda b: guidance.function(jax.numpy.asarray(block), b))(jax.numpy.asarray(moved))
    except InputError:
        raise
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError, TypeError) as error:
        raise InputError(f"{name} cannot be differentiated by jax: {str(error).splitlines()[0]} Write it with jax.numpy.") from None
    except Exception as error:
        raise InputError(f"{name} failed on two blocks of shape {block.shape}: {type(error).__name__}: {error}") from None
    if not (np.isfinite(loss) and np.isfinite(slope).all()):
        raise InputError(f"{name} gives a loss or a gradient that is NaN or infinite; it must be finite for every block.")
    if not np.any(slope):
        raise InputError(f"{name} cannot be differentiated: its gradient is zero everywhere, as that of a threshold is; replace "
                         "steps by smooth functions such as jax.nn.sigmoid.")

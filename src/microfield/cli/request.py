"""What the arguments of ``compress`` ask for: the budget, how to read the input, and the settings, as Python takes them."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from microfield.cli.arguments import key_values
from microfield.errors import InputError, UsageError

if TYPE_CHECKING:
    from microfield.cli.inputs import Input
    from microfield.image import Image

BUDGETS = ("ratio", "bits_per_voxel", "max_bytes", "psnr", "least_psnr", "noise_factor", "lossless", "safe_for")
"""Names of the arguments that say how large or how good the file is to be; exactly one is given."""


def budget_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The budgets that were given, by the names that `microfield.compress` has for them."""
    # Not `in (None, False)`, to which 0 belongs, too: a budget of 0 is one that cannot be met.
    given = {name: value for name in BUDGETS if (value := getattr(arguments, name)) is not None and value is not False}
    # The method that makes exact copies needs no budget.
    return given or ({"lossless": True} if arguments.method == "lossless" else {})


def flag(name: str) -> str:
    """An argument of `microfield.compress` as the command line spells it."""
    return "--" + name.replace("_", "-")


def input_of(source: str) -> Any:
    """The path, or for ``-`` the array in NPY format from standard input."""
    if source != "-":
        return source
    import io

    import numpy as np

    try:
        return np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise InputError("standard input must hold one array in NPY format.") from None


def reading(arguments: argparse.Namespace, image: Input) -> dict[str, Any]:
    """How to read an input, as arguments of `microfield.open_image`."""
    return {"axes": axes_of(arguments), "scene": image.scene, "channel": arguments.channel, "stack": image.stack}


def axes_of(arguments: argparse.Namespace) -> str | None:
    """What the user says that the axes of the input are."""
    return arguments.axes and str(arguments.axes).upper()


def saliency_file(arguments: argparse.Namespace) -> str | None:
    """The file that says what matters most; None where there is none, or what matters is to be computed from the image."""
    from microfield.writing.settings import AUTO_SALIENCY

    return str(arguments.saliency) if arguments.saliency and arguments.saliency != AUTO_SALIENCY else None


def settings_of(arguments: argparse.Namespace, image: Image) -> dict[str, Any]:
    """How to compress an image, as arguments of `Settings.of`.

    Raises
    ------
    UsageError
        An argument is not of its form.
    InputError
        The saliency does not fit the image.
    """
    settings: dict[str, Any] = {
        "options": key_values(arguments.option, "--option"), "effort": arguments.effort, "seed": arguments.seed,
        "time_limit": arguments.time_limit, "tile": arguments.tile or None, "channel_weights": arguments.channel_weights or None,
        "nan_fill": arguments.nan_fill, "not_labels": arguments.not_labels, "keep_metadata": arguments.keep_metadata,
    }
    if arguments.method:
        settings["method"] = arguments.method
    if arguments.saliency and saliency_file(arguments) is None:
        settings["saliency"] = arguments.saliency
    elif arguments.saliency:
        from microfield.io.masks import Covered, read_saliency

        covered = Covered(image.name, image.axes, image.shape)
        settings["saliency"] = read_saliency(arguments.saliency, covered, axes_of(arguments))
    if arguments.guide:
        settings["guide"] = arguments.guide
    if arguments.reference:
        settings["reference"] = arguments.reference
    if arguments.saliency_weight is not None:
        settings["saliency_weight"] = arguments.saliency_weight
    return settings


def limit_threads(threads: int | None) -> None:
    """Hold numpy, BLAS and jax to so many threads; must run before any of them starts its own."""
    if threads is None:
        return
    if threads < 1:
        raise UsageError(f"--threads must be at least 1, not {threads}.")
    os.environ["MICROFIELD_THREADS"] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])

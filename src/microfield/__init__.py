"""microfield: microscopy images 30 to 500 times smaller, read like an array.

The compression is lossy: grey values change. How much is measured for every file, and you say how much is allowed.
Keep the originals of what you may have to measure again.

First steps::

    import microfield as mf

    report = mf.compress("cells.ome.tif", "cells.mfield", ratio=100)   # or psnr=40, max_bytes="300kB", noise_factor=1
    print(report)                                  # size, ratio, PSNR: measured on the file as it decodes

    f = mf.open("cells.mfield")                    # reads nothing yet
    plane = f[3]                                   # decodes what is asked for: f[0, ::2, 100:200], f.preview(8), ...
    f.save("copy.ome.tif")                         # back to a file for other programs; also .zarr and .npy

    print(mf.compare("cells.ome.tif", f))          # what was lost, in numbers
    print(mf.verdict("cells.ome.tif", f))          # what the copy is still good for, and why

Functions: `compress`, `open`, `decompress`, `compare`, `verdict`, `open_image`, `save_image`, `list_scenes`. Each has its own help,
such as ``help(mf.compress)``. ``microfield --help`` in a terminal shows the commands that do the same.
"""

from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from microfield.errors import BudgetError, FormatError, InputError, MicrofieldError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from microfield.comparing import compare, verdict
    from microfield.image import Image
    from microfield.io import list_scenes, open_image, save_image
    from microfield.metrics.comparison import Comparison
    from microfield.reading.file import MicrofieldFile
    from microfield.reading.file import open_file as open  # noqa: A004
    from microfield.reading.saving import decompress
    from microfield.writing.compress import compress
    from microfield.writing.report import Report
    from microfield.writing.settings import Settings

__version__ = _version("microfield")

_LAZY = {
    "Comparison": ("microfield.metrics.comparison", "Comparison"),
    "Image": ("microfield.image", "Image"),
    "MicrofieldFile": ("microfield.reading.file", "MicrofieldFile"),
    "Report": ("microfield.writing.report", "Report"),
    "Settings": ("microfield.writing.settings", "Settings"),
    "compare": ("microfield.comparing", "compare"),
    "compress": ("microfield.writing.compress", "compress"),
    "decompress": ("microfield.reading.saving", "decompress"),
    "open": ("microfield.reading.file", "open_file"),
    "list_scenes": ("microfield.io", "list_scenes"),
    "open_image": ("microfield.io", "open_image"),
    "save_image": ("microfield.io", "save_image"),
    "verdict": ("microfield.comparing", "verdict"),
}
"""Public name to the module that defines it and its name there."""

__all__ = [  # noqa: RUF022
    "compress", "open", "decompress", "compare", "verdict", "open_image", "save_image", "list_scenes",
    "Image", "MicrofieldFile", "Report", "Comparison", "Settings",
    "MicrofieldError", "InputError", "UsageError", "BudgetError", "FormatError", "MissingExtraError", "__version__",
]


if not TYPE_CHECKING:  # A type checker would believe that the package has every name there is.

    def __getattr__(name: str) -> Any:
        """Public names are imported at first use, so that `import microfield` stays instant."""
        if name not in _LAZY:
            raise AttributeError(f"module 'microfield' has no attribute {name!r}")
        from importlib import import_module

        module, attribute = _LAZY[name]
        return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    """The public names: what completion offers and `help` describes."""
    return sorted(__all__)

"""microfield: microscopy images as neural fields."""

from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from microfield.errors import BudgetError, FormatError, InputError, MicrofieldError, MissingExtraError

if TYPE_CHECKING:
    from microfield.image import Image
    from microfield.io import open_image, save_image
    from microfield.metrics import compare
    from microfield.reading.file import MicrofieldFile
    from microfield.reading.file import open_file as open  # noqa: A004
    from microfield.writing.compress import Report, compress

__version__ = _version("microfield")

_LAZY = {
    "Image": ("microfield.image", "Image"),
    "MicrofieldFile": ("microfield.reading.file", "MicrofieldFile"),
    "Report": ("microfield.writing.compress", "Report"),
    "compare": ("microfield.metrics", "compare"),
    "compress": ("microfield.writing.compress", "compress"),
    "open": ("microfield.reading.file", "open_file"),
    "open_image": ("microfield.io", "open_image"),
    "save_image": ("microfield.io", "save_image"),
}

__all__ = [  # noqa: RUF022
    "compress", "open", "compare", "open_image", "save_image", "Image", "MicrofieldFile", "Report",
    "MicrofieldError", "InputError", "BudgetError", "FormatError", "MissingExtraError", "__version__",
]


def __getattr__(name: str) -> Any:
    """Public names are imported at first use, so that `import microfield` stays instant."""
    if name not in _LAZY:
        raise AttributeError(f"module 'microfield' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)

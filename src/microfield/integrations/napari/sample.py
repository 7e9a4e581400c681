"""The sample for napari: the pollen grains of the examples, compressed 100 times, which come with the package."""

from __future__ import annotations

from importlib.resources import files

from microfield.format.source import BytesSource
from microfield.integrations.napari.reader import LayerData, layers_of
from microfield.reading.file import open_file

POLLEN = "pollen.mfield"


def pollen() -> list[LayerData]:
    """A confocal stack of pollen grains, 32 x 256 x 256, in 42 kB."""
    return layers_of(open_file(BytesSource(files(__package__).joinpath(POLLEN).read_bytes(), POLLEN)))

"""The benchmark images: images.toml lists their kind, source, licence and checksum; the files are in a folder of the user's."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from microfield import Image, open_image


@dataclass(frozen=True)
class Listed:
    """One entry of images.toml.

    Attributes
    ----------
    file, labels : names of the image and of its ground-truth labels (empty without) in the folder
    kind : of image, in words
    source, licence : where it is from, and how it may be used
    sha256, labels_sha256 : checksums of the two files
    """

    file: str
    kind: str
    source: str
    licence: str
    sha256: str
    labels: str = ""
    labels_sha256: str = ""

    @property
    def name(self) -> str:
        """File name without its suffix."""
        return self.file.removesuffix(".ome.tif")

    def check(self, folder: Path) -> None:
        """Exit with a message where a file in the folder is not the one that was measured."""
        for file, expected in ((self.file, self.sha256), (self.labels, self.labels_sha256)):
            if file and hashlib.sha256((folder / file).read_bytes()).hexdigest() != expected:
                raise SystemExit(f"{folder / file} is not the file the results were measured on (its checksum differs).")

    def load(self, folder: Path) -> Image:
        """Open the image after checking its checksum."""
        self.check(folder)
        return open_image(folder / self.file)


def listed() -> dict[str, Listed]:
    """All listed images by name, kind by kind."""
    table = tomllib.loads((Path(__file__).parent / "images.toml").read_text(encoding="utf-8"))
    images = [Listed(**entry) for entry in table["image"]]
    return {image.name: image for image in images}

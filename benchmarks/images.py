"""The benchmark images: listed in images.toml with source, licence and checksum, found in a folder of the user's."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from microfield import Image, open_image


@dataclass(frozen=True)
class Listed:
    """One line of images.toml."""

    file: str
    source: str
    licence: str
    sha256: str

    @property
    def name(self) -> str:
        """File name without its suffix."""
        return self.file.removesuffix(".ome.tif")

    def load(self, folder: Path) -> Image:
        """The image, after its checksum was compared."""
        path = folder / self.file
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.sha256:
            raise SystemExit(f"{path} is not the file the results were measured on (its checksum differs).")
        return open_image(path)


def listed() -> dict[str, Listed]:
    """All listed images by name."""
    table = tomllib.loads((Path(__file__).parent / "images.toml").read_text(encoding="utf-8"))
    images = [Listed(**entry) for entry in table["image"]]
    return {image.name: image for image in images}

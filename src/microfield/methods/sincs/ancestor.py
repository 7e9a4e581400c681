"""A network outside of a part that the part's first networks are differences to: of an earlier part, or in a file of its own.

A file ``ancestor-HASH.npz`` holds one such network, named by the first four bytes of its hash like those that ship with the package
(`microfield.models`). Many files in a folder can build on it; each says in its shared block which one it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from microfield import models
from microfield.errors import FormatError, InputError
from microfield.io.atomic import atomic_path
from microfield.methods.coordinate.bitstream import FREE_WEIGHTS, MAX_WEIGHTS_PER_BYTE, Shape
from microfield.methods.sincs.bitstream import Head, Ints, predicted, tensor_extents, values_of
from microfield.methods.sincs.residual import decode, encode

KIND = "ancestor"
"""What file names of such networks begin with."""


@dataclass(frozen=True)
class Ancestor:
    """A quantised network that others are differences to.

    Attributes
    ----------
    shape : Shape
    rectified : bool
        See `Head`.
    steps : tuple of int
        Step code of every tensor.
    weights : tuple of int64 arrays
        Integers of every tensor, of shape (rows, columns).
    """

    shape: Shape
    rectified: bool
    steps: tuple[int, ...]
    weights: tuple[Ints, ...]

    @classmethod
    def of(cls, head: Head, weights: Sequence[Ints]) -> Ancestor:
        """A group of a part."""
        return cls(head.shape, head.rectified, head.steps, tuple(weights))

    def predicted(self, steps: Sequence[int]) -> list[Ints]:
        """The integers of the weights in units of other steps."""
        return predicted(self.weights, self.steps, steps)

    def values(self) -> list[npt.NDArray[np.float32]]:
        """The weights, float32."""
        return values_of(self.weights, self.steps)

    def fits(self, head: Head) -> bool:
        """Whether the networks of a part with this head have this shape."""
        return (self.shape, self.rectified) == (head.shape, head.rectified)

    # -- files --------------------------------------------------------------------------------------------------------

    def _arrays(self) -> models.Arrays:
        shape = self.shape
        head = np.asarray([shape.inputs, shape.width, shape.depth, shape.outputs, self.rectified, *self.steps], np.int32)
        return {"head": head, "weights": np.frombuffer(encode(self.weights, None)[0], np.uint8)}

    @property
    def key(self) -> bytes:
        """The four bytes of hash that name it."""
        return models.fingerprint(self._arrays())[: models.HASH]

    @property
    def file_name(self) -> str:
        """Name of the file that holds it."""
        return file_name(self.key)

    def pack(self) -> bytes:
        """The bytes of that file.

        Raises
        ------
        InputError
            The network is larger than such files may be.
        """
        data = models.pack(self._arrays())
        if len(data) > models.LARGEST:
            raise InputError(f"a network of {self.shape.n_weights:,} weights is too large for files to share; compress to fewer "
                             "bytes, or into more groups.")
        return data

    @classmethod
    def unpack(cls, data: bytes, key: bytes, what: str) -> Ancestor:
        """The network in a file, which must be the one of this hash; ``what`` names the file in messages.

        Raises
        ------
        FormatError
            It holds another network, or none.
        """
        found = cls.read(data, what)
        if found.key != key:
            raise FormatError(f"{what} holds the network {found.key.hex()}, and not {key.hex()}, which is needed.")
        return found

    @classmethod
    def read(cls, data: bytes, what: str) -> Ancestor:
        """The network in a file, whichever it is.

        Raises
        ------
        FormatError
            It holds none.
        """
        wrong = FormatError(f"{what} holds no network that files of sincs can build on.")
        try:
            arrays = models.unpack(data)
        except models.DAMAGED:
            raise wrong from None
        head = arrays.get("head", np.zeros(0))
        if head.dtype != np.int32 or head.ndim != 1 or head.size < 5 or head.min() < 0:
            raise wrong
        inputs, width, depth, outputs, rectified, *steps = head.tolist()
        shape, coded = Shape(inputs, width, depth, outputs), arrays.get("weights", np.zeros(0))
        extents = tensor_extents(shape) if 0 < depth < 16 else []
        if not extents or len(steps) != len(extents) or max(steps) > 255 or rectified > 1 or coded.dtype != np.uint8 \
                or not 0 < shape.n_weights <= FREE_WEIGHTS + MAX_WEIGHTS_PER_BYTE * coded.size:
            raise wrong
        try:
            weights, _ = decode(coded.tobytes(), [rows * columns for rows, columns in extents], None)
        except FormatError:
            raise wrong from None
        return cls(shape, bool(rectified), tuple(steps), tuple(w.reshape(size) for w, size in zip(weights, extents, strict=True)))


def file_name(key: bytes) -> str:
    """Name of the file that holds the network with these four bytes of hash."""
    return models.file_name(KIND, key)


def open_ancestor(path: str) -> Ancestor:
    """The network in a file that the user names.

    Raises
    ------
    InputError
        There is no such file.
    FormatError
        It holds no such network.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"the ancestor {path} cannot be read ({error.strerror or error}).") from None
    return Ancestor.read(data, path)


def of_folder(folder: Path) -> Path | None:
    """The file of the ancestor in a folder; None where there is none.

    Raises
    ------
    InputError
        There are several.
    """
    found = sorted(folder.glob(file_name(b"").replace("-.", "-*.")))
    if len(found) > 1:
        raise InputError(f"{folder} holds {len(found)} ancestors, {found[0].name} and {found[1].name} among them; name "
                         "the one to build on.")
    return found[0] if found else None


def taken_from(path: Path) -> Ancestor | None:
    """The first network of a file of sincs that stands for itself; None where it holds constants."""
    from microfield.format.container import Container
    from microfield.format.source import open_source
    from microfield.methods.sincs.decoder import SincsDecoder

    container = Container.open(open_source(path))
    decoder = SincsDecoder(container.part_layout(0), container.part(0))
    return Ancestor.of(decoder.head, decoder.weights(0)) if decoder.head.shape.depth else None


def put_beside(ancestor: Ancestor, path: Path) -> None:
    """Write the file of an ancestor into the folder of a file that was written, unless it is there."""
    destination = path.parent / ancestor.file_name
    if not destination.exists():
        with atomic_path(destination, overwrite=True) as temporary:
            Path(temporary).write_bytes(ancestor.pack())

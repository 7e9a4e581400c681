"""What a file holds beside its parts: the header, what the parts share, and what all that takes of a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from microfield.display import Display
from microfield.errors import InputError
from microfield.format.assembler import Assembler, file_size
from microfield.format.framing import Sections
from microfield.format.header import LONGEST_CHAIN, Header, pack
from microfield.format.making import Making
from microfield.image import Image
from microfield.reading.original import original_checksum
from microfield.wording import argument, listed
from microfield.writing.budget import SAFE_FOR
from microfield.writing.job import Job

DISPLAY_SHARE, METADATA_SHARE = 0.05, 0.02
"""Colours and display ranges are kept unasked where they take at most the first share of the file; everything else beside the
values that is not needed to measure in them, such as vendor metadata, where it takes at most the second."""

MAKING_SHARE = 0.01
"""How a file was made is kept where it takes at most this share of the file; that is not worth a note."""

UNKNOWN_RATIO = 64
"""How much smaller than the raw array a file is taken to become, where a quality is asked for and its parts are not yet made."""


@dataclass(frozen=True)
class Envelope:
    """Everything of a file but its parts.

    Attributes
    ----------
    header : Header
        Without references: those come with the parts.
    shared : tuple of bytes
        Sections that all parts share.
    references : mapping of int to int
        Number of a part to that of the earlier part that it may build on.
    notes : tuple of str
        What was left out. Empty until it is decided, for which the size of the file must be known (see `described`).
    embedded : bool
        Whether a host keeps what the header of a file says.
    """

    header: Header
    shared: Sections = ()
    references: Mapping[int, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    embedded: bool = False

    def overhead(self, limit: int) -> int:
        """Most bytes of a file of at most ``limit`` that are not parts: index entries are sized for parts of uneven lengths."""
        n = self.header.n_parts
        uneven = [1 if i % 2 else max(1, min(limit, 8 * limit // n)) for i in range(n)]
        return file_size(self._with_references, uneven, self.shared, self.embedded) - sum(uneven)

    def assembler(self) -> Assembler:
        """What takes the parts and writes the file."""
        return Assembler(self.header, self.shared, self.embedded)

    @property
    def _with_references(self) -> Header:
        if not self.references:
            return self.header
        return replace(self.header, references=tuple(self.references.get(i) for i in range(self.header.n_parts)))


def envelope(job: Job, limit: int | None, embedded: bool = False) -> Envelope:
    """What a job stores beside the parts, for a file of ``limit`` bytes.

    Where a quality is asked for, ``limit`` is None, and display and metadata come in with `described` once the size is known.
    """
    around = Envelope(_header(job, embedded), job.method.share(job.parts, job.context, limit), references_of(job), (), embedded)
    return around if limit is None else described(around, job, limit)


def described(around: Envelope, job: Job, size: int) -> Envelope:
    """The envelope with display and metadata of the image, as far as a file of ``size`` bytes has room for them."""
    if around.embedded:
        return around
    header = _with_making(around.header, job, size)
    costly: list[str] = []
    for words, share, fields in _optional(job.image):
        try:
            kept = replace(header, **fields(header))
            cost = len(pack(kept, 0, False)) - len(pack(header, 0, False))
        except InputError:
            costly.append(f"{words} (more than a file can hold)")
            continue
        if job.settings.keep_metadata or cost <= share * size:
            header = kept
        else:
            costly.append(f"{words} ({cost} bytes)")
    return replace(around, header=header, notes=_notes(costly, job.image.not_kept))


def _with_making(header: Header, job: Job, size: int) -> Header:
    """The header with what was asked for, where a file of ``size`` bytes has room for it, or keeps evidence of it anyway; the PSNR
    comes in with `measured`.
    """
    kind, value = ("", 0.0) if job.budget is None else (job.budget.kind, job.budget.value)
    making = Making(None, kind, value, job.settings.effort, job.settings.record())
    kept = replace(header, making=making)
    small = len(pack(kept, 0, False)) - len(pack(header, 0, False)) <= MAKING_SHARE * size
    return kept if small or kind == SAFE_FOR else header


def measured(header: Header, psnr: float) -> Header:
    """The header of a file of which the quality is known now; it takes as many bytes as before."""
    return header if header.making is None else replace(header, making=replace(header.making, psnr=psnr))


def _optional(image: Image) -> Iterator[tuple[str, float, Callable[[Header], dict[str, Any]]]]:
    """What is kept where there is room, the most important first: in words, its share of the file, and the header's fields."""
    display = image.display
    plain = tuple(replace(c, table=None) for c in display.channels)
    first = Display(plain, mode=display.mode)
    if first:
        yield listed(first.facts()), DISPLAY_SHARE, lambda h: {"display": replace(h.display, channels=plain, mode=first.mode)}
    if image.acquisition:
        taken = image.acquisition
        yield listed(taken.facts()), METADATA_SHARE, lambda h: {"acquisition": taken}
    if display.calibration is not None:
        calibration = display.calibration
        yield "the value calibration", METADATA_SHARE, lambda h: {"display": replace(h.display, calibration=calibration)}
    if display.channels != plain:
        yield "lookup tables", METADATA_SHARE, lambda h: {"display": replace(h.display, channels=display.channels)}
    if display.plane_labels:
        labels = display.plane_labels
        yield "plane labels", METADATA_SHARE, lambda h: {"display": replace(h.display, plane_labels=labels)}
    if image.metadata:
        yield "vendor metadata", METADATA_SHARE, lambda h: {"metadata": image.metadata}


def _notes(costly: Sequence[str], not_kept: Sequence[str]) -> tuple[str, ...]:
    """One sentence on what the source says and the file does not; none where there is nothing."""
    said = []
    if costly:
        said.append(f"{listed(costly)} left out to keep the bytes for the image; {argument('keep_metadata', True)} keeps "
                    f"{'it' if len(costly) == 1 else 'them'}")
    if not_kept:
        said.append(f"{listed(not_kept)} of the source cannot be kept")
    return (f"{'; '.join(said)}.",) if said else ()


def references_of(job: Job) -> dict[int, int]:
    """Which earlier part every part may build on, as the method asks for it, checked.

    Raises
    ------
    InputError
        The method names a part that does not come before, or a chain longer than it declares or files allow.
    """
    wanted = job.method.references(job.parts, job.context)
    if wanted is None:
        return {}
    name, longest = job.method.name, min(job.method.longest_chain, LONGEST_CHAIN)
    if len(wanted) != job.grid.n:
        raise InputError(f"method {name} names references for {len(wanted)} parts of {job.grid.n}.")
    found = {part: parent for part, parent in enumerate(wanted) if parent is not None}
    depth: dict[int, int] = {}
    for part, parent in found.items():
        if not 0 <= parent < part:
            raise InputError(f"method {name} builds part {part} on part {parent}, which does not come before it.")
        depth[part] = depth.get(parent, 0) + 1
        if depth[part] > longest:
            raise InputError(f"method {name} builds part {part} on a chain of {depth[part]} parts, more than the {longest} that "
                             "are allowed.")
    return found


def _header(job: Job, embedded: bool) -> Header:
    image, method, axes = job.image, job.method, job.image.layout.axes
    return Header(
        method=method.name, bitstream_version=method.bitstream_version, layout=image.layout,
        voxel_size={a: float(v) for a, v in image.voxel_size.items() if a in axes},
        units={a: u for a, u in image.units.items() if a in image.voxel_size and a in axes},
        channel_names=image.channel_names, checksum=b"" if embedded else original_checksum(image),
        tile=None if job.grid.n == 1 else job.grid.tile, experimental=method.experimental, sections=method.sections,
    )

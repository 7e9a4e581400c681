"""What a file holds beside its parts: the header, what the parts share, and what all that takes of a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from microfield.errors import InputError
from microfield.format.assembler import Assembler, file_size
from microfield.format.framing import Sections
from microfield.format.header import LONGEST_CHAIN, Header, checksum
from microfield.wording import argument
from microfield.writing.job import Job
from microfield.writing.partition import slabs

METADATA_SHARE = 0.02
"""Vendor metadata is kept unasked where it takes at most this share of the budget."""


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
        What was left out.
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
    """What a job stores beside the parts, for a file of ``limit`` bytes (None where a quality is asked for)."""
    header = _header(job, embedded)
    notes: tuple[str, ...] = ()
    if job.image.metadata and not embedded:
        kept = replace(header, metadata=job.image.metadata)
        sizes = [1] * job.grid.n
        cost = file_size(kept, sizes) - file_size(header, sizes)
        if job.settings.keep_metadata or cost <= METADATA_SHARE * (limit or 0):
            header = kept
        else:
            notes = (f"vendor metadata left out ({cost} bytes, more than {METADATA_SHARE:.0%} of the budget); "
                     f"{argument('keep_metadata', True)} keeps it.",)
    return Envelope(header, job.method.share(job.parts, job.context, limit), references_of(job), notes, embedded)


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
        channel_names=image.channel_names, checksum=b"" if embedded else checksum(part.read() for part in slabs(image)),
        tile=None if job.grid.n == 1 else job.grid.tile, experimental=method.experimental, sections=method.sections,
    )

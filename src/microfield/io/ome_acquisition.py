"""When, where and with which objective an image was taken, in OME-XML: reading it, and putting it into that of tifffile.

Date and objective belong to the image (OME model 2016-06, Image and ObjectiveSettings), the position to its first plane.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from xml.sax.saxutils import quoteattr

from microfield.acquisition import LONGEST, Acquisition
from microfield.units import LENGTHS, unit_name


def read_acquisition(root: ET.Element, image: ET.Element) -> Acquisition:
    """What OME-XML says of an image; a position without a unit of length says nothing."""
    date = _text(next((e.text for e in image if _tag(e) == "AcquisitionDate"), None))
    lens = _objective(root, image)
    model = _text(None if lens is None else lens.get("Model") or lens.get("Name"))
    numbers = [None if lens is None else _positive(lens.get(name)) for name in ("NominalMagnification", "LensNA")]
    return Acquisition(date, model, numbers[0], numbers[1], _position(image))


def with_acquisition(xml: str, acquisition: Acquisition) -> str:
    """OME-XML of one image, as tifffile makes it, with what is known put where the schema has it."""
    if acquisition.lens:
        named = {"Model": acquisition.objective, "NominalMagnification": acquisition.magnification, "LensNA": acquisition.aperture}
        attributes = "".join(f" {name}={quoteattr(str(value))}" for name, value in named.items() if value is not None)
        lens = f'<Instrument ID="Instrument:0"><Objective ID="Objective:0:0"{attributes}/></Instrument>'
        xml = xml.replace("<Image ", f"{lens}<Image ", 1)
        xml = xml.replace("<Pixels ", '<InstrumentRef ID="Instrument:0"/><ObjectiveSettings ID="Objective:0:0"/><Pixels ', 1)
    if acquisition.position:
        places = "".join(f' Position{a}="{v!r}" Position{a}Unit="µm"' for a, v in acquisition.position.items())
        xml = xml.replace("</Pixels>", f'<Plane TheZ="0" TheT="0" TheC="0"{places}/></Pixels>', 1)
    return xml


def _objective(root: ET.Element, image: ET.Element) -> ET.Element | None:
    """The objective that an image was taken with: the one it names, or the only one there is."""
    known = [e for e in root.iter() if _tag(e) == "Objective"]
    wanted = next((e.get("ID") for e in image if _tag(e) in ("ObjectiveSettings", "ObjectiveRef")), None)
    if wanted is None:
        return known[0] if len(known) == 1 else None
    return next((e for e in known if e.get("ID") == wanted), None)


def _position(image: ET.Element) -> dict[str, float]:
    """Micrometers of the first plane that has them; of the label of the stage where no plane does."""
    for element in _placed(image):
        found = {}
        for axis in "XYZ":
            prefix = "Position" if _tag(element) == "Plane" else ""
            value, unit = element.get(f"{prefix}{axis}"), unit_name(element.get(f"{prefix}{axis}Unit") or "")
            try:
                number = float(value or "nan")
            except ValueError:
                continue
            if unit in LENGTHS and math.isfinite(number):
                found[axis] = number * LENGTHS[unit]
        if found:
            return found
    return {}


def _placed(image: ET.Element) -> Iterator[ET.Element]:
    """The planes of an image, then the label of its stage."""
    for kind in ("Plane", "StageLabel"):
        yield from (e for e in image.iter() if _tag(e) == kind)


def _positive(value: str | None) -> float | None:
    try:
        number = float(value or "nan")
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def _text(value: str | None) -> str | None:
    """A text that an `Acquisition` takes; None where there is none."""
    return (value or "").strip().replace("\0", " ")[:LONGEST] or None


def _tag(element: ET.Element) -> str:
    return str(element.tag).rpartition("}")[2]

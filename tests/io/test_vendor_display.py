"""Colours of vendors' files. The plugins cannot be had here: stand-ins have what bioio's readers have, with real XML in it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
import tifffile

from microfield.io.vendor_display import channel_colours, channel_names

CZI = """<ImageDocument><Metadata><DisplaySetting><Channels>
<Channel Id="Channel:0" Name="DAPI"><Color>#FF0000FF</Color></Channel>
<Channel Id="Channel:1" Name="GFP"><Color>#00FF5B</Color></Channel>
<Channel Id="Channel:2" Name="T-PMT"><Low>0</Low></Channel></Channels></DisplaySetting></Metadata></ImageDocument>"""


class Translated:
    """OME-XML as ome-types gives it."""

    def to_xml(self) -> str:
        xml = tifffile.OmeXml()
        for colours in ([255], [65535, 16711935, -1]):
            n = len(colours)
            xml.addimage("uint16", (n, 8, 9), (n, 1, 1, 8, 9, 1), axes="CYX", Channel={"Color": colours})
        return xml.tostring()


class Reader:
    """What `channel_colours` asks of a bioio reader."""

    def __init__(self, metadata: Any = None, ome: Any = None) -> None:
        self.metadata, self._ome = metadata, ome

    @property
    def ome_metadata(self) -> Any:
        if self._ome is None:
            raise NotImplementedError("this plugin does not translate its metadata")
        return self._ome


def colours(reader: Reader, suffix: str, names: tuple[str, ...] = (), count: int = 3, scene: int = 1) -> list[Any]:
    return [c.colour for c in channel_colours(reader, scene, suffix, names, count).channels]


def test_zeiss() -> None:
    assert colours(Reader(ET.fromstring(CZI)), ".czi") == [(0, 0, 255), (0, 255, 91), None]
    assert colours(Reader(ET.fromstring(CZI)), ".czi", count=2) == []


def test_what_a_plugin_translates() -> None:
    assert colours(Reader(ome=Translated()), ".nd2") == [(0, 0, 255), (0, 255, 0), (255, 255, 255)]
    assert colours(Reader(ET.fromstring("<none/>"), Translated()), ".czi") == [(0, 0, 255), (0, 255, 0), (255, 255, 255)]
    assert colours(Reader(ome=Translated()), ".nd2", scene=7) == []


def test_leica_names_its_lookup_tables() -> None:
    assert colours(Reader(), ".lif", ("Green--FLUO", "Red", "Gray")) == [(0, 255, 0), (255, 0, 0), (255, 255, 255)]
    assert colours(Reader(), ".lif", ("DAPI", "Alexa", "mine")) == []
    assert colours(Reader(), ".nd2", ("Green", "Red", "Gray")) == []


@pytest.mark.parametrize(("stated", "count", "names"), [
    (["DAPI", "GFP"], 2, ("DAPI", "GFP")), (["DAPI"], 2, ()), (["DAPI", ""], 2, ()), (None, 1, ()),
    (["Channel:0:0", "Channel:0:1"], 2, ()), (["Channel:0:0", "GFP"], 2, ("Channel:0:0", "GFP")),
])
def test_names(stated: list[str] | None, count: int, names: tuple[str, ...]) -> None:
    assert channel_names(stated, count) == names

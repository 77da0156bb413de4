"""Manifests without the renditions that a plan leaves out, or with another base, from those that were published."""

import re
from collections.abc import Set
from xml.etree import ElementTree as Xml

from headend import layout

_DASH = "urn:mpeg:dash:schema:mpd:2011"
_VARIANT = "#EXT-X-STREAM-INF:"
_ADDRESS = re.compile(r'[:,]URI="([^"/]+)"')

Xml.register_namespace("", _DASH)  # which is how it was written


def reduced(name: str, manifest: bytes, withheld: Set[str]) -> bytes:
    """Leave renditions out of a manifest.

    Args:
        name: The manifest's name, which tells HLS from DASH.
        manifest: As it was published.
        withheld: Ids of tracks.
    """
    return _mpd(manifest, withheld) if name == layout.MPD else _playlist(manifest, withheld)


def with_base(manifest: bytes, base: str) -> bytes:
    """Let an MPD name where its relative addresses start (ISO/IEC 23009-1, section 5.6)."""
    root = Xml.fromstring(manifest)
    element = Xml.Element(f"{{{_DASH}}}BaseURL")
    element.text = base
    # Only a ProgramInformation may come before it.
    root.insert(len(root.findall(f"{{{_DASH}}}ProgramInformation")), element)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _playlist(manifest: bytes, withheld: Set[str]) -> bytes:
    """Drop each line whose address is a playlist of a withheld track.

    A variant's address is a line of its own, after its tag (RFC 8216, section 4.3.4.2); other tags hold theirs.
    """
    dropped = {name(id) for id in withheld for name in (layout.media_playlist_name, layout.iframe_playlist_name)}
    kept: list[str] = []
    for line in manifest.decode().splitlines(keepends=True):
        if line.startswith("#"):
            address = _ADDRESS.search(line)
            if address is None or address[1] not in dropped:
                kept.append(line)
        elif line.rstrip() not in dropped:
            kept.append(line)
        elif kept and kept[-1].startswith(_VARIANT):
            kept.pop()
    return "".join(kept).encode()


def _mpd(manifest: bytes, withheld: Set[str]) -> bytes:
    """Drop withheld Representations, and each AdaptationSet that has none left."""
    root = Xml.fromstring(manifest)
    for period in root.iterfind(f"{{{_DASH}}}Period"):
        for adaptation_set in period.findall(f"{{{_DASH}}}AdaptationSet"):
            for representation in adaptation_set.findall(f"{{{_DASH}}}Representation"):
                if representation.get("id") in withheld:
                    adaptation_set.remove(representation)
            if adaptation_set.find(f"{{{_DASH}}}Representation") is None:
                period.remove(adaptation_set)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"

"""ContentProtection elements of DASH: one for the scheme and the key of an AdaptationSet, and one per DRM system.

Sources: ISO/IEC 23009-1, section 5.8.4.1; ISO/IEC 23001-7, section 11 (``cenc:default_KID``, ``cenc:pssh``); for
``mspr:pro``, Microsoft; DASH-IF's registry of content protection ids.
"""

import base64
from collections.abc import Iterator
from xml.etree import ElementTree as Xml

from headend.core.media import Protection

NAMESPACES = {"xmlns:cenc": "urn:mpeg:cenc:2013", "xmlns:mspr": "urn:microsoft:playready"}
PROTECTION = "urn:mpeg:dash:mp4protection:2011"
PLAYREADY = "9a04f079-9840-4286-ab92-e65be0885f95"
NAMES = {
    "e2719d58-a985-b3c9-781a-b030af78d30e": "ClearKey1.0",
    "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed": "Widevine",
    PLAYREADY: "MSPR 2.0",
    "94ce86fb-07ff-4f43-adb8-93d2fa968ca2": "FairPlay",
}
"""Value of ``@value`` by system."""


def elements(protection: Protection, kid: str) -> Iterator[Xml.Element]:
    """The elements of one AdaptationSet.

    Args:
        protection: The scheme, and the signalling of DRM systems.
        kid: The set's key id.
    """
    main = {
        "schemeIdUri": PROTECTION,
        "value": protection.scheme.value,
        "cenc:default_KID": protection.name(kid).uuid,
    }
    yield Xml.Element("ContentProtection", main)
    for signal in protection.signals:
        if signal.kid != kid:
            continue
        attributes = {"schemeIdUri": f"urn:uuid:{signal.system}"}
        if signal.system in NAMES:
            attributes["value"] = NAMES[signal.system]
        element = Xml.Element("ContentProtection", attributes)
        if signal.pssh:
            Xml.SubElement(element, "cenc:pssh").text = signal.pssh
            if signal.system == PLAYREADY:
                Xml.SubElement(element, "mspr:pro").text = payload(signal.pssh)
        yield element


def payload(pssh: str) -> str:
    """The system's own data in a ``pssh`` box, such as a PlayReady Object; both base64.

    Args:
        pssh: A box of version 0, or of version 1 with a list of key ids.

    Source:
        ISO/IEC 23001-7, section 8.1.1.
    """
    box = base64.b64decode(pssh)
    offset = 28
    if box[8]:
        offset += 4 + 16 * int.from_bytes(box[offset : offset + 4])
    size = int.from_bytes(box[offset : offset + 4])
    return base64.b64encode(box[offset + 4 : offset + 4 + size]).decode()

"""XML of CPIX documents: parsing untrusted input, and making elements."""

import base64
import binascii
from typing import Any
from xml.etree import ElementTree

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from headend.core.errors import ConfigError

MAX_BYTES = 1 << 20
"""Largest document in bytes; a title's has a few thousand."""
NAMESPACES = {
    "": "urn:dashif:org:cpix",
    "pskc": "urn:ietf:params:xml:ns:keyprov:pskc",
    "enc": "http://www.w3.org/2001/04/xmlenc#",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}


def parse(data: bytes, place: str) -> Any:
    """Parse untrusted XML: without DTD or entities, at most `MAX_BYTES` bytes.

    Raises:
        ConfigError: It breaks these limits, or is not CPIX.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{place} has more than {MAX_BYTES >> 20} MiB, too much for a CPIX document of a title")
    try:
        root = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except (ElementTree.ParseError, ValueError, LookupError, DefusedXmlException, RecursionError) as error:
        raise ConfigError(f"{place} is not XML that can be read: {type(error).__name__}") from None
    if root.tag != f"{{{NAMESPACES['']}}}CPIX":
        raise ConfigError(f"{place} is not a CPIX document")
    return root


def element(parent: Any, name: str, **attributes: str) -> Any:
    """Make an element below ``parent``, or a root if it is None; ``name`` may have a prefix of `NAMESPACES`."""
    prefix, _, local = name.rpartition(":")
    tag = f"{{{NAMESPACES[prefix]}}}{local}"
    if parent is None:
        return ElementTree.Element(tag, attributes)
    return ElementTree.SubElement(parent, tag, attributes)


def decode(text: str | None, place: str) -> bytes:
    """Decode base64 with any white space; raises `ConfigError`."""
    try:
        return base64.b64decode("".join((text or "").split()), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(f"{place}: a value is not base64") from None


for _prefix, _uri in NAMESPACES.items():
    ElementTree.register_namespace(_prefix, _uri)

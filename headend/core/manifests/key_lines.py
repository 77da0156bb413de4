"""The attributes of ``EXT-X-KEY`` tags in HLS: one tag for each DRM system.

Sources: RFC 8216, section 4.3.2.4, and its successor for ``SAMPLE-AES-CTR``; Apple's, Google's and Microsoft's values
of ``KEYFORMAT``.
"""

from collections.abc import Iterator

from headend.core import layout
from headend.core.media import Protection, Scheme

METHODS = {Scheme.CBCS: "SAMPLE-AES", Scheme.CENC: "SAMPLE-AES-CTR", Scheme.AES_128: "AES-128"}
WITH_KEY_ID = frozenset({"org.w3.clearkey", "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"})
"""ClearKey and Widevine, whose tags also state the key id."""


def key_attributes(protection: Protection, kid: str, *, identity: bool) -> Iterator[dict[str, str]]:
    """The attributes of each key tag of a track.

    Args:
        protection: The scheme, and the signalling of DRM systems.
        kid: The track's key id.
        identity: Whether to state only the key's address. Players stall if it is combined with DRM systems.
    """
    method = METHODS[protection.scheme]
    if protection.scheme is Scheme.AES_128:
        # Without an IV, players use the segment's number, but init segments have no number.
        yield {"METHOD": method, "URI": f'"{layout.key_uri(kid)}"', "IV": f"0x{protection.name(kid).iv}"}
        return
    if identity:
        yield {
            "METHOD": method,
            "URI": f'"{layout.key_uri(kid)}"',
            "KEYFORMAT": '"identity"',
            "KEYFORMATVERSIONS": '"1"',
        }
        return
    for signal in protection.signals:
        if signal.kid == kid and signal.hls_uri:
            attributes = {
                "METHOD": method,
                "URI": f'"{signal.hls_uri}"',
                "KEYFORMAT": f'"{signal.hls_keyformat}"',
                "KEYFORMATVERSIONS": '"1"',
            }
            if signal.hls_keyformat in WITH_KEY_ID:
                attributes["KEYID"] = f"0x{kid.upper()}"
            yield attributes

"""Makes the DRM signalling of keys for manifests: ``pssh`` boxes, PlayReady objects and key URIs.

The input is the public data of keys, without their secrets; the output is a `Signal` for each DRM system and key.

Sources: ISO/IEC 23001-7, section 8.1 (``pssh``); W3C "cenc" initialization data format (the common system id);
Widevine's WidevinePsshData message; Microsoft's PlayReady Header and PlayReady Object specifications; Apple's HLS
specification for ``KEYFORMAT``.
"""

import base64
import struct
import uuid
from collections.abc import Iterable, Sequence
from enum import StrEnum

from headend.core.boxes import box
from headend.core.media.protection import KeyName, Scheme, Signal


class System(StrEnum):
    """A DRM system, by its name on the command line."""

    CLEARKEY = "clearkey"
    WIDEVINE = "widevine"
    PLAYREADY = "playready"
    FAIRPLAY = "fairplay"


COMMON = "1077efec-c0b2-4d02-ace3-3c1e52e2fb4b"
"""System id of W3C's common ``pssh``, which only lists key ids."""
SYSTEM_IDS = {
    System.CLEARKEY: "e2719d58-a985-b3c9-781a-b030af78d30e",
    System.WIDEVINE: "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed",
    System.PLAYREADY: "9a04f079-9840-4286-ab92-e65be0885f95",
    System.FAIRPLAY: "94ce86fb-07ff-4f43-adb8-93d2fa968ca2",
}
"""DASH-IF's registry of content protection ids."""

_PLAYREADY_NAMESPACE = "http://schemas.microsoft.com/DRM/2007/03/PlayReadyHeader"
_PLAYREADY_ALGORITHMS = {Scheme.CENC: "AESCTR", Scheme.CBCS: "AESCBC"}
_HEADER_RECORD = 1
"""PlayReady Object, record type: a rights management header."""


def common_pssh(kids: Iterable[str]) -> bytes:
    """The common ``pssh`` box in every init segment of a protected title.

    Args:
        kids: All key ids of the title's key epoch, so that players request a single licence.
    """
    return _pssh(COMMON, kids=tuple(kids))


def signals(names: Sequence[KeyName], systems: Iterable[System]) -> tuple[Signal, ...]:
    """The signalling of each key for each system that supports its scheme.

    Args:
        names: The keys; those of ``aes-128`` have no signalling.
        systems: DRM systems, in the order in which manifests list them.
    """
    makers = {
        System.CLEARKEY: _clearkey,
        System.WIDEVINE: _widevine,
        System.PLAYREADY: _playready,
        System.FAIRPLAY: _fairplay,
    }
    return tuple(
        makers[system](name)
        for name in names
        if name.scheme is not Scheme.AES_128
        for system in systems
        if not (system is System.FAIRPLAY and name.scheme is Scheme.CENC)  # FairPlay decrypts cbcs only
    )


def signals_for(names: Sequence[KeyName], system_ids: Iterable[str]) -> tuple[Signal, ...]:
    """Like `signals`, with systems given by their UUIDs; unknown ones have no signalling."""
    systems = {id: system for system, id in SYSTEM_IDS.items()}
    return signals(names, [systems[id] for id in system_ids if id in systems])


def _clearkey(name: KeyName) -> Signal:
    kid = base64.b64encode(bytes.fromhex(name.kid)).decode()
    return Signal(SYSTEM_IDS[System.CLEARKEY], name.kid, "", f"data:;base64,{kid}", "org.w3.clearkey")


def _widevine(name: KeyName) -> Signal:
    system = SYSTEM_IDS[System.WIDEVINE]
    pssh = base64.b64encode(_pssh(system, _widevine_data(name))).decode()
    return Signal(system, name.kid, pssh, f"data:text/plain;base64,{pssh}", f"urn:uuid:{system}")


def _playready(name: KeyName) -> Signal:
    system = SYSTEM_IDS[System.PLAYREADY]
    header = playready_object(name)
    pssh = base64.b64encode(_pssh(system, header)).decode()
    uri = f"data:text/plain;charset=UTF-16;base64,{base64.b64encode(header).decode()}"
    return Signal(system, name.kid, pssh, uri, "com.microsoft.playready")


def _fairplay(name: KeyName) -> Signal:
    return Signal(SYSTEM_IDS[System.FAIRPLAY], name.kid, "", f"skd://{name.uuid}", "com.apple.streamingkeydelivery")


def playready_object(name: KeyName) -> bytes:
    """A PlayReady Object with one header, version 4.3, which supports both schemes.

    Its key id is a GUID: the first three fields are little-endian.
    """
    kid = base64.b64encode(uuid.UUID(name.kid).bytes_le).decode()
    text = (
        f'<WRMHEADER xmlns="{_PLAYREADY_NAMESPACE}" version="4.3.0.0"><DATA><PROTECTINFO><KIDS>'
        f'<KID ALGID="{_PLAYREADY_ALGORITHMS[name.scheme]}" VALUE="{kid}"></KID>'
        "</KIDS></PROTECTINFO></DATA></WRMHEADER>"
    )
    header = text.encode("utf-16-le")
    record = struct.pack("<HH", _HEADER_RECORD, len(header)) + header
    return struct.pack("<IH", 6 + len(record), 1) + record


def _widevine_data(name: KeyName) -> bytes:
    """WidevinePsshData: field 2 is a key id, field 9 the scheme's four characters as a number."""
    scheme = int.from_bytes(name.scheme.encode())
    return b"\x12\x10" + bytes.fromhex(name.kid) + b"\x48" + _varint(scheme)


def _varint(value: int) -> bytes:
    """Encode a varint of Protocol Buffers: seven bits per byte, lowest first."""
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*coded, value))


def _pssh(system: str, data: bytes = b"", kids: Sequence[str] = ()) -> bytes:
    """Write a ``pssh`` box: version 1 if it lists key ids, else version 0."""
    key_list = struct.pack(">I", len(kids)) + b"".join(map(bytes.fromhex, kids)) if kids else b""
    head = struct.pack(">I", (1 << 24) if kids else 0) + uuid.UUID(system).bytes
    return box(b"pssh", head + key_list + struct.pack(">I", len(data)) + data)

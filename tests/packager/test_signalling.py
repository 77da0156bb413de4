import base64
import uuid

import pytest
from cpix.drm import playready, widevine
from lxml import etree

from headend.core.media import KeyName, Scheme, Signal
from headend.core.media.protection import KeyClass, key_name
from packager.signalling import SYSTEM_IDS, System, common_pssh, playready_object, signals

NAME = key_name("film", Scheme.CBCS, KeyClass.HD)
COUNTER = key_name("film", Scheme.CENC, KeyClass.HD)


def one(system: System, name: KeyName) -> Signal:
    [signal] = signals([name], [system])
    return signal


def test_the_common_box_lists_all_keys() -> None:
    other = key_name("film", Scheme.CBCS, KeyClass.SD)
    box = common_pssh([NAME.kid, other.kid])
    assert int.from_bytes(box[:4]) == len(box)
    assert box[4:12] == b"pssh\x01\0\0\0"
    assert uuid.UUID(bytes=box[12:28]) == uuid.UUID("1077efec-c0b2-4d02-ace3-3c1e52e2fb4b")
    assert box[28:] == b"\0\0\0\x02" + bytes.fromhex(NAME.kid) + bytes.fromhex(other.kid) + b"\0\0\0\0"


@pytest.mark.parametrize("name", [NAME, COUNTER])
def test_another_parser_reads_widevines_box(name: KeyName) -> None:
    signal = one(System.WIDEVINE, name)
    box = base64.b64decode(signal.pssh)
    parsed = widevine.PSSH_BOX.parse(box)
    assert parsed.system_id == uuid.UUID(SYSTEM_IDS[System.WIDEVINE]).bytes
    header = widevine.WidevineCencHeader.FromString(parsed.data)
    assert list(header.key_id) == [bytes.fromhex(name.kid)]
    assert header.protection_scheme == widevine.PROTECTION_SCHEME[name.scheme]


@pytest.mark.parametrize(("name", "algorithm"), [(NAME, "AESCBC"), (COUNTER, "AESCTR")])
def test_another_parser_reads_playreadys_box(name: KeyName, algorithm: str) -> None:
    signal = one(System.PLAYREADY, name)
    parsed = playready.pssh_box.parse(base64.b64decode(signal.pssh))
    assert parsed.system_id == uuid.UUID(SYSTEM_IDS[System.PLAYREADY]).bytes
    header = playready_object(name)
    assert int.from_bytes(header[:4], "little") == len(header)
    [kid] = etree.fromstring(header[10:].decode("utf-16-le")).iterfind(".//{*}KID")
    assert kid.get("ALGID") == algorithm
    assert uuid.UUID(bytes_le=base64.b64decode(kid.get("VALUE", ""))).hex == name.kid


def test_systems_are_signalled_only_for_schemes_that_they_decrypt() -> None:
    whole = key_name("film", Scheme.AES_128, KeyClass.HD)
    found = signals([NAME, COUNTER, whole], list(System))
    assert whole.kid not in {signal.kid for signal in found}
    assert [signal.kid for signal in found if signal.system == SYSTEM_IDS[System.FAIRPLAY]] == [NAME.kid]
    assert len(found) == 4 + 3

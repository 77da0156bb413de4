"""Keys of a title: a plan contains only public facts about them, and a changed secret is noticed."""

from dataclasses import replace
from pathlib import Path

import pytest

from headend.app import content_keys
from headend.core.errors import ConfigError
from headend.core.keys import ContentKey, cpix, lines
from headend.core.media import KeyClass, Scheme, Signal
from headend.core.media.protection import key_name, key_names
from headend.core.settings import KeySettings, ProtectionSettings
from packager import signalling
from tests.headend.core.keys.makers import make_keys, make_names
from tests.packager.test_encrypted_tracks import make_plan


def keys_file(folder: Path, *keys: ContentKey) -> KeySettings:
    path = folder / "keys"
    path.write_text(lines.write(keys))
    path.chmod(0o600)
    return KeySettings(str(path))


def test_a_plan_gets_names_vectors_and_checksums_but_no_secret(tmp_path: Path) -> None:
    keys = make_keys()
    [scope] = content_keys.scopes(ProtectionSettings((Scheme.CBCS,), keys_file(tmp_path, *keys.values())), make_plan())
    assert [name.key_class for name in scope.protection.names] == list(KeyClass)[:4]
    for name in scope.protection.names:
        assert (name.iv, name.checksum) == (keys[name.kid].name.iv, keys[name.kid].checksum())
        assert keys[name.kid].secret.hex() not in repr(scope)


def test_only_used_keys_are_requested(tmp_path: Path) -> None:
    plan = make_plan()
    plan = replace(plan, video=plan.video[:1], trick=())
    used = [key for key in make_keys().values() if key.name.key_class in (KeyClass.SD, KeyClass.AUDIO)]
    [scope] = content_keys.scopes(ProtectionSettings((Scheme.CBCS,), keys_file(tmp_path, *used)), plan)
    assert {name.key_class for name in scope.protection.names} == {KeyClass.SD, KeyClass.AUDIO}


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    keys = list(make_keys().values())[:3]
    with pytest.raises(ConfigError, match=key_name("film", Scheme.CBCS, KeyClass.UHD).kid):
        content_keys.scopes(ProtectionSettings((Scheme.CBCS,), keys_file(tmp_path, *keys)), make_plan())


def test_keys_of_another_scheme_are_refused(tmp_path: Path) -> None:
    wrong = [ContentKey(replace(name, scheme=Scheme.CENC, iv=""), bytes(16)) for name in make_names()]
    with pytest.raises(ConfigError, match="for cenc, not for cbcs"):
        content_keys.scopes(ProtectionSettings((Scheme.CBCS,), keys_file(tmp_path, *wrong)), make_plan())


def test_vectors_of_the_source_win_over_derived_ones(tmp_path: Path) -> None:
    names = [replace(name, iv=f"{number:032x}") for number, name in enumerate(make_names(), 1)]
    keys = [ContentKey(name, bytes([number]) * 16) for number, name in enumerate(names, 1)]
    settings = keys_file(tmp_path, *keys)
    [scope] = content_keys.scopes(ProtectionSettings((Scheme.CBCS,), settings), make_plan())
    assert [name.iv for name in scope.protection.names] == [name.iv for name in names]
    path = tmp_path / "film.cpix"
    path.write_bytes(cpix.write("film", names, {key.name.kid: key for key in keys}))
    path.chmod(0o600)
    settings = KeySettings(f"cpix:{path}")
    assert content_keys.scopes(ProtectionSettings((Scheme.CBCS,), settings), make_plan()) == (scope,)


def test_two_secrets_under_one_id_are_distinguished(tmp_path: Path) -> None:
    old, new = (
        make_keys(),
        {kid: ContentKey(key.name, key.secret[::-1][:15] + b"!") for kid, key in make_keys().items()},
    )
    [scope] = content_keys.scopes(ProtectionSettings((Scheme.CBCS,), keys_file(tmp_path, *old.values())), make_plan())
    names = scope.protection.names
    assert set(content_keys.opened(keys_file(tmp_path, *old.values()), "film", names)) == set(old)
    with pytest.raises(ConfigError, match="is not the one that the tracks of 'film' are encrypted with"):
        content_keys.opened(keys_file(tmp_path, *new.values()), "film", names)


def test_checksums_are_those_of_playready() -> None:
    """AES-ECB of the key id as GUID, its first 8 bytes: computed by hand for one key."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    name = key_name("film", Scheme.CENC, KeyClass.SD)
    kid = bytes.fromhex(name.kid)
    guid = kid[3::-1] + kid[5:3:-1] + kid[7:5:-1] + kid[8:]
    sealed = Cipher(algorithms.AES(bytes(range(16))), modes.ECB()).encryptor().update(guid)
    assert ContentKey(name, bytes(range(16))).checksum() == sealed[:8].hex()


def test_signals_of_the_source_replace_built_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = make_keys()
    widevine = signalling.SYSTEM_IDS[signalling.System.WIDEVINE]
    kid = key_name("film", Scheme.CBCS, KeyClass.HD).kid
    given = Signal(widevine, kid, "AAAA", "", "")
    monkeypatch.setattr("headend.core.keys.file.FileKeys.signals", lambda *_: (given,))
    source = keys_file(tmp_path, *keys.values())
    wanted = ProtectionSettings((Scheme.CBCS,), source, systems=("widevine", "clearkey"))
    [scope] = content_keys.scopes(wanted, make_plan())
    names = key_names("film", Scheme.CBCS)
    built = signalling.signals(names, (signalling.System.WIDEVINE, signalling.System.CLEARKEY))
    assert [s for s in scope.protection.signals if s.kid != kid] == [s for s in built if s.kid != kid]
    [mine] = [s for s in scope.protection.signals if (s.kid, s.system) == (kid, widevine)]
    assert mine.pssh == "AAAA"
    assert mine.hls_uri

"""Options for encryption."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from headend.app.cli import queueing, run
from headend.app.jobs.lists import Row
from headend.core.errors import ConfigError
from headend.core.keys import lines
from headend.core.keys.base import ContentKey, new_secret
from headend.core.media import Codec, Scheme
from headend.core.media.protection import key_names
from headend.core.settings import COPIED_CODECS, KeySettings, ProtectionSettings
from tests.support.command_line import headend_here
from tests.support.masters import Sound, make_film


def protection_of(*words: str) -> ProtectionSettings | None:
    [submission] = queueing.parse([Row("title 1 (film.mov)", ("--title", "film", *words, "film.mov"))])
    return submission.request.protection


def test_a_title_is_clear_by_default() -> None:
    assert protection_of() is None
    assert protection_of("--fit", "per-title") is None


def test_options_become_settings_with_absolute_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert protection_of("--protect", "cbcs", "--keys", "film.keys", "--fit", "per-title") == ProtectionSettings(
        (Scheme.CBCS,), KeySettings(f"{tmp_path}/film.keys")
    )
    words = ["--protect", "cbcs,cenc,aes-128", "--keys", "cpix:film.cpix", "--cpix-key", "me.pem", "--key-per", "all"]
    words += ["--key-epoch", "3", "--drm", "widevine,fairplay", "--cenc-codecs", "avc,aac"]
    assert protection_of(*words) == ProtectionSettings(
        (Scheme.CBCS, Scheme.CENC, Scheme.AES_128),
        KeySettings(f"cpix:{tmp_path}/film.cpix", f"{tmp_path}/me.pem"),
        one_key=True,
        epoch=3,
        systems=("widevine", "fairplay"),
        copied_codecs=(Codec.AVC, Codec.AAC),
    )
    words = ["--protect", "cbcs", "--keys", "film.keys", "--clear-lead", "4.5", "--rotate", "30m", "--hdcp"]
    assert protection_of(*words) == ProtectionSettings(
        (Scheme.CBCS,), KeySettings(f"{tmp_path}/film.keys"), lead_s=Fraction("4.5"), rotate_s=Fraction(1800), hdcp=True
    )
    for address in ("env:FILM_KEYS", "speke+https://keys.example/speke"):
        assert protection_of("--protect", "cenc", "--keys", address) == ProtectionSettings(
            (Scheme.CENC,), KeySettings(address), copied_codecs=COPIED_CODECS
        )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--protect", "cbcs"), "add --keys"),
        (("--keys", "film.keys"), "add --protect"),
        (("--protect", "aes-128", "--keys", "film.keys"), "use --protect cbcs,aes-128"),
        (("--protect", "cbc", "--keys", "film.keys"), "'cbc' is not a scheme"),
        (("--protect", "", "--keys", "film.keys"), "'' is not a scheme"),
        (("--protect", "cbcs", "--keys", ""), "keys come from"),
        (("--protect", "cbcs", "--keys", "https://keys.example"), "keys come from"),
        (("--protect", "cbcs", "--keys", "speke+http://keys.example"), "https://"),
        (("--protect", "cbcs", "--keys", "speke+https://me:secret@keys.example"), "must not contain a password"),
        (("--protect", "cbcs", "--keys", "k", "--drm", "primetime"), "'primetime' is not a DRM system"),
        (("--protect", "cbcs", "--keys", "k", "--cenc-codecs", "vtt"), "'vtt' is not a codec"),
        (("--protect", "cbcs", "--keys", "k", "--key-epoch", "0"), "0 is not in the range"),
        (("--rotate", "30m"), "--rotate works only with encryption: add --protect"),
        (("--clear-lead", "6"), "--clear-lead works only with encryption: add --protect"),
        (("--hdcp",), "--hdcp works only with encryption: add --protect"),
        (("--drm", "widevine"), "--drm works only with encryption: add --protect"),
        (("--protect", "cbcs", "--keys", "k", "--clear-lead", "-1"), "'-1' is not a number of seconds"),
        (("--protect", "cbcs", "--keys", "k", "--clear-lead", "inf"), "'inf' is not a number of seconds"),
        (("--protect", "cbcs", "--keys", "k", "--rotate", "often"), "'often' is not a duration"),
        (("--cpix-key", "me.pem"), "add --keys cpix:FILE"),
    ],
)
def test_contradictory_options_are_refused_in_a_line(words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ConfigError, match=r"title 1 \(film.mov\)") as error:
        protection_of(*words)
    assert expected in error.value.message
    assert "secret" not in error.value.message


def test_protect_needs_a_title_and_a_confirmation(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    words = ("protect", "film", "--store", "store", "--protect", "cbcs", "--keys", "film.keys")
    asked = headend_here(*words, cwd=tmp_path)
    assert (asked.returncode, asked.stderr.count("\n")) == (2, 1)
    assert "There is no terminal to ask on" in asked.stderr
    gone = headend_here(*words, "--yes", cwd=tmp_path)
    assert (gone.returncode, gone.stderr.count("\n")) == (2, 1)
    assert "'film' is not published" in gone.stderr


def test_a_plan_shows_what_each_key_encrypts_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_film(tmp_path / "film.mp4", frame_count=100, sound=[Sound()])
    names = [name for scheme in (Scheme.CBCS, Scheme.CENC) for name in key_names("film", scheme, periods=2)]
    keys = [ContentKey(name, new_secret()) for name in names]
    path = tmp_path / "film.keys"
    path.touch(0o600)
    path.write_text(lines.write(keys))
    words = ["plan", "film.mp4", "--title", "film", "--ladder", "smoke", "--segment-seconds", "1", "--workers", "1"]
    words += ["--protect", "cbcs,cenc", "--keys", "film.keys", "--rotate", "1s", "--clear-lead", "0.5"]
    assert run(words) == 0
    output = capsys.readouterr().out
    used = [key for key in keys if key.name.key_class in ("audio", "sd")]
    assert all(key.name.uuid in output for key in used)
    assert run([*words, "--json"]) == 0
    document = capsys.readouterr().out
    body = json.loads(document)["body"]
    assert [one["scheme"] for one in body["protection"]] == ["cbcs", "cenc"]
    assert {one["lead_segments"] for one in body["protection"]} == {1}
    sealed = {one["rendition"]: one["kid"] for one in body["sealings"].values() if one["scheme"] == "cbcs"}
    assert sealed.keys() == {one["id"] for kind in ("video", "trick", "audio") for one in body[kind]}
    assert not any(key.secret.hex() in output + document for key in keys)

    path.write_text(lines.write(key for key in keys if key.name.period == 1))
    assert run(words) == 2
    assert "period 2" in capsys.readouterr().err


def test_a_missing_key_is_reported_before_a_title_is_analysed(tmp_path: Path) -> None:
    make_film(tmp_path / "film.mp4", frame_count=10)
    path = tmp_path / "film.keys"
    path.touch(0o600)
    words = ("--ladder", "smoke", "--workers", "1", "--store", "store", "--fit", "per-title", "--protect", "cbcs")
    done = headend_here("submit", "film.mp4", "--title", "film", *words, "--keys", "film.keys", cwd=tmp_path)
    assert done.returncode == 2
    assert "has no key" in done.stderr
    assert not list((tmp_path / "store").rglob("analysis/*"))

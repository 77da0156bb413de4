"""A clear lead and changing keys: independent decryptors read each part of a track."""

import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as Xml

import m3u8
import pytest
from lxml import etree

from encoder import tool
from headend.app import encrypting, verifying
from headend.app.editing import Edit, edit
from headend.app.pipeline import submit
from headend.app.request import Request
from headend.core import layout
from headend.core.errors import ConfigError
from headend.core.keys import ContentKey
from headend.core.media import AnyTrack, Effort, Presentation, Protection, Scheme
from headend.core.media.protection import kid_at
from headend.core.settings import (
    AudioFileChoice,
    ClusterSettings,
    EncodeSettings,
    KeySettings,
    ProtectionSettings,
    StoreSettings,
)
from headend.core.storage import Store, open_store
from ladders import choosing
from ladders.loading import load
from packager.signalling import System
from tests.headend.core.manifests.test_dash import SCHEMA
from tests.support import encryption
from tests.support.command_line import headend_here
from tests.support.content_keys import make_keys, write_keys
from tests.support.in_process import run_tasks
from tests.support.masters import Sound, make_film, make_sound

SCHEMES = (Scheme.CBCS, Scheme.CENC, Scheme.AES_128)
RUNGS = ("avc-90p-*", "hevc-90p-*", "av1-90p-*", "vp9-90p-*", "aac-*", "opus-*")
PERIODS = 3
"""Of two segments of 0.48 s each; the first segment is clear."""
DASH = {"": "urn:mpeg:dash:schema:mpd:2011"}
CENC = "cenc:default_KID"


@dataclass(frozen=True)
class ProtectedTitle:
    """A title with changing keys, encrypted in two ways, and its clear release."""

    clear: Presentation
    after: Presentation
    within: Presentation
    store: Store
    within_store: Store
    keys: dict[str, ContentKey]
    settings: ProtectionSettings
    folder: Path


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> ProtectedTitle:
    folder = tmp_path_factory.mktemp("changes")
    master = make_film(folder / "master.mp4", frame_count=75, size=(160, 90), sound=[Sound()])
    keys = make_keys(*SCHEMES, periods=PERIODS)
    path = write_keys(folder / "keys", keys)
    settings = ProtectionSettings(
        SCHEMES, KeySettings(str(path)), lead_s=Fraction(1, 4), rotate_s=Fraction(9, 10)
    )  # both are rounded up to whole segments

    def request(store: str, protection: ProtectionSettings | None) -> Request:
        encode = EncodeSettings(segment_s=Fraction(1, 2), chunk_s=Fraction(1), effort=Effort.DRAFT)
        ladder = choosing.select(load("smoke"), rungs=RUNGS)
        where = StoreSettings(str(folder / store))
        return Request(str(master), "film", ladder, where, ClusterSettings(workers=1), encode, protection=protection)

    clear = submit(request("after", None), run=run_tasks).presentation
    after = encrypting.encrypt(StoreSettings(str(folder / "after")), "film", settings).published.presentation
    within = submit(request("within", settings), run=run_tasks).presentation
    stores = [open_store(StoreSettings(str(folder / name))) for name in ("after", "within")]
    return ProtectedTitle(clear, after, within, *stores, {key.name.kid: key for key in keys}, settings, folder)


def sets(release: Presentation) -> list[tuple[Protection, tuple[AnyTrack, ...]]]:
    assert release.protection is not None
    found: list[tuple[Protection, tuple[AnyTrack, ...]]] = [
        (release.protection, (*release.video, *release.trick, *release.audio))
    ]
    return found + [(copy.protection, (*copy.video, *copy.trick, *copy.audio)) for copy in release.copies]


def write(protected: ProtectedTitle, path: Path, track: AnyTrack, period: int, numbers: range) -> Path:
    """Write a file of some segments after the init segment of a period."""
    keys = [layout.track_init("film", track.id, period)]
    keys += [layout.track_segment("film", track.id, number) for number in numbers]
    path.write_bytes(b"".join(protected.store.get(key) for key in keys))
    return path


@pytest.mark.heavy
def test_encrypting_during_or_after_encoding_makes_the_same_bytes(protected: ProtectedTitle) -> None:
    assert protected.after == protected.within
    keys = {info.key for info in protected.within_store.list(layout.tracks("film"))}
    assert sum(key.endswith(("/init-2.mp4", "/init-3.mp4")) for key in keys) == 2 * sum(
        len(tracks) for _, tracks in sets(protected.after)
    )
    for key in keys:
        assert protected.store.get(key) == protected.within_store.get(key), key


def test_ffmpeg_and_shaka_packager_decrypt_each_period_to_the_packets_of_the_clear_title(
    protected: ProtectedTitle, tmp_path: Path
) -> None:
    clear = {
        track.rendition.id: track for track in (*protected.clear.video, *protected.clear.trick, *protected.clear.audio)
    }
    judged = 0
    for protection, tracks in sets(protected.after)[:2]:
        assert (protection.lead_segments, protection.period_segments) == (1, 2)
        for track in tracks:
            for period in range(1, PERIODS + 1):
                numbers = range(2 * period - 1, 2 * period + 1)
                plain = write(protected, tmp_path / "plain.mp4", clear[track.rendition.id], 1, numbers)
                sealed = write(protected, tmp_path / "sealed.mp4", track, period, numbers)
                key = protected.keys[kid_at(track.kids, protection.schedule, numbers[-1])]
                wanted = encryption.packets(plain)
                assert encryption.packets(sealed, key) == wanted, (track.id, period)
                if period == 1:  # the lead is clear, the rest is not
                    lead = write(protected, tmp_path / "lead.mp4", track, 1, numbers[:1])
                    assert encryption.packets(lead) == wanted[: len(encryption.packets(lead))]
                large = set(
                    encryption.packets(write(protected, sealed, track, period, numbers[-1:]), at_least_bytes=128)
                )
                assert large.isdisjoint(wanted)
                opened = tmp_path / "opened.mp4"
                stream = "audio" if track in (*protected.after.audio, *protected.after.copies[0].audio) else "video"
                write(protected, sealed, track, period, numbers)
                encryption.shaka_decrypted(sealed, opened, stream, key)
                assert encryption.packets(opened) == wanted, (track.id, period)
                judged += 1
    assert judged == PERIODS * sum(len(tracks) for _, tracks in sets(protected.after)[:2])


def test_ffmpeg_plays_whole_encrypted_segments_across_changes_of_keys(
    protected: ProtectedTitle, tmp_path: Path
) -> None:
    titles = protected.folder / "after" / "titles" / "film"
    served = tmp_path / "film"
    served.mkdir()
    (served / "tracks").symlink_to(titles / "tracks")
    (served / "releases").symlink_to(titles / "releases")
    (served / "keys").mkdir()
    for kid, key in protected.keys.items():
        (served / "keys" / kid).write_bytes(key.secret)
    [(_, tracks)] = [one for one in sets(protected.after) if one[0].scheme is Scheme.AES_128]
    clear = {track.rendition.id: track for track in (*protected.clear.video, *protected.clear.audio)}
    for track in tracks:
        prints = []
        for release, played in ((protected.clear, clear[track.rendition.id]), (protected.after, track)):
            text = (titles / "releases" / release.release / f"{played.id}.m3u8").read_text()
            playlist = tmp_path / "played.m3u8"  # FFmpeg would resolve symbolic links to the real folder
            playlist.write_text(text.replace("../../", f"{served}/"))
            argv = [tool.ffmpeg_path(), "-v", "error", "-allowed_extensions", "ALL", "-i", str(playlist)]
            done = subprocess.run([*argv, "-f", "framemd5", "-"], check=True, capture_output=True, text=True)
            prints.append([line.rsplit(",", 1)[-1] for line in done.stdout.splitlines() if not line.startswith("#")])
        assert prints[0] == prints[1]
        assert prints[0]


def state_of_segments(playlist: str) -> list[tuple[int, str, str]]:
    """For each segment of a playlist: its number, its init segment, and the key lines that apply to it."""
    found, init, keys, was_key = [], "", "", False
    for line in playlist.splitlines():
        if line.startswith("#EXT-X-KEY:"):
            keys, was_key = (keys if was_key else "") + line, True
            continue
        was_key = False
        if line.startswith("#EXT-X-MAP:"):
            init = line.rsplit("/", 1)[-1].rstrip('"')
        elif line.endswith(".m4s"):
            found.append((int(Path(line).stem), init, keys))
    return found


def test_playlists_name_the_key_of_each_segment(protected: ProtectedTitle) -> None:
    folder = protected.folder / "after" / "titles" / "film" / "releases" / protected.after.release
    for protection, tracks in sets(protected.after):
        lead, each = protection.lead_segments, protection.period_segments
        assert (lead, each) == ((0, 2) if protection.scheme is Scheme.AES_128 else (1, 2))
        for track in tracks:
            for path in folder.glob(f"{track.id}*.m3u8"):
                output = state_of_segments(path.read_text())
                assert output
                for number, init, keys in output:
                    period = 1 + (number - 1) // each
                    kid = track.kids[period - 1]
                    assert init == layout.init_name(period)
                    assert bool(keys) == (number > lead), path
                    others = [other for other in track.kids if other != kid]
                    assert not keys or kid in keys.lower(), path
                    assert not any(other in keys.lower() for other in others), path
    top = m3u8.loads((folder / "multivariant.m3u8").read_text())
    assert len(top.session_keys) == PERIODS * 2  # of sound and of SD


def test_each_period_of_an_mpd_names_its_key_and_its_segments(protected: ProtectedTitle) -> None:
    folder = protected.folder / "after" / "titles" / "film" / "releases" / protected.after.release
    assert protected.after.protection is not None
    by_id = {track.id: track for _, tracks in sets(protected.after) for track in tracks}
    for name in ("manifest.mpd", "manifest-cenc.mpd"):
        periods = Xml.parse(folder / name).getroot().findall("Period", DASH)
        assert [period.get("start") for period in periods] == ["PT0S", "PT0.960000S", "PT1.920000S"]
        for index, period in enumerate(periods):
            seen = 0
            for one in period.iterfind("AdaptationSet", DASH):
                text = Xml.tostring(one, encoding="unicode")
                template = one.find("SegmentTemplate", DASH)
                assert template is not None
                if one.get("contentType") not in ("video", "audio"):
                    assert "default_KID" not in text
                    continue
                assert template.get("startNumber") == str(1 + 2 * index)
                assert template.get("initialization", "").endswith(layout.init_name(index + 1))
                first = template.find("SegmentTimeline/S", DASH)
                assert first is not None
                if one.get("contentType") == "video":
                    assert first.get("t") == template.get("presentationTimeOffset", "0")
                for representation in one.iterfind("Representation", DASH):
                    kid = by_id[representation.get("id", "")].kids[index]
                    assert kid in text.replace("-", "")
                    seen += 1
            assert seen


@pytest.mark.skipif(not SCHEMA.is_file(), reason=f"there is no schema at {SCHEMA}")
def test_an_mpd_of_several_periods_keeps_to_the_schema(protected: ProtectedTitle, tmp_path: Path) -> None:
    store = StoreSettings(str(tmp_path / "store"))
    shutil.copytree(protected.folder / "after", store.url)
    every = replace(protected.settings, systems=tuple(System))
    made_again = encrypting.encrypt(store, "film", every, release=protected.clear.release)
    assert made_again.written_bytes == 0  # only manifests name systems
    schema = etree.XMLSchema(etree.parse(SCHEMA))
    folder = tmp_path / "store" / "titles" / "film" / "releases" / made_again.published.presentation.release
    mpds = sorted(path.name for path in folder.glob("*.mpd"))
    assert mpds == ["manifest-cenc.mpd", "manifest.mpd"]
    for name in mpds:
        root = etree.parse(folder / name).getroot()
        assert len(root.findall("Period", DASH)) == PERIODS
        assert len(root.findall(".//cenc:pssh", {"cenc": "urn:mpeg:cenc:2013"})) >= 2 * PERIODS
        schema.assertValid(root)


def test_verify_decrypts_every_segment_and_reports_clear_ones_that_should_be_encrypted(
    protected: ProtectedTitle,
) -> None:
    verdict = verifying.verify(protected.store, "film", keys=protected.settings.keys, deep=True)
    assert verdict.findings == ()
    assert (verdict.not_decoded, verdict.not_compared) == ("", "")

    track = next(track for track in protected.after.video if track.rendition.codec == "avc")
    for key, message in (
        (layout.track_init("film", track.id, 2), "it does not state the key"),
        (layout.track_segment("film", track.id, 2), "its clear lead is too long"),
    ):
        kept = protected.store.get(key)
        lead = protected.store.get(layout.track_segment("film", track.id, 1))
        protected.store.put(
            key, lead if key.endswith("/2.m4s") else protected.store.get(layout.track_init("film", track.id))
        )
        found = verifying.verify(protected.store, "film", keys=protected.settings.keys).findings
        protected.store.put(key, kept)
        assert any(
            finding.object == key and (message in finding.message or "bytes" in finding.message) for finding in found
        )


def test_added_sound_has_the_lead_and_the_keys_of_each_period(protected: ProtectedTitle, tmp_path: Path) -> None:
    store = StoreSettings(str(tmp_path / "store"))
    shutil.copytree(protected.folder / "after", store.url)
    file = make_sound(tmp_path / "fr.wav", duration_s=Fraction(3), sound=[Sound(codec="pcm_s16le", language="")])
    wanted = Edit(audio=(AudioFileChoice(str(file), "fr"),))
    edited = edit(store, "film", wanted, keys=protected.settings.keys, run=run_tasks).published.presentation
    assert edited.protection == protected.after.protection
    added = [(p, tracks[-1]) for p, tracks in sets(edited)]
    for _, track in added:
        assert (track.rendition.language, len(set(track.kids))) == ("fr", PERIODS)  # type: ignore[union-attr]
    assert len({kid for _, track in added for kid in track.kids}) == len(SCHEMES) * PERIODS
    found = verifying.verify(open_store(store), "film", keys=protected.settings.keys, deep=True)
    assert (found.findings, found.not_decoded) == ((), "")


def test_impossible_settings_are_refused_before_anything_is_made(protected: ProtectedTitle) -> None:
    store = StoreSettings(str(protected.folder / "after"))
    for changed, message in (
        ({"lead_s": Fraction(3)}, "nothing of this title .* would be encrypted"),
        ({"lead_s": Fraction(0), "rotate_s": Fraction(1, 2), "epoch": 9}, "period 2|has no key"),
    ):
        settings = replace(protected.settings, **changed)
        with pytest.raises(ConfigError, match=message):
            encrypting.encrypt(store, "film", settings, release=protected.clear.release)


def test_the_command_line_makes_and_shows_a_lead_and_changing_keys(protected: ProtectedTitle) -> None:
    store = protected.folder / "after"
    listed = json.loads(headend_here("keys", "list", "film", "--periods", "2", "--json").stdout)
    assert [(key["class"], key["period"]) for key in listed["keys"]][::4] == [("audio", 1), ("audio", 2)]
    done = headend_here(
        "protect", "film", "--release", protected.clear.release, "--store", store, "--protect", "cbcs", "--keys",
        protected.settings.keys.address, "--clear-lead", "0.25", "--rotate", "1s", "--yes", "--json",
    )  # fmt: skip
    [protection] = json.loads(done.stdout)["protection"]
    assert (protection["clear_lead_segments"], protection["rotation_segments"]) == (1, 3)
    assert [key["period"] for key in protection["keys"]] == [1, 1, 2, 2]
    shown = headend_here("show", "film", "--store", store).stdout
    assert "in the clear for 0.48 s" in " ".join(shown.split())
    assert "new keys every 1.44 s, 2 of each class" in " ".join(shown.split())

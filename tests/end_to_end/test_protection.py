"""Encrypted titles: independent decryptors read them, and nobody reads them without keys."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cloudpickle
import psutil
import pytest

from encoder import tool
from headend.app import deciding, encrypting, verifying
from headend.app.editing import Edit, Label, edit
from headend.app.performing import perform
from headend.app.pipeline import submit
from headend.app.request import Event, PublishedEarly, Request
from headend.app.task_context import context_of
from headend.core import layout
from headend.core.errors import ConfigError, PackagingError, WorkerUnfit
from headend.core.keys import ContentKey
from headend.core.media import (
    AudioRendition,
    AudioRole,
    Codec,
    Effort,
    KeyClass,
    Presentation,
    Scheme,
    Track,
)
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
from packager import publishing, reading
from packager.conformance import NO_KEYS
from packager.presentation import stored_tracks
from tests.support import encryption
from tests.support.canaries import forms
from tests.support.command_line import command, environment, headend
from tests.support.content_keys import make_keys, write_keys
from tests.support.in_process import run_tasks
from tests.support.masters import Sound, make_film, make_sound

SCHEMES = (Scheme.CBCS, Scheme.CENC, Scheme.AES_128)
RUNGS = ("avc-*", "hevc-90p-*", "av1-90p-*", "vp9-90p-*", "aac-*", "opus-*", "eac3-*")


@dataclass(frozen=True)
class ProtectedTitle:
    """One title that was encrypted after encoding, and one that was encrypted during encoding."""

    clear: Presentation
    after: Presentation
    within: Presentation
    after_store: Store
    within_store: Store
    keys: dict[str, ContentKey]
    settings: ProtectionSettings
    folder: Path


def request_for(master: Path, store: Path, protection: ProtectionSettings | None) -> Request:
    encode = EncodeSettings(segment_s=Fraction(1, 2), chunk_s=Fraction(1), effort=Effort.DRAFT)
    ladder = choosing.select(load("smoke"), rungs=RUNGS)
    cluster = ClusterSettings(workers=1)
    return Request(str(master), "film", ladder, StoreSettings(str(store)), cluster, encode, protection=protection)


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> ProtectedTitle:
    folder = tmp_path_factory.mktemp("protection")
    master = make_film(folder / "master.mp4", frame_count=50, size=(320, 180), sound=[Sound()])
    keys = make_keys(*SCHEMES)
    path = write_keys(folder / "keys", keys)
    settings = ProtectionSettings(SCHEMES, KeySettings(str(path)))
    clear = submit(request_for(master, folder / "after", None), run=run_tasks).presentation
    after = encrypting.encrypt(StoreSettings(str(folder / "after")), "film", settings).published.presentation
    within = submit(request_for(master, folder / "within", settings), run=run_tasks).presentation
    stores = [open_store(StoreSettings(str(folder / name))) for name in ("after", "within")]
    return ProtectedTitle(clear, after, within, *stores, {key.name.kid: key for key in keys}, settings, folder)


def track_files(store: Store, presentation: Presentation, folder: Path) -> Iterator[tuple[str, str, Path, str]]:
    """Rendition, scheme, file and key id of each track that FFmpeg can open."""
    sets = [("", presentation), *((one.protection.scheme.value, one) for one in presentation.copies)]
    for scheme, one in sets:
        for track in (*one.video, *one.trick, *one.audio):
            keys = [layout.track_init("film", track.id)]
            keys += [layout.track_segment("film", track.id, segment.number) for segment in track.segments]
            path = folder / f"{track.id}.mp4"
            path.write_bytes(b"".join(store.get(key) for key in keys))
            yield track.rendition.id, scheme, path, track.kid


def test_encrypting_during_or_after_encoding_makes_the_same_bytes(protected: ProtectedTitle) -> None:
    assert protected.after == protected.within
    for info in protected.within_store.list(layout.tracks("film")):
        assert protected.after_store.get(info.key) == protected.within_store.get(info.key), info.key


def test_ffmpeg_and_shaka_packager_decrypt_every_rendition_to_the_packets_of_the_clear_title(
    protected: ProtectedTitle, tmp_path: Path
) -> None:
    judged = are_decrypted(protected.after_store, protected.clear, protected.after, protected.keys, tmp_path)
    clear = len((*protected.clear.video, *protected.clear.trick, *protected.clear.audio))
    assert judged == clear + sum(len((*c.video, *c.trick, *c.audio)) for c in protected.after.copies[:1])


def are_decrypted(
    store: Store, clear: Presentation, encrypted: Presentation, keys: dict[str, ContentKey], folder: Path
) -> int:
    """Compare each encrypted track with the clear one, packet by packet; returns the number of tracks."""
    packets = {id: encryption.packets(path) for id, _, path, _ in track_files(store, clear, folder)}
    judged = 0
    for id, scheme, path, kid in track_files(store, encrypted, folder):
        if scheme == Scheme.AES_128:
            continue
        assert encryption.packets(path, keys[kid]) == packets[id], (id, scheme)
        opened = folder / "opened.mp4"
        stream = "audio" if id.startswith(("aac", "opus", "ac3", "eac3")) else "video"
        encryption.shaka_decrypted(path, opened, stream, keys[kid])
        assert encryption.packets(opened) == packets[id], (id, scheme)
        path.unlink()
        judged += 1
    return judged


@pytest.mark.heavy
def test_every_rendition_of_the_studio_ladder_is_decrypted_in_both_schemes(tmp_path: Path) -> None:
    master = make_film(
        tmp_path / "master.mp4", frame_count=40, frame_rate=Fraction(20), size=(1280, 720), sound=[Sound()]
    )
    keys = make_keys(Scheme.CBCS, Scheme.CENC)
    path = write_keys(tmp_path / "keys", keys)
    request = replace(request_for(master, tmp_path / "store", None), ladder=load("studio"))
    clear = submit(request, run=run_tasks).presentation
    settings = ProtectionSettings(
        (Scheme.CBCS, Scheme.CENC), KeySettings(str(path)), copied_codecs=tuple(Codec)
    )  # both schemes for all codecs
    encrypted = encrypting.encrypt(request.store, "film", settings).published.presentation
    by_kid = {key.name.kid: key for key in keys}
    judged = are_decrypted(open_store(request.store), clear, encrypted, by_kid, tmp_path)
    renditions = len((*clear.video, *clear.audio))
    assert renditions >= 60
    assert judged == 2 * (renditions + len(clear.trick))
    assert verifying.verify(open_store(request.store), "film", keys=settings.keys, deep=True).findings == ()


def test_ffmpeg_plays_whole_encrypted_segments(protected: ProtectedTitle, tmp_path: Path) -> None:
    copied = tmp_path / "titles" / "film"
    shutil.copytree(protected.folder / "after" / "titles" / "film", copied)
    (copied / "keys").mkdir()
    for kid, key in protected.keys.items():
        (copied / "keys" / kid).write_bytes(key.secret)
    by_id = {track.rendition.id: track for track in (*protected.clear.video, *protected.clear.audio)}
    [whole] = [copy for copy in protected.after.copies if copy.protection.scheme is Scheme.AES_128]
    assert {track.rendition.codec for track in (*whole.video, *whole.audio)} == {"avc", "hevc", "aac"}
    assert not whole.trick
    for track in (*whole.video, *whole.audio):
        prints = []
        for release, played in ((protected.clear, by_id[track.rendition.id]), (protected.after, track)):
            playlist = copied / "releases" / release.release / f"{played.id}.m3u8"
            argv = [tool.ffmpeg_path(), "-v", "error", "-allowed_extensions", "ALL", "-i", str(playlist)]
            done = subprocess.run([*argv, "-f", "framemd5", "-"], check=True, capture_output=True, text=True)
            prints.append([line.rsplit(",", 1)[-1] for line in done.stdout.splitlines() if not line.startswith("#")])
        assert prints[0] == prints[1]
        assert prints[0]


def test_openssl_opens_whole_encrypted_segments_to_the_bytes_of_the_clear_title(protected: ProtectedTitle) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    clear = {track.rendition.id: track for track in (*protected.clear.video, *protected.clear.audio)}
    [whole] = [copy for copy in protected.after.copies if copy.protection.scheme is Scheme.AES_128]
    opened = 0
    for track in (*whole.video[:1], *whole.audio[:1]):
        other, key = clear[track.rendition.id], protected.keys[track.kid]
        pairs = [(layout.track_init("film", track.id), layout.track_init("film", other.id))]
        pairs += [
            (layout.track_segment("film", track.id, one.number), layout.track_segment("film", other.id, one.number))
            for one in track.segments
        ]
        for sealed, plain in pairs:
            argv = [openssl, "enc", "-d", "-aes-128-cbc", "-K", key.secret.hex(), "-iv", key.name.iv]  # a test's key
            done = subprocess.run(argv, input=protected.after_store.get(sealed), capture_output=True, check=True)
            assert done.stdout == protected.after_store.get(plain), sealed
            opened += 1
    assert opened > 4


def test_nothing_can_be_decoded_without_the_key(protected: ProtectedTitle, tmp_path: Path) -> None:
    for id, scheme, path, _ in track_files(protected.after_store, protected.after, tmp_path):
        if scheme == Scheme.AES_128 or "trick" in id:
            continue
        with av.open(str(path)) as container:
            try:
                frames = [frame for frame in container.decode() if getattr(frame, "is_corrupt", False) is False]
            except av.FFmpegError:
                continue
        assert len(frames) <= 60  # some decoders conceal errors, but don't show the film
        packets = set(encryption.packets(path, at_least_bytes=64))
        assert packets.isdisjoint(
            encryption.packets(path, protected.keys[track_kid(protected, path)], at_least_bytes=64)
        )


def track_kid(protected: ProtectedTitle, path: Path) -> str:
    tracks = [*protected.after.video, *protected.after.trick, *protected.after.audio]
    tracks += [track for copy in protected.after.copies for track in (*copy.video, *copy.trick, *copy.audio)]  # type: ignore[list-item]
    return next(track.kid for track in tracks if track.id == path.stem)


def test_no_two_samples_under_one_key_share_a_vector(protected: ProtectedTitle, tmp_path: Path) -> None:
    seen: set[tuple[str, bytes]] = set()
    count = 0
    for _, scheme, path, kid in track_files(protected.after_store, protected.after, tmp_path):
        if scheme == Scheme.CENC:
            for iv, _ in encryption.rows(path.read_bytes()):
                seen.add((kid, iv))
                count += 1
    assert len(seen) == count > 100


def test_verify_decrypts_and_finds_faults(protected: ProtectedTitle, tmp_path: Path) -> None:
    store = StoreSettings(str(tmp_path / "store"))
    shutil.copytree(protected.folder / "after", store.url)
    opened = open_store(store)
    verdict = verifying.verify(opened, "film", keys=protected.settings.keys, deep=True)
    assert verdict.findings == ()
    assert (verdict.not_decoded, verdict.not_compared) == ("", "")
    assert verdict.compared > 0
    without_keys = verifying.verify(opened, "film")
    assert without_keys.findings == ()
    assert without_keys.not_decoded == without_keys.not_compared == NO_KEYS

    path = write_keys(tmp_path / "wrong", (ContentKey(key.name, bytes(16)) for key in protected.keys.values()))
    with pytest.raises(ConfigError, match="is not the one that the tracks of 'film' are encrypted with"):
        verifying.verify(opened, "film", keys=KeySettings(str(path)))

    track = protected.after.copies[1].audio[0]
    key = layout.track_segment("film", track.id, 1)
    opened.put(key, opened.get(key)[:-16])
    [finding, *_] = verifying.verify(opened, "film", keys=protected.settings.keys).findings
    assert finding.object == key


def test_labels_and_order_reach_the_copies_when_a_title_is_edited(protected: ProtectedTitle, tmp_path: Path) -> None:
    store = StoreSettings(str(tmp_path / "store"))
    shutil.copytree(protected.folder / "after", store.url)
    sound = protected.after.audio[0].rendition.id
    dropped = protected.after.video[-1].rendition.id
    edited = edit(store, "film", Edit(remove=("avc-90p-60k", dropped), labels=(Label(sound, "fr", "dub", "Français"),)))
    release = edited.published.presentation
    assert release.protection == protected.after.protection
    for copy in release.copies:
        assert {track.rendition.language for track in copy.audio} == {"fr"}
        assert "avc-90p-60k" not in {track.rendition.id for track in copy.video}
    assert verifying.verify(open_store(store), "film", keys=protected.settings.keys).findings == ()


def test_sound_added_to_an_encrypted_title_is_encrypted_like_the_rest(
    protected: ProtectedTitle, tmp_path: Path
) -> None:
    store, other = StoreSettings(str(tmp_path / "store")), StoreSettings(str(tmp_path / "other"))
    for one in (store, other):
        shutil.copytree(protected.folder / "after", one.url)
    file = make_sound(tmp_path / "fr.wav", sound=[Sound(codec="pcm_s16le", frequency_hz=1000, language="")])
    wanted = Edit(audio=(AudioFileChoice(str(file), "fr", AudioRole.MAIN),))
    before = set(open_store(store).list(""))
    would = edit(store, "film", wanted, keys=protected.settings.keys, dry_run=True)
    assert set(open_store(store).list("")) == before
    edited = edit(store, "film", wanted, keys=protected.settings.keys, run=run_tasks)
    assert (edited.added, edited.encoded) == (would.added, len(would.added))
    release = edited.published.presentation

    publishing.set_current(open_store(other), "film", protected.clear.release, submitted_at=publishing.now())
    clear = edit(other, "film", wanted, run=run_tasks).published.presentation
    again = encrypting.encrypt(other, "film", protected.settings).published.presentation
    assert (again.release, again.audio, again.copies) == (release.release, release.audio, release.copies)

    def added(whole: Presentation) -> Presentation:
        copies = tuple(replace(c, video=(), trick=(), audio=_french(c.audio)) for c in whole.copies)
        return replace(whole, video=(), trick=(), audio=_french(whole.audio), copies=copies)

    opened = open_store(store)
    for track in stored_tracks(added(release)):
        for info in opened.list(f"{layout.track_path('film', track.id)}/"):
            assert opened.get(info.key) == open_store(other).get(info.key), info.key
    for track in added(clear).audio:  # none of it is clear
        assert not list(opened.list(f"{layout.track_path('film', track.id)}/"))
    for path in Path(other.url).rglob("*-fr-*/*"):
        (Path(store.url) / path.relative_to(other.url)).parent.mkdir(exist_ok=True)
        shutil.copy(path, Path(store.url) / path.relative_to(other.url))
    assert are_decrypted(opened, added(clear), added(release), protected.keys, tmp_path) == 5
    assert [len(copy.audio) for copy in added(release).copies] == [2, 1]  # cenc: AAC and E-AC-3; aes-128: AAC
    verdict = verifying.verify(opened, "film", keys=protected.settings.keys, deep=True)
    assert (verdict.findings, verdict.not_decoded, verdict.not_compared) == ((), "", "")
    # If it is removed and added again, it is not encoded again.
    edit(store, "film", Edit(remove=edited.added))
    repeated = edit(store, "film", wanted, keys=protected.settings.keys, run=run_tasks)
    assert (repeated.encoded, repeated.published.presentation.release) == (0, release.release)


def _french(tracks: tuple[Track[AudioRendition], ...]) -> tuple[Track[AudioRendition], ...]:
    return tuple(track for track in tracks if track.rendition.language == "fr")


def test_sound_is_not_added_without_the_keys_of_the_title(protected: ProtectedTitle, tmp_path: Path) -> None:
    store = StoreSettings(str(tmp_path / "store"))
    shutil.copytree(protected.folder / "after", store.url)
    file = make_sound(tmp_path / "fr.wav", sound=[Sound(codec="pcm_s16le", language="")])
    wanted = Edit(audio=(AudioFileChoice(str(file), "fr"),))
    keys_of_pictures = (key for key in protected.keys.values() if key.name.key_class is not KeyClass.AUDIO)
    pictures = write_keys(tmp_path / "pictures", keys_of_pictures)
    others = write_keys(tmp_path / "others", (ContentKey(key.name, bytes(16)) for key in protected.keys.values()))
    before = {info.key: info.etag for info in open_store(store).list("")}
    for keys, message in (
        (None, "is encrypted, so added sound must be too: give the title's keys with --keys"),
        (KeySettings(str(pictures)), "has no key"),
        (KeySettings(str(others)), "is not the one that the tracks of 'film' are encrypted with"),
        (KeySettings(str(tmp_path / "missing")), "can't be read"),
    ):
        with pytest.raises(ConfigError, match=message):
            edit(store, "film", wanted, keys=keys, run=run_tasks)
    publishing.set_current(open_store(store), "film", protected.clear.release, submitted_at=publishing.now())
    with pytest.raises(ConfigError, match="is not encrypted: remove --keys"):
        edit(store, "film", wanted, keys=protected.settings.keys, run=run_tasks)
    publishing.set_current(open_store(store), "film", protected.after.release, submitted_at=publishing.now())
    after = {info.key: info.etag for info in open_store(store).list("")}
    pointer = layout.current("film")
    assert {**after, pointer: ""} == {**before, pointer: ""}


def test_a_silent_encrypted_title_gets_the_key_of_sound(protected: ProtectedTitle, tmp_path: Path) -> None:
    store = StoreSettings(str(tmp_path / "store"))
    master = make_film(tmp_path / "silent.mp4", frame_count=50, size=(160, 90))
    request = replace(
        request_for(master, Path(store.url), protected.settings),
        ladder=choosing.select(load("smoke"), rungs=("avc-90p-*", "aac-*")),
    )
    silent = submit(request, run=run_tasks).presentation
    assert silent.protection is not None and {n.key_class for n in silent.protection.names} == {KeyClass.SD}
    file = make_sound(tmp_path / "fr.wav", sound=[Sound(codec="pcm_s16le", language="")])
    wanted = Edit(audio=(AudioFileChoice(str(file), "fr"),))
    made_of = edit(store, "film", wanted, keys=protected.settings.keys, run=run_tasks).published.presentation
    assert made_of.protection is not None
    assert [name.key_class for name in made_of.protection.names] == [KeyClass.AUDIO, KeyClass.SD]
    assert {signal.kid for signal in made_of.protection.signals} == {name.kid for name in made_of.protection.names}
    found = verifying.verify(open_store(store), "film", keys=protected.settings.keys, deep=True)
    assert (found.findings, found.not_decoded) == ((), "")


def test_a_clear_release_of_an_encrypted_title_can_get_new_keys(protected: ProtectedTitle, tmp_path: Path) -> None:
    store = StoreSettings(str(tmp_path / "store"))
    shutil.copytree(protected.folder / "after", store.url)
    with pytest.raises(ConfigError, match="is encrypted already: name a clear one with --release"):
        encrypting.encrypt(store, "film", protected.settings)
    path = write_keys(tmp_path / "keys-2", make_keys(Scheme.CBCS, epoch=2))
    settings = ProtectionSettings((Scheme.CBCS,), KeySettings(str(path)), epoch=2)
    again = encrypting.encrypt(store, "film", settings, release=protected.clear.release).published.presentation
    assert {track.kid for track in again.video}.isdisjoint({track.kid for track in protected.after.video})
    assert verifying.verify(open_store(store), "film", keys=settings.keys).findings == ()
    twice = encrypting.encrypt(store, "film", settings, release=protected.clear.release)
    assert (twice.reused_tracks, twice.written_bytes) == (twice.tracks, 0)
    assert twice.published.presentation == again


def test_a_damaged_clear_track_is_not_encrypted(protected: ProtectedTitle, tmp_path: Path) -> None:
    store = StoreSettings(str(tmp_path / "store"))
    shutil.copytree(protected.folder / "after", store.url)
    [damaged] = [
        track for track in protected.clear.video if track.rendition.codec == "av1"
    ]  # it has no copy in cenc yet
    key = layout.track_segment("film", damaged.id, 1)
    opened = open_store(store)
    opened.put(key, opened.get(key)[:-1] + b"!")
    before = reading.current_release(opened, "film")
    settings = replace(protected.settings, schemes=(Scheme.CENC,))
    with pytest.raises(PackagingError, match="is damaged: submit the master again"):
        encrypting.encrypt(store, "film", settings, release=protected.clear.release)
    assert reading.current_release(opened, "film") == before


def test_keys_occur_in_no_object_log_message_or_command_line(protected: ProtectedTitle, tmp_path: Path) -> None:
    # Secrets of its own, since the decryptors of other tests, which may run at the same time, take theirs from argv.
    own = make_keys(*SCHEMES, first=100)
    keys = write_keys(tmp_path / "keys", own)
    canaries = {form for key in own for form in forms(key.secret)}
    master = protected.folder / "master.mp4"
    store = tmp_path / "store"
    words = command(
        "submit", master, "--title", "film", "--ladder", "smoke", "--only-rungs", "avc-90p-*,aac-*", "--store", store,
        "--protect", "cbcs,cenc,aes-128", "--keys", keys, "--segment-seconds", "1",
        "--chunk-seconds", "1", "--effort", "draft", "--workers", "1", "--verbose",
    )  # fmt: skip
    exposed: set[bytes] = set()
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            for process in psutil.process_iter():
                try:
                    exposed.add(Path(f"/proc/{process.pid}/cmdline").read_bytes())
                    if process.pid != os.getpid():
                        exposed.add(Path(f"/proc/{process.pid}/environ").read_bytes())
                except (OSError, psutil.Error):
                    pass
            time.sleep(0.05)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        done = subprocess.run(words, capture_output=True, env=environment(), timeout=240, check=True)
    finally:
        stop.set()
        poller.join()
    exposed |= {done.stdout, done.stderr}
    verified = headend("verify", "film", "--store", store, "--keys", keys, "--json", "--verbose")
    exposed |= {verified.stdout.encode(), verified.stderr.encode()}
    exposed |= {path.read_bytes() for path in store.rglob("*") if path.is_file()}
    for form in canaries:
        assert not any(form in one for one in exposed)


def test_no_key_passes_through_dask(protected: ProtectedTitle) -> None:
    canaries = {form for key in protected.keys.values() for form in forms(key.secret)}
    request = request_for(protected.folder / "master.mp4", protected.folder / "nothing", protected.settings)
    probe = deciding.inspect(request.master, request.store)
    plan = deciding.plan_for(request, probe)
    assert plan.sealings
    sent = cloudpickle.dumps((context_of(plan, request.store, protected.settings.keys), plan.tasks))
    assert protected.settings.keys.address.encode() in sent
    assert not any(form in sent for form in canaries)


def test_clear_titles_load_no_cryptography() -> None:
    code = """
import sys
from headend.app import deciding, editing, performing, task_keys, verifying
from headend.app.task_context import TaskContext
from headend.app.request import Event, PublishedEarly
from headend.core.media import EncodeTask, Kind
from headend.core.timing import Chunk
from packager import conformance, publishing, reading
from packager.segmenting import sound, video
context = TaskContext(None, "film", None, "", "", None, {}, {}, {}, 0, {}, ())
assert task_keys.seals_of(context, EncodeTask("t", Kind.VIDEO, Chunk(0, 0, 1, 1), ("avc",), (), 0.0)) == {}
assert not [name for name in sys.modules if name.split(".")[0] == "cryptography"], "cryptography is loaded"
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), timeout=60)


@pytest.mark.heavy
def test_a_killed_and_repeated_job_makes_the_same_bytes(protected: ProtectedTitle, tmp_path: Path) -> None:
    words = [
        "submit", protected.folder / "master.mp4", "--title", "film", "--ladder", "smoke",
        "--only-rungs", ",".join(RUNGS),
        "--protect", "cbcs,cenc,aes-128", "--keys", protected.settings.keys.address, "--segment-seconds", "1/2",
        "--chunk-seconds", "1", "--effort", "draft", "--workers", "1",
    ]  # fmt: skip
    store = tmp_path / "store"
    opened = open_store(StoreSettings(str(store)))
    for wanted in (1, 2, 4):
        job = subprocess.Popen(
            command(*words, "--store", store), env=environment(), start_new_session=True, stderr=subprocess.DEVNULL
        )
        deadline_s = time.monotonic() + 120
        while sum(1 for _ in opened.list(layout.receipts("film"))) < wanted and time.monotonic() < deadline_s:
            if job.poll() is not None:
                break
            time.sleep(0.05)
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        assert not [info.key for info in opened.list("titles/") if info.key.endswith((".m3u8", ".mpd"))] or (
            job.returncode == 0
        )
    subprocess.run(command(*words, "--store", store), env=environment(), check=True, timeout=240, capture_output=True)
    for info in protected.within_store.list(layout.tracks("film")):
        assert opened.get(info.key) == protected.within_store.get(info.key), info.key
    assert reading.current_release(opened, "film") == protected.within.release


def test_a_worker_without_the_keys_fails_before_it_encodes(protected: ProtectedTitle, tmp_path: Path) -> None:
    request = request_for(protected.folder / "master.mp4", tmp_path / "store", protected.settings)
    plan = deciding.plan_for(request, deciding.inspect(request.master, request.store))
    missing = tmp_path / "missing"
    other = write_keys(tmp_path / "other", (ContentKey(key.name, bytes(16)) for key in protected.keys.values()))
    for path, message in ((missing, "can't be read"), (other, "is not the one that the tracks of 'film'")):
        order = context_of(plan, request.store, KeySettings(str(path)))
        with pytest.raises(WorkerUnfit, match=message):
            run_tasks(plan.tasks[:1], partial(perform, order), request.cluster, lambda _: None)
    assert not list(open_store(request.store).list(layout.tracks("film")))


def test_an_early_release_is_encrypted_in_all_schemes(protected: ProtectedTitle, tmp_path: Path) -> None:
    request = request_for(protected.folder / "master.mp4", tmp_path / "store", protected.settings)
    early: list[Presentation] = []

    def note(event: Event) -> None:
        if isinstance(event, PublishedEarly):
            early.append(event.presentation)

    outcome = submit(replace(request, publish_early=True), note, run=run_tasks)
    [first] = early
    assert {track.rendition.codec for track in first.video} == {"avc"}
    assert all(track.kid for track in (*first.video, *first.trick, *first.audio))
    assert [copy.protection for copy in first.copies] == [copy.protection for copy in outcome.presentation.copies]
    assert all(copy.video and copy.audio for copy in first.copies)
    assert outcome.presentation == protected.within

"""Encrypted tracks, their keys and their names."""

import random
from dataclasses import replace

import pytest

from headend.core.errors import ConfigError
from headend.core.media import Codec, Effort, EncodePlan, KeyClass, Protection, Scheme
from headend.core.media.protection import key_names
from headend.core.timing import Grid
from packager import encrypted_tracks
from packager.encrypted_tracks import Scope, check_vectors, codecs_of, salt_of, with_encrypted_tracks
from packager.protecting import iv_of
from tests.support.makers import make_audio_rendition, make_master, make_video_rendition

GRID = Grid(24, frame_count=48, gop_frames=12, segment_frames=24, chunk_frames=48)  # type: ignore[arg-type]
SD = make_video_rendition(id="avc-360p", width_px=640, height_px=360)
HD = make_video_rendition(id="hevc-720p", codec=Codec.HEVC, width_px=1280, height_px=720)
UHD = make_video_rendition(id="av1-2160p", codec=Codec.AV1, width_px=3840, height_px=2160)
TRICK = replace(SD, id="avc-360p-trick", rate_divisor=12)
SOUND = make_audio_rendition(id="aac")
OPUS = make_audio_rendition(id="opus", codec=Codec.OPUS)


def make_plan(title: str = "film") -> EncodePlan:
    renditions = (SD, HD, UHD, TRICK, SOUND, OPUS)
    return EncodePlan(
        title=title,
        master=make_master(),
        ladder="",
        effort=Effort.DRAFT,
        tool="",
        grid=GRID,
        decisions=(),
        video=(SD, HD, UHD),
        audio=(SOUND, OPUS),
        tasks=(),
        trick=(TRICK,),
        tracks={**{one.id: f"{one.id}-0123456789" for one in renditions}, "poster": "poster-0123456789"},
    )


def scope(scheme: Scheme, *, epoch: int = 1, one_key: bool = False, checksum: str = "", place: int = 0) -> Scope:
    names = (replace(n, checksum=checksum) for n in key_names("film", scheme, one_key=one_key, epoch=epoch))
    return Scope(Protection(scheme, tuple(names)), codecs_of(scheme, place, (Codec.AVC, Codec.AAC)))


def test_sound_sd_hd_and_uhd_have_separate_keys() -> None:
    plan = with_encrypted_tracks(make_plan(), [scope(Scheme.CBCS)])
    by_kid = {name.kid: name.key_class for name in plan.protection[0].names}
    assert {name: by_kid[one.kid] for name, one in plan.sealings.items()} == {
        "avc-360p": KeyClass.SD,
        "avc-360p-trick": KeyClass.SD,
        "hevc-720p": KeyClass.HD,
        "av1-2160p": KeyClass.UHD,
        "aac": KeyClass.AUDIO,
        "opus": KeyClass.AUDIO,
    }
    assert plan.tracks["poster"] == "poster-0123456789"


def test_one_key_can_decrypt_all_tracks() -> None:
    plan = with_encrypted_tracks(make_plan(), [scope(Scheme.CBCS, one_key=True)])
    assert len({one.kid for one in plan.sealings.values()}) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"epoch": 2},
        {"one_key": True},
        {"checksum": "aa"},
    ],
)
def test_everything_that_decides_the_bytes_is_part_of_the_name(changed: dict[str, object]) -> None:
    first = with_encrypted_tracks(make_plan(), [scope(Scheme.CBCS)])
    other = with_encrypted_tracks(make_plan(), [scope(Scheme.CBCS, **changed)])  # type: ignore[arg-type]
    assert first.tracks["aac"] != other.tracks["aac"]
    assert first.tracks == with_encrypted_tracks(make_plan(), [scope(Scheme.CBCS)]).tracks


def test_copies_have_their_own_names_and_share_encodes() -> None:
    scopes = [scope(Scheme.CBCS), scope(Scheme.CENC, place=1), scope(Scheme.AES_128, place=2)]
    plan = with_encrypted_tracks(make_plan(), scopes)
    assert {name for name in plan.sealings if "." in name} == {
        "avc-360p.cenc", "avc-360p-trick.cenc", "aac.cenc",
        "avc-360p.aes-128", "hevc-720p.aes-128", "aac.aes-128",
    }  # fmt: skip
    assert len(set(plan.tracks.values())) == len(plan.tracks)
    assert plan.encoded_for("aac.cenc") == plan.encoded_for("aac") == "aac"
    assert plan.chunks_of("aac.cenc") == plan.chunks_of("aac")


def test_aes_128_can_not_come_first() -> None:
    with pytest.raises(ConfigError, match="--protect cbcs,aes-128"):
        codecs_of(Scheme.AES_128, 0, ())


def test_a_copy_without_a_picture_is_refused() -> None:
    plan = replace(make_plan(), video=(UHD,))
    with pytest.raises(ConfigError, match="copy in cenc would have no video"):
        with_encrypted_tracks(plan, [scope(Scheme.CBCS), scope(Scheme.CENC, place=1)])


def test_two_tracks_that_would_share_vectors_are_refused() -> None:
    plan = with_encrypted_tracks(make_plan(), [scope(Scheme.CENC)])
    check_vectors(plan, plan.tracks.values())
    collided = {**plan.tracks, "opus": f"opus-{plan.tracks['aac'][-10:-2]}00"}
    with pytest.raises(ConfigError, match=r"aac-\w+ and opus-\w+ would share initialisation vectors.*--key-epoch"):
        check_vectors(replace(plan, tracks=collided), ())
    planted = f"vp9-90p-{plan.tracks['aac'][-10:-2]}ff"
    with pytest.raises(ConfigError, match="would share"):
        check_vectors(plan, [planted])
    # In cbcs, every sample has the same vector, so tracks of other schemes can't collide.
    check_vectors(with_encrypted_tracks(make_plan(), [scope(Scheme.CBCS)]), [planted, "vp9-90p-" + planted[-10:]])


def test_a_million_samples_have_a_million_different_vectors() -> None:
    chosen = random.Random(16)
    places = {(chosen.getrandbits(8), chosen.getrandbits(32)) for _ in range(1_000_000)}
    salts = [salt_of(f"avc-{track:08x}ab") for track in range(256)]
    assert len({iv_of(salts[track], sample) for track, sample in places}) == len(places)


def test_salts_are_the_start_of_a_tracks_digest() -> None:
    assert salt_of("aac-2.0-128k-en-0123456789") == bytes.fromhex("01234567")
    assert encrypted_tracks.TRACK_CHARACTERS == 10

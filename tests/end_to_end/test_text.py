"""Text through the whole pipeline: players read the same cues as in the master and its sidecars."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import boto3
import pytest

from headend.app import deciding, pipeline
from headend.app.request import Request
from headend.core import layout
from headend.core.errors import MasterError
from headend.core.media import Codec, Effort, Presentation, Track
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings, TextChoice
from headend.core.storage import Store, open_store
from headend.core.storage.local_server import LocalS3
from packager.conformance import verify
from tests.support.captions import make_captioned_film
from tests.support.dask_cluster import dask_processes
from tests.support.jobs import picture_ladder
from tests.support.masters import run_ffmpeg
from tests.support.playback import frames, track_bytes
from tests.support.s3_servers import BUCKET, with_credentials
from tests.support.text import Shown, ass, shown, srt, track_cues, ttml, webvtt

LINES = [(120, 900, "Grüße"), (700, 2100, "over two borders\nand others"), (2100, 2960, "last")]
"""Segments begin at 0, 960 and 1920 ms."""
SECOND = [(start + 40, end, f"{text}, again") for start, end, text in LINES[:2]]
SAID = {
    "en": LINES, "fr-forced": SECOND, "de-sdh": LINES, "en-sdh": [(1200, 2000, "HELLO WORLD")],
    "es": SECOND, "pt-BR": LINES, "it": SECOND,
}  # fmt: skip


def later(lines: list[Shown], hours: int) -> list[Shown]:
    return [(start + hours * 3_600_000, end + hours * 3_600_000, text) for start, end, text in lines]


def with_broken_block(text: str) -> str:
    return text.replace("WEBVTT\n\n", "WEBVTT\n\n00:00:00,100 --> 00:00:00,200\na comma\n\n", 1)


@pytest.fixture(scope="module")
def rclone_s3(running_rclone: LocalS3) -> Iterator[LocalS3]:
    with pytest.MonkeyPatch.context() as patch:
        yield with_credentials(running_rclone, patch)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory, rclone_s3: LocalS3) -> Iterator[str]:
    with dask_processes(tmp_path_factory.mktemp("dask"), environment=rclone_s3.environment()) as address:
        yield address


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory, scheduler: str, rclone_s3: LocalS3) -> Request:
    """A master that begins at 1.5 s, with three tracks of text and captions, and sidecars here and in S3."""
    folder = tmp_path_factory.mktemp("text")
    make_captioned_film(folder / "film.mkv", [(30, 50, "HELLO WORLD")], frame_count=75, size=(160, 90))
    written = {"a.srt": srt(LINES), "b.vtt": webvtt(SECOND), "c.ass": ass(LINES), "es.srt": srt(later(SECOND, 10)),
               "pt.ttml": ttml(later(LINES, 1)), "it.vtt": with_broken_block(webvtt(SECOND))}  # fmt: skip
    for name, text in written.items():
        (folder / name).write_text(text)
    inputs = [word for name in ("film.mkv", "a.srt", "b.vtt", "c.ass") for word in ("-i", str(folder / name))]
    master = folder / "master.mkv"
    run_ffmpeg(
        *inputs, "-map", "0", "-map", "1", "-map", "2", "-map", "3", "-c", "copy",
        "-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=fre", "-metadata:s:s:2", "language=ger",
        "-disposition:s:0", "default", "-disposition:s:1", "forced", "-disposition:s:2", "hearing_impaired",
        "-output_ts_offset", "1.5", str(master),
    )  # fmt: skip
    bucket = boto3.client("s3", endpoint_url=rclone_s3.endpoint_url)
    for name in ("master.mkv", "es.srt", "pt.ttml"):
        bucket.upload_file(str(folder / name), BUCKET, f"masters/{name}")
    return Request(
        master=f"s3://{BUCKET}/masters/master.mkv",
        title="film",
        ladder=picture_ladder(),
        store=StoreSettings(f"s3://{BUCKET}/films", rclone_s3.endpoint_url),
        cluster=ClusterSettings(scheduler=scheduler),
        encode=EncodeSettings(
            segment_s=Fraction(1),
            chunk_s=Fraction(2),
            effort=Effort.DRAFT,
            text=(
                TextChoice("captions", "en"),
                TextChoice(f"s3://{BUCKET}/masters/es.srt", "es"),
                TextChoice(f"s3://{BUCKET}/masters/pt.ttml", "pt-br"),
                TextChoice(str(folder / "it.vtt"), "it", name="Italiano"),
            ),
            subtitle_offset=None,
        ),
    )


@pytest.fixture(scope="module")
def published(request_: Request) -> tuple[Store, Presentation]:
    return open_store(request_.store), pipeline.submit(request_).presentation


def test_every_cue_comes_back_from_every_form_at_its_millisecond(published: tuple[Store, Presentation]) -> None:
    store, presentation = published
    tracks: dict[str, Track] = {track.rendition.id: track for track in presentation.text}
    wanted = {f"{codec}-{programme}" for programme in SAID for codec in ("vtt", "wvtt")} | {"imsc-pt-BR"}
    assert tracks.keys() == wanted
    for id, track in tracks.items():
        assert shown(track_cues(store, presentation, track)) == SAID[id.partition("-")[2]], id


def test_moved_and_skipped_cues_are_reported(request_: Request) -> None:
    plan = deciding.plan_for(request_, deciding.inspect(request_.master, request_.store))
    message = "\n".join(plan.decisions)
    assert "es.srt: cues are shown 10:00:00.000 earlier than the file says" in message
    assert "pt.ttml: cues are shown 01:00:00.000 earlier than the file says" in message
    assert "it.vtt: 1 block can't be read as cues → skipped, at line 3; 2 cues are read" in message


def test_the_release_verifies_and_what_is_in_the_text_is_checked(published: tuple[Store, Presentation]) -> None:
    store, presentation = published
    assert verify(store, "film").findings == ()
    (english,) = (track for track in presentation.text if track.rendition.id == "vtt-en")
    key = layout.track_segment("film", english.id, 2)
    whole = store.get(key)
    try:
        store.put(key, whole.replace(b"borders", b"BORDERS"))
        assert [finding.object for finding in verify(store, "film").findings] == [key]
    finally:
        store.put(key, whole)


def test_captions_that_became_text_are_removed_from_the_picture(published: tuple[Store, Presentation]) -> None:
    store, presentation = published
    picture = next(track for track in presentation.video if track.rendition.codec is Codec.AVC)
    found = list(frames(track_bytes(store, presentation, picture)))
    assert len(found) == 75
    assert all(frame.side_data.get("A53_CC") is None for frame in found)


def test_a_second_job_reads_no_text_again(published: tuple[Store, Presentation], request_: Request) -> None:
    again = pipeline.submit(request_)
    assert (again.encoded_tasks, again.presentation) == (0, published[1])


def test_a_hostile_sidecar_ends_the_job_before_anything_is_encoded(request_: Request, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.ttml"
    bomb.write_text('<!DOCTYPE tt [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><tt>&b;</tt>')
    hostile = replace(request_, title="other", encode=replace(request_.encode, text=(TextChoice(str(bomb)),)))
    with pytest.raises(MasterError, match=r"bomb\.ttml declares a DTD or entities"):
        pipeline.submit(hostile)
    assert list(open_store(request_.store).list("titles/other/")) == []

"""H.264 and AAC can be played while the rest is encoded, and a killed job is completed later."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from encoder.cluster import Notice
from headend.app import deciding
from headend.app.pipeline import submit
from headend.app.request import Event, PublishedEarly, Request
from headend.core import layout
from headend.core.errors import ConfigError
from headend.core.media import Codec, Effort
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage import open_store
from ladders import choosing
from ladders.loading import load
from packager import reading
from packager.conformance import verify
from tests.support.masters import Sound, decoded_times_s, make_film

FIRST = {Codec.AVC, Codec.AAC}


@pytest.fixture
def request_(tmp_path: Path, scheduler: str) -> Request:
    master = make_film(tmp_path / "master.mp4", frame_count=50, sound=[Sound()])
    return Request(
        master=str(master),
        title="film",
        ladder=load("smoke"),
        store=StoreSettings(str(tmp_path / "store")),
        cluster=ClusterSettings(scheduler=scheduler),
        encode=EncodeSettings(segment_s=Fraction(1, 2), chunk_s=Fraction(1), effort=Effort.DRAFT),
        publish_early=True,
    )


class Killed(Exception):
    """Stops a job in these tests."""


def test_the_early_release_plays_while_the_rest_is_encoded_and_a_killed_job_resumes(request_: Request) -> None:
    store = open_store(request_.store)

    def kill(event: Event) -> None:
        if isinstance(event, PublishedEarly):
            raise Killed

    with pytest.raises(Killed):
        submit(request_, kill)

    early = reading.current_presentation(store, "film")
    assert {track.rendition.codec for track in early.all_tracks} == FIRST
    assert verify(store, "film").findings == ()
    playlist = Path(request_.store.url) / layout.multivariant("film", early.release)
    assert len(decoded_times_s(playlist)) == 50

    outcome = submit(request_)
    assert outcome.reused_tracks > 0
    assert outcome.encoded_tasks > 0
    assert reading.current_release(store, "film") == outcome.presentation.release != early.release
    assert verify(store, "film").findings == ()
    # Players in the middle of the early release continue.
    assert verify(store, "film", early.release).findings == ()
    # Nothing was copied: the second release names the same tracks and more.
    assert {track.id for track in early.all_tracks} < {track.id for track in outcome.presentation.all_tracks}


def test_the_tracks_are_the_same_whether_they_are_published_early_or_not(request_: Request) -> None:
    probe = deciding.inspect(request_.master, request_.store)

    early = deciding.plan_for(request_, probe)
    late = deciding.plan_for(replace(request_, publish_early=False), probe)

    assert early.tracks == late.tracks
    codecs = {rendition.id: rendition.codec for rendition in (*early.video, *early.trick, *early.audio)}
    first = [any(codecs.get(id) in FIRST for id in task.renditions) for task in early.tasks]
    assert first == sorted(first, reverse=True)


def test_a_finished_title_is_not_published_early_again(request_: Request) -> None:
    seen: list[Event] = []
    outcome = submit(request_, seen.append)
    assert sum(isinstance(event, PublishedEarly) for event in seen) == 1
    assert outcome.predicted_cpu_s > 0
    assert open_store(request_.store).get(layout.CALIBRATION)

    seen.clear()
    again = submit(request_, seen.append)
    assert (again.encoded_tasks, again.predicted_cpu_s) == (0, 0)
    assert not any(isinstance(event, PublishedEarly) for event in seen)


def test_a_ladder_of_h264_and_aac_only_has_no_early_release(request_: Request) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Notice) and "no early release" in event.text:
            raise Killed

    with pytest.raises(Killed):
        submit(replace(request_, ladder=choosing.select(request_.ladder, codecs=("avc", "aac"))), stop)


def test_a_ladder_without_h264_can_not_be_published_early(request_: Request) -> None:
    other = tuple(rung for rung in request_.ladder.video if rung.codec is not Codec.AVC)
    other = (replace(other[0], default=True), *other[1:])

    with pytest.raises(ConfigError, match=r"early release is made of H\.264 and AAC"):
        submit(replace(request_, ladder=replace(request_.ladder, video=other)))

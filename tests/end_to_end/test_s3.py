"""Master and store in a real S3 server: only the necessary parts are read."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import boto3
import pytest

from encoder import encoding, planning, tool
from encoder.conforming import conform
from headend.app import deciding
from headend.core.errors import MasterError
from headend.core.media import Effort, EncodePlan, Kind, Probe
from headend.core.settings import EncodeSettings, StoreSettings
from headend.core.storage import masters
from headend.core.storage.local_server import LocalS3
from ladders import fitting
from ladders.loading import load
from packager.conformance import verify
from tests.support.counting_proxy import metered
from tests.support.dask_cluster import dask_processes
from tests.support.jobs import picture_ladder, submit_small
from tests.support.masters import Sound, make_film
from tests.support.playback import frame_numbers, track_bytes
from tests.support.s3_servers import BUCKET
from tests.support.uneven_masters import joined_pictures, lost_parameter_sets

FRAMES = 160


def upload(path: Path, server: LocalS3, key: str) -> str:
    boto3.session.Session().client("s3", endpoint_url=server.endpoint_url).upload_file(str(path), BUCKET, key)
    return f"s3://{BUCKET}/{key}"


@pytest.fixture
def large_master(tmp_path: Path, rclone_s3: LocalS3) -> tuple[str, int]:
    """A mezzanine of 100 MB, intra-only as usual, with its index after the media."""
    film = make_film(
        tmp_path / "master.mov",
        frame_count=FRAMES,
        size=(640, 360),
        codec="v210",
        pixel_format="yuv422p10le",
        sound=[Sound(codec="pcm_s16le")],
    )
    return upload(film, rclone_s3, "masters/large.mov"), film.stat().st_size


def test_a_probe_reads_the_index_and_not_the_film(large_master: tuple[str, int], rclone_s3: LocalS3) -> None:
    url, size_bytes = large_master
    with metered(rclone_s3.endpoint_url) as meter:
        probe = deciding.inspect(url, StoreSettings(endpoint_url=meter.url))
        assert meter.received_bytes < size_bytes / 10
    assert probe.video is not None
    assert probe.video.frame_count == FRAMES
    assert probe.video.frames.origin == "container index"


def test_changes_of_picture_format_are_found_in_s3_as_on_a_disk(rclone_s3: LocalS3, tmp_path: Path) -> None:
    store = StoreSettings(endpoint_url=rclone_s3.endpoint_url)
    film = joined_pictures(tmp_path / "joined.mp4", (60, "scale=160:90"), (40, "scale=128:72"))
    here, there = deciding.inspect(str(film), store), deciding.inspect(upload(film, rclone_s3, "joined.mp4"), store)

    assert there.video is not None and here.video is not None
    assert len(there.video.changes) == 1
    assert (there.video.changes, there.video.frames.pts_ticks) == (here.video.changes, here.video.frames.pts_ticks)
    with pytest.raises(MasterError, match=r"from 2\.000 s on, the picture does not fit the parameters"):
        deciding.inspect(upload(lost_parameter_sets(tmp_path / "lost.mp4"), rclone_s3, "lost.mp4"), store)


def test_a_task_reads_only_its_own_part(large_master: tuple[str, int], rclone_s3: LocalS3, tmp_path: Path) -> None:
    url, size_bytes = large_master
    probe = deciding.inspect(url, StoreSettings(endpoint_url=rclone_s3.endpoint_url))
    plan = plan_of(probe)
    middle = next(task for task in plan.tasks if task.kind is Kind.VIDEO and task.chunk.number == 4)
    share = middle.chunk.frame_count / FRAMES
    with metered(rclone_s3.endpoint_url) as meter, masters.opened(probe.master, meter.url) as source:
        encoding.encode(
            middle,
            input_url=source.url,
            scratch=tmp_path,
            cancelled=lambda: False,
            on_frames=lambda _: None,
        )
        # Its own frames, and what FFmpeg's queues and the receive buffers of two connections hold when the last of them
        # is encoded: 4 to 14 MB were measured. Reading from the film's start would be 47 MB more, and reading to its
        # end 42 MB.
        assert size_bytes * share <= meter.received_bytes < size_bytes * share + (30 << 20)
    assert frame_numbers(encoding.output(tmp_path, middle.renditions[0]).read_bytes()) == list(
        range(middle.chunk.first_frame, middle.chunk.end_frame)
    )


def plan_of(probe: Probe) -> EncodePlan:
    ladder = load("smoke")
    fitted = fitting.fit(ladder, probe)
    (top,) = (rendition for rendition in fitted.video if rendition.default)
    return planning.Draft(
        "film",
        probe,
        conform(planning.checked_picture(probe)),
        planning.Renditions(ladder.name, (top,), fitted.audio),
        decisions=fitted.decisions,
        settings=EncodeSettings(Fraction(1, 2), Fraction(1), Effort.DRAFT),
        tool=tool.version(),
        tool_digest=tool.digest(),
    ).with_tasks(workers=1)


def test_master_and_store_in_s3(tmp_path: Path, rclone_s3: LocalS3) -> None:
    film = make_film(tmp_path / "master.mp4", frame_count=60, sound=[Sound()], codec_args=("-g", "20"))
    url = upload(film, rclone_s3, "masters/small.mp4")
    settings = StoreSettings(f"s3://{BUCKET}/prefix", rclone_s3.endpoint_url)
    with dask_processes(tmp_path, environment=rclone_s3.environment()) as scheduler:
        published = submit_small(url, settings, scheduler, ladder=picture_ladder(), thumbnails=True)
    presentation = published.outcome.presentation
    for track in presentation.video:
        assert frame_numbers(track_bytes(published.store, presentation, track)) == list(
            range(0, 60, track.rendition.rate_divisor)
        )
    assert presentation.thumbnails and presentation.thumbnails.segments
    assert verify(published.store, "film").findings == ()
    assert rclone_s3.secret_key not in repr(published)


def test_a_master_that_was_replaced_during_the_job_is_refused(tmp_path: Path, rclone_s3: LocalS3) -> None:
    film = make_film(tmp_path / "master.mp4", frame_count=30)
    settings = StoreSettings(endpoint_url=rclone_s3.endpoint_url)
    master = deciding.inspect(upload(film, rclone_s3, "masters/changing.mp4"), settings).master
    masters.check_unchanged(master, rclone_s3.endpoint_url)
    with pytest.raises(MasterError, match="changed"):
        masters.check_unchanged(replace(master, version="another"), rclone_s3.endpoint_url)

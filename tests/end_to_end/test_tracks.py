"""A title has the same tracks, byte for byte, however its work is divided into tasks and jobs."""

import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from headend.app import deciding
from headend.app.pipeline import submit
from headend.app.request import Outcome, Request
from headend.core import layout
from headend.core.media import Codec, Effort
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage import Store, open_store
from headend.core.storage.local_server import LocalS3
from ladders import choosing
from ladders.loading import load
from packager.conformance import verify
from packager.reading import current_release, read_pointer
from tests.support.dask_cluster import dask_processes
from tests.support.masters import Sound, make_film
from tests.support.s3_servers import BUCKET


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tracks")
    return make_film(folder / "master.mp4", frame_count=100, size=(320, 180), sound=[Sound()])


def request_for(master: Path, store: StoreSettings, scheduler: str, **changes: object) -> Request:
    encode = EncodeSettings(segment_s=Fraction(1, 2), chunk_s=Fraction(1), effort=Effort.DRAFT)
    request = Request(str(master), "film", load("smoke"), store, ClusterSettings(scheduler=scheduler), encode)
    return replace(request, **changes)  # type: ignore[arg-type]


def tracks_of(store: Store) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list(layout.tracks("film"))}


def made_with(request: Request, workers: int, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Submit as if there were this number of workers, which decides how renditions are grouped."""
    monkeypatch.setattr(deciding, "slot_count", lambda _: workers)
    return submit(request)


def test_tracks_are_the_same_whatever_the_number_of_workers_and_of_jobs(
    master: Path, tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks: dict[object, dict[str, bytes]] = {}
    tasks: dict[object, int] = {}
    for workers in (1, 2, 5):
        settings = StoreSettings(str(tmp_path / f"store-{workers}"))
        outcome = made_with(request_for(master, settings, scheduler), workers, monkeypatch)
        tracks[workers], tasks[workers] = tracks_of(open_store(settings)), len(outcome.plan.tasks)
    assert tasks[1] < tasks[5]
    assert tracks[1] == tracks[2] == tracks[5]

    one_by_one = StoreSettings(str(tmp_path / "store-codecs"))
    whole = load("smoke")
    for codec in dict.fromkeys(rung.codec for rung in whole.video):
        part = choosing.select(whole, codecs=[codec])
        submit(request_for(master, one_by_one, scheduler, ladder=part))
    last = submit(request_for(master, one_by_one, scheduler))
    assert (last.encoded_tasks, last.reused_tracks) == (0, last.tracks)
    assert tracks_of(open_store(one_by_one)) == tracks[1]
    assert verify(open_store(one_by_one), "film").findings == ()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_two_jobs_of_one_title_at_once_lose_nothing_and_the_newer_one_is_current(
    kind: str, master: Path, tmp_path: Path, scheduler: str, request: pytest.FixtureRequest
) -> None:
    if kind == "s3":
        # This server ignores conditions on writes.
        server: LocalS3 = request.getfixturevalue("rclone_s3")
        settings = StoreSettings(f"s3://{BUCKET}/two-jobs", server.endpoint_url)
        with dask_processes(tmp_path, environment=server.environment()) as address:
            check_two_jobs(master, settings, address)
    else:
        check_two_jobs(master, StoreSettings(str(tmp_path / "store")), scheduler)


def check_two_jobs(master: Path, settings: StoreSettings, scheduler: str) -> None:
    whole = load("smoke")
    wanted = {
        "2026-01-01T00:00:00+00:00": choosing.select(whole, codecs=[Codec.AVC, Codec.AV1]),
        "2026-01-02T00:00:00+00:00": choosing.select(whole, codecs=[Codec.AVC, Codec.VP9]),
    }
    outcomes: dict[str, Outcome] = {}

    def work(at: str) -> None:
        outcomes[at] = submit(request_for(master, settings, scheduler, ladder=wanted[at], submitted_at=at))

    threads = [threading.Thread(target=work, args=(at,)) for at in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    older, newer = (outcomes[at].presentation.release for at in wanted)
    store = open_store(settings)
    assert current_release(store, "film") == newer != older
    for release in (older, newer):
        assert verify(store, "film", release).findings == ()
    pointer = read_pointer(store, "film")
    assert pointer is not None and {past.release for past in pointer.history} <= {older}

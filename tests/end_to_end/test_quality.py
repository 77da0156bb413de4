"""The quality gate: real encodes with one fault each are stored but refused, and players keep the current release."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from encoder import cluster
from headend.app import encrypting
from headend.app.pipeline import submit
from headend.app.quality import assessing, pages
from headend.app.request import Event, Measured, Request
from headend.core import layout, measured
from headend.core.errors import ConfigError, HeadendError, MasterError, QualityRefused
from headend.core.keys import ContentKey, lines
from headend.core.keys.base import new_secret
from headend.core.media import Effort, EncodeTask, Kind
from headend.core.media.protection import Scheme, key_names
from headend.core.media.quality import Checking, Viewing
from headend.core.media.quality_reports import Outcome, Override, QualityReport, Thresholds
from headend.core.settings import ClusterSettings, EncodeSettings, KeySettings, ProtectionSettings, StoreSettings
from headend.core.storage import Store, open_store
from ladders import choosing
from ladders.loading import load
from packager import lifecycle
from packager.reading import current_release
from tests.support.marks import repeated
from tests.support.masters import Sound, make_film

SCREEN = Viewing("small", "vmaf_v1.0.16_3d0h", 640, 360)
"""A small screen, which costs a ninth."""
FRAMES = 125
"""Five seconds."""
SETTINGS = EncodeSettings(segment_s=Fraction(1), chunk_s=Fraction(2), effort=Effort.DRAFT)
HIGH, LOW = "avc-180p-240k", "avc-90p-60k"


@pytest.fixture(autouse=True)
def small_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoder.measure_tasks.viewing_of", lambda *_: SCREEN)


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quality")
    return make_film(folder / "master.mp4", frame_count=FRAMES, sound=[Sound()])


def request_for(master: Path, store: Path, scheduler: str, **changes: object) -> Request:
    ladder = choosing.select(load("smoke"), codecs=("avc", "aac"))
    request = Request(
        str(master), "film", ladder, StoreSettings(str(store)), ClusterSettings(scheduler), SETTINGS,
        checking=Checking.FULL,
    )  # fmt: skip
    return replace(request, **changes)  # type: ignore[arg-type]


# --- faults -------------------------------------------------------------------------------------------------------

Fault = Callable[[EncodeTask], EncodeTask]


def filtered(rendition: str, graph: str) -> Fault:
    """Give a rendition's encoder its frames through another graph, whose ends are ``{from}`` and ``{to}``."""

    def change(task: EncodeTask) -> EncodeTask:
        if rendition not in task.renditions:
            return task
        argv = list(task.argv)
        output = argv.index(f"{{scratch}}/{rendition}.mp4")
        at = max(index for index, word in enumerate(argv[:output]) if word == "-map") + 1
        label = f"[faulty{rendition.replace('-', '')}]"
        added = graph.replace("{from}", argv[at]).replace("{to}", label)
        argv[argv.index("-filter_complex") + 1] += f";{added}"
        argv[at] = label
        return replace(task, argv=tuple(argv))

    return change


def options(rendition: str, **values: str) -> Fault:
    """Give a rendition's encoder other options."""

    def change(task: EncodeTask) -> EncodeTask:
        if rendition not in task.renditions:
            return task
        argv = list(task.argv)
        output = argv.index(f"{{scratch}}/{rendition}.mp4")
        first = max(index for index, word in enumerate(argv[:output]) if word == "-map")
        for name, value in values.items():
            argv[argv.index(f"-{name}", first, output) + 1] = value
        return replace(task, argv=tuple(argv))

    return change


def louder(task: EncodeTask) -> EncodeTask:
    if task.kind is not Kind.AUDIO or task.loudness_target is None:
        return task
    return replace(task, loudness_target=replace(task.loudness_target, target_lufs=-14.0))


def running(*faults: Fault) -> Callable[..., None]:
    """Runs tasks, some of them with faults."""

    def run(tasks: Sequence[Any], *others: Any, **named: Any) -> None:
        changed = []
        for task in tasks:
            faulty = task
            if isinstance(faulty, EncodeTask):
                for fault in faults:
                    faulty = fault(faulty)
            changed.append(faulty)
        cluster.run_tasks(changed, *others, **named)

    return run


GREY = filtered(LOW, "{from}drawbox=c=gray:t=fill:enable='between(n,10,34)'{to}")
BLACK = filtered(HIGH, "{from}drawbox=c=black:t=fill:enable='lt(n,20)'{to}")
FROZEN = filtered(HIGH, "{from}split[a][b];[a][b]freezeframes=first=0:last=1000:replace=0{to}")
COLOURLESS = filtered(LOW, "{from}hue=s=0{to}")
FULL_RANGE = filtered(LOW, "{from}scale=in_range=tv:out_range=pc,setparams=range=tv{to}")
LINED = filtered(HIGH, "{from}drawbox=x=iw-2:w=2:h=ih:c=0x008700:t=fill{to}")
STRAY = filtered(HIGH, "{from}drawbox=c=gray:t=fill:enable='eq(n,31)'{to}")
EARLY = filtered(LOW, "{from}trim=start_frame=1,setpts=PTS-STARTPTS,tpad=stop=1:stop_mode=clone{to}")
BLURRED = filtered(HIGH, "{from}scale=32:18,scale=320:180{to}")
LARGE = options(HIGH, crf="1", maxrate="20000000", bufsize="20000000")


@dataclass(frozen=True, slots=True)
class Refused:
    """A release that was refused."""

    error: QualityRefused
    report: QualityReport
    store: Store


@pytest.fixture(scope="module")
def good(master: Path, tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Path:
    """A store with a release that players get."""
    store = tmp_path_factory.mktemp("good") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("encoder.measure_tasks.viewing_of", lambda *_: SCREEN)
        outcome = submit(request_for(master, store, scheduler))
    assert outcome.quality is not None
    assert outcome.quality.outcome is not Outcome.FAILED
    assert outcome.is_current
    return store


@pytest.mark.parametrize(
    ("faults", "rules"),
    [
        repeated([GREY], ("other picture",), id="a grey second"),
        repeated([BLACK], ("black",), id="a black second"),
        pytest.param([FROZEN, COLOURLESS], ("frozen", "colours"), id="two frozen seconds, and no colours"),
        pytest.param([FULL_RANGE, LINED], ("colours", "edge"), id="a wrong range, and a green edge of two pixels"),
        pytest.param([STRAY, EARLY], ("stray frame", "time"), id="a single grey frame, and all frames one early"),
        pytest.param([BLURRED, LARGE, louder], ("order", "peak", "loudness"), id="swapped, over its cap and too loud"),
    ],
)
def test_a_release_with_a_fault_is_not_made_current(
    faults: list[Fault], rules: tuple[str, ...], good: Path, master: Path, scheduler: str
) -> None:
    store = open_store(StoreSettings(str(good)))
    before, pointer = current_release(store, "film"), store.get(layout.current("film"))
    # Different tracks from the stored ones.
    encode = replace(SETTINGS, effort=Effort.STANDARD, loudness_lufs=-23)
    request = request_for(master, good, scheduler, encode=encode, force=True)

    with pytest.raises(QualityRefused) as caught:
        submit(request, run=running(*faults))

    release = caught.value.facts["release"]
    report = measured.read_report(store, "film", release)
    assert report is not None
    assert report.outcome is Outcome.FAILED
    assert set(rules) <= set(caught.value.facts["rules"])
    assert release != before
    assert store.get(layout.current("film")) == pointer
    assert lifecycle.releases(store, "film")[0].held_since
    assert b"failed" in store.get(layout.report_page("film", release))


def test_a_refused_release_can_be_published_explicitly(good: Path, master: Path, scheduler: str) -> None:
    request = request_for(master, good, scheduler, thresholds=Thresholds(100, 100))
    store = open_store(request.store)
    fresh = replace(request, title="blamed", encode=replace(SETTINGS, loudness_lufs=None))
    with pytest.raises(QualityRefused) as caught:
        submit(fresh, run=running(GREY))
    release = caught.value.facts["release"]

    with pytest.raises(QualityRefused):
        lifecycle.make_current(store, "blamed", release)
    lifecycle.make_current(store, "blamed", release, despite_quality=Override("me@here", "2026-11-28T12:00:00+00:00"))

    assert current_release(store, "blamed") == release
    report = measured.read_report(store, "blamed", release)
    assert report is not None
    assert report.overrides == (Override("me@here", "2026-11-28T12:00:00+00:00"),)
    assert b"me@here" in pages.page_of(store, report)
    # From now on it is a normal release.
    lifecycle.make_current(store, "blamed", release)
    assert submit(fresh).is_current


def measure_tasks(events: list[Event]) -> int:
    return max((event.done for event in events if isinstance(event, Measured)), default=0)


def test_killed_measuring_resumes_where_it_stopped(master: Path, tmp_path: Path, scheduler: str) -> None:
    request = request_for(master, tmp_path / "store", scheduler)
    store = open_store(request.store)

    def kill(event: Event) -> None:
        if isinstance(event, Measured):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        submit(request, kill)
    documents = [info.key for info in store.list(layout.measurements("film"))]
    assert documents

    events: list[Event] = []
    outcome = submit(request, events.append)

    assert outcome.encoded_tasks + outcome.reused_parts > 0
    assert outcome.quality is not None
    chunks = len(outcome.plan.chunks)
    assert measure_tasks(events) <= chunks - len(documents)
    # The tasks' measurements are only in the report.
    assert not list(store.list(layout.measurements("film")))
    again: list[Event] = []
    assert submit(request, again.append).quality is not None
    assert measure_tasks(again) == 0


def test_a_sample_is_extended_to_all_and_needs_the_master(master: Path, tmp_path: Path, scheduler: str) -> None:
    copy = tmp_path / "film.mp4"
    copy.write_bytes(master.read_bytes())
    request = request_for(copy, tmp_path / "store", scheduler, checking=Checking.SAMPLED)
    outcome = submit(request)
    assert outcome.quality is not None
    assert outcome.quality.not_measured
    # A short title is measured in stretches of its segments.
    assert all(segment.is_part for one in outcome.quality.video for segment in one.segments)

    def assess(level: Checking) -> QualityReport:
        return assessing.assess(
            request.store,
            "film",
            None,
            level,
            thresholds=Thresholds(),
            cluster_settings=request.cluster,
            on_event=events.append,
        )

    events: list[Event] = []
    sampled = assess(Checking.SAMPLED)
    assert sampled == measured.read_report(open_store(request.store), "film", sampled.release)
    assert measure_tasks(events) == 0
    full = assess(Checking.FULL)
    assert measure_tasks(events) > 0
    assert all(len(one.segments) == full.grid.segment_count for one in full.video)
    assert not any(segment.is_part for one in full.video for segment in one.segments)
    # A stretch gets the same scores as its frames get within the whole segment.
    for part, whole in zip(sampled.video, full.video, strict=True):
        scores = {segment.number: segment.mean for segment in whole.segments}
        assert all(abs(segment.mean - scores[segment.number]) < 6 for segment in part.segments)

    copy.unlink()
    assert assess(Checking.FULL) == full
    # Other limits apply to the same scores, in the report and on its page.
    strict = assessing.assess(
        request.store, "film", None, Checking.FULL, thresholds=Thresholds(100, 100, are_asked=True),
        cluster_settings=request.cluster,
    )  # fmt: skip
    assert strict.outcome is Outcome.FAILED
    assert strict == measured.read_report(open_store(request.store), "film", full.release)
    assert strict.video == full.video
    assert b"failed" in open_store(request.store).get(layout.report_page("film", full.release))
    assert replace(assess(Checking.FULL), made_at=full.made_at) == full


def test_measuring_needs_the_master(master: Path, tmp_path: Path, scheduler: str) -> None:
    copy = tmp_path / "film.mp4"
    copy.write_bytes(master.read_bytes())
    request = request_for(copy, tmp_path / "store", scheduler, checking=Checking.OFF)
    submit(request)
    copy.unlink()

    with pytest.raises(MasterError, match="quality is measured against the master"):
        assessing.assess(request.store, "film", None, Checking.FULL, thresholds=None, cluster_settings=request.cluster)


def test_a_floor_encodes_chunks_again_and_a_killed_job_gets_the_same_result(
    master: Path, tmp_path: Path, scheduler: str
) -> None:
    with_floor = replace(SETTINGS, floor_vmaf=99.0)
    request = request_for(master, tmp_path / "whole", scheduler, encode=with_floor, checking=Checking.SAMPLED)

    outcome = submit(request)

    report = outcome.quality
    assert report is not None
    assert report.floor_vmaf == 99
    lifts = [lift for one in report.video for lift in one.lifts]
    assert lifts
    assert all(lift.after > lift.before for lift in lifts)
    assert all(one.peak_bps <= 1.1 * one.cap_bps for one in report.video)
    # The floor is for the largest size. Workers have measured all of it, and nothing is measured a second time.
    high, low = sorted(report.video, key=lambda one: -one.height_px)
    assert [segment.is_part for segment in high.segments] == [False] * report.grid.segment_count
    assert high.lifts and not low.lifts
    assert b"Encoded again to reach the floor" in open_store(request.store).get(
        layout.report_page("film", outcome.presentation.release)
    )
    plain = submit(request_for(master, tmp_path / "plain", scheduler, checking=Checking.OFF))
    assert {track.id for track in plain.presentation.video} & {t.id for t in outcome.presentation.video} == {low.track}

    def kill(event: Event) -> None:
        if isinstance(event, cluster.Done):
            raise KeyboardInterrupt

    again = request_for(master, tmp_path / "killed", scheduler, encode=with_floor, checking=Checking.SAMPLED)
    with pytest.raises(KeyboardInterrupt):
        submit(again, kill)
    resumed = submit(again)
    assert resumed.reused_parts
    assert resumed.presentation.release == outcome.presentation.release
    for track in outcome.presentation.video:
        for segment in track.segments:
            key = layout.track_segment("film", track.id, segment.number)
            assert open_store(again.store).get(key) == open_store(request.store).get(key)
    assert resumed.quality is not None
    assert [one.lifts for one in resumed.quality.video] == [one.lifts for one in report.video]


def test_an_encrypted_release_is_measured_with_its_keys(master: Path, tmp_path: Path, scheduler: str) -> None:
    file = tmp_path / "film.keys"
    file.write_text(lines.write([ContentKey(name, new_secret()) for name in key_names("film", Scheme.CBCS)]))
    file.chmod(0o600)
    keys = KeySettings(str(file))
    protection = ProtectionSettings((Scheme.CBCS,), keys)
    request = request_for(master, tmp_path / "store", scheduler, checking=Checking.SAMPLED, protection=protection)

    outcome = submit(request)

    assert outcome.quality is not None
    assert outcome.quality.outcome is not Outcome.FAILED
    assert all(one.segments for one in outcome.quality.video)
    assert outcome.quality.loudness_lufs

    def assess(keys: KeySettings | None) -> QualityReport:
        return assessing.assess(
            request.store, "film", None, Checking.FULL, thresholds=None, cluster_settings=request.cluster, keys=keys
        )

    with pytest.raises(ConfigError, match="give --keys"):
        assess(None)
    assert assess(keys).checking is Checking.FULL


def test_a_release_encrypted_afterwards_scores_like_the_clear_one(good: Path, tmp_path: Path, scheduler: str) -> None:
    schemes = (Scheme.CBCS, Scheme.CENC, Scheme.AES_128)
    settings = StoreSettings(str(tmp_path / "store"))
    copytree(good, tmp_path / "store")
    store = open_store(settings)
    clear = current_release(store, "film")
    before = measured.read_report(store, "film", clear)
    assert before is not None
    file = tmp_path / "film.keys"
    names = dict.fromkeys(name for scheme in schemes for name in key_names("film", scheme))
    file.write_text(lines.write([ContentKey(name, new_secret()) for name in names]))
    file.chmod(0o600)
    keys = KeySettings(str(file))

    published = encrypting.encrypt(settings, "film", ProtectionSettings(schemes, keys))

    encrypted = published.published.presentation.release
    assert encrypted != clear and current_release(store, "film") == encrypted
    cluster_settings = ClusterSettings(scheduler)
    with pytest.raises(ConfigError, match="give --keys"):
        assessing.assess(settings, "film", None, Checking.FULL, thresholds=None, cluster_settings=cluster_settings)
    report = assessing.assess(
        settings, "film", None, Checking.FULL, thresholds=None, cluster_settings=cluster_settings, keys=keys
    )
    assert report.release == encrypted
    assert report.outcome is before.outcome
    assert [one.rendition for one in report.video] == [one.rendition for one in before.video]
    # Decrypted, it equals the clear release bit by bit, so its scores are the same.
    assert [one.segments for one in report.video] == [one.segments for one in before.video]
    assert {one.track for one in report.video} & {one.track for one in before.video} == set()
    page = store.get(layout.report_page("film", encrypted)).decode()
    assert 'src="data:image/jpeg;base64,' in page
    # The clear release keeps its own report.
    assert measured.read_report(store, "film", clear) == before


def test_wrong_keys_of_an_encrypted_release_are_reported_before_anything_is_measured(
    good: Path, tmp_path: Path, scheduler: str
) -> None:
    settings = StoreSettings(str(tmp_path / "store"))
    copytree(good, tmp_path / "store")
    names = key_names("film", Scheme.CBCS)
    right, wrong = tmp_path / "right.keys", tmp_path / "wrong.keys"
    for file in (right, wrong):
        file.write_text(lines.write([ContentKey(name, new_secret()) for name in names]))
        file.chmod(0o600)
    encrypting.encrypt(settings, "film", ProtectionSettings((Scheme.CBCS,), KeySettings(str(right))))
    events: list[Event] = []

    with pytest.raises(HeadendError) as caught:
        assessing.assess(
            settings, "film", None, Checking.FULL, thresholds=None, cluster_settings=ClusterSettings(scheduler),
            keys=KeySettings(str(wrong)), on_event=events.append,
        )  # fmt: skip

    assert measure_tasks(events) == 0
    assert "key" in caught.value.message


def test_the_error_for_a_release_of_an_older_version_says_what_to_do(
    tmp_path: Path, master: Path, scheduler: str
) -> None:
    request = request_for(master, tmp_path / "store", scheduler, checking=Checking.OFF)
    submit(request)
    store = open_store(request.store)
    for info in list(store.list(layout.references("film"))):
        store.delete(info.key)

    with pytest.raises(ConfigError, match="submit the master again"):
        assessing.assess(
            request.store, "film", None, Checking.FULL, thresholds=Thresholds(), cluster_settings=request.cluster
        )

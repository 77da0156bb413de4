"""``verify`` compares a release with its master, and finds the errors of plans that count instead of timing."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from encoder.timelines import policy
from headend.app import verifying
from headend.app.pipeline import submit
from headend.app.request import Request
from headend.core import documents, layout
from headend.core.media import Effort, Release
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage import Store, masters, open_store
from packager.conformance import Verdict
from packager.reading import current_release
from tests.support.deliveries import smallest_ladder
from tests.support.marks import first
from tests.support.uneven_masters import beeping, with_times, without_sound

JUMP = r"TS+gte(TS*TB\,2)*1.48/TB"


def published(master: Path, scheduler: str) -> Store:
    store = StoreSettings(str(master.parent / "store"))
    settings = EncodeSettings(
        segment_s=Fraction(1), chunk_s=Fraction(4), effort=Effort.DRAFT, thumbnails=False, most_sound_gap_s=Fraction(3)
    )
    submit(Request(str(master), "film", smallest_ladder(), store, ClusterSettings(scheduler=scheduler), settings))
    return open_store(store)


def verified(store: Store, *, deep: bool = False) -> Verdict:
    return verifying.verify(store, "film", deep=deep)


UNEVEN: dict[str, Callable[[Path], Path]] = {
    "gap": lambda d: without_sound(d / "gap.mp4", beeping(d / "film.mkv"), (0.7, 1.3)),
    "jump": lambda d: with_times(d / "jump.mkv", beeping(d / "film.mkv"), sound=JUMP, picture=JUMP),
    "drift": lambda d: with_times(d / "drift.mp4", beeping(d / "film.mkv"), sound="TS*1.03"),
}


@pytest.mark.parametrize("kind", first(1, UNEVEN))
def test_sound_that_is_counted_instead_of_timed_is_found(
    tmp_path: Path, scheduler: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "resampling_options", lambda *_: {})
    verdict = verified(published(UNEVEN[kind](tmp_path), scheduler))

    assert verdict.compared >= 8
    assert any("against the master's times" in finding.message for finding in verdict.findings)


def test_a_release_that_follows_the_masters_times_passes(tmp_path: Path, scheduler: str) -> None:
    verdict = verified(published(UNEVEN["jump"](tmp_path), scheduler), deep=True)

    assert (verdict.findings, verdict.not_compared) == ((), "")
    assert verdict.compared >= 10


def test_a_master_with_times_that_no_title_can_have_is_found(tmp_path: Path, scheduler: str) -> None:
    film = beeping(tmp_path / "film.ts")
    store = published(film, scheduler)
    twice = tmp_path / "twice.ts"
    twice.write_bytes(2 * film.read_bytes())
    made_of(store, twice)

    (finding,) = verified(store).findings

    assert "times begin again" in finding.message


def test_pictures_of_another_time_are_found(tmp_path: Path, scheduler: str) -> None:
    film = beeping(tmp_path / "film.mkv")
    store = published(film, scheduler)
    # The master from its 26th picture on, so the release is a second late throughout.
    made_of(store, with_times(tmp_path / "later.mkv", film, sound="TS", picture=r"TS+gte(TS*TB\,1)*0.4/TB"))

    findings = [finding.message for finding in verified(store).findings]

    assert any("its picture at" in message and "is what the master shows at" in message for message in findings)


def test_a_missing_master_prevents_only_the_comparison(tmp_path: Path, scheduler: str) -> None:
    film = beeping(tmp_path / "film.mkv")
    store = published(film, scheduler)
    film.unlink()

    verdict = verified(store)

    assert (verdict.findings, verdict.compared) == ((), 0)
    assert str(film) in verdict.not_compared


def made_of(store: Store, master: Path) -> None:
    """Make the release state another master."""
    release = current_release(store, "film")
    key = layout.release_document("film", release)
    document = documents.read(Release, store.get(key), key=key)
    changed = replace(document.presentation, master=masters.identify(str(master)))
    store.put(key, documents.write(replace(document, presentation=changed)))

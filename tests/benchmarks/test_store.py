"""The benchmark of large stores, run on a small store, measures what it claims to."""

from datetime import timedelta

from benchmarks import many_titles, store
from benchmarks.packaging import film_plan
from headend.core import layout
from packager import garbage, reading


def test_synthetic_titles_are_complete_and_have_garbage() -> None:
    plan = film_plan(0.01)
    titles = many_titles.make_titles(plan, 11)
    assert reading.published_titles(titles)[:2] == ("title-00000", "title-00001")
    assert len(reading.read_release(titles, "title-00001", reading.current_release(titles, "title-00001")).tracks) == 56
    found = list(garbage.all_garbage(titles, garbage.titles_with_objects(titles), keep=0, grace=timedelta(days=7)))
    assert [one.title for one in found] == [*reading.published_titles(titles)]
    assert [one.title for one in found if one.objects] == ["title-00000", "title-00010"]
    for one in (found[0], found[10]):
        assert len(one.releases) == 1 and one.tracks == (plan.tracks[plan.video[-1].id],)
        assert one.size_bytes > 0
    assert garbage.find(titles, "title-00000", keep=0, grace=timedelta(days=90)).objects == ()


def test_listings_count_as_many_requests_as_s3_would_take() -> None:
    titles = many_titles.make_titles(film_plan(0.01), 2500)
    titles.requests = 0
    assert len(reading.published_titles(titles)) == 2500
    assert titles.requests == 3
    titles.requests = 0
    assert len(reading.published_titles(titles, limit=101)) == 101
    assert titles.requests == 1
    assert next(titles.list(layout.published(), after=layout.published("title-02000"))).key.endswith("title-02001")


def test_all_parts_can_be_measured() -> None:
    report = store.measure(quick=True)
    rows = store.rows(report)
    assert report.sweep.found * 10 == report.sweep.titles == report.listing.titles
    assert report.publishing[0].requests == report.publishing[1].requests
    assert [one.form for one in report.cutting] == ["vtt", "vtt", "wvtt", "wvtt", "imsc", "imsc"]
    assert all(row.met for row in rows if "requests" in row.what or "document" in row.what)

import json
from pathlib import Path

from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.packaging import film_plan, measure


def test_the_film_has_the_renditions_of_a_2160p_title() -> None:
    plan = film_plan(0.01)
    assert (len(plan.video), len(plan.audio)) == (43, 14)
    assert sum(rendition.default for rendition in plan.video) == 1


def test_the_measured_release_has_all_objects_of_a_title() -> None:
    report = measure(0.02)
    assert report.segments == 57 * 12
    assert report.renditions == 57
    # Media and init segments, receipts, playlists, I-frame playlists, the top manifests, the document, the outline and
    # the pointer.
    objects = report.segments + 57 + (3 + 1) + (34 + 10) + 34 + 5
    # Indexes, and the sync frames of pictures.
    assert report.objects == objects + 57 + 43
    assert report.index_bytes < 57 * (1000 + 36 * 12)
    assert [step.name for step in report.steps][-3:] == ["publish", "publish again", "read back"]
    assert report.manifest_bytes > 100_000


def test_benchmarks_are_listed_and_write_their_result_with_facts_about_the_machine(tmp_path: Path) -> None:
    runner = CliRunner()
    assert "packaging" in runner.invoke(main).output
    out = tmp_path / "packaging.json"
    result = runner.invoke(main, ["packaging", "--hours", "0.01", "--out", str(out)])
    assert result.exit_code == 0, result.output
    document = json.loads(out.read_text())
    assert document["benchmark"] == "packaging"
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["processor"]
    assert document["result"]["hours"] == 0.01

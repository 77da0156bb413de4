"""Plans as documents: nothing is lost, data shared by commands is written once, and older plans are refused."""

from dataclasses import replace
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scaling import plan_of
from headend.core import documents, plan_document
from headend.core.errors import StorageError
from headend.core.media import EncodePlan, EncodeTask
from tests.support.releases import make_plan

MAX_BYTES = 10_000_000


@pytest.fixture(scope="module")
def film() -> EncodePlan:
    """Two hours and a quarter of 2160p for a thousand workers."""
    return plan_of(2.25, 1000, Fraction(30))


def test_a_long_film_for_many_workers_is_small_and_comes_back_whole(film: EncodePlan) -> None:
    data = plan_document.write(film)
    assert len(film.tasks) > 5000
    assert len(data) < MAX_BYTES / 2
    assert plan_document.read(data) == film


def test_a_document_contains_the_command_as_it_is_run(film: EncodePlan) -> None:
    body = plan_document.as_plain(film)["body"]
    task = next(task for task in body["tasks"] if task["kind"] == "video" and task["chunk"]["number"] == 5)
    words = body["commands"][task["command"]]
    assert words[0] == "ffmpeg" and "{master}" in words
    assert any(isinstance(word, list) and word[0].startswith("[0:0]") and "trim=" in word[0] for word in words)
    assert len(body["commands"]) < len(body["tasks"]) / 10


words = st.text(alphabet='ab{}[];="\\é', max_size=8)


@given(st.lists(st.lists(words, max_size=6), max_size=6))
def test_any_commands_round_trip(commands: list[list[str]]) -> None:
    base = make_plan()
    tasks = tuple(replace(base.tasks[0], id=str(number), argv=tuple(argv)) for number, argv in enumerate(commands))
    plan = replace(base, tasks=tasks)
    assert plan_document.read(plan_document.write(plan)) == plan


def broken(change: str) -> bytes:
    plan = make_plan()
    first, second = (replace(plan.tasks[0], id=id, argv=("ffmpeg", "-ss", id, "out")) for id in "12")
    document = plan_document.as_plain(replace(plan, tasks=(first, second)))
    body = document["body"]
    if change == "older":
        return documents.write(plan)
    if change == "other":
        return documents.write(plan.grid)
    if change == "version":
        document["version"] = 3
    if change == "no command":
        body["tasks"][0]["command"] = 7
    if change == "too few":
        body["tasks"][0]["filled"] = []
    if change == "too many":
        body["tasks"][0]["filled"] += ["x"]
    if change == "no table":
        del body["commands"]
    if change == "no grid":
        del body["grid"]
    return b"[]" if change == "no object" else b"{" if change == "no JSON" else msgspec.json.encode(document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("older", "is a plan of version 1, but this version of headend reads only 2: make it again"),
        ("version", "is a plan of version 3"),
        ("other", "is not a plan, but a document of kind 'Grid'"),
        ("no command", "film.json can't be read"),
        ("too few", "film.json can't be read"),
        ("too many", "film.json can't be read"),
        ("no table", "film.json can't be read"),
        ("no grid", "film.json can't be read"),
        ("no object", "film.json is not a plan"),
        ("no JSON", "film.json is not a plan"),
    ],
)
def test_a_plan_of_another_version_is_refused(change: str, message: str) -> None:
    with pytest.raises(StorageError, match=message):
        plan_document.read(broken(change), key="film.json")


def test_tasks_without_a_command_have_an_empty_one() -> None:
    plan = make_plan()
    task: EncodeTask = replace(plan.tasks[0], argv=())
    assert plan_document.read(plan_document.write(replace(plan, tasks=(task,)))).tasks == (task,)

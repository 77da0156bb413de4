"""``all`` runs every benchmark."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import costs, machine
from benchmarks.__main__ import PIECES, _write, main
from encoder.costs import measured


def test_all_runs_every_benchmark() -> None:
    assert {piece.split()[0] for piece in PIECES} == main.commands.keys() - {"all"}


@pytest.mark.parametrize("piece", PIECES)
def test_every_part_can_be_selected(piece: str) -> None:
    name, *words = piece.split()
    context = main.commands[name].make_context(name, [*words, "--out", "result.json"])
    assert str(context.params["out"]) == "result.json"


@pytest.mark.parametrize("name", ["encoding", "quality", "presets", "scaling", "origin", "simulation"])
def test_the_parts_of_a_benchmark_are_all_its_choices(name: str) -> None:
    choices = [set(option.type.choices) for option in main.commands[name].params if hasattr(option.type, "choices")]
    assert [{piece.split()[-1] for piece in PIECES if piece.startswith(f"{name} ")}] == choices


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"result": {"ladder": []}}'])
def test_an_unrelated_file_is_neither_completed_nor_changed(content: str, tmp_path: Path) -> None:
    out = tmp_path / "other.json"
    out.write_text(content)
    run = CliRunner().invoke(main, ["quality", "--quick", "--part", "cascade", "--out", str(out)])
    assert run.exit_code == 2
    assert "choose another file" in run.output
    assert out.read_text() == content


def test_a_file_records_the_time_of_each_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "result.json"
    here = machine.describe()
    for at, parts in (("1999", ["a", "b"]), ("2001", ["b"])):
        monkeypatch.setattr(machine, "describe", lambda at=at: replace(here, measured_at=at))
        _write(out, "quality", {"figure": 1}, parts=parts)

    document = json.loads(out.read_text())
    assert {name: part["measured_at"] for name, part in document["parts"].items()} == {"a": "1999", "b": "2001"}
    assert document["machine"]["measured_at"] == "2001"


def test_a_missing_output_folder_is_reported_before_anything_runs(tmp_path: Path) -> None:
    run = CliRunner().invoke(main, ["packaging", "--out", str(tmp_path / "none" / "result.json")])
    assert run.exit_code == 2
    assert "there is no folder" in run.output


def test_a_missing_package_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    run = CliRunner().invoke(main, ["origin", "--quick"])
    assert run.exit_code == 1
    assert [line for line in run.output.splitlines() if line.startswith("Error: ")] == run.output.splitlines()[-1:]
    assert "Traceback" not in run.output


def test_tables_lose_no_text_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ProRes of a_film_with_a_very_long_name_that_is_wider_than_its_column.mov, web, draft"
    job = costs.JobCheck(name, 6, 100, 1.0, 1.0, 1.0)
    report = costs.Report(0, (), measured(), (), (job,))
    monkeypatch.setattr(costs, "measure", lambda *_parts, **_options: report)
    run = CliRunner().invoke(main, ["costs", "--part", "jobs"])
    assert name in run.output

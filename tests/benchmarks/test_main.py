"""Running everything leaves nothing out."""

import pytest

from benchmarks.__main__ import PIECES, main


def test_all_runs_every_benchmark() -> None:
    assert {piece.split()[0] for piece in PIECES} == main.commands.keys() - {"all"}


@pytest.mark.parametrize("piece", PIECES)
def test_every_piece_can_be_asked_for(piece: str) -> None:
    name, *words = piece.split()
    context = main.commands[name].make_context(name, [*words, "--out", "result.json"])
    assert str(context.params["out"]) == "result.json"


@pytest.mark.parametrize("name", ["encoding", "quality", "presets", "scaling"])
def test_the_pieces_of_a_benchmark_are_all_its_choices(name: str) -> None:
    choices = [set(option.type.choices) for option in main.commands[name].params if hasattr(option.type, "choices")]
    assert [{piece.split()[-1] for piece in PIECES if piece.startswith(f"{name} ")}] == choices

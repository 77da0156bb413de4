"""Commands that take long write lines on standard error while they wait."""

import time

import pytest

from headend.app.cli import progress_lines, verify
from headend.app.cli.progress_lines import EVERY_S, ProgressLines
from tests.support.waiting import wait_until


def test_a_line_is_written_at_intervals_and_none_by_a_quick_command(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 0.0
    lines = ProgressLines(lambda: now_s)
    for now_s in (0.1, EVERY_S - 0.1, EVERY_S, EVERY_S + 1, 2 * EVERY_S):
        lines.write(f"at {now_s:g}")
    assert capsys.readouterr().err == f"headend: at {EVERY_S:g}\nheadend: at {2 * EVERY_S:g}\n"


def test_verify_writes_lines_also_while_it_only_compares(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_lines, "EVERY_S", 0.05)
    errors = ""

    def written(text: str) -> bool:
        nonlocal errors
        errors += capsys.readouterr().err
        return text in errors

    with verify.checking() as shown:
        wait_until(lambda: written("headend: reading the release\n"))
        shown.check(1_200, 5_000)
        wait_until(lambda: written("headend: checked 1,200 of 5,000 segments\n"))
        shown.check(5_000, 5_000)
        wait_until(lambda: written("headend: checked 5,000 of 5,000 segments, comparing with the master\n"))
        shown.compare(7, 400)
        wait_until(lambda: written("headend: checked 5,000 of 5,000 segments, compared 7 of 400 with the master\n"))
    written("")
    time.sleep(0.2)
    assert not capsys.readouterr().err.count("\n") > 1

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headend.core.access.leases import MIN_LEASE_S, WRITES, Leases
from headend.core.errors import ConfigError
from tests.support.command_line import ROOT

TAKER = """
import asyncio, sys
from pathlib import Path
from headend.core.access.leases import Leases

leases = Leases(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    account, session, screens = line.split()
    print(asyncio.run(leases.take(account, session, screens=int(screens), segment_s=6)), flush=True)
"""


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(tmp_path: Path, clock: Clock) -> Iterator[Leases]:
    with closing(Leases(tmp_path, clock=clock)) as found:
        yield found


def take(leases: Leases, session: str, *, account: str = "a", screens: int = 1, segment_s: float = 6) -> float:
    return asyncio.run(leases.take(account, session, screens=screens, segment_s=segment_s))


@pytest.mark.parametrize("screens", [1, 2, 4])
def test_a_plan_has_exactly_its_number_of_screens(leases: Leases, screens: int) -> None:
    for number in range(screens):
        assert take(leases, f"s{number}", screens=screens) == 0
    assert take(leases, "one-more", screens=screens) == MIN_LEASE_S
    assert take(leases, "s0", screens=screens) == 0


def test_accounts_do_not_count_for_each_other(leases: Leases) -> None:
    assert take(leases, "s", account="a") == take(leases, "s", account="b") == take(leases, "t", account="c") == 0


def test_a_screen_is_free_again_when_its_session_has_been_quiet(leases: Leases, clock: Clock) -> None:
    take(leases, "first")
    clock.now_s += MIN_LEASE_S - 1
    assert take(leases, "second") == pytest.approx(1)
    clock.now_s += 1
    assert take(leases, "second") == 0
    assert take(leases, "first") == pytest.approx(MIN_LEASE_S)


def test_a_continuing_session_keeps_its_screen(leases: Leases, clock: Clock) -> None:
    for _ in range(60):
        assert take(leases, "first") == 0
        assert take(leases, "second") > 0
        clock.now_s += 6


def test_leases_of_long_segments_last_three_of_them(leases: Leases, clock: Clock) -> None:
    take(leases, "first", segment_s=20)
    clock.now_s += 59
    assert take(leases, "second", segment_s=20) == pytest.approx(1)


def test_a_smaller_plan_interrupts_nobody(leases: Leases, clock: Clock) -> None:
    take(leases, "first", screens=2)
    take(leases, "second", screens=2)
    clock.now_s += MIN_LEASE_S / 2
    assert take(leases, "first", screens=1) == take(leases, "second", screens=1) == 0
    assert take(leases, "third", screens=1) > 0


def test_a_lease_is_renewed_three_times_before_it_ends(tmp_path: Path, leases: Leases, clock: Clock) -> None:
    written = set()
    with closing(sqlite3.connect(tmp_path / "leases.sqlite3")) as file:
        for _ in range(300):
            take(leases, "s")
            written |= {ends for (ends,) in file.execute("SELECT ends_s FROM lease")}
            clock.now_s += MIN_LEASE_S / 300
    assert len(written) == WRITES


def test_expired_leases_leave_nothing_behind(tmp_path: Path, leases: Leases, clock: Clock) -> None:
    for number in range(50):
        take(leases, "s", account=f"a{number}")
    clock.now_s += MIN_LEASE_S
    take(leases, "s", account="last")
    with closing(sqlite3.connect(tmp_path / "leases.sqlite3")) as file:
        assert file.execute("SELECT account FROM lease").fetchall() == [("last",)]


class Taker:
    """The leases of another process of the same origin."""

    def __init__(self, folder: Path) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", TAKER, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.next_line()

    def ask(self, *words: object) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(" ".join(map(str, words)) + "\n")
        self.child.stdin.flush()

    def next_line(self) -> str:
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()


@pytest.fixture
def takers(tmp_path: Path) -> Iterator[list[Taker]]:
    found = [Taker(tmp_path) for _ in range(3)]
    try:
        yield found
    finally:
        for taker in found:
            taker.child.kill()
            taker.child.communicate()


def test_concurrent_processes_never_exceed_the_number_of_screens(takers: list[Taker]) -> None:
    for round_ in range(40):
        for number, taker in enumerate(takers):
            taker.ask(f"a{round_}", f"s{number}", 2)
        answers = [float(taker.next_line()) for taker in takers]
        assert sorted(wait_s > 0 for wait_s in answers) == [False, False, True]


def test_a_process_that_is_killed_leaves_its_leases_and_no_lock(takers: list[Taker]) -> None:
    first, second, _ = takers
    first.ask("a", "s0", 1)
    assert float(first.next_line()) == 0
    first.child.kill()
    first.child.wait()
    second.ask("a", "s1", 1)
    assert float(second.next_line()) > 0
    second.ask("a", "s0", 1)
    assert float(second.next_line()) == 0


def test_if_leases_can_not_be_kept_nobody_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    faults = []
    with closing(Leases(tmp_path, on_fault=lambda: faults.append(1))) as leases:
        with closing(sqlite3.connect(tmp_path / "leases.sqlite3")) as file:
            file.execute("DROP TABLE lease")
        assert take(leases, "one") == take(leases, "two") == 0
    assert len(faults) == 2
    assert "leases can't be kept" in caplog.text


def test_a_folder_that_can_not_hold_leases_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"can't hold leases .*: choose another with --state-dir"):
        Leases(tmp_path / "file")

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cdn_sim import replaying
from cdn_sim.policies import POLICIES
from cdn_sim.request_logs import decisions, reading
from cdn_sim.request_logs.decisions import MAGIC, DecisionLog, LoggedPolicy
from headend.app.cli import run
from headend.core.errors import ConfigError
from tests.cdn_sim.traces import watching


def lived(policy: str = "slru", *, requests: int = 4000, budget_bytes: int = 400_000_000) -> str:
    """Return the log of an edge with occasional failures, a purge, pinned objects, and a kill and restart half way."""
    numbers, sizes = (values.tolist() for values in watching())
    stream = io.StringIO()
    log = DecisionLog(stream)
    times = iter(range(1 << 30))
    edge = LoggedPolicy(policy, budget_bytes, log, lambda: next(times))
    for index, number in enumerate(numbers[:requests]):
        key = f"titles/t{number // 150}/{number % 150}.m4s"
        verdict = edge.request(key, sizes[number], delayed=index % 7 == 0)
        if verdict.admitted and index % 50 == 3:
            edge.failed(key)
        if index % 333 == 5:
            edge.remove(key)
        if index % 500 == 9:
            edge.pin(f"titles/planned/{index}.m4s", 3_000_000)
        if index % 1000 == 900:
            assert edge.unpin(f"titles/planned/{index - 391}.m4s")
        if index == requests // 2:
            stream.write("77\t12\trequest\ttitles/cu\n")  # a line cut off by a kill
            kept = [(held, sizes_of(held, sizes)) for held in list(edge.policy._sizes)[:20]]
            edge = LoggedPolicy(policy, budget_bytes, log, lambda: next(times), kept=kept)
    return stream.getvalue()


def sizes_of(key: str, sizes: list[int]) -> int:
    _, title, segment = key.split("/")
    return sizes[int(title[1:]) * 150 + int(segment.removesuffix(".m4s"))]


@pytest.mark.parametrize("policy", POLICIES)
def test_replaying_a_log_repeats_every_decision(policy: str) -> None:
    found = decisions.verify(decisions.parse(lived(policy).splitlines(keepends=True), "log"), "log")
    assert (found.requests, found.different, found.starts) == (4000, 0, 2)
    assert found.failed > 10 and 0 < found.delayed < found.hits


def test_a_changed_decision_is_found_and_shown() -> None:
    lines = lived().splitlines(keepends=True)
    place = next(number for number in range(3000, len(lines)) if "\thit\t" in lines[number])
    lines[place] = lines[place].replace("\thit\t", "\tmiss\t")
    found = decisions.verify(decisions.parse(lines, "log"), "log")
    assert found.different == 1
    assert (found.first[0].live, found.first[0].offline) == ("miss", "hit")


def test_a_missing_line_is_reported() -> None:
    lines = lived().splitlines(keepends=True)
    del lines[30]
    with pytest.raises(ConfigError, match="line 31: record 29 is missing"):
        decisions.verify(decisions.parse(lines, "log"), "log")


def test_a_damaged_line_in_the_middle_is_reported_with_its_number() -> None:
    lines = lived().splitlines(keepends=True)
    lines[30] = "garbage\n"
    with pytest.raises(ConfigError, match="line 31, is damaged"):
        decisions.verify(decisions.parse(lines, "log"), "log")


def test_a_truncated_log_is_used_up_to_its_last_complete_line() -> None:
    text = lived()
    found = decisions.verify(decisions.parse(text[: len(text) // 3].splitlines(keepends=True), "log"), "log")
    assert found.requests > 1000 and not found.different


def test_keys_with_white_space_never_reach_a_log() -> None:
    edge = LoggedPolicy("lru", 10, DecisionLog(io.StringIO()), lambda: 0)
    with pytest.raises(ValueError, match="white space"):
        edge.request("a\tb", 1)


def as_csv(requests: int = 3000) -> str:
    numbers, sizes = watching()
    return "time,key,size\n" + "".join(f"{n // 100},o{o},{sizes[o]}\n" for n, o in enumerate(numbers[:requests]))


def as_oracle(requests: int = 3000) -> bytes:
    numbers, sizes = watching()
    table = np.zeros(requests, dtype=[("t", "<u4"), ("o", "<u8"), ("s", "<u4"), ("n", "<i8")])
    table["t"], table["o"] = np.arange(requests) // 100, numbers[:requests] * 977 + 5
    table["s"], table["n"] = sizes[numbers[:requests]], -1
    return table.tobytes()


def as_access_log(requests: int = 3000) -> str:
    numbers, sizes = watching()
    lines = (
        json.dumps({"at_s": n / 100, "method": "GET", "path": f"/o{o}", "status": 200, "sent_bytes": int(sizes[o])})
        for n, o in enumerate(numbers[:requests])
    )
    other = '{"at_s":1.0,"method":"GET","path":"/gone","route":"segment","status":404,"sent_bytes":9}\n'
    return other + "\n".join(lines) + "\n"


def test_all_formats_give_the_same_result(tmp_path: Path) -> None:
    forms = {
        "log.csv": as_csv().encode(),
        "log.csv.gz": gzip.compress(as_csv().encode()),
        "access.log": as_access_log().encode(),
        "trace.oracleGeneral": as_oracle(),
    }
    found = []
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
        requests = reading.read(tmp_path / name)
        assert not requests.note
        found.append((requests.numbers.tolist(), requests.sizes.tolist()))
    assert all(each == found[0] for each in found)
    assert found[0][0][:3] == [0, 1, 2]


@pytest.mark.usefixtures("kernels")
def test_comparing_gives_the_same_result_as_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.csv").write_text(as_csv())
    requests = reading.read(tmp_path / "log.csv")
    names, budgets = ["slru", "lru", "belady"], [50_000_000, 200_000_000]
    compiled = replaying.compare(requests, names, budgets, warm_up=0.2)
    monkeypatch.setattr(replaying, "COMPILES", False)
    assert replaying.compare(requests, names, budgets, warm_up=0.2) == compiled
    assert compiled[0].outcome.requests == 2400


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (MAGIC.encode() + b"\n", "has no usable requests"),
        (b"time,key\n1,a\n", "no column is named 'size'"),
        (b"time,key,size\n1,a,b\n", "line 2: time or size is not a number"),
        (b"time,key,size\n1,a,-5\n", "line 2: a size can't be -5"),
        (b"time,key,size\n1,a,%d\n2,b,%d\n" % ((1 << 61) + 1, 1 << 61), "add up to more than 4.6 EB"),
        (b"time,key,size\n99999999999999999999,a,5\n", "request 1: its time or size is out of range"),
        (b'time,key,size\n1,"' + b"a\n" * 100_000 + b'",5\n', "not valid CSV (field larger than field limit"),
        (b'{"at_s":1e300,"path":"/a","status":200}\n', "no usable requests (skipped 1 damaged line, line 1)"),
        (b'{"at_s":1,"path":"/a","status":200,"sent_bytes":-5}\n', "skipped 1 damaged line, line 1"),
        (MAGIC.encode() + b"\n0\t1\trequest\ta\t5\tmiss\t\n", "does not begin with a 'start' record"),
        (
            MAGIC.encode() + b"\n0\t1\tstart\tslru\t%d\tall\t\n1\t2\trequest\ta\t5\tmiss\t\n" % 10**26,
            "line 2, is damaged",
        ),
        (b"time,key,size\n", "has no usable requests"),
        (b'{"at_s":1.0,"path":"/a","status":500}\n', "has no usable requests"),
        (b"{}\n" + b"{nonsense\n" * 200, "is not an access log"),
        (b"\x00\x01\x02" * 7, "has an unknown format"),
        (b"hello world, this is prose\nand goes on", "no column is named"),
        (gzip.compress(as_csv(50).encode())[:-20], "can't be unpacked"),
    ],
)
def test_bad_logs_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, message: str
) -> None:
    (tmp_path / "log").write_bytes(data)
    assert run(["replay", str(tmp_path / "log"), "--disk-bytes", "1G"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_damaged_lines_of_a_long_access_log_are_skipped_and_counted(tmp_path: Path) -> None:
    lines = as_access_log(12_000).encode().splitlines(keepends=True)
    for index in range(100, 12_000, 80):
        lines[index] = lines[index][:30] + b"\n"
    lines[50] = b"\0" * 3_000_000 + b"\n"  # what a crash may leave of a file that was being written
    lines[60] = lines[60].replace(b'"sent_bytes": ', b'"sent_bytes": -')
    (tmp_path / "access.log").write_bytes(b"".join(lines))
    requests = reading.read(tmp_path / "access.log")
    assert len(requests.numbers) == 12_000 - 149 - 2
    assert requests.note == "skipped 151 damaged lines, the first is line 51"


def test_a_log_may_begin_in_the_middle_of_a_line_and_lack_requests(tmp_path: Path) -> None:
    log = as_access_log(20)[40:] + '{"at_s":9.0,"lost_lines":7}\n'
    (tmp_path / "access.log").write_text(log)
    requests = reading.read(tmp_path / "access.log")
    assert len(requests.numbers) == 20
    assert requests.note.startswith("skipped 1 damaged line, line 1; 7 requests are missing")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_progress_covers_the_whole_file(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    data = pack(as_access_log().encode() * 8)
    (tmp_path / "access.log").write_bytes(data)
    experience: list[tuple[int, int]] = []
    reading.read(tmp_path / "access.log", lambda read_bytes, size_bytes: experience.append((read_bytes, size_bytes)))
    assert experience == sorted(experience)
    assert experience[-1] == (len(data), len(data))


def test_a_truncated_binary_trace_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trace.bin").write_bytes(as_oracle(100)[:-7])
    assert run(["replay", str(tmp_path / "trace.bin"), "--disk-bytes", "1G"]) == 0
    assert "truncated in record 100" in capsys.readouterr().err


def test_replay_checks_a_decision_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text(lived("sieve"))
    assert run(["replay", str(tmp_path / "log")]) == 0
    assert "4,000 requests" in (out := capsys.readouterr().out) and "0 different decisions" in out
    (tmp_path / "log").write_text(lived("sieve").replace("start\tsieve", "start\tlru"))
    assert run(["replay", str(tmp_path / "log"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["different"] > 0


def test_replay_compares_policies_and_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text(lived())
    args = ["--policy", "lru", "--policy", "belady", "--disk-bytes", "100M,300M", "--json"]
    assert run(["replay", str(tmp_path / "log"), *args]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [(each["policy"], each["disk_bytes"] >> 20) for each in results] == [
        ("lru", 100),
        ("belady", 100),
        ("lru", 300),
        ("belady", 300),
    ]
    assert results[0]["byte_hit_ratio"] < results[1]["byte_hit_ratio"]


def test_replay_without_a_size_reports_the_missing_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.csv").write_text(as_csv(10))
    assert run(["replay", str(tmp_path / "log.csv")]) == 2
    assert "--disk-bytes" in capsys.readouterr().err


def test_policies_and_the_decision_log_need_no_numba() -> None:
    """A live edge stays small: numba alone takes 100 MB."""
    code = "import sys, cdn_sim.policies, cdn_sim.request_logs.decisions; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

import json
from pathlib import Path

import pytest

from encoder.cluster import link
from headend.app.cli import run
from headend.app.doctor import Health, checks
from headend.core.settings import ClusterSettings, StoreSettings
from headend.core.storage import open_store
from headend.core.storage.local_server import LocalS3


def test_a_good_installation_is_healthy(tmp_path: Path) -> None:
    found = {check.name: check for check in checks(StoreSettings(str(tmp_path)), ClusterSettings(), tmp_path)}
    assert {name for name, check in found.items() if check.health is Health.BAD} == set()
    assert found["conditional writes"].health is Health.GOOD
    assert "libx264" in found["FFmpeg's encoders"].detail
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"


def test_an_s3_server_is_tried_with_writers_at_the_same_moment(rclone_s3: LocalS3, tmp_path: Path) -> None:
    store = StoreSettings("s3://films/vod", rclone_s3.endpoint_url)
    found = {check.name: check for check in checks(store, ClusterSettings(), tmp_path)}
    assert found["store"].health is not Health.BAD
    assert found["conditional writes"].health is not Health.BAD
    assert list(open_store(store).list("probe-")) == [], "it leaves nothing behind"


def test_every_problem_says_what_to_do_and_gives_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADEND_FFMPEG", str(tmp_path / "nowhere"))
    monkeypatch.setattr(link, "CONNECT_S", 1)
    argv = ["doctor", "--store", str(tmp_path), "--scheduler", "tcp://127.0.0.1:9", "--json"]
    assert run(argv) == 1
    found = {check["check"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    for name in ("FFmpeg", "scheduler"):
        assert found[name]["health"] == "bad" and found[name]["mend"]

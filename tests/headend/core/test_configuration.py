from pathlib import Path

import pytest

from encoder.cluster import link
from headend.app.cli import run
from headend.core import configuration
from headend.core.errors import ConfigError
from tests.support.masters import make_film

OWN = {"ladder", "effort", "audio", "segment-seconds"}


def merge(*documents: dict[str, object]) -> configuration.Configuration:
    files = ((Path(f"/{number}/headend.toml"), document) for number, document in enumerate(documents))
    return configuration.merge(files, OWN, lambda: OWN | {"store"})


def test_a_later_file_wins_option_by_option() -> None:
    found = merge({"defaults": {"ladder": "web", "effort": "draft"}}, {"defaults": {"effort": "high"}})
    assert {name: setting.value for name, setting in found.defaults.items()} == {"ladder": "web", "effort": "high"}
    assert found.defaults["effort"].source == "[defaults] in /1/headend.toml"


def test_a_profile_wins_over_all_defaults() -> None:
    found = merge({"profiles": {"trailer": {"effort": "draft"}}}, {"defaults": {"effort": "high", "ladder": "web"}})
    settings = found.settings("trailer")
    assert (settings["effort"].value, settings["ladder"].value) == ("draft", "web")


def test_a_cluster_from_a_source_with_precedence_replaces_the_other() -> None:
    own = {"workers", "scheduler"}
    farm, local = {"scheduler": "tcp://farm:8786"}, {"workers": 2}
    documents: list[dict[str, object]] = [
        {"defaults": local, "profiles": {"farm": farm}},
        {"defaults": farm, "profiles": {"here": local}},
    ]
    files = [(Path(f"/{number}/headend.toml"), document) for number, document in enumerate(documents)]
    found = configuration.merge(files, own, lambda: own)
    assert set(found.defaults) == {"scheduler"}
    assert set(found.settings("farm")) == {"scheduler"}
    assert set(found.settings("here")) == {"workers"}


def test_options_of_other_commands_are_allowed_in_a_file() -> None:
    assert merge({"defaults": {"store": "s3://films/vod"}}).defaults["store"].value == "s3://films/vod"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"defaults": {"ladr": "web"}}, "'ladr', which is not an option; did you mean 'ladder'"),
        ({"ladder": "web"}, "'ladder' is outside a table"),
        ({"defaults": "web"}, "defaults is not a table"),
        ({"profiles": ["web"]}, "profiles are tables"),
        ({"defaults": {"audio": [1]}}, "an item in its list that is not text"),
        ({"defaults": {"ladder": {"a": 1}}}, "is not text, a number"),
    ],
)
def test_an_error_names_its_file(document: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        merge(document)
    assert "/0/headend.toml" in str(caught.value)


def test_the_error_for_an_unknown_profile_lists_the_existing_ones() -> None:
    with pytest.raises(ConfigError, match=r"no profile .x.; headend\.toml has: trailer"):
        merge({"profiles": {"trailer": {}}}).settings("x")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("HEADEND_CONFIG", raising=False)
    (tmp_path / "project" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / "below")
    return tmp_path


def test_the_nearest_project_file_applies_below_its_folder(folder: Path) -> None:
    (folder / "project" / "headend.toml").write_text("[defaults]\nladder = 'web'\n")
    (folder / "headend.toml").write_text("[defaults]\nladder = 'smoke'\n")
    assert configuration.find() == (folder / "project" / "headend.toml",)


def test_sources_are_shown_in_order_of_precedence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "project" / "headend.toml").write_text(
        "[defaults]\nladder = 'web'\neffort = 'high'\n[profiles.trailer]\neffort = 'draft'\n"
    )
    monkeypatch.setenv("HEADEND_CROP", "auto")
    assert run(["--profile", "trailer", "config", "show", "submit"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("--")}
    assert "web" in lines["--ladder"] and "[defaults]" in lines["--ladder"]
    assert "draft" in lines["--effort"] and "[profiles.trailer]" in lines["--effort"]
    assert "auto" in lines["--crop"] and "HEADEND_CROP" in lines["--crop"]
    assert "built in" in lines["--loudness"]


def test_a_file_sets_what_the_command_uses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "project" / "headend.toml").write_text(f"[defaults]\nstore = '{folder / 'vod'}'\n")
    (folder / "vod").mkdir()
    assert run(["titles"]) == 0
    assert str(folder / "vod") in capsys.readouterr().out
    assert run(["titles", "--store", str(folder / "other")]) != 70
    assert str(folder / "other") in "".join(capsys.readouterr())


def test_a_missing_file_that_the_environment_names_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADEND_CONFIG", str(folder / "nowhere.toml"))
    assert run(["titles"]) == 2
    assert "HEADEND_CONFIG names" in capsys.readouterr().err


def test_a_named_cluster_replaces_a_configured_number_of_workers(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CONNECT_S", 0.5)
    (folder / "headend.toml").write_text("[defaults]\nworkers = 2\n")
    film = make_film(folder / "film.mp4", frame_count=2, size=(160, 90))
    elsewhere = ["submit", str(film), "--title", "film", "--scheduler", "tcp://127.0.0.1:1"]
    assert run(elsewhere) == 2
    assert "no Dask scheduler answers" in capsys.readouterr().err
    monkeypatch.setenv("HEADEND_SCHEDULER", "tcp://127.0.0.1:1")
    assert run(elsewhere[:4]) == 2
    assert "no Dask scheduler answers" in capsys.readouterr().err
    assert run([*elsewhere, "--workers", "1"]) == 2
    assert "give one of them" in capsys.readouterr().err


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_profile_may_precede_or_follow_the_command(
    place: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "headend.toml").write_text(f"[profiles.vod]\nstore = '{folder / 'vod'}'\n")
    (folder / "vod").mkdir()
    for words in (["--profile", "vod"], ["--profile=vod"]):
        args = ["titles", "--json"]
        args[place:place] = words
        assert run(args) == 0
        assert run([*args, "--profile", "nothing"]) == 2
        assert "there is no profile 'nothing'" in capsys.readouterr().err
    assert run(["titles", "--profile"]) == 2
    assert "'--profile' requires an argument" in capsys.readouterr().err

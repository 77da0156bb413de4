"""Every option with an environment variable can be set by it, in every command that has the option."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from headend.app.cli import COMMANDS, cli, run
from headend.app.cli.configuring import settable, variable

WORDS = {
    "accounts": "2026-11",
    "add-audio": "other.wav:de",
    "add-subtitles": "film.de.srt:de",
    "audio": "1:de",
    "cenc-codecs": "avc",
    "crop": "auto",
    "disk-bytes": "3G",
    "drm": "widevine",
    "edge": "north/1=http://127.0.0.1:9",
    "embedded-text": "none",
    "expect": "film=100",
    "expires": "3h",
    "grace": "3h",
    "label": "season=2",
    "licence-url": "https://licences.example/",
    "licensed-from": "2026-11-28T20:00:00Z",
    "licensed-until": "2026-11-28T20:00:00Z",
    "max-sound-gap": "3",
    "network": "north=10.0.0.0/8",
    "notify": "https://example.com/hook",
    "order": "a-en,a-de",
    "prices": "own",
    "protect": "cbcs",
    "proxy": "10.0.0.1",
    "relabel": "a-en:de",
    "release": "1dbb1c1fe6e5a8c393a3",
    "scheme": "cenc",
    "chunk-seconds": "12",
    "segment-seconds": "4",
    "steering": "http://127.0.0.1:9/steering",
    "subtitle-offset": "-2.5",
    "subtitles": "film.de.srt:de",
    "territories": "DE,AT",
    "territory": "DE",
    "title": "other",
}
"""Values for options that don't accept any word."""
ARGUMENTS = {
    "film": ("title", "titles", "named"),
    "20261128t201500123-1a2b3c": ("job",),
    "7": ("priority",),
}
"""Arguments of commands; the others accept any word."""
NEEDED = {
    "keys": "keys",
    "protect": "cenc",
    "origin": "http://127.0.0.1:9",
    "edge": "south/1=http://127.0.0.1:8",
    "disk": "folder",
    "out": "folder",
}
"""Options that are required while another one is tested."""


@dataclass(frozen=True, slots=True)
class Case:
    """An option of a command."""

    path: tuple[str, ...]
    option: str

    def __str__(self) -> str:
        return f"{' '.join(self.path)} --{self.option}"


def leaf_of(path: tuple[str, ...]) -> click.Command:
    found = cli.get_command(click.Context(cli), path[0])
    assert found is not None
    return found.commands[path[1]] if isinstance(found, click.Group) else found


def cases() -> Iterator[Case]:
    for name in COMMANDS:
        found = cli.get_command(click.Context(cli), name)
        paths = [(name, each) for each in found.commands] if isinstance(found, click.Group) else [(name,)]
        for path in paths:
            for option, param in settable(leaf_of(path)):
                if param.allow_from_autoenv:
                    yield Case(path, option)


@contextmanager
def captured(leaf: click.Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], dict[str, Any]]]:
    """Commands record their options instead of running."""
    calls: list[dict[str, Any]] = []
    with monkeypatch.context() as patch:
        patch.setattr(leaf, "callback", lambda **options: calls.append(options))
        yield calls.pop


def word_of(case: Case, param: click.Option, folder: Path) -> str:
    """Return a value other than the option's default."""
    kind = param.type
    if case.option in WORDS:
        return WORDS[case.option]
    if param.is_flag:
        return "0" if param.default is True else "1"
    if isinstance(kind, click.Choice):
        return next(str(each) for each in kind.choices if str(each) != str(param.default))
    if isinstance(kind, click.IntRange):
        return str(int(kind.max if kind.max is not None and kind.max < 3 else max(kind.min or 0, 3)))
    if isinstance(kind, click.FloatRange):
        return str((kind.min or 0) + 0.5) if case.option != "top-vmaf" else "92"
    if kind.name in ("duration", "seconds", "bytes", "byte count"):
        return {"duration": "3h", "seconds": "3"}.get(kind.name, "3G")
    place = folder / "there"
    if (isinstance(kind, click.Path) and not kind.file_okay) or case.option == "scratch":
        place.mkdir()
    else:
        place.write_text("{}")
        place.chmod(0o600)
    return str(place)


def words_of(path: tuple[str, ...], but: str) -> list[str]:
    """Return the minimal command line of a command."""
    leaf, words = leaf_of(path), []
    for param in leaf.params:
        if isinstance(param, click.Argument) and param.required:
            words += [next((word for word, names in ARGUMENTS.items() if param.name in names), "word")]
        elif isinstance(param, click.Option) and param.required:
            option = max(param.opts, key=len)
            if option != f"--{but}":
                words += [option, NEEDED.get(option.removeprefix("--"), WORDS.get(option.removeprefix("--"), "word"))]
    return [*path, *words]


@pytest.mark.parametrize("case", tuple(cases()), ids=str)
def test_a_variable_has_the_effect_of_its_option(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("master", "word", "film.de.srt", "other.wav"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    leaf = leaf_of(case.path)
    param = dict(settable(leaf))[case.option]
    word = word_of(case, param, tmp_path)
    for name in ("HEADEND_STORE", "HEADEND_QC", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    names = [param.envvar] if isinstance(param.envvar, str) else list(param.envvar or [variable(case.option)])
    words = words_of(case.path, but=case.option)
    with captured(leaf, monkeypatch) as taken:
        by_itself = None
        if not param.required:
            assert run(words) == 0
            by_itself = taken()[str(param.name)]
        flag = param.secondary_opts[0] if param.is_flag and word == "0" else max(param.opts, key=len)
        assert run([*words, flag, *([] if param.is_flag else [word])]) == 0
        output = taken()[str(param.name)]
        for name in names:
            with monkeypatch.context() as patch:
                patch.setenv(name, word)
                assert run(words) == 0
                assert taken()[str(param.name)] == output
        assert output != by_itself

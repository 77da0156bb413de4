import ast
import importlib
import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from headend.app.cli import cli
from ladders.ladder import Ladder
from ladders.rules import check

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_command_line_page_is_up_to_date() -> None:
    generator = runpy.run_path(str(ROOT / "docs/reference/generate.py"))
    assert generator["PAGE"].read_text(encoding="utf-8") == generator["page"]()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_have_existing_targets(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_pages_name_exist(page: Path) -> None:
    named = re.findall(r"`((?:headend|ladders|encoder|packager|origin|cdn_sim|tests|docs)/[\w./-]*)`", page.read_text())
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_functions_that_pages_name_exist(page: Path) -> None:
    packages = "headend|ladders|encoder|packager|origin|cdn_sim"
    named = re.findall(rf"`((?:{packages})(?:\.\w+)+)", page.read_text(encoding="utf-8"))
    assert not [name for name in named if name != "headend.toml" and not _exists(name)]


def _exists(name: str) -> bool:
    parts, path = name.split("."), ROOT
    while parts and ((path / parts[0]).is_dir() or (path / f"{parts[0]}.py").is_file()):
        path /= parts.pop(0)
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return not parts or re.search(rf"\b{parts[0]}\b", source.read_text(encoding="utf-8")) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_that_pages_show_exist(page: Path) -> None:
    unknown = []
    for line in _shown_commands(page.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)
        known, rest = _options(words)
        unknown += [f"{option}: {line}" for option in rest if option not in known]
    assert not unknown


def _shown_commands(text: str) -> Iterator[str]:
    """Commands at the start of lines of code blocks, and those in the text."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        lines = block.replace("\\\n", " ").splitlines()
        yield from (line for line in lines if re.match(r"(\./run )?headend [a-z-]", line))
    inline = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from (line for line in re.findall(r"`((?:\./run )?headend [^`]*)`", inline) if "…" not in line)


def _options(words: list[str]) -> tuple[set[str], list[str]]:
    """The options of a command line's command, and those that it uses; a command that does not exist has none."""
    words = words[words.index("headend") + 1 :]
    command: click.Command | None = cli
    known = {"--help", "-h"}
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            inner = command.get_command(click.Context(command), word)
            if inner is None:
                continue  # the value of an option
            command = inner
        known |= {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return known, [word.partition("=")[0] for word in words if word.startswith("--")]


@pytest.mark.parametrize("script", sorted(ROOT.glob("docs/**/*.py")), ids=lambda script: script.stem)
def test_scripts_that_make_pages_and_pictures_import_only_what_exists(script: Path) -> None:
    for statement in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.ImportFrom) and statement.module:
            module = importlib.import_module(statement.module)
            for name in statement.names:
                hasattr(module, name.name) or importlib.import_module(f"{statement.module}.{name.name}")


def test_the_example_of_a_ladder_is_valid() -> None:
    page = (ROOT / "docs/reference/ladders.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    assert not [finding for finding in check(msgspec.convert(tomllib.loads(example[1]), Ladder)) if not finding.advice]


def test_the_picture_of_edges_matches_the_scenario() -> None:
    drawing = runpy.run_path(str(ROOT / "docs/images/topology.py"))
    scenario = drawing["scenario"]
    metro = scenario.parse(scenario.preset_text(drawing["NAME"]), drawing["NAME"])
    assert drawing["PICTURE"].read_text(encoding="utf-8") == drawing["svg"](metro)


def test_the_picture_of_layers_matches_the_contract() -> None:
    drawing = runpy.run_path(str(ROOT / "docs/images/layers.py"))
    assert drawing["PICTURE"].read_text(encoding="utf-8") == drawing["svg"]()

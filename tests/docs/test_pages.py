import re
import runpy
import tomllib
from pathlib import Path

import msgspec
import pytest

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


def test_the_example_of_a_ladder_is_valid() -> None:
    page = (ROOT / "docs/reference/ladders.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    assert not [finding for finding in check(msgspec.convert(tomllib.loads(example[1]), Ladder)) if not finding.advice]


def test_the_picture_of_edges_matches_the_scenario() -> None:
    drawing = runpy.run_path(str(ROOT / "docs/images/plant.py"))
    scenario = drawing["scenario"]
    plant = scenario.parse(scenario.preset_text(drawing["NAME"]), drawing["NAME"])
    assert drawing["PICTURE"].read_text(encoding="utf-8") == drawing["svg"](plant)


def test_the_picture_of_layers_matches_the_contract() -> None:
    drawing = runpy.run_path(str(ROOT / "docs/images/layers.py"))
    assert drawing["PICTURE"].read_text(encoding="utf-8") == drawing["svg"]()

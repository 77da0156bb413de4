import json
import re
from pathlib import Path

import pytest

from headend.core.errors import ObjectMissing
from origin.watch import pages
from origin.watch.players import PLAYERS
from tests.origin.releases import TITLE, ask

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def players_in(html: bytes) -> list[dict[str, str]]:
    found = re.search(rb'<script type="application/json" id="players">(.*?)</script>', html)
    assert found
    return list(json.loads(found[1]))


def test_fetched_players_are_served_by_the_origin(tmp_path: Path) -> None:
    for player in PLAYERS:
        (tmp_path / player.file).write_text(f"// {player.name}")
    found = pages.load(tmp_path)
    for player, source in zip(PLAYERS, players_in(found.watch_html), strict=True):
        assert source["script"] == f"assets/{found.digest}/{player.file}"
        assert source["integrity"] == player.integrity
        assert found.asset(found.digest, player.file).file().plain.body == f"// {player.name}".encode()
    assert "cdn" not in found.content_security_policy


def test_other_players_come_from_a_cdn_by_version_and_digest(tmp_path: Path) -> None:
    found = pages.load(tmp_path)
    for player, source in zip(PLAYERS, players_in(found.watch_html), strict=True):
        assert source["script"] == f"https://cdn.jsdelivr.net/npm/{player.package}@{player.version}/{player.path}"
        assert source["integrity"].startswith("sha384-")
    scripts = " ".join(player.cdn_url for player in PLAYERS)
    assert f"script-src 'self' {scripts};" in found.content_security_policy  # each script, and nothing else of the CDN


def test_nothing_is_compressed_before_it_is_requested(tmp_path: Path) -> None:
    found = pages.load(tmp_path)
    assert not any(asset.is_ready for asset in found.assets.values())
    asset = found.asset(found.digest, "watch.js")
    assert asset.file() is asset.file()
    assert asset.file().coded["br"].size_bytes < len(asset.body)


def test_assets_of_another_version_are_not_found(tmp_path: Path) -> None:
    found = pages.load(tmp_path)
    (tmp_path / PLAYERS[0].file).write_text("//")
    pages.load.cache_clear()
    assert pages.load(tmp_path).digest != found.digest
    with pytest.raises(ObjectMissing):
        found.asset("0" * 16, "page.css")
    with pytest.raises(ObjectMissing):
        found.asset(found.digest, "watch.html")


def test_everything_that_a_page_names_is_cacheable_for_ever_under_its_version(base_url: str) -> None:
    for path, folder in ((f"/watch/{TITLE}", "/watch/"), ("/", "/")):
        page = ask(base_url, path, BROWSER)
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        named = re.findall(r'(?:href|src)="([^"]*assets/[^"]*)"', page.body.decode())
        assert len(named) == 4
        for name in named:
            asset = ask(base_url, folder + name, {"Accept-Encoding": "gzip"})
            assert asset.status == 200
            assert "immutable" in asset.headers["cache-control"]
            assert asset.headers["content-encoding"] == "gzip"


def test_scripts_import_only_existing_files(tmp_path: Path) -> None:
    found = pages.load(tmp_path)
    for name, asset in found.assets.items():
        for imported in re.findall(r"from '\./([^']+)'", asset.body.decode() if name[-2:] == "js" else ""):
            assert imported in found.assets, name
    assert {f"play-{player.name}.js" for player in PLAYERS} <= set(found.assets)


def test_a_page_runs_only_the_scripts_that_it_names(base_url: str) -> None:
    for path in ("/", f"/watch/{TITLE}"):
        page = ask(base_url, path, BROWSER)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'self'" in policy
        assert not re.search(rb"<script(?![^>]*(?:src=|application/json))|\son\w+=|style=", page.body)


def test_browsers_get_a_page_of_titles_and_programs_get_json(base_url: str) -> None:
    for headers, kind in ((BROWSER, "text/html"), ({}, "application/json"), ({"Accept": "*/*"}, "application/json")):
        got = ask(base_url, "/", headers)
        assert got.headers["content-type"].startswith(kind)
        assert got.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    "path",
    [
        "/watch/nothing", "/watch/secret", "/watch/", "/watch/assets/0123456789abcdef/watch.js",
        "/watch/assets/0123456789abcdef/..%2fpages.py", "/watch/assets/../pages.py", f"/watch/{TITLE}/",
    ],
)  # fmt: skip
def test_an_unknown_page_is_404(base_url: str, path: str) -> None:
    assert ask(base_url, path, BROWSER).status == 404

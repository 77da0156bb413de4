"""The origin with a disk cache in front of a distant store."""

import shutil
from pathlib import Path

import pytest

from headend.core import layout
from headend.core.errors import ConfigError
from headend.core.storage.local import LocalStore
from headend.core.storage.memory import MemoryStore
from origin.serving import OriginSettings, running
from tests.origin.releases import PICTURE, SEGMENTS, TITLE, WatchedStore, ask, put_release

SEGMENT = f"/{TITLE}/tracks/{PICTURE}/1.m4s"
KEY = layout.track_segment(TITLE, PICTURE, 1)


def test_a_store_on_this_machine_needs_no_disk_cache(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="leave out --disk-cache"),
        running(LocalStore(tmp_path / "store"), settings=OriginSettings(disk_cache=tmp_path / "cache")),
    ):
        pass


def test_a_restarted_origin_reads_no_cached_object_from_the_store(tmp_path: Path) -> None:
    store = WatchedStore(MemoryStore())
    put_release(store)
    settings = OriginSettings(disk_cache=tmp_path)
    with running(store, settings=settings) as url:
        assert ask(url, SEGMENT).body == SEGMENTS[0]
        assert ask(url, SEGMENT, {"Range": "bytes=1-3"}).body == SEGMENTS[0][1:4]
    with running(store, settings=settings) as url:
        assert ask(url, SEGMENT).body == SEGMENTS[0]
        assert 'headend_origin_lookups_total{result="disk"} 1.0' in ask(url, "/metrics").body.decode()
    assert store.reads[KEY] == 1
    next((tmp_path / "0").iterdir()).write_bytes(b"x" * len(SEGMENTS[0]))
    with running(store, settings=settings) as url:
        assert ask(url, SEGMENT).body == SEGMENTS[0]
        assert 'headend_origin_disk_cache_total{result="damaged"} 1.0' in ask(url, "/metrics").body.decode()
    assert store.reads[KEY] == 2


def test_playback_continues_if_the_disk_fails(store: WatchedStore, tmp_path: Path) -> None:
    with running(store, settings=OriginSettings(disk_cache=tmp_path)) as url:
        shutil.rmtree(tmp_path / "0")
        for _ in range(2):
            assert ask(url, SEGMENT).body == SEGMENTS[0]
        assert 'headend_origin_disk_cache_total{result="failed"} 1.0' in ask(url, "/metrics").body.decode()

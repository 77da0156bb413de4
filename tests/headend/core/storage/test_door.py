import subprocess
import sys
from pathlib import Path

import pytest

from headend.core.errors import ConfigError, StorageError
from headend.core.settings import StoreSettings
from headend.core.storage import check_writable, open_store
from headend.core.storage.local import LocalStore
from headend.core.storage.memory import MemoryStore
from headend.core.storage.s3 import S3Store


def test_a_path_opens_a_folder_without_creating_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store(StoreSettings("./store")) == LocalStore(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [("s3://films", "films", ""), ("s3://films/", "films", ""), ("s3://films/a/b/", "films", "a/b")],
)
def test_an_address_in_s3_opens_a_bucket(url: str, bucket: str, prefix: str) -> None:
    assert open_store(StoreSettings(url, "http://127.0.0.1:9")) == S3Store(bucket, prefix, "http://127.0.0.1:9")


@pytest.mark.parametrize("url", ["", "https://example.com/store", "file:///store"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="a store is the path of a folder or s3://bucket/prefix"):
        open_store(StoreSettings(url))


def test_a_prefix_with_dot_segments_is_refused() -> None:
    with pytest.raises(StorageError):
        open_store(StoreSettings("s3://films/../other"))


def test_a_store_in_a_folder_needs_no_boto3() -> None:
    script = (
        "import sys, headend.core.records; from headend.core.storage import masters; sys.exit('boto3' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_store_that_returns_other_bytes_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "get", lambda *_: b"stale")
    with pytest.raises(StorageError, match="returned different bytes than were written"):
        check_writable(MemoryStore())

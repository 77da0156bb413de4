"""Real S3 servers on this machine as fixtures: rclone checks credentials, moto has versions."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headend.core.storage.local_server import LocalS3, rclone_server, serving

BUCKET = "films"
PAGE_KEYS = 7
"""Page size of moto's listings, so that a few objects make several pages."""


@contextmanager
def moto_server() -> Iterator[LocalS3]:
    import boto3  # takes half a second, which tests without S3 need not wait for

    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with serving(
        argv, r"Running on (http://127\.0\.0\.1:\d+)", {"MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE_KEYS)}
    ) as endpoint_url:
        server = LocalS3(endpoint_url, "AKIAMOTO000000000000", "moto-takes-any-secret-of-forty-characters")
        boto3.session.Session().client(
            "s3",
            endpoint_url=server.endpoint_url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name="us-east-1",
        ).create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="session")
def running_rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalS3]:
    folder: Path = tmp_path_factory.mktemp("rclone")
    with rclone_server(folder, buckets=[BUCKET]) as server:
        yield server


@pytest.fixture(scope="session")
def running_moto() -> Iterator[LocalS3]:
    with moto_server() as server:
        yield server


@pytest.fixture
def rclone_s3(running_rclone: LocalS3, monkeypatch: pytest.MonkeyPatch) -> LocalS3:
    return with_credentials(running_rclone, monkeypatch)


@pytest.fixture
def moto_s3(running_moto: LocalS3, monkeypatch: pytest.MonkeyPatch) -> LocalS3:
    return with_credentials(running_moto, monkeypatch)


def with_credentials(server: LocalS3, monkeypatch: pytest.MonkeyPatch) -> LocalS3:
    """Give the SDK this server's credentials instead of the machine's."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return server

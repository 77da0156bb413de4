import pickle
import uuid
from pathlib import Path

import pytest

from headend.core.errors import ConfigError, HeadendError, ObjectMissing, StorageError, StoreUnavailable
from headend.core.storage import s3
from headend.core.storage.local_server import LocalS3
from headend.core.storage.s3 import S3Store
from tests.support.s3_servers import BUCKET


@pytest.fixture(params=["rclone_s3", "moto_s3"])
def server(request: pytest.FixtureRequest) -> LocalS3:
    found: LocalS3 = request.getfixturevalue(request.param)
    return found


def store_on(server: LocalS3, bucket: str = BUCKET) -> S3Store:
    return S3Store(bucket, uuid.uuid4().hex, server.endpoint_url)


def all_text_of(error: HeadendError) -> str:
    """Return all text that could reach a log, a terminal or another machine, including the cause."""
    return f"{error} {error!r} {error.facts} {pickle.dumps(error)!r} {error.__cause__!r}"


def test_wrong_secret_is_refused_without_showing_it(rclone_s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-of-a-realistic-length-40-ch")
    store = store_on(rclone_s3)
    with pytest.raises(StorageError, match="the secret key is wrong; check AWS_ACCESS_KEY_ID") as caught:
        store.put("a", b"x")
    assert not caught.value.retryable
    assert "wrong-secret" not in all_text_of(caught.value) + repr(store) + repr(pickle.dumps(store))
    with pytest.raises(StorageError, match="access is denied; check AWS_ACCESS_KEY_ID"):
        store.head("a")


def test_unknown_access_key_is_refused(rclone_s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN000000000")
    with pytest.raises(StorageError, match="the access key is unknown"):
        store_on(rclone_s3).put("a", b"x")


def test_no_credentials_at_all_says_what_to_set(rclone_s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in rclone_s3.environment():
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match="there are no credentials; set AWS_ACCESS_KEY_ID"):
        store_on(rclone_s3).put("a", b"x")


def test_unreachable_endpoint_gives_up_and_names_it(rclone_s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "MAX_ATTEMPTS", 2)
    store = S3Store(BUCKET, "", "http://127.0.0.1:9")  # nothing listens at the discard port
    with pytest.raises(StoreUnavailable, match=r"http://127\.0\.0\.1:9/.*check the endpoint") as caught:
        store.put("a", b"x")
    assert caught.value.retryable
    assert rclone_s3.secret_key not in all_text_of(caught.value)


def test_a_fault_of_the_server_is_temporary(rclone_s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "MAX_ATTEMPTS", 1)
    store = store_on(rclone_s3)
    store.put("a", b"x")
    with pytest.raises(StoreUnavailable, match="the server answers 500"):
        store.put("a/b", b"rclone stores a as a file, so it cannot create the folder a")


def test_a_missing_bucket_is_not_a_missing_object(server: LocalS3) -> None:
    store = store_on(server, "no-such-bucket")
    for call in (lambda: store.put("a", b"x"), lambda: store.get("a"), lambda: list(store.list(""))):
        with pytest.raises(StorageError, match="there is no such bucket; create it") as caught:
            call()
        assert not isinstance(caught.value, ObjectMissing)


def test_a_damaged_upload_is_not_stored(rclone_s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_on(rclone_s3)
    digest_of_other_bytes = s3._md5(b"other")
    monkeypatch.setattr(s3, "_md5", lambda _: digest_of_other_bytes)
    with pytest.raises(StoreUnavailable, match="BadDigest"):
        store.put("a", b"damaged")
    assert list(store.list("")) == []


def test_a_large_file_is_uploaded_in_parts(moto_s3: LocalS3, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(9 << 20))
    store = store_on(moto_s3)
    store.put_file("large", tmp_path / "large")
    assert store.head("large").etag.endswith("-2"), "an ETag of two parts"


def test_the_loser_of_a_race_gets_an_error_if_the_server_supports_it(
    moto_s3: LocalS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_on(moto_s3)
    store.put("plan", b"first")

    def too_early(_: S3Store, key: str) -> None:
        raise ObjectMissing("not yet", key=key)

    monkeypatch.setattr(S3Store, "head", too_early)
    assert not store.put_if_absent("plan", b"second")
    assert store.get("plan") == b"first"


def test_takes_the_endpoint_from_the_environment(server: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    # A host name: by default, the SDK would put the bucket in front of it.
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint_url.replace("127.0.0.1", "localhost"))
    store = S3Store(BUCKET, uuid.uuid4().hex)
    store.put("a", b"x")
    assert store.get("a") == b"x"


def test_stores_with_different_prefixes_do_not_see_each_other(server: LocalS3) -> None:
    one, other = store_on(server), store_on(server)
    one.put("a", b"x")
    assert list(other.list("")) == []


@pytest.mark.parametrize("endpoint_url", ["http://key:hush-hush@127.0.0.1:9", "s3.example.com", "ftp://s3.example.com"])
def test_an_endpoint_holds_a_scheme_and_no_credentials(endpoint_url: str) -> None:
    with pytest.raises(ConfigError, match="an S3 endpoint has the form https://host:port") as caught:
        S3Store(BUCKET, "", endpoint_url).put("a", b"x")
    assert "hush-hush" not in all_text_of(caught.value)


def test_addresses_are_split() -> None:
    assert s3.split_url("s3://films/in/a b.mov") == ("films", "in/a b.mov")
    assert s3.split_url("s3://films") == ("films", "")


@pytest.mark.parametrize("url", ["s3://", "s3:///key", "s3://ab/key", "s3://key:hush-hush@films/key"])
def test_refuses_other_addresses_without_repeating_them(url: str) -> None:
    with pytest.raises(ConfigError, match="has the form s3://bucket/path, without credentials") as caught:
        s3.split_url(url)
    assert "hush-hush" not in all_text_of(caught.value)

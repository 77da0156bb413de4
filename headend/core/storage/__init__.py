"""Object storage: the interface `Store`, with implementations for folders, S3 and memory, and access to masters.

`open_store` makes a store from settings. A store handles keys and bytes without knowing their meaning. boto3 is
imported only when an S3 address is opened.
"""

import uuid
from collections.abc import Callable

from headend.core.errors import ConfigError, StorageError
from headend.core.paths import expanded
from headend.core.settings import StoreSettings
from headend.core.storage.base import ObjectInfo, Reader, Store, check_key
from headend.core.storage.local import LocalStore
from headend.core.storage.retrying import RetryingStore, with_retries

__all__ = ["ObjectInfo", "Reader", "Store", "check_writable", "open_store", "with_retries"]


def open_store(
    settings: StoreSettings,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Store:
    """Open a store; nothing is read or written yet.

    Args:
        settings: Its address, and how long to retry if it can't be reached.
        cancelled: Returns true if retrying should stop, because the job was cancelled.
        on_wait: Called from time to time with a message for the user while the store can't be reached.

    Raises:
        ConfigError: The address is neither a path nor ``s3://bucket/prefix``.
        StorageError: The prefix is not valid as the start of a key.
    """
    if settings.url.startswith("s3://"):
        from headend.core.storage.s3 import S3Store, split_url

        bucket, path = split_url(settings.url)
        prefix = path.strip("/")
        prefix = prefix and check_key(prefix)
        if settings.patience_s <= 0:
            return S3Store(bucket, prefix, settings.endpoint_url)
        # `RetryingStore` does the retrying, so this store must report an outage quickly.
        store = S3Store(bucket, prefix, settings.endpoint_url, attempts=1)
        return RetryingStore(store, settings.patience_s, cancelled, on_wait)
    if not settings.url or "://" in settings.url:
        raise ConfigError("a store is the path of a folder or s3://bucket/prefix; give one of these")
    return LocalStore(expanded(settings.url))


def check_writable(store: Store) -> None:
    """Write, read and delete a small object, so that a job fails early if its results can't be stored.

    If the store's folder does not exist yet, this only checks that it can be created, so that a job that fails for
    another reason leaves nothing behind.

    Raises:
        StorageError: The store rejects one of these operations, or returns different bytes.
        StoreUnavailable: It can't be reached.
    """
    if isinstance(store, LocalStore) and not store.root.exists():
        store.check_can_be_made()
        return
    key, data = f"probe-{uuid.uuid4().hex}", uuid.uuid4().bytes
    store.put(key, data)
    returned = store.get(key)
    store.delete(key)
    if returned != data:
        raise StorageError(f"{store.url} returned different bytes than were written; check the server", key=key)

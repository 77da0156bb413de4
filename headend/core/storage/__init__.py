"""Storage: the interface `Store`, with implementations for a folder, S3 and memory.

In: settings. Out: a store, which knows keys and bytes and nothing of what they mean. This file is the door; boto3 is
imported only when an address in S3 is opened.
"""

import uuid
from collections.abc import Callable

from headend.core.errors import ConfigError, StorageError
from headend.core.paths import expanded
from headend.core.settings import StoreSettings
from headend.core.storage.base import ObjectInfo, Reader, Store, check_key
from headend.core.storage.local import LocalStore
from headend.core.storage.patience import PatientStore, patiently

__all__ = ["ObjectInfo", "Reader", "Store", "check_writable", "open_store", "patiently"]


def open_store(
    settings: StoreSettings,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Store:
    """Open a store; nothing is read or written yet.

    Args:
        settings: Where it is, and how long it is waited for when it can't be reached.
        cancelled: Becomes true when there is no use in waiting any more.
        on_wait: Gets a line for people, now and then while it is waited for.

    Raises:
        ConfigError: The address is neither a path nor ``s3://bucket/prefix``.
        StorageError: The prefix can't begin a key.
    """
    if settings.url.startswith("s3://"):
        from headend.core.storage.s3 import S3Store, split_url

        bucket, path = split_url(settings.url)
        prefix = path.strip("/")
        prefix = prefix and check_key(prefix)
        if settings.patience_s <= 0:
            return S3Store(bucket, prefix, settings.endpoint_url)
        # Few retries of its own: it must be told soon that the store does not answer.
        store = S3Store(bucket, prefix, settings.endpoint_url, attempts=1)
        return PatientStore(store, settings.patience_s, cancelled, on_wait)
    if not settings.url or "://" in settings.url:
        raise ConfigError("a store is a folder's path or s3://bucket/prefix; give one of these")
    return LocalStore(expanded(settings.url))


def check_writable(store: Store) -> None:
    """Write, read back and delete a small object, so that a job that can't be stored fails before it starts.

    The folder of a store that does not exist yet is not made: a job that fails for another reason leaves nothing.

    Raises:
        StorageError: The store refuses one of these, or gives back something else.
        StoreUnavailable: It can't be reached.
    """
    if isinstance(store, LocalStore) and not store.root.exists():
        store.check_can_be_made()
        return
    key, data = f"probe-{uuid.uuid4().hex}", uuid.uuid4().bytes
    store.put(key, data)
    found = store.get(key)
    store.delete(key)
    if found != data:
        raise StorageError(f"{store.url} gives back other bytes than were written; check the server behind it", key=key)

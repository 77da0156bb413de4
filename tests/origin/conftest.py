from collections.abc import Iterator

import pytest

from headend.core.storage.memory import MemoryStore
from origin.serving import running
from tests.origin.releases import WatchedStore, put_release


@pytest.fixture(scope="package")
def base_url() -> Iterator[str]:
    """An origin over one published release, for tests that change nothing."""
    store = MemoryStore()
    put_release(store)
    put_release(store, title="secret", current=False, published=False)
    with running(store) as url:
        yield url


@pytest.fixture
def store() -> WatchedStore:
    found = WatchedStore()
    put_release(found)
    return found

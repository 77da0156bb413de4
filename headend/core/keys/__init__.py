"""Content keys: their sources, and the types that carry them.

It takes the names of the keys that a title needs. It provides their secrets, each in a `ContentKey` that can't be
printed or pickled, so that none crosses Dask. Sources are a file, the environment, a CPIX document, or a SPEKE server.
"""

from headend.core.keys.base import ContentKey, KeyStore
from headend.core.keys.opening import open_keys

__all__ = ["ContentKey", "KeyStore", "open_keys"]

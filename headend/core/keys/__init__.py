"""Content keys: where they come from, and how they are handed over.

Comes in: the names of the keys that a title needs. Goes out: secrets, each in a `ContentKey` that can't be shown or
pickled, so that none crosses Dask. Twins: a file, the environment, a CPIX document, a SPEKE server.
"""

from headend.core.keys.base import ContentKey, KeyStore
from headend.core.keys.opening import open_keys

__all__ = ["ContentKey", "KeyStore", "open_keys"]

"""Content keys and their sources: files, environment variables, CPIX documents and SPEKE servers.

Input: the names of the keys that a title needs. Output: their secrets, each in a `ContentKey`, which can't be printed
or pickled, so that no key is logged or sent to Dask by mistake.
"""

from headend.core.keys.base import ContentKey, KeyStore
from headend.core.keys.opening import open_keys

__all__ = ["ContentKey", "KeyStore", "open_keys"]

"""Verifying a release: read it back, decode it, and compare it with its master."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from encoder import verifying
from headend.app import comparison
from headend.core import layout
from headend.core.keys import ContentKey
from headend.core.settings import KeySettings
from headend.core.storage import Store
from packager import conformance, reading


def verify(
    store: Store,
    title: str,
    release: str | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    deep: bool = False,
    endpoint_url: str | None = None,
    keys: KeySettings | None = None,
    on_compared: Callable[[int, int], None] = lambda _done, _total: None,
) -> conformance.Verdict:
    """Read a release back, decode a segment of each rendition (or all), and compare it with its master.

    See `packager.conformance.verify` and `headend.app.comparison.compare`. ``endpoint_url`` is the S3 endpoint of the
    master, and ``keys`` names the source of an encrypted release's keys. ``on_progress`` and ``on_compared`` are called
    in other threads, the latter with the number of segments that are compared with the master and of all that will be.
    """
    release = release or reading.current_release(store, layout.check_title(title))
    opened: Mapping[str, ContentKey] = {}
    if keys is not None:
        from headend.app import content_keys

        opened = content_keys.of_release(keys, store, title, release)
    is_stopped = threading.Event()
    # Both work in other threads, so that Ctrl-C stops them before the next segment.
    with ThreadPoolExecutor(2) as pool:
        checking = pool.submit(
            conformance.verify,
            store,
            title,
            release,
            on_progress,
            inspect=partial(verifying.differences, is_stopped=is_stopped.is_set),
            cross_check=_cross_checked,
            keys=opened,
            deep=deep,
            is_stopped=is_stopped.is_set,
        )
        comparing = pool.submit(
            comparison.compare,
            store,
            title,
            release,
            endpoint_url,
            deep=deep,
            is_stopped=is_stopped.is_set,
            keys=opened,
            on_progress=on_compared,
        )
        try:
            verdict, compared = checking.result(), comparing.result()
        finally:
            is_stopped.set()
    return replace(
        verdict,
        findings=(*verdict.findings, *compared.findings),
        compared=compared.segments,
        not_compared=compared.not_compared,
    )


def _cross_checked(stored: bytes, clear: bytes, key: ContentKey) -> tuple[str, ...]:
    return verifying.decryption_differences(stored, clear, key.secret)

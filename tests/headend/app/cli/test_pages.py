"""A page can be written, or an error says why not; see also the tests of `headend.core.files`."""

import resource
from pathlib import Path

import pytest

from headend.app.cli import pages
from headend.core.errors import ConfigError


def test_an_error_leaves_the_earlier_page_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ConfigError, match=r"page\.html can't be written: File too large"):
            pages.write(page, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert page.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [page]


def test_a_check_leaves_nothing(tmp_path: Path) -> None:
    pages.check_writable(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []

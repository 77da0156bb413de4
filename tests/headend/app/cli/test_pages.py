"""A page appears as a whole, with the mode that a file of its name would have."""

import os
import resource
from pathlib import Path

import pytest

from headend.app.cli import pages
from headend.core.errors import ConfigError


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_page_has_the_mode_of_new_files(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        pages.write(tmp_path / "page.html", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == mode


def test_a_page_that_is_replaced_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    page.write_bytes(b"old")
    page.chmod(0o640)
    link.symlink_to(page)
    pages.write(link, b"new")
    assert (page.read_bytes(), page.stat().st_mode & 0o777, link.is_symlink()) == (b"new", 0o640, True)


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

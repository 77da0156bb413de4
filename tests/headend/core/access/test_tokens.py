import base64
import hmac
import re
from pathlib import Path

import pytest

from headend.core.access.tokens import (
    EDGE_VALID_S,
    Grant,
    Key,
    Use,
    decode_token,
    issue,
    read_keys,
    sign_territory,
    signed_territory,
)
from headend.core.errors import ConfigError

GUIDE = (Path(__file__).parents[4] / "docs/guides/access.md").read_text(encoding="utf-8")
NOW_S = 1_800_000_000
OLD, NEW, EDGE = (  # fixed, so that tests have the same names in every process
    Key(Use.PLAYBACK, "0000001d", b"old" * 11),
    Key(Use.PLAYBACK, "0000002e", b"new" * 11),
    Key(Use.EDGE, "0000003f", b"edge" * 8),
)
GRANT = Grant(
    title="big-buck-bunny",
    account="a-1",
    session="s-1",
    expires_s=NOW_S,
    max_height_px=1080,
    screens=2,
    territories=("DE", "FR"),
    licensed_from_s=NOW_S - 10,
    licensed_until_s=NOW_S + 10,
)


def ring(*keys: Key) -> str:
    return "\n".join(key.line for key in keys)


RING = read_keys(ring(NEW, OLD, EDGE), "keys")


def test_a_token_round_trips_its_grant_and_fits_into_a_path() -> None:
    token = issue(GRANT, RING)
    assert decode_token(token, RING) == GRANT
    assert len(token) < 200
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_changing_keys_breaks_no_token_until_the_old_key_is_gone() -> None:
    before = issue(GRANT, read_keys(ring(OLD), "keys"))
    assert decode_token(before, RING) == GRANT
    after = issue(GRANT, RING)
    assert after.startswith(f"{NEW.id}.")
    assert decode_token(after, read_keys(ring(OLD), "keys")) is None
    assert decode_token(before, read_keys(ring(NEW), "keys")) is None


def test_no_character_of_a_token_can_be_changed() -> None:
    token = issue(GRANT, RING)
    for index, character in enumerate(token[:-1]):  # the last one has two unused bits
        other = "A" if character != "A" else "B"
        assert decode_token(token[:index] + other + token[index + 1 :], RING) is None


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", f"{NEW.id}..", "é.b.c", "a" * 5000, f"{NEW.id}.{'A' * 5000}.{'A' * 43}"]
)
def test_an_invalid_token_grants_nothing(token: str) -> None:
    assert decode_token(token, RING) is None


def test_a_signed_text_other_than_a_grant_grants_nothing() -> None:
    for text in ("AAAA", "A", "k5GRkQ"):
        assert decode_token(RING.sign(Use.PLAYBACK, text), RING) is None


def test_a_signature_for_one_use_is_invalid_for_another() -> None:
    both = read_keys(ring(Key(Use.PLAYBACK, "k", NEW.secret), Key(Use.EDGE, "k", NEW.secret)), "keys")
    text = issue(GRANT, both).split(".")[1]
    assert decode_token(both.sign(Use.EDGE, text), both) is None
    assert signed_territory(both.sign(Use.PLAYBACK, f"DE-{NOW_S}"), both, NOW_S) is None


@pytest.mark.parametrize(("off_s", "country"), [(0, "DE"), (EDGE_VALID_S, "DE"), (EDGE_VALID_S + 1, None)])
def test_an_edges_header_is_valid_for_minutes_around_now(off_s: int, country: str | None) -> None:
    for at_s in (NOW_S - off_s, NOW_S + off_s):
        assert signed_territory(sign_territory("DE", at_s, RING), RING, NOW_S) == country


@pytest.mark.parametrize("header", ["", "DE", f"DE-{NOW_S}", f"{EDGE.id}.DE-{NOW_S}.{'A' * 43}", "a.b.c, d.e.f"])
def test_only_edges_can_state_where_a_request_comes_from(header: str) -> None:
    assert signed_territory(header, RING, NOW_S) is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "keys has no key for playback: add what 'headend token --new-key playback' prints"),
        (EDGE.line, "keys has no key for playback"),
        ("playback a", "keys, line 1 is not a key: use a line that 'headend token --new-key playback' prints"),
        ("# ours\n\nplayback a c2hvcnQtc2VjcmV0", "keys, line 3 is not a key"),
        (f"{OLD.line} more", "keys, line 1 is not a key"),
        (OLD.line.replace("playback", "edges"), "keys, line 1 is not a key"),
        (OLD.line.replace(OLD.id, "a.b"), "keys, line 1 is not a key"),
        (f"{OLD.line}\n{OLD.line}", f"keys, line 2: playback {OLD.id} occurs twice; remove one of the lines"),
    ],
)
def test_errors_about_keys_do_not_show_them(lines: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_keys(lines, "keys")
    assert message in str(caught.value)
    for secret in (OLD.line.split()[-1], "c2hvcnQtc2VjcmV0"):
        assert secret not in str(caught.value)


def test_comments_in_a_key_file_are_ignored() -> None:
    keys = read_keys(f"# made in spring\n\n{OLD.line}  # until summer\n", "keys")
    assert decode_token(issue(GRANT, keys), keys) == GRANT


def test_a_key_does_not_show_its_secret() -> None:
    assert repr(OLD.secret) not in repr(OLD)
    assert OLD.line.split()[-1] not in repr(OLD) + repr(RING)


def test_without_a_key_nothing_is_signed() -> None:
    with pytest.raises(ConfigError, match="there is no key for edge: add the line that 'headend token --new-key edge'"):
        sign_territory("DE", NOW_S, read_keys(ring(OLD), "keys"))


def test_a_token_too_long_for_a_path_is_not_issued() -> None:
    with pytest.raises(ConfigError, match="too long"):
        issue(Grant("film", "a" * 2000, "s", NOW_S), RING)


def test_the_key_file_in_the_guide_is_valid() -> None:
    blocks = re.findall(r"```\n(playback .*?)```", GUIDE, re.DOTALL)
    assert len(blocks) == 1
    read_keys(blocks[0], "guide").sign(Use.EDGE, "DE-0")


def test_an_edge_that_follows_the_guide_is_accepted() -> None:
    signed = f"edge.{EDGE.id}.DE-{NOW_S}"
    assert "over `edge.{key id}.{CC}-{unix time}`" in " ".join(GUIDE.split())
    digest = hmac.digest(EDGE.secret, signed.encode(), "sha256")
    header = f"{signed.removeprefix('edge.')}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
    assert signed_territory(header, RING, NOW_S) == "DE"

"""``headend token``: issue playback tokens, and make keys for them."""

import re
import secrets
import time
from datetime import UTC, datetime

import click

from headend.app.cli import options
from headend.app.cli.parameters import Duration
from headend.app.cli.screen import console, facts, print_json
from headend.app.cli.token_keys import VARIABLE, find_keys, token_keys
from headend.core import layout
from headend.core.access.tokens import Grant, Keyring, Screens, Use, issue, make_key
from headend.core.errors import ConfigError
from headend.core.layout import check_title
from origin.serving import DEFAULT_HOST, DEFAULT_PORT

_SCREENS: dict[str, Screens] = {"1": 1, "2": 2, "4": 4}


def _time_s(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time, such as 2026-05-01 or 2026-05-01T20:00+02:00.") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def _territories(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    found = tuple(code.strip().upper() for code in value.split(",")) if value is not None else ()
    if not all(re.fullmatch("[A-Z]{2}", code) for code in found):
        raise click.BadParameter(f"{value!r} is not a list of country codes, such as DE,FR.")
    return found


@click.command(
    "token",
    epilog=options.examples(
        "(umask 77; headend token --new-key playback > keys)",
        "headend token film --account a-17 --token-keys keys",
        "headend token film --account a-17 --token-keys keys --screens 2 --max-height 1080 --territories DE,FR",
        "headend token film --account a-17 --token-keys keys --url https://vod.example --json | jq -r .hls",
    ),
)
@click.argument("title", required=False, callback=lambda _ctx, _param, value: value and check_title(value))
@click.option("--account", metavar="ID", help="Account whose screens are counted; viewers can read it.")
@click.option("--session", metavar="ID", help="Name of this player among the account's screens. [default: a new one]")
@click.option(
    "--screens",
    type=click.Choice(list(_SCREENS)),
    default="1",
    show_default=True,
    help="Number of players that the account may use at the same time.",
)
@click.option("--max-height", type=click.IntRange(min=1), metavar="PX", help="Leave out larger pictures.")
@click.option(
    "--expires",
    "valid_s",
    type=Duration(needs_unit=True, minimum_s=1),
    default="4h",
    show_default=True,
    help="Lifetime of the token.",
)
@click.option(
    "--territories", callback=_territories, metavar="CC,...", help="Countries where it is valid. [default: all]"
)
@click.option(
    "--licensed-from", callback=_time_s, metavar="WHEN", help="Start of the licence; UTC unless it has a time zone."
)
@click.option("--licensed-until", callback=_time_s, metavar="WHEN", help="End of the licence.")
@click.option(
    "--url",
    default=f"http://{DEFAULT_HOST}:{DEFAULT_PORT}",
    show_default=True,
    metavar="URL",
    help="The origin's URL, as players reach it.",
)
@click.option(
    "--new-key",
    type=click.Choice([use.value for use in Use]),
    help="Make a key instead, and print it as a line for the file of keys.",
)
@token_keys
@options.common
def command(
    title: str | None,
    account: str | None,
    session: str | None,
    screens: str,
    max_height: int | None,
    valid_s: float,
    territories: tuple[str, ...],
    licensed_from: int | None,
    licensed_until: int | None,
    url: str,
    new_key: str | None,
    keys_file: str | None,
    as_json: bool,
) -> None:
    """Issue a token that lets a viewer play a title.

    Prints URLs with a signed token, for a 'headend serve' with the same keys. The first key of a file signs, and
    all keys are accepted: to change keys, put a new one first, and remove the old one after its last token has
    expired.
    """
    if new_key is not None:
        key = make_key(Use(new_key))
        if as_json:
            print_json({"use": key.use, "id": key.id, "line": key.line})
        else:
            click.echo(key.line)
        return
    if not title or not account:
        raise ConfigError("a token needs a title and an account: give TITLE and --account")
    keys = find_keys(keys_file)
    if keys is None:
        raise ConfigError(
            f"there is no key to sign with: give --token-keys FILE or set {VARIABLE}; "
            "'headend token --new-key playback' makes one"
        )
    grant = Grant(
        title,
        account,
        session or secrets.token_hex(8),
        int(time.time() + valid_s),
        max_height,
        _SCREENS[screens],
        territories,
        licensed_from,
        licensed_until,
    )
    _show(grant, url.rstrip("/"), keys, as_json)


def _show(grant: Grant, url: str, keys: Keyring, as_json: bool) -> None:
    token = issue(grant, keys)
    hls, dash = (f"{url}/t/{token}/{grant.title}/{name}" for name in (layout.MULTIVARIANT, layout.MPD))
    until = datetime.fromtimestamp(grant.expires_s, UTC).isoformat()
    if as_json:
        plain = {name: getattr(grant, name) for name in grant.__struct_fields__}
        print_json({"hls": hls, "dash": dash, "token": token, "expires_at": until, **plain})
    else:
        console().print(facts([("HLS", hls), ("DASH", dash), ("expires", until), ("session", grant.session)]))

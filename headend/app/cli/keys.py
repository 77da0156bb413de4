"""``headend keys``: make, list, check, export and serve the content keys of encrypted titles."""

import os
import stat
import sys
from contextlib import ExitStack
from functools import partial, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from headend.app.cli import encryption_options, options
from headend.app.cli.exits import Status
from headend.app.cli.screen import console, print_json, table
from headend.app.cli.token_keys import VARIABLE, find_keys, read_again, token_keys
from headend.core.errors import ConfigError
from headend.core.hosts import is_loopback
from headend.core.keys import cpix, lines, open_keys
from headend.core.keys.base import ContentKey, KeyStore, new_secret
from headend.core.keys.file import FileKeys
from headend.core.keys.provider import Provider
from headend.core.media.protection import KeyName, Scheme, key_names
from packager.signalling import signals_for

LICENCE_PORT = 8070


def _key_names(command: options.Command) -> options.Command:
    """Add the options that determine a title's keys; the command gets ``title``, and the keys' names as ``names``."""

    @options.title_argument
    @click.option(
        "--scheme",
        "schemes",
        default="cbcs",
        show_default=True,
        callback=encryption_options.schemes,
        metavar="SCHEME,...",
        help=f"{', '.join(Scheme)}; each scheme has its own keys.",
    )
    @encryption_options.key_per
    @encryption_options.key_epoch
    @encryption_options.key_periods
    @wraps(command)
    def wrapped(
        *, title: str, schemes: tuple[Scheme, ...], key_per: str, key_epoch: int, periods: int, **others: Any
    ) -> Any:
        names = names_of(title, schemes, one_key=key_per == "all", epoch=key_epoch, periods=periods)
        return command(title=title, names=names, **others)

    return wrapped


_key_options = encryption_options.key_address_options(required=True)


@click.group(
    "keys",
    epilog=options.examples(
        "headend keys new film > film.keys",
        "headend keys check film --keys film.keys",
        "headend keys serve --keys film.keys --token-keys tokens",
    ),
)
def command() -> None:
    """Make, list, check, export and serve content keys.

    A key's id is derived from the title, the scheme, the class, the epoch and the period; its secret is random. Secrets
    are never shown on a terminal, logged, or passed on a command line.
    """


@command.command(
    "new",
    epilog=options.examples(
        "headend keys new film > film.keys", "headend keys new film --scheme cbcs,cenc > film.keys"
    ),
)
@_key_names
@options.common
def new(title: str, names: tuple[KeyName, ...], as_json: bool) -> None:
    """Make the keys of a title.

    They are written to standard output, which must not be a terminal. If it is a file, it is made readable by its
    owner only.
    """
    if sys.stdout.isatty():
        raise ConfigError(
            "secrets are not shown on a terminal: write them to a file, such as with: headend keys new film > keys"
        )
    if as_json:
        raise ConfigError("keys are written as lines of text, which --keys reads: remove --json")
    if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
        os.fchmod(sys.stdout.fileno(), stat.S_IRUSR | stat.S_IWUSR)
    click.echo(f"# keys of {title}: kid scheme class iv secret")
    click.echo(lines.write(ContentKey(name, new_secret()) for name in names), nl=False)


@command.command(
    "list", epilog=options.examples("headend keys list film", "headend keys list film --scheme cenc --json")
)
@_key_names
@options.common
def list_keys(title: str, names: tuple[KeyName, ...], as_json: bool) -> None:
    """List the ids of a title's keys.

    This shows no secret and needs no key source.
    """
    if as_json:
        rows = [
            {"kid": n.kid, "scheme": n.scheme.value, "class": n.key_class.value, "epoch": n.epoch, "period": n.period}
            for n in names
        ]
        print_json({"title": title, "keys": rows})
    else:
        rows_shown = ((n.uuid, n.scheme.value, n.key_class.value, n.epoch, n.period) for n in names)
        console().print(table(("key id", "scheme", "class", ">epoch", ">period"), rows_shown))


@command.command(
    "check",
    epilog=options.examples(
        "headend keys check film --keys film.keys", "headend keys check film --keys speke+https://keys.example/speke"
    ),
)
@_key_names
@_key_options
@options.common
def check(
    title: str,
    names: tuple[KeyName, ...],
    keys_address: str,
    cpix_key: str | None,
    as_json: bool,
) -> int:
    """Check that a source has all keys of a title.

    The exit status is 1 if a key is missing or is for another scheme.
    """
    source = open_keys(keys_address, private_key=cpix_key)
    results = []
    for name in names:
        try:
            source.keys(title, [name])
        except ConfigError as error:
            if error.facts.get("kid") != name.kid:
                raise  # the source itself can't be read
            results.append((name, error.message))
        else:
            results.append((name, ""))
    if as_json:
        rows = [
            {"kid": n.kid, "class": n.key_class.value, "period": n.period, "found": not why, "why": why or None}
            for n, why in results
        ]
        print_json({"title": title, "source": source.url, "keys": rows})
    else:
        rows_shown = ((n.uuid, n.scheme.value, n.key_class.value, n.period, why or "found") for n, why in results)
        console().print(table(("key id", "scheme", "class", ">period", ""), rows_shown))
    return Status.FAULTY if any(why for _, why in results) else Status.DONE


@command.command(
    "export",
    epilog=options.examples(
        "headend keys export film --keys film.keys --for drm-provider.pem > film.cpix",
        "headend keys export film --keys film.keys --plain > film.cpix",
    ),
)
@_key_names
@_key_options
@click.option(
    "--for",
    "certificate",
    type=click.Path(path_type=Path),
    metavar="CERT.pem",
    help="Encrypt the keys for the owner of this certificate.",
)
@click.option("--plain", is_flag=True, help="Write the keys in the clear.")
@options.common
def export(
    title: str,
    names: tuple[KeyName, ...],
    keys_address: str,
    cpix_key: str | None,
    certificate: Path | None,
    plain: bool,
    as_json: bool,
) -> None:
    """Write a title's keys as a CPIX document.

    It is written to standard output, for a DRM provider.
    """
    if as_json:
        raise ConfigError("a CPIX document is XML: remove --json")
    if (certificate is None) != plain:
        raise ConfigError("give --for CERT.pem to encrypt the keys, or --plain to write them in the clear")
    if plain and sys.stdout.isatty():
        raise ConfigError("secrets are not shown on a terminal: write them to a file")
    source: KeyStore = open_keys(keys_address, private_key=cpix_key)
    document = cpix.write(title, names, source.keys(title, names), certificate)
    if plain and stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
        os.fchmod(sys.stdout.fileno(), stat.S_IRUSR | stat.S_IWUSR)
    click.echo(document)


@command.command(
    "serve",
    epilog=options.examples(
        "headend keys serve --keys film.keys --token-keys tokens",
        "headend keys serve --keys film.keys --open",
        "headend keys serve --keys dev.keys --speke",
        "headend keys serve --host 0.0.0.0 --keys speke+https://keys.example/speke --token-keys tokens",
    ),
)
@options.address("127.0.0.1", LICENCE_PORT)
@_key_options
@token_keys
@click.option("--open", "is_open", is_flag=True, help="Give keys to all clients; on loopback only.")
@click.option(
    "--speke",
    "is_provider",
    is_flag=True,
    help="Also serve a SPEKE v2 provider at /speke, for development; it makes missing keys. On loopback only.",
)
@click.option(
    "--state-dir", metavar="DIR", help="Folder shared with the origin to count screens. [default: not shared]"
)
@click.option("--access-log", is_flag=True, help="Write each request to stdout as a line of JSON.")
@options.common
def serve(
    host: str,
    port: int,
    keys_address: str,
    cpix_key: str | None,
    keys_file: str | None,
    is_open: bool,
    is_provider: bool,
    state_dir: str | None,
    access_log: bool,
    as_json: bool,
) -> None:
    """Serve ClearKey licences and single keys.

    Only holders of playback tokens get them, unless --open is given. POST /t/TOKEN/TITLE/licence answers a ClearKey
    request; GET /t/TOKEN/TITLE/keys/KID returns the 16 bytes of a key. The token limits access by title, time,
    territory, licence and screens, and keys of pictures larger than it allows are left out. SIGHUP reloads all
    keys. ClearKey gives the key to the viewer: use a DRM system for films that must not be copied.
    """
    if as_json and access_log:
        raise ConfigError("--json and --access-log both write to standard output: give one of them")
    if is_open and keys_file is not None:
        raise ConfigError("--open needs no token keys: give one of --open and --token-keys")
    tokens = None if is_open else find_keys(keys_file)
    if tokens is None and not is_open and not is_provider:
        raise ConfigError(f"any client could get any key: give --token-keys FILE or set {VARIABLE}, or choose --open")
    if (is_open or is_provider) and not is_loopback(host):
        option = "--open" if is_open else "--speke"
        raise ConfigError(
            f"{option} gives keys to any client, and {host} is not loopback: remove {option}, or use --host 127.0.0.1"
        )
    source = open_keys(keys_address, private_key=cpix_key)
    speke = None
    if is_provider:
        if not isinstance(source, FileKeys):
            raise ConfigError("--speke adds keys to a file: give --keys FILE")
        speke = Provider(source.path, signals_for).answer

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url, "keys": source.url, "open": tokens is None})
        else:
            console(stderr=True).print(f"serving keys of {source.url} at {url}, until Ctrl-C")

    # Imported here because the other commands of this group need no HTTP server.
    from headend.core.access.grants import without_token
    from headend.core.http.access_log import AccessLog
    from origin import licences

    with ExitStack() as stack:
        if state_dir is None and tokens is not None:
            state_dir = stack.enter_context(TemporaryDirectory(prefix="headend-"))
        settings = licences.LicenceSettings(
            source,
            tokens,
            reload_tokens=None if tokens is None else partial(read_again, keys_file),
            state_dir=None if state_dir is None else Path(state_dir),
            access_log=AccessLog(sys.stdout, redact=without_token) if access_log else None,
            is_open=is_open,
            speke=speke,
        )
        licences.serve(host, port, settings, ready)


def names_of(
    title: str, schemes: tuple[Scheme, ...], *, one_key: bool, epoch: int, periods: int
) -> tuple[KeyName, ...]:
    """Return the names of all keys that a title may need."""
    return tuple(
        name for scheme in schemes for name in key_names(title, scheme, one_key=one_key, epoch=epoch, periods=periods)
    )
